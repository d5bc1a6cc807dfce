//! Recognises scalars without decoding them.
//!
//! Owns: the common parts of the events of one tag. The events of a tag differ only in time, step and value, so all
//! bytes after the step are the same except for a gap of four or eight bytes, and tags tend to repeat in the same
//! order. Therefore, a comparison with the tag that came next in the previous round replaces the decoding. Must not
//! know: how the numbers are used.

use super::event::{Event, What};
use super::value::{Datum, Value};
use super::wire::{length_delimited, varint};

/// A scalar that was recognised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// What [`Templates::learn`] was given for its tag.
    pub slot: u32,
    /// Seconds since the Unix epoch, as the program wrote it.
    pub wall_time: f64,
    /// Global step.
    pub step: i64,
    /// The number.
    pub value: f64,
}

#[derive(Debug, Clone)]
struct Template {
    /// The event from behind its step on, without the hole.
    bytes: Box<[u8]>,
    hole: Hole,
    slot: u32,
    /// The template that matched after this one the last time.
    next: u32,
}

/// Where the number stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Hole {
    /// An `f32` at the end, as torch and tensorboardX write it.
    Last,
    /// An `f32` with so many bytes before it.
    Single(u16),
    /// An `f64` with so many bytes before it.
    Double(u16),
}

/// What is known of the scalars of one file.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    list: Vec<Template>,
    /// Open addressing from the hash of a tag to its place in the list plus one; the size is a power of two.
    index: Vec<u32>,
    last: u32,
    /// The template that is expected next.
    expected: u32,
}

/// No more tags are learned; the events of others are decoded, which is correct and three times slower.
const MAX_TEMPLATES: usize = 4096;

/// Longer events are not learned: their tag is not what makes them long.
const MAX_BYTES: usize = 512;

impl Templates {
    /// The scalar in a record, if its like was learned.
    #[inline(always)]
    pub fn recognise(&mut self, record: &[u8]) -> Option<Hit> {
        let (wall_time, step, rest) = head(record)?;
        if let Some(template) = self.list.get(self.expected as usize)
            && let Some(value) = template.number(rest)
        {
            self.last = self.expected;
            self.expected = template.next;
            return Some(Hit { slot: template.slot, wall_time, step, value });
        }
        let (slot, value) = self.look_up(rest)?;
        Some(Hit { slot, wall_time, step, value })
    }

    #[cold]
    fn look_up(&mut self, rest: &[u8]) -> Option<(u32, f64)> {
        let place = self.find(tag_of(rest)?)?;
        let value = self.list[place as usize].number(rest)?;
        self.follow(place);
        Some((self.list[place as usize].slot, value))
    }

    /// Notes which template matched.
    fn follow(&mut self, place: u32) {
        if let Some(last) = self.list.get_mut(self.last as usize) {
            last.next = place;
        }
        self.last = place;
        self.expected = self.list[place as usize].next;
    }

    /// Learns what the events of a tag look like, from a record that holds one scalar and nothing else.
    pub fn learn(&mut self, record: &[u8], slot: u32) {
        let Some(template) = Template::of(record, slot) else { return };
        let Some(tag) = tag_of(&template.bytes) else { return };
        let place = match self.find(tag) {
            Some(place) => {
                let next = self.list[place as usize].next;
                self.list[place as usize] = Template { next, ..template };
                place
            }
            None if self.list.len() >= MAX_TEMPLATES => return,
            None => self.add(template),
        };
        self.follow(place);
    }

    fn add(&mut self, template: Template) -> u32 {
        let place = self.list.len() as u32;
        if self.list.len() == self.list.capacity() {
            self.list.reserve_exact(5 + self.list.len() / 8);
        }
        self.list.push(template);
        if 3 * self.list.len() > 2 * self.index.len() {
            self.index = vec![0; (2 * self.list.len()).next_power_of_two()];
            for place in 0..self.list.len() {
                self.enter(place);
            }
        } else {
            self.enter(place as usize);
        }
        place
    }

    fn enter(&mut self, place: usize) {
        let Some(tag) = tag_of(&self.list[place].bytes) else { return };
        let mask = self.index.len() - 1;
        let mut at = hash(tag) & mask;
        while self.index[at] != 0 {
            at = (at + 1) & mask;
        }
        self.index[at] = place as u32 + 1;
    }

    fn find(&self, tag: &[u8]) -> Option<u32> {
        let mask = self.index.len().checked_sub(1)?;
        let mut at = hash(tag) & mask;
        loop {
            let place = self.index[at].checked_sub(1)?;
            if tag_of(&self.list[place as usize].bytes) == Some(tag) {
                return Some(place);
            }
            at = (at + 1) & mask;
        }
    }
}

impl Template {
    fn of(record: &[u8], slot: u32) -> Option<Template> {
        let (.., rest) = head(record)?;
        let event = Event::parse(record).ok()?;
        let What::Summary(summary) = event.what else { return None };
        let mut values = summary.values();
        let (Some(Ok(Value { datum: Datum::Scalar(_), number: Some(number), .. })), None) =
            (values.next(), values.next())
        else {
            return None;
        };
        if rest.len() > MAX_BYTES || !only_a_summary(rest) {
            return None;
        }
        let before = (number.as_ptr() as usize).checked_sub(rest.as_ptr() as usize)?;
        let after = rest.get(before + number.len()..)?;
        let bytes = [rest.get(..before)?, after].concat().into_boxed_slice();
        let place = u16::try_from(before).ok()?;
        let hole = match number.len() {
            4 if after.is_empty() => Hole::Last,
            4 => Hole::Single(place),
            _ => Hole::Double(place),
        };
        Some(Template { bytes, hole, slot, next: 0 })
    }

    /// The number in the hole, if all else is equal.
    #[inline(always)]
    fn number(&self, rest: &[u8]) -> Option<f64> {
        match self.hole {
            Hole::Last => {
                let (before, number) = rest.split_last_chunk::<4>()?;
                equal(before, &self.bytes).then(|| f32::from_le_bytes(*number).into())
            }
            Hole::Single(place) => self.number_inside(rest, place).map(|number| f32::from_le_bytes(number).into()),
            Hole::Double(place) => self.number_inside(rest, place).map(f64::from_le_bytes),
        }
    }

    #[inline(always)]
    fn number_inside<const N: usize>(&self, rest: &[u8], place: u16) -> Option<[u8; N]> {
        let (before, from) = rest.split_at_checked(place.into())?;
        let (same_before, same_after) = self.bytes.split_at_checked(place.into())?;
        let (number, after) = from.split_first_chunk::<N>()?;
        (equal(before, same_before) && equal(after, same_after)).then_some(*number)
    }
}

/// Equality of short slices without a call: steps of 16 bytes, the last of which overlaps the one before.
#[inline(always)]
fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk::<16>(), b.first_chunk::<16>(), a.last_chunk::<16>(), b.last_chunk::<16>()) {
        (Some(first_a), Some(first_b), Some(last_a), Some(last_b)) => {
            // Not `&&`: one jump less.
            (first_a == first_b) & (last_a == last_b) && (a.len() <= 32 || a == b)
        }
        _ => equal_short(a, b),
    }
}

#[inline(always)]
fn equal_short(a: &[u8], b: &[u8]) -> bool {
    match (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(first_a), Some(first_b), Some(last_a), Some(last_b)) => (first_a == first_b) & (last_a == last_b),
        _ => a == b,
    }
}

/// Wall time, step and what follows, of an event that starts as protobuf libraries write it.
#[inline(always)]
fn head(record: &[u8]) -> Option<(f64, i64, &[u8])> {
    let (start, rest) = record.split_first_chunk::<9>()?;
    let [0x09, wall_time @ ..] = start else { return None };
    let (step, rest) = step_of(rest)?;
    Some((f64::from_le_bytes(*wall_time), step.cast_signed(), rest))
}

/// The step, of which the lengths that steps have come first; 0 is not written.
#[inline(always)]
fn step_of(bytes: &[u8]) -> Option<(u64, &[u8])> {
    // Whatever a summary is, it is longer than this.
    let [first, a, b, c, d] = *bytes.first_chunk::<5>()?;
    if first != 0x10 {
        return Some((0, bytes));
    }
    let seven = |byte: u8| u64::from(byte & 0x7f);
    if a < 0x80 {
        Some((a.into(), &bytes[2..]))
    } else if b < 0x80 {
        Some((seven(a) | u64::from(b) << 7, &bytes[3..]))
    } else if c < 0x80 {
        Some((seven(a) | seven(b) << 7 | u64::from(c) << 14, &bytes[4..]))
    } else if d < 0x80 {
        Some((seven(a) | seven(b) << 7 | seven(c) << 14 | u64::from(d) << 21, &bytes[5..]))
    } else {
        let mut rest = &bytes[1..];
        let step = varint(&mut rest).ok()?;
        Some((step, rest))
    }
}

/// Whether the rest of an event is its summary, exactly, and that one value, exactly.
fn only_a_summary(rest: &[u8]) -> bool {
    let inside = |mut bytes: &[u8], key: u8| match bytes {
        [first, after @ ..] if *first == key => {
            bytes = after;
            varint(&mut bytes).is_ok_and(|len| len == bytes.len() as u64).then_some(bytes.len())
        }
        _ => None,
    };
    let summary = inside(rest, 0x2a).map(|len| &rest[rest.len() - len..]);
    summary.and_then(|summary| inside(summary, 0x0a)).is_some()
}

/// The tag of the only value, where it is the first field. What follows the tag is not looked at, so that it works
/// for templates, too.
fn tag_of(rest: &[u8]) -> Option<&[u8]> {
    let mut bytes = rest;
    for key in [0x2a, 0x0a] {
        bytes = bytes.strip_prefix(&[key])?;
        varint(&mut bytes).ok()?;
    }
    bytes = bytes.strip_prefix(&[0x0a])?;
    length_delimited(&mut bytes).ok()
}

/// FNV-1a over words: tags are short, and a hostile choice of tags costs time in its own file only.
fn hash(tag: &[u8]) -> usize {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let (words, odd) = tag.as_chunks::<8>();
    let start = words.iter().fold(0xcbf2_9ce4_8422_2325, |h, w| (h ^ u64::from_le_bytes(*w)).wrapping_mul(PRIME));
    let all = odd.iter().fold(start, |h, b| (h ^ u64::from(*b)).wrapping_mul(PRIME));
    (all ^ (all >> 29)) as usize
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;

    fn data(record: &[u8]) -> &[u8] {
        &record[12..record.len() - 4]
    }

    #[test]
    fn what_was_learned_is_recognised_with_other_numbers() {
        let mut templates = Templates::default();
        for (slot, tag) in ["train/loss", "x"].into_iter().enumerate() {
            templates.learn(data(&encode::scalar(1.0, 0, tag, 0.5)), slot as u32);
            templates.learn(data(&encode::tensor_scalar(1.0, 0, "t2", 0.5)), 7);
        }
        let hit = templates.recognise(data(&encode::scalar(2.5, -3, "train/loss", 0.25)));
        assert_eq!(hit, Some(Hit { slot: 0, wall_time: 2.5, step: -3, value: 0.25 }));
        let hit = templates.recognise(data(&encode::scalar(2.5, 1 << 40, "x", f32::INFINITY)));
        assert_eq!(hit, Some(Hit { slot: 1, wall_time: 2.5, step: 1 << 40, value: f64::INFINITY }));
        let hit = templates.recognise(data(&encode::tensor_scalar(9.0, 0, "t2", 4.0)));
        assert_eq!(hit, Some(Hit { slot: 7, wall_time: 9.0, step: 0, value: 4.0 }));
        assert_eq!(templates.recognise(data(&encode::scalar(2.5, 1, "y", 1.0))), None);
        assert_eq!(templates.recognise(data(&encode::tensor_scalar(2.5, 1, "x", 1.0))), None);
    }

    #[test]
    fn events_with_more_than_one_scalar_are_not_learned() {
        let value = |v| encode::Message::new().bytes(1, "a").float(2, v);
        let two = encode::event(1.0, 1).bytes(5, encode::Message::new().bytes(1, value(1.0)).bytes(1, value(2.0)));
        let step_last = encode::Message::new().double(1, 1.0).bytes(5, encode::Message::new().bytes(1, value(1.0)));
        let mut templates = Templates::default();
        templates.learn(two.as_ref(), 0);
        templates.learn(step_last.varint(2, 9).as_ref(), 0);
        assert!(templates.list.is_empty());
    }

    #[test]
    fn thousands_of_tags_are_found_whatever_their_order() {
        let mut templates = Templates::default();
        let tags: Vec<String> = (0..3000).map(|i| format!("layer{i}/w")).collect();
        for (slot, tag) in tags.iter().enumerate() {
            templates.learn(data(&encode::scalar(1.0, 1, tag, 0.0)), slot as u32);
        }
        for (slot, tag) in tags.iter().enumerate().rev() {
            let hit = templates.recognise(data(&encode::scalar(1.0, 1, tag, 3.0)));
            assert_eq!(hit.map(|hit| hit.slot), Some(slot as u32));
        }
    }
}
