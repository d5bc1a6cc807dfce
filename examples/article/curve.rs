//! A loss curve in a few lines of text.
//!
//! Owns: how a curve looks, and the numbers that stand beside it. Must not know: where the curve came from.

/// Characters from left to right. Each is two dots wide and four dots high.
const COLUMNS: usize = 48;
/// Lines.
const LINES: usize = 4;
/// A curve that spans less is drawn as if it spanned this many orders of magnitude, so that noise looks like noise.
const LEAST_SPAN: f32 = 1.0;
/// A loss below this is zero to the eye.
const FLOOR: f32 = 1e-10;

/// Unicode braille: the bit of each dot of a character, by line from the top and column.
const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
/// The character without dots.
const BLANK: u32 = 0x2800;

/// The curve over a logarithmic scale, top line first, each line with its scale. Gaps are values that are not finite.
pub(crate) fn draw(losses: &[f32]) -> Vec<String> {
    let logs: Vec<f32> = losses.iter().map(|loss| loss.abs().max(FLOOR).log10()).collect();
    let finite = || losses.iter().zip(&logs).filter(|(loss, _)| loss.is_finite()).map(|(_, log)| *log);
    let (mut low, mut high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    if low > high {
        return Vec::new();
    }
    let missing = (LEAST_SPAN - (high - low)).max(0.0);
    (low, high) = (low - missing / 2.0, high + missing / 2.0);
    let cells = plot(losses, &logs, low, high);
    cells
        .iter()
        .enumerate()
        .map(|(line, cells)| {
            let scale = match line {
                0 => short(10f32.powf(high)),
                _ if line + 1 == LINES => short(10f32.powf(low)),
                _ => String::new(),
            };
            format!("{scale:>8} │{}", cells.iter().filter_map(|bits| char::from_u32(BLANK + bits)).collect::<String>())
        })
        .collect()
}

/// The dots of each character: every column of dots covers the values from its lowest to its highest.
fn plot(losses: &[f32], logs: &[f32], low: f32, high: f32) -> Vec<Vec<u32>> {
    let (width, height) = (COLUMNS * 2, LINES * 4);
    let mut cells = vec![vec![0; COLUMNS]; LINES];
    let level = |log: f32| (((high - log) / (high - low)) * (height - 1) as f32).round() as usize;
    for column in 0..width {
        let from = column * losses.len() / width;
        let to = ((column + 1) * losses.len() / width).max(from + 1).min(losses.len());
        let values = || (from..to).filter(|&at| losses[at].is_finite()).map(|at| level(logs[at]));
        if let (Some(top), Some(bottom)) = (values().min(), values().max()) {
            for dot in top..=bottom.min(height - 1) {
                cells[dot / 4][column / 2] |= DOTS[dot % 4][column % 2];
            }
        }
    }
    cells
}

/// Where a curve starts: the median of its first five values.
pub(crate) fn start(losses: &[f32]) -> f32 {
    median(&losses[..losses.len().min(5)])
}

/// Where a curve ends: the median of its last twentieth.
pub(crate) fn end(losses: &[f32]) -> f32 {
    median(&losses[losses.len() - losses.len().div_ceil(20)..])
}

/// By how many orders of magnitude a curve fell from its start to its end. NaN where it ended in NaN.
pub(crate) fn orders_fallen(losses: &[f32]) -> f32 {
    (start(losses).abs().max(FLOOR) / end(losses).abs().max(FLOOR)).log10() + 0.0 * end(losses)
}

/// The middle value; NaN when most values are NaN or there is none.
fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f32::NAN)
}

/// A number in at most seven characters.
pub(crate) fn short(value: f32) -> String {
    match value.abs() {
        size if size < FLOOR * 1.01 => "0".to_owned(),
        size if !(1e-2..1e4).contains(&size) => format!("{value:.0e}"),
        size if size < 10.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, LINES, draw, end, orders_fallen, short, start};

    #[test]
    fn a_falling_curve_goes_from_the_top_left_to_the_bottom_right() {
        let losses: Vec<f32> = (0..500).map(|step| 10f32.powf(-step as f32 / 100.0)).collect();
        let lines = draw(&losses);
        assert_eq!(lines.len(), LINES);
        assert!(lines.iter().all(|line| line.chars().count() == COLUMNS + 10));
        let drawn = |line: usize| lines[line].chars().skip(10).map(|c| c != '\u{2800}').collect::<Vec<_>>();
        assert!(drawn(0)[0] && !drawn(0)[COLUMNS - 1]);
        assert!(!drawn(LINES - 1)[0] && drawn(LINES - 1)[COLUMNS - 1]);
        assert!((orders_fallen(&losses) - 4.85).abs() < 0.1, "{}", orders_fallen(&losses));
    }

    #[test]
    fn values_that_are_not_finite_leave_gaps() {
        let mut losses = vec![1.0f32; 96];
        losses[48..].fill(f32::NAN);
        let lines = draw(&losses).concat();
        assert!(lines.contains('\u{2800}'));
        assert!(end(&losses).is_nan() && orders_fallen(&losses).is_nan());
        assert_eq!(start(&losses), 1.0);
        assert!(draw(&[f32::NAN; 3]).is_empty());
        assert!(draw(&[]).is_empty());
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [(0.0, "0"), (1.42e8, "1e8"), (0.25, "0.25"), (123.4, "123"), (3.2e-3, "3e-3")] {
            assert_eq!(short(value), text);
        }
    }
}
