//! nextrun watches the TensorBoard event files of training jobs, sees which jobs are not learning, and finds out why
//! by experiment.
//!
//! `docs/ARCHITECTURE.md` says what each module owns and must not know, and `tests/architecture.rs` checks it. First comes
//! the pure core: no files, no network, no clock; time is an argument. The edges follow.

/// Files that people write, with every mistake at its place.
pub mod yaml;

/// What became of a job, in one vocabulary.
pub mod fate;

/// How a job was started, as far as that is known.
pub mod launched;

/// Bytes to events.
pub mod tfevents;

/// The numbers of one run, in bounded memory.
pub mod series;

/// Charts of series, as SVG and PNG.
pub mod picture;

/// Which runs are one training process, and with which hyperparameters.
pub mod jobs;

/// The command of a job: the knobs that it sets and takes, and the same command with one change.
pub mod command;

/// What a tag means.
pub mod signals;

/// Every number that decides.
pub mod numbers;

/// What a job shows, as named quantities.
pub mod evidence;

/// What is wrong with one job: a registry of detectors.
pub mod symptoms;

/// How probable it is that a job fails, and that a change would cure it.
pub mod belief;

/// What one job shows, as the numbers that policies read.
pub mod facts;

/// The debugging sequence as a state machine in YAML.
pub mod policy;

/// Runs a policy's own tests.
pub mod rehearsal;

pub mod case;
/// One investigation: journal, suggestions, what is owed to whom.
pub mod probe;

/// The order of the pure steps on one page.
pub mod diagnosis;

/// What a new user needs to begin.
pub mod setup;

/// Where event files are.
pub mod logdir;

/// What is new in them.
pub mod watch;

/// Where tests end the process.
mod fault;

/// Keeps cases and deliveries.
pub mod store;

/// What people see of jobs and cases in a browser.
pub mod page;

/// Log set-up and the names of metrics.
pub mod telemetry;

/// The operator's file.
pub mod config;

/// Files and repositories behind a command.
pub mod launch;

/// Answers of people, whichever way they come.
pub mod answers;

/// Who is told what, and when.
pub mod noise;

/// Says it elsewhere: Slack, a job queue, any webhook.
pub mod destinations;

/// Sends what is owed, again if need be.
pub mod outbox;

/// Runs suggested runs on this machine.
pub mod runner;

/// Says how the daemon is, over HTTP.
pub mod status;

/// Wires it, and stops in order.
pub mod daemon;

/// One file a command.
pub mod cli;
