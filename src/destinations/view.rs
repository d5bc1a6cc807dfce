//! The content of a message for people: every field in words.
//!
//! Owns: the parts of a message that people read, and the replacements for absent values. Must not know: markup, which
//! destination shows it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::headline::{self, Owner};
use super::sparkline::{is_logarithmic, sparkline};
use super::words::{number, one_line, sentence, settings, shell_word, words};
use crate::case::{
    About, ApprovalAsked, Believed, Body, CaseClosed, Cost, Digest, DigestItem, DigestLine, Evidence, Message,
    MessageKind, Notice, QuestionAsked, RUN, Recommended, RunSuggested, SKIP, SNOOZE, Tried,
};
use crate::command::{is_one_program, masked_line};
use crate::series::joined;

/// The value of `view` in templates; `docs/DESTINATIONS.md` describes each field. Texts and lists that a message does
/// not have are empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct View {
    /// The baseline job.
    run: String,
    /// The news in one line, with the job's name.
    headline: String,
    /// What is wrong with the job, as a sentence.
    problem: String,
    /// Whose job it is.
    owners: Vec<Owner>,
    case: String,
    policy: String,
    /// The step of the sequence, such as `1 overfit one point`.
    step: String,
    /// 1 for the first experiment of a step.
    attempt: u32,
    why: String,
    hypothesis: String,
    expect: String,
    summary: String,
    /// The findings, with numbers.
    troubles: Vec<Trouble>,
    /// The loss as a text sparkline, with its first and last value.
    curve: String,
    /// The changes to the baseline's knobs.
    settings: String,
    /// The expected cost of the run.
    cost: String,
    /// The most probable causes, with the change by the previous experiment.
    believed: String,
    /// The exact command, with its environment.
    command: String,
    /// The same for people, with values that look like secrets masked.
    shown_command: String,
    /// The directory that the new run must log to.
    run_name: String,
    checklist: Vec<String>,
    answers: Vec<String>,
    /// The command that answers; empty if no answer is expected.
    reply: String,
    /// The deadline for the answer, for people.
    expires: String,
    /// Fingerprint of what is shown, for buttons.
    fingerprint: String,
    /// The answers as buttons; empty if no answer is expected.
    buttons: Vec<Button>,
    /// How the case ended, as a heading; empty while it is open.
    cause: String,
    /// What cured the job, with the figures of both runs.
    cure: String,
    /// Why the run should be stopped; empty where it need not.
    stop: String,
    /// The verdict in words, and its id.
    verdict: String,
    verdict_id: String,
    /// In per cent, without the sign.
    confidence: String,
    experiments: Vec<Experiment>,
    recommended_settings: String,
    recommended_command: String,
    not_tried: Vec<String>,
    /// The title of a digest, and its entries.
    title: String,
    items: Vec<Item>,
    /// The last lines of a job's log, without control characters.
    log: String,
}

/// An answer as a button.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Button {
    answer: String,
    label: String,
}

impl Button {
    fn of(answer: &str) -> Button {
        let label = match answer {
            RUN => "Run".to_owned(),
            SKIP => "Skip".to_owned(),
            SNOOZE => "Snooze 4 h".to_owned(),
            other => sentence(&words(&one_line(other))),
        };
        Button { answer: one_line(answer), label }
    }
}

/// A symptom with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Trouble {
    what: String,
    said: String,
    /// Tag and steps.
    place: String,
}

/// A case in a digest.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Item {
    run: String,
    case: String,
    said: String,
}

/// An experiment that has been judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Experiment {
    step: String,
    settings: String,
    outcome: String,
}

impl View {
    /// The view of a message.
    pub(super) fn of(message: &Message) -> View {
        let mut view = match &message.body {
            Body::CaseOpened(opened) => {
                View { stop: text(opened.stop.as_deref().unwrap_or_default()), ..View::default() }
            }
            Body::RunSuggested(run) => View::of_run(run),
            Body::ApprovalAsked(asked) => View::of_approval(asked, &message.case.0),
            Body::RunCancelled(run) => {
                View { why: text(&run.why), run_name: one_line(&run.run_name), ..View::default() }
            }
            Body::StopSuggested(stop) => View { why: text(&stop.why), ..View::default() },
            Body::QuestionAsked(question) => View::of_question(question, &message.case.0),
            Body::Notice(notice) => View::of_notice(notice, &message.subject),
            Body::CaseClosed(end) => View::of_end(end),
            Body::Digest(digest) => View {
                why: text(&digest.why),
                title: title(digest),
                items: digest.items.iter().map(Item::of).collect(),
                ..View::default()
            },
        };
        view.run = one_line(&message.subject);
        view.case = one_line(&message.case.0);
        view.attempt = view.attempt.max(1);
        if let Some(about) = message.body.about() {
            view.tell(about);
        }
        view.headline = view.headline(&message.body);
        view
    }

    /// The news in one line.
    fn headline(&self, body: &Body) -> String {
        let View { run, step, .. } = self;
        match body {
            Body::CaseOpened(_) => self.problem.clone(),
            Body::RunSuggested(_) if self.attempt > 1 => {
                format!("Suggested run for {run}: {step}, attempt {}", self.attempt)
            }
            Body::RunSuggested(_) => format!("Suggested run for {run}: {step}"),
            Body::ApprovalAsked(_) => format!("Approve a run for {run}? {}", sentence(step)),
            Body::RunCancelled(_) => format!("{run}: a suggested run is no longer needed"),
            Body::StopSuggested(_) => format!("Consider stopping {run}"),
            Body::QuestionAsked(_) => format!("Question about {run}: {step}"),
            Body::Notice(_) | Body::Digest(_) => self.title.clone(),
            Body::CaseClosed(end) => format!("{run}: {}", headline::cause_in_line(&end.verdict)),
        }
    }

    fn tell(&mut self, about: &About) {
        if !about.baseline_run.is_empty() {
            self.run = one_line(&joined(about.logdir.as_deref(), &about.baseline_run));
        }
        if !self.run_name.is_empty() {
            self.run_name = joined(about.logdir.as_deref(), &self.run_name).into_owned();
        }
        self.policy = one_line(about.policy.as_deref().unwrap_or_default());
        self.problem = headline::problem(&self.run, about);
        self.owners = about.owners.iter().map(|owner| Owner::of(owner)).collect();
        self.troubles = troubles(about);
        self.curve = curve(&about.loss_curve);
    }

    fn of_run(run: &RunSuggested) -> View {
        View {
            step: step(&run.step, &run.state),
            attempt: run.attempt,
            why: text(&run.why),
            hypothesis: text(&run.hypothesis),
            expect: text(&run.expect),
            settings: settings(&run.overrides),
            cost: run.cost.as_ref().map(cost).unwrap_or_default(),
            believed: believed(&run.believed),
            shown_command: masked_line(&command(run.command.as_deref(), &run.arguments, &run.env)),
            command: command(run.command.as_deref(), &run.arguments, &run.env),
            run_name: one_line(&run.run_name),
            ..View::default()
        }
    }

    fn of_approval(asked: &ApprovalAsked, case: &str) -> View {
        View {
            answers: asked.answers.iter().map(|answer| one_line(answer)).collect(),
            reply: format!("nextrun cases approve {}  # or decline", one_line(case)),
            expires: when(asked.expires),
            fingerprint: one_line(&asked.fingerprint),
            buttons: asked.answers.iter().map(|answer| Button::of(answer)).collect(),
            ..View::of_run(&asked.run)
        }
    }

    fn of_question(question: &QuestionAsked, case: &str) -> View {
        let reply = format!("nextrun cases answer {} ANSWER", one_line(case));
        View {
            step: step(&question.step, &question.state),
            why: text(&question.why),
            checklist: question.checklist.clone(),
            answers: question.answers.iter().map(|answer| one_line(answer)).collect(),
            reply: Some(reply).filter(|_| question.expires.is_some()).unwrap_or_default(),
            expires: question.expires.map(when).unwrap_or_default(),
            fingerprint: one_line(&question.fingerprint),
            buttons: question.answers.iter().filter(|_| question.expires.is_some()).map(|a| Button::of(a)).collect(),
            ..View::default()
        }
    }

    fn of_notice(notice: &Notice, run: &str) -> View {
        let what = match notice.what.as_str() {
            "not_as_asked" => "an experiment ran with other settings than suggested",
            "refused" => "suggested runs are refused",
            "disputed" => "several runs claim to be one experiment",
            "budget" => "the next experiment exceeds the budget",
            _ => "an experiment failed without a result",
        };
        View {
            title: format!("{}: {what}", one_line(run)),
            why: text(&notice.why),
            run_name: one_line(notice.run_name.as_deref().unwrap_or_default()),
            log: notice.fate.as_ref().and_then(|fate| fate.tail.as_deref()).map(visible).unwrap_or_default(),
            ..View::default()
        }
    }

    fn of_end(end: &CaseClosed) -> View {
        let none = Recommended::default();
        let recommended = end.recommended.as_ref().unwrap_or(&none);
        let confidence = Some(end.confidence).filter(|share| *share > 0.0);
        View {
            summary: text(&end.summary),
            cause: headline::cause(&end.verdict),
            cure: end.cure.as_ref().map(headline::cure).unwrap_or_default(),
            verdict: words(&one_line(&end.verdict)),
            verdict_id: one_line(&end.verdict),
            confidence: confidence.map(|share| format!("{:.0}", share * 100.0)).unwrap_or_default(),
            experiments: end.experiments.iter().map(Experiment::of).collect(),
            recommended_settings: settings(&recommended.overrides),
            recommended_command: masked_line(&command(
                recommended.command.as_deref(),
                &recommended.arguments,
                &BTreeMap::new(),
            )),
            not_tried: end.not_tried.iter().map(|left_out| not_tried(left_out)).collect(),
            ..View::default()
        }
    }
}

/// A time for people.
fn when(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds of a time")]
    let time = jiff::Timestamp::from_second(seconds as i64).ok();
    time.map(|time| time.strftime("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default()
}

/// A step that could not be tried, with its name in words.
fn not_tried(left_out: &str) -> String {
    match left_out.split_once(": ") {
        Some((state, why)) => format!("{}: {why}", words(state)),
        None => words(left_out),
    }
}

/// A text without surrounding blanks.
fn text(text: &str) -> String {
    text.trim().to_owned()
}

/// A step of the published sequence; otherwise the name of the test in words.
fn step(step: &str, state: &str) -> String {
    if step.trim().is_empty() { words(&one_line(state)) } else { one_line(step) }
}

impl Trouble {
    fn of(finding: &Evidence) -> Trouble {
        let step = |step: Option<i64>| {
            #[expect(clippy::cast_precision_loss, reason = "a step as people read it")]
            step.map(|step| number(step as f64))
        };
        let steps = match (step(finding.first_step), step(finding.last_step)) {
            (Some(first), Some(last)) if first != last => format!("steps {first} to {last}"),
            (Some(step), _) | (None, Some(step)) => format!("step {step}"),
            (None, None) => String::new(),
        };
        let place = [one_line(&finding.tag), steps].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let what = words(&one_line(&finding.symptom));
        Trouble { what, said: text(&finding.summary), place: place.join(", ") }
    }
}

impl Item {
    fn of(item: &DigestItem) -> Item {
        let said = item.messages.iter().map(in_short).collect::<Vec<_>>().join("; ");
        Item { run: one_line(&item.run), case: one_line(&item.case.0), said }
    }
}

/// The subject of a digest, in one line.
fn title(digest: &Digest) -> String {
    let (cases, messages) = (digest.items.len(), digest.messages);
    let mut said = digest.items.iter().flat_map(|item| &item.messages);
    if said.all(|said| said.kind == MessageKind::CaseOpened) {
        format!("{cases} jobs are failing")
    } else {
        let (case, message) =
            (if cases == 1 { "case" } else { "cases" }, if messages == 1 { "message" } else { "messages" });
        format!("{messages} {message} about {cases} {case}")
    }
}

/// A message of a digest in a few words.
fn in_short(said: &DigestLine) -> String {
    let step = one_line(said.step.as_deref().unwrap_or_default());
    match said.kind {
        MessageKind::CaseOpened => said.symptoms.iter().map(|id| words(&one_line(id))).collect::<Vec<_>>().join(", "),
        MessageKind::RunSuggested => match said.overrides.as_ref().map(settings) {
            Some(settings) if !settings.is_empty() => format!("suggested run: {step} ({settings})"),
            _ => format!("suggested run: {step}"),
        },
        MessageKind::ApprovalAsked => format!("needs your approval: {step}"),
        MessageKind::RunCancelled => "its suggested run is no longer needed".to_owned(),
        MessageKind::StopSuggested => "consider stopping it".to_owned(),
        MessageKind::QuestionAsked => format!("a question: {step}"),
        MessageKind::Notice => "an experiment needs attention".to_owned(),
        MessageKind::CaseClosed => headline::cause_in_line(said.verdict.as_deref().unwrap_or_default()),
        MessageKind::Digest => "several messages".to_owned(),
    }
}

impl Experiment {
    fn of(tried: &Tried) -> Experiment {
        Experiment {
            step: step(&tried.step, &tried.state),
            settings: settings(&tried.overrides),
            outcome: words(&one_line(tried.outcome.as_deref().unwrap_or_default())),
        }
    }
}

/// Maximum number of reasons why a job without symptoms is thought to fail.
const REASONS: usize = 3;

/// The evidence, or only the symptoms if there is none, or what the probability of failing is based on.
fn troubles(about: &About) -> Vec<Trouble> {
    let by_id = |id: &String| Trouble { what: words(&one_line(id)), said: String::new(), place: String::new() };
    let troubles: Vec<Trouble> = match (about.evidence.is_empty(), about.symptoms.is_empty()) {
        (false, _) => about.evidence.iter().map(Trouble::of).collect(),
        (true, false) => about.symptoms.iter().map(by_id).collect(),
        (true, true) => about.probability.map(|probability| doubt(about, probability)).into_iter().collect(),
    };
    troubles.into_iter().filter(|trouble| !trouble.what.is_empty() || !trouble.said.is_empty()).collect()
}

/// Why a job without symptoms is thought to fail.
fn doubt(about: &About, probability: f64) -> Trouble {
    let reasons = about.speaks_for.iter().take(REASONS);
    let reasons: Vec<String> = reasons.map(|r| format!("{} = {}", one_line(&r.quantity), number(r.value))).collect();
    Trouble {
        what: format!("probability of failing {:.0} %", 100.0 * probability),
        said: reasons.join(", "),
        place: String::new(),
    }
}

fn curve(values: &[Option<f64>]) -> String {
    let finite: Vec<f64> = values.iter().flatten().copied().collect();
    let (Some(first), Some(last)) = (finite.first(), finite.last()) else { return String::new() };
    let (low, high) = finite.iter().fold((*first, *first), |(low, high), x| (low.min(*x), high.max(*x)));
    let scale = if is_logarithmic(low, high) { ", log scale" } else { "" };
    let broken = if finite.len() < values.len() { ", × = NaN or infinity" } else { "" };
    format!("{}  {} → {}{scale}{broken}", sparkline(values), number(*first), number(*last))
}

/// An expected cost: steps, time and GPU time, as far as known.
fn cost(cost: &Cost) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a number as people read it")]
    let steps = cost.steps.map(|steps| format!("{} steps", number(steps as f64)));
    let time = cost.seconds.map(|seconds| match seconds {
        short if short < 120.0 => format!("about {short:.0} s"),
        minutes if minutes < 7200.0 => format!("about {:.0} min", minutes / 60.0),
        hours => format!("about {:.1} h", hours / 3600.0),
    });
    let gpus = cost.gpu_hours.filter(|hours| *hours >= 0.005).map(|hours| format!("{hours:.2} GPU hours"));
    [steps, time, gpus].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Maximum number of causes on a line.
const CAUSES: usize = 3;

/// The most probable causes in per cent, with their values before the previous experiment.
fn believed(all: &[Believed]) -> String {
    let per_cent = |probability: f64| format!("{:.0} %", 100.0 * probability);
    let mut all: Vec<&Believed> = all.iter().collect();
    all.sort_by(|a, b| b.after.unwrap_or(b.before).total_cmp(&a.after.unwrap_or(a.before)));
    let said = all.iter().take(CAUSES).map(|one| {
        let cause = words(&one_line(&one.cause));
        match one.after {
            Some(after) => format!("{cause}: {} (was {})", per_cent(after), per_cent(one.before)),
            None => format!("{cause}: {}", per_cent(one.before)),
        }
    });
    said.collect::<Vec<_>>().join("; ")
}

/// The command preceded by its environment or, if no command is known, only the arguments.
fn command(command: Option<&str>, arguments: &[String], env: &BTreeMap<String, String>) -> String {
    // The changes as JSON are for programs; people see them in the command.
    let env = env.iter().filter(|(name, _)| *name != "NEXTRUN_OVERRIDES");
    let variables: Vec<String> = env.map(|(name, value)| format!("{name}={}", shell_word(value))).collect();
    let variables = variables.join(" ");
    match command.map(str::trim).filter(|command| !command.is_empty()) {
        Some(command) if variables.is_empty() => command.to_owned(),
        Some(command) if is_one_program(command) => format!("{variables} {command}"),
        // A variable in front of `cd X && python` would be set only for `cd`.
        Some(command) => format!("export {variables}; {command}"),
        None => arguments.iter().map(|argument| shell_word(argument)).collect::<Vec<_>>().join(" "),
    }
}

/// The last lines of a log, made safe for display because their content is untrusted.
fn visible(tail: &str) -> String {
    let from = tail.lines().count().saturating_sub(LOG_LINES);
    tail.lines().skip(from).map(one_line).collect::<Vec<_>>().join("\n")
}

/// Maximum number of log lines that show how a job ended.
const LOG_LINES: usize = 12;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::case::CaseId;

    fn view(kind: MessageKind, data: Value) -> View {
        let body = Body::read(kind, data).unwrap();
        View::of(&Message { id: "m".into(), case: CaseId("c1".into()), subject: "a/b".into(), time: 0.0, body })
    }

    fn run(data: Value) -> View {
        view(MessageKind::RunSuggested, data)
    }

    #[test]
    fn a_message_that_says_little_gives_a_view() {
        for kind in MessageKind::ALL {
            let view = view(kind, json!({}));
            assert_eq!((view.run.as_str(), view.attempt, view.troubles.len(), view.curve.as_str()), ("a/b", 1, 0, ""));
        }
    }

    #[test]
    fn a_curve_says_where_it_started_and_stands() {
        assert_eq!(run(json!({"loss_curve": [2.3, 2.8, 2.4012]})).curve, "▁█▂  2.3 → 2.401");
        assert_eq!(
            run(json!({"loss_curve": [1.0, 1000.0, null]})).curve,
            "▁█×  1 → 1,000, log scale, × = NaN or infinity"
        );
    }

    #[test]
    fn a_command_is_what_a_shell_can_run() {
        let data =
            json!({"command": "python train.py --lr 0.1", "env": {"NEXTRUN_SUGGESTION_ID": "s 1"}, "arguments": ["x"]});
        assert_eq!(run(data).command, "NEXTRUN_SUGGESTION_ID='s 1' python train.py --lr 0.1");
        let known = run(json!({"command": "cd /w && python train.py --api-key 'a b' --lr 0.1", "env": {"A": "1"}}));
        assert_eq!(known.command, "export A=1; cd /w && python train.py --api-key 'a b' --lr 0.1");
        assert_eq!(known.shown_command, "export A=1; cd /w && python train.py --api-key *** --lr 0.1");
        assert_eq!(run(json!({"arguments": ["--lr=0.1", "--name", "a b"]})).command, "--lr=0.1 --name 'a b'");
    }

    #[test]
    fn a_cost_says_what_is_known() {
        for (cost, want) in [
            (json!({"steps": 2000, "seconds": 90.0, "gpu_hours": 0.05}), "2,000 steps, about 90 s, 0.05 GPU hours"),
            (json!({"seconds": 5400.0}), "about 90 min"),
            (json!({"seconds": 9000.0}), "about 2.5 h"),
            (json!(null), ""),
        ] {
            assert_eq!(run(json!({ "cost": cost })).cost, want);
        }
    }

    #[test]
    fn the_most_probable_causes_are_told_with_what_they_were() {
        let believed = json!([
            {"cause": "loss_function", "before": 0.2, "after": 0.11},
            {"cause": "learning_rate_too_high", "before": 0.28, "after": 0.412},
            {"cause": "overfitting", "before": 0.0, "after": 0.0},
            {"cause": "input_scaling", "before": 0.1, "after": 0.2},
        ]);
        assert_eq!(
            run(json!({ "believed": believed })).believed,
            "the learning rate is too high: 41 % (was 28 %); the scaling of the inputs: 20 % (was 10 %); the loss function: 11 % (was 20 %)"
        );
        let first = json!([{"cause": "input_scaling", "before": 0.1, "after": null}]);
        assert_eq!(run(json!({ "believed": first })).believed, "the scaling of the inputs: 10 %");
    }

    #[test]
    fn symptoms_stand_in_for_evidence() {
        let with = run(json!({"symptoms": ["x"], "evidence": [
            {"symptom": "not_learning", "tag": "train/loss", "first_step": 0, "last_step": 4000, "summary": "no better"}]}));
        assert_eq!(
            (with.troubles[0].what.as_str(), with.troubles[0].place.as_str()),
            ("not learning", "train/loss, steps 0 to 4,000")
        );
        let without = run(json!({"symptoms": ["non_finite"]}));
        assert_eq!(without.troubles[0].what, "NaN or infinity");
        let doubted = run(json!({"probability": 0.81, "speaks_for": [
            {"quantity": "late_fall", "value": 0.00123, "error": 0.0, "log_odds": 2.0},
            {"quantity": "rate_position", "value": 1.7, "error": 0.0, "log_odds": 1.0}]}));
        let trouble = &doubted.troubles[0];
        assert_eq!(
            (trouble.what.as_str(), trouble.said.as_str()),
            ("probability of failing 81 %", "late_fall = 0.00123, rate_position = 1.7")
        );
    }

    #[test]
    fn the_fields_of_a_view_are_described() {
        let docs = include_str!("../../docs/DESTINATIONS.md");
        let Value::Object(fields) = serde_json::to_value(View::default()).unwrap() else { panic!("a view has fields") };
        for field in fields.keys() {
            assert!(
                docs.contains(&format!("| `view.{field}` |")),
                "docs/DESTINATIONS.md does not describe view.{field}"
            );
        }
    }
}
