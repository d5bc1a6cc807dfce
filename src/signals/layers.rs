//! The order of layers, according to their names and the order of logging.
//!
//! Must not know: tags.

use std::cmp::Ordering;

/// Puts layers from input to output. Programs log layers in the order of the network; a list in plain alphabetical
/// order may have lost that (`10.weight` before `3.weight`), and is put in the order of the numbers in the names.
pub(super) fn arrange<T>(items: &mut [T], name: impl Fn(&T) -> &str) {
    if items.is_sorted_by(|a, b| name(a) <= name(b)) {
        items.sort_by(|a, b| natural(name(a), name(b)));
    }
}

/// Compares names so that numbers in them count as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(first), Some(second)) = (a.chars().next(), b.chars().next()) else {
            return a.len().cmp(&b.len());
        };
        let order = if first.is_ascii_digit() && second.is_ascii_digit() {
            let (x, y) = (take_digits(&mut a), take_digits(&mut b));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            a = &a[first.len_utf8()..];
            b = &b[second.len_utf8()..];
            first.cmp(&second)
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Cuts the leading digits off, and returns them without leading zeros.
fn take_digits<'a>(text: &mut &'a str) -> &'a str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits.trim_start_matches('0')
}

#[cfg(test)]
mod tests {
    use super::{arrange, natural};
    use proptest::prelude::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = vec!["0.weight", "10.weight", "12.weight", "3.weight"];
        arrange(&mut names, |name| name);
        assert_eq!(names, ["0.weight", "3.weight", "10.weight", "12.weight"]);
    }

    #[test]
    fn an_order_of_logging_is_kept() {
        let mut names = vec!["encoder.weight", "decoder.weight", "head.weight"];
        arrange(&mut names, |name| name);
        assert_eq!(names, ["encoder.weight", "decoder.weight", "head.weight"]);
    }

    proptest! {
        #[test]
        fn the_order_is_one(a in "[a-b0-2./]{0,6}", b in "[a-b0-2./]{0,6}", c in "[a-b0-2./]{0,6}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            if natural(&a, &b).is_le() && natural(&b, &c).is_le() {
                prop_assert!(natural(&a, &c).is_le());
            }
        }
    }
}
