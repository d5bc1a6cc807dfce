//! A loss curve as one line of text.
//!
//! Owns: scaling and characters. Must not know: messages.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The symbol for NaN and infinity, which cannot be mistaken for a level.
const BROKEN: char = '×';

/// If the ratio of the largest to the smallest value exceeds this, the scale is logarithmic; otherwise, most of the
/// curve would be on the lowest level. Two decades.
const LOG_FROM: f64 = 100.0;

/// A curve whose relative range is smaller than this is drawn flatter, so that a constant loss does not look unstable.
/// Noise of a few per cent is normal between the logged steps of a healthy run.
const FULL_HEIGHT_FROM: f64 = 0.05;

/// A curve with one character per value, `▁` for the lowest and `█` for the highest; `None` is a value that was not
/// finite, shown as `×`. A flat curve is in the middle. Positive values that span more than two decades are scaled
/// logarithmically.
pub fn sparkline(values: &[Option<f64>]) -> String {
    let finite = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let scale = if is_logarithmic(low, high) { f64::ln } else { |value: f64| value };
    // Halves first, because the difference of two finite numbers may not be finite.
    let (bottom, top) = (scale(low) / 2.0, scale(high) / 2.0);
    let full = top - bottom;
    let least = FULL_HEIGHT_FROM * low.abs().max(high.abs()) / 2.0;
    let flat = full < least && !is_logarithmic(low, high);
    // A flat curve is in the middle of a level, so that noise does not make it jump between two levels.
    let (height, centre) = if flat { (least, 0.5 + 0.5 / 8.0) } else { (full, 0.5) };
    let middle = bottom + full / 2.0;
    let level = |value: f64| {
        let share = centre + (scale(value) / 2.0 - middle) / height;
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 };
        // The fraction is between 0 and 1, so the index is within the array.
        LEVELS[((share * 8.0) as usize).min(7)]
    };
    values.iter().map(|value| value.filter(|value| value.is_finite()).map_or(BROKEN, level)).collect()
}

/// Whether a curve between these two values is drawn on a logarithmic scale.
pub(super) fn is_logarithmic(low: f64, high: f64) -> bool {
    low > 0.0 && high / low > LOG_FROM
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draw(values: &[f64]) -> String {
        sparkline(&values.iter().map(|value| Some(*value)).collect::<Vec<_>>())
    }

    #[test]
    fn curves_look_like_what_they_are() {
        assert_eq!(draw(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), "▁▂▃▄▅▆▇█");
        assert_eq!(draw(&[2.3, 2.3, 2.3]), "▅▅▅", "a flat line is neither best nor worst");
        assert_eq!(draw(&[2.301, 2.305, 2.303, 2.304]), "▅▅▅▅", "noise stays noise");
        assert_eq!(draw(&[1000.0, 100.0, 10.0, 1.0, 0.1]), "█▇▅▃▁", "log scale beyond two decades");
        assert_eq!(draw(&[90.0, 45.0, 1.0]), "█▄▁", "linear within two decades");
        assert_eq!(draw(&[1e4, 0.0]), "█▁", "no logarithm of zero");
        assert_eq!(draw(&[-1.0, -3.0]), "█▁", "losses may be negative");
        assert_eq!(draw(&[f64::MAX, f64::MIN]), "█▁");
        assert_eq!(sparkline(&[Some(1.0), Some(2.0), None, Some(f64::NAN)]), "▁█××");
        assert_eq!(sparkline(&[None, None]), "××");
        assert_eq!(sparkline(&[]), "");
    }

    proptest! {
        #[test]
        fn one_character_a_value_in_the_same_order(values in prop::collection::vec(prop::option::of(any::<f64>()), 0..80)) {
            let drawn: Vec<char> = sparkline(&values).chars().collect();
            prop_assert_eq!(drawn.len(), values.len());
            for (i, a) in values.iter().enumerate() {
                for (j, b) in values.iter().enumerate() {
                    if let (Some(a), Some(b)) = (a, b) && a.is_finite() && b.is_finite() && a < b {
                        prop_assert!(drawn[i] <= drawn[j], "{} at {}, {} at {}", a, drawn[i], b, drawn[j]);
                    }
                }
            }
        }
    }
}
