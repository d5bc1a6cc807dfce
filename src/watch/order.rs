//! The order of a run's files.
//!
//! Owns: interpretation of the name of an event file. Must not know: its content beyond the time of the first event.

use std::path::Path;

/// What files are ordered by: the second in the name, which says when the writer started; within it the time of the
/// first event; then the name.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(super) struct Key<'a> {
    started: f64,
    first_event: f64,
    path: &'a Path,
}

/// The key of a file. A name without a time leaves it to the first event; files without either come last, as they
/// have no events.
pub(super) fn key(path: &Path, first_event: Option<f64>) -> Key<'_> {
    let first_event = first_event.unwrap_or(f64::MAX);
    Key { started: started(path).unwrap_or(first_event.floor()), first_event, path }
}

/// `events.out.tfevents.<seconds>.<host>…`
fn started(path: &Path) -> Option<f64> {
    let name = path.file_name()?.to_string_lossy();
    let (_, after) = name.split_once("tfevents.")?;
    let digits = after.split('.').next()?;
    digits.parse::<u64>().ok().map(|seconds| seconds as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_ordered_by_start_then_first_event_then_name() {
        let mut files = [
            ("events.out.tfevents.1700000010.h.1.10", Some(1_700_000_010.1)),
            ("events.out.tfevents.1700000010.h.1.9", Some(1_700_000_010.0)),
            ("events.out.tfevents.1700000002.z", Some(1_700_000_500.0)),
            ("b.tfevents", Some(1_700_000_001.5)),
            ("a.tfevents", None),
            ("events.out.tfevents.1700000010.h.1.11", Some(1_700_000_010.1)),
        ];
        files.sort_by(|a, b| key(Path::new(a.0), a.1).partial_cmp(&key(Path::new(b.0), b.1)).expect("no key is NaN"));
        let names: Vec<_> = files.iter().map(|file| file.0.rsplit('.').next().unwrap_or_default()).collect();
        assert_eq!(names, ["tfevents", "z", "9", "10", "11", "tfevents"]);
    }
}
