//! Programs that write to one directory at the same time.
//!
//! Owns: which files of a run belong to one training, and which to another that runs in parallel. Must not know: files.
//!
//! Files that follow each other are attempts of one training. Files written at the same time also belong to one
//! training if they contain different tags: a program may have several writers. Two processes that log the same tags at
//! the same steps are two trainings, whose curves must not be merged.

use std::path::Path;

use crate::series::{RunData, Series};

/// So many newest points of one file after the first of another say that both are being written: clocks of machines differ
/// a little, and a process that is told to end may log once more.
const WRITTEN_ON: usize = 3;

/// The data of trainings that ran beside each other, each with the name of its writer, in the order of their first files.
/// `parts` are in the order of their start.
pub(super) fn apart<'a>(parts: impl Iterator<Item = (&'a Path, &'a RunData)>) -> Vec<(String, RunData)> {
    let mut trainings: Vec<Training> = Vec::new();
    for (path, part) in parts {
        let process = process_of(path);
        let own = |training: &Training| training.process.is_some() && training.process == process;
        let free = |training: &Training| own(training) || !are_apart(&training.data, part);
        let mut fitting: Vec<usize> = (0..trainings.len()).filter(|i| free(&trainings[*i])).collect();
        // A process goes on with its own; a later one with what was written last before it.
        fitting.sort_by(|a, b| trainings[*b].rank(process).total_cmp(&trainings[*a].rank(process)));
        match fitting.first() {
            Some(first) => trainings[*first].data.absorb(part),
            None => {
                let mut data = RunData::default();
                data.absorb(part);
                trainings.push(Training { process, name: name_of(path, &trainings), data });
            }
        }
    }
    trainings.into_iter().map(|training| (training.name, training.data)).collect()
}

struct Training<'a> {
    /// Host and process id of the first file.
    process: Option<&'a str>,
    name: String,
    data: RunData,
}

impl Training<'_> {
    fn rank(&self, process: Option<&str>) -> f64 {
        let same_process = self.process.is_some() && self.process == process;
        let same_host = host_of(self.process) == host_of(process) && process.is_some();
        let written = self.data.last_wall_time().unwrap_or(0.0);
        // Seconds since 1970 are below 1e10 for some centuries.
        written + if same_process { 2e10 } else { 0.0 } + if same_host { 1e10 } else { 0.0 }
    }
}

/// What comes after the second in the name of an event file: `host.pid.number` in nearly all of them.
fn after_time(path: &Path) -> Option<&str> {
    let (_, after) = path.file_name()?.to_str()?.split_once("tfevents.")?;
    let (_, writer) = after.split_once('.')?;
    Some(writer.strip_suffix(".v2").unwrap_or(writer))
}

/// `host.pid` of `host.pid.number`.
fn process_of(path: &Path) -> Option<&str> {
    let (process, number) = after_time(path)?.rsplit_once('.')?;
    let (_, pid) = process.rsplit_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(number) && digits(pid)).then_some(process)
}

fn host_of(process: Option<&str>) -> Option<&str> {
    process.and_then(|process| process.rsplit_once('.')).map(|(host, _)| host)
}

fn name_of(path: &Path, known: &[Training<'_>]) -> String {
    let name = process_of(path).or_else(|| after_time(path)).unwrap_or("2").to_owned();
    let taken = known.iter().filter(|training| training.name == name || training.name.starts_with(&format!("{name}-")));
    match taken.count() {
        0 => name,
        others => format!("{name}-{}", others + 1),
    }
}

/// Whether two writers log the same tags at the same time: at least half of those that the one with fewer has.
fn are_apart(one: &RunData, other: &RunData) -> bool {
    let tags = |data: &RunData| data.series().filter(|(_, series)| series.sketch.count() > 0).count();
    let shared = other.series().filter(|(tag, series)| one.get(tag).is_some_and(|own| overlap(own, series)));
    let shared = shared.count();
    shared > 0 && 2 * shared >= tags(one).min(tags(other))
}

/// Whether both series were being written at a time, at the same steps.
fn overlap(one: &Series, other: &Series) -> bool {
    let (one, other) = (&one.sketch, &other.sketch);
    let (Some(a), Some(b)) = (one.first(), other.first()) else { return false };
    let (first, second) = if a.wall_time <= b.wall_time { (one, other) } else { (other, one) };
    let (Some(begun), Some(end), Some(last)) = (second.first(), second.last(), first.last()) else { return false };
    let written_on = first.newest().iter().filter(|point| point.wall_time > begun.wall_time).count();
    // A newer attempt goes back to where the older one was; one that writes beside it is where the older one has been.
    written_on >= WRITTEN_ON && begun.step <= last.step && first.first().is_some_and(|p| p.step <= end.step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Point;

    fn data(tags: &[&str], steps: std::ops::Range<i64>, from: f64, level: f64) -> RunData {
        let mut data = RunData::default();
        for step in steps {
            let wall_time = from + step as f64;
            data.event(wall_time);
            for tag in tags {
                let id = data.tag_id(tag).expect("room");
                data.scalar(id, Point { step, wall_time, value: level });
            }
        }
        data
    }

    fn trainings(parts: &[(&str, RunData)]) -> Vec<(String, u64)> {
        let parts = parts.iter().map(|(name, data)| (Path::new(*name), data));
        let points = |data: &RunData| data.series().map(|(_, series)| series.sketch.count()).sum();
        apart(parts).into_iter().map(|(name, data)| (name, points(&data))).collect()
    }

    #[test]
    fn two_processes_that_log_the_same_tags_at_once_are_two_trainings() {
        let [a, b] = [(0.0, 1.0), (0.4, 2.0)].map(|(from, level)| data(&["loss"], 0..50, 1000.0 + from, level));
        let two = trainings(&[("e.tfevents.1000.h1.1.0", a.clone()), ("e.tfevents.1003.h2.1.0", b.clone())]);
        assert_eq!(two, [("h1.1".to_owned(), 50), ("h2.1".to_owned(), 50)]);
        let unnamed = trainings(&[("a.tfevents", a.clone()), ("b.tfevents", b.clone()), ("c.tfevents", b)]);
        assert_eq!(unnamed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["2", "2-2", "2-3"]);
        assert_eq!(trainings(&[("e.tfevents.1000.h1.1.0", a)]).len(), 1);
    }

    #[test]
    fn attempts_one_after_the_other_are_one_training() {
        let parts = [
            ("e.tfevents.1000.h.1.0", data(&["loss"], 0..50, 1000.0, 1.0)),
            ("e.tfevents.2000.h.7.0", data(&["loss"], 30..90, 2000.0, 1.0)),
            // The clock of this machine is behind by two seconds.
            ("e.tfevents.2088.g.1.0", data(&["loss"], 80..120, 2007.5, 1.0)),
        ];
        assert_eq!(trainings(&parts).len(), 1);
    }

    #[test]
    fn the_attempts_of_trainings_beside_each_other_stay_with_their_own() {
        let part = |steps, from, level| data(&["loss"], steps, from, level);
        let parts = [
            ("e.tfevents.1000.h1.1.0", part(0..50, 1000.0, 1.0)),
            ("e.tfevents.1001.h2.1.0", part(0..50, 1000.5, 2.0)),
            ("e.tfevents.2000.h2.9.0", part(40..80, 2000.0, 2.0)),
            ("e.tfevents.2001.h1.9.0", part(40..80, 2000.5, 1.0)),
        ];
        let two = trainings(&parts);
        assert_eq!(two, [("h1.1".to_owned(), 80), ("h2.1".to_owned(), 80)]);
    }

    #[test]
    fn writers_of_different_tags_and_those_of_one_process_are_one_training() {
        let loss = data(&["loss", "lr", "epoch"], 0..50, 1000.0, 1.0);
        let others = data(&["val", "acc", "epoch"], 0..50, 1000.5, 2.0);
        assert_eq!(trainings(&[("e.tfevents.1.h.1.0", loss.clone()), ("e.tfevents.1.g.2.1", others)]).len(), 1);
        let same_process = data(&["loss"], 0..50, 1000.5, 2.0);
        assert_eq!(trainings(&[("e.tfevents.1.h.1.0", loss.clone()), ("e.tfevents.1.h.1.1", same_process)]).len(), 1);
        let nothing = data(&[], 0..3, 1000.0, 0.0);
        assert_eq!(trainings(&[("e.tfevents.1.h.1.0", loss), ("e.tfevents.1.g.1.0", nothing)]).len(), 1);
    }

    #[test]
    fn the_writer_is_read_from_the_name_of_its_file() {
        let of = |name: &'static str| process_of(Path::new(name));
        assert_eq!(of("run/events.out.tfevents.1700000000.gpu-1.example.org.77.0"), Some("gpu-1.example.org.77"));
        assert_eq!(of("events.out.tfevents.1700000000.host.5.12.v2"), Some("host.5"));
        assert_eq!(of("events.out.tfevents.1700000000.host"), None);
        assert_eq!(of("my.tfevents"), None);
    }
}
