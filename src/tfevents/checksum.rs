//! CRC-32C (Castagnoli) and its TFRecord mask.
//!
//! Owns: the choice of instruction. Records of scalars have 30 to 100 bytes, for which the call and dispatch of a
//! general library cost more than the checksum itself; they have a separate loop that is inlined into the framing.

/// CRC-32C of `data`.
pub fn crc32c(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
}

/// The checksum as stored by TFRecord: rotated and offset, so that data containing checksums do not weaken it.
pub fn masked_crc32c(data: &[u8]) -> u32 {
    mask(crc32c(data))
}

/// `tensorflow/core/lib/hash/crc32c.h`, `Mask`.
#[inline(always)]
pub(super) fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The inline loop for x86-64.
#[cfg(target_arch = "x86_64")]
pub(super) mod sse42 {
    use std::arch::x86_64::_mm_crc32_u64;

    /// From this length on, three interleaved streams (the crc32c crate) beat one.
    const LONG: usize = 512;

    /// Whether this processor has the instruction; the answer is cached by the standard library.
    pub(in crate::tfevents) fn available() -> bool {
        std::is_x86_feature_detected!("sse4.2")
    }

    /// CRC-32C of the eight bytes of a record's length.
    #[inline]
    #[target_feature(enable = "sse4.2")]
    pub(in crate::tfevents) fn of_word(word: u64) -> u32 {
        !(_mm_crc32_u64(0xffff_ffff, word) as u32)
    }

    /// CRC-32C of a record's data.
    ///
    /// The part that is not a multiple of eight comes first, shifted up behind zeros, from a start value that those
    /// zeros turn into the usual one: no loop over single bytes at the end.
    #[inline]
    #[target_feature(enable = "sse4.2")]
    pub(in crate::tfevents) fn of_data(data: &[u8]) -> u32 {
        let Some((first, _)) = data.split_first_chunk::<8>() else { return crc32c::crc32c(data) };
        if data.len() >= LONG {
            return crc32c::crc32c(data);
        }
        let (mut crc, rest) = match data.len() % 8 {
            0 => (0xffff_ffff, data),
            odd => {
                let word = u64::from_le_bytes(*first) << (8 * (8 - odd));
                (_mm_crc32_u64(START[odd], word), &data[odd..])
            }
        };
        // By hand: unrolled by the compiler, the remainder becomes a loop, and scalars are all remainder.
        let mut words = rest.as_chunks::<8>().0;
        while let Some((four, after)) = words.split_first_chunk::<4>() {
            (crc, words) = (of_words(crc, four), after);
        }
        if let Some((two, after)) = words.split_first_chunk::<2>() {
            (crc, words) = (of_words(crc, two), after);
        }
        if let Some(one) = words.first_chunk::<1>() {
            crc = of_words(crc, one);
        }
        !(crc as u32)
    }

    #[inline]
    #[target_feature(enable = "sse4.2")]
    fn of_words<const N: usize>(crc: u64, words: &[[u8; 8]; N]) -> u64 {
        let mut crc = crc;
        for word in words {
            crc = _mm_crc32_u64(crc, u64::from_le_bytes(*word));
        }
        crc
    }

    /// `START[n]` is the state that `8 - n` zero bytes turn into all ones, the start value of the checksum.
    const START: [u64; 8] = {
        let mut states = [0xffff_ffff_u64; 8];
        let mut n = 7;
        while n > 0 {
            states[n] = if n == 7 { before_zero_byte(0xffff_ffff) } else { before_zero_byte(states[n + 1]) };
            n -= 1;
        }
        states
    };

    /// The state that one zero byte turns into `state`: the shift register of the reflected polynomial, backwards.
    const fn before_zero_byte(state: u64) -> u64 {
        let mut state = state;
        let mut bit = 0;
        while bit < 8 {
            state = if state & 0x8000_0000 != 0 { ((state ^ 0x82f6_3b78) << 1) | 1 } else { state << 1 };
            state &= 0xffff_ffff;
            bit += 1;
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the catalogue of parametrised CRC algorithms (CRC-32/ISCSI).
    #[test]
    fn it_is_castagnoli() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_header_of_zeros_has_the_well_known_mask() {
        assert_eq!(masked_crc32c(&[0; 8]), 0x0798_0329);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_inline_loop_agrees_at_every_length() {
        if !sse42::available() {
            return;
        }
        let data: Vec<u8> = (0..1200_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for len in 0..data.len() {
            // SAFETY: the processor was just asked.
            let inline = unsafe { sse42::of_data(&data[..len]) };
            assert_eq!(inline, crc32c(&data[..len]), "length {len}");
        }
        // SAFETY: as above.
        let word = unsafe { sse42::of_word(0x0123_4567_89ab_cdef) };
        assert_eq!(word, crc32c(&0x0123_4567_89ab_cdef_u64.to_le_bytes()));
    }
}
