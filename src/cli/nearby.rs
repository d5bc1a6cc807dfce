//! Finds nearby log directories for a wrong path.
//!
//! Owns: a bounded search for event files, and typical names of log directories. Must not know: the content of files.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::logdir::{Kind, Place};

/// Typical names of log directories.
const NAMES: &[&str] = &[
    "runs",
    "logs",
    "log",
    "logdir",
    "lightning_logs",
    "tb_logs",
    "tensorboard",
    "tensorboard_logs",
    "tb",
    "outputs",
    "multirun",
];

/// Maximum number of directories searched; a hint must be available immediately.
const MOST: usize = 2_000;

/// Maximum search depth.
const DEEPEST: usize = 5;

/// Maximum number of suggestions.
const SHOWN: usize = 4;

/// The intended log directory. For an event file, this is its directory, which is reported on standard error.
///
/// # Errors
///
/// The path is another kind of file, or does not exist. The error suggests nearby log directories.
pub(super) fn meant(place: &Place) -> anyhow::Result<Place> {
    let Place::Disk(path) = place else { return Ok(place.clone()) };
    if path.is_dir() {
        return Ok(place.clone());
    }
    if path.is_file() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if Kind::of(path) == Some(Kind::Events) {
            let _ = writeln!(std::io::stderr(), "{} is an event file; using its directory", path.display());
            return Ok(Place::Disk(folder.to_owned()));
        }
        anyhow::bail!("{} is a file: pass the directory that contains the runs{}", path.display(), hint(folder));
    }
    let near = path.ancestors().skip(1).find(|above| above.is_dir()).unwrap_or(Path::new("."));
    let near = if near.as_os_str().is_empty() { Path::new(".") } else { near };
    // If access is denied, the code that reads the path reports it.
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            anyhow::bail!("the log directory {} does not exist{}", path.display(), hint(near))
        }
        _ => Ok(place.clone()),
    }
}

/// The message for a log directory without events.
pub(super) fn nothing_in(place: &Place) -> String {
    let near = match place {
        Place::Disk(path) => match path.parent() {
            Some(above) if above.as_os_str().is_empty() => hint(Path::new(".")),
            Some(above) => hint(above),
            None => String::new(),
        },
        Place::Objects(_) | Place::Forwarded(_) => String::new(),
    };
    format!("no event files in {place}: jobs write files named events.out.tfevents.…{near}")
}

/// Log directories in a directory, as the end of a sentence. Empty if there are none.
fn hint(folder: &Path) -> String {
    let found = below(folder);
    if found.is_empty() {
        return String::new();
    }
    let more = if found.len() > SHOWN { ", …" } else { "" };
    let names: Vec<String> = found.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    format!("; found event files in {}{more}", names.join(", "))
}

/// The log directories in a directory: the outermost directory with a typical name above event files, or the first
/// directory level.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut ahead = VecDeque::from([(folder.to_owned(), 0)]);
    let mut looked = 0;
    while let Some((directory, depth)) = ahead.pop_front() {
        looked += 1;
        if looked > MOST {
            break;
        }
        if found.iter().any(|known| directory.starts_with(known)) {
            continue;
        }
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !hidden && depth < DEEPEST => ahead.push_back((path, depth + 1)),
                Ok(kind) if kind.is_file() && Kind::of(&path) == Some(Kind::Events) => {
                    found.push(outermost(folder, &directory));
                    break;
                }
                _ => {}
            }
        }
    }
    found.dedup();
    found
}

fn outermost(folder: &Path, run: &Path) -> PathBuf {
    let rest = run.strip_prefix(folder).unwrap_or(run);
    let mut path = folder.to_owned();
    for part in rest.components() {
        path.push(part);
        if NAMES.contains(&part.as_os_str().to_string_lossy().as_ref()) {
            return path;
        }
    }
    rest.components().next().map_or_else(|| folder.to_owned(), |first| folder.join(first))
}

/// The log directories in a directory of several projects, with the number of jobs in each, derived from the job names.
/// Empty if the directory is itself a log directory.
pub(super) fn projects<'a>(jobs: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for job in jobs {
        let parts: Vec<&str> = job.split('/').collect();
        // The last part is the run itself, regardless of its name.
        let at = parts[..parts.len() - 1].iter().position(|part| NAMES.contains(part));
        // If a job is outside of such directories, the whole directory is one log directory.
        let Some(at) = at.filter(|at| *at > 0) else { return BTreeMap::new() };
        *found.entry(parts[..=at].join("/")).or_default() += 1;
    }
    if found.len() < 2 { BTreeMap::new() } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_projects_are_told_from_one_log_directory() {
        let found = |jobs: &[&str]| projects(jobs.iter().copied()).into_iter().collect::<Vec<_>>();
        assert_eq!(
            found(&["vision/runs/a", "vision/runs/b", "nlp/lightning_logs/version_0"]),
            [("nlp/lightning_logs".to_owned(), 1), ("vision/runs".to_owned(), 2)]
        );
        for one in [
            &["a", "b"][..],
            &["runs/a", "runs/b"],
            &["vision/runs/a", "vision/runs/b"],
            &["vision/runs/a", "nlp/logs/b", "c"],
        ] {
            assert_eq!(found(one), [], "{one:?}");
        }
    }

    #[test]
    fn another_place_than_a_log_directory_is_answered_with_what_is_near() {
        let folder = tempfile::tempdir().expect("a directory");
        let run = folder.path().join("project/runs/a");
        fs::create_dir_all(&run).expect("directories");
        let events = run.join("events.out.tfevents.1.h.1.0");
        fs::write(&events, "").expect("a file");
        fs::write(run.join("notes.txt"), "").expect("a file");
        let disk = |path: &Path| Place::Disk(path.to_owned());
        assert_eq!(meant(&disk(&run)).expect("it is there"), disk(&run));
        assert_eq!(meant(&disk(&events)).expect("its directory"), disk(&run));
        let runs = folder.path().join("project/runs").display().to_string();
        let told = |path: &Path| meant(&disk(path)).expect_err("no log directory").to_string();
        let missing = told(&folder.path().join("runs/b"));
        assert!(missing.contains("does not exist") && missing.contains(&runs), "{missing}");
        assert!(told(&run.join("notes.txt")).contains("is a file"));
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).expect("a directory");
        assert!(nothing_in(&disk(&empty)).contains(&runs));
    }
}
