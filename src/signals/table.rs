//! The table of naming conventions: `policies/signals.yaml`, parsed and compiled.
//!
//! Must not know: how one series is chosen among several.

use std::collections::BTreeMap;

use regex::{Regex, RegexSet};
use serde::Deserialize;
use serde_saphyr::Spanned;

/// What a row says of the tags that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reads {
    Loss,
    Accuracy,
    ValidationAccuracy,
    LearningRate,
    GradientNorm,
    Reward,
    Epoch,
    Weights,
    Gradients,
    PartOfLoss,
    Penalty,
    GeneratorLoss,
    DiscriminatorLoss,
    PolicyLoss,
    Rating,
    Goal,
    Score,
    Nothing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    splits: Splits,
    fragments: BTreeMap<String, String>,
    scalars: Vec<Spanned<Line>>,
    histograms: Vec<Spanned<Line>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Splits {
    training: Vec<String>,
    validation: Vec<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    reads: Reads,
    pattern: String,
    note: String,
    #[serde(default = "sure")]
    sure: bool,
}

fn sure() -> bool {
    true
}

/// One row, ready for use.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) reads: Reads,
    pub(super) rule: String,
    pub(super) sure: bool,
    pub(super) regex: Regex,
}

/// Rows of which the first that matches counts.
#[derive(Debug)]
pub(super) struct Section {
    rows: Vec<Row>,
    /// All rows at once: one pass over a text, whatever the number of rows.
    set: RegexSet,
}

impl Section {
    /// The first row that matches the text, with its place.
    pub(super) fn first(&self, text: &str) -> Option<(usize, &Row)> {
        let place = self.set.matches(text).iter().next()?;
        self.rows.get(place).map(|row| (place, row))
    }
}

/// The whole table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) training: Vec<Vec<String>>,
    pub(super) validation: Vec<Vec<String>>,
    pub(super) scalars: Section,
    pub(super) histograms: Section,
}

/// Why a table cannot be used; the text says where.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error("signals.yaml: {0}")]
    Yaml(#[from] serde_saphyr::Error),
    #[error("signals.yaml line {line}: {reason}")]
    Pattern { line: u64, reason: String },
    #[error("signals.yaml: {0}")]
    Set(regex::Error),
}

impl Table {
    pub(super) fn parse(yaml: &str) -> Result<Table, TableError> {
        let file: File = serde_saphyr::from_str(yaml)?;
        let fragments = expand_all(&file.fragments);
        Ok(Table {
            training: vec![file.splits.training],
            validation: file.splits.validation,
            scalars: section(&file.scalars, &fragments)?,
            histograms: section(&file.histograms, &fragments)?,
        })
    }
}

/// Fragments may use one another; each name is replaced until none is left, at most as deep as there are fragments.
fn expand_all(fragments: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut expanded = fragments.clone();
    for _ in 0..fragments.len() {
        let last = expanded.clone();
        expanded.values_mut().for_each(|pattern| *pattern = expand(pattern, &last));
    }
    expanded
}

fn expand(pattern: &str, fragments: &BTreeMap<String, String>) -> String {
    let put = |text: String, (name, fragment): (&String, &String)| text.replace(&format!("{{{name}}}"), fragment);
    fragments.iter().fold(pattern.to_owned(), put)
}

fn section(lines: &[Spanned<Line>], fragments: &BTreeMap<String, String>) -> Result<Section, TableError> {
    let mut rows = Vec::with_capacity(lines.len());
    for line in lines {
        let number = line.defined.line();
        let wrong = |reason: String| TableError::Pattern { line: number, reason };
        let Line { reads, pattern, note, sure } = &line.value;
        let whole = format!("^(?:{})$", expand(pattern, fragments));
        let regex = Regex::new(&whole).map_err(|error| wrong(error.to_string()))?;
        let layered = matches!(reads, Reads::Weights | Reads::Gradients);
        if layered && regex.capture_names().flatten().all(|name| name != "layer") {
            return Err(wrong("the pattern of weights or gradients needs a group (?P<layer>…)".to_owned()));
        }
        rows.push(Row { reads: *reads, rule: format!("signals.yaml line {number} ({note})"), sure: *sure, regex });
    }
    let set = RegexSet::new(rows.iter().map(|row| row.regex.as_str())).map_err(TableError::Set)?;
    Ok(Section { rows, set })
}

#[cfg(test)]
mod tests {
    use super::Table;

    fn complaint(rows: &str) -> String {
        let yaml =
            format!("splits: {{training: [], validation: []}}\nfragments: {{}}\nscalars: []\nhistograms:\n{rows}\n");
        Table::parse(&yaml).expect_err("a faulty table").to_string()
    }

    #[test]
    fn a_faulty_row_is_named_by_its_line() {
        let text = complaint("- {reads: nothing, pattern: a, note: n}\n- {reads: nothing, pattern: '(', note: n}");
        assert!(text.starts_with("signals.yaml line 6"), "{text}");
        let text = complaint("- {reads: weights, pattern: a, note: n}");
        assert!(text.contains("layer"), "{text}");
        let text = complaint("- {reads: wait, pattern: a, note: n}");
        assert!(text.contains("wait"), "{text}");
    }
}
