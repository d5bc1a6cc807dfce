//! A chart as SVG.
//!
//! Owns: layout, colours, dash patterns. Must not know: the meaning of a series.

use std::fmt::Write;

use super::axis::{Axis, steps, values};
use super::{Chart, Line, SIZE, number};

/// Room for the names of values, of what stands above, at the right, and of steps.
const LEFT: f64 = 62.0;
const TOP: f64 = 44.0;
const RIGHT: f64 = 132.0;
const BOTTOM: f64 = 44.0;

/// Height of a line of text.
const LINE: f64 = 14.0;

/// Colour and dash pattern of each line; they differ in lightness as well as in hue (Okabe and Ito, "Color universal
/// design", 2008). The first is the reference.
const STYLES: [(&str, &str); 7] = [
    ("#3b4252", ""),
    ("#0072b2", ""),
    ("#d55e00", "7 3"),
    ("#00805f", "2 3"),
    ("#a3478a", "9 3 2 3"),
    ("#8a6d00", "4 2"),
    ("#4a7fb5", "1 2"),
];

/// As many characters of a name as there is room for at the end of a line.
const NAME: usize = 19;

/// The place of a line's style: the first is the reference's alone.
fn style(line: &Line) -> usize {
    if line.style == 0 { 0 } else { 1 + (line.style - 1) % (STYLES.len() - 1) }
}

struct Drawing<'a> {
    chart: &'a Chart,
    x: Axis,
    y: Axis,
    out: String,
}

/// The whole document; empty where there is nothing to draw.
pub(super) fn document(chart: &Chart) -> String {
    let Some((first, last)) = steps(chart) else { return String::new() };
    let (low, high) = values(chart).unwrap_or((0.0, 1.0));
    let drawing = Drawing { chart, x: Axis::of_steps(first, last), y: Axis::of_values(low, high), out: String::new() };
    drawing.whole()
}

impl Drawing<'_> {
    fn px(&self, step: f64) -> f64 {
        LEFT + self.x.share(step) * (SIZE.0 - LEFT - RIGHT)
    }

    fn py(&self, value: f64) -> f64 {
        SIZE.1 - BOTTOM - self.y.share(value) * (SIZE.1 - TOP - BOTTOM)
    }

    /// Adds to the drawing. Writing into a text cannot fail.
    fn draw(&mut self, part: std::fmt::Arguments<'_>) {
        let _ = self.out.write_fmt(part);
    }

    fn whole(mut self) -> String {
        let (width, height) = SIZE;
        let title = escaped(&self.chart.title);
        self.draw(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"system-ui, 'Open Sans', sans-serif\" font-size=\"11.5\" role=\"img\" aria-label=\"{title}\">\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\
             <text class=\"title\" x=\"{LEFT}\" y=\"17\" font-size=\"13\" font-weight=\"600\" fill=\"#1c2330\">{title}</text>"
        ));
        self.windows();
        self.grid();
        let lines: Vec<&Line> = self.chart.lines.iter().collect();
        // The most important line lies above the others.
        for line in lines.iter().rev() {
            self.band(line);
        }
        for line in lines.iter().rev() {
            self.line(line);
        }
        self.names(&lines);
        self.out.push_str("</svg>");
        self.out
    }

    fn windows(&mut self) {
        let (top, bottom) = (TOP, SIZE.1 - BOTTOM);
        for (row, window) in self.chart.windows.iter().enumerate() {
            let (from, to) = (self.px(window.from), self.px(window.to));
            let width = (to - from).max(2.0);
            let name = escaped(&short(&window.name, 40));
            let y = TOP - 6.0 - 11.0 * (row % 2) as f64;
            self.draw(format_args!(
                "<rect class=\"window\" x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"#b45309\" \
                 fill-opacity=\"0.07\"/><path class=\"window-edge\" d=\"M{from:.1} {bottom}V{top}H{:.1}V{bottom}\" \
                 fill=\"none\" stroke=\"#b45309\" stroke-opacity=\"0.45\" stroke-width=\"1\"/>\
                 <text class=\"window-name\" x=\"{:.1}\" y=\"{y}\" fill=\"#92400e\" font-size=\"10.5\">{name}</text>",
                bottom - top,
                from + width,
                from + 2.0,
            ));
        }
    }

    fn grid(&mut self) {
        let (left, right, bottom) = (LEFT, SIZE.0 - RIGHT, SIZE.1 - BOTTOM);
        let ticks = self.y.ticks(6);
        let digits = |tick: &f64| number(*tick, 4).split_once('.').map_or(0, |(_, rest)| rest.len());
        // Numbers below each other are read by their point: 0.70 above 0.69.
        let decimals = ticks.iter().map(digits).max().filter(|_| !self.chart.is_logarithmic());
        for tick in ticks {
            let y = self.py(tick);
            let text = match decimals {
                Some(decimals @ 1..=4) => format!("{tick:.decimals$}"),
                _ => number(tick, 4),
            };
            self.draw(format_args!(
                "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\" stroke=\"#e3e7ee\" stroke-width=\"1\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#5b6473\">{text}</text>",
                left - 8.0,
                y + 4.0,
            ));
        }
        for tick in self.x.ticks(8) {
            let (x, text) = (self.px(tick), number(tick, 4));
            self.draw(format_args!(
                "<path class=\"axis\" d=\"M{x:.1} {bottom}v4\" stroke=\"#9aa3b2\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#5b6473\">{text}</text>",
                bottom + 17.0,
            ));
        }
        self.draw(format_args!(
            "<path class=\"axis\" d=\"M{left} {bottom}H{right}\" stroke=\"#9aa3b2\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#5b6473\">step</text>",
            (left + right) / 2.0,
            bottom + 34.0,
        ));
    }

    /// The extremes of what a mean stands for.
    fn band(&mut self, line: &Line) {
        let levels = &line.outline.levels;
        if levels.iter().all(|level| level.low == level.high) {
            return;
        }
        let upper = levels.iter().map(|level| (self.px(level.step), self.py(level.high)));
        let lower = levels.iter().rev().map(|level| (self.px(level.step), self.py(level.low)));
        let points: Vec<String> = upper.chain(lower).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (colour, _) = STYLES[style(line)];
        self.draw(format_args!(
            "<polygon class=\"band s{}\" points=\"{}\" fill=\"{colour}\" fill-opacity=\"0.12\"/>",
            style(line),
            points.join(" "),
        ));
    }

    fn line(&mut self, line: &Line) {
        let at = style(line);
        let (colour, dash) = STYLES[at];
        let width = if at == 0 { 2.2 } else { 1.8 };
        let levels: Vec<(f64, f64)> =
            line.outline.levels.iter().map(|level| (self.px(level.step), self.py(level.mean))).collect();
        let broken: Vec<f64> = line.outline.broken.iter().map(|step| self.px(*step)).collect();
        let mut path = String::new();
        for (i, (x, y)) in levels.iter().enumerate() {
            // What was not finite leaves a gap.
            let gap = i > 0 && broken.iter().any(|at| (levels[i - 1].0..*x).contains(at));
            let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 || gap { 'M' } else { 'L' });
        }
        let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
        if !path.is_empty() {
            self.draw(format_args!(
                "<path class=\"line s{at}\" d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
                 stroke-linejoin=\"round\" stroke-linecap=\"round\"{dash}/>"
            ));
        }
        // A few points are worth seeing one by one; they are what was logged.
        if levels.len() <= 30 {
            for (x, y) in &levels {
                self.draw(format_args!(
                    "<circle class=\"dot s{at}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.4\" fill=\"{colour}\"/>"
                ));
            }
        }
        let y = SIZE.1 - BOTTOM - 7.0;
        for x in broken {
            self.draw(format_args!(
                "<path class=\"broken s{at}\" d=\"M{:.1} {:.1}l7 7m0 -7l-7 7\" stroke=\"{colour}\" stroke-width=\"1.6\" \
                 fill=\"none\"><title>not finite</title></path>",
                x - 3.5,
                y - 3.5,
            ));
        }
    }

    /// Each name at the end of its line, moved so far that none lies on another.
    fn names(&mut self, lines: &[&Line]) {
        let right = SIZE.0 - RIGHT + 6.0;
        let end = |line: &&Line| {
            let level = line.outline.levels.last();
            level.map_or(SIZE.1 - BOTTOM - 7.0, |level| self.py(level.mean))
        };
        let mut named: Vec<(f64, &Line)> = lines.iter().map(|line| (end(line), *line)).collect();
        named.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut at: Vec<f64> = Vec::new();
        for (wanted, _) in &named {
            at.push(at.last().map_or(*wanted, |before| wanted.max(before + LINE)));
        }
        // Those that were pushed out at the bottom push the others up.
        let mut floor = SIZE.1 - BOTTOM + 2.0;
        for place in at.iter_mut().rev() {
            *place = place.min(floor);
            floor = *place - LINE;
        }
        for ((_, line), y) in named.into_iter().zip(at) {
            let at = style(line);
            let (colour, dash) = STYLES[at];
            let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
            self.draw(format_args!(
                "<path class=\"line s{at}\" d=\"M{right} {y:.1}h14\" stroke=\"{colour}\" stroke-width=\"2\" fill=\"none\"{dash}/>\
                 <text class=\"name s{at}\" x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
                right + 18.0,
                y + 4.0,
                escaped(&short(&line.name, NAME)),
            ));
        }
    }
}

fn short(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let begin: String = name.chars().take(most - 1).collect();
    format!("{begin}…")
}

/// A text of strangers in a document: nothing in it is markup, and what no XML may hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control()
                || matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                out.push(' ');
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Window;
    use super::*;
    use crate::series::{Level, Outline};

    fn line(name: &str, style: usize, points: &[(f64, f64)]) -> Line {
        let level = |(step, mean): &(f64, f64)| Level { step: *step, mean: *mean, low: *mean, high: *mean };
        Line {
            name: name.into(),
            outline: Outline { levels: points.iter().map(level).collect(), broken: vec![] },
            style,
        }
    }

    #[test]
    fn a_chart_is_drawn() {
        let mut cured = line("experiment 1", 1, &[(0.0, 2.3), (100.0, 1.0), (200.0, 0.4)]);
        cured.outline.levels[1].high = 1.5;
        let mut broken = line("experiment 2", 2, &[(0.0, 2.3), (50.0, 2.2)]);
        broken.outline.broken = vec![60.0];
        let chart = Chart {
            title: "Training loss".into(),
            lines: vec![line("baseline", 0, &[(0.0, 2.3), (100.0, 2.31), (200.0, 2.3)]), cured, broken],
            windows: vec![Window { from: 50.0, to: 200.0, name: "not learning".into() }],
        };
        insta::assert_snapshot!(chart.svg().replace("><", ">\n<"));
    }

    #[test]
    fn nothing_gives_no_picture() {
        assert_eq!(document(&Chart::default()), "");
        assert!(Chart::default().is_empty());
    }

    #[test]
    fn names_are_no_markup() {
        let name = "</text><script>alert('1')</script>\u{202e}&\u{0}";
        let chart = Chart {
            title: name.into(),
            lines: vec![line(name, 0, &[(0.0, 1.0)])],
            windows: vec![Window { from: 0.0, to: 0.0, name: name.into() }],
        };
        let drawn = chart.svg();
        assert!(!drawn.contains("<script") && !drawn.contains('\u{202e}') && !drawn.contains('\u{0}'), "{drawn}");
        assert!(drawn.contains("&lt;script&gt;"), "{drawn}");
    }

    #[test]
    fn names_do_not_lie_on_each_other() {
        let lines = (0..12).map(|n| line(&format!("experiment {n}"), n, &[(0.0, 1.0), (10.0, 1.0)]));
        let chart = Chart { lines: lines.collect(), ..Chart::default() };
        let drawn = chart.svg();
        let places = drawn
            .split("class=\"name")
            .skip(1)
            .filter_map(|part| part.split("y=\"").nth(1)?.split('"').next()?.parse().ok());
        let mut places: Vec<f64> = places.collect();
        places.sort_by(f64::total_cmp);
        assert_eq!(places.len(), 12);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LINE - 0.11), "{places:?}");
    }
}
