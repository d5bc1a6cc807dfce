//! What is watched, and how: one entry for each log directory.

use std::borrow::Cow;
use std::ops::Deref;
use std::time::Duration;

use super::glob::Glob;
use super::policies::Policies;
use crate::logdir::Place;
use crate::series::relative;

/// Minimum silence before a job counts as ended, regardless of its usual interval; evaluations and checkpoints take
/// minutes.
pub(super) const QUIET_FLOOR: Duration = Duration::from_secs(600);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// All log directories in the order of the file; at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched(Vec<WatchSettings>);

impl Default for Watched {
    fn default() -> Self {
        Watched(vec![WatchSettings::default()])
    }
}

impl Deref for Watched {
    type Target = [WatchSettings];

    fn deref(&self) -> &[WatchSettings] {
        &self.0
    }
}

impl Watched {
    /// These directories; the default if there are none. Names matter only if there are several.
    pub fn new(mut directories: Vec<WatchSettings>) -> Watched {
        match directories.as_mut_slice() {
            [] => return Watched::default(),
            [only] => only.name = None,
            _ => {}
        }
        Watched(directories)
    }

    /// Watches this place instead.
    pub(super) fn replace(&mut self, place: &Place) {
        self.0.truncate(1);
        let before = self.0.pop().filter(|only| only.name.is_none()).unwrap_or_default();
        self.0.push(WatchSettings { logdir: Some(place.clone()), ..before });
    }

    pub(super) fn end_after(&mut self, silence: Duration) {
        self.0.iter_mut().for_each(|directory| directory.quiet_after = QuietAfter::Fixed(silence));
    }

    /// The log directory of a job, and the name of the job there; `None` if there is no such directory.
    pub fn of<'n>(&self, job: &'n str) -> Option<(&WatchSettings, Cow<'n, str>)> {
        self.0.iter().find_map(|directory| Some((directory, relative(directory.name.as_deref(), job)?)))
    }

    /// The directory of this name.
    pub fn named(&self, name: Option<&str>) -> Option<&WatchSettings> {
        self.0.iter().find(|directory| directory.name.as_deref() == name)
    }

    /// Whether to watch a job.
    pub fn watches(&self, job: &str) -> bool {
        self.of(job).is_some_and(|(directory, name)| directory.watches(&name))
    }

    /// Whether a destination that runs suggestions may run those about a job.
    pub fn may_run(&self, job: &str, destination: &str) -> bool {
        let queue = self.of(job).and_then(|(directory, _)| directory.queue.as_deref());
        queue.is_none_or(|queue| queue == destination)
    }
}

/// One log directory, and how it is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchSettings {
    /// Its name, with which the names of its jobs begin; `None` if there is only one.
    pub name: Option<String>,
    /// Where it is; `None`: given on the command line.
    pub logdir: Option<Place>,
    /// Jobs to watch, relative to the directory; all if empty.
    pub include: Vec<Glob>,
    /// Jobs to ignore; takes precedence over `include`.
    pub exclude: Vec<Glob>,
    /// The policies of its jobs, relative to the directory; `None`: those of the site.
    pub policy: Option<Policies>,
    /// The only destination that runs the suggestions about its jobs; `None`: all that run suggestions.
    pub queue: Option<String>,
    /// Runs whose files have not been modified for this long are skipped, and a job whose last event is older than this
    /// when first seen gets no case; `None`: all are read and judged.
    pub ignore_older_than: Option<Duration>,
    /// When a silent job counts as ended.
    pub quiet_after: QuietAfter,
    /// Interval for checking all followed files and looking for new ones, independent of notifications; `None`: depends
    /// on the storage.
    pub sweep: Option<Duration>,
    /// How to detect changes.
    pub poll: Poll,
}

impl Default for WatchSettings {
    fn default() -> Self {
        WatchSettings {
            name: None,
            logdir: None,
            include: Vec::new(),
            exclude: Vec::new(),
            policy: None,
            queue: None,
            ignore_older_than: Some(DAY),
            quiet_after: QuietAfter::default(),
            sweep: None,
            poll: Poll::Auto,
        }
    }
}

/// Calling stat on 10,000 files takes about 15 ms: less than 1 % of a core.
const SWEEP_DISK: Duration = Duration::from_secs(5);

/// Listing costs money: at USD 0.005 per 1,000 requests with 1,000 keys each, a million keys cost USD 14 per day.
const SWEEP_OBJECTS: Duration = Duration::from_secs(30);

impl WatchSettings {
    /// The default interval for checking every file.
    pub fn sweep(&self) -> Duration {
        let in_objects = matches!(self.logdir, Some(Place::Objects(_)));
        self.sweep.unwrap_or(if in_objects { SWEEP_OBJECTS } else { SWEEP_DISK })
    }

    /// Whether to watch a job, by its name relative to the directory.
    pub fn watches(&self, job: &str) -> bool {
        let any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(job));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

/// When a silent job counts as ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuietAfter {
    /// Based on the job's usual interval, but not before `floor`.
    Adaptive {
        /// The minimum silence.
        floor: Duration,
    },
    /// After this time.
    Fixed(Duration),
}

impl Default for QuietAfter {
    fn default() -> Self {
        QuietAfter::Adaptive { floor: QUIET_FLOOR }
    }
}

/// How to detect changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Poll {
    /// By notifications if the file system supports them, otherwise by polling.
    #[default]
    Auto,
    /// By polling only.
    Always,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> WatchSettings {
        WatchSettings { name: Some(name.to_owned()), ..WatchSettings::default() }
    }

    #[test]
    fn exclusion_is_stronger_than_inclusion() {
        let globs = |patterns: &[&str]| patterns.iter().filter_map(|p| Glob::new(p)).collect();
        let watch = WatchSettings { include: globs(&["a"]), exclude: globs(&["**/debug"]), ..WatchSettings::default() };
        assert!(watch.watches("a/1") && !watch.watches("b/1") && !watch.watches("a/debug/2"));
    }

    #[test]
    fn patterns_and_queues_belong_to_their_directory() {
        let vision = WatchSettings { include: vec![Glob::new("a").unwrap()], ..named("vision") };
        let nlp = WatchSettings { queue: Some("cluster".to_owned()), ..named("nlp") };
        let watched = Watched::new(vec![vision, nlp]);
        assert!(watched.watches("vision/a") && watched.watches("nlp/b"));
        assert!(!watched.watches("vision/b") && !watched.watches("a"));
        assert!(watched.may_run("vision/a", "other") && watched.may_run("nlp/b", "cluster"));
        assert!(!watched.may_run("nlp/b", "other"));
        assert_eq!(watched.of("nlp").map(|(_, name)| name), Some(".".into()));
    }

    #[test]
    fn one_directory_needs_no_name() {
        let watched = Watched::new(vec![named("vision")]);
        assert_eq!(watched.of("a/b").map(|(_, name)| name), Some("a/b".into()));
        assert_eq!(Watched::new(Vec::new()), Watched::default());
    }
}
