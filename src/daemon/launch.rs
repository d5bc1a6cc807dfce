//! How a suggested run is started, added to its message: what only the site's configuration knows.

use serde_json::{Value, json};

use crate::case::{Message, MessageKind};
use crate::config::{Placement, Settings};
use crate::facts::Knobs;

/// Adds arguments, environment and command to a suggested run, and the command to a recommendation.
pub(super) fn dress(message: &mut Message, settings: &Settings) {
    match message.kind {
        MessageKind::RunSuggested => dress_run(message, settings),
        MessageKind::CaseClosed => dress_recommendation(message, settings),
        MessageKind::CaseOpened | MessageKind::StopSuggested | MessageKind::QuestionAsked | MessageKind::Digest => {}
    }
}

fn dress_run(message: &mut Message, settings: &Settings) {
    let text = |key: &str| message.data.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (suggestion_id, run_name) = (text("suggestion_id"), text("run_name"));
    let Some(overrides) = knobs(message.data.get("overrides")) else { return };
    let placement = Placement { suggestion_id: &suggestion_id, run_name: &run_name, baseline: &message.subject };
    let rendered = settings.launch_of(&message.subject).render(&overrides, &placement);
    message.data["arguments"] = json!(rendered.arguments);
    message.data["command"] = json!(rendered.command);
    message.data["env"] = json!(rendered.env);
}

fn dress_recommendation(message: &mut Message, settings: &Settings) {
    let Some(overrides) = knobs(message.data.pointer("/recommended/overrides")) else { return };
    let run_name = if message.subject == "." { "cured".to_owned() } else { format!("{}-cured", message.subject) };
    let placement = Placement { suggestion_id: "", run_name: &run_name, baseline: &message.subject };
    let rendered = settings.launch_of(&message.subject).render(&overrides, &placement);
    message.data["recommended"]["arguments"] = json!(rendered.arguments);
    message.data["recommended"]["command"] = json!(rendered.command);
}

fn knobs(value: Option<&Value>) -> Option<Knobs> {
    Some(value?.as_object()?.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}
