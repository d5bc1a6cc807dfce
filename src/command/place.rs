//! Where a command writes, and how to redirect the output of an experiment.
//!
//! Owns: which values of a command refer to the baseline's directory, and their replacements. Must not know: knobs.

use std::sync::LazyLock;

use regex::Regex;

use super::meaning::writes;
use super::words::{absolute, below};

/// Whether an experiment writes to its baseline's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// Its output is redirected.
    Redirected,
    /// It creates its own directory, whose name changes from run to run.
    MakesItsOwn,
    /// It would or might write to the baseline's own directory, so it is not run automatically.
    WouldOverwrite,
}

/// A value of a command that may define where it writes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slot<At> {
    pub(super) at: At,
    /// The option, key or variable, if any.
    pub(super) name: String,
    pub(super) value: String,
    /// Whether the command sets it; otherwise it is the script's default.
    pub(super) given: bool,
}

/// The directories of a baseline and its experiment, all absolute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folders<'a> {
    pub(super) cwd: &'a str,
    pub(super) root: &'a str,
    pub(super) baseline: &'a str,
    pub(super) experiment: &'a str,
}

/// The new values of the slots, and whether the baseline's directory is protected. The slots keep their order.
pub(super) fn redirect<At: Copy>(slots: &[Slot<At>], folders: &Folders<'_>) -> (Vec<(At, String)>, bool) {
    let mut changes: Vec<(At, String)> = Vec::new();
    let paths: Vec<Option<String>> = slots.iter().map(|slot| path_of(slot, folders.cwd)).collect();
    let folder = |slot: &Slot<At>| writes(&slot.name) == Some("folder");
    // The working directory contains everything that a script reads, so there, only the name of an option is
    // conclusive.
    let crowded = |path: &str| below(path, folders.cwd).is_some();
    let mut redirected = false;
    for (slot, path) in slots.iter().zip(&paths) {
        let Some(path) = path else { continue };
        if crowded(folders.baseline) && !folder(slot) {
            continue;
        }
        if let Some(rest) = below(folders.baseline, path) {
            redirected |= rest.is_empty();
            changes.push((slot.at, join(folders.experiment, rest)));
        }
    }
    if redirected {
        outputs(slots, &paths, folders, &mut changes);
        return (changes, true);
    }
    let above = |(slot, path): (&Slot<At>, &Option<String>)| {
        let rest = below(path.as_deref()?, folders.baseline).filter(|rest| !rest.is_empty())?.to_owned();
        let inside = below(folders.root, path.as_deref()?).is_some() && !crowded(path.as_deref()?);
        ((inside && slot.given) || folder(slot)).then_some(rest)
    };
    let candidates = slots.iter().zip(&paths).enumerate().filter_map(|(at, pair)| Some((at, above(pair)?)));
    // The longest path identifies the directory best; of equal ones, the one set by the command.
    let nearest = candidates.min_by_key(|(at, rest)| (rest.len(), !slots[*at].given));
    let (parent, last) = folders.experiment.rsplit_once('/').unwrap_or(("", folders.experiment));
    if let Some((at, rest)) = nearest {
        match named(slots, &rest) {
            Some(name) => changes.extend([(slots[at].at, parent.to_owned()), (slots[name].at, last.to_owned())]),
            None => changes.push((slots[at].at, folders.experiment.to_owned())),
        }
        redirected = true;
    } else if let Some((at, name)) = only_named(slots, folders) {
        changes.push((slots[at].at, name));
        redirected = true;
    }
    if redirected {
        outputs(slots, &paths, folders, &mut changes);
    }
    (changes, redirected)
}

/// Other output directories of the command: moved below that of the experiment, so that nothing of the baseline is
/// overwritten.
fn outputs<At: Copy>(
    slots: &[Slot<At>],
    paths: &[Option<String>],
    folders: &Folders<'_>,
    changes: &mut Vec<(At, String)>,
) {
    let mut taken: Vec<String> = changes.iter().map(|(_, value)| value.clone()).collect();
    for (slot, path) in slots.iter().zip(paths) {
        let Some(path) = path.as_deref().filter(|_| writes(&slot.name) == Some("folder")) else { continue };
        let plain = slot.name.to_ascii_lowercase();
        let surely =
            slot.value.contains('/') || ["dir", "path", "folder", "out"].iter().any(|word| plain.contains(word));
        let related = below(path, folders.baseline).is_some() || below(folders.baseline, path).is_some();
        if !surely || related {
            continue;
        }
        let new = join(folders.experiment, path.rsplit('/').next().unwrap_or_default());
        if !taken.contains(&new) {
            taken.push(new.clone());
            changes.push((slot.at, new));
        }
    }
}

fn join(folder: &str, rest: &str) -> String {
    if rest.is_empty() { folder.to_owned() } else { format!("{folder}/{rest}") }
}

/// The path that a value may be.
fn path_of<At>(slot: &Slot<At>, cwd: &str) -> Option<String> {
    let value = slot.value.as_str();
    let name = slot.name.to_ascii_lowercase();
    let read =
        ["data", "input", "resume", "load", "pretrain", "init", "cache", "restore", "config", "vocab", "tokenizer"];
    let reads = read.iter().any(|word| name.contains(word)) || name.contains("train_file");
    let empty = value.is_empty() || value.contains("://") || value.starts_with('-');
    (!empty && !reads).then(|| absolute(cwd, value))
}

/// The slot that names the run: the first part between the log directory and the events.
fn named<At>(slots: &[Slot<At>], rest: &str) -> Option<usize> {
    slots.iter().position(|slot| {
        let is = rest == slot.value || rest.strip_prefix(&slot.value).is_some_and(|more| more.starts_with('/'));
        is && writes(&slot.name) == Some("name") && !slot.value.is_empty()
    })
}

/// A name alone identifies the run: the script places it below a hard-coded directory.
fn only_named<At>(slots: &[Slot<At>], folders: &Folders<'_>) -> Option<(usize, String)> {
    slots.iter().enumerate().find_map(|(at, slot)| {
        let value = slot.value.trim_matches('/');
        if value.is_empty() || writes(&slot.name) != Some("name") {
            return None;
        }
        let inner = below(folders.root, folders.baseline)?;
        let start = format!("/{inner}/").find(&format!("/{value}/"))?;
        let above = absolute(folders.root, inner.get(..start).unwrap_or_default());
        Some((at, relative(&above, folders.experiment)))
    })
}

/// A path relative to a directory.
fn relative(from: &str, to: &str) -> String {
    let (mut from, mut to): (Vec<&str>, Vec<&str>) = (from.split('/').collect(), to.split('/').collect());
    from.retain(|part| !part.is_empty());
    to.retain(|part| !part.is_empty());
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - same);
    up.chain(to[same..].iter().copied()).collect::<Vec<_>>().join("/")
}

static CHANGES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?:^|/)version_\d+(?:/|$)",
        r"|(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:[0-2]\d|3[01])[-_/.T ]?(?:[01]\d|2[0-3])[-_:.h]?[0-5]\d",
        r"|[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d",
        r"|(?:^|[^\d])1[5-9]\d{8}(?:[^\d]|$)",
    ))
    .expect("a pattern, and a test uses it")
});

/// Whether the name of a run changes with each run: it contains a time, or Lightning numbers it.
pub(super) fn changes_each_time(name: &str) -> bool {
    CHANGES.is_match(name)
}

/// Whether the name of a run is a directory created by Hydra: a date and a time.
pub(super) fn is_hydras(name: &str) -> bool {
    static HYDRA: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?:^|/)\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d(?:/|$)").expect("a pattern, and a test uses it")
    });
    HYDRA.is_match(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(baseline: &str, slots: &[(&str, &str)]) -> Option<String> {
        let slots: Vec<Slot<usize>> = slots
            .iter()
            .enumerate()
            .map(|(at, (name, value))| Slot { at, name: (*name).into(), value: (*value).into(), given: true })
            .collect();
        let folders = Folders { cwd: "/w", root: "/w/runs", baseline, experiment: "/w/runs/nextrun/a/01-x" };
        let (changes, redirected) = redirect(&slots, &folders);
        let shown: Vec<String> = changes.iter().map(|(at, value)| format!("{}={value}", slots[*at].name)).collect();
        redirected.then(|| shown.join(" "))
    }

    #[test]
    fn what_names_the_folder_is_replaced() {
        for (baseline, slots, expected) in [
            ("/w/runs/a", &[("--logdir", "runs/a")][..], "--logdir=/w/runs/nextrun/a/01-x"),
            (
                "/w/runs/a",
                &[("--any", "/w/runs/a/"), ("--ckpt", "runs/a/ckpt")],
                "--any=/w/runs/nextrun/a/01-x --ckpt=/w/runs/nextrun/a/01-x/ckpt",
            ),
            ("/w/runs/a", &[("--logdir", "runs"), ("--name", "a")], "--logdir=/w/runs/nextrun/a --name=01-x"),
            ("/w/runs/a/tb", &[("--logdir", "runs"), ("--name", "a")], "--logdir=/w/runs/nextrun/a --name=01-x"),
            ("/w/runs/lr0.1", &[("--logdir", "runs")], "--logdir=/w/runs/nextrun/a/01-x"),
            ("/w/runs/a", &[("--name", "a")], "--name=nextrun/a/01-x"),
            ("/w/runs/vision/a", &[("--name", "a")], "--name=../nextrun/a/01-x"),
            ("/w/runs/a", &[("", "runs/a"), ("--data", "data")], "=/w/runs/nextrun/a/01-x"),
            (
                "/w/runs/a",
                &[("--logdir", "runs/a"), ("--save-dir", "ckpt/a")],
                "--logdir=/w/runs/nextrun/a/01-x --save-dir=/w/runs/nextrun/a/01-x/a",
            ),
            ("/w/out/runs/a", &[("--output-dir", "out")], "--output-dir=/w/runs/nextrun/a/01-x"),
        ] {
            assert_eq!(redirected(baseline, slots).as_deref(), Some(expected), "{slots:?}");
        }
        for nothing in [
            &[][..],
            &[("--data", "runs/a")],
            &[("--name", "b")],
            &[("--data-root", "/w")],
            &[("", "a")],
            &[("--resume", "runs/a/ckpt")],
        ] {
            assert_eq!(redirected("/w/runs/a", nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn the_working_directory_as_log_directory_is_not_taken_for_every_path() {
        let slots = [("--logdir", "."), ("--train", "data.csv")].map(|(name, value)| Slot {
            at: 0,
            name: name.into(),
            value: value.into(),
            given: true,
        });
        let folders = Folders { cwd: "/w", root: "/w", baseline: "/w", experiment: "/w/n/1" };
        assert_eq!(redirect(&slots, &folders), (vec![(0, "/w/n/1".to_owned())], true));
    }

    #[test]
    fn names_that_change_from_run_to_run_are_known() {
        for changes in [
            "version_3",
            "lightning_logs/version_0",
            "Nov29_15-39-25_host",
            "2026-11-29/15-39-25",
            "fit/20261129-153925",
            "run-20261129_153925-abc",
            "1764430765.12",
            "x_1764430765",
        ] {
            assert!(changes_each_time(changes), "{changes}");
        }
        for fixed in ["exp1", "2026-11-29", "run_1", "lr0.001", "a/version", "v2", "123456789012"] {
            assert!(!changes_each_time(fixed), "{fixed}");
        }
        assert!(is_hydras("2026-11-29/15-39-25") && !is_hydras("2026-11-29"));
    }
}
