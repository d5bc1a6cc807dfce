//! The checked settings and all defaults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::case::{Approval, Budget, MessageKind, WhenControl};
use crate::signals::SiteRule;
use crate::store::Server;

use super::glob::Glob;
use super::launch::Launch;
use super::noise::{Noise, Route};
use super::people::{Approvers, Owners};
use super::policies::{Policies, PolicyChoice};
use super::secret::{Secret, SecretError, SecretSource, Variables};
use super::watch::Watched;

/// People asked by chat or mail have one day to answer.
pub const ASK_WAIT: Duration = DAY;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One job in twenty fails, unless the site sets another value.
const PRIOR: f64 = 0.05;

/// Fraction of jobs that fail on the local machine. It is higher because users start nextrun next to a script for a
/// reason.
const PRIOR_HERE: f64 = 0.2;

/// All settings of the operator.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The log directories.
    pub watch: Watched,
    /// Destinations of messages, in the order of the file.
    pub destinations: Vec<DestinationSettings>,
    /// Hosts that may receive messages; `None`: any host.
    pub allowed_hosts: Option<Vec<String>>,
    /// When to delay messages to people.
    pub noise: Noise,
    /// How to start scripts; the first entry that matches a job applies.
    pub launches: Vec<Launch>,
    /// The environment of experiments.
    pub experiments: Experiments,
    /// The policy for each job.
    pub policies: Policies,
    /// Limits of investigations.
    pub limits: Limits,
    /// When to repeat the baseline unchanged before changing anything.
    pub control: WhenControl,
    /// Which experiments need approval.
    pub approval: Approval,
    /// Who may approve and answer questions.
    pub approvers: Approvers,
    /// The owners of jobs.
    pub owners: Owners,
    /// Cost limits of experiments.
    pub budgets: Budgets,
    /// Which suspicious jobs may be examined by quiet probes.
    pub probes: Probes,
    /// The site's tag patterns, which precede the built-in ones.
    pub signals: Vec<SiteRule>,
    /// The prior probability that a job fails, as set by the site; see [`Settings::prior`].
    pub prior: Option<f64>,
    /// The directory of the database; empty until the defaults are applied.
    pub state: PathBuf,
    /// The database that this daemon shares with others; `None`: a file in `state`.
    pub store: Option<ServerSettings>,
    /// How long closed cases and their messages are kept.
    pub keep: Keep,
    /// The HTTP status page; `None`: disabled.
    pub status: Option<StatusSettings>,
    /// Whether this machine executes suggested runs.
    pub runner: Option<RunnerSettings>,
}

/// A database server for the cases.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSettings {
    /// Its address.
    pub server: Server,
    /// The source of the password; `None`: the variable `PGPASSWORD`, or no password.
    pub password: Option<SecretSource>,
}

/// Settings for executing suggested runs on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunnerSettings {
    /// Whether the runner may run as root.
    pub allow_root: bool,
}

/// Cost limits of experiments. An experiment that would exceed a budget waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Budgets {
    /// Limits per case.
    pub case: Budget,
    /// Limits for all experiments within a day.
    pub day: Budget,
    /// Limits for the experiments of some jobs within a day, in the order of the file.
    pub teams: Vec<Team>,
    /// GPUs per experiment.
    pub gpus: f64,
}

/// Jobs with a separate budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Team {
    /// Its name.
    pub name: String,
    /// Its jobs.
    pub jobs: Vec<Glob>,
    /// The limits for their experiments within a day.
    pub day: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        Budgets { case: Budget::default(), day: Budget::default(), teams: Vec::new(), gpus: 1.0 }
    }
}

/// Which suspicious jobs may be examined by quiet probes (experiments without messages), and the cost limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Probes {
    /// The jobs; none if empty.
    pub jobs: Vec<Glob>,
    /// Maximum total run time of a job's probes, as a fraction of the job's own run time.
    pub share: f64,
    /// Fraction of unsuspicious jobs that are probed to measure missed failures.
    pub audit: f64,
}

impl Default for Probes {
    /// A tenth of the run time is affordable, and probing one job in a hundred measures the missed failures within months.
    fn default() -> Self {
        Probes { jobs: Vec::new(), share: 0.1, audit: 0.01 }
    }
}

/// The environment of experiments.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiments {
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// A directory for output other than events, with `{suggestion_id}` and `{run_name}`; `None`: a directory below
    /// that of the run.
    pub output_dir: Option<String>,
}

impl Default for Experiments {
    /// Experiments must not appear among anyone's results, and need no downloads beyond those of the baseline.
    fn default() -> Self {
        let offline = [("HF_HUB_OFFLINE", "1"), ("WANDB_MODE", "offline")];
        let env = offline.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Experiments { env, output_dir: None }
    }
}

/// How long closed cases and their messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Permanently.
    Always,
    /// For this time.
    For(Duration),
}

impl Default for Keep {
    /// Three months, so that results are still available for reports.
    fn default() -> Self {
        Keep::For(DAY.saturating_mul(90))
    }
}

/// The HTTP status page. Disabled by default: two daemons on one machine would compete for the same port, and on a
/// login node every user could read the names of all jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSettings {
    /// The address; requires a read token if other machines can reach it.
    pub listen: SocketAddr,
    /// The tokens that requests must include.
    pub tokens: TokenSources,
    /// The address of a TensorBoard for the same log directory, used in links.
    pub tensorboard: Option<String>,
}

/// The sources of the status page's tokens, by permission.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSources {
    /// Permits reading cases and metrics; without it, everyone who can connect may read.
    pub read: Option<SecretSource>,
    /// Permits reporting the status of jobs; without it, nobody may report.
    pub report: Option<SecretSource>,
    /// Permits acting on behalf of a person; without it, nobody may act.
    pub act: Option<SecretSource>,
    /// Permits a machine to send the files below this directory of the forwarded log directory.
    pub forward: BTreeMap<String, SecretSource>,
}

/// How to handle a message that may have arrived if sending it again would show it twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnknown {
    /// Send it again; it may be duplicated.
    #[default]
    Resend,
    /// Hold it for a person to decide; it may be lost.
    Hold,
}

/// Whether messages can be delayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Patience {
    /// For programs, or for people who wait for it: each message is sent immediately.
    #[default]
    AtOnce,
    /// For people: silences, quiet hours and digests apply.
    MayWait,
}

/// A destination of messages.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationSettings {
    /// Its name.
    pub name: String,
    /// Its preset.
    pub preset: PresetChoice,
    /// The settings of the preset.
    pub fields: BTreeMap<String, FieldValue>,
    /// The setting with a token for each job owner, and the source of each token; `None`: all runs use one account.
    pub accounts: Option<(String, BTreeMap<String, SecretSource>)>,
    /// The kinds of message that it receives; `None`: the default of its preset.
    pub wants: Option<Vec<MessageKind>>,
    /// Which of these messages it receives.
    pub route: Route,
    /// Whether messages can be delayed; `None`: the default of its preset.
    pub patience: Option<Patience>,
    /// How to handle a message that may have arrived.
    pub on_unknown: OnUnknown,
    /// How long to retry a message.
    pub give_up_after: Duration,
    /// Response timeout.
    pub timeout: Duration,
    /// Interval for querying the status of its runs.
    pub status_every: Duration,
}

impl DestinationSettings {
    /// A destination with a built-in preset and no other settings.
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
            // A weekend, and Monday to notice.
            give_up_after: DAY.saturating_mul(3),
            // Standard Webhooks recommends 15 to 30 s; a Slurm REST daemon needs 9 s to report that its controller is
            // down.
            timeout: Duration::from_secs(30),
            // Short enough to detect a run that fails immediately, long enough not to burden a controller with
            // thousands of jobs.
            status_every: Duration::from_secs(15),
        }
    }

    /// Reads the tokens of job owners.
    ///
    /// # Errors
    ///
    /// The setting and the first owner whose token could not be read, with the reason.
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

    /// Reads the settings and their secrets.
    ///
    /// # Errors
    ///
    /// The first setting whose secret could not be read, with the reason.
    pub fn read_fields(&self, variables: &Variables) -> Result<BTreeMap<String, Secret>, (String, SecretError)> {
        let read = |(name, value): (&String, &FieldValue)| match value.read(variables) {
            Ok(secret) => Ok((name.clone(), secret)),
            Err(error) => Err((name.clone(), error)),
        };
        self.fields.iter().map(read).collect()
    }
}

/// A preset, by location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresetChoice {
    /// A built-in preset, by name.
    Shipped(String),
    /// A file of the site.
    File(PathBuf),
}

impl PresetChoice {
    /// Whether it is the built-in preset of this name.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, PresetChoice::Shipped(shipped) if shipped == name)
    }
}

/// The value of a destination's setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// Written in the file or on the command line.
    Plain(String),
    /// Stored elsewhere.
    Kept(SecretSource),
}

impl FieldValue {
    /// The value.
    ///
    /// # Errors
    ///
    /// The value is stored elsewhere and could not be read.
    pub fn read(&self, variables: &Variables) -> Result<Secret, SecretError> {
        match self {
            FieldValue::Plain(text) => Ok(Secret::new(text)),
            FieldValue::Kept(source) => source.read(variables),
        }
    }
}

impl Settings {
    /// The policy that the site sets for a job; `None`: the built-in policy for its kind of training. The setting of its
    /// log directory takes precedence.
    pub fn policy_of(&self, job: &str) -> Option<&PolicyChoice> {
        let own = self.watch.of(job).and_then(|(directory, name)| directory.policy.as_ref().map(|own| (own, name)));
        own.map_or_else(|| self.policies.of(job), |(own, name)| own.of(&name))
    }

    /// All named policies, the default first.
    pub fn named_policies(&self) -> impl Iterator<Item = &PolicyChoice> {
        self.policies.all().chain(self.watch.iter().filter_map(|one| one.policy.as_ref()).flat_map(Policies::all))
    }

    /// The prior probability that a job fails.
    pub fn prior(&self) -> f64 {
        self.prior.unwrap_or(if self.runner.is_some() { PRIOR_HERE } else { PRIOR })
    }
}

/// Limits of investigations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Maximum experiments per case; `None`: set by its policy.
    pub experiments: Option<u32>,
    /// Maximum total hours of the experiments of a case; `None`: set by its policy.
    pub hours: Option<f64>,
    /// Maximum number of open suggestions of all cases.
    pub at_once: u32,
    /// If an experiment has not logged anything within this time after its suggestion, it counts as not started.
    pub start_within: Duration,
    /// How long a question waits before the case continues without an answer; `None`: [`ASK_WAIT`] if a destination
    /// reaches people, otherwise zero.
    pub ask_wait: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        // Eight suggestions do not flood a queue when a whole sweep fails for one reason.
        Limits { experiments: None, hours: None, at_once: 8, start_within: HOUR * 24, ask_wait: None }
    }
}

impl Settings {
    /// How to start the script of a job.
    pub fn launch_of(&self, job: &str) -> Launch {
        self.launches.iter().find(|launch| launch.is_for(job)).cloned().unwrap_or_default()
    }

    /// Fills in defaults that depend on the environment: the directory of the database, and the terminal if no other
    /// destination is set.
    pub(super) fn fill_defaults(&mut self, variables: &Variables) {
        if self.destinations.is_empty() {
            self.destinations.push(DestinationSettings::new("terminal", "terminal"));
        }
        if self.state.as_os_str().is_empty() {
            self.state = state_folder(variables);
        }
    }
}

/// systemd's choice, otherwise the user's, otherwise the working directory.
fn state_folder(variables: &Variables) -> PathBuf {
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    // systemd separates several directories with colons; the unit requests one.
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
}
