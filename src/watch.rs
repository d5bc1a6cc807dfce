//! Detection and reading of new data in the event files of a log directory.
//!
//! Owns: one reader per file, detection of files that grew, vanished or were replaced, the order of a run's files. Must
//! not know: the meaning of tags, policies.
//!
//! The data of a run are a function of the bytes of its files alone. Each file is read in its own order into its own
//! data; a run with several files is their sum in the order of `watch/order.rs`, which does not depend on which of them
//! grew first. A run with one file, the usual case, is fed directly.

mod ahead;
mod feed;
mod history;
pub mod notify;
mod order;
mod replay;
mod run;
mod source;
mod watcher;
mod writers;

pub use replay::each_scalar;
pub use source::{FileState, FileStatus};
pub use watcher::{Changes, Options, Progress, TURN, Watcher};
