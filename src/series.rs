//! The numbers of one run in bounded memory: a `Sketch` per tag, texts, hyperparameters, session marks.
//!
//! Owns: how points are summarised and how a restart of a run is kept separate. Must not know: the origin and meaning
//! of points.

mod attempts;
mod bucket;
mod buckets;
mod histogram;
mod naming;
mod newest;
mod outline;
mod point;
mod run;
mod sketch;
pub mod stats;

pub use attempts::{Attempt, Series};
pub use bucket::Bucket;
pub use buckets::MAX_BUCKETS;
pub use histogram::{HistogramSketch, Moments};
pub use naming::{joined, relative};
pub use newest::NEWEST;
pub use outline::{Level, Outline};
pub use point::Point;
pub use run::{RunData, RunName, Runs, SessionMark, TagId};
pub use sketch::Sketch;
