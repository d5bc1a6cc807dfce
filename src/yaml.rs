//! Reads human-written files and reports all mistakes at once with their positions.
//!
//! Owns: YAML as a tree with source positions, and the format of problems. Must not know: the meaning of a file.

mod problem;
mod tree;

pub use problem::Problem;
pub(crate) use problem::{Problems, Span, suggest};
pub(crate) use tree::{Fields, Key, Kind, Node, read};
