//! One case: conclusion or beliefs with reasons, its experiments, its curves, its commands, its cost, its history.
//!
//! Owns: the order of these parts. Must not know: where they are stored.

use maud::{Markup, html};

use super::time::{absolute, duration, hours, moment};
use super::words::{count, per_cent, sentence, shown, words};
use super::{
    CaseLine, Frame, Need, NeedKind, belief, changes, charts, charts_of, document, experiments, history, masthead,
};
use crate::case::{Body, Case, Curve, JournalEntry, Used};
use crate::facts::Knobs;
use crate::store::{Ask, Delivery};

/// Maximum length of a paragraph in characters.
const LONGEST: usize = 2000;

/// A case with all that is shown of it.
#[derive(Debug, Clone, Copy)]
pub struct CaseView<'a> {
    /// The case.
    pub case: &'a Case,
    /// Its journal, oldest first.
    pub journal: &'a [JournalEntry],
    /// Its messages, oldest first.
    pub deliveries: &'a [Delivery],
    /// The current questions to people.
    pub asks: &'a [Ask],
    /// What its jobs have logged.
    pub curves: &'a [Curve],
    /// When it is looked at, in seconds since the Unix epoch; `None` for a file, which is looked at whenever.
    pub now: Option<f64>,
    /// When the page is made, in seconds since the Unix epoch.
    pub made: f64,
    /// Where more of it is.
    pub links: &'a Links,
}

/// Other programs that show the same jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// The address of TensorBoard.
    pub tensorboard: Option<String>,
}

impl CaseView<'_> {
    /// The page.
    pub fn html(&self, frame: Frame) -> String {
        let case = self.case;
        let baseline = shown(&case.baseline, 200);
        let charts = charts_of(case, self.curves);
        let content = html! {
            (masthead(frame, None))
            main id="content" {
                (self.head(frame, &baseline))
                (self.findings())
                (belief::section(self.case))
                (experiments::section(self))
                (charts::section(&charts))
                (self.commands())
                (self.cost())
                (history::section(self.journal, self.now))
                (self.messages())
            }
            footer {
                p.quiet {
                    "Case " code { (case.id) } ", made " (absolute(self.made)) " by nextrun " (env!("CARGO_PKG_VERSION")) "."
                }
            }
        };
        document(&format!("{baseline} · nextrun"), frame, &content)
    }

    /// The known settings of the baseline.
    pub(super) fn settings(&self) -> &Knobs {
        if self.case.settings.is_empty() { &self.case.baseline_facts.knobs } else { &self.case.settings }
    }

    pub(super) fn baseline_command(&self) -> Option<String> {
        self.case.launched.as_ref().map(changes::command_of)
    }

    /// The command of a suggested run, as sent.
    pub(super) fn command_of(&self, suggestion: &str) -> Option<&str> {
        self.deliveries.iter().find_map(|delivery| match &delivery.message.body {
            Body::RunSuggested(run) if run.suggestion_id == suggestion => run.command.as_deref(),
            _ => None,
        })
    }

    /// What those that run a suggestion call it, by destination.
    pub(super) fn jobs_of(&self, suggestion: &str) -> Vec<(String, String)> {
        let of = |delivery: &&Delivery| {
            delivery.message.id == suggestion
                && self.case.experiments.iter().any(|experiment| experiment.machines.contains(&delivery.destination))
        };
        let named = |delivery: &Delivery| {
            Some((delivery.destination.clone(), delivery.answer.as_ref()?.reference()?.to_owned()))
        };
        self.deliveries.iter().filter(of).filter_map(named).collect()
    }

    fn head(&self, frame: Frame, baseline: &str) -> Markup {
        let case = self.case;
        let mut line = CaseLine::of(case);
        self.asks.iter().for_each(|ask| line.asked(ask));
        html! {
            div.title {
                h1 { (baseline) }
                @match &case.closed {
                    Some(_) => span.pill.plain { "closed" },
                    None => span.pill.open { "open" },
                }
            }
            p.lead {
                @match &case.closed {
                    Some(end) => {
                        strong { (sentence(&words(&end.verdict))) }
                        span.quiet { " · " (per_cent(end.confidence)) " confidence" }
                    },
                    None => (waits(&line)) ,
                }
            }
            @if let Some(end) = &case.closed { p { (sentence(&shown(&end.summary, LONGEST))) "." } }
            ul.facts {
                li { "Opened " (moment(case.opened, self.now)) }
                @if let Some(closed) = self.closed_at() {
                    li { "Closed " (moment(closed, self.now)) }
                    li { "Took " (duration(closed - case.opened)) }
                } @else if let Some(since) = self.waits_since(&line) {
                    li { "Waits since " (moment(since, self.now)) }
                }
                li { "Policy " (shown(&case.policy, 60)) }
                li { (count(case.experiments.len(), "experiment")) }
                @if let Some(address) = self.tensorboard() {
                    li { a href=(address) rel="noreferrer" { "Open in TensorBoard" } }
                }
            }
            @if let Some(need) = &line.needs { (need_of(need, &line, frame, self.now)) }
        }
    }

    fn closed_at(&self) -> Option<f64> {
        self.journal.iter().rev().find(|entry| entry.kind == "closed").map(|entry| entry.time)
    }

    fn waits_since(&self, line: &CaseLine) -> Option<f64> {
        // A status report about a job during the wait does not change what the case waits for.
        let last = || self.journal.iter().rev().find(|entry| entry.kind != "fate").map(|entry| entry.time);
        line.since.or_else(last)
    }

    /// TensorBoard with the runs of the case alone.
    fn tensorboard(&self) -> Option<String> {
        let base = self.links.tensorboard.as_deref()?;
        let jobs = self.case.experiments.iter().map(|e| e.job.as_deref().unwrap_or(&e.run_name));
        let runs = std::iter::once(self.case.baseline.as_str()).chain(jobs).map(regex::escape);
        let filter = format!("^({})(/|$)", runs.collect::<Vec<_>>().join("|"));
        let mut encoded = String::new();
        for byte in filter.bytes() {
            match byte {
                b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => encoded.push(char::from(b)),
                b => encoded.push_str(&format!("%{b:02X}")),
            }
        }
        Some(format!("{}/#scalars&regexInput={encoded}", base.trim_end_matches('/')))
    }

    fn findings(&self) -> Markup {
        html! {
            section aria-labelledby="findings" {
                h2 id="findings" { "What is wrong" }
                @if self.case.findings.is_empty() { p.quiet { "No finding was kept." } }
                ul.list {
                    @for finding in &self.case.findings {
                        li {
                            strong { (sentence(&words(&finding.symptom))) } ": " (shown(&finding.summary, LONGEST))
                            span.quiet {
                                " · " code { (shown(&finding.tag, 120)) } ", steps "
                                (crate::picture::number(finding.first_step as f64, 12)) " to "
                                (crate::picture::number(finding.last_step as f64, 12))
                            }
                        }
                    }
                }
                @if let Some(belief) = &self.case.belief { (belief::failing(belief)) }
            }
        }
    }

    fn commands(&self) -> Markup {
        let end = self.deliveries.iter().rev().find_map(|delivery| match &delivery.message.body {
            Body::CaseClosed(end) => end.recommended.as_ref(),
            _ => None,
        });
        let changed = self.case.closed.as_ref().map(|end| &end.recommended).filter(|changes| !changes.is_empty());
        let old = self.baseline_command();
        html! {
            @if changed.is_some() || old.is_some() {
                section aria-labelledby="command" {
                    h2 id="command" { @if changed.is_some() { "What to run instead" } @else { "Command" } }
                    @if let Some(changed) = changed { (changes::settings(changed, self.settings())) }
                    @match (end.and_then(|end| end.command.as_deref()), old.as_deref()) {
                        (Some(new), old) => (changes::command(old, new)),
                        (None, Some(old)) => {
                            p.note { "The baseline was started with:" }
                            (changes::command(None, old))
                        },
                        (None, None) => {},
                    }
                }
            }
        }
    }

    fn cost(&self) -> Markup {
        let mut used = Used::default();
        self.case.experiments.iter().for_each(|experiment| used.add(experiment, self.case.pace, self.made));
        html! {
            section aria-labelledby="cost" {
                h2 id="cost" { "Cost so far" }
                p {
                    (count(used.experiments as usize, "experiment")) " ran or may yet, " (hours(used.hours)) " h"
                    @if let Some(pace) = self.case.pace {
                        ", " (hours(used.gpu_hours)) " GPU h (" (count(pace.gpus.round() as usize, "GPU")) " each)"
                    }
                    "."
                }
            }
        }
    }

    fn messages(&self) -> Markup {
        html! {
            @if !self.deliveries.is_empty() {
                section aria-labelledby="messages" {
                    h2 id="messages" { "Who was told" }
                    div.scroll tabindex="0" role="region" aria-label="Messages" {
                        table {
                            thead { tr { th scope="col" { "When" } th scope="col" { "Message" } th scope="col" { "To" } th scope="col" { "Outcome" } } }
                            tbody {
                                @for delivery in self.deliveries {
                                    tr {
                                        td.when { (moment(delivery.message.time, None)) }
                                        td { (sentence(&kind(delivery))) }
                                        td { (shown(&delivery.destination, 80)) }
                                        td {
                                            (delivery.state.as_str())
                                            @if let Some(answer) = &delivery.answer { span.quiet { " · " (shown(&answer.to_string(), 200)) } }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn kind(delivery: &Delivery) -> String {
    words(&delivery.message.kind().event_type().trim_start_matches("nextrun.").replace('.', " "))
}

/// What a case is waiting for, in words.
pub(super) fn waits(line: &CaseLine) -> Markup {
    let text = match line.waiting.as_str() {
        "experiment" => "Waits for an experiment",
        "answer" => "Waits for an answer",
        "approval" => "Waits for approval of an experiment",
        "room" => "Waits for room: as many experiments as may run at once are under way",
        "budget" => "Waits for its budget",
        "paused" => "Paused",
        _ => "Waits for nothing",
    };
    html! {
        (text)
        @if let Some(hypothesis) = line.hypothesis.as_ref().filter(|_| ["experiment", "room", "budget", "approval"].contains(&line.waiting.as_str())) {
            ", which tests whether " (shown(hypothesis, 300))
        }
    }
}

/// What a person should do, with the means to do it.
pub(super) fn need_of(need: &Need, line: &CaseLine, frame: Frame, now: Option<f64>) -> Markup {
    html! {
        div.need {
            p { strong { (need.kind.word()) ": " } (shown(&need.text, 1000)) }
            @if !need.checklist.is_empty() {
                ul { @for item in &need.checklist { li { (shown(item, 400)) } } }
            }
            @if let Some(command) = &need.would_run { (changes::command(None, command)) }
            @if let Some(until) = need.until { p.quiet { "Goes on without an answer: " (moment(until, now)) } }
            @if matches!(need.kind, NeedKind::Question | NeedKind::Approval) && frame.may_act() && !need.answers.is_empty() {
                form.answers method="post" action=(format!("/cases/{}/answer", line.case_id)) {
                    @if let Some((ask, fingerprint)) = &need.asked {
                        input type="hidden" name="ask" value=(ask);
                        input type="hidden" name="fingerprint" value=(fingerprint);
                    }
                    @for answer in &need.answers {
                        button type="submit" name="answer" value=(answer) { (sentence(&words(&shown(answer, 60)))) }
                    }
                }
            } @else if let Some(command) = &need.command {
                p { code { (shown(command, 300)) } }
                @if need.answers.len() > 1 { p.quiet { "Answers: " (need.answers.iter().map(|answer| shown(answer, 60)).collect::<Vec<_>>().join(", ")) } }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::case::{Message, Recommended, RunSuggested};
    use crate::policy::{Position, Proposal};
    use crate::series::{Level, Outline};
    use crate::store::{Answer, DeliveryState};

    /// A case that closed after one experiment.
    pub(in crate::page) fn case() -> Case {
        let kept = include_str!("../../tests/fixtures/cases/v1-first-closed.json");
        let mut case = Case::read(serde_json::from_str(kept).unwrap()).unwrap();
        if case.experiments.is_empty() {
            let experiment = crate::case::Experiment::new(
                "s1".into(),
                proposal("lower_rate", 0.01),
                "exp/1".into(),
                case.opened + 60.0,
            );
            case.experiments.push(experiment);
        }
        case
    }

    pub(in crate::page) fn without_experiments() -> Case {
        let mut case = case();
        case.experiments.clear();
        case
    }

    pub(in crate::page) fn proposal(test: &str, rate: f64) -> Proposal {
        Proposal {
            at: Position { state: test.into(), attempt: 1 },
            step: String::new(),
            changes: [("learning_rate".to_owned(), json!(rate))].into_iter().collect(),
            why: "the loss is NaN".into(),
            hypothesis: "the learning rate is too high".into(),
            expect: "the loss falls".into(),
            beliefs: [(test.to_owned(), 0.6), ("bad_initialization".to_owned(), 0.2)].into_iter().collect(),
        }
    }

    pub(in crate::page) fn curve(suggestion: Option<&str>, signal: &str) -> Curve {
        let level = |step: i32| Level { step: step.into(), mean: 2.0, low: 1.9, high: 2.1 };
        let outline = Outline { levels: (0..40).map(level).collect(), broken: vec![40.0] };
        Curve {
            suggestion: suggestion.map(str::to_owned),
            signal: signal.into(),
            tag: format!("train/{signal}"),
            outline,
        }
    }

    fn message(case: &Case, id: &str, body: Body, reference: Option<&str>) -> Delivery {
        let message =
            Message { id: id.into(), case: case.id.clone(), subject: case.baseline.clone(), time: case.opened, body };
        let answer = Some(Answer::Accepted { reference: reference.map(str::to_owned) });
        Delivery {
            id: 1,
            message,
            destination: "slurm".into(),
            state: DeliveryState::Delivered,
            attempts: 1,
            due: 0.0,
            answer,
        }
    }

    /// A case of strangers who would like to be more than data.
    fn hostile() -> (Case, Vec<JournalEntry>, Vec<Delivery>) {
        let evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u{202e}\u{1b}[31m";
        let mut case = case();
        case.baseline = evil.into();
        case.findings[0].tag = evil.into();
        case.findings[0].summary = evil.into();
        case.experiments[0].job = Some(evil.into());
        case.experiments[0].machines = vec!["slurm".into()];
        case.experiments[0].proposal =
            Proposal { hypothesis: evil.into(), expect: evil.into(), why: evil.into(), ..proposal(evil, 0.1) };
        case.experiments[0].proposal.changes.insert(evil.into(), json!(evil));
        let suggestion = case.experiments[0].suggestion.clone();
        let detail = json!({ "suggestion_id": suggestion, "seen": evil, evil: { evil: evil } });
        let journal = vec![JournalEntry { time: case.opened, kind: "observed".into(), detail }];
        let command = Some(format!("python train.py --name='{evil}' --api-key=sk-123456789012"));
        let run =
            RunSuggested { suggestion_id: suggestion.clone(), command: command.clone(), ..RunSuggested::default() };
        let end = crate::case::CaseClosed {
            recommended: Some(Recommended { command, ..Recommended::default() }),
            ..Default::default()
        };
        let deliveries = vec![
            message(&case, &suggestion, Body::RunSuggested(Box::new(run)), Some(evil)),
            message(&case, "end", Body::CaseClosed(Box::new(end)), None),
        ];
        (case, journal, deliveries)
    }

    fn page(frame: Frame) -> String {
        let (case, journal, deliveries) = hostile();
        let curves = [curve(None, "loss"), curve(Some(&case.experiments[0].suggestion), "loss")];
        let links = Links { tensorboard: Some("https://tb.example/".into()) };
        let made = case.opened + 3600.0;
        CaseView {
            case: &case,
            journal: &journal,
            deliveries: &deliveries,
            asks: &[],
            curves: &curves,
            now: None,
            made,
            links: &links,
        }
        .html(frame)
    }

    #[test]
    fn what_strangers_named_is_data() {
        for frame in [Frame::File, Frame::Served { may_act: true }] {
            let page = page(frame);
            assert!(!page.contains("<script>") && !page.contains("<img"), "{page}");
            assert!(!page.contains('\u{202e}') && !page.contains('\u{1b}'), "no direction or control");
            assert!(!page.contains("sk-1234"), "a secret");
        }
    }

    #[test]
    fn a_file_stands_alone() {
        let page = page(Frame::File);
        assert!(!page.contains("<script") && !page.contains("<link"), "it loads nothing");
        assert!(
            page.contains("prefers-color-scheme: dark") && page.contains("default-src &#39;none&#39;")
                || page.contains("default-src 'none'")
        );
        assert!(!page.contains("src=\"") && !page.contains("<form"), "it loads and sends nothing");
    }

    #[test]
    fn it_says_what_was_expected_beside_what_was_seen() {
        let case = case();
        let suggestion = case.experiments[0].suggestion.clone();
        let detail = json!({ "suggestion_id": suggestion, "seen": "loss 2.3 → 0.1 in 300 steps" });
        let journal = [JournalEntry { time: case.opened, kind: "observed".into(), detail }];
        let view = CaseView {
            case: &case,
            journal: &journal,
            deliveries: &[],
            asks: &[],
            curves: &[],
            now: Some(case.opened + 60.0),
            made: case.opened,
            links: &Links::default(),
        };
        let page = view.html(Frame::Served { may_act: false });
        let (expected, seen) = (page.find("Expected, if so").unwrap(), page.find("Loss 2.3 → 0.1").unwrap());
        assert!(expected < seen);
    }

    #[test]
    fn tensorboard_shows_the_runs_of_the_case() {
        let (case, links) = (case(), Links { tensorboard: Some("https://tb.example/x/".into()) });
        let view = CaseView {
            case: &case,
            journal: &[],
            deliveries: &[],
            asks: &[],
            curves: &[],
            now: None,
            made: 0.0,
            links: &links,
        };
        let address = view.tensorboard().unwrap();
        assert!(address.starts_with("https://tb.example/x/#scalars&regexInput=%5E%28team%2Fbad%7C"), "{address}");
    }
}
