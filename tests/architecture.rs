//! The architecture as tests: permitted dependencies, forbidden features in the core, and the structure of every file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// Each module with the modules that it may name, in the order of the data flow.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("yaml", &[]),
    ("fate", &[]),
    ("launched", &[]),
    ("tfevents", &["series"]),
    ("series", &["launched"]),
    ("picture", &["series"]),
    ("jobs", &["series", "launched"]),
    ("command", &["launched", "jobs"]),
    ("signals", &[]),
    ("numbers", &[]),
    ("evidence", &["series", "jobs", "signals", "numbers"]),
    ("symptoms", &["series", "jobs", "signals", "evidence", "numbers"]),
    ("belief", &["evidence", "numbers", "symptoms"]),
    ("facts", &["series", "jobs", "signals", "symptoms", "evidence", "numbers"]),
    ("policy", &["facts", "yaml"]),
    ("rehearsal", &["policy", "facts", "yaml"]),
    ("probe", &["facts", "numbers"]),
    ("case", &["fate", "launched", "series", "policy", "facts", "symptoms", "belief", "probe"]),
    (
        "diagnosis",
        &[
            "fate", "launched", "command", "series", "jobs", "signals", "evidence", "numbers", "symptoms", "belief",
            "facts", "policy", "probe", "case",
        ],
    ),
    ("setup", &["launched", "command", "jobs", "policy"]),
    ("logdir", &["series", "launched"]),
    ("watch", &["tfevents", "logdir", "series", "launched"]),
    ("fault", &[]),
    ("store", &["case", "fate", "fault"]),
    ("page", &["belief", "case", "command", "facts", "fate", "launched", "picture", "policy", "series", "store"]),
    ("screen", &[]),
    ("telemetry", &["screen"]),
    ("config", &["signals", "facts", "policy", "case", "yaml", "logdir", "command", "series", "store"]),
    ("launch", &["launched", "command", "logdir"]),
    ("answers", &["case", "config", "store"]),
    ("noise", &["case", "facts", "config", "store"]),
    ("destinations", &["fate", "tfevents", "series", "picture", "logdir", "case", "command", "config", "facts"]),
    ("outbox", &["fate", "case", "store", "destinations", "telemetry", "fault"]),
    ("runner", &["fate", "launched", "logdir", "fault", "launch"]),
    ("forward", &["logdir", "config", "status"]),
    ("status", &["config", "telemetry", "fate", "case", "store", "page", "answers", "fault", "logdir"]),
    ("daemon", &["*"]),
    ("cli", &["*", "daemon"]),
];

/// Modules with decisions: pure functions of their inputs.
const CORE: &[&str] = &[
    "yaml",
    "fate",
    "launched",
    "tfevents",
    "series",
    "picture",
    "jobs",
    "command",
    "signals",
    "numbers",
    "evidence",
    "symptoms",
    "belief",
    "facts",
    "policy",
    "rehearsal",
    "probe",
    "case",
    "diagnosis",
    "setup",
];

/// Features that pure functions do not need: files, the network, other processes, the clock, and waiting.
const IMPURE: &str =
    r"\b(std::(fs|net|env|process|thread|io)|SystemTime|Instant|tokio|reqwest|rusqlite|rustix|fastrand)\b";

/// A longer file has more than one purpose.
const MOST_LINES: usize = 600;

/// A Rust file of the project.
struct Source {
    /// Relative to the project.
    path: PathBuf,
    text: String,
}

impl Source {
    /// The module of the library that it belongs to: `policy` for `src/policy/guard.rs`.
    fn module(&self) -> Option<String> {
        let first = self.path.strip_prefix("src").ok()?.iter().next()?.to_str()?;
        let name = first.trim_end_matches(".rs");
        (!["lib", "main"].contains(&name)).then(|| name.to_owned())
    }

    /// Lines without comments, each with its number; an address such as `http://…` in a text is no comment.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(i, line)| (i + 1, line));
        numbered.map(|(number, line)| {
            let comment = line.match_indices("//").map(|(at, _)| at).find(|at| !line[..*at].ends_with(':'));
            (number, &line[..comment.unwrap_or(line.len())])
        })
    }

    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                found.push(Source { path: path.strip_prefix(root()).expect("below the root").to_owned(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

static NAMED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\bcrate::(?:\{([^}]*)\}?|([a-z_]+))").expect("a pattern"));

/// Modules named as `crate::name` or in `crate::{name, other}`.
fn named(line: &str) -> Vec<String> {
    let first = |item: &str| item.trim().split("::").next().unwrap_or_default().to_owned();
    NAMED
        .captures_iter(line)
        .flat_map(|found| match (found.get(1), found.get(2)) {
            (Some(group), _) => group.as_str().split(',').map(first).filter(|name| !name.is_empty()).collect(),
            (None, Some(name)) => vec![name.as_str().to_owned()],
            (None, None) => vec![],
        })
        .collect()
}

fn may_name(module: &str, other: &str) -> bool {
    let (_, row) = MAY_NAME.iter().find(|(name, _)| *name == module).expect("a row: another test sees to it");
    module == other || row.contains(&other) || (row.contains(&"*") && !["daemon", "cli"].contains(&other))
}

fn assert_none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

#[test]
fn every_module_has_its_row() {
    let modules: BTreeSet<String> = sources("src").iter().filter_map(Source::module).collect();
    let rows: BTreeSet<String> = MAY_NAME.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(modules, rows, "the modules of src/ and the rows of MAY_NAME");
}

#[test]
fn modules_name_only_those_that_they_may() {
    let known: BTreeSet<&str> = MAY_NAME.iter().map(|(name, _)| *name).collect();
    let mut faults = Vec::new();
    for source in sources("src") {
        let Some(module) = source.module() else { continue };
        for (number, line) in source.code() {
            let others = named(line).into_iter().filter(|other| known.contains(other.as_str()));
            let wrong = others.filter(|other| !may_name(&module, other));
            faults.extend(wrong.map(|other| format!("{}: `{module}` names `{other}`", source.place(number))));
        }
    }
    assert_none(&faults, "a module must not know these; see docs/ARCHITECTURE.md");
}

#[test]
fn destinations_know_of_the_configuration_only_types_that_say_nothing_of_its_file() {
    let mut faults = Vec::new();
    for source in sources("src").iter().filter(|source| source.module().as_deref() == Some("destinations")) {
        let allowed = [
            "crate::config::{FieldKind, Need, OnUnknown, Patience, Secret};",
            "crate::config::{FieldKind, Need, Patience};",
        ];
        let lines = source
            .code()
            .filter(|(_, line)| line.contains("crate::config") && !allowed.iter().any(|names| line.ends_with(names)));
        faults.extend(lines.map(|(number, _)| source.place(number)));
    }
    assert_none(&faults, "destinations may name only types of the configuration that say nothing of its file");
}

#[test]
fn data_goes_one_way() {
    let rows: BTreeMap<&str, &[&str]> = MAY_NAME.iter().copied().collect();
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    while settled.len() < rows.len() {
        let everything = |others: &[&str]| others.contains(&"*");
        let ready = rows.iter().filter(|(name, _)| !settled.contains(*name)).find(|(name, others)| {
            let rest = rows.keys().filter(|other| !["daemon", "cli"].contains(other) && *other != *name);
            others.iter().all(|other| *other == "*" || settled.contains(other))
                && (!everything(others) || rest.into_iter().all(|other| settled.contains(other)))
        });
        let Some((name, _)) = ready else {
            let circle: Vec<_> = rows.keys().filter(|name| !settled.contains(*name)).collect();
            panic!("modules that know each other in a circle are among {circle:?}");
        };
        settled.insert(name);
    }
}

#[test]
fn the_parts_of_a_module_know_each_other_one_way() {
    let mut faults = Vec::new();
    for (module, _) in MAY_NAME {
        let mut parts = parts_of(module);
        // A part that knows no open part is settled; what remains is a circle, or leads to one.
        while let Some(settled) = parts.iter().find(|(_, known)| known.is_empty()).map(|(name, _)| name.clone()) {
            parts.remove(&settled);
            parts.values_mut().for_each(|known| known.retain(|other| *other != settled));
        }
        if !parts.is_empty() {
            faults.push(format!("{module}: {}", parts.into_keys().collect::<Vec<_>>().join(", ")));
        }
    }
    assert_none(&faults, "these parts form a circle, or know one");
}

/// The parts directly below a module, and which others each of them names outside its tests.
fn parts_of(module: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (folder, only_tests) = (Path::new("src").join(module), test_files());
    let named = Regex::new(r"\b((?:super::)+|crate::(\w+)::)(\w+|\{[^;]*)").expect("a pattern");
    let word = Regex::new(r"^\w+").expect("a pattern");
    let mut parts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources("src").iter().filter(|source| !only_tests.contains(&source.path)) {
        let Ok(below) = source.path.strip_prefix(&folder) else { continue };
        let depth = below.components().count();
        let first = below.iter().next().expect("a name").to_str().expect("a name").trim_end_matches(".rs").to_owned();
        let text = source.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let known = parts.entry(first).or_default();
        for found in named.captures_iter(text) {
            let from_here = found[1].matches("super::").count() == depth;
            if from_here || found.get(2).is_some_and(|name| name.as_str() == module) {
                let items = found[3].trim_start_matches('{').split(',');
                known.extend(items.filter_map(|item| Some(word.find(item.trim())?.as_str().to_owned())));
            }
        }
    }
    let names: BTreeSet<String> = parts.keys().cloned().collect();
    for (part, known) in &mut parts {
        known.retain(|other| names.contains(other) && other != part);
    }
    parts
}

#[test]
fn the_core_is_pure() {
    let impure = Regex::new(IMPURE).expect("a pattern");
    let (all, only_tests) = (sources("src"), test_files());
    let mut faults = Vec::new();
    for source in all.iter().filter(|source| source.module().is_some_and(|module| CORE.contains(&module.as_str()))) {
        if only_tests.contains(&source.path) {
            continue;
        }
        // Unit tests stand at the end of a file.
        let tests = source.text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(source.text.len());
        let end = source.text[..tests].lines().count();
        for (number, line) in source.code().take(end) {
            if let Some(found) = impure.find(line) {
                faults.push(format!("{}: {}", source.place(number), found.as_str()));
            }
        }
    }
    assert_none(&faults, "the core is given what it needs, time included");
}

/// Files that are declared with `#[cfg(test)] mod name;`, and what is below them.
fn test_files() -> BTreeSet<PathBuf> {
    let declared = Regex::new(r"(?m)^#\[cfg\(test\)\]\nmod (\w+);").expect("a pattern");
    let all = sources("src");
    let mut found = BTreeSet::new();
    for source in &all {
        for name in declared.captures_iter(&source.text) {
            let below = source.path.with_extension("").join(&name[1]);
            found.extend(
                all.iter()
                    .map(|s| s.path.clone())
                    .filter(|p| p.starts_with(&below) || *p == below.with_extension("rs")),
            );
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is_for() {
    let folders = ["src", "tests", "benches", "examples"];
    let silent = folders.into_iter().flat_map(sources).filter(|source| !source.text.starts_with("//! "));
    let faults: Vec<String> = silent.map(|source| source.path.display().to_string()).collect();
    assert_none(&faults, "the first line of a file is `//! …`: what it owns, and what it must not know");
}

#[test]
fn no_file_is_long() {
    let lines = |source: &Source| source.text.lines().count();
    let long = sources("src").into_iter().chain(sources("tests")).filter(|source| lines(source) > MOST_LINES);
    let faults: Vec<String> =
        long.map(|source| format!("{}: {} lines", source.path.display(), lines(&source))).collect();
    assert_none(&faults, &format!("a file has at most {MOST_LINES} lines"));
}

#[test]
fn names_are_found_however_they_are_written() {
    assert_eq!(named("use crate::series::Sketch;"), ["series"]);
    assert_eq!(named("use crate::{series::Sketch, jobs};"), ["series", "jobs"]);
    assert_eq!(named("pub(in crate::policy) fn f(x: crate::facts::Facts)"), ["policy", "facts"]);
    assert_eq!(named("mycrate::series"), Vec::<String>::new());
}
