//! Interprets responses.
//!
//! Owns: the table of statuses, `Retry-After`, which knobs a refusal is about. Must not know: HTTP, the store, presets.
//!
//! The expressions of rules and references can use `answer` (the body as JSON, or empty) and `message` (the message
//! that was sent).

use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use minijinja::value::Serde;
use minijinja::{Environment, Value as Jinja};
use serde::Deserialize;
use serde_json::Value;

use super::codes::Codes;
use super::filters;
use super::http::Reply;
use super::meaning::Meaning;
use super::template::{Node, Scope, TemplateError, check_expression, holds};
use crate::facts::Knobs;

/// The outcome of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The destination has received the message.
    Delivered {
        /// The destination's reference, such as a job id.
        reference: Option<String>,
    },
    /// The destination will never accept it: the script does not support these knobs.
    Refused {
        /// The knobs, by canonical name.
        unknown_knobs: Vec<String>,
        /// The text of the response.
        why: String,
    },
    /// Not accepted now; it certainly did not arrive.
    Later {
        /// The pause that the destination requested.
        after: Option<Duration>,
        /// The text of the response, or why the destination was not reached.
        why: String,
    },
    /// It was sent; it is unknown whether it arrived.
    Unknown {
        /// What happened instead of a response.
        why: String,
    },
    /// It may have arrived, the destination cannot tell, and the site wants a person to decide.
    Held {
        /// Why the destination cannot tell.
        why: String,
    },
    /// An administrator must first fix a problem, such as a partition or a token; it is retried until then.
    Site {
        /// Whether it may have arrived.
        in_doubt: bool,
        /// The text of the response, and the fix if known.
        why: String,
    },
    /// The destination does not have it but may still receive it from an earlier attempt; it is queried once more.
    Settling {
        /// How long to wait before the query.
        after: Duration,
        /// The explanation.
        why: String,
    },
    /// It is no longer needed and was not sent.
    Dropped {
        /// Why.
        why: String,
    },
    /// It will never be accepted in this form; a person must look into it.
    Permanent {
        /// The text of the response, and the fix if known.
        why: String,
    },
}

impl Outcome {
    /// The same outcome with its texts changed.
    #[must_use]
    pub(super) fn map_texts(self, change: impl Fn(String) -> String) -> Outcome {
        match self {
            Outcome::Delivered { reference } => Outcome::Delivered { reference: reference.map(change) },
            Outcome::Refused { unknown_knobs, why } => Outcome::Refused { unknown_knobs, why: change(why) },
            Outcome::Later { after, why } => Outcome::Later { after, why: change(why) },
            Outcome::Unknown { why } => Outcome::Unknown { why: change(why) },
            Outcome::Held { why } => Outcome::Held { why: change(why) },
            Outcome::Site { in_doubt, why } => Outcome::Site { in_doubt, why: change(why) },
            Outcome::Settling { after, why } => Outcome::Settling { after, why: change(why) },
            Outcome::Dropped { why } => Outcome::Dropped { why: change(why) },
            Outcome::Permanent { why } => Outcome::Permanent { why: change(why) },
        }
    }
}

/// One rule: responses with this status and, if given, this content have this meaning.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// A status (`409`) or a class of statuses (`5xx`).
    status: Statuses,
    /// A text that the body must contain.
    #[serde(default)]
    text: Option<String>,
    /// An expression that must be true.
    #[serde(default)]
    when: Option<String>,
    /// The meaning.
    means: Meaning,
    /// What the operator can do.
    #[serde(default)]
    hint: Option<String>,
}

/// A status or a class of statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Statuses {
    first: u16,
    last: u16,
}

impl TryFrom<String> for Statuses {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let class = text.strip_suffix("xx").and_then(|digit| digit.parse::<u16>().ok()).filter(|d| (1..=5).contains(d));
        let single = text.parse::<u16>().ok().filter(|status| (100..=599).contains(status));
        match (class, single) {
            (Some(class), _) => Ok(Statuses { first: class * 100, last: class * 100 + 99 }),
            (None, Some(status)) => Ok(Statuses { first: status, last: status }),
            (None, None) => Err(format!("`{text}` is neither a status such as 409 nor a class such as 5xx")),
        }
    }
}

/// The interpretation of a response if no rule of the preset applies. 408, 425 and 429 ask for a retry, and a 5xx is a
/// problem of the receiver; any other refusal would be the same next time.
fn usual(status: u16) -> (Meaning, Option<&'static str>) {
    match status {
        200..=299 => (Meaning::Delivered, None),
        408 | 425 | 429 | 500..=599 => (Meaning::Later, None),
        300..=399 => (Meaning::Permanent, Some("redirects are not followed: configure the final address")),
        401 | 403 => (Meaning::Site, Some("check the credentials in the configuration")),
        404 | 410 => (Meaning::Permanent, Some("check the address in the configuration")),
        413 => (Meaning::Permanent, Some("the receiver must allow larger messages")),
        _ => (Meaning::Permanent, None),
    }
}

/// How a preset interprets responses.
#[derive(Debug)]
pub(super) struct Answers {
    /// The first matching rule applies.
    rules: Vec<Rule>,
    /// The destination's reference in a response.
    reference: Option<Node>,
    codes: Option<Arc<Codes>>,
    environment: Environment<'static>,
}

/// The context of a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    /// The responder: scheme, host and port.
    pub(super) site: &'a str,
    /// The message that was sent, as seen by templates.
    pub(super) scope: &'a Scope,
    /// The knobs that a refusal can refer to.
    pub(super) overrides: Option<&'a Knobs>,
    /// Seconds since the Unix epoch, the base for a `Retry-After` date.
    pub(super) now: f64,
}

/// Maximum length of a quotation from a response.
const QUOTED: usize = 500;

/// In bytes. Longer values are not ids that anyone would look up.
const LONGEST_REFERENCE: usize = 500;

impl Answers {
    /// Checks the expressions of rules and of the reference; `place` is their name in messages.
    ///
    /// # Errors
    /// The position of the first expression that does not parse.
    pub(super) fn parse(
        rules: Vec<Rule>,
        reference: Option<&String>,
        codes: Option<Arc<Codes>>,
        place: &str,
    ) -> Result<Answers, TemplateError> {
        let environment = filters::answers();
        if let Some(codes) = &codes {
            check_expression(&environment, codes.expression(), "codes.of")?;
        }
        for (index, rule) in rules.iter().enumerate() {
            if let Some(when) = &rule.when {
                check_expression(&environment, when, &format!("{place}[{index}].when"))?;
            }
        }
        let node = |text: &String| Node::parse(&Value::String(text.clone()), "reference", &environment);
        let reference = reference.map(node).transpose()?;
        Ok(Answers { rules, reference, codes, environment })
    }

    /// Whether a rule matches.
    pub(super) fn means(&self, meaning: Meaning) -> bool {
        self.rules.iter().any(|rule| rule.means == meaning)
    }

    /// The meaning of `reply` according to the rules or the defaults, and why it is not a success.
    pub(super) fn meaning<'a>(&'a self, reply: &Reply, reading: Reading<'_>) -> (Meaning, String) {
        let scope = with_answer(reading.scope, reply);
        let when = |text: &String| holds(&self.environment, &scope, text, "when").unwrap_or(false);
        let applies = |rule: &&Rule| {
            (rule.status.first..=rule.status.last).contains(&reply.status)
                && rule.text.as_ref().is_none_or(|text| reply.body.contains(text))
                && rule.when.as_ref().is_none_or(when)
        };
        let by_code = || self.codes.as_ref().and_then(|codes| codes.of_answer(&self.environment, &scope));
        let says = |rule: &'a Rule| match rule.means {
            Meaning::ByCode => by_code().map(|code| (code.means, code.hint.as_deref())),
            means => Some((means, rule.hint.as_deref().or(usual(reply.status).1))),
        };
        let (meaning, hint) = self.rules.iter().filter(applies).find_map(says).unwrap_or_else(|| usual(reply.status));
        let said = said(&reply.body);
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        let separator = if said.is_empty() { "" } else { ": " };
        (meaning, format!("{} answered {}{separator}{said}{hint}", reading.site, reply.status))
    }

    /// The meaning of `reply` to a message.
    pub(super) fn read(&self, reply: &Reply, reading: Reading<'_>) -> Outcome {
        let (meaning, why) = self.meaning(reply, reading);
        match (meaning, reading.overrides) {
            (Meaning::Delivered, _) => {
                Outcome::Delivered { reference: self.reference_in(&with_answer(reading.scope, reply)) }
            }
            (Meaning::Refused, Some(overrides)) if !overrides.is_empty() => {
                Outcome::Refused { unknown_knobs: unknown_knobs(&reply.body, overrides), why }
            }
            (Meaning::Later, _) => Outcome::Later { after: reply.wait(reading.now), why },
            (Meaning::Unknown, _) => Outcome::Unknown { why },
            (Meaning::Site, _) => Outcome::Site { in_doubt: false, why },
            (Meaning::Refused | Meaning::Permanent | Meaning::Absent | Meaning::ByCode, _) => {
                Outcome::Permanent { why }
            }
        }
    }

    /// The destination's reference: a non-empty text of one line, or a number.
    pub(super) fn reference_in(&self, scope: &Scope) -> Option<String> {
        let rendered = self.reference.as_ref()?.render(&self.environment, scope, "reference").ok()??;
        match rendered {
            Value::String(text) => Some(text)
                .filter(|text| (1..=LONGEST_REFERENCE).contains(&text.len()) && !text.contains(char::is_control)),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The value of an expression over a response; `None` if it is empty, such as an empty list.
    ///
    /// # Errors
    /// The response has a different form than the expression expects.
    pub(super) fn part(&self, expression: &str, scope: &Scope) -> Result<Option<Jinja>, String> {
        self.value(expression, scope).map(|value| Some(value).filter(Jinja::is_true))
    }

    /// The value of an expression over a response, including empty values.
    ///
    /// # Errors
    /// As [`Answers::part`].
    pub(super) fn value(&self, expression: &str, scope: &Scope) -> Result<Jinja, String> {
        let context = Jinja::from_pairs(scope.iter().map(|(name, value)| (name.clone(), value.clone())));
        let value = self.environment.compile_expression(expression).and_then(|compiled| compiled.eval(context));
        value.map_err(|error| error.to_string())
    }
}

/// The values available to expressions over a response.
pub(super) fn with_answer(scope: &Scope, reply: &Reply) -> Scope {
    let answer = serde_json::from_str::<Value>(&reply.body).ok();
    let mut scope = scope.clone();
    scope.insert("answer".to_owned(), Jinja::from(Serde(answer)));
    scope
}

impl Reply {
    /// The wait that its `Retry-After` requests, relative to `now` in seconds since the Unix epoch.
    pub(super) fn wait(&self, now: f64) -> Option<Duration> {
        self.retry_after.as_deref().and_then(|text| retry_after(text, now))
    }
}

/// The message of a response in one line: its `error` if it is JSON with one, otherwise its beginning.
fn said(body: &str) -> String {
    let parsed = serde_json::from_str::<Value>(body).ok();
    let error = parsed.as_ref().and_then(|answer| answer.get("error")).and_then(Value::as_str).map(str::to_owned);
    let error = error.or_else(|| parsed.as_ref().and_then(listed_errors));
    let words = error
        .as_deref()
        .unwrap_or(body)
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The texts of a list of `errors`, each with its number, in Slurm's format.
fn listed_errors(answer: &Value) -> Option<String> {
    let errors = answer.get("errors")?.as_array()?;
    let told = errors.iter().filter_map(|error| {
        let text = |key: &str| error.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let number = ["error_number", "error_code"].iter().find_map(|key| error.get(key)?.as_i64());
        let text = text("error").or_else(|| text("description"))?;
        Some(number.map_or_else(|| text.to_owned(), |number| format!("{text} ({number})")))
    });
    let told: Vec<String> = told.collect();
    Some(told.join("; ")).filter(|told| !told.is_empty())
}

/// Knobs that every training script has in some form; a refusal that names no knob is assumed not to be about them.
const CORE: [&str; 4] = ["learning_rate", "batch_size", "max_steps", "seed"];

/// The knobs that a refusal is about: those that it lists; otherwise, known knobs named in its text; otherwise, all
/// except [`CORE`]; otherwise, all.
fn unknown_knobs(body: &str, overrides: &Knobs) -> Vec<String> {
    let answer = serde_json::from_str::<Value>(body).ok();
    let listed: Vec<&str> = answer
        .as_ref()
        .and_then(|answer| answer.get("unknown_knobs"))
        .and_then(Value::as_array)
        .map(|knobs| knobs.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let tests: [&dyn Fn(&str) -> bool; 4] =
        [&|knob| listed.contains(&knob), &|knob| names(body, knob), &|knob| !CORE.contains(&knob), &|_| true];
    let chosen = tests.iter().find(|test| overrides.keys().any(|knob| test(knob)));
    overrides.keys().filter(|knob| chosen.is_some_and(|test| test(knob))).cloned().collect()
}

/// Whether `text` contains `word` as a whole word: `loss_scale` does not contain `loss`.
fn names(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part) && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// The wait that a `Retry-After` header requests: seconds, or an HTTP date (RFC 9110, section 10.2.3). Some services
/// send fractions of seconds.
fn retry_after(text: &str, now: f64) -> Option<Duration> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Duration::try_from_secs_f64(text.parse::<f64>().ok()?.ceil()).ok();
    }
    static PARSER: DateTimeParser = DateTimeParser::new();
    let until = PARSER.parse_timestamp(text).ok()?;
    Duration::try_from_secs_f64((until.as_second() as f64 - now).max(0.0)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now = 1_445_412_420.0; // Wed, 21 Oct 2015 07:27:00 GMT
        for (text, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("0.65", Some(1)),
            ("1.2.3", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:20:00 GMT", Some(0)),
            ("-5", None),
            ("soon", None),
            ("", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn a_refusal_is_about_what_it_lists_then_what_it_names_then_what_is_unusual() {
        let knobs = |value: Value| serde_json::from_value::<Knobs>(value).unwrap();
        let overrides = knobs(json!({"batch_norm": false, "batch_size": 1, "loss": "l1", "learning_rate": 0.1}));
        for (body, want) in [
            (r#"{"error": "no", "unknown_knobs": ["batch_norm"]}"#, vec!["batch_norm"]),
            (r#"{"error": "loss is fine", "unknown_knobs": ["batch_size", "elsewhere"]}"#, vec!["batch_size"]),
            (r#"{"error": "unrecognised: batch_norm, loss_scale", "unknown_knobs": []}"#, vec!["batch_norm"]),
            (r#"{"error": "no --loss here", "unknown_knobs": ["--loss"]}"#, vec!["loss"]),
            (r#"{"unknown_knobs": "batch_norm"}"#, vec!["batch_norm"]),
            ("unknown flag", vec!["batch_norm", "loss"]),
            ("", vec!["batch_norm", "loss"]),
        ] {
            assert_eq!(unknown_knobs(body, &overrides), want, "{body}");
        }
        let core = knobs(json!({"batch_size": 1, "seed": 1}));
        assert_eq!(unknown_knobs("no", &core), ["batch_size", "seed"]);
    }

    #[test]
    fn statuses_are_single_or_a_class() {
        let read = |text: &str| Statuses::try_from(text.to_owned());
        assert_eq!(read("409"), Ok(Statuses { first: 409, last: 409 }));
        assert_eq!(read("5xx"), Ok(Statuses { first: 500, last: 599 }));
        for bad in ["", "xx", "9xx", "42", "600", "4x", "ok"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(said("a\n\t b\u{7}\r\n"), "a b");
        assert_eq!(said(r#"{"error": "no such knob", "x": 1}"#), "no such knob");
        assert_eq!(said(&"ä".repeat(600)).chars().count(), QUOTED + 1);
    }
}
