//! The messages of a case at each step.

use std::collections::BTreeMap;

use serde_json::json;

use super::control::question_id;
use super::{
    About, ApprovalAsked, Awaited, Body, Case, CaseClosed, CaseOpened, Experiment, Message, Notice, QuestionAsked, RUN,
    Recommended, RunCancelled, RunSuggested, SKIP, SNOOZE, StopSuggested, Terms, Tried, fingerprint,
};
use crate::belief::{Belief, Contribution};
use crate::facts::Knobs;
use crate::policy::{Conclusion, Policy, Question};
use crate::series::relative;

/// Maximum number of reasons for and against a failure in a message, strongest first; the case stores all.
const REASONS: usize = 5;

impl Case {
    fn message(&self, id: String, time: f64, body: Body) -> Message {
        Message { id, case: self.id.clone(), subject: self.baseline.clone(), time, body }
    }

    /// A job or run of this case by its path relative to its log directory, as other programs name it.
    pub fn relative(&self, name: &str) -> String {
        relative(self.logdir.as_deref(), name).unwrap_or(name.into()).into_owned()
    }

    fn about(&self) -> About {
        let reasons = |of: fn(&Belief) -> &Vec<Contribution>| {
            self.belief.iter().flat_map(of).take(REASONS).cloned().collect::<Vec<Contribution>>()
        };
        About {
            case_id: Some(self.id.clone()).filter(|_| !self.is_quiet()),
            logdir: self.logdir.clone(),
            baseline_run: self.relative(&self.baseline),
            policy: Some(self.policy.clone()).filter(|_| !self.is_quiet()),
            symptoms: self.findings.iter().map(|finding| finding.symptom.clone()).collect(),
            evidence: self.findings.iter().map(Into::into).collect(),
            loss_curve: self.loss_curve.clone(),
            curves: Vec::new(),
            probability: self.belief.as_ref().map(|belief| belief.probability),
            speaks_for: reasons(|belief| &belief.speaks_for),
            speaks_against: reasons(|belief| &belief.speaks_against),
            owners: Vec::new(),
            test: false,
        }
    }

    pub(super) fn opened_message(&self, advice: &[String]) -> Message {
        let hyperparameters = self.baseline_facts.knobs.clone();
        let hopeless = !self.baseline_facts.ended && !self.baseline_facts.finite;
        let stop = hopeless.then(|| self.why_stop());
        let body = CaseOpened { about: self.about(), hyperparameters, advice: advice.to_vec(), stop };
        self.message(format!("{}-opened", self.id), self.opened, Body::CaseOpened(body))
    }

    /// A loss that is not finite does not recover on its own.
    pub(super) fn stop_message(&self, time: f64) -> Message {
        let body = StopSuggested { about: self.about(), why: self.why_stop() };
        self.message(format!("{}-stop", self.id), time, Body::StopSuggested(body))
    }

    fn why_stop(&self) -> String {
        self.findings.first().map_or_else(String::new, |found| found.summary.clone())
    }

    pub(super) fn suggested_message(&self, experiment: &Experiment, policy: &Policy) -> Message {
        let (id, time) = (experiment.suggestion.clone(), experiment.suggested);
        self.message(id, time, Body::RunSuggested(Box::new(self.run_of(experiment, policy))))
    }

    pub(super) fn approval_message(&self, experiment: &Experiment, awaited: &Awaited, terms: &Terms<'_>) -> Message {
        let body = ApprovalAsked {
            run: self.run_of(experiment, terms.policy),
            answers: [RUN, SKIP, SNOOZE].map(str::to_owned).to_vec(),
            expires: awaited.until,
            fingerprint: String::new(),
        };
        self.message(awaited.id(), terms.now, Body::ApprovalAsked(Box::new(body)))
    }

    fn run_of(&self, experiment: &Experiment, policy: &Policy) -> RunSuggested {
        let proposal = &experiment.proposal;
        let believed = self.believed_now();
        RunSuggested {
            about: self.about(),
            suggestion_id: experiment.suggestion.clone(),
            run_name: self.relative(&experiment.run_name),
            state: proposal.at.state.clone(),
            attempt: proposal.at.attempt,
            overrides: proposal.changes.clone(),
            settings: self.known_settings(),
            cost: experiment.cost,
            beliefs: if experiment.probe { Vec::new() } else { self.beliefs(policy) },
            believed: if believed.is_empty() { experiment.believed.clone() } else { believed },
            control: experiment.control,
            probe: experiment.probe,
            env: BTreeMap::from([("NEXTRUN_SUGGESTION_ID".to_owned(), experiment.suggestion.clone())]),
            step: proposal.step.clone(),
            why: proposal.why.clone(),
            hypothesis: proposal.hypothesis.clone(),
            expect: proposal.expect.clone(),
            ..RunSuggested::default()
        }
    }

    /// The known settings of the baseline, and properties of its curves.
    fn known_settings(&self) -> Knobs {
        let mut settings = self.baseline_facts.knobs.clone();
        settings.extend(self.settings.iter().map(|(knob, value)| (knob.clone(), value.clone())));
        settings
    }

    pub(super) fn cancelled_message(&self, experiment: &Experiment, why: &str, time: f64) -> Message {
        let body = RunCancelled {
            about: self.about(),
            suggestion_id: experiment.suggestion.clone(),
            run_name: self.relative(&experiment.run_name),
            why: why.to_owned(),
            owner: None,
            probe: experiment.probe,
        };
        self.message(RunCancelled::id_for(&experiment.suggestion), time, Body::RunCancelled(body))
    }

    /// There is one notice of a kind for each experiment, however often it is decided.
    pub(super) fn notice_message(&self, notice: Notice, time: f64) -> Message {
        let id = format!("{}-{}-{}", self.id, notice.what, self.experiments.len());
        let of = |e: &&Experiment| Some(&e.suggestion) == notice.suggestion_id.as_ref();
        let run_name = self.experiments.iter().find(of).map(|e| self.relative(&e.run_name));
        let body = Notice { about: self.about(), run_name, ..notice };
        self.message(id, time, Body::Notice(Box::new(body)))
    }

    /// `expires` is the deadline for the answer; `None` if no answer is expected.
    pub(super) fn asked_message(&self, question: &Question, expires: Option<f64>, time: f64) -> Message {
        let id = question_id(&self.id, &question.at);
        let shown = json!({ "why": question.why, "checklist": question.checklist, "answers": question.answers });
        let body = QuestionAsked {
            about: self.about(),
            state: question.at.state.clone(),
            step: question.step.clone(),
            why: question.why.clone(),
            checklist: question.checklist.clone(),
            answers: question.answers.clone(),
            expires,
            fingerprint: fingerprint(&shown),
        };
        self.message(id, time, Body::QuestionAsked(body))
    }

    pub(super) fn closed_message(&self, conclusion: &Conclusion, time: f64) -> Message {
        let recommended = Recommended { overrides: conclusion.recommended.clone(), ..Recommended::default() };
        let body = CaseClosed {
            about: self.about(),
            verdict: conclusion.verdict.clone(),
            confidence: conclusion.confidence,
            summary: conclusion.summary.clone(),
            experiments: self.experiments.iter().map(|experiment| self.tried(experiment)).collect(),
            not_tried: self.not_tried.iter().map(|n| format!("{}: {}", n.state, n.why)).collect(),
            recommended: Some(recommended).filter(|recommended| !recommended.overrides.is_empty()),
            cure: self.cure(conclusion),
        };
        self.message(format!("{}-closed", self.id), time, Body::CaseClosed(Box::new(body)))
    }

    /// An experiment, as the closing message lists it. A finding has the id of its suggestion and its symptom.
    fn tried(&self, experiment: &Experiment) -> Tried {
        let symptoms = experiment.facts.iter().flat_map(|facts| &facts.symptoms);
        Tried {
            suggestion_id: experiment.suggestion.clone(),
            state: experiment.proposal.at.state.clone(),
            step: experiment.proposal.step.clone(),
            run_name: self.relative(&experiment.run_name),
            overrides: experiment.proposal.changes.clone(),
            outcome: experiment.outcome.clone(),
            finding_ids: symptoms.map(|symptom| format!("{}/{symptom}", experiment.suggestion)).collect(),
            seen: experiment.facts.as_ref().map(|facts| facts.in_words()),
            cost: experiment.spent.map(|spent| self.real_cost(spent)),
            believed: experiment.believed.clone(),
        }
    }
}
