//! A log directory that has another name than before, with which the names of its jobs begin.
//!
//! Owns: the names of jobs in a case. Must not know: why a directory is renamed.

use serde_json::json;

use super::{Case, JournalEntry};
use crate::series::{joined, relative};

/// A renamed log directory; `None` is the name of one that is the only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// Its name so far.
    pub from: Option<String>,
    /// Its name from now on.
    pub to: Option<String>,
}

impl Renamed {
    /// The new name of a job; `None` if it keeps its name.
    pub fn name_of(all: &[Renamed], job: &str) -> Option<String> {
        all.iter().find_map(|renamed| {
            let name = relative(renamed.from.as_deref(), job)?;
            Some(joined(renamed.to.as_deref(), &name).into_owned())
        })
    }
}

impl Case {
    /// Gives the jobs of this case their new names at `now` (seconds since the Unix epoch); `None` if they keep them.
    pub fn rename_jobs(&mut self, all: &[Renamed], now: f64) -> Option<JournalEntry> {
        let renamed = all.iter().find(|renamed| renamed.from == self.logdir)?;
        let rename = |name: &mut String| {
            if let Some(new) = Renamed::name_of(std::slice::from_ref(renamed), name) {
                *name = new;
            }
        };
        let before = self.baseline.clone();
        rename(&mut self.baseline);
        for experiment in &mut self.experiments {
            rename(&mut experiment.run_name);
            experiment.job.iter_mut().chain(&mut experiment.runs).for_each(rename);
        }
        self.logdir.clone_from(&renamed.to);
        let detail = json!({ "from": before, "to": self.baseline, "why": "its log directory has another name" });
        Some(JournalEntry { time: now, kind: "renamed".to_owned(), detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_directory_also_if_two_exchange_theirs() {
        let renamed =
            |from: Option<&str>, to: Option<&str>| Renamed { from: from.map(str::to_owned), to: to.map(str::to_owned) };
        let name = |all: &[Renamed], job: &str| Renamed::name_of(all, job);
        let first = [renamed(None, Some("vision"))];
        assert_eq!(name(&first, "resnet/7").as_deref(), Some("vision/resnet/7"));
        assert_eq!(name(&first, ".").as_deref(), Some("vision"));
        let alone = [renamed(Some("vision"), None)];
        assert_eq!(name(&alone, "vision/resnet/7#h.2").as_deref(), Some("resnet/7#h.2"));
        assert_eq!(name(&alone, "nlp/resnet/7"), None);
        let exchanged = [renamed(Some("a"), Some("b")), renamed(Some("b"), Some("a"))];
        assert_eq!(
            (name(&exchanged, "a/x").as_deref(), name(&exchanged, "b/x").as_deref()),
            (Some("b/x"), Some("a/x"))
        );
    }
}
