//! The command of a job: the knobs that it sets and supports, and the same command with one change.
//!
//! Owns: reading command lines and the source of scripts, and rewriting them. Must not know: files and processes (their
//! text is passed in), policies, who runs a command.
//!
//! Scripts are analysed by reading their source as text, without executing them.

mod files;
mod fixed;
mod learn;
mod meaning;
mod options;
mod peel;
mod place;
mod printed;
mod python;
mod rewrite;
mod secrets;
mod shell;
mod style;
#[cfg(test)]
mod tests;
mod units;
mod value;
mod words;

pub use learn::{Offered, Seen, Survey, learn, survey};
pub use peel::{Peeled, Script, peel};
pub use place::Placed;
pub use printed::Printed;
pub use rewrite::{Rewritten, Target, given, rewrite, takes, words_for};
pub use secrets::{MASK, is_secret_name, masked, masked_line};
pub use shell::{hydra, is_one_program, shell};
pub use style::Style;
pub use value::{decimal, is_float, typed};
