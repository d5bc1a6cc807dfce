//! The page `docs/EVALUATION.md`, from what was measured.
//!
//! Owns: words and tables. Must not know: how anything was measured.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::classes::{CLASSES, Grade};
use crate::figures::{Share, Spread, sign_test};
use crate::investigation::Investigation;
use crate::rivals::RULES;
use crate::strategies::Said;
use crate::trial::{CONSTANT, IN_ORDER, Judged, LOWER, RANDOM};

/// What the page says of the measurement itself.
pub(crate) struct About {
    /// The day.
    pub(crate) date: String,
    /// Processor and cores.
    pub(crate) machine: String,
    /// The command line.
    pub(crate) command: String,
    /// Repetitions with other seeds.
    pub(crate) seeds: u64,
    /// Minutes that it took.
    pub(crate) minutes: f64,
    /// Remarks on cases that are known to be hard, by case.
    pub(crate) remarks: BTreeMap<String, String>,
}

/// The cases that may be tuned on, and those that may not.
const SETS: [(bool, &str); 2] = [(true, "held back"), (false, "trained")];

const NEXTRUN: &str = "**nextrun**";
const DAEMON: &str = "nextrun, the daemon over HTTP (one seed)";

/// One attempt at one run, by anybody.
struct Attempt<'a> {
    case: &'a str,
    grade: Grade,
    says_nothing: bool,
    experiments: usize,
    steps: usize,
    /// Steps of experiments, as multiples of the baseline's.
    multiples: f64,
    closed: bool,
}

/// The whole page.
pub(crate) fn page(results: &[Judged], about: &About) -> String {
    let sections = [
        head(results, about),
        verdicts(results),
        alarms(results),
        rivals(results),
        classes(),
        failures(results, about),
        cases(results),
        limits(),
    ];
    sections.join("\n")
}

fn head(results: &[Judged], about: &About) -> String {
    let count = |healthy: bool, held_back: bool| {
        let of_kind = results.iter().filter(|r| r.nextrun.healthy == healthy && r.nextrun.held_back == held_back);
        of_kind.map(|result| &result.nextrun.case).collect::<std::collections::BTreeSet<_>>().len()
    };
    format!(
        "# Evaluation\n\n\
         *Written by `{}` on {} ({}; {:.0} minutes). Do not edit: run it again.*\n\n\
         Small training programs in Rust (`examples/evaluate/`) are broken in known ways, or healthy. Each fault was put in on\n\
         purpose and is verified by training (`evaluate verify`: the fault breaks it, its cure cures it, a healthy program\n\
         learns). nextrun reads what they log: event files, and `hparams.yaml` where a program writes one.\n\n\
         | set | faulty cases | healthy cases | |\n|---|---|---|---|\n\
         | trained | {} | {} | detectors and policies were tuned while these were looked at |\n\
         | held back | {} | {} | of other tasks, losses, optimizers and logging habits; nothing was tuned on them |\n\n\
         Each case is trained with {} seeds. The unit of every share is the case: seeds (and draws, where chance plays a part)\n\
         are averaged within it, so repetitions do not make an interval narrower. In brackets: 95 % interval (Wilson).\n\
         Three numbers a / b / c are median, mean and 90 % quantile.\n\n\
         **Only the held-back figures say what to expect elsewhere**; the trained ones show what tuning can reach.\n",
        about.command,
        about.date,
        about.machine,
        about.minutes,
        count(false, false),
        count(true, false),
        count(false, true),
        count(true, true),
        about.seeds,
    )
}

fn verdicts(results: &[Judged]) -> String {
    let mut page = String::from(
        "## Root causes of faulty runs\n\n\
         *expert's*: the verdict that an expert would give; *accepted*: that, or another that is true of the run as well;\n\
         *class*: one with the same fix (table below). A fault that is not detected counts as wrong. nextrun sees each run grow,\n\
         opens a case by itself and stops at its verdict. The others are **told** which runs are broken, and every knob of theirs:\n\
         the list is tried until an experiment cures, judged by the same reading of runs; what is left counts as `data_pipeline` if one point was\n\
         fitted, else as `cannot_fit_one_point`. `nothing` is inconclusive, or no case. Costs are those of runs with a verdict:\n\
         experiments, their optimizer steps, and these as multiples of the baseline run's.\n",
    );
    for (held_back, set) in SETS {
        let faulty: Vec<&Judged> = of_set(results, held_back).filter(|r| !r.nextrun.healthy).collect();
        let _ = write!(
            page,
            "\n### {set}\n\n| who | expert's | accepted | class | nothing | experiments | steps | multiples |\n\
             |---|---|---|---|---|---|---|---|\n"
        );
        let own: Vec<Attempt<'_>> = faulty.iter().map(|r| attempt(&r.nextrun)).collect();
        row(&mut page, NEXTRUN, &own);
        let mut against = String::new();
        let by_daemon: Vec<Attempt<'_>> = faulty.iter().filter_map(|r| r.daemon.as_ref()).map(attempt).collect();
        if !by_daemon.is_empty() {
            row(&mut page, DAEMON, &by_daemon);
        }
        for name in [IN_ORDER, RANDOM, LOWER, CONSTANT] {
            let attempts: Vec<Attempt<'_>> = faulty
                .iter()
                .flat_map(|r| r.strategies.get(name).into_iter().flatten().map(|said| said_of(&r.nextrun, said)))
                .collect();
            let verdict = faulty.first().and_then(|r| r.strategies.get(name)?.first()).map(|said| &said.verdict);
            let label = match verdict {
                Some(verdict) if name == CONSTANT => format!("{name}: `{verdict}`"),
                _ => name.to_owned(),
            };
            row(&mut page, &label, &attempts);
            against.push_str(&compared(&own, &label, &attempts));
        }
        let _ = write!(page, "\nCase by case against nextrun (accepted verdicts; exact sign test):\n\n{against}");
    }
    let pairs = results.iter().filter_map(|r| Some((&r.nextrun, r.daemon.as_ref()?)));
    let same: Vec<bool> = pairs.map(|(core, daemon)| core.verdict == daemon.verdict).collect();
    if !same.is_empty() {
        let count = same.iter().filter(|same| **same).count();
        let _ = write!(
            page,
            "\nThe daemon, which reads files as they happen to grow, and the core, which is shown 40 parts of them, say the same\n\
             of {count} of {} runs, healthy ones included.\n",
            same.len()
        );
    }
    page
}

fn of_set(results: &[Judged], held_back: bool) -> impl Iterator<Item = &Judged> {
    results.iter().filter(move |result| result.nextrun.held_back == held_back)
}

fn attempt(known: &Investigation) -> Attempt<'_> {
    Attempt {
        case: &known.case,
        grade: known.grade(),
        says_nothing: matches!(known.verdict.as_deref(), None | Some("inconclusive")),
        experiments: known.experiments.len(),
        steps: known.steps_spent(),
        multiples: known.steps_spent() as f64 / known.baseline_steps as f64,
        closed: known.verdict.is_some(),
    }
}

fn said_of<'a>(known: &'a Investigation, said: &Said) -> Attempt<'a> {
    let steps = said.experiments.iter().map(|tried| tried.steps).sum();
    Attempt {
        case: &known.case,
        grade: said.grade(&known.expected),
        says_nothing: said.verdict == "inconclusive",
        experiments: said.experiments.len(),
        steps,
        multiples: steps as f64 / known.baseline_steps as f64,
        closed: true,
    }
}

fn row(page: &mut String, who: &str, attempts: &[Attempt<'_>]) {
    let share = |holds: &dyn Fn(&Attempt<'_>) -> bool| by_case(attempts.iter().map(|a| (a.case, holds(a))));
    let cost = |number: &dyn Fn(&Attempt<'_>) -> f64| Spread::of(attempts.iter().filter(|a| a.closed).map(number));
    let _ = writeln!(
        page,
        "| {who} | {} | {} | {} | {} | {} | {} | {} |",
        share(&|a| a.grade >= Grade::Expert),
        share(&|a| a.grade >= Grade::Accepted),
        share(&|a| a.grade >= Grade::Class),
        share(&|a| a.says_nothing),
        cost(&|a| a.experiments as f64),
        cost(&|a| a.steps as f64),
        cost(&|a| a.multiples),
    );
}

/// In how many cases one does better than the other.
fn compared(own: &[Attempt<'_>], who: &str, others: &[Attempt<'_>]) -> String {
    let accepted =
        |attempts: &[Attempt<'_>]| shares(attempts.iter().map(|a| (a.case.to_owned(), a.grade >= Grade::Accepted)));
    let (own, others) = (accepted(own), accepted(others));
    let better = own.iter().filter(|(case, share)| others.get(*case).is_some_and(|other| *share > other)).count();
    let worse = own.iter().filter(|(case, share)| others.get(*case).is_some_and(|other| *share < other)).count();
    format!("- {who}: nextrun is better in {better} cases, worse in {worse} (p = {:.4})\n", sign_test(better, worse))
}

/// For each case the share of attempts that something holds of.
fn shares(attempts: impl Iterator<Item = (String, bool)>) -> BTreeMap<String, f64> {
    let mut cases: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for (case, holds) in attempts {
        let (hits, count) = cases.entry(case).or_default();
        *hits += f64::from(u8::from(holds));
        *count += 1.0;
    }
    cases.into_iter().map(|(case, (hits, count))| (case, hits / count)).collect()
}

/// The share of cases that something holds of, with attempts at one case averaged.
fn by_case<'a>(attempts: impl Iterator<Item = (&'a str, bool)>) -> Share {
    let shares = shares(attempts.map(|(case, holds)| (case.to_owned(), holds)));
    Share { hits: shares.values().sum(), of: shares.len() }
}

fn alarms(results: &[Judged]) -> String {
    let mut page = String::from(
        "## Detection\n\n\
         Each run grows in 40 parts, wherever they cut a record, and is looked at after each. *Delay*: from the first step at\n\
         which the fault shows (the first NaN, the best validation, the last record; else the very first step, for one who\n\
         knows the data could see it there) to the step at which a case is opened; opened earlier, it is none. *Symptoms*: one of\n\
         the expert's sets of symptoms is among those of the whole run. *Cannot judge*: it says so at the end of the run.\n\n\
         | set | faulty: case opened | delay, steps | delay, % of the run | symptoms as the expert's | healthy: case opened | healthy: experiment suggested | healthy: cannot judge |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for (held_back, set) in SETS {
        let known =
            |healthy: bool| of_set(results, held_back).map(|r| &r.nextrun).filter(move |k| k.healthy == healthy);
        let share = |healthy: bool, holds: fn(&Investigation) -> bool| {
            by_case(known(healthy).map(|known| (known.case.as_str(), holds(known))))
        };
        let late =
            |known: &Investigation| Some(known.opened.as_ref()?.step?.saturating_sub(known.decidable_step) as f64);
        let part = |known: &Investigation| Some(100.0 * late(known)? / known.baseline_steps as f64);
        let _ = writeln!(
            page,
            "| {set} | {} | {} | {} | {} | {} | {} | {} |",
            share(false, |known| known.opened.is_some()),
            Spread::of(known(false).filter_map(late)),
            Spread::of(known(false).filter_map(part)),
            share(false, Investigation::symptoms_right),
            share(true, |known| known.opened.is_some()),
            share(true, |known| !known.experiments.is_empty()),
            share(true, |known| known.cannot_judge),
        );
    }
    page
}

fn rivals(results: &[Judged]) -> String {
    let mut page = String::from(
        "## Other tools' rules on the same runs\n\n\
         Their published rules with their published numbers, computed from the same event files (`examples/evaluate/rivals.rs`);\n\
         what needs more than scalars, or source code, is left out, and none of them names a cause by experiment. A rule counts\n\
         as having fired if it would have at any time of the run. Some are built for one kind of fault (spikes, NaN): read\n\
         found and alarmed together. Hangs and kills are out of reach of all of them.\n\n\
         | tool, rule | held back: faulty found | held back: healthy alarmed | trained: faulty found | trained: healthy alarmed |\n\
         |---|---|---|---|---|\n",
    );
    let mut line = |who: &str, fires: &dyn Fn(&Judged) -> bool| {
        let share = |held_back: bool, healthy: bool| {
            let runs = of_set(results, held_back).filter(|r| r.nextrun.healthy == healthy);
            by_case(runs.map(|r| (r.nextrun.case.as_str(), fires(r))))
        };
        let _ = writeln!(
            page,
            "| {who} | {} | {} | {} | {} |",
            share(true, false),
            share(true, true),
            share(false, false),
            share(false, true)
        );
    };
    line("**nextrun**: case opened", &|result| result.nextrun.opened.is_some());
    for (place, rule) in RULES.iter().enumerate() {
        line(&format!("{}: {}", rule.tool, rule.rule), &|result| result.rules[place]);
    }
    page
}

fn classes() -> String {
    let mut page = String::from(
        "## Classes\n\nVerdicts that share their fix; an experiment cannot tell apart what the same change cures.\n\n\
         | class | verdicts | fix |\n|---|---|---|\n",
    );
    for (name, verdicts, fix) in CLASSES {
        let _ = writeln!(page, "| {name} | {} | {fix} |", verdicts.join(", "));
    }
    page
}

fn failures(results: &[Judged], about: &About) -> String {
    let mut page = String::from(
        "## What fails\n\nEvery run whose verdict is not accepted, and every healthy run with a case.\n\n",
    );
    let wrong = results.iter().map(|r| &r.nextrun).filter(|known| known.grade() < Grade::Accepted);
    for known in wrong {
        let what = match (&known.opened, known.verdict.as_deref()) {
            (None, _) if known.cannot_judge => "no case, because it cannot judge the run".to_owned(),
            (None, _) => format!("no case; symptoms: {}", listed(&known.symptoms, "none")),
            (Some(opened), verdict) => {
                let verdict = verdict.unwrap_or("no verdict");
                format!("`{verdict}`; symptoms when the case opened: {}", listed(&opened.symptoms, "none"))
            }
        };
        let expected = if known.healthy { "healthy" } else { known.expected[0].as_str() };
        let remark = about.remarks.get(&known.case).filter(|remark| !remark.is_empty());
        let remark = remark.map_or_else(String::new, |remark| format!(" {remark}"));
        let _ = writeln!(
            page,
            "- `{}`, seed {} ({}): expected {expected}, got {what}.{remark}",
            known.case,
            known.repetition + 1,
            set_of(known),
        );
    }
    page
}

fn listed(words: &[String], none: &str) -> String {
    if words.is_empty() { none.to_owned() } else { words.join(", ") }
}

fn set_of(known: &Investigation) -> &'static str {
    SETS.iter().find(|(held_back, _)| *held_back == known.held_back).map_or("", |(_, set)| set)
}

fn cases(results: &[Judged]) -> String {
    let mut page = String::from(
        "## Case by case\n\nBy seed: verdict (number of experiments), ✔ the expert's, ✓ accepted, ~ right class, ✘ wrong.\n\n\
         | case | set | expert's verdict | seeds | case opened at |\n|---|---|---|---|---|\n",
    );
    let mut by_case: BTreeMap<(bool, bool, &str), Vec<&Investigation>> = BTreeMap::new();
    for known in results.iter().map(|result| &result.nextrun) {
        by_case.entry((!known.held_back, known.healthy, known.case.as_str())).or_default().push(known);
    }
    for ((_, _, case), seeds) in by_case {
        let first = seeds[0];
        let opened = seeds.iter().map(|known| match known.opened.as_ref().and_then(|opened| opened.step) {
            Some(step) => format!("{:.0} %", 100.0 * step as f64 / known.baseline_steps as f64),
            None => "-".to_owned(),
        });
        let _ = writeln!(
            page,
            "| {case} | {} | {} | {} | {} |",
            set_of(first),
            if first.healthy { "healthy" } else { first.expected[0].as_str() },
            seeds.iter().map(|known| cell(known)).collect::<Vec<_>>().join("<br>"),
            opened.collect::<Vec<_>>().join(", "),
        );
    }
    page
}

fn cell(known: &Investigation) -> String {
    let mark = match known.grade() {
        Grade::Expert => '✔',
        Grade::Accepted => '✓',
        Grade::Class => '~',
        Grade::Wrong => '✘',
    };
    let verdict = match (&known.verdict, &known.opened) {
        (Some(verdict), _) => verdict.as_str(),
        (None, Some(_)) => "still open",
        (None, None) => "no case",
    };
    format!("{mark} {verdict} ({})", known.experiments.len())
}

fn limits() -> String {
    "## Limits\n\n\
     - The programs are small (hundreds to thousands of steps, thousands of weights). Large models fail in other ways, too.\n\
     - The same people wrote the faults, the detectors and the policy. The held-back cases were written after the rules and\n  \
       were not looked at while these were changed, but their authors knew the rules.\n\
     - One fault a program. Real programs may have several.\n\
     - Every program has every knob of the policy, and its queue trains whatever is asked. A real script has fewer.\n\
     - Most faults show from the first step, so the delay is mostly the evidence that is asked for before a case is opened.\n\
     - Other tools' rules are re-implemented from what is published, with default numbers and without what they would see\n  \
       inside the process; a tool that is tuned to a site does better.\n\
     - A few dozen cases give wide intervals. Small differences mean nothing.\n"
        .to_owned()
}
