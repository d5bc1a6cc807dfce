//! Determines when all data of a job have been read after its end was reported.
//!
//! On network file systems, the last data become visible some time after a job has ended. A job whose end was reported
//! is therefore judged after one more complete scan without new data.

use std::collections::BTreeMap;

/// Complete scans, and the jobs whose end was reported.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// By directory: the scans of one say nothing about another.
    scans: BTreeMap<Option<String>, Scans>,
    ended: BTreeMap<String, Ending>,
}

/// The complete scans of one directory.
#[derive(Debug, Clone, Copy, Default)]
struct Scans {
    looks: u64,
    /// When the newest one began, in seconds since the Unix epoch.
    looked_at: f64,
}

/// The data of a job when its end was reported, or when it last grew after that.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ending {
    looks: u64,
    events: u64,
}

/// The directory of a job, and the job or its suggestion.
pub(super) type Key<'a> = (&'a Option<String>, &'a str);

impl Endings {
    /// Everything that there is to read in a directory was looked at.
    pub(super) fn looked(&mut self, directory: Option<&str>, now: f64) {
        let scans = self.scans.entry(directory.map(str::to_owned)).or_default();
        *scans = Scans { looks: scans.looks + 1, looked_at: now };
    }

    /// The end of a job was just reported, with this many known events.
    pub(super) fn told(&mut self, (directory, key): Key<'_>, events: u64) {
        let looks = self.scans.get(directory).copied().unwrap_or_default().looks;
        self.ended.insert(key.to_owned(), Ending { looks, events });
    }

    /// Another end of the job is awaited.
    pub(super) fn forget(&mut self, key: &str) {
        self.ended.remove(key);
    }

    /// Whether a complete scan after the reported end, and after the job last grew, found no new data. An end that an
    /// earlier process recorded at `told` needs one scan of this process.
    pub(super) fn nothing_new(&mut self, (directory, key): Key<'_>, events: u64, told: f64) -> bool {
        let Scans { looks, looked_at } = self.scans.get(directory).copied().unwrap_or_default();
        let first = || Ending { looks: if told < looked_at { looks.saturating_sub(1) } else { looks }, events };
        let ending = self.ended.entry(key.to_owned()).or_insert_with(first);
        if ending.events != events {
            *ending = Ending { looks, events };
        }
        looks > ending.looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key<'_> = (&None, "a");

    #[test]
    fn an_end_is_believed_after_one_look_without_news() {
        let mut endings = Endings::default();
        endings.looked(None, 10.0);
        endings.told(A, 5);
        assert!(!endings.nothing_new(A, 5, 11.0), "nobody has looked since");
        endings.looked(None, 12.0);
        assert!(!endings.nothing_new(A, 7, 11.0), "there was something new");
        endings.looked(None, 13.0);
        assert!(endings.nothing_new(A, 7, 11.0));
    }

    #[test]
    fn a_new_process_looks_once_itself() {
        let mut endings = Endings::default();
        assert!(!endings.nothing_new(A, 7, 11.0));
        let mut endings = Endings::default();
        endings.looked(None, 20.0);
        assert!(endings.nothing_new(A, 7, 11.0));
    }

    #[test]
    fn a_look_at_one_directory_says_nothing_about_another() {
        let (mut endings, slow) = (Endings::default(), Some("slow".to_owned()));
        endings.told((&slow, "slow/a"), 5);
        endings.looked(Some("fast"), 12.0);
        assert!(!endings.nothing_new((&slow, "slow/a"), 5, 11.0));
        endings.looked(Some("slow"), 13.0);
        assert!(endings.nothing_new((&slow, "slow/a"), 5, 11.0));
    }
}
