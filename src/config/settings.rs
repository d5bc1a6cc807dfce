//! The checked settings, with their defaults in one place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::case::{Approval, Budget, MessageKind, WhenControl};
use crate::logdir::Place;
use crate::signals::SiteRule;

use super::glob::Glob;
use super::launch::Launch;
use super::noise::{Noise, Route};
use super::people::{Approvers, Owners};
use super::secret::{Secret, SecretError, SecretSource, Variables};

/// People who are asked through a chat or by mail have until the same time of the next day.
pub const ASK_WAIT: Duration = DAY;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A quiet job is not called ended before this, whatever its rhythm: evaluations and checkpoints take minutes.
pub(super) const QUIET_FLOOR: Duration = MINUTE.saturating_mul(10);

/// One job in twenty fails, until the site knows better.
const PRIOR: f64 = 0.05;

/// The share of jobs that fail where they are run on this machine: whoever starts nextrun beside a script has a reason to.
const PRIOR_HERE: f64 = 0.2;

/// Everything that the operator may set.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What is watched.
    pub watch: WatchSettings,
    /// Where messages go, in the order of the file.
    pub destinations: Vec<DestinationSettings>,
    /// The hosts that messages may go to; any where this is `None`.
    pub allowed_hosts: Option<Vec<String>>,
    /// When messages for people wait.
    pub noise: Noise,
    /// How scripts are started; the first that is for a job counts.
    pub launches: Vec<Launch>,
    /// What every experiment is given besides its command.
    pub experiments: Experiments,
    /// Which policy a job is investigated with.
    pub policies: Policies,
    /// How far investigations go.
    pub limits: Limits,
    /// When the baseline is repeated unchanged before anything is changed.
    pub control: WhenControl,
    /// Which experiments need a person's consent.
    pub approval: Approval,
    /// Who may give it, and answer questions.
    pub approvers: Approvers,
    /// Whose jobs are whose.
    pub owners: Owners,
    /// What experiments may cost.
    pub budgets: Budgets,
    /// The site's own patterns of tags, before those that are built in.
    pub signals: Vec<SiteRule>,
    /// The share of all jobs that fail, before anything is known of one, as the site sets it; see [`Settings::prior`].
    pub prior: Option<f64>,
    /// The folder for the database; empty until the defaults are filled in.
    pub state: PathBuf,
    /// How long closed cases and what was sent for them are kept.
    pub keep: Keep,
    /// Where the daemon says over HTTP how it is; `None`: nowhere.
    pub status: Option<StatusSettings>,
    /// Whether suggested runs are run on this machine.
    pub runner: Option<RunnerSettings>,
}

/// Suggested runs are run on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunnerSettings {
    /// The runner may run as root.
    pub allow_root: bool,
}

/// What experiments may cost; what would exceed a budget waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Budgets {
    /// The experiments of one case.
    pub case: Budget,
    /// All experiments of a day.
    pub day: Budget,
    /// The experiments of some jobs, on a day, in the order of the file.
    pub teams: Vec<Team>,
    /// GPUs that an experiment has.
    pub gpus: f64,
}

/// Jobs with a budget of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Team {
    /// Its name.
    pub name: String,
    /// Its jobs.
    pub jobs: Vec<Glob>,
    /// What their experiments may cost on a day.
    pub day: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        Budgets { case: Budget::default(), day: Budget::default(), teams: Vec::new(), gpus: 1.0 }
    }
}

/// What every experiment is given besides its command.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiments {
    /// Variables that are set for it.
    pub env: BTreeMap<String, String>,
    /// A folder for what it writes besides events, with `{suggestion_id}` and `{run_name}`; `None`: one below its run's.
    pub output_dir: Option<String>,
}

impl Default for Experiments {
    /// An experiment is nobody's result: it must not show up among those, and needs nothing that its baseline did not
    /// fetch.
    fn default() -> Self {
        let offline = [("HF_HUB_OFFLINE", "1"), ("WANDB_MODE", "offline")];
        let env = offline.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Experiments { env, output_dir: None }
    }
}

/// How long closed cases and what was sent for them are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// For ever.
    Always,
    /// For this time.
    For(Duration),
}

impl Default for Keep {
    /// A quarter: what was found is still there when somebody writes about it.
    fn default() -> Self {
        Keep::For(DAY.saturating_mul(90))
    }
}

/// Where the daemon says over HTTP how it is. It is off unless asked for: two daemons on one machine would want the same
/// port, and on a login node every user could read the names of all jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSettings {
    /// The address; with a token for reading where others than this machine can reach it.
    pub listen: SocketAddr,
    /// What requests must bring.
    pub tokens: TokenSources,
}

/// Where the tokens of the status page come from, by what they allow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSources {
    /// To see cases and metrics; without it everybody who can connect may.
    pub read: Option<SecretSource>,
    /// To report what became of jobs; without it nobody may.
    pub report: Option<SecretSource>,
    /// To act for a person; without it nobody may.
    pub act: Option<SecretSource>,
}

/// What is watched, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchSettings {
    /// The log directories.
    pub logdirs: Vec<Place>,
    /// Jobs to look at; all where this is empty.
    pub include: Vec<Glob>,
    /// Jobs to leave alone, whatever `include` says.
    pub exclude: Vec<Glob>,
    /// A run none of whose files was modified for so long is not read, and a job whose last event is older than this when it
    /// is first seen gets no case; `None`: all are read and judged.
    pub ignore_older_than: Option<Duration>,
    /// When a silent job counts as ended.
    pub quiet_after: QuietAfter,
    /// How often every file that is followed is looked at, and new ones are looked for, whatever the notifications say;
    /// `None`: what suits the storage.
    pub sweep: Option<Duration>,
    /// How growth is noticed.
    pub poll: Poll,
}

impl Default for WatchSettings {
    fn default() -> Self {
        WatchSettings {
            logdirs: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            ignore_older_than: Some(DAY),
            quiet_after: QuietAfter::default(),
            sweep: None,
            poll: Poll::Auto,
        }
    }
}

/// A stat of 10,000 files costs some 15 ms: under 1 % of a core.
const SWEEP_DISK: Duration = Duration::from_secs(5);

/// Listings are paid for: at 0.005 USD a thousand, each of a thousand keys, a million keys cost 14 USD a day.
const SWEEP_OBJECTS: Duration = Duration::from_secs(30);

impl WatchSettings {
    /// How often every file is looked at, if nothing else is said.
    pub fn sweep(&self) -> Duration {
        let in_objects = self.logdirs.iter().any(|place| matches!(place, Place::Objects(_)));
        self.sweep.unwrap_or(if in_objects { SWEEP_OBJECTS } else { SWEEP_DISK })
    }

    /// Whether a job is looked at.
    pub fn watches(&self, job: &str) -> bool {
        let any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(job));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

/// When a silent job counts as ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuietAfter {
    /// By its own rhythm, but not before `floor`.
    Adaptive {
        /// The least silence.
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

/// How growth is noticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Poll {
    /// By notifications where the file system has them, else by looking.
    #[default]
    Auto,
    /// By looking only.
    Always,
}

/// What becomes of a message that may or may not have arrived, where sending it again would show it twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnknown {
    /// It is sent again: rather twice than never.
    #[default]
    Resend,
    /// It is kept for a person to decide: rather never than twice.
    Hold,
}

/// Whether messages may wait for a better moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Each goes out at once.
    AtOnce,
    /// Silences, quiet times and digests apply.
    MayWait,
}

/// A place where messages go.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationSettings {
    /// Its name.
    pub name: String,
    /// The preset that it follows.
    pub preset: PresetChoice,
    /// What the preset asks for.
    pub fields: BTreeMap<String, FieldValue>,
    /// The setting that holds a token for each owner of jobs, and where each is kept; `None`: all runs go under one
    /// account.
    pub accounts: Option<(String, BTreeMap<String, SecretSource>)>,
    /// The kinds of message that it gets; `None`: what its preset says.
    pub wants: Option<Vec<MessageKind>>,
    /// Which of them it gets.
    pub route: Route,
    /// Whether they may wait; `None`: what its preset says.
    pub patience: Option<Patience>,
    /// What becomes of a message that may have arrived.
    pub on_unknown: OnUnknown,
    /// How long a message is tried.
    pub give_up_after: Duration,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// How often it is asked what became of the runs that it has.
    pub status_every: Duration,
}

impl DestinationSettings {
    /// A destination with nothing but a preset that comes with nextrun.
    pub fn new(name: &str, preset: &str) -> DestinationSettings {
        DestinationSettings {
            name: name.to_owned(),
            preset: PresetChoice::Shipped(preset.to_owned()),
            fields: BTreeMap::new(),
            accounts: None,
            wants: None,
            route: Route::All,
            patience: None,
            on_unknown: OnUnknown::default(),
            // A weekend, and the Monday to notice.
            give_up_after: DAY.saturating_mul(3),
            // Standard Webhooks asks for 15 to 30 s; a Slurm REST daemon needs 9 s to say that its controller is down.
            timeout: Duration::from_secs(30),
            // A run that fails at once is seen soon, and a controller that serves thousands is not kept busy.
            status_every: Duration::from_secs(15),
        }
    }

    /// The tokens of the owners of jobs, read.
    ///
    /// # Errors
    ///
    /// The setting with the first owner whose token could not be read, with the reason.
    pub fn read_accounts(
        &self,
        variables: &Variables,
    ) -> Result<Option<BTreeMap<String, Secret>>, (String, SecretError)> {
        let Some((field, accounts)) = &self.accounts else { return Ok(None) };
        let read = |(owner, source): (&String, &SecretSource)| match source.read(variables) {
            Ok(secret) => Ok((owner.clone(), secret)),
            Err(error) => Err((format!("{field}.{owner}"), error)),
        };
        accounts.iter().map(read).collect::<Result<_, _>>().map(Some)
    }

    /// The fields with their secrets read.
    ///
    /// # Errors
    ///
    /// The first field whose secret could not be read, with the reason.
    pub fn read_fields(&self, variables: &Variables) -> Result<BTreeMap<String, Secret>, (String, SecretError)> {
        let read = |(name, value): (&String, &FieldValue)| match value.read(variables) {
            Ok(secret) => Ok((name.clone(), secret)),
            Err(error) => Err((name.clone(), error)),
        };
        self.fields.iter().map(read).collect()
    }
}

/// A preset, by where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresetChoice {
    /// One that comes with nextrun, by its name.
    Shipped(String),
    /// A file of the site's own.
    File(PathBuf),
}

impl PresetChoice {
    /// Whether it is the one of this name that comes with nextrun.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, PresetChoice::Shipped(shipped) if shipped == name)
    }
}

/// The value of a destination's setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// As it stands in the file or on the command line.
    Plain(String),
    /// Kept elsewhere.
    Kept(SecretSource),
}

impl FieldValue {
    /// The value.
    ///
    /// # Errors
    ///
    /// It is kept elsewhere and could not be read there.
    pub fn read(&self, variables: &Variables) -> Result<Secret, SecretError> {
        match self {
            FieldValue::Plain(text) => Ok(Secret::new(text)),
            FieldValue::Kept(source) => source.read(variables),
        }
    }
}

/// Which policy a job is investigated with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policies {
    /// The policy of all other jobs; `None`: the built-in one for a job's kind of training.
    pub default: Option<PolicyChoice>,
    /// Policies by job: the first pattern that matches counts.
    pub by_job: Vec<(Glob, PolicyChoice)>,
}

impl Settings {
    /// The share of all jobs that fail, before anything is known of one.
    pub fn prior(&self) -> f64 {
        self.prior.unwrap_or(if self.runner.is_some() { PRIOR_HERE } else { PRIOR })
    }
}

impl Policies {
    /// The policy that the site names for a job; `None`: the one for its kind of training.
    pub fn of(&self, job: &str) -> Option<&PolicyChoice> {
        let named = self.by_job.iter().find(|(glob, _)| glob.matches(job)).map(|(_, choice)| choice);
        named.or(self.default.as_ref())
    }

    /// Every policy that is named, the default first.
    pub fn all(&self) -> impl Iterator<Item = &PolicyChoice> {
        self.default.iter().chain(self.by_job.iter().map(|(_, choice)| choice))
    }
}

/// A policy, by where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyChoice {
    /// One that is built in, by its name.
    BuiltIn(String),
    /// A file.
    File(PathBuf),
}

/// How far investigations go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Experiments of one case; `None`: what its policy says.
    pub experiments: Option<u32>,
    /// Hours that the experiments of one case may run, in all; `None`: what its policy says.
    pub hours: Option<f64>,
    /// Suggestions of all cases that may be open at once.
    pub at_once: u32,
    /// An experiment that has not logged anything so long after it was suggested never started.
    pub start_within: Duration,
    /// How long a question waits for an answer before the case goes on without one; `None`: [`ASK_WAIT`] where a
    /// destination reaches people, else not at all.
    pub ask_wait: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        // Eight are few enough not to flood a queue when a whole sweep fails for one reason.
        Limits { experiments: None, hours: None, at_once: 8, start_within: HOUR * 24, ask_wait: None }
    }
}

impl Settings {
    /// How the script of a job is started.
    pub fn launch_of(&self, job: &str) -> Launch {
        self.launches.iter().find(|launch| launch.is_for(job)).cloned().unwrap_or_default()
    }

    /// Fills in what depends on the surroundings: the folder for the database, and the terminal where nothing else was
    /// asked for.
    pub(super) fn fill_defaults(&mut self, variables: &Variables) {
        if self.destinations.is_empty() {
            self.destinations.push(DestinationSettings::new("terminal", "terminal"));
        }
        if self.state.as_os_str().is_empty() {
            self.state = state_folder(variables);
        }
    }
}

/// systemd's choice, else the user's, else the working directory's.
fn state_folder(variables: &Variables) -> PathBuf {
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    // systemd joins several with colons; the unit asks for one.
    let systemd = set("STATE_DIRECTORY").and_then(|value| value.split(':').next()).map(PathBuf::from);
    let xdg = || set("XDG_STATE_HOME").map(|home| Path::new(home).join("nextrun"));
    let home = || set("HOME").map(|home| Path::new(home).join(".local/state/nextrun"));
    systemd.or_else(xdg).or_else(home).unwrap_or_else(|| PathBuf::from(".nextrun"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_where_the_system_wants_it() {
        let folder = |pairs: &[(&str, &str)]| {
            state_folder(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let home = ("HOME", "/home/ada");
        assert_eq!(folder(&[home, ("STATE_DIRECTORY", "/var/lib/nextrun")]), Path::new("/var/lib/nextrun"));
        assert_eq!(folder(&[home, ("XDG_STATE_HOME", "/s")]), Path::new("/s/nextrun"));
        assert_eq!(folder(&[home, ("XDG_STATE_HOME", "")]), Path::new("/home/ada/.local/state/nextrun"));
        assert_eq!(folder(&[]), Path::new(".nextrun"));
    }

    #[test]
    fn exclusion_is_stronger_than_inclusion() {
        let globs = |patterns: &[&str]| patterns.iter().filter_map(|p| Glob::new(p)).collect();
        let watch = WatchSettings { include: globs(&["a"]), exclude: globs(&["**/debug"]), ..WatchSettings::default() };
        assert!(watch.watches("a/1") && !watch.watches("b/1") && !watch.watches("a/debug/2"));
    }
}
