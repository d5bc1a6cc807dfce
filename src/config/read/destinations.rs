//! The section `destinations`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::case::MessageKind;
use crate::config::secret::SecretSource;
use crate::config::settings::{DestinationSettings, FieldValue, OnUnknown, Patience, PresetChoice};
use crate::config::{FieldKind, Need, PresetField};
use crate::yaml::{Fields, Kind, Node, suggest};

use super::Reader;

/// The settings that all destinations have.
pub(super) const COMMON: [&str; 8] =
    ["preset", "wants", "for", "patience", "on_unknown", "give_up_after", "timeout", "status_every"];

/// Settings that are set by an owner's account, so they are not required.
const OF_ACCOUNT: [&str; 2] = ["user", "token"];
const SOURCES: [&str; 3] = ["file", "env", "credential"];

/// All kinds of message, as named in `wants`.
const KINDS: [(&str, MessageKind); 7] = [
    ("case_opened", MessageKind::CaseOpened),
    ("run_suggested", MessageKind::RunSuggested),
    ("approval_asked", MessageKind::ApprovalAsked),
    ("stop_suggested", MessageKind::StopSuggested),
    ("question_asked", MessageKind::QuestionAsked),
    ("notice", MessageKind::Notice),
    ("case_closed", MessageKind::CaseClosed),
];

impl Reader<'_> {
    pub(super) fn destinations(&mut self, node: &Node) -> Vec<DestinationSettings> {
        let entries = node.entries("`destinations`", &mut self.problems);
        entries.iter().filter_map(|(key, node)| self.destination(&key.name, node)).collect()
    }

    fn destination(&mut self, name: &str, node: &Node) -> Option<DestinationSettings> {
        let what = format!("the destination `{name}`");
        let entries = node.entries(&what, &mut self.problems);
        let Some((_, preset)) = entries.iter().find(|(key, _)| key.name == "preset") else {
            if matches!(node.kind, Kind::Map(_)) {
                let known: Vec<&str> = self.vocabulary.presets.iter().map(|(name, _)| name.as_str()).collect();
                let help = format!("add `preset:` with one of {}", known.join(", "));
                self.problems.add_help(node.place, format!("{what} needs `preset`"), help);
            }
            return None;
        };
        let (choice, wanted) = self.preset(preset)?;
        let known: Vec<&str> = COMMON.into_iter().chain(wanted.iter().map(|field| field.name.as_str())).collect();
        let fields = Fields::new(node, &what, &known, &mut self.problems)?;
        let mut destination = DestinationSettings { preset: choice, ..DestinationSettings::new(name, "") };
        let accounts = wanted.iter().filter(|field| field.kind == FieldKind::Accounts);
        destination.accounts = accounts
            .filter_map(|field| Some((field.name.clone(), self.accounts(&field.name, fields.get(&field.name)?))))
            .next();
        for field in wanted.iter().filter(|field| field.kind != FieldKind::Accounts) {
            if destination.accounts.is_some() && OF_ACCOUNT.contains(&field.name.as_str()) {
                if let Some(key) = fields.key(&field.name) {
                    let message = format!("`{}` has no effect together with accounts of job owners", field.name);
                    self.problems.add_help(key.place, message, "remove one of them");
                }
            } else if let Some(node) = fields.get(&field.name) {
                destination.fields.extend(self.field(field, node).map(|value| (field.name.clone(), value)));
            } else if field.need == Need::Required {
                let message = format!("{what} needs `{}`", field.name);
                self.problems.add_help(fields.place(), message, field.help.clone());
            }
        }
        self.common(&fields, &mut destination);
        Some(destination)
    }

    /// Text that looks like a path is a preset file; anything else must be a built-in preset.
    fn preset(&mut self, node: &Node) -> Option<(PresetChoice, Vec<PresetField>)> {
        let name = node.text("`preset`", &mut self.problems)?;
        let like_a_path = name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml");
        if let Some(read) = self.vocabulary.preset_file.filter(|_| like_a_path) {
            let path = self.path(node, "`preset`")?;
            return match read(&path) {
                Ok(fields) => Some((PresetChoice::File(path), fields)),
                Err(why) => {
                    self.problems.add(node.place, why);
                    None
                }
            };
        }
        let presets = &self.vocabulary.presets;
        if let Some((_, fields)) = presets.iter().find(|(known, _)| known == name) {
            return Some((PresetChoice::Shipped(name.to_owned()), fields.clone()));
        }
        let help = suggest(name, presets.iter().map(|(known, _)| known.as_str()));
        self.problems.add_maybe(node.place, format!("there is no preset `{name}`"), help);
        None
    }

    /// Host names as in addresses.
    pub(super) fn hosts(&mut self, node: &Node) -> Vec<String> {
        let texts = self.texts(node, "`allowed_hosts`");
        for (text, place) in &texts {
            if text.is_empty() || text.contains(['/', '@']) {
                let help = "write only the name, as in queue.example, or *.example for all subdomains";
                self.problems.add_help(*place, format!("`{text}` is not a host name"), help);
            }
        }
        texts.into_iter().map(|(text, _)| text).collect()
    }

    fn common(&mut self, fields: &Fields<'_>, destination: &mut DestinationSettings) {
        if let Some(node) = fields.get("wants") {
            let nodes = node.items("`wants`", &mut self.problems);
            let kinds = nodes.iter().filter_map(|node| self.one_of(node, "`wants`", &KINDS)).collect();
            destination.wants = Some(kinds);
        }
        if let Some(node) = fields.get("for") {
            destination.route = self.route(node);
        }
        if let Some(node) = fields.get("patience") {
            let words = [("at_once", Patience::AtOnce), ("may_wait", Patience::MayWait)];
            destination.patience = self.one_of(node, "`patience`", &words);
        }
        if let Some(node) = fields.get("on_unknown") {
            let words = [("resend", OnUnknown::Resend), ("hold", OnUnknown::Hold)];
            destination.on_unknown = self.one_of(node, "`on_unknown`", &words).unwrap_or_default();
        }
        if let Some(time) = fields.get("give_up_after").and_then(|node| self.positive(node, "`give_up_after`")) {
            destination.give_up_after = time;
        }
        if let Some(time) = fields.get("timeout").and_then(|node| self.positive(node, "`timeout`")) {
            destination.timeout = time;
        }
        if let Some(time) = fields.get("status_every").and_then(|node| self.positive(node, "`status_every`")) {
            destination.status_every = time;
        }
    }

    /// A token for each job owner, by the owner's name.
    fn accounts(&mut self, name: &str, node: &Node) -> BTreeMap<String, SecretSource> {
        let entries = node.entries(&format!("`{name}`"), &mut self.problems);
        let read = entries.iter().filter_map(|(owner, node)| {
            Some((owner.name.clone(), self.secret(&format!("`{name}.{}`", owner.name), node)?))
        });
        read.collect()
    }

    fn field(&mut self, field: &PresetField, node: &Node) -> Option<FieldValue> {
        let what = format!("`{}`", field.name);
        if let Kind::Map(_) = node.kind {
            return self.source(&what, node).map(FieldValue::Kept);
        }
        if field.kind == FieldKind::Secret {
            return self.secret(&what, node).map(FieldValue::Kept);
        }
        // Whole numbers keep their spelling; other numbers would lose it.
        if let Kind::Scalar(Value::Number(number)) = &node.kind
            && field.kind == FieldKind::Text
            && !number.is_f64()
        {
            return Some(FieldValue::Plain(number.to_string()));
        }
        let text = node.text(&what, &mut self.problems)?;
        if field.kind == FieldKind::Url
            && let Some((message, help)) = wrong_address(text)
        {
            self.problems.add_help(node.place, format!("{what} {message}"), help);
            return None;
        }
        Some(FieldValue::Plain(text.to_owned()))
    }

    /// The source of a secret; a secret in the file itself is a mistake.
    pub(super) fn secret(&mut self, what: &str, node: &Node) -> Option<SecretSource> {
        if let Kind::Scalar(_) = &node.kind {
            let help =
                "write {file: PATH}, {env: NAME} or {credential: NAME}, and change the secret if this file was shared";
            self.problems.add_help(
                node.place,
                format!("{what} is a secret and must not be written in this file"),
                help,
            );
            return None;
        }
        self.source(what, node)
    }

    fn source(&mut self, what: &str, node: &Node) -> Option<SecretSource> {
        let fields = Fields::new(node, what, &SOURCES, &mut self.problems)?;
        let mut given = SOURCES.into_iter().filter_map(|name| Some((name, fields.get(name)?)));
        let (Some((name, node)), None) = (given.next(), given.next()) else {
            let help = "write {file: PATH}, {env: NAME} or {credential: NAME}";
            self.problems.add_help(fields.place(), format!("{what} needs exactly one of file, env, credential"), help);
            return None;
        };
        if name == "file" {
            return self.path(node, "`file`").map(SecretSource::File);
        }
        let value = node.text(&format!("`{name}`"), &mut self.problems)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if value.is_empty() || value.starts_with('.') || !value.chars().all(plain) {
            let help = "names consist of letters, digits, `_`, `-` and `.`";
            self.problems.add_help(node.place, format!("`{name}` cannot be `{value}`"), help);
            return None;
        }
        Some(if name == "env" {
            SecretSource::Env(value.to_owned())
        } else {
            SecretSource::Credential(value.to_owned())
        })
    }
}

/// The problem with an address in the file, and a fix.
fn wrong_address(text: &str) -> Option<(&'static str, &'static str)> {
    let elsewhere = "keep the whole address in {file: PATH}, {env: NAME} or {credential: NAME}";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Some(("must be an address", "include the scheme, as in https://queue.example/runs"));
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if !matches!(scheme, "http" | "https") || host.is_empty() {
        Some(("must be an http or https address", "write the full address, as in https://queue.example/runs"))
    } else if host.contains('@') {
        Some(("contains a password, which must not be written in this file", elsewhere))
    } else if host == "hooks.slack.com" {
        Some(("is a secret, because anyone who knows the address of a Slack webhook can post", elsewhere))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, Value};

    #[test]
    fn wants_names_every_kind_as_messages_do() {
        for (name, kind) in KINDS {
            assert_eq!(serde_json::to_value(kind).unwrap(), Value::String(name.to_owned()));
        }
    }
}
