//! One examination of a job: the meaning of its tags, its symptoms, and its facts.

use std::sync::Arc;

use crate::belief::{Belief, CALIBRATION, Contribution, Weights};
use crate::evidence::{Curve, Evidence, JobView, Observed, Quantity as Q};
use crate::facts::{Facts, Knobs, Looked, measure};
use crate::fate::{Fate, FateState};
use crate::jobs::{Job, Pulse, QuietLimit, stage};
use crate::launched::Launched;
use crate::numbers::{EVALUATIONS, HALF, LEARNED, MATURE_SHARE, SIGNIFICANT, TREND};
use crate::series::Sketch;
use crate::signals::{Learning, Signal, SignalMap, TagInfo, TagKind};
use crate::symptoms::{Finding, Severity, examine};

use super::plan::{course, said, said_ended, summed_up, with_learning_rate};
use super::undecided::Undecided;
use super::{Site, breakdown};

/// What is remembered about a job between ticks; all of it can be reproduced by rereading.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    events: u64,
    /// When something new of it was last seen.
    last_seen: f64,
    /// How many hyperparameters and texts it has logged.
    said: usize,
    /// Mean seconds between its events.
    gap: Option<f64>,
    history: bool,
    /// The last examination.
    examined: Option<Look>,
    /// The findings of the last examination.
    symptoms: Vec<String>,
    /// How the job was doing by it, and how probable it was that it fails.
    judged: Option<(Status, f64)>,
    /// Its own statements, once requested.
    described: Option<Arc<Described>>,
    /// There is only one examination: if its length is unknown, the existing data count as complete.
    only_look: bool,
    /// Its reported status; its end once no new data are expected.
    fate: Option<Fate>,
    /// How it was started, if reported by another source than its own files.
    launched: Option<Launched>,
    /// What probes have shown of it.
    probed: Vec<Contribution>,
    /// When this process first saw it, in seconds since the Unix epoch.
    pub(super) met: Option<f64>,
    /// The experiment that it carries out, while that has no result.
    pub(super) undecided: Option<Box<Undecided>>,
}

/// Whether more of a job is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its own events tell.
    Open,
    /// Nothing more is to come.
    Over,
    /// No more data are expected, and it ended normally.
    Finished,
}

impl End {
    /// The reported status.
    pub(super) fn of(fate: Option<&Fate>) -> End {
        match fate.map(|fate| fate.state) {
            Some(FateState::Ended) => End::Finished,
            Some(state) if state.is_final() => End::Over,
            Some(_) | None => End::Open,
        }
    }
}

/// The statements of a job: which experiment it is, or its knobs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    /// The suggestion that it states.
    pub(super) suggestion: Option<String>,
    /// Its knobs.
    pub(super) knobs: Knobs,
    /// How much it had stated by then: its events, and the number of hyperparameters and texts of its runs.
    said: (u64, usize),
}

/// When a job was examined last.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Look {
    /// Number of its events then.
    events: u64,
    /// Number of hyperparameters and texts then.
    said: usize,
    /// When silence alone ends it; never, once it has ended.
    again: f64,
}

/// A running job is looked at again when it has grown by this share.
const GROWTH: f64 = 0.05;

/// ... or when its writer pauses for this many seconds: the last data may have been its end.
const PAUSE: f64 = 1.0;

impl Memory {
    /// A job that was not known before.
    pub fn first_seen(history: bool) -> Memory {
        Memory {
            events: 0,
            last_seen: f64::NEG_INFINITY,
            said: 0,
            gap: None,
            history,
            examined: None,
            symptoms: Vec::new(),
            judged: None,
            described: None,
            only_look: false,
            fate: None,
            launched: None,
            probed: Vec::new(),
            met: None,
            undecided: None,
        }
    }

    /// Records the reported status of the job; if it is new, the job is examined again.
    pub(super) fn came_to(&mut self, fate: Option<&Fate>) {
        if self.fate.as_ref() != fate {
            self.fate = fate.cloned();
            self.look_anew();
        }
    }

    /// Records how the job was started; if this is new, the job is examined again.
    pub(super) fn was_launched(&mut self, launched: Option<&Launched>) {
        if self.launched.as_ref() != launched {
            self.launched = launched.cloned();
            self.look_anew();
        }
    }

    /// Records the results of the job's probes; if they are new, the job is examined again.
    pub(super) fn was_probed(&mut self, shown: Vec<Contribution>) {
        if self.probed != shown {
            self.probed = shown;
            self.look_anew();
        }
    }

    /// Whether more of it is to come.
    pub(super) fn end(&self) -> End {
        End::of(self.fate.as_ref())
    }

    /// A job that is examined only once: if its length is unknown, the existing data count as complete.
    pub fn only_look(job: &Job<'_>, now: f64) -> Memory {
        let mut memory = Memory { only_look: true, ..Memory::first_seen(false) };
        memory.saw(job, job.events(), now);
        memory
    }

    /// Records new data. The clock of another machine may be ahead, so no event counts as later than now.
    pub fn saw(&mut self, job: &Job<'_>, events: u64, now: f64) {
        let newest = job.last_wall_time().unwrap_or(now).min(now);
        if self.examined.is_some() && events != self.events {
            // A job that was history, or had ended, and grows again lives.
            self.history = false;
            self.last_seen = now;
        }
        self.last_seen = self.last_seen.max(newest);
        self.events = events;
        self.said = said(job);
        let span = job.first_wall_time().zip(job.last_wall_time()).map(|(first, last)| last - first);
        self.gap = span.filter(|_| events > 1).map(|span| span / (events - 1) as f64);
    }

    /// When something new of it was last seen, in seconds since the Unix epoch.
    pub fn last_seen(&self) -> f64 {
        self.last_seen
    }

    /// Whether the job is to be examined now: it is new, it has grown, its writer pauses, its silence ends it, or it has
    /// said more of itself: how many steps it plans may come after the last of them.
    pub fn due(&self, now: f64) -> bool {
        let Some(look) = self.examined else { return true };
        let grown = self.events as f64 > look.events as f64 * (1.0 + GROWTH);
        let paused = self.events != look.events && now - self.last_seen >= PAUSE;
        grown || paused || self.events < look.events || self.said != look.said || now >= look.again
    }

    /// An examination took place at `now`.
    pub fn examined(&mut self, exam: &Exam, now: f64) {
        self.examined = Some(Look { events: self.events, said: self.said, again: exam.ends_at(now) });
        self.symptoms = exam.findings.iter().map(|finding| finding.symptom.clone()).collect();
        self.symptoms.dedup();
        self.judged = Some((exam.status().0, exam.belief.probability));
    }

    /// How the job was doing by the last examination, and how probable it was that it fails.
    pub fn judged(&self) -> Option<(Status, f64)> {
        self.judged
    }

    /// Its events, when it was last looked at.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The findings of the last examination, as ids of symptoms.
    pub fn symptoms(&self) -> &[String] {
        &self.symptoms
    }

    /// The statements of a job, which are reread only if there are new ones.
    pub(super) fn describe(&mut self, job: &Job<'_>, site: &Site) -> Arc<Described> {
        let said = (job.events(), said(job));
        match &self.described {
            Some(described) if described.said == said => described.clone(),
            _ => {
                let (suggestion, knobs) = (job.suggestion_id(), site.logged_knobs(job));
                self.described.insert(Arc::new(Described { suggestion, knobs, said })).clone()
            }
        }
    }

    /// The rules by which it was examined have changed: it is due again.
    pub fn look_anew(&mut self) {
        if let Some(look) = &mut self.examined {
            look.again = look.again.min(0.0);
        }
        (self.described, self.undecided) = (None, None);
    }

    /// The clock was changed by this many seconds, which do not count as silence.
    pub fn clock_was_set(&mut self, by: f64) {
        self.last_seen += by;
        if let Some(look) = &mut self.examined {
            look.again += by;
        }
        if let Some(undecided) = &mut self.undecided {
            undecided.clock_was_set(by);
        }
    }

    /// Whether the job was found to have ended, with nothing new since before `then` (seconds since the Unix epoch).
    pub fn ended_before(&self, then: f64) -> bool {
        self.last_seen < then && self.examined.is_some_and(|look| look.again.is_infinite())
    }

    /// Whether the job had ended long before it was first seen.
    pub fn is_history(&self) -> bool {
        self.history
    }
}

/// The status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It learns.
    Healthy,
    /// It may fail, or be at its lowest possible loss.
    Suspect,
    /// It fails: people are notified.
    Failing,
    /// It cannot be judged.
    Unknown,
}

impl Status {
    /// The name in payloads.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Healthy => "healthy",
            Status::Suspect => "suspect",
            Status::Failing => "failing",
            Status::Unknown => "unknown",
        }
    }
}

/// Symptoms that need no belief: NaN, a run that hangs, and a validation loss that turned: the curve itself shows them.
const CERTAIN: &[&str] = &["non_finite", "silent", "overfitting"];

/// The result of one examination of a job.
#[derive(Debug, Clone)]
pub struct Exam {
    /// What its tags mean.
    pub signals: SignalMap,
    /// The job with its measurements.
    pub view: JobView,
    /// What was measured.
    pub evidence: Evidence,
    /// Its symptoms, most severe first.
    pub findings: Vec<Finding>,
    /// How probable it is that it fails.
    pub belief: Belief,
    /// What it shows.
    pub facts: Facts,
    /// Tags of all its scalars, whatever they mean.
    tags: Vec<String>,
    /// Why a file of it cannot be read.
    unreadable: Option<String>,
    /// What probes have shown of it.
    probed: Vec<Contribution>,
}

/// Looks at one job.
pub fn exam(job: &Job<'_>, site: &Site, memory: &Memory, now: f64) -> Exam {
    let knobs = site.settings_of(job, memory.launched.as_ref());
    let mut exam = exam_with(job, site, (memory, memory.end()), knobs, now);
    if let Some(finding) = memory.fate.as_ref().and_then(|fate| breakdown::finding(fate, &exam.view)) {
        exam.findings.retain(|known| known.symptom != finding.symptom);
        exam.findings.insert(0, finding);
        exam.facts = measure(exam.looked(), None);
    }
    exam
}

/// Examines a job whose knobs are also known from another source.
pub(super) fn exam_with(job: &Job<'_>, site: &Site, (memory, end): (&Memory, End), knobs: Knobs, now: f64) -> Exam {
    let tags = tags_of(job);
    let signals = site.signals.assign(&tags);
    let scalars = tags.iter().filter(|info| info.kind == TagKind::Scalar).map(|info| info.tag.to_owned());
    let knobs = with_learning_rate(knobs, job, &signals);
    let course = course(job, &signals, &knobs);
    let started = [Signal::TrainLoss, Signal::ValidationLoss, Signal::Reward].iter().any(|s| signals.get(*s).is_some());
    let said_ended = (said_ended(job) || summed_up(job, &signals)) && started;
    let pulse = Pulse { last_seen: memory.last_seen, gap: memory.gap, started, said_ended, done: course.done };
    let patience = site.directory_of(&job.name).map_or(QuietLimit::Fixed(f64::INFINITY), |found| found.patience);
    let mut stage = stage(pulse, patience, now);
    stage.ended |= memory.only_look && course.done.is_none() || end != End::Open;
    stage.finished |= end == End::Finished;
    let view = JobView::new(job, &signals, knobs, stage, course);
    let evidence = Evidence::of(&view);
    let mut findings = examine(&evidence);
    let belief = Weights::shipped().failing(&evidence, &findings, site.prior).and(&memory.probed);
    // If a job fails by all evidence together, its most severe warning is shown as its problem.
    let worst = findings.first_mut().filter(|_| belief.probability >= Weights::shipped().alarm);
    if let Some(worst) = worst.filter(|worst| worst.severity == Severity::Warning) {
        worst.severity = Severity::Problem;
    }
    let facts = measure(Looked { view: &view, evidence: &evidence, findings: &findings }, None);
    let unreadable = job.runs.iter().find_map(|(_, run)| run.unreadable.as_deref().map(str::to_owned));
    let (tags, probed) = (scalars.collect(), memory.probed.clone());
    Exam { signals, view, evidence, findings, belief, facts, tags, unreadable, probed }
}

impl Exam {
    /// When silence alone ends the job, by an examination at `now`; never, once it has ended. Seconds since the Unix epoch.
    pub(super) fn ends_at(&self, now: f64) -> f64 {
        let life = self.view.life;
        if life.ended { f64::INFINITY } else { now + (life.patience - life.silent_for).max(0.0) }
    }

    /// Ids of its problems, worst first.
    pub fn problems(&self) -> Vec<String> {
        super::problems(&self.findings)
    }

    /// The job with its findings, for measuring facts.
    pub fn looked(&self) -> Looked<'_> {
        Looked { view: &self.view, evidence: &self.evidence, findings: &self.findings }
    }

    /// The displayed symptoms: for a job that does not fail, no finding is a problem.
    pub fn shown(&self) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        if self.status().0 != Status::Failing {
            findings.iter_mut().for_each(|finding| finding.severity = finding.severity.min(Severity::Warning));
        }
        findings
    }

    /// Whether it failed for some time already, and not only since the newest points: it did so when it had one part in
    /// twenty less. This depends on the points alone, so a daemon that was restarted meanwhile agrees.
    pub fn persists(&self) -> bool {
        self.a_little_earlier().is_some_and(|step| self.fails_at(&self.view, step))
    }

    /// The step at which it had one part in twenty less.
    pub(super) fn a_little_earlier(&self) -> Option<i64> {
        let (first, last) = self.view.judged().map(Observed::steps)?;
        Some(first + ((last - first) as f64 / (1.0 + GROWTH)) as i64)
    }

    /// The belief about the job at a step, and its symptoms.
    pub(super) fn believed_at(&self, view: &JobView, step: i64) -> (Belief, Vec<Finding>) {
        let evidence = Evidence::of(&view.at(step));
        let findings = examine(&evidence);
        (Weights::shipped().failing(&evidence, &findings, self.belief.prior).and(&self.probed), findings)
    }

    /// Whether the job failed by all that was known of it at a step.
    fn fails_at(&self, view: &JobView, step: i64) -> bool {
        let (belief, findings) = self.believed_at(view, step);
        let certain = super::problems(&findings).iter().any(|problem| CERTAIN.contains(&problem.as_str()));
        certain || belief.probability >= Weights::shipped().alarm
    }

    /// What probes have shown of it.
    pub(super) fn probed(&self) -> &[Contribution] {
        &self.probed
    }

    /// The status of the job, with the reason if it is not `healthy` or `failing`. The belief decides, except for NaN,
    /// a hang, and a validation loss that turned.
    pub fn status(&self) -> (Status, Option<String>) {
        let weights = Weights::shipped();
        if self.is_certain() {
            return (Status::Failing, None);
        }
        if let Some(why) = self.cannot_be_judged() {
            return (Status::Unknown, Some(why));
        }
        match self.belief.probability {
            p if p >= weights.alarm => (Status::Failing, None),
            p if p >= weights.suspect => (Status::Suspect, Some(self.what_would_tell())),
            _ => match self.says_little() {
                Some(why) => (Status::Unknown, Some(why)),
                None => (Status::Healthy, None),
            },
        }
    }

    /// Whether its curves show by themselves that it fails, whatever is believed: NaN, a hang, a validation loss that turned.
    pub fn is_certain(&self) -> bool {
        self.problems().iter().any(|problem| CERTAIN.contains(&problem.as_str()))
    }

    /// How probable it is that each change cures it, given that it fails; the most probable first.
    pub fn cures(&self) -> Vec<(&'static str, Belief)> {
        Weights::shipped().cures(&self.evidence, &examine(&self.evidence))
    }

    /// Why nothing can be said of it, whatever is believed.
    pub fn cannot_be_judged(&self) -> Option<String> {
        match self.view.learning {
            Learning::Unknown => return Some(self.without_signal()),
            Learning::Adversarial => {
                let why = "adversarial losses do not have to fall, so only NaN/Inf, a discriminator that is always right, and \
                           what is reconstructed are checked";
                return (self.problems().is_empty() && !self.view.reconstructs()).then(|| why.to_owned());
            }
            Learning::Reinforcement if self.view.reward.is_none() => {
                return Some(
                    "it learns from rewards but logs none: name its tag under `signals` in the configuration".into(),
                );
            }
            Learning::Reinforcement | Learning::Supervised => {}
        }
        let judged = self.view.judged();
        let points = judged.map_or(0, |observed| observed.sketch.count());
        let short = judged.is_none_or(|observed| observed.curve.is_none());
        short.then(|| {
            format!("too short to judge: {points} points, at least {} are needed; {}", Curve::LEAST, self.what_to_log())
        })
    }

    /// Why a low probability of failing does not mean healthy yet.
    fn says_little(&self) -> Option<String> {
        let evidence = &self.evidence;
        let known = |quantity| evidence.get(quantity).unwrap_or(f64::NAN);
        if evidence.below(Q::Maturity, 1.0) && !self.facts.learned {
            return Some("still too early to judge".to_owned());
        }
        if evidence.below(Q::Done, MATURE_SHARE) && !self.facts.learned {
            let done = 100.0 * known(Q::Done);
            return Some(format!("it ended at {done:.0} % of its steps, while its loss was still falling"));
        }
        if evidence.above(Q::TrainedBefore, HALF) && evidence.below(Q::Progress, LEARNED) {
            return Some(format!(
                "the loss is constant, at its lowest level or not learning; the job seems to continue earlier training; {}",
                self.what_to_log()
            ));
        }
        let proved = self.facts.learned || self.facts.generalised || self.view.accurate();
        let hidden = evidence.below(Q::DropErrors, SIGNIFICANT) && evidence.above(Q::Trend, -TREND);
        (!proved && hidden)
            .then(|| format!("its values scatter too much to tell whether the loss fell: {}", self.what_to_log()))
    }

    /// Why a job is suspect, and what would decide it.
    fn what_would_tell(&self) -> String {
        let strongest = self.belief.speaks_for.iter().map(|term| &*term.quantity).find(|name| *name != CALIBRATION);
        let strongest = strongest.unwrap_or("its logs");
        format!("it may be failing, or at its lowest loss ({strongest} suggests failing): {}", self.what_to_log())
    }

    /// Missing logs that would help.
    fn what_to_log(&self) -> String {
        let view = &self.view;
        let points = self.evidence.get(Q::Points).unwrap_or(0.0);
        let mut missing = Vec::new();
        if points < 2.0 * EVALUATIONS {
            missing.push("the loss of single steps, not only of epochs");
        }
        if view.validation_loss.is_none() && view.learning == Learning::Supervised {
            missing.push("a validation loss");
        }
        if view.own_accuracy().is_none() && view.learning == Learning::Supervised {
            missing.push("an accuracy or an error rate");
        }
        if self.evidence.get(Q::PeakRate).is_none() {
            missing.push("the learning rate");
        }
        if view.gradient_norm.is_none() {
            missing.push("the gradient norm");
        }
        match missing.as_slice() {
            [] => "wait for more steps".to_owned(),
            [one] => format!("log {one}"),
            [first @ .., last] => format!("log {} and {last}", first.join(", ")),
        }
    }

    fn without_signal(&self) -> String {
        let mut tags = self.tags.clone();
        if tags.is_empty() {
            return self.unreadable.clone().unwrap_or_else(|| "it has logged no scalars".to_owned());
        }
        tags.sort();
        tags.dedup();
        let more = if tags.len() > TAGS_SHOWN { ", …" } else { "" };
        tags.truncate(TAGS_SHOWN);
        let tags = tags.join(", ");
        format!(
            "no loss or reward was recognised among its tags ({tags}{more}): name its tag under `signals` in the \
             configuration"
        )
    }

    /// The step by which it failed permanently, or would have failed if it had continued: the end of a job permits
    /// judging its loss earlier. With a resolution of a twentieth of its length.
    pub fn shown_at(&self) -> Option<f64> {
        if let Some(step) = self.evidence.get(Q::NonFiniteStep).filter(|_| !self.facts.finite) {
            return Some(step);
        }
        let (first, last) = self.view.judged().map(Observed::steps)?;
        let mut running = self.view.clone();
        (running.life.ended, running.life.finished, running.life.silent_for) = (false, false, 0.0);
        let steps = (1..PARTS).map(|part| first + (last - first) * part / PARTS);
        let late = steps.rev().take_while(|step| self.fails_at(&running, *step)).last();
        Some(late.unwrap_or(last) as f64)
    }

    /// Seconds for each optimizer update; for each step of the loss (or reward) if the updates are unknown.
    pub fn seconds_per_update(&self) -> Option<f64> {
        let sketch = &self.view.judged()?.sketch;
        let (first, last) = sketch.first().zip(sketch.last())?;
        // Those before the first point took no part of the time between the points.
        let between = (sketch.count().saturating_sub(1)) as f64 / sketch.count() as f64;
        let updates = self.view.life.updates.map_or((last.step - first.step) as f64, |updates| updates * between);
        let pace = (last.wall_time - first.wall_time) / updates;
        (updates > 0.0 && pace.is_finite() && pace > 0.0).then_some(pace)
    }

    /// Whether its latest value is plausible for a job that learns: a loss that is not finite, or exactly 0 without a
    /// corresponding accuracy, is not.
    pub fn ends_well(&self) -> bool {
        let observed = self.view.judged();
        let newest = observed.and_then(|observed| observed.sketch.last());
        newest.is_some_and(|point| point.value.is_finite() && (point.value != 0.0 || self.view.accurate()))
    }

    /// The loss (or reward) in at most sixty levels, null where it was not finite.
    pub fn loss_curve(&self) -> Vec<Option<f64>> {
        self.view.judged().map_or_else(Vec::new, |observed| curve_of(&observed.sketch))
    }
}

/// A job is examined again after each of this many equal parts of its length.
const PARTS: i64 = 20;

/// Number of tags shown as examples of a job's naming.
const TAGS_SHOWN: usize = 5;

/// Number of levels of a loss in messages.
const SHOWN_LEVELS: usize = 60;

fn curve_of(sketch: &Sketch) -> Vec<Option<f64>> {
    let mut levels: Vec<Option<f64>> = sketch.buckets().map(|(_, bucket)| Some(bucket.mean)).collect();
    while levels.len() > SHOWN_LEVELS {
        levels = levels.chunks(2).map(|pair| pair[0]).collect();
    }
    if sketch.last().is_some_and(|last| !last.value.is_finite()) {
        levels.push(None);
    }
    levels
}

pub(super) fn tags_of<'a>(job: &'a Job<'_>) -> Vec<TagInfo<'a>> {
    let mut tags = Vec::new();
    for (folder, run) in &job.runs {
        let scalars = run.series().map(|(tag, series)| (tag, series.sketch.count(), TagKind::Scalar));
        let histograms = run.histograms().map(|(tag, sketch)| (tag, sketch.rms.count(), TagKind::Histogram));
        tags.extend(scalars.chain(histograms).map(|(tag, points, kind)| TagInfo { folder, tag, points, kind }));
    }
    tags
}
