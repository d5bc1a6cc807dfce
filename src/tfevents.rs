//! Converts the bytes of an event file to events.
//!
//! Owns: TFRecord framing with its checksums, recovery after a truncated or damaged part, decoding of the `Event`
//! protobuf message without copies, limits on what a file can demand. Must not know: files, threads, the meaning of a
//! tag.
//!
//! Formats: `tensorflow/core/lib/io/record_writer.h`, `event.proto`, `summary.proto`, `tensor.proto`,
//! `tensorboard/plugins/hparams/plugin_data.proto`.

mod checksum;
pub mod encode;
mod event;
mod foreign;
mod found;
mod hparams;
mod records;
mod tail;
mod template;
mod tensor;
mod value;
mod wire;

pub use checksum::{crc32c, masked_crc32c};
pub use event::{Event, Session, Summary, Values, What};
pub use foreign::{Foreign, LOOK};
pub use found::Found;
pub use hparams::Hparams;
pub use records::{MAX_READ, MAX_RECORD};
pub use tail::{Advance, Tail};
pub use template::{Hit, Templates};
pub use value::{Datum, Value};
pub use wire::Malformed;
