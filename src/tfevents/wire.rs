//! The protobuf wire format: fields of a message, without copies.
//!
//! Owns: varints, field keys, skipping of unknown fields. Must not know: any message.

/// The bytes are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf message")]
pub struct Malformed;

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// The fields of a message in the order in which they were written. Ends after the first error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// Groups inside groups: nothing that anybody writes since 2008, but legal to skip.
const MAX_GROUPS: u32 = 16;

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn field(&mut self, groups: u32) -> Result<Option<(u32, Field<'a>)>, Malformed> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let key = varint(&mut self.rest)?;
            let number = u32::try_from(key >> 3).ok().filter(|&n| n > 0 && n < 1 << 29).ok_or(Malformed)?;
            let field = match key & 7 {
                0 => Field::Varint(varint(&mut self.rest)?),
                1 => Field::Fixed64(*self.take_chunk()?),
                2 => Field::Bytes(length_delimited(&mut self.rest)?),
                3 => {
                    self.skip_group(number, groups)?;
                    continue;
                }
                5 => Field::Fixed32(*self.take_chunk()?),
                _ => return Err(Malformed),
            };
            return Ok(Some((number, field)));
        }
    }

    fn take_chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(chunk)
    }

    fn skip_group(&mut self, number: u32, groups: u32) -> Result<(), Malformed> {
        if groups >= MAX_GROUPS {
            return Err(Malformed);
        }
        loop {
            let before = self.rest;
            let key = varint(&mut self.rest)?;
            if key & 7 == 4 {
                return if key >> 3 == u64::from(number) { Ok(()) } else { Err(Malformed) };
            }
            self.rest = before;
            if key & 7 == 3 {
                varint(&mut self.rest)?;
                let inner = u32::try_from(key >> 3).map_err(|_| Malformed)?;
                self.skip_group(inner, groups + 1)?;
            } else {
                self.field(groups + 1)?.ok_or(Malformed)?;
            }
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.field(0) {
            Ok(field) => field.map(Ok),
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// Takes a varint of at most ten bytes off the front.
#[inline]
pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        if i == 9 && byte > 1 {
            return Err(Malformed);
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// Takes a length and so many bytes off the front.
#[inline]
pub(super) fn length_delimited<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(varint(bytes)?).map_err(|_| Malformed)?;
    let (data, rest) = bytes.split_at_checked(len).ok_or(Malformed)?;
    *bytes = rest;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_at_most_ten_bytes_and_64_bits() {
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(varint(&mut &minus_one[..]), Ok(u64::MAX));
        let mut too_big = minus_one;
        too_big[9] = 2;
        assert_eq!(varint(&mut &too_big[..]), Err(Malformed));
        assert_eq!(varint(&mut &[0x80; 11][..]), Err(Malformed));
        assert_eq!(varint(&mut &[0x80][..]), Err(Malformed));
    }

    #[test]
    fn groups_are_skipped() {
        // field 1 group { field 2 varint 5, field 3 group {} }, then field 4 varint 7
        let bytes = [0x0b, 0x10, 0x05, 0x1b, 0x1c, 0x0c, 0x20, 0x07];
        let fields: Vec<_> = Fields::new(&bytes).collect();
        assert_eq!(fields, [Ok((4, Field::Varint(7)))]);
    }

    #[test]
    fn a_group_without_end_and_deep_nesting_are_malformed() {
        assert_eq!(Fields::new(&[0x0b]).last(), Some(Err(Malformed)));
        assert_eq!(Fields::new(&[0x0b; 1000]).last(), Some(Err(Malformed)));
    }

    #[test]
    fn a_length_beyond_the_end_is_malformed() {
        assert_eq!(Fields::new(&[0x0a, 0x05, 1, 2]).last(), Some(Err(Malformed)));
    }
}
