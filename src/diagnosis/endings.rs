//! Determines when all data of a job have been read after its end was reported.
//!
//! On network file systems, the last data become visible some time after a job has ended. A job whose end was reported
//! is therefore judged after one more complete scan without new data.

use std::collections::BTreeMap;

/// Complete scans, and the jobs whose end was reported.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// How many whole looks there were.
    looks: u64,
    /// When the newest one began, in seconds since the Unix epoch.
    looked_at: f64,
    ended: BTreeMap<String, Ending>,
}

/// The data of a job when its end was reported, or when it last grew after that.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ending {
    looks: u64,
    events: u64,
}

impl Endings {
    /// Everything that there is to read was looked at.
    pub(super) fn looked(&mut self, now: f64) {
        self.looks += 1;
        self.looked_at = now;
    }

    /// The end of a job was just reported, with this many known events. `key` names the job, or the suggestion.
    pub(super) fn told(&mut self, key: &str, events: u64) {
        self.ended.insert(key.to_owned(), Ending { looks: self.looks, events });
    }

    /// Another end of the job is awaited.
    pub(super) fn forget(&mut self, key: &str) {
        self.ended.remove(key);
    }

    /// Whether a complete scan after the reported end, and after the job last grew, found no new data. An end that an
    /// earlier process recorded at `told` needs one scan of this process.
    pub(super) fn nothing_new(&mut self, key: &str, events: u64, told: f64) -> bool {
        let (looks, looked_at) = (self.looks, self.looked_at);
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

    #[test]
    fn an_end_is_believed_after_one_look_without_news() {
        let mut endings = Endings::default();
        endings.looked(10.0);
        endings.told("a", 5);
        assert!(!endings.nothing_new("a", 5, 11.0), "nobody has looked since");
        endings.looked(12.0);
        assert!(!endings.nothing_new("a", 7, 11.0), "there was something new");
        endings.looked(13.0);
        assert!(endings.nothing_new("a", 7, 11.0));
    }

    #[test]
    fn a_new_process_looks_once_itself() {
        let mut endings = Endings::default();
        assert!(!endings.nothing_new("a", 7, 11.0));
        let mut endings = Endings::default();
        endings.looked(20.0);
        assert!(endings.nothing_new("a", 7, 11.0));
    }
}
