//! The documentation matches the program: the pages of `docs/`, the help, the names of the contract.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod symptoms;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nextrun::case::{Body, MessageKind};
use nextrun::fate::FateState;
use nextrun::policy::{KNOBS, VERDICTS};
use regex::Regex;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Names that other programs rely on; none of them may be removed.
const SYMPTOMS: [&str; 17] = [
    "non_finite",
    "diverging",
    "exploding_gradients",
    "vanishing_gradients",
    "not_learning",
    "slow_learning",
    "oscillating",
    "loss_spikes",
    "stalled_after_lr_drop",
    "plateaued",
    "overfitting",
    "dead_units",
    "weights_frozen",
    "clipped",
    "sawtooth",
    "loss_floor",
    "silent",
];
const ROOT_CAUSES: [&str; 19] = [
    "healthy",
    "recovered",
    "learning_rate_too_high",
    "learning_rate_too_low",
    "learning_rate_decays_too_fast",
    "batch_norm_hides_exploding_gradients",
    "bad_initialization",
    "vanishing_gradients",
    "batch_too_small",
    "batch_too_large",
    "cannot_fit_one_point",
    "weights_do_not_change",
    "loss_function",
    "input_scaling",
    "data_pipeline",
    "overfitting",
    "too_few_steps",
    "infrastructure",
    "inconclusive",
];
const FATES: [&str; 11] = [
    "queued",
    "held",
    "running",
    "ended",
    "failed",
    "cancelled",
    "stopped",
    "out_of_memory",
    "out_of_time",
    "lost",
    "gone",
];
const SETTINGS: [&str; 15] = [
    "learning_rate",
    "lr_decay",
    "batch_size",
    "batch_norm",
    "train_examples",
    "initializer",
    "optimizer",
    "activation",
    "output_activation",
    "loss",
    "gradient_clip",
    "normalize_inputs",
    "input_scaling",
    "max_steps",
    "seed",
];

/// The help of a command, as a terminal of the usual width shows it.
fn help(command: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_nextrun"));
    let output = program.args(command).arg("--help").env_remove("COLUMNS").output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names of the commands that a help lists.
fn listed(help: &str) -> Vec<String> {
    let rest = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let entry = Regex::new(r"^  (\w+) ").unwrap();
    let lines = rest.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| Some(entry.captures(line)?[1].to_owned()));
    names.filter(|name| name != "help").collect()
}

/// Every command, those of two words too, that does something by itself.
fn commands() -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for first in listed(&help(&[])) {
        let below = listed(&help(&[&first]));
        match below.is_empty() {
            true => commands.push(vec![first]),
            false => commands.extend(below.into_iter().map(|second| vec![first.clone(), second])),
        }
    }
    commands
}

/// The pages that tell people what to type.
fn pages() -> Vec<PathBuf> {
    let folders = [ROOT.into(), format!("{ROOT}/docs"), format!("{ROOT}/deploy")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

fn policies() -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(ROOT).join("policies")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

/// Where the generated part of the page of policies begins.
const GENERATED: &str = "<!-- generated: UPDATE_DOCS=1 cargo test --test docs -->\n";

/// Each policy in a few lines, with its pictures.
fn pages_of_policies() -> String {
    let mut page = String::from("\n## The built-in policies\n");
    let mut files: Vec<PathBuf> =
        policies().into_iter().filter(|path| !path.to_string_lossy().contains(".test.")).collect();
    files.sort();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let Ok(policy) = nextrun::policy::parse(&text, "", &nextrun::policy::Vocabulary::new(nextrun::symptoms::ids()))
        else {
            continue;
        };
        let kinds: Vec<&str> = policy.kinds().iter().map(String::as_str).collect();
        let limits = policy.limits();
        page +=
            &format!("\n### {}\n\n{}. For: {}.", policy.name(), policy.summary(), kinds.join(", ").replace('_', " "));
        let runs = policy.used().into_iter().any(|test| test.kind() == nextrun::policy::TestKind::Run);
        page += &if runs {
            format!(" At most {} experiments.", limits.experiments)
        } else {
            " Makes no experiment.".to_owned()
        };
        page += &format!(" Source: {}.\n", policy.source());
        for drawn in nextrun::policy::pages(&policy) {
            page += &format!("\n{}:\n\n```mermaid\n{}```\n", drawn.name, drawn.mermaid());
        }
    }
    page
}

#[test]
fn the_page_of_policies_shows_those_that_are_built_in() {
    let path = Path::new(ROOT).join("docs/POLICIES.md");
    let page = fs::read_to_string(&path).unwrap();
    let (written, _) = page.split_once(GENERATED).unwrap();
    let wanted = format!("{written}{GENERATED}{}", pages_of_policies());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap();
    assert!(page == wanted, "write it anew: UPDATE_DOCS=1 cargo test --test docs");
}

#[test]
fn every_name_of_the_contract_is_there() {
    let symptoms: BTreeSet<&str> = nextrun::symptoms::ids().collect();
    assert_eq!(symptoms, BTreeSet::from(SYMPTOMS));
    assert_eq!(BTreeSet::from_iter(VERDICTS.iter().copied()), BTreeSet::from(ROOT_CAUSES));
    let knobs: BTreeSet<&str> = KNOBS.iter().map(|(name, _)| *name).collect();
    assert_eq!(knobs, BTreeSet::from(SETTINGS));
    assert_eq!(FateState::ALL.map(FateState::word), FATES);
}

#[test]
fn every_verdict_and_every_fate_is_described() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    assert!(ROOT_CAUSES.iter().all(|verdict| readme.contains(verdict)));
    let operations = fs::read_to_string(Path::new(ROOT).join("docs/OPERATIONS.md")).unwrap();
    for fate in FATES {
        assert!(operations.contains(&format!("`{fate}`")), "{fate}");
    }
}

#[test]
fn every_field_of_a_suggested_run_is_described() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/DESTINATIONS.md")).unwrap();
    let section = page.split("## Fields of a suggested run").nth(1).unwrap().split("\n## ").next().unwrap();
    let described: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next())
        .flat_map(|fields| fields.split("`, `").map(|field| field.trim_end_matches('`')))
        .collect();
    // What a message may lack is there.
    let some = serde_json::json!({"probability": 0.5, "speaks_for": [{}], "speaks_against": [{}], "believed": [{}]});
    let data = Body::read(MessageKind::RunSuggested, some).unwrap().data();
    let fields: BTreeSet<&str> = data.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, fields);
}

#[test]
fn every_verdict_of_a_policy_is_one_of_the_contract() {
    let verdict = Regex::new(r"\bverdict: *(\w+)").unwrap();
    let mut found = 0;
    for path in policies() {
        let text = fs::read_to_string(&path).unwrap();
        for capture in verdict.captures_iter(&text) {
            assert!(VERDICTS.contains(&&capture[1]), "{}: {}", path.display(), &capture[1]);
            found += 1;
        }
    }
    assert!(found > 0);
}

#[test]
fn the_help_lists_every_command() {
    insta::assert_snapshot!("help", help(&[]));
}

#[test]
fn the_help_of_every_command_has_an_example_of_it() {
    let commands = commands();
    assert!(commands.iter().any(|command| command.len() == 2), "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let (help, line) = (help(&words), format!("\n  nextrun {}", words.join(" ")));
        let examples = help.split("\nExample").nth(1).unwrap_or_default();
        assert!(examples.contains(&line), "`nextrun {} --help` has no example", words.join(" "));
    }
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_nextrun")).args(arguments).output().unwrap();
        assert!(out.status.success(), "{arguments:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    run(&["man", folder.path().to_str().unwrap()]);
    let scripts = ["bash", "zsh", "fish"].map(|shell| run(&["completions", shell]));
    for command in commands() {
        let page = folder.path().join(format!("nextrun-{}.1", command.join("-")));
        assert!(fs::read_to_string(&page).unwrap().contains(".SH SYNOPSIS"), "{}", page.display());
        assert!(scripts.iter().all(|script| command.iter().all(|word| script.contains(word))), "{command:?}");
    }
}

#[test]
fn the_pages_name_no_command_that_is_not_there() {
    let top = listed(&help(&[]));
    let groups: Vec<String> = top.iter().filter(|name| !listed(&help(&[name])).is_empty()).cloned().collect();
    let commands = commands();
    // In prose the program's name stands at the beginning of lines, too: commands stand in code.
    let code = Regex::new(r"(?s)```.*?```|`[^`\n]+`").unwrap();
    let typed = Regex::new(r"(?m)(?:`|^(?:\$ )?|&& )nextrun ([a-z]+)(?: ([a-z]+)\b)?").unwrap();
    let mut found = 0;
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        for typed in code.find_iter(&page).flat_map(|code| typed.captures_iter(code.as_str())) {
            let (first, second) = (&typed[1], typed.get(2).map_or("", |word| word.as_str()));
            let place = format!("{}: nextrun {first} {second}", path.display());
            assert!(top.iter().any(|name| name == first), "{place}");
            let is_whole =
                commands.iter().any(|command| command[0] == first && command.get(1).is_some_and(|c| c == second));
            assert!(!groups.iter().any(|name| name == first) || second.is_empty() || is_whole, "{place}");
            found += 1;
        }
    }
    assert!(found > 0);
}

/// A share as `docs/EVALUATION.md` writes it: hits, cases, per cent, interval.
fn shares(text: &str) -> BTreeSet<String> {
    let share = Regex::new(r"[0-9.]+/[0-9]+ = [0-9]+ % \([0-9]+ to [0-9]+\)").unwrap();
    share.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

#[test]
fn the_readme_quotes_shares_of_held_back_cases_only() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/EVALUATION.md")).unwrap();
    let verdicts = page.split("\n### ").find(|section| section.starts_with("held back"));
    let mut held_back = shares(verdicts.unwrap());
    for line in page.lines().filter(|line| line.starts_with("| held back |")) {
        held_back.extend(shares(line));
    }
    // In tables that compare programs held back with those to fit on, only some columns count.
    let mut columns: Vec<usize> = Vec::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if !line.starts_with('|') {
            columns.clear();
        } else if columns.is_empty() {
            let named = |(at, cell): (usize, &&str)| cell.ends_with("held back").then_some(at);
            columns = cells.iter().enumerate().filter_map(named).collect();
        } else {
            held_back.extend(columns.iter().filter_map(|column| cells.get(*column)).flat_map(|cell| shares(cell)));
        }
    }
    let quoted = shares(&fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap());
    assert!(!quoted.is_empty(), "README.md says nothing of how good it is");
    let stale: Vec<&String> = quoted.difference(&held_back).collect();
    assert!(stale.is_empty(), "not in docs/EVALUATION.md for held-back cases: {stale:?}");
}
