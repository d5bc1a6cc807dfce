//! First setup: which options of a script correspond to which knobs, with what certainty, and the resulting
//! configuration.
//!
//! Owns: the evidence for each knob, the experiments that demonstrate the mapping, the text of the configuration, W&B
//! sweeps. Must not know: files and processes; how sources are read and commands rewritten.

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
