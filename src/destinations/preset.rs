//! Presets: a kind of destination as data.
//!
//! Owns: the YAML file and its checks. Must not know: HTTP, secrets, a site's own settings. How templates are written
//! stands in [`super::template`]; what they see, at [`scope`]; the filters that they may use besides minijinja's own are
//! `words`, `sentence` and `one_line`, and for Slack `slack` (prose), `slack_name` (inline code), `slack_code` (a code
//! block) and `slack_plain` (where no markup is read).

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value as Jinja};
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Answers, Rule};
use super::rehearsal::PresetTest;
use super::template::{Node, Scope, TemplateError};
use super::view::View;
use super::{block_kit, words};
use crate::case::{Message, MessageKind};

/// The presets that come with nextrun: name and YAML.
const SHIPPED: [(&str, &str); 4] = [
    ("queue", include_str!("presets/queue.yaml")),
    ("slack", include_str!("presets/slack.yaml")),
    ("terminal", include_str!("presets/terminal.yaml")),
    ("webhook", include_str!("presets/webhook.yaml")),
];

/// Why a preset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// The file is not as it should be.
    #[error("the preset {preset} cannot be read: {reason}")]
    Yaml {
        /// Its name or file.
        preset: String,
        /// Line, column and reason.
        reason: String,
    },
    /// A template in it is wrong.
    #[error("the preset {preset} has a template that does not parse: {source}")]
    Template {
        /// Its name or file.
        preset: String,
        /// Where and why.
        #[source]
        source: TemplateError,
    },
    /// There is none of this name.
    #[error("there is no preset {name}: use one of {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
}

/// A setting of a destination.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What it holds.
    pub kind: FieldKind,
    /// Whether it must be set.
    pub need: Need,
    /// What it is, and where to get it.
    pub help: String,
}

/// What a setting holds; templates of addresses and headers see all of them, those of bodies only text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// An `http` or `https` address; its path may be secret.
    Url,
    /// A token or signing secret.
    Secret,
    /// Anything else.
    Text,
}

/// Whether a setting must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Without it there is no destination.
    Required,
    /// It may be left out.
    Optional,
}

/// What a destination does with an event id that it has seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameId {
    /// It takes it for the same message: sending again is safe.
    Recognised,
    /// It shows the message twice.
    Repeated,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Limits {
    #[default]
    None,
    Slack,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PresetFile {
    name: String,
    summary: String,
    #[serde(default)]
    fields: BTreeMap<String, Field>,
    wants: Vec<MessageKind>,
    same_id: SameId,
    send: SendFile,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    answers: Vec<Rule>,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    tests: Vec<PresetTest>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SendFile {
    Http(HttpFile),
    Terminal(TerminalFile),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpFile {
    url: String,
    #[serde(default)]
    headers: Value,
    #[serde(default)]
    signed_with: Option<String>,
    body: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TerminalFile {
    text: String,
}

/// A kind of destination.
#[derive(Debug)]
pub struct Preset {
    /// What a configuration calls it.
    pub name: String,
    /// What it is, in one line.
    pub summary: String,
    /// Its settings.
    pub fields: BTreeMap<String, Field>,
    /// The kinds of message that it gets where the configuration does not say.
    pub wants: Vec<MessageKind>,
    /// What it does with an id that it has seen.
    pub same_id: SameId,
    pub(super) send: Send,
    pub(super) answers: Answers,
    pub(super) tests: Vec<PresetTest>,
    limits: Limits,
    environment: Environment<'static>,
}

/// How a preset sends.
#[derive(Debug)]
pub(super) enum Send {
    Http {
        url: Node,
        headers: Node,
        /// The field that holds a signing secret.
        signed_with: Option<String>,
        body: Node,
    },
    Terminal {
        text: Node,
    },
}

impl Preset {
    /// Reads a preset; `origin` is its name or file, for messages.
    ///
    /// # Errors
    /// With line and column: not YAML, unknown or missing keys; with its place: a template that does not parse.
    pub fn parse(origin: &str, yaml: &str) -> Result<Preset, PresetError> {
        let unreadable = |reason: String| PresetError::Yaml { preset: origin.to_owned(), reason };
        let file: PresetFile = serde_saphyr::from_str(yaml).map_err(|error| unreadable(error.to_string()))?;
        let environment = environment();
        let node = |value: &Value, place| {
            Node::parse(value, place, &environment)
                .map_err(|source| PresetError::Template { preset: origin.to_owned(), source })
        };
        let send = match &file.send {
            SendFile::Http(http) => {
                if let Some(field) = http.signed_with.as_ref().filter(|field| !file.fields.contains_key(*field)) {
                    return Err(unreadable(format!("`signed_with: {field}` names no field")));
                }
                Send::Http {
                    url: node(&Value::String(http.url.clone()), "url")?,
                    headers: node(&http.headers, "headers")?,
                    signed_with: http.signed_with.clone(),
                    body: node(&http.body, "body")?,
                }
            }
            SendFile::Terminal(terminal) => {
                Send::Terminal { text: node(&Value::String(terminal.text.clone()), "text")? }
            }
        };
        Ok(Preset {
            name: file.name,
            summary: file.summary,
            fields: file.fields,
            wants: file.wants,
            same_id: file.same_id,
            send,
            answers: Answers { rules: file.answers, reference: file.reference },
            tests: file.tests,
            limits: file.limits,
            environment,
        })
    }

    /// A preset that comes with nextrun.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn shipped(name: &str) -> Result<Preset, PresetError> {
        match SHIPPED.iter().find(|(known, _)| *known == name) {
            Some((name, yaml)) => Preset::parse(name, yaml),
            None => {
                Err(PresetError::Unknown { name: name.to_owned(), known: SHIPPED.map(|(known, _)| known).join(", ") })
            }
        }
    }

    /// The names of the presets that come with nextrun.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// A template of this preset, rendered and within the limits of its destination; null where it comes to nothing.
    pub(super) fn render(&self, node: &Node, scope: &Scope, place: &str) -> Result<Value, TemplateError> {
        let rendered = node.render(&self.environment, scope, place)?.unwrap_or_default();
        Ok(match self.limits {
            Limits::None => rendered,
            Limits::Slack => block_kit::fit(rendered),
        })
    }
}

/// What templates of a message's body see: `message` with the attributes of the CloudEvent and its data as it is, and
/// `view`, the same for people. `time` is in RFC 3339.
pub(super) fn scope(message: &Message, source: &str, time: &str) -> Scope {
    let event = serde_json::json!({
        "id": message.id,
        "case": message.case.0,
        "kind": message.kind,
        "type": message.kind.event_type(),
        "source": source,
        "subject": message.subject,
        "time": time,
        "data": message.data,
    });
    let view = Jinja::from(Serde(View::of(message)));
    Scope::from([("message".to_owned(), Jinja::from(Serde(event))), ("view".to_owned(), view)])
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        environment.set_syntax(syntax);
    }
    environment.add_filter("words", |id: String| words::words(&id));
    environment.add_filter("sentence", |text: String| words::sentence(&text));
    environment.add_filter("one_line", |text: String| words::one_line(&text));
    environment.add_filter("slack", |text: String| block_kit::escape(&text));
    environment.add_filter("slack_name", |text: String| block_kit::code(&text));
    environment.add_filter("slack_code", |text: String| block_kit::fence(&text));
    environment.add_filter("slack_plain", |text: String| block_kit::plain(&text));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_preset_is_read_and_has_tests() {
        for name in Preset::names() {
            let preset = Preset::shipped(name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(preset.name, name);
            assert!(!preset.tests.is_empty(), "{name} has no tests");
            assert!(preset.fields.values().all(|field| !field.help.is_empty()), "{name}");
        }
    }

    #[test]
    fn a_mistake_in_a_preset_is_told_with_its_place() {
        let told = |yaml: &str| Preset::parse("mine", yaml).unwrap_err().to_string();
        let good = "name: mine\nsummary: s\nwants: [case_closed]\nsame_id: repeated\n";
        for (yaml, words) in [
            (format!("{good}sned: 1\n"), vec!["mine", "sned", "line 5"]),
            (format!("{good}send: {{terminal: {{text: '{{{{ x'}}}}\n"), vec!["mine", "text", "syntax error"]),
            (format!("{good}send: {{http: {{url: u, body: b, signed_with: key}}}}\n"), vec!["signed_with: key"]),
            (
                format!("{good}send: {{terminal: {{text: t}}}}\nanswers: [{{status: 7xx, means: later}}]\n"),
                vec!["7xx", "class"],
            ),
        ] {
            let message = told(&yaml);
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
        let message = Preset::shipped("slak").unwrap_err().to_string();
        assert_eq!(message, "there is no preset slak: use one of queue, slack, terminal, webhook");
    }
}
