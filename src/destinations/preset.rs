//! Presets: kinds of destinations as data.
//!
//! Owns: the structure of presets and their checks. Must not know: HTTP, secrets, a site's settings.
//! [`super::template`] describes how templates are written, [`scope`] the values that they can use, and
//! [`super::filters`] the filters in addition to those of minijinja. `docs/DESTINATIONS.md` describes the keys of the
//! file.

mod file;
mod lookups;
mod test;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{Environment, Value as Jinja};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::answer::{Answers, Rule};
use super::codes::Codes;
use super::meaning::Meaning;
use super::template::{Node, Scope, TemplateError};
use super::view::View;
use super::{block_kit, filters, fitting};
use crate::case::{Message, MessageKind};
use crate::config::{FieldKind, Need, Patience};
pub(super) use file::PictureBy;
use file::{BodyLimit, HttpFile, MailFile, PresetFile, SendFile, Threads};
pub(super) use lookups::{Also, Ask, Cancel, List, Request, Status, Tail, Then};
pub(super) use test::{PresetTest, TestAnswer, TestAsk, TestCancel, TestFate, TestThen};

/// The built-in presets: name and YAML.
const SHIPPED: [(&str, &str); 15] = [
    ("alertmanager", include_str!("presets/alertmanager.yaml")),
    ("discord", include_str!("presets/discord.yaml")),
    ("email", include_str!("presets/email.yaml")),
    ("kubernetes", include_str!("presets/kubernetes.yaml")),
    ("queue", include_str!("presets/queue.yaml")),
    ("ray", include_str!("presets/ray.yaml")),
    ("runner", include_str!("presets/runner.yaml")),
    ("slack", include_str!("presets/slack.yaml")),
    ("slack_bot", include_str!("presets/slack_bot.yaml")),
    ("slurm", include_str!("presets/slurm.yaml")),
    ("teams", include_str!("presets/teams.yaml")),
    ("tensorboard", include_str!("presets/tensorboard.yaml")),
    ("terminal", include_str!("presets/terminal.yaml")),
    ("trainjob", include_str!("presets/trainjob.yaml")),
    ("webhook", include_str!("presets/webhook.yaml")),
];

/// Why a preset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// Its file cannot be read.
    #[error("could not read the preset {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is invalid.
    #[error("the preset {preset} is invalid: {reason}")]
    Yaml {
        /// Its name or file.
        preset: String,
        /// Line, column and reason.
        reason: String,
    },
    /// A template is invalid.
    #[error("the preset {preset} has a template that does not parse: {source}")]
    Template {
        /// Its name or file.
        preset: String,
        /// The position and the reason.
        #[source]
        source: TemplateError,
    },
    /// There is no preset of this name.
    #[error("there is no preset {name}: use one of {known}, or a file with its directory, as in ./mine.yaml")]
    Unknown {
        /// The requested name.
        name: String,
        /// The available presets.
        known: String,
    },
}

/// A setting of a destination.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The kind of value.
    pub kind: FieldKind,
    /// Whether it is required.
    pub need: Need,
    /// Its description, and where to get the value.
    pub help: String,
}

/// How a destination treats an event id that it has seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameId {
    /// As the same message: sending it again is safe.
    Recognised,
    /// As a new message, so it is shown twice.
    Repeated,
}

/// A kind of destination.
#[derive(Debug)]
pub struct Preset {
    /// Its name in a configuration.
    pub name: String,
    /// One-line description.
    pub summary: String,
    /// Its settings.
    pub fields: BTreeMap<String, Field>,
    /// The kinds of message that it receives by default.
    pub wants: Vec<MessageKind>,
    /// How it treats a repeated id.
    pub same_id: SameId,
    /// Whether its messages can be delayed.
    pub patience: Patience,
    pub(super) threads: bool,
    needs_command: bool,
    pub(super) send: Send,
    pub(super) answers: Answers,
    pub(super) ask: Option<Ask>,
    pub(super) then: Vec<Then>,
    pub(super) status: Option<Status>,
    pub(super) cancel: Option<Cancel>,
    pub(super) tests: Vec<PresetTest>,
    pub(super) picture: Option<PictureBy>,
    limits: BodyLimit,
    environment: Environment<'static>,
    /// Its YAML source.
    yaml: String,
}

/// How a preset sends.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each preset, behind a pointer")]
pub(super) enum Send {
    Http {
        url: Node,
        /// The receiver's local socket; `None`: the receiver is at the host of the address.
        socket: Option<Node>,
        /// The file with CA certificates for the receiver; `None`: the system's.
        certificates: Option<Node>,
        headers: Node,
        /// The field with a signing secret.
        signed_with: Option<String>,
        body: Node,
    },
    Mail {
        /// Server, security, user, password, from and to.
        settings: Node,
        /// Subject and text.
        body: Node,
    },
    Terminal {
        text: Node,
    },
    /// Event files for TensorBoard.
    Events {
        logdir: Node,
        text: Node,
    },
}

/// The context for reading a preset's templates.
struct Parser<'a> {
    origin: &'a str,
    environment: Environment<'static>,
    codes: Option<Arc<Codes>>,
}

impl Parser<'_> {
    fn unreadable(&self, reason: impl Into<String>) -> PresetError {
        PresetError::Yaml { preset: self.origin.to_owned(), reason: reason.into() }
    }

    fn template(&self, source: TemplateError) -> PresetError {
        PresetError::Template { preset: self.origin.to_owned(), source }
    }

    fn node(&self, value: &Value, place: &str) -> Result<Node, PresetError> {
        Node::parse(value, place, &self.environment).map_err(|source| self.template(source))
    }

    fn text(&self, text: &str, place: &str) -> Result<Node, PresetError> {
        self.node(&Value::String(text.to_owned()), place)
    }

    fn expression(&self, expression: String, place: &str) -> Result<String, PresetError> {
        super::template::check_expression(&self.environment, &expression, place)
            .map_err(|source| self.template(source))?;
        Ok(expression)
    }

    fn answers(&self, rules: Vec<Rule>, reference: Option<&String>, place: &str) -> Result<Answers, PresetError> {
        Answers::parse(rules, reference, self.codes.clone(), place).map_err(|source| self.template(source))
    }

    fn http(&self, http: HttpFile, fields: &BTreeMap<String, Field>) -> Result<Send, PresetError> {
        if let Some(field) = http.signed_with.as_ref().filter(|field| !fields.contains_key(*field)) {
            return Err(self.unreadable(format!("`signed_with: {field}` does not name a field")));
        }
        let body = match &http.like {
            Some(name) => match body_of(name)? {
                Value::Object(body) => extended(body, http.body),
                _ => return Err(self.unreadable(format!("`like: {name}` has no JSON body"))),
            },
            None => http.body,
        };
        Ok(Send::Http {
            url: self.text(&http.url, "url")?,
            socket: http.socket.as_ref().map(|socket| self.text(socket, "socket")).transpose()?,
            certificates: http.certificates.as_ref().map(|file| self.text(file, "certificates")).transpose()?,
            headers: self.node(&http.headers, "headers")?,
            signed_with: http.signed_with,
            body: self.node(&body, "body")?,
        })
    }

    fn mail(&self, mail: MailFile) -> Result<Send, PresetError> {
        let text = body_of(&mail.text_like)?;
        if !text.is_string() {
            return Err(self.unreadable(format!("`text_like: {}` produces no text", mail.text_like)));
        }
        let settings = serde_json::json!({
            "server": mail.server, "security": mail.security, "user": mail.user, "password": mail.password,
            "from": mail.from, "to": mail.to,
        });
        let body = serde_json::json!({ "subject": mail.subject, "text": text });
        Ok(Send::Mail { settings: self.node(&settings, "mail")?, body: self.node(&body, "mail")? })
    }
}

impl Preset {
    /// Reads a preset; `origin` is its name or file, for messages.
    ///
    /// # Errors
    /// Invalid YAML, or unknown or missing keys, with line and column; or a template that does not parse, with
    /// its position.
    pub fn parse(origin: &str, yaml: &str) -> Result<Preset, PresetError> {
        let mut parser = Parser { origin, environment: filters::environment(), codes: None };
        let file: PresetFile = serde_saphyr::from_str(yaml).map_err(|error| parser.unreadable(error.to_string()))?;
        let codes = file.codes.map(Codes::read).transpose().map_err(|reason| parser.unreadable(reason))?;
        parser.codes = codes.map(Arc::new);
        let answers = parser.answers(file.answers, file.reference.as_ref(), "answers")?;
        if answers.means(Meaning::Absent) {
            return Err(parser.unreadable("`means: absent` is only for the answers of `ask`"));
        }
        let ask = file.ask.map(|ask| parser.ask(ask, "ask")).transpose()?;
        let status = file.status.map(|status| parser.status(status, "status")).transpose()?;
        let cancel = file.cancel.map(|cancel| parser.cancel(cancel)).transpose()?;
        let then: Vec<Then> = file.then.into_iter().map(|then| parser.then(then)).collect::<Result<_, _>>()?;
        // Without a query, a message whose follow-up request failed would be sent a second time.
        if ask.is_none() && then.iter().any(|then| then.need == Need::Required) {
            return Err(parser.unreadable("a request under `then` with `need: required` needs an `ask`"));
        }
        let send = match file.send {
            SendFile::Http(http) => parser.http(http, &file.fields)?,
            SendFile::Mail(mail) => parser.mail(mail)?,
            SendFile::Terminal(terminal) => Send::Terminal { text: parser.text(&terminal.text, "text")? },
            SendFile::Events(events) => Send::Events {
                logdir: parser.text(&events.logdir, "logdir")?,
                text: parser.text(&events.text, "text")?,
            },
        };
        Ok(Preset {
            name: file.name,
            summary: file.summary,
            fields: file.fields,
            wants: file.wants,
            same_id: file.same_id,
            patience: file.patience,
            threads: file.threads == Threads::ByCase,
            needs_command: file.needs_command,
            send,
            answers,
            ask,
            then,
            status,
            cancel,
            tests: file.tests,
            picture: file.picture,
            limits: file.limits,
            environment: parser.environment,
            yaml: yaml.to_owned(),
        })
    }

    /// A built-in preset.
    ///
    /// # Errors
    /// There is no preset of this name.
    pub fn shipped(name: &str) -> Result<Preset, PresetError> {
        Preset::parse(name, Preset::yaml(name)?)
    }

    /// The YAML of a built-in preset, as a starting point for a custom one.
    ///
    /// # Errors
    /// There is no preset of this name.
    pub fn yaml(name: &str) -> Result<&'static str, PresetError> {
        let known = || SHIPPED.map(|(known, _)| known).join(", ");
        let found = SHIPPED.iter().find(|(known, _)| *known == name);
        found.map(|(_, yaml)| *yaml).ok_or_else(|| PresetError::Unknown { name: name.to_owned(), known: known() })
    }

    /// A preset file of the site.
    ///
    /// # Errors
    /// The file cannot be read, or is invalid.
    pub fn from_file(path: &Path) -> Result<Preset, PresetError> {
        let yaml = std::fs::read_to_string(path);
        let yaml = yaml.map_err(|source| PresetError::File { path: path.to_owned(), source })?;
        Preset::parse(&path.display().to_string(), &yaml)
    }

    /// The names of the built-in presets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// Whether it can be queried for a message that may have arrived.
    pub fn can_be_asked(&self) -> bool {
        self.ask.is_some()
    }

    /// Whether it starts runs by their command, which must then be known.
    pub fn needs_command(&self) -> bool {
        self.needs_command
    }

    /// Whether its content is equal; a file that changed is a different preset.
    pub(super) fn is_like(&self, other: &Preset) -> bool {
        self.yaml == other.yaml
    }

    /// A template of this preset, rendered; null if it is empty.
    pub(super) fn render(&self, node: &Node, scope: &Scope, place: &str) -> Result<Value, TemplateError> {
        Ok(node.render(&self.environment, scope, place)?.unwrap_or_default())
    }

    /// A body, rendered and within the limits of its destination.
    pub(super) fn render_body(&self, node: &Node, scope: &Scope, place: &str) -> Result<Value, TemplateError> {
        let rendered = self.render(node, scope, place)?;
        Ok(match self.limits {
            BodyLimit::None => rendered,
            BodyLimit::Slack => block_kit::fit(rendered),
            BodyLimit::MostBytes(most) => fitting::within_bytes(rendered, most),
        })
    }

    /// Whether a condition of this preset is true.
    pub(super) fn holds(&self, condition: &str, scope: &Scope, place: &str) -> Result<bool, TemplateError> {
        super::template::holds(&self.environment, scope, condition, place)
    }
}

/// The source of the body or text of a built-in preset.
fn body_of(name: &str) -> Result<Value, PresetError> {
    let unreadable = |reason: String| PresetError::Yaml { preset: name.to_owned(), reason };
    let file: PresetFile =
        serde_saphyr::from_str(Preset::yaml(name)?).map_err(|error| unreadable(error.to_string()))?;
    match file.send {
        SendFile::Http(http) => Ok(http.body),
        SendFile::Terminal(terminal) => Ok(Value::String(terminal.text)),
        SendFile::Mail(_) | SendFile::Events(_) => {
            Err(unreadable("it has no body or text that another preset could use".to_owned()))
        }
    }
}

fn extended(mut body: Map<String, Value>, more: Value) -> Value {
    if let Value::Object(more) = more {
        body.extend(more);
    }
    Value::Object(body)
}

/// The values that templates of a message can use: `message` with the attributes of the CloudEvent and its unchanged
/// data; `view`, its content for people; and `thread`, the reference of the first message of its case, if any. `time`
/// is in RFC 3339; `message.seconds` is the same time in seconds since the Unix epoch.
pub(super) fn scope(message: &Message, thread: Option<&str>, source: &str, time: &str) -> Scope {
    let event = serde_json::json!({
        "id": message.id,
        "case": message.case.0,
        "kind": message.kind(),
        "type": message.kind().event_type(),
        "source": source,
        "subject": message.subject,
        "time": time,
        "seconds": message.time.floor() as i64,
        "data": message.body.data(),
    });
    let view = Jinja::from(Serde(View::of(message)));
    Scope::from([
        ("message".to_owned(), Jinja::from(Serde(event))),
        ("view".to_owned(), view),
        ("thread".to_owned(), thread.map_or(Jinja::from(()), Jinja::from)),
    ])
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
        let sends = format!("{good}send: {{terminal: {{text: t}}}}\n");
        for (yaml, words) in [
            (format!("{good}sned: 1\n"), vec!["mine", "sned", "line 5"]),
            (format!("{good}send: {{terminal: {{text: '{{{{ x'}}}}\n"), vec!["mine", "text", "syntax error"]),
            (format!("{good}send: {{http: {{url: u, body: b, signed_with: key}}}}\n"), vec!["signed_with: key"]),
            (format!("{good}send: {{http: {{url: u, like: slak}}}}\n"), vec!["no preset slak", "slack_bot"]),
            (format!("{good}send: {{http: {{url: u, like: terminal}}}}\n"), vec!["like: terminal", "no JSON body"]),
            (format!("{sends}answers: [{{status: 7xx, means: later}}]\n"), vec!["7xx", "class"]),
            (format!("{sends}answers: [{{status: 200, when: 'answer.', means: later}}]\n"), vec!["answers[0]"]),
            (format!("{sends}answers: [{{status: 404, means: absent}}]\n"), vec!["absent", "`ask`"]),
            (format!("{sends}then: [{{name: x, need: required, request: {{url: u}}}}]\n"), vec!["`then`", "`ask`"]),
            (format!("{sends}ask: {{request: {{url: u}}, found: '(('}}\n"), vec!["ask.found", "syntax error"]),
        ] {
            let message = told(&yaml);
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
        let message = Preset::shipped("slak").unwrap_err().to_string();
        assert!(message.starts_with("there is no preset slak: use one of alertmanager, discord"), "{message}");
        let message = Preset::from_file(Path::new("no/such.yaml")).unwrap_err().to_string();
        assert!(message.starts_with("could not read the preset no/such.yaml"), "{message}");
    }
}
