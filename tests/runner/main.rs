//! The runner with real processes: the real binary executes the runs posted to its socket.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stage; // a runner, its socket, its jobs

mod ends; // how jobs end, and how they are ended
mod kills; // killed without warning: runner and supervisors
mod rules; // who may run what
