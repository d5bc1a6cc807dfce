//! One value of a summary: a tag with a scalar, a histogram, a text, hyperparameters, or unsupported content.
//!
//! Owns: the interpretation of encodings. Must not know: the meaning of a tag.

use std::borrow::Cow;

use super::hparams::Hparams;
use super::tensor::Tensor;
use super::wire::{Field, Fields, Malformed};
use crate::series::Moments;

/// One value of a summary.
#[derive(Debug, Clone)]
pub struct Value<'a> {
    /// Its tag; the name of the node if the tag is empty, as in the first versions of the format.
    pub tag: Cow<'a, str>,
    /// What it is.
    pub datum: Datum<'a>,
    /// Where the number of a scalar stands, if it is stored as a whole `f32` or `f64`.
    pub(super) number: Option<&'a [u8]>,
}

/// What a tag was given.
#[derive(Debug, Clone)]
pub enum Datum<'a> {
    /// A number: `simple_value`, or a numeric tensor of one element.
    Scalar(f64),
    /// A histogram, legacy or as a tensor of `[buckets, 3]`.
    Histogram(Moments),
    /// A text; of a tensor of several, the first.
    Text(Cow<'a, str>),
    /// The data of the hparams plugin in the metadata.
    Hparams(Hparams<'a>),
    /// Images, audio, embeddings and other tensors.
    Other,
}

/// The value as the message has it, before it is interpreted.
enum Kind<'a> {
    Nothing,
    Simple([u8; 4], &'a [u8]),
    Histogram(&'a [u8]),
    Tensor(&'a [u8]),
    Blob,
}

impl<'a> Value<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Value<'a>, Malformed> {
        let (mut tag, mut node, mut metadata): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
        let mut kind = Kind::Nothing;
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next().transpose()? {
            match field {
                (1, Field::Bytes(bytes)) => tag = bytes,
                (7, Field::Bytes(bytes)) => node = bytes,
                (9, Field::Bytes(bytes)) => metadata = bytes,
                (2, Field::Fixed32(bytes)) => {
                    let end = message.len() - fields.rest().len();
                    kind = Kind::Simple(bytes, &message[end - 4..end]);
                }
                (5, Field::Bytes(bytes)) => kind = Kind::Histogram(bytes),
                (8, Field::Bytes(bytes)) => kind = Kind::Tensor(bytes),
                (3 | 4 | 6, Field::Bytes(_)) => kind = Kind::Blob,
                _ => {}
            }
        }
        let tag = String::from_utf8_lossy(if tag.is_empty() { node } else { tag });
        let (datum, number) = interpret(&kind, Plugin::parse(metadata)?)?;
        Ok(Value { tag, datum, number })
    }
}

/// The part of a tag's metadata that says which plugin draws it.
struct Plugin<'a> {
    name: &'a [u8],
    content: &'a [u8],
}

impl<'a> Plugin<'a> {
    fn parse(metadata: &'a [u8]) -> Result<Plugin<'a>, Malformed> {
        let mut plugin = Plugin { name: &[], content: &[] };
        for field in Fields::new(metadata) {
            let (1, Field::Bytes(data)) = field? else { continue };
            for field in Fields::new(data) {
                match field? {
                    (1, Field::Bytes(name)) => plugin.name = name,
                    (2, Field::Bytes(content)) => plugin.content = content,
                    _ => {}
                }
            }
        }
        Ok(plugin)
    }
}

fn interpret<'a>(kind: &Kind<'a>, plugin: Plugin<'a>) -> Result<(Datum<'a>, Option<&'a [u8]>), Malformed> {
    if plugin.name == b"hparams" && !plugin.content.is_empty() {
        return Ok((Datum::Hparams(Hparams::parse(plugin.content)?), None));
    }
    match *kind {
        Kind::Simple(bytes, place) => Ok((Datum::Scalar(f32::from_le_bytes(bytes).into()), Some(place))),
        Kind::Histogram(bytes) => Ok((Datum::Histogram(legacy_histogram(bytes)?), None)),
        Kind::Tensor(bytes) => of_tensor(&Tensor::parse(bytes)?, plugin.name),
        Kind::Nothing | Kind::Blob => Ok((Datum::Other, None)),
    }
}

/// A writer may leave the metadata out after the first event of a tag, or write none at all; then the tensor itself
/// has to say what it is.
fn of_tensor<'a>(tensor: &Tensor<'a>, plugin: &[u8]) -> Result<(Datum<'a>, Option<&'a [u8]>), Malformed> {
    if tensor.is_string() {
        let text = if matches!(plugin, b"" | b"text") { tensor.first_string()? } else { None };
        return Ok((text.map_or(Datum::Other, |text| Datum::Text(String::from_utf8_lossy(text))), None));
    }
    if let Some(scalar) = tensor.scalar()? {
        return Ok((Datum::Scalar(scalar.value), scalar.place));
    }
    let histogram = if matches!(plugin, b"" | b"histograms") { tensor.histogram()? } else { None };
    Ok((histogram.map_or(Datum::Other, Datum::Histogram), None))
}

/// `HistogramProto`: the moments stand before the buckets, which are passed over.
fn legacy_histogram(message: &[u8]) -> Result<Moments, Malformed> {
    let mut moments = Moments { min: 0.0, max: 0.0, num: 0.0, sum: 0.0, sum_squares: 0.0 };
    for field in Fields::new(message) {
        if let (number, Field::Fixed64(bytes)) = field? {
            let value = f64::from_le_bytes(bytes);
            match number {
                1 => moments.min = value,
                2 => moments.max = value,
                3 => moments.num = value,
                4 => moments.sum = value,
                5 => moments.sum_squares = value,
                _ => {}
            }
        }
    }
    Ok(moments)
}
