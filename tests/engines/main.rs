//! Engines that answer, misbehave and forget: no run starts twice, none is left held, and what became of it is known.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api_server; // an API server of Kubernetes, with Kueue
mod stage; // a store, an outbox and one destination
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

mod kubernetes;
mod slurm;
