//! nextrun watches the TensorBoard event files of training jobs, sees which jobs are not learning, and finds out why
//! by experiment.
//!
//! The modules stand in the order of the data flow; `docs/ARCHITECTURE.md` says what each owns and must not know, and
//! `tests/architecture.rs` holds it to that.

// The pure core: no files, no network, no clock. Time is an argument.
pub mod case; // one investigation: journal, suggestions, what is owed to whom
pub mod diagnosis; // the order of the pure steps on one page
pub mod facts; // what one job shows, as the numbers that policies read
pub mod jobs; // which runs are one training process, and with which hyperparameters
pub mod policy; // the debugging sequence as a state machine in YAML
pub mod rehearsal;
pub mod series; // the numbers of one run, in bounded memory
pub mod signals; // what a tag means
pub mod symptoms; // what is wrong with one job: a registry of detectors
pub mod tfevents; // bytes to events // runs a policy's own tests
pub mod yaml; // files that people write, with every mistake at its place

// The edges.
pub mod cli;
pub mod config; // the operator's file
pub mod daemon; // wires it, and stops in order
pub mod destinations; // says it elsewhere: Slack, a job queue, any webhook
mod fault; // where tests end the process
pub mod logdir; // where event files are
pub mod noise; // who is told what, and when
pub mod outbox; // sends what is owed, again if need be
pub mod status; // says how the daemon is, over HTTP
pub mod store; // keeps cases and deliveries
pub mod telemetry; // log set-up
pub mod watch; // what is new in them // one file a command
