//! Where the log directories really are: whether one contains another, and whether one has another name than before.
//!
//! Owns: comparing places, the names of jobs after a change of the configuration. Must not know: how a directory is read.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::store_of;
use crate::case::{Case, Renamed};
use crate::config::{Settings, WatchSettings};
use crate::logdir::Place;
use crate::store::{Commit, KnownDirectory, Postgres, Store, StoreError, StorePlace, StoredCase};

/// Jobs that stand for all in a directory when patterns are compared with it.
const PROBES: [&str; 3] = ["", "/a", "/a/b"];

/// A place as it is compared: symbolic links are resolved as far as the path exists.
fn resolved(place: &Place) -> String {
    let Some(path) = place.local() else { return place.to_string() };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = |above: &Path| Some(above.canonicalize().ok()?.join(path.strip_prefix(above).ok()?));
    let real: PathBuf = path.ancestors().find_map(real).unwrap_or_else(|| path.clone());
    // A path that ends with nothing would end with a slash.
    real.components().collect::<PathBuf>().display().to_string()
}

/// The path of a place within another one, empty if they are the same; `None` if it is outside.
fn within<'p>(outer: &str, inner: &'p str) -> Option<&'p str> {
    let rest = inner.strip_prefix(outer)?;
    if rest.is_empty() || outer.ends_with('/') { Some(rest) } else { rest.strip_prefix('/') }
}

/// A directory as the configuration names it.
fn label(directory: &WatchSettings) -> String {
    let place = directory.logdir.as_ref().map(Place::to_string).unwrap_or_default();
    directory.name.as_ref().map_or(place.clone(), |name| format!("`{name}` ({place})"))
}

fn places(settings: &Settings) -> Vec<(&WatchSettings, String)> {
    settings.watch.iter().filter_map(|watch| Some((watch, resolved(watch.logdir.as_ref()?)))).collect()
}

/// Rejects log directories of which one contains another, unless its patterns leave that one out.
///
/// # Errors
/// Runs would be in two directories, and have two names and two cases.
pub fn check_overlaps(settings: &Settings) -> anyhow::Result<()> {
    let all = places(settings);
    for (at, (outer, place)) in all.iter().enumerate() {
        for (other, (inner, below)) in all.iter().enumerate().filter(|(other, _)| *other != at) {
            let Some(path) = within(place, below) else { continue };
            if path.is_empty() && at < other {
                bail!(
                    "the log directories {} and {} are the same directory, {place}: each of its runs would be two jobs with \
                     two cases; remove one of them",
                    label(outer),
                    label(inner)
                );
            }
            if !path.is_empty() && PROBES.iter().any(|job| outer.watches(&format!("{path}{job}"))) {
                bail!(
                    "the log directory {} is inside {}: each of its runs would be two jobs with two cases; add \
                     `exclude: [\"{path}\"]` to the outer one, or remove the inner one",
                    label(inner),
                    label(outer)
                );
            }
        }
    }
    Ok(())
}

/// The log directories of the settings, as they are stored.
fn watched(settings: &Settings) -> Vec<KnownDirectory> {
    let known =
        |(watch, place): (&WatchSettings, String)| KnownDirectory { place, name: watch.name.clone(), watched: true };
    places(settings).into_iter().map(known).collect()
}

/// The directories that have another name than the stored one, each with its place.
fn renamed(known: &[KnownDirectory], watched: &[KnownDirectory]) -> Vec<(Renamed, String)> {
    let before = |now: &KnownDirectory| known.iter().find(|known| known.place == now.place);
    let changed = watched.iter().filter_map(|now| Some((before(now)?, now))).filter(|(was, now)| was.name != now.name);
    changed.map(|(was, now)| (Renamed { from: was.name.clone(), to: now.name.clone() }, now.place.clone())).collect()
}

/// What a changed name means, for people.
fn told((renamed, place): &(Renamed, String)) -> String {
    let names = |name: &Option<String>| name.as_ref().map_or("NAME".to_owned(), |name| format!("{name}/NAME"));
    format!(
        "the jobs in {place} have other names: {} instead of {}; their cases follow, but patterns of jobs in `launch`, `owners`, \
         `approvers`, `probes`, `policy`, `destinations` and silences have to name them anew",
        names(&renamed.to),
        names(&renamed.from)
    )
}

/// What would change for the stored cases if a daemon started with these settings. Nothing is known if there is no store
/// yet, or if others share it.
///
/// # Errors
/// The store cannot be read.
pub fn names_that_change(settings: &Settings) -> Result<Vec<String>, StoreError> {
    let place = store_of(settings);
    if matches!(place, StorePlace::Server(_)) {
        return Ok(Vec::new());
    }
    let mut store = match place.open_read_only() {
        Err(StoreError::Missing { .. } | StoreError::Older { .. }) => return Ok(Vec::new()),
        store => store?,
    };
    Ok(renamed(&store.directories()?, &watched(settings)).iter().map(told).collect())
}

/// Gives the jobs of stored cases their new names if their directories have others now, and stores the present ones.
///
/// # Errors
/// The store failed.
pub(super) fn follow(store: &mut dyn Store, settings: &Settings, now: f64) -> anyhow::Result<()> {
    let (known, watched) = (store.directories()?, watched(settings));
    let renames = renamed(&known, &watched);
    let renamed: Vec<Renamed> = renames.iter().map(|(renamed, _)| renamed.clone()).collect();
    let mut commit = Commit { directories: Some(watched), ..Commit::default() };
    // What cannot be read is reported by whoever reads all cases.
    for stored in store.cases(false)?.into_iter().flatten().filter(|_| !renamed.is_empty()) {
        let (updated, Ok(mut case)) = (stored.updated, Case::read(stored.state)) else { continue };
        if let Some(entry) = case.rename_jobs(&renamed, now) {
            commit.cases.push(StoredCase::of(&case, updated).context("a case cannot be stored")?);
            commit.journal.push((case.id, entry));
        }
    }
    let (open, closed): (Vec<_>, Vec<_>) = commit.cases.iter().partition(|case| !case.closed);
    let (open, closed) = (open.len(), closed.len());
    commit.renamed = renamed;
    store.commit(&commit)?;
    for change in &renames {
        tracing::warn!(open, closed, "{}", told(change));
    }
    Ok(())
}

/// Open cases whose log directory is not configured, for people.
pub(super) fn without_directory<'c>(settings: &Settings, open: impl Iterator<Item = &'c Case>) -> Vec<String> {
    let lost = open.filter(|case| settings.watch.named(case.logdir.as_deref()).is_none());
    let told = |case: &Case| {
        let name = case.logdir.as_deref().map_or("without a name".to_owned(), |name| format!("`{name}`"));
        format!(
            "case {} about {} waits because its log directory {name} is not configured: configure it again under this name, or \
             close the case with `nextrun cases close`",
            case.id, case.baseline
        )
    };
    lost.map(told).collect()
}

/// Log directories that daemons with other cases in the same database watch, too.
///
/// # Errors
/// The database failed.
pub(super) fn watched_by_others(settings: &Settings) -> Result<Vec<String>, StoreError> {
    let StorePlace::Server(server) = store_of(settings) else { return Ok(Vec::new()) };
    let mut told = Vec::new();
    for (owner, theirs) in Postgres::watched_by_others(&server)? {
        for (mine, place) in places(settings) {
            for other in &theirs {
                let related = match (within(&other.place, &place), within(&place, &other.place)) {
                    (Some(""), _) => "the same as",
                    (Some(_), _) => "inside",
                    (_, Some(_)) => "around",
                    (None, None) => continue,
                };
                told.push(format!(
                    "the log directory {} is {related} {}, which {} watches for {}: each run in both would have two cases and \
                     two sets of experiments; let one daemon watch it, or exclude it (no action is needed if these are different \
                     disks of two machines)",
                    label(mine),
                    other.place,
                    owner.owner,
                    owner.name
                ));
            }
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_within_another_by_whole_names() {
        for (outer, inner, expected) in [
            ("/data", "/data", Some("")),
            ("/data", "/data/a/b", Some("a/b")),
            ("/", "/data", Some("data")),
            ("/data", "/database", None),
            ("/data/a", "/data", None),
            ("s3://runs", "s3://runs/a", Some("a")),
            ("s3://runs", "s3://runs-b", None),
        ] {
            assert_eq!(within(outer, inner), expected, "{outer} {inner}");
        }
    }

    #[test]
    fn links_and_what_does_not_exist_yet_are_resolved() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("data")).unwrap();
        std::os::unix::fs::symlink(real.join("data"), real.join("link")).unwrap();
        let place = |name: &str| resolved(&Place::Disk(real.join(name)));
        assert_eq!(place("link/"), place("data"));
        assert_eq!(place("link/later/still"), format!("{}/later/still", place("data")));
        let forwarded = Place::Forwarded(real.join("link"));
        assert_eq!(resolved(&forwarded), place("data"));
    }
}
