//! A policy as diagrams: an overview of its states, and one page for each state with tests.
//!
//! Owns: the content of diagrams, and their Mermaid and SVG notation. Must not know: cases.

use std::fmt::Write as _;

use super::file::{Policy, State, Test, TestKind};

/// Width of an image and of a box, and height of a line, in pixels.
const WIDTH: usize = 900;
const BOX: usize = 430;
const LINE: usize = 22;

/// One diagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The name of a state, or `overview`.
    pub name: String,
    rows: Vec<Row>,
}

/// A box with its targets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    id: String,
    label: String,
    shape: Shape,
    /// Label of the arrow, and its target box; the next row if there is none.
    ways: Vec<(String, Goal)>,
    /// Whether the next row follows if nothing else does.
    goes_on: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    State,
    Run,
    Ask,
    Read,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Goal {
    /// A verdict.
    Verdict(String),
    /// Another box of the page, or another page.
    Box(String),
}

/// The overview of a policy, then a page for each state with tests.
pub fn pages(policy: &Policy) -> Vec<Page> {
    let mut pages = vec![overview(policy)];
    let listing = policy.states().iter().filter(|state| state.lists().next().is_some());
    pages.extend(listing.map(|state| page(policy, state)));
    pages
}

fn overview(policy: &Policy) -> Page {
    let rows = policy.states().iter().map(|state| {
        let ways = state.ways().into_iter().map(|(when, to)| (when.to_owned(), goal(policy, to)));
        let (id, label) = (state.name().to_owned(), state.name().replace('_', " "));
        Row { id, label, shape: Shape::State, ways: ways.collect(), goes_on: false }
    });
    Page { name: "overview".to_owned(), rows: rows.collect() }
}

fn goal(policy: &Policy, to: &str) -> Goal {
    match (policy.conclusion(to), policy.test(to), to) {
        (Some(conclusion), ..) => Goal::Verdict(conclusion.verdict().to_owned()),
        (None, None, "conclude") => Goal::Verdict("the cause found".to_owned()),
        _ => Goal::Box(to.to_owned()),
    }
}

fn page(policy: &Policy, state: &State) -> Page {
    let mut rows: Vec<Row> = state.lists().filter_map(|name| policy.test(name)).map(|test| row(test, true)).collect();
    let mut at = 0;
    while at < rows.len() {
        let follow: Vec<&Test> = policy
            .test(&rows[at].id)
            .into_iter()
            .flat_map(|test| test.then().values())
            .filter_map(|n| policy.test(n))
            .collect();
        for test in follow {
            if rows.iter().all(|row| row.id != test.name()) {
                rows.push(row(test, false));
            }
        }
        at += 1;
    }
    Page { name: state.name().to_owned(), rows }
}

fn row(test: &Test, goes_on: bool) -> Row {
    let shape = match test.kind() {
        TestKind::Run => Shape::Run,
        TestKind::Ask => Shape::Ask,
        TestKind::Read => Shape::Read,
    };
    let mut ways: Vec<(String, Goal)> = Vec::new();
    if let Some(verdict) = test.verdict().filter(|_| !test.then().contains_key("found")) {
        ways.push(("found".to_owned(), Goal::Verdict(verdict.to_owned())));
    }
    ways.extend(test.then().iter().map(|(outcome, to)| (outcome.clone(), Goal::Box(to.clone()))));
    let title = test.name().replace('_', " ");
    let label = if test.step().is_empty() { title } else { format!("{title} ({})", test.step()) };
    Row { id: test.name().to_owned(), label, shape, ways, goes_on }
}

impl Page {
    /// The page as a Mermaid flow chart.
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart TD\n");
        for row in &self.rows {
            let label = plain(&row.label);
            let _ = match row.shape {
                Shape::State => writeln!(text, "    {}([\"{label}\"])", row.id),
                Shape::Run => writeln!(text, "    {}[\"{label}\"]", row.id),
                Shape::Ask => writeln!(text, "    {}[/\"{label}\"/]", row.id),
                Shape::Read => writeln!(text, "    {}{{{{\"{label}\"}}}}", row.id),
            };
        }
        for (at, row) in self.rows.iter().enumerate() {
            for (number, (label, goal)) in row.ways.iter().enumerate() {
                let label = plain(label);
                let _ = match goal {
                    Goal::Verdict(verdict) => {
                        let end = format!("{}_end{number}", row.id);
                        writeln!(text, "    {} -->|\"{label}\"| {end}((\"{}\"))", row.id, plain(verdict))
                    }
                    Goal::Box(to) => writeln!(text, "    {} -->|\"{label}\"| {to}", row.id),
                };
            }
            if let Some(next) = self.rows.get(at + 1).filter(|next| row.goes_on && next.goes_on) {
                let _ = writeln!(text, "    {} -.-> {}", row.id, next.id);
            }
        }
        text
    }

    /// The page as an SVG image: boxes in a column, with their targets next to them.
    pub fn svg(&self) -> String {
        let lines: usize = self.rows.iter().map(|row| row.ways.len().max(1)).sum();
        let height = (lines + self.rows.len()) * LINE + LINE;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             font-family=\"sans-serif\" font-size=\"13\"><title>{}</title>\n",
            escaped(&self.name)
        );
        let mut y = LINE;
        for (at, row) in self.rows.iter().enumerate() {
            let (fill, dash) = match row.shape {
                Shape::State | Shape::Run => ("#eef3fb", ""),
                Shape::Ask => ("#fdf3dc", " stroke-dasharray=\"6 3\""),
                Shape::Read => ("#eef7ee", " stroke-dasharray=\"2 2\""),
            };
            let _ = writeln!(
                svg,
                "<rect x=\"10\" y=\"{}\" width=\"{BOX}\" height=\"{LINE}\" rx=\"4\" fill=\"{fill}\" stroke=\"#456\"{dash}/>\
                 <text x=\"18\" y=\"{}\">{}</text>",
                y - 16,
                y + 1,
                escaped(&row.label)
            );
            for (number, (label, goal)) in row.ways.iter().enumerate() {
                let to = match goal {
                    Goal::Verdict(verdict) => verdict.clone(),
                    Goal::Box(to) => format!("→ {}", to.replace('_', " ")),
                };
                let line = y + number * LINE + 1;
                let text = format!("{label}: {to}");
                let _ = writeln!(svg, "<text x=\"{}\" y=\"{line}\" fill=\"#234\">{}</text>", BOX + 26, escaped(&text));
            }
            y += (row.ways.len().max(1) + 1) * LINE;
            if self.rows.get(at + 1).is_some_and(|next| row.goes_on && next.goes_on) {
                let _ = writeln!(
                    svg,
                    "<line x1=\"30\" y1=\"{}\" x2=\"30\" y2=\"{}\" stroke=\"#456\" stroke-dasharray=\"3 3\"/>",
                    y - (row.ways.len().max(1) + 1) * LINE + 6,
                    y - 16
                );
            }
        }
        svg + "</svg>\n"
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Mermaid ends a label at a line break or a quotation mark, and gives semicolons and hashes a special meaning.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            ';' | '#' => ',',
            '"' => '\'',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::pages;
    use crate::policy::tests::{SAMPLE, read, sample};

    #[test]
    fn the_sample_as_diagrams() {
        let all: Vec<String> =
            pages(&sample()).iter().map(|page| format!("{}\n{}", page.name, page.mermaid())).collect();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn what_a_notation_would_take_for_its_own_is_replaced() {
        let text = SAMPLE.replace("step: \"2 lower", "step: \"2; <lower> & \\\"x\\\"");
        let pages = pages(&read(&text));
        let page = pages.iter().find(|page| page.name == "sequence").expect("a page");
        assert!(page.mermaid().contains("(2, <lower> & 'x'"), "{}", page.mermaid());
        assert!(page.svg().contains("(2; &lt;lower&gt; &amp; &quot;x&quot;"), "{}", page.svg());
    }
}
