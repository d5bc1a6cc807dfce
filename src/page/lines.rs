//! Cases, jobs and items that need a person, one line each.
//!
//! Owns: which details are listed. Must not know: how they are stored.

use serde::Serialize;

use super::words;
use crate::case::{Case, PauseEnds, RUN, SKIP, SNOOZE, Waiting};
use crate::store::Ask;

/// A case in a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CaseLine {
    /// Its id.
    pub case_id: String,
    /// The baseline job.
    pub baseline_run: String,
    /// The policy that it runs.
    pub policy: String,
    /// Its position in the policy.
    pub state: String,
    /// What it is waiting for: `room`, `budget`, `experiment`, `answer`, `approval`, `paused` or `nothing`.
    pub waiting: String,
    /// Since when it has been waiting, if known, in seconds since the Unix epoch.
    pub since: Option<f64>,
    /// Experiments so far.
    pub experiments: usize,
    /// When it was opened, in seconds since the Unix epoch.
    pub opened: f64,
    /// The findings in the baseline, as ids of symptoms.
    pub symptoms: Vec<String>,
    /// The hypothesis of the current or latest experiment, in words.
    pub hypothesis: Option<String>,
    /// Its verdict, once closed.
    pub verdict: Option<String>,
    /// How sure that is, 0 to 1.
    pub confidence: Option<f64>,
    /// What it needs from a person.
    pub needs: Option<Need>,
    /// Up to sixty levels of the baseline's loss.
    #[serde(skip)]
    pub loss_curve: Vec<Option<f64>>,
}

/// Something that a person must decide or do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Need {
    /// What kind of thing.
    pub kind: NeedKind,
    /// Its description, in words.
    pub text: String,
    /// Since when, in seconds since the Unix epoch.
    pub since: Option<f64>,
    /// The deadline in seconds since the Unix epoch, if there is one.
    pub until: Option<f64>,
    /// What to look at.
    pub checklist: Vec<String>,
    /// The answers that there are.
    pub answers: Vec<String>,
    /// The command that does it.
    pub command: Option<String>,
    /// The question, by the id of its message, and its fingerprint.
    pub asked: Option<(String, String)>,
    /// The command that would run.
    pub would_run: Option<String>,
}

/// Why a person is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NeedKind {
    /// To answer a question.
    Question,
    /// To let an experiment run, or not.
    Approval,
    /// To fix the problem for which a case is paused.
    Paused,
    /// To say which job carries out an experiment.
    Dispute,
    /// To start a run, because nothing else does.
    Run,
    /// To decide about a message that did not arrive.
    Delivery,
    /// To fix the daemon's environment or settings.
    Trouble,
}

impl NeedKind {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            NeedKind::Question => "Question",
            NeedKind::Approval => "May it run?",
            NeedKind::Paused => "Paused",
            NeedKind::Dispute => "Which run?",
            NeedKind::Run => "Run to start",
            NeedKind::Delivery => "Not delivered",
            NeedKind::Trouble => "Trouble",
        }
    }
}

impl Need {
    /// Something without a deadline.
    pub fn new(kind: NeedKind, text: impl Into<String>) -> Need {
        Need {
            kind,
            text: text.into(),
            since: None,
            until: None,
            checklist: Vec::new(),
            answers: Vec::new(),
            command: None,
            asked: None,
            would_run: None,
        }
    }
}

impl CaseLine {
    /// Adds the questions to people, if they belong to this case.
    pub fn asked(&mut self, ask: &Ask) {
        let Some(need) = self.needs.as_mut().filter(|_| ask.case.0 == self.case_id) else { return };
        if !matches!(need.kind, NeedKind::Question | NeedKind::Approval) {
            return;
        }
        need.since = Some(ask.asked);
        need.until = Some(ask.expires);
        need.answers.clone_from(&ask.answers);
        need.asked = Some((ask.id.clone(), ask.fingerprint.clone()));
        need.would_run = ask.shown.get("command").and_then(serde_json::Value::as_str).map(str::to_owned);
        self.since = need.since;
    }
}

/// A job in a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct JobLine {
    /// How it is doing: `healthy`, `suspect`, `failing`, `unknown`; `None` before it was looked at.
    pub status: Option<&'static str>,
    /// How probable it is that it fails.
    pub probability: Option<f64>,
    /// Its symptoms, as ids.
    pub symptoms: Vec<String>,
    /// When something new of it was last seen, in seconds since the Unix epoch.
    pub last_seen: f64,
}

impl CaseLine {
    /// The current state of a case.
    pub fn of(case: &Case) -> CaseLine {
        let waiting = match case.waiting {
            _ if case.paused.is_some() => "paused",
            Waiting::Room(_) if case.short_of.is_some() => "budget",
            Waiting::Room(_) => "room",
            Waiting::Experiment => "experiment",
            Waiting::Answer { .. } => "answer",
            Waiting::Approval(_) => "approval",
            Waiting::Probe => "probe",
            Waiting::Nothing => "nothing",
        };
        let open = case.open_experiment();
        let next = match &case.waiting {
            Waiting::Room(proposal) => Some(proposal),
            Waiting::Approval(awaited) => Some(&awaited.proposal),
            Waiting::Experiment | Waiting::Answer { .. } | Waiting::Probe | Waiting::Nothing => {
                case.experiments.last().map(|experiment| &experiment.proposal)
            }
        };
        CaseLine {
            case_id: case.id.to_string(),
            baseline_run: case.baseline.clone(),
            policy: case.policy.clone(),
            state: case.position.state.clone(),
            waiting: waiting.to_owned(),
            since: case.paused.as_ref().map(|pause| pause.since).or(open.map(|one| one.suggested)),
            experiments: case.experiments.len(),
            opened: case.opened,
            symptoms: case.findings.iter().map(|finding| finding.symptom.clone()).collect(),
            hypothesis: next.map(|proposal| proposal.hypothesis.clone()).filter(|words| !words.is_empty()),
            verdict: case.closed.as_ref().map(|end| end.verdict.clone()),
            confidence: case.closed.as_ref().map(|end| end.confidence),
            needs: need(case),
            loss_curve: case.loss_curve.clone(),
        }
    }
}

/// What a case needs from a person.
fn need(case: &Case) -> Option<Need> {
    if let Some(pause) = &case.paused {
        // A case refused by a destination continues once the destination accepts it.
        let command = (pause.ends == PauseEnds::Person).then(|| format!("nextrun cases resume {}", case.id));
        return Some(Need { since: Some(pause.since), command, ..Need::new(NeedKind::Paused, &pause.why) });
    }
    if let Waiting::Answer { question, until } = &case.waiting {
        let command = question.answers.first().map(|answer| format!("nextrun cases answer {} {answer}", case.id));
        return Some(Need {
            until: Some(*until),
            checklist: question.checklist.clone(),
            answers: question.answers.clone(),
            command,
            ..Need::new(NeedKind::Question, &question.why)
        });
    }
    if let Waiting::Approval(awaited) = &case.waiting {
        if awaited.again.is_some() {
            return None;
        }
        let proposal = &awaited.proposal;
        let changes = words::changes(&proposal.changes, &case.settings);
        let changes =
            changes.into_iter().map(|(knob, _, new)| format!("{knob} = {new}")).collect::<Vec<_>>().join(", ");
        let text = format!("an experiment that tests whether {}, with {changes}", proposal.hypothesis);
        let answers = [RUN, SKIP, SNOOZE].map(str::to_owned).to_vec();
        let command = Some(format!("nextrun cases approve {}", case.id));
        return Some(Need { until: Some(awaited.until), answers, command, ..Need::new(NeedKind::Approval, text) });
    }
    let open = case.open_experiment()?;
    if let Some(why) = &open.disputed {
        let command = Some(format!("nextrun cases link {} JOB", case.id));
        return Some(Need { since: Some(open.suggested), command, ..Need::new(NeedKind::Dispute, why) });
    }
    let nobody_runs_it = open.machines.is_empty() && open.job.is_none() && open.fate.is_none();
    nobody_runs_it.then(|| {
        let text = format!("Start the suggested run {}; it is recognised by its directory.", open.run_name);
        Need { since: Some(open.suggested), ..Need::new(NeedKind::Run, text) }
    })
}
