//! A message as people are shown it: every field there, in words.
//!
//! Owns: which fields of a message's data are read, and what stands for one that is absent. Must not know: markup, which
//! destination shows it. Data of another form than expected is shown as far as it goes; nothing here fails.

use serde::Serialize;
use serde_json::{Map, Value};

use super::sparkline::{is_logarithmic, sparkline};
use super::words::{number, one_line, settings, shell_word, words};
use crate::case::Message;

/// What templates see as `view`. Texts are empty, and lists too, where the message does not have them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct View {
    /// The baseline job.
    run: String,
    case: String,
    policy: String,
    /// Which step of the sequence, such as `1 overfit one point`.
    step: String,
    /// 1 for the first experiment of a step.
    attempt: u64,
    why: String,
    hypothesis: String,
    expect: String,
    summary: String,
    /// What is wrong with its numbers.
    troubles: Vec<Trouble>,
    /// The loss as a line of text, with where it started and stands.
    curve: String,
    /// The changes to the baseline's knobs.
    settings: String,
    /// The exact command, with its environment.
    command: String,
    /// Where the new run has to log.
    run_name: String,
    checklist: Vec<String>,
    answers: Vec<String>,
    /// How an answer is given.
    reply: String,
    /// The verdict in words, and its id.
    verdict: String,
    verdict_id: String,
    /// In percent, without the sign.
    confidence: String,
    experiments: Vec<Experiment>,
    recommended_settings: String,
    recommended_command: String,
    not_tried: Vec<String>,
    /// What a digest says in one line, and what it lists.
    title: String,
    items: Vec<Item>,
    /// Address of a page about the case.
    link: String,
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

/// An experiment that was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Experiment {
    step: String,
    settings: String,
    outcome: String,
}

impl View {
    /// The view of a message.
    pub(super) fn of(message: &Message) -> View {
        let none = Map::new();
        let data = Data(message.data.as_object().unwrap_or(&none));
        let recommended = data.inner("recommended");
        let step = Some(data.text("step")).filter(|step| !step.is_empty());
        let run = Some(data.line("baseline_run")).filter(|run| !run.is_empty());
        View {
            run: run.unwrap_or_else(|| one_line(&message.subject)),
            case: one_line(&message.case.0),
            policy: data.line("policy"),
            step: one_line(&step.unwrap_or_else(|| words(&data.text("state")))),
            attempt: data.0.get("attempt").and_then(Value::as_u64).unwrap_or(1),
            why: data.text("why"),
            hypothesis: data.text("hypothesis"),
            expect: data.text("expect"),
            summary: data.text("summary"),
            troubles: troubles(&data),
            curve: curve(data.list("loss_curve")),
            settings: settings(data.inner("overrides").0),
            command: command(&data),
            run_name: data.line("run_name"),
            checklist: data.list("checklist").iter().map(item).collect(),
            answers: data.list("answers").iter().map(item).map(|answer| one_line(&answer)).collect(),
            reply: data.text("reply"),
            verdict: words(&data.line("verdict")),
            verdict_id: data.line("verdict"),
            confidence: data.number("confidence").map(|share| format!("{:.0}", share * 100.0)).unwrap_or_default(),
            experiments: data.list("experiments").iter().filter_map(Value::as_object).map(Experiment::of).collect(),
            recommended_settings: settings(recommended.inner("overrides").0),
            recommended_command: command(&recommended),
            not_tried: data.list("not_tried").iter().map(item).collect(),
            title: title(&data),
            items: data.list("items").iter().filter_map(Value::as_object).map(Item::of).collect(),
            link: data.line("link"),
        }
    }
}

impl Trouble {
    fn of(finding: &Value) -> Trouble {
        let none = Map::new();
        let finding = Data(finding.as_object().unwrap_or(&none));
        let id = Some(finding.line("symptom")).filter(|id| !id.is_empty()).unwrap_or_else(|| finding.line("id"));
        let step = |key| finding.number(key).map(number);
        let steps = match (step("first_step"), step("last_step").or_else(|| step("first_detected_step"))) {
            (Some(first), Some(last)) if first != last => format!("steps {first} to {last}"),
            (Some(step), _) | (None, Some(step)) => format!("step {step}"),
            (None, None) => String::new(),
        };
        let place = [finding.line("tag"), steps].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        Trouble { what: words(&id), said: finding.text("summary"), place: place.join(", ") }
    }
}

impl Item {
    fn of(item: &Map<String, Value>) -> Item {
        let item = Data(item);
        let said = item.list("messages").iter().filter_map(Value::as_object).map(|said| in_short(&Data(said)));
        Item { run: item.line("run"), case: item.line("case"), said: said.collect::<Vec<_>>().join("; ") }
    }
}

/// What a digest is about, in one line.
fn title(data: &Data<'_>) -> String {
    let items = data.list("items");
    let mut said = items.iter().filter_map(|item| item.get("messages")?.as_array()).flatten();
    let (cases, messages) = (items.len(), data.number("messages").map(number).unwrap_or_default());
    if said.all(|said| said.get("kind").is_some_and(|kind| kind == "case_opened")) {
        format!("{cases} jobs do not look right")
    } else {
        format!("{cases} cases, {messages} messages that waited")
    }
}

/// A message of a digest in a few words.
fn in_short(said: &Data<'_>) -> String {
    let step = one_line(&said.text("step"));
    match said.text("kind").as_str() {
        "case_opened" => {
            let symptoms = said.list("symptoms").iter().filter_map(Value::as_str).map(|id| words(&one_line(id)));
            symptoms.collect::<Vec<_>>().join(", ")
        }
        "run_suggested" => match settings(said.inner("overrides").0) {
            none if none.is_empty() => format!("next run: {step}"),
            settings => format!("next run: {step} ({settings})"),
        },
        "stop_suggested" => "stop it, it burns time for nothing".to_owned(),
        "question_asked" => format!("a question: {step}"),
        "case_closed" => format!("closed: {}", words(&said.line("verdict"))),
        other => words(&one_line(other)),
    }
}

impl Experiment {
    fn of(experiment: &Map<String, Value>) -> Experiment {
        let experiment = Data(experiment);
        let step = Some(experiment.line("step")).filter(|step| !step.is_empty());
        Experiment {
            step: step.unwrap_or_else(|| words(&experiment.line("state"))),
            settings: settings(experiment.inner("overrides").0),
            outcome: words(&experiment.line("outcome")),
        }
    }
}

/// The evidence, or the symptoms where there is none: each an object, or an id alone.
fn troubles(data: &Data<'_>) -> Vec<Trouble> {
    let evidence = data.list("evidence");
    let findings = if evidence.is_empty() { data.list("symptoms") } else { evidence };
    let trouble = |finding: &Value| match finding {
        Value::String(id) => Trouble { what: words(&one_line(id)), said: String::new(), place: String::new() },
        other => Trouble::of(other),
    };
    findings.iter().map(trouble).filter(|trouble| !trouble.what.is_empty() || !trouble.said.is_empty()).collect()
}

fn curve(values: &[Value]) -> String {
    let values: Vec<Option<f64>> = values.iter().map(Value::as_f64).collect();
    let finite: Vec<f64> = values.iter().flatten().copied().collect();
    let (Some(first), Some(last)) = (finite.first(), finite.last()) else { return String::new() };
    let (low, high) = finite.iter().fold((*first, *first), |(low, high), x| (low.min(*x), high.max(*x)));
    let scale = if is_logarithmic(low, high) { ", log scale" } else { "" };
    let broken = if finite.len() < values.len() { ", × = NaN or infinity" } else { "" };
    format!("{}  {} → {}{scale}{broken}", sparkline(&values), number(*first), number(*last))
}

/// The command with its environment before it, or, where the site has told no command, the arguments alone.
fn command(data: &Data<'_>) -> String {
    let command = data.text("command");
    let arguments = data.list("arguments").iter().map(item).map(|argument| shell_word(&argument));
    if command.is_empty() {
        return arguments.collect::<Vec<_>>().join(" ");
    }
    let variable = |(name, value): (&String, &Value)| format!("{name}={} ", shell_word(&item(value)));
    let environment: String = data.inner("env").0.iter().map(variable).collect();
    format!("{environment}{command}")
}

/// An element of a list as text: an object by the fields that it is likely to have.
fn item(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => {
            let data = Data(map);
            let name =
                ["step", "state", "name", "question"].map(|key| data.text(key)).into_iter().find(|t| !t.is_empty());
            let why = ["why", "reason", "text"].map(|key| data.text(key)).into_iter().find(|t| !t.is_empty());
            match (name, why) {
                (Some(name), Some(why)) => format!("{}: {why}", words(&name)),
                (Some(only), None) => words(&only),
                (None, Some(only)) => only,
                (None, None) => value.to_string(),
            }
        }
        other => other.to_string(),
    }
}

/// A JSON object whose fields may be absent or null.
struct Data<'a>(&'a Map<String, Value>);

static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

impl<'a> Data<'a> {
    fn text(&self, key: &str) -> String {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned()
    }

    fn line(&self, key: &str) -> String {
        one_line(&self.text(key))
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.0.get(key).and_then(Value::as_f64)
    }

    fn list(&self, key: &str) -> &'a [Value] {
        self.0.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn inner(&self, key: &str) -> Data<'a> {
        Data(self.0.get(key).and_then(Value::as_object).unwrap_or(&NONE))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::case::{CaseId, MessageKind};

    fn view(data: Value) -> View {
        let case = CaseId("c1".into());
        View::of(&Message {
            id: "m".into(),
            case,
            kind: MessageKind::RunSuggested,
            subject: "a/b".into(),
            time: 0.0,
            data,
        })
    }

    #[test]
    fn data_of_any_form_gives_a_view() {
        for data in
            [json!(null), json!([]), json!({}), json!({"evidence": 3, "loss_curve": {}, "recommended": [], "step": 1})]
        {
            let view = view(data);
            assert_eq!((view.run.as_str(), view.troubles.len(), view.curve.as_str()), ("a/b", 0, ""));
        }
    }

    #[test]
    fn a_curve_says_where_it_started_and_stands() {
        assert_eq!(view(json!({"loss_curve": [2.3, 2.8, 2.4012]})).curve, "▁█▂  2.3 → 2.401");
        assert_eq!(
            view(json!({"loss_curve": [1.0, 1000.0, null]})).curve,
            "▁█×  1 → 1,000, log scale, × = NaN or infinity"
        );
    }

    #[test]
    fn a_command_is_what_a_shell_can_run() {
        let data =
            json!({"command": "python train.py --lr 0.1", "env": {"NEXTRUN_SUGGESTION_ID": "s 1"}, "arguments": ["x"]});
        assert_eq!(view(data).command, "NEXTRUN_SUGGESTION_ID='s 1' python train.py --lr 0.1");
        assert_eq!(view(json!({"arguments": ["--lr=0.1", "--name", "a b"]})).command, "--lr=0.1 --name 'a b'");
    }

    #[test]
    fn symptoms_stand_in_for_evidence() {
        let with = view(json!({"symptoms": ["x"], "evidence": [
            {"symptom": "not_learning", "tag": "train/loss", "first_step": 0, "last_step": 4000, "summary": "no better"}]}));
        assert_eq!(
            (with.troubles[0].what.as_str(), with.troubles[0].place.as_str()),
            ("not learning", "train/loss, steps 0 to 4,000")
        );
        let without = view(json!({"symptoms": ["non_finite", {"id": "silent", "first_detected_step": 7}]}));
        assert_eq!(without.troubles[0].what, "NaN or infinity");
        assert_eq!((without.troubles[1].what.as_str(), without.troubles[1].place.as_str()), ("silent", "step 7"));
    }
}
