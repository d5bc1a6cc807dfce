//! The numbers of one run in bounded memory: a [`Sketch`] a tag, texts, hyperparameters, session marks.
//!
//! Owns: how points are summarised and how a restart of a run is kept apart. Must not know: where points came from or
//! what they mean.

mod histogram;
mod run;
mod sketch;
pub mod stats;

pub use histogram::{HistogramSketch, Moments};
pub use run::{Attempt, RunData, RunName, Runs, Series, SessionMark, TagId};
pub use sketch::{Bucket, MAX_BUCKETS, Point, Sketch};
