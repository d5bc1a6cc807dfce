//! Meaning of the error codes in a receiver's responses.
//!
//! Owns: tables of codes, including the built-in ones. Must not know: HTTP, which response contains the codes.

use std::collections::BTreeMap;

use minijinja::{Environment, Value as Jinja};
use serde::Deserialize;

use super::meaning::Meaning;
use super::template::Scope;

/// The built-in tables: name and YAML.
const SHIPPED: [(&str, &str); 1] = [("slurm", include_str!("presets/codes/slurm.yaml"))];

/// The location of the codes in a preset's responses, and the table for looking them up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodesFile {
    /// An expression over `answer`: a list of codes.
    of: String,
    /// Name of the table.
    table: String,
}

/// The meaning of one code.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Code {
    code: i64,
    /// Its name in the receiver's source code.
    name: String,
    /// The meaning.
    pub(super) means: Meaning,
    /// What the operator can do.
    #[serde(default)]
    pub(super) hint: Option<String>,
}

/// Codes by number, and where they stand in an answer.
#[derive(Debug)]
pub(super) struct Codes {
    of: String,
    by_number: BTreeMap<i64, Code>,
}

impl Codes {
    /// Reads the table that a preset names.
    ///
    /// # Errors
    /// There is none of this name, or a row is not as it should be.
    pub(super) fn read(file: CodesFile) -> Result<Codes, String> {
        let known = || SHIPPED.map(|(name, _)| name).join(", ");
        let found = SHIPPED.iter().find(|(name, _)| *name == file.table);
        let (_, yaml) =
            found.ok_or_else(|| format!("there is no table of codes `{}`: there are {}", file.table, known()))?;
        let rows: Vec<Code> = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        let mut by_number = BTreeMap::new();
        for row in rows {
            if let Some(twice) = by_number.insert(row.code, row) {
                return Err(format!(
                    "the code {} ({}) stands twice in the table {}",
                    twice.code, twice.name, file.table
                ));
            }
        }
        Ok(Codes { of: file.of, by_number })
    }

    /// The expression that finds the codes in an answer.
    pub(super) fn expression(&self) -> &str {
        &self.of
    }

    /// The first code of a response that is in the table.
    pub(super) fn of_answer(&self, environment: &Environment<'_>, scope: &Scope) -> Option<&Code> {
        let context = Jinja::from_pairs(scope.iter().map(|(name, value)| (name.clone(), value.clone())));
        let codes = environment.compile_expression(&self.of).ok()?.eval(context).ok()?;
        let numbers = codes.try_iter().ok()?.filter_map(|code| i64::try_from(code).ok());
        numbers.filter_map(|number| self.by_number.get(&number)).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_slurm_that_was_met_is_classified_once() {
        let file = CodesFile { of: "answer.errors".to_owned(), table: "slurm".to_owned() };
        let codes = Codes::read(file).unwrap();
        for (number, want) in [
            (1007, Meaning::Site),
            (1800, Meaning::Later),
            (1802, Meaning::Unknown),
            (2000, Meaning::Site),
            (2045, Meaning::Site),
            (2050, Meaning::Later),
            (2070, Meaning::Later),
            (2127, Meaning::Permanent),
            (5005, Meaning::Unknown),
            (9001, Meaning::Permanent),
        ] {
            assert_eq!(codes.by_number[&number].means, want, "{number}");
        }
        // A held job (2042) exists, and so does anything with a job number.
        assert!(codes.by_number.values().all(|code| !matches!(code.means, Meaning::Delivered | Meaning::ByCode)));
        let unknown = CodesFile { of: "answer".to_owned(), table: "slrm".to_owned() };
        assert!(Codes::read(unknown).unwrap_err().contains("there are slurm"));
    }
}
