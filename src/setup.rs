//! What a new user needs to begin: which options of a script are which knobs, how sure that is, and the configuration that
//! follows.
//!
//! Owns: the evidence for each knob, the experiments that show the mapping, the text of the configuration, sweeps of W&B.
//! Must not know: files and processes; how sources are read and commands rewritten.

mod file;
mod plan;
mod proof;
mod sweep;
#[cfg(test)]
mod tests;

pub use file::{Written, configuration};
pub use plan::{Example, Grade, Logged, Mapping, Plan, plan};
pub use proof::{Proof, Trial, proofs, trial};
pub use sweep::{Sweep, SweepError, sweep};
