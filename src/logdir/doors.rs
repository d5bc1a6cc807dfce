//! Links that lead out of a log directory: each external directory is entered through one of them.
//!
//! Owns: which link that is. Must not know: storage.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Below;

/// The links by which directories outside of the log directory are entered.
#[derive(Debug, Clone, Default)]
pub struct Doors {
    /// Where each leads to, and its name.
    open: BTreeMap<PathBuf, PathBuf>,
}

impl Doors {
    /// Whether a directory should be scanned: it is not a link, or its target is not within an already entered
    /// directory.
    pub fn opens(&mut self, directory: &Below) -> bool {
        let Some(target) = &directory.target else { return true };
        let mut above = target.ancestors().filter_map(|part| self.open.get(part));
        match above.next() {
            Some(name) => *name == directory.path,
            None => {
                self.open.insert(target.clone(), directory.path.clone());
                true
            }
        }
    }

    /// A directory has disappeared, with all links below it.
    pub fn gone(&mut self, directory: &std::path::Path) {
        self.open.retain(|_, name| !name.starts_with(directory));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_place_is_entered_by_one_link() {
        let mut doors = Doors::default();
        let link = |path: &str, target: &str| Below { path: path.into(), target: Some(target.into()) };
        assert!(doors.opens(&link("a", "/data/x")) && doors.opens(&link("a", "/data/x")));
        assert!(!doors.opens(&link("b", "/data/x")) && !doors.opens(&link("b", "/data/x/deep")));
        assert!(doors.opens(&link("c", "/data/xy")) && doors.opens(&Below { path: "d".into(), target: None }));
        doors.gone(Path::new("a"));
        assert!(doors.opens(&link("b", "/data/x")));
    }
}
