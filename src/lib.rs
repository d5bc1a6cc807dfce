//! nextrun watches the TensorBoard event files of training jobs, detects jobs that do not learn, and finds the cause by
//! experiment.
//!
//! `docs/ARCHITECTURE.md` describes what each module owns and must not know, and `tests/architecture.rs` enforces it.
//! The pure core comes first: no files, no network, no clock; time is an argument. The edges follow.

/// Human-written files, with every mistake reported at its position.
pub mod yaml;

/// The status of a job, in one vocabulary.
pub mod fate;

/// How a job was started, as far as known.
pub mod launched;

/// Conversion of bytes to events.
pub mod tfevents;

/// The numbers of one run, in bounded memory.
pub mod series;

/// Charts of series, as SVG and PNG.
pub mod picture;

/// Grouping of runs into jobs, and their hyperparameters.
pub mod jobs;

/// The command of a job: the knobs that it sets and supports, and the same command with one change.
pub mod command;

/// The meaning of tags.
pub mod signals;

/// All numbers used in decisions.
pub mod numbers;

/// The state of a job as named quantities.
pub mod evidence;

/// Symptoms of a job, found by rules.
pub mod symptoms;

/// The probability that a job fails, and that a change fixes it.
pub mod belief;

/// The observations of one job, as the numbers that policies use.
pub mod facts;

/// The debugging sequence as a state machine in YAML.
pub mod policy;

/// Runs the tests of a policy.
pub mod rehearsal;

/// Short experiments that settle whether a suspicious job fails.
pub mod probe;

/// One investigation: journal, suggestions, messages to send.
pub mod case;

/// The sequence of the pure steps.
pub mod diagnosis;

/// First setup for new users.
pub mod setup;

/// Location of event files.
pub mod logdir;

/// Detection of new data.
pub mod watch;

/// Fault injection for tests.
mod fault;

/// Storage of cases and deliveries.
pub mod store;

/// Web pages about jobs and cases.
pub mod page;

/// The lines at the bottom of a terminal.
pub mod screen;

/// Log setup and the names of metrics.
pub mod telemetry;

/// The operator's configuration file.
pub mod config;

/// Files and repositories behind a command.
pub mod launch;

/// Answers of people, from any source.
pub mod answers;

/// Who receives which message, and when.
pub mod noise;

/// Sending to Slack, a job queue, or any webhook.
pub mod destinations;

/// Delivery of messages, with retries.
pub mod outbox;

/// Executes suggested runs on this machine.
pub mod runner;

/// The daemon's state over HTTP.
pub mod status;

/// Connects the parts, and shuts down in order.
pub mod daemon;

/// Sends the event files of this machine to a daemon on another one.
pub mod forward;

/// The command line: one file per command.
pub mod cli;
