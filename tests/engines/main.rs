//! Engines that respond, misbehave and lose jobs: no run starts twice, none stays on hold, and the status is known.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api_server; // an API server of Kubernetes, with Kueue
mod stage; // a store, an outbox and one destination
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

mod kubernetes;
mod slurm;
