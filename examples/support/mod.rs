//! What stands around a training program when nextrun looks after it: the job queue and the daemon.
//!
//! Owns: processes and HTTP. Must not know: what is trained.

pub(crate) mod daemon;
pub(crate) mod queue;
