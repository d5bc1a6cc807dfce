//! What was measured of each program at each look, kept beside the records, so that fitting takes seconds.
//!
//! Owns: the file of measurements, and when it is out of date. Must not know: weights.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use nextrun::belief::severity_of;
use nextrun::evidence::{QUANTITIES, Quantity};
use nextrun::symptoms::{examine, ids};
use serde::{Deserialize, Serialize};

use crate::parallel;
use crate::random::looks::walk;
use crate::random::record::Record;

/// One program at all looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Its seed.
    pub(super) seed: u64,
    /// From the first to the last.
    pub(super) looks: Vec<Glance>,
}

/// One look.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Glance {
    /// Points of the series that it is judged by.
    pub(super) points: f64,
    /// Whether it fails whatever is believed.
    pub(super) certain: bool,
    /// Whether it cannot be judged whatever is believed.
    pub(super) unjudged: bool,
    /// Quantities by their place in the table, with value and standard error.
    pub(super) quantities: Vec<(usize, f32, f32)>,
    /// Symptoms by their place in the registry, with 1 for a warning and 2 for a problem.
    pub(super) symptoms: Vec<(usize, f64)>,
}

/// The largest value and error that are kept: JSON has no infinity.
const MOST: f64 = 1e30;
/// One program in so many is measured again, to see whether the file still says what would be measured.
const PROBED: usize = 60;

/// What is seen of every record: as it is kept, where that is still true.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn all(records_path: &Path, records: &BTreeMap<u64, Record>) -> anyhow::Result<BTreeMap<u64, Seen>> {
    let path = records_path.with_extension("seen.jsonl");
    let site = crate::lab::site()?;
    let measure = |record: &&Record| {
        let mut looks = Vec::new();
        walk(record, &site, |_, exam, _| looks.push(exam.as_ref().map(glance).unwrap_or_default()));
        Seen { seed: record.program.seed, looks }
    };
    let mut known = read(&path).unwrap_or_default();
    let probes: Vec<&Record> =
        records.values().filter(|r| known.contains_key(&r.program.seed)).step_by(PROBED).collect();
    if parallel::map(&probes, measure).iter().any(|probe| known.get(&probe.seed) != Some(probe)) {
        known.clear();
    }
    let missing: Vec<&Record> = records.values().filter(|r| !known.contains_key(&r.program.seed)).collect();
    if !missing.is_empty() {
        eprintln!("measuring {} programs", missing.len());
        known.extend(parallel::map(&missing, measure).into_iter().map(|seen| (seen.seed, seen)));
        write(&path, &known).with_context(|| format!("{}: cannot write", path.display()))?;
    }
    known.retain(|seed, _| records.contains_key(seed));
    Ok(known)
}

fn glance(exam: &nextrun::diagnosis::Exam) -> Glance {
    let findings = examine(&exam.evidence);
    let place = |quantity: Quantity| QUANTITIES.iter().position(|known| *known == quantity);
    let quantities = exam.evidence.known().filter_map(|(quantity, measured)| {
        Some((place(quantity)?, measured.value.clamp(-MOST, MOST) as f32, measured.error.min(MOST) as f32))
    });
    let severity = ids().enumerate().map(|(place, id)| (place, severity_of(id, &findings)));
    Glance {
        points: exam.evidence.get(Quantity::Points).unwrap_or(0.0),
        certain: exam.is_certain(),
        unjudged: exam.cannot_be_judged().is_some(),
        quantities: quantities.collect(),
        symptoms: severity.filter(|(_, severity)| *severity > 0.0).collect(),
    }
}

/// The names that places stand for: the first line of the file.
fn names() -> Vec<String> {
    QUANTITIES.iter().map(|quantity| quantity.id()).chain(ids()).map(str::to_owned).collect()
}

fn read(path: &Path) -> Option<BTreeMap<u64, Seen>> {
    let mut lines = BufReader::new(File::open(path).ok()?).lines();
    let kept: Vec<String> = serde_json::from_str(&lines.next()?.ok()?).ok()?;
    if kept != names() {
        return None;
    }
    let seen = lines.map_while(|line| serde_json::from_str::<Seen>(&line.ok()?).ok());
    Some(seen.map(|seen| (seen.seed, seen)).collect())
}

fn write(path: &Path, known: &BTreeMap<u64, Seen>) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "{}", serde_json::to_string(&names())?)?;
    for seen in known.values() {
        writeln!(file, "{}", serde_json::to_string(seen)?)?;
    }
    Ok(file.flush()?)
}
