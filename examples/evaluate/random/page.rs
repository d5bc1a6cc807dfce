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
const TABLES: [(&str, &str, &str); 16] = [
    (
        "detection",
        "Detection",
        "*At any look*: at one or more of the 25 looks of a run's lifetime, four of them before its first twentieth and one\n\
         after its end. A case is what people hear of. The area under the curve is the probability that a failing program scores\n\
         higher than a healthy one. Grey programs are neither right nor wrong: the rank correlation says how well the score\n\
         follows their excess. Who always says the prior has an area of 0.5, and finds as many failing programs as alarms are\n\
         allowed: 3 %.",
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
         said, at a prior that is their own share of failing ones. Always saying that prior would be right on average, and\n\
         tell nothing.",
    ),
    (
        "closed loop",
        "Closed loop",
        "The core is shown each log as it grows, and what it suggests is trained, without a daemon between. *Right*: the verdict\n\
         stands for a change that cures the program, alone or with another. Where nothing that was tried cures, several things\n\
         are wrong at once; then the verdict is right if it is inconclusive, names a bug that the program has, or stands for a\n\
         change after which the program fails no more. The last columns are those of a person who lowers the learning rate of\n\
         every failing program, and of one who raises it, without looking.",
    ),
    ("verdicts", "Verdicts", "What is said of failing programs, and how often it is right."),
    (
        "confidence of verdicts",
        "Confidence of verdicts",
        "How often verdicts on failing programs are right, by the confidence that they carry.",
    ),
    (
        "probes",
        "Quiet probes",
        "Every program is watched from its beginning to its end, and what quiet probes ask for is trained. *Told*: a case is\n\
         opened. The cost of probes is that over all jobs of a kind, those that are not probed included. Probes are made of\n\
         jobs in doubt that log a point within the budget. What each result says for lengths of a\n\
         probe is in `src/probe/likelihoods.json`.",
    ),
    (
        "orders",
        "The order of tests",
        "The same loop over all failing programs but those that learn from rewards, by the order that the article lists and by\n\
         expected information for the cost. *Right cause* and *wrong cause*: the verdict names one.",
    ),
    (
        "outcomes",
        "What tests without a cause say",
        "How often each outcome of such a test comes in the listed order: among all cases in which it is made, and among those\n\
         that are due to what the cause stands for. `rates` of a policy are the first column, factors in `believe` are\n\
         ratios of the others to it, drawn to 1 where there are few cases.",
    ),
    (
        "reading",
        "How experiments are read",
        "Every single change that a policy may ask for, made to every failing program and read beside it. *Cures*: the excess\n\
         falls below 0.2, which nextrun does not see. *Read as a cure*: better than the baseline, learned, and not overfitting.\n\
         What a cure says for a cause is the ratio of the two columns (`src/policy/gain.rs`).",
    ),
    (
        "alike",
        "What else cures",
        "Of the failing programs that one change cures (rows), how many another cures, too (columns). `also_cures` of a policy\n\
         is taken from the programs to fit on, and drawn to 0 where there are few.",
    ),
];

/// Writes the part into a page: in place of the one that is there, else behind the title.
///
/// # Errors
/// When the page cannot be read or written.
pub(crate) fn write(path: &Path, now: &[Figure], command: &str) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(path).with_context(|| format!("{}: cannot read", path.display()))?;
    let text = with_part(&page, &section(now, command));
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

fn section(now: &[Figure], command: &str) -> String {
    let mut page = format!(
        "\n## Random programs\n\n\
         *Written by `{command}`. Do not edit: run it again.*\n\n\
         Programs are drawn at random: task, noise, network, optimizer, schedule, bugs, logging style (`examples/evaluate/random/`).\n\
         What each of them is follows from training its alternatives at the same seeds: each setting changed, each bug undone,\n\
         three times the steps, ordinary settings. *Excess* is the share of what can be got that a program does not get. *Failing*:\n\
         an excess above one half and worse than four in five of ordinary settings, or more than half of the own best gain lost\n\
         again, or not finite. *Healthy*: an excess below 0.2. *Grey*: between.\n\n\
         *Without signal*: the best that any training reaches is hardly better than a constant.\n\n\
         Families of tasks, bugs and logging styles are **held back** whole: nothing was fitted on a program with one of them.\n\
         The programs *to fit on* had a part in the weights, so their figures are too good. In brackets: 95 % interval (Wilson).\n"
    );
    for (table, title, words) in TABLES.into_iter().filter(|(table, ..)| now.iter().any(|f| f.table == *table)) {
        let _ = write!(page, "\n### {title}\n");
        if !words.is_empty() {
            let _ = write!(page, "\n{words}\n");
        }
        page.push_str(&one(table, now));
    }
    page.push_str(&cures(now));
    page.push_str(LIMITS);
    page
}

/// One table: a line for each row, two columns for each thing measured, one for each set.
fn one(table: &str, now: &[Figure]) -> String {
    let here = || now.iter().filter(|figure| figure.table == table);
    let mut rows: Vec<&str> = Vec::new();
    let mut columns: Vec<&str> = Vec::new();
    for figure in here() {
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
    rows.sort_by_key(|row| here().position(|figure| figure.row == **row));
    let find = |row: &str, column: &str, set: &str| {
        let found = here().find(|f| f.row == row && f.column == column && f.set == set);
        found.map_or("–".to_owned(), Figure::shown)
    };
    let sets: Vec<&str> = SETS.iter().map(|(_, set)| *set).collect();
    let cells = |row: &str, column: &str| sets.iter().map(|set| find(row, column, set)).collect::<Vec<_>>().join(" | ");
    let mut text = String::from("\n");
    if table == "detection" {
        // Each row has columns of its own.
        let _ = writeln!(text, "| programs | | {} |\n|---|---|---|---|", sets.join(" | "));
        for (row, column) in rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column))) {
            if here().any(|figure| figure.row == **row && figure.column == **column) {
                let _ = writeln!(text, "| {row} | {column} | {} |", cells(row, column));
            }
        }
        return text;
    }
    let heads = columns.iter().flat_map(|column| sets.iter().map(move |set| format!("{column}: {set}")));
    let _ = writeln!(text, "| | {} |", heads.collect::<Vec<_>>().join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(columns.len() * sets.len()));
    for row in rows {
        let all = columns.iter().map(|column| cells(row, column)).collect::<Vec<_>>();
        let _ = writeln!(text, "| {} | {} |", row.trim(), all.join(" | "));
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

/// What the figures do not show.
const LIMITS: &str = "\n### What cannot be concluded\n\n\
     - How often jobs of a site fail, and so how many of its alarms are right: that is the site's prior, and its own.\n\
     - How large networks fail. These programs have hundreds to thousands of weights and train for seconds.\n\
     - What holds for a single logging style, task or bug where its row has few programs: its interval says so.\n\
     - That an undetected program could have been detected. Many curves of failing programs look like those of healthy\n  \
       ones whose floor is high; only an experiment tells them apart.\n";

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
