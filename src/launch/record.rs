//! `nextrun.json`, which `nextrun run` writes next to the events of a command.
//!
//! Owns: the fields of the file and how it is written. Must not know: how the runs of a command are found.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::launched::Launched;

/// The data about one command.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// The command, its directory, its code, its knobs and settings.
    #[serde(flatten)]
    pub launched: Launched,
    /// Names of the variables in its environment.
    pub env: Vec<String>,
    /// Start time, RFC 3339.
    pub started: String,
    /// End time.
    pub ended: Option<String>,
    /// Exit code, or 128 plus the number of the signal that ended it.
    pub exit_code: Option<i32>,
    /// The suggestion that it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion_id: Option<String>,
}

/// The name of the file.
pub const NAME: &str = "nextrun.json";

impl Record {
    /// Writes the file to a directory atomically. Replaces the file of an earlier run, but keeps a suggestion id that
    /// another program has written since `started` (seconds since the Unix epoch).
    ///
    /// # Errors
    ///
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path, since: f64) -> io::Result<()> {
        let mut record = serde_json::to_value(self)?;
        if self.suggestion_id.is_none()
            && let (Some(suggestion), Some(map)) = (noted(&folder.join(NAME), since), record.as_object_mut())
        {
            map.insert("suggestion_id".to_owned(), suggestion);
        }
        let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(folder)?;
        file.write_all(serde_json::to_string_pretty(&record)?.as_bytes())?;
        file.write_all(b"\n")?;
        file.persist(folder.join(NAME))?;
        Ok(())
    }
}

fn noted(path: &Path, since: f64) -> Option<Value> {
    let modified = fs::metadata(path).ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    if modified.as_secs_f64() < since {
        return None;
    }
    let known: BTreeMap<String, Value> = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    known.get("suggestion_id").filter(|id| id.is_string()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_file_has_the_fields_of_the_contract_and_reads_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let launched = Launched { argv: vec!["python".into(), "t.py".into()], cwd: "/w".into(), ..Launched::default() };
        let record = Record {
            launched,
            env: vec!["PATH".into()],
            started: "2026-01-01T00:00:00Z".into(),
            ended: None,
            exit_code: Some(3),
            suggestion_id: None,
        };
        record.write(dir.path(), 0.0).expect("it is written");
        let text = fs::read_to_string(dir.path().join(NAME)).expect("it is there");
        let read: Value = serde_json::from_str(&text).expect("JSON");
        for (field, value) in [
            ("argv", json!(["python", "t.py"])),
            ("cwd", json!("/w")),
            ("env", json!(["PATH"])),
            ("exit_code", json!(3)),
            ("ended", json!(null)),
        ] {
            assert_eq!(read[field], value, "{field}");
        }
        assert_eq!(crate::logdir::launched(&text, None).map(|launched| launched.argv.len()), Some(2));
        assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 1, "nothing else is left");
    }

    #[test]
    fn a_suggestion_that_the_run_noted_is_kept_and_an_old_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let record = Record {
            launched: Launched::default(),
            env: vec![],
            started: String::new(),
            ended: None,
            exit_code: None,
            suggestion_id: None,
        };
        let noted = |since: f64| {
            fs::write(dir.path().join(NAME), r#"{"suggestion_id": "s1"}"#).expect("a file");
            record.write(dir.path(), since).expect("it is written");
            fs::read_to_string(dir.path().join(NAME)).expect("it is there").contains("s1")
        };
        assert!(noted(0.0) && !noted(9e9));
    }
}
