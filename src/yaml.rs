//! Files that people write, read so that every mistake is shown at its place and all of them at once.
//!
//! Owns: YAML as a tree with places, and how a problem reads. Must not know: what a file means.

mod problem;
mod tree;

pub use problem::Problem;
pub(crate) use problem::{Place, Problems, suggest};
pub(crate) use tree::{Fields, Key, Kind, Node, read};
