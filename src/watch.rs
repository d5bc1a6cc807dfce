//! What is new in the event files of a log directory.
//!
//! Owns: one tail per file, what grew, replaced and vanished files, the order of a run's files. Must not know: tags'
//! meaning, policies.
//!
//! The data of a run are a function of the bytes of its files and of nothing else. Each file is read in its own order
//! into data of its own; a run with several files is the sum of theirs in the order of `watch/order.rs`, which does not
//! depend on which of them grew first. A run with one file, as nearly all have, is fed directly.

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
