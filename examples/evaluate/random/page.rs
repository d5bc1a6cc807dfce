//! The figures on random programs as a part of docs/EVALUATION.md.
//!
//! Owns: words and tables. Must not know: how figures come about.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use super::measure::{Figure, SETS};

/// What the part stands between, so that it can be written anew alone.
const BEGIN: &str = "<!-- random programs: begin -->\n";
const END: &str = "<!-- random programs: end -->\n";

/// A page of figures: its tables, each with its introduction.
const TABLES: [(&str, &str, &str); 13] = [
    (
        "detection",
        "Detection",
        "*At any look*: at one or more of the 21 looks of a run's lifetime, the one after its end included. A case is what people\n\
         hear of. The area under the curve is the probability that a failing program scores higher than a healthy one; always\n\
         saying the prior gives 0.5. Grey programs are neither right nor wrong: the rank correlation says how well the score\n\
         follows their excess.",
    ),
    ("by share of the run", "By share of the run", "What the status is while a run goes on."),
    ("by logging style", "By logging style", ""),
    (
        "by points of the loss",
        "By number of points",
        "Points of the training loss (or of the reward) in the whole log.",
    ),
    ("by settings logged", "By whether settings are logged", ""),
    ("by task", "By task", ""),
    ("by bug", "By bug", "Programs without a bug fail by their settings."),
    (
        "reliability",
        "Reliability",
        "Failing and healthy programs at a quarter, at half and at the end of their runs, by the probability of failing that is\n\
         said, at a prior that is their own share of failing ones. The rules before had no probabilities: they scored 0\n\
         (healthy), 0.5 (cannot tell) or 1 (failing), and are left as they were.",
    ),
    (
        "closed loop",
        "Closed loop",
        "The core is shown each log as it grows, and what it suggests is trained, without a daemon between. *Right*: the verdict\n\
         stands for a change that cures the program, or it is inconclusive and nothing does.",
    ),
    ("verdicts", "Verdicts", "What is said of failing programs, and how often it is right."),
    (
        "confidence of verdicts",
        "Confidence of verdicts",
        "How often verdicts on failing programs are right, by the confidence that they carry.",
    ),
    (
        "orders",
        "The order of tests",
        "The same loop over all failing programs but those that learn from rewards, by the order that the article lists and by\n\
         expected information for the cost. *Right cause* and *wrong cause*: the verdict names one.",
    ),
    (
        "reading",
        "How experiments are read",
        "Every single change that a policy may ask for, made to every failing program and read beside it. *Cures*: the excess\n\
         falls below 0.2, which nextrun does not see. *Read as a cure*: better than the baseline, and learned. What a cure says\n\
         for a cause is the ratio of the two columns (`src/policy/gain.rs`).",
    ),
];

/// Writes the part into a page: in place of the one that is there, else behind the title.
///
/// # Errors
/// When the page cannot be read or written.
pub(crate) fn write(path: &Path, before: &[Figure], now: &[Figure], command: &str) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(path).with_context(|| format!("{}: cannot read", path.display()))?;
    let text = with_part(&page, &section(before, now, command));
    std::fs::write(path, text).with_context(|| format!("{}: cannot write", path.display()))
}

/// A page that is written anew around the part that the old one has.
pub(crate) fn kept(old: &str, new: &str) -> String {
    match (old.find(BEGIN), old.find(END)) {
        (Some(begin), Some(end)) if begin < end => with_part(new, &old[begin + BEGIN.len()..end]),
        _ => new.to_owned(),
    }
}

fn with_part(page: &str, part: &str) -> String {
    let (head, tail) = match (page.find(BEGIN), page.find(END)) {
        (Some(begin), Some(end)) if begin < end => (&page[..begin], &page[end + END.len()..]),
        _ => page.split_at(page.find("\n\n").map_or(page.len(), |title| title + 2)),
    };
    let gap = if tail.starts_with('\n') || tail.is_empty() { "" } else { "\n" };
    format!("{head}{BEGIN}{part}{END}{gap}{tail}")
}

fn section(before: &[Figure], now: &[Figure], command: &str) -> String {
    let mut page = format!(
        "\n## Random programs\n\n\
         *Written by `{command}`. Do not edit: run it again.*\n\n\
         Programs are drawn at random: task, noise, network, optimizer, schedule, bugs, logging style (`examples/evaluate/random/`).\n\
         What each of them is follows from training its alternatives at the same seeds: each setting changed, each bug undone,\n\
         three times the steps, ordinary settings. *Excess* is the share of what can be got that a program does not get. *Failing*:\n\
         an excess above one half and worse than four in five of ordinary settings, or more than half of the own best gain lost\n\
         again, or not finite. *Healthy*: an excess below 0.2. *Grey*: between.\n\n\
         Families of tasks, bugs and logging styles are **held back** whole: nothing was fitted on a program with one of them.\n\
         *Before* is what the rules said that came before judgement from evidence, on the same programs.\n"
    );
    for (table, title, words) in TABLES {
        let _ = write!(page, "\n### {title}\n");
        if !words.is_empty() {
            let _ = write!(page, "\n{words}\n");
        }
        for (_, set) in SETS {
            page.push_str(&one(table, set, before, now));
        }
    }
    page.push_str(&cures(now));
    page
}

/// One table of one set: a line for each row, two columns for each thing measured.
fn one(table: &str, set: &str, before: &[Figure], now: &[Figure]) -> String {
    let here = |figure: &&Figure| figure.table == table && figure.set == set;
    let mut rows: Vec<&str> = Vec::new();
    let mut columns: Vec<&str> = Vec::new();
    for figure in now.iter().chain(before).filter(here) {
        if !rows.contains(&figure.row.as_str()) {
            rows.push(&figure.row);
        }
        if !columns.contains(&figure.column.as_str()) {
            columns.push(&figure.column);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let find = |figures: &[Figure], row: &str, column: &str| {
        figures.iter().filter(here).find(|f| f.row == row && f.column == column).map_or("–".to_owned(), Figure::shown)
    };
    let mut text = format!("\n{set}:\n\n");
    if table == "detection" {
        // Each row has columns of its own.
        text.push_str("| programs | | before | now |\n|---|---|---|---|\n");
        for figure in now.iter().filter(here) {
            let (row, column) = (&figure.row, &figure.column);
            let _ = writeln!(text, "| {row} | {column} | {} | {} |", find(before, row, column), figure.shown());
        }
        return text;
    }
    let _ = writeln!(
        text,
        "| | {} |",
        columns.iter().map(|c| format!("{c}: before | now")).collect::<Vec<_>>().join(" | ")
    );
    let _ = writeln!(text, "|---|{}", "---|---|".repeat(columns.len()));
    for row in rows {
        let cells = columns.iter().map(|column| format!("{} | {}", find(before, row, column), find(now, row, column)));
        let _ = writeln!(text, "| {} | {} |", row.trim(), cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

/// What cures failing programs: a property of the programs, not of what is said of them.
fn cures(now: &[Figure]) -> String {
    let mut text = String::from(
        "\n### What cures\n\nSingle changes that bring the excess of failing programs below 0.2 at two of three seeds.\n\n\
         | | | held back | to fit on |\n|---|---|---|---|\n",
    );
    let all = || now.iter().filter(|figure| figure.table == "cures");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for figure in all() {
        let cell = (figure.row.as_str(), figure.column.as_str());
        if seen.contains(&cell) {
            continue;
        }
        seen.push(cell);
        let of = |set: &str| {
            all()
                .find(|f| (f.row.as_str(), f.column.as_str()) == cell && f.set == set)
                .map_or("–".to_owned(), Figure::shown)
        };
        let [(_, first), (_, second)] = SETS;
        let _ = writeln!(text, "| {} | {} | {} | {} |", cell.0, cell.1, of(first), of(second));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, kept, with_part};

    #[test]
    fn a_part_replaces_the_one_before_and_outlives_the_page_around_it() {
        let page = with_part("# Title\n\nHand-made.\n", "first\n");
        assert_eq!(page, format!("# Title\n\n{BEGIN}first\n{END}\nHand-made.\n"));
        let again = with_part(&page, "second\n");
        assert_eq!(again, page.replace("first", "second"));
        let anew = kept(&again, "# Title\n\nAnew.\n");
        assert_eq!(anew, format!("# Title\n\n{BEGIN}second\n{END}\nAnew.\n"));
        assert_eq!(kept("# No part\n", "new"), "new");
    }
}
