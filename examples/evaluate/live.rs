//! One baseline run under nextrun's own core, as it grows: bytes arrive a little at a time, every look may open a case,
//! suggested runs are trained and judged, until there is a verdict.
//!
//! Owns: how files grow, the made-up clock, the order of looks and experiments. Must not know: what is right.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nextrun::case::{Body, Message, MessageKind};
use nextrun::diagnosis::{Diagnosis, Memory, Report, Status, exam};
use nextrun::jobs::group;
use nextrun::logdir::DiskLogdir;
use nextrun::watch::{Options, Watcher};
use serde_json::{Map, Value};

use crate::cases::Case;
use crate::investigation::{Investigation, Opened, Tried};
use crate::lab::{Lab, PATIENCE};
use crate::trainer::knobs::KnobError;

/// Looks at a run while it grows.
const LOOKS: u64 = 40;
/// A case that is not closed after so many rounds will never be; the policy's own limit is far below.
const ROUNDS: usize = 60;

/// Everything that watches one log directory, and its clock.
struct Desk {
    watcher: Watcher,
    diagnosis: Diagnosis,
    /// Seconds since the Unix epoch, made up.
    now: f64,
}

impl Desk {
    fn look(&mut self) -> Vec<Message> {
        self.watcher.poll(self.now);
        self.diagnosis.tick(self.watcher.runs(), self.now).messages
    }

    /// Lets so much time pass that whatever is silent has ended.
    fn wait(&mut self) -> Vec<Message> {
        self.now += PATIENCE + 1.0;
        self.look()
    }

    /// The clock shows what the newest event says.
    fn look_at_newest(&mut self) -> Vec<Message> {
        self.watcher.poll(self.now);
        let newest = self.watcher.runs().values().filter_map(nextrun::series::RunData::last_wall_time);
        self.now = newest.fold(self.now, f64::max);
        self.look()
    }
}

/// Lets a baseline run grow under the core and goes on until its case is closed, or until it has ended without one.
///
/// # Errors
/// When files cannot be written, or the baseline cannot be trained.
pub(crate) fn investigate(case: &Case, repetition: u64, lab: &Lab) -> anyhow::Result<Investigation> {
    let baseline = lab.run(case, repetition, &Map::new())?;
    if let Some(crash) = &baseline.crash {
        anyhow::bail!("{}: the baseline crashed: {crash}", case.id);
    }
    let logdir = tempfile::tempdir().context("cannot create a log directory")?;
    let mut known = Investigation::new(case, repetition, &baseline.summary);
    let mut desk = Desk {
        watcher: Watcher::new(Box::new(DiskLogdir::new(logdir.path())), Options { threads: 1 }),
        diagnosis: Diagnosis::new(lab.site.clone(), []),
        now: 0.0,
    };
    let mut suggested = Vec::new();
    let files = growing(&baseline.directory, &logdir.path().join(&case.id))?;
    for look in 1..=LOOKS {
        files.iter().try_for_each(|file| file.grow(look))?;
        let messages = desk.look_at_newest();
        suggested.extend(known.take(messages, Some(known.baseline_steps * look as usize / LOOKS as usize)));
    }
    suggested.extend(known.take(desk.wait(), Some(known.baseline_steps)));
    known.look_back(case, &desk, lab);
    for _ in 0..ROUNDS {
        if known.opened.is_none() || known.verdict.is_some() {
            break;
        }
        let messages = match suggested.pop() {
            Some(suggestion) => {
                carry_out(&suggestion, (case, repetition, lab), (&mut desk, logdir.path()), &mut known)?
            }
            None => desk.wait(),
        };
        suggested.extend(known.take(messages, None));
    }
    Ok(known)
}

/// Trains a suggested run into its place and looks at it.
fn carry_out(
    suggestion: &Message,
    (case, repetition, lab): (&Case, u64, &Lab),
    (desk, logdir): (&mut Desk, &Path),
    known: &mut Investigation,
) -> anyhow::Result<Vec<Message>> {
    let Body::RunSuggested(suggested) = &suggestion.body else { return Ok(Vec::new()) };
    let changes: Map<String, Value> = suggested.overrides.clone().into_iter().collect();
    if let Err(error) = case.knobs(&changes) {
        let unknown_knobs = match error {
            KnobError::Unknown(names) => names.into_iter().collect(),
            KnobError::Value { .. } => BTreeSet::new(),
        };
        let report = Report::Refused { suggestion: suggestion.id.clone(), unknown_knobs };
        return Ok(desk.diagnosis.report(&report, desk.now).messages);
    }
    let run = lab.run(case, repetition, &changes)?;
    known.experiments.push(Tried { state: suggested.state.clone(), steps: run.summary.losses.len() });
    let place = logdir.join(&suggested.run_name);
    for file in growing(&run.directory, &place)? {
        file.grow_from(0, LOOKS)?;
    }
    let mut messages = desk.look();
    messages.extend(desk.wait());
    Ok(messages)
}

impl Investigation {
    /// Takes note of what is said; gives back the runs that are suggested.
    fn take(&mut self, messages: Vec<Message>, step: Option<usize>) -> Vec<Message> {
        for message in &messages {
            match message.kind() {
                MessageKind::CaseOpened => {
                    let symptoms = message.body.about().map(|about| about.symptoms.clone()).unwrap_or_default();
                    self.opened.get_or_insert(Opened { step, symptoms });
                }
                MessageKind::CaseClosed if self.verdict.is_none() => {
                    self.verdict = message.body.verdict().map(str::to_owned);
                }
                _ => {}
            }
        }
        messages.into_iter().filter(|message| message.kind() == MessageKind::RunSuggested).collect()
    }

    /// What the whole baseline run shows.
    fn look_back(&mut self, case: &Case, desk: &Desk, lab: &Lab) {
        let jobs = group(desk.watcher.runs(), &BTreeSet::new());
        let Some(job) = jobs.iter().find(|job| job.name == case.id) else { return };
        let exam = exam(job, &lab.site, &Memory::only_look(job, desk.now), desk.now + PATIENCE);
        self.symptoms = exam.findings.iter().map(|finding| finding.symptom.clone()).collect();
        self.cannot_judge = exam.status().0 == Status::Unknown;
    }
}

/// A file that is written a little at a time.
struct Growing {
    bytes: Vec<u8>,
    to: PathBuf,
}

/// The event files below a directory, which are to grow elsewhere; what else is there is copied at once.
fn growing(from: &Path, to: &Path) -> anyhow::Result<Vec<Growing>> {
    let cannot = |path: &Path| format!("{}: cannot copy", path.display());
    fs::create_dir_all(to).with_context(|| cannot(to))?;
    let mut found = Vec::new();
    for entry in fs::read_dir(from).with_context(|| cannot(from))? {
        let path = entry.with_context(|| cannot(from))?.path();
        let name = path.file_name().unwrap_or_default();
        let target = to.join(name);
        if path.is_dir() {
            found.extend(growing(&path, &target)?);
        } else if name.to_string_lossy().contains("tfevents") {
            found.push(Growing { bytes: fs::read(&path).with_context(|| cannot(&path))?, to: target });
        } else {
            fs::copy(&path, &target).with_context(|| cannot(&path))?;
        }
    }
    Ok(found)
}

impl Growing {
    /// Writes what is new at a look, wherever that cuts a record.
    fn grow(&self, look: u64) -> anyhow::Result<()> {
        self.grow_from(look - 1, look)
    }

    fn grow_from(&self, before: u64, look: u64) -> anyhow::Result<()> {
        let at = |look: u64| (self.bytes.len() as u64 * look / LOOKS) as usize;
        let cannot = || format!("{}: cannot write", self.to.display());
        let mut file = OpenOptions::new().create(true).append(true).open(&self.to).with_context(cannot)?;
        file.write_all(&self.bytes[at(before)..at(look)]).with_context(cannot)
    }
}
