//! `TensorProto`, as far as scalars, texts and histograms need it.
//!
//! Owns: element types and the two ways to store elements (typed fields, raw content). Must not know: plugins.

use super::wire::{Field, Fields, Malformed, varint};
use crate::series::Moments;

/// `DataType` of `tensorflow/core/framework/types.proto`, where it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Float,
    Double,
    /// Signed integers by their width in bytes.
    Int(u8),
    /// Unsigned integers by their width in bytes.
    Uint(u8),
    Half,
    BFloat16,
    String,
    Other,
}

impl Type {
    fn of(number: u64) -> Type {
        match number {
            1 => Type::Float,
            2 => Type::Double,
            3 => Type::Int(4),
            4 => Type::Uint(1),
            5 => Type::Int(2),
            6 => Type::Int(1),
            7 => Type::String,
            9 => Type::Int(8),
            14 => Type::BFloat16,
            17 => Type::Uint(2),
            19 => Type::Half,
            22 => Type::Uint(4),
            23 => Type::Uint(8),
            _ => Type::Other,
        }
    }

    /// The field that holds elements of this type, where they are not raw content.
    fn field(self) -> u32 {
        match self {
            Type::Float => 5,
            Type::Double => 6,
            Type::Int(8) => 10,
            Type::Uint(8) => 17,
            Type::Uint(4) => 16,
            Type::Int(_) | Type::Uint(_) => 7,
            Type::String => 8,
            Type::Half | Type::BFloat16 => 13,
            Type::Other => 0,
        }
    }
}

/// A number and, if it is stored as a whole `f32` or `f64`, where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scalar<'a> {
    pub(super) value: f64,
    pub(super) place: Option<&'a [u8]>,
}

/// A tensor whose elements are still where they were.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tensor<'a> {
    message: &'a [u8],
    kind: Type,
    elements: u64,
    /// The first two dimensions and how many there are.
    rank: usize,
    dims: [u64; 2],
    content: &'a [u8],
}

impl<'a> Tensor<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Tensor<'a>, Malformed> {
        let mut tensor = Tensor { message, kind: Type::Other, elements: 1, rank: 0, dims: [0; 2], content: &[] };
        for field in Fields::new(message) {
            match field? {
                (1, Field::Varint(number)) => tensor.kind = Type::of(number),
                (2, Field::Bytes(shape)) => tensor.read_shape(shape)?,
                (4, Field::Bytes(content)) => tensor.content = content,
                _ => {}
            }
        }
        Ok(tensor)
    }

    fn read_shape(&mut self, shape: &[u8]) -> Result<(), Malformed> {
        for field in Fields::new(shape) {
            let (2, Field::Bytes(dim)) = field? else { continue };
            let mut size = 0;
            for field in Fields::new(dim) {
                if let (1, Field::Varint(value)) = field? {
                    size = value;
                }
            }
            if let Some(slot) = self.dims.get_mut(self.rank) {
                *slot = size;
            }
            self.rank += 1;
            self.elements = self.elements.saturating_mul(size);
        }
        Ok(())
    }

    pub(super) fn is_string(&self) -> bool {
        self.kind == Type::String
    }

    pub(super) fn first_string(&self) -> Result<Option<&'a [u8]>, Malformed> {
        for field in Fields::new(self.message) {
            if let (8, Field::Bytes(text)) = field? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// The only element of a numeric tensor; `None` if it has more, none, or is not numeric.
    pub(super) fn scalar(&self) -> Result<Option<Scalar<'a>>, Malformed> {
        if self.elements != 1 || matches!(self.kind, Type::Other | Type::String) {
            return Ok(None);
        }
        if !self.content.is_empty() {
            return Ok(from_content(self.kind, self.content));
        }
        let mut found = None;
        let mut fields = Fields::new(self.message);
        while let Some((number, field)) = fields.next().transpose()? {
            if number == self.kind.field() && found.is_none() {
                let end = self.message.len() - fields.rest().len();
                found = from_field(self.kind, field, &self.message[..end])?;
            }
        }
        Ok(found)
    }

    /// Moments of a `[buckets, 3]` tensor of left edge, right edge, count; `None` if it is none.
    pub(super) fn histogram(&self) -> Result<Option<Moments>, Malformed> {
        if self.rank != 2 || self.dims[1] != 3 || self.dims[0] == 0 {
            return Ok(None);
        }
        let width = match self.kind {
            Type::Double => 8,
            Type::Float => 4,
            _ => return Ok(None),
        };
        let rows = |data: &[u8]| moments(data.chunks_exact(width).map(number), self.dims[0]);
        if !self.content.is_empty() {
            return Ok(rows(self.content));
        }
        let mut unpacked = Vec::new();
        for field in Fields::new(self.message) {
            match field? {
                (n, Field::Bytes(packed)) if n == self.kind.field() => unpacked.extend_from_slice(packed),
                (n, Field::Fixed64(one)) if n == self.kind.field() => unpacked.extend_from_slice(&one),
                (n, Field::Fixed32(one)) if n == self.kind.field() => unpacked.extend_from_slice(&one),
                _ => {}
            }
        }
        Ok(rows(&unpacked))
    }
}

fn number(bytes: &[u8]) -> f64 {
    match (<[u8; 8]>::try_from(bytes), <[u8; 4]>::try_from(bytes)) {
        (Ok(bytes), _) => f64::from_le_bytes(bytes),
        (_, Ok(bytes)) => f32::from_le_bytes(bytes).into(),
        _ => f64::NAN,
    }
}

/// A histogram keeps counts per bucket, not its moments: they follow with values spread evenly over each bucket.
/// `None` if the numbers cannot be a histogram.
fn moments(numbers: impl Iterator<Item = f64>, buckets: u64) -> Option<Moments> {
    let mut total = Moments { min: f64::INFINITY, max: f64::NEG_INFINITY, num: 0.0, sum: 0.0, sum_squares: 0.0 };
    let mut seen = 0;
    let mut numbers = numbers;
    while let (Some(left), Some(right), Some(count)) = (numbers.next(), numbers.next(), numbers.next()) {
        seen += 1;
        if count < 0.0 || left > right {
            return None;
        }
        if count > 0.0 {
            let (left, right) = single_value(left, right);
            total.min = total.min.min(left);
            total.max = total.max.max(right);
            total.num += count;
            total.sum += count * (left + right) / 2.0;
            total.sum_squares += count * (left * left + left * right + right * right) / 3.0;
        }
    }
    (seen == buckets && total.num > 0.0).then_some(total)
}

/// Where all values are equal, TensorBoard's `histogram` op writes one bucket from half below to half above the value.
fn single_value(left: f64, right: f64) -> (f64, f64) {
    let middle = (left + right) / 2.0;
    if right - left == 1.0 { (middle, middle) } else { (left, right) }
}

fn from_content<'a>(kind: Type, content: &'a [u8]) -> Option<Scalar<'a>> {
    let unsigned = |width: u8| {
        let bytes = content.get(..usize::from(width)).filter(|bytes| bytes.len() == content.len())?;
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        Some(u64::from_le_bytes(word))
    };
    let value = match kind {
        Type::Float | Type::Double => {
            let whole = content.len() == if kind == Type::Float { 4 } else { 8 };
            return whole.then(|| Scalar { value: number(content), place: Some(content) });
        }
        Type::Int(width) => {
            let bits = 64 - 8 * u32::from(width);
            ((unsigned(width)? << bits).cast_signed() >> bits) as f64
        }
        Type::Uint(width) => unsigned(width)? as f64,
        Type::Half => half(unsigned(2)? as u16),
        Type::BFloat16 => bfloat16(unsigned(2)? as u16),
        Type::String | Type::Other => return None,
    };
    Some(Scalar { value, place: None })
}

/// The first element in a typed field, packed or not. `until_here` ends with the field.
fn from_field<'a>(kind: Type, field: Field<'a>, until_here: &'a [u8]) -> Result<Option<Scalar<'a>>, Malformed> {
    let integer = |value: u64| match kind {
        Type::Int(_) => value.cast_signed() as f64,
        Type::Half => half(value as u16),
        Type::BFloat16 => bfloat16(value as u16),
        _ => value as f64,
    };
    let at_end = |width: usize| until_here.len().checked_sub(width).and_then(|start| until_here.get(start..));
    Ok(match (kind, field) {
        (Type::Float, Field::Bytes(packed)) => packed.get(..4).and_then(|one| from_content(kind, one)),
        (Type::Double, Field::Bytes(packed)) => packed.get(..8).and_then(|one| from_content(kind, one)),
        (Type::Float, Field::Fixed32(_)) => at_end(4).and_then(|one| from_content(kind, one)),
        (Type::Double, Field::Fixed64(_)) => at_end(8).and_then(|one| from_content(kind, one)),
        (Type::Float | Type::Double, _) => None,
        (_, Field::Varint(value)) => Some(Scalar { value: integer(value), place: None }),
        (_, Field::Bytes(mut packed)) if !packed.is_empty() => {
            Some(Scalar { value: integer(varint(&mut packed)?), place: None })
        }
        _ => None,
    })
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let fraction = f64::from(bits & 0x3ff);
    match (bits >> 10) & 0x1f {
        0 => sign * fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        exponent => sign * (1.0 + fraction / 1024.0) * 2f64.powi(i32::from(exponent) - 15),
    }
}

/// The upper half of an `f32`.
fn bfloat16(bits: u16) -> f64 {
    f32::from_bits(u32::from(bits) << 16).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read_exactly() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2f64.powi(-24)), (0x8000, -0.0)]
        {
            assert_eq!(half(bits).to_bits(), f64::to_bits(value));
        }
        assert_eq!(half(0x7c00), f64::INFINITY);
        assert!(half(0x7e00).is_nan());
        assert_eq!(bfloat16(0x3fc0), 1.5);
    }

    #[test]
    fn moments_follow_from_buckets() {
        let m = moments([0.0, 2.0, 3.0, 2.0, 4.0, 1.0, 4.0, 6.0, 0.0].into_iter(), 3).expect("a histogram");
        assert_eq!((m.min, m.max, m.num, m.sum), (0.0, 4.0, 4.0, 6.0));
        assert!((m.sum_squares - (3.0 * 4.0 / 3.0 + (4.0 + 8.0 + 16.0) / 3.0)).abs() < 1e-12);
    }

    #[test]
    fn a_histogram_of_equal_values_has_no_width() {
        let m = moments([-0.5, 0.5, 7.0].into_iter(), 1).expect("a histogram");
        assert_eq!((m.min, m.max, m.sum_squares), (0.0, 0.0, 0.0));
    }

    #[test]
    fn what_is_no_histogram_is_none() {
        assert_eq!(moments([1.0, 0.0, 3.0].into_iter(), 1), None);
        assert_eq!(moments([0.0, 1.0, -3.0].into_iter(), 1), None);
        assert_eq!(moments([0.0, 1.0].into_iter(), 1), None);
    }
}
