//! The additional requests of a preset: queries, follow-ups, status and cancellation.
//!
//! Owns: their structure and checks. Must not know: HTTP, when they are sent.

use std::time::Duration;

use serde_json::Value;

use super::file::{AlsoFile, AskFile, CancelFile, FateFile, ListFile, RequestFile, StatusFile, TailFile, ThenFile};
use super::{Need, Parser, PresetError};
use crate::destinations::answer::Answers;
use crate::destinations::http::Method;
use crate::destinations::template::Node;
use crate::fate::FateState;

/// An additional request.
#[derive(Debug)]
pub(in crate::destinations) struct Request {
    pub(in crate::destinations) method: Method,
    pub(in crate::destinations) url: Node,
    pub(in crate::destinations) body: Option<Node>,
    /// A list in its response of which only matching elements are kept; it is read element by element, regardless of
    /// its length.
    pub(in crate::destinations) list: Option<List>,
}

/// A list in a response, of which only elements with one of these values are kept.
#[derive(Debug)]
pub(in crate::destinations) struct List {
    /// The key of the list in the response.
    pub(in crate::destinations) of: String,
    /// Fields of an element with a text each; at least one must match.
    pub(in crate::destinations) any: Vec<(String, Node)>,
}

/// How to query whether the destination has a message that may have arrived.
#[derive(Debug)]
pub(in crate::destinations) struct Ask {
    pub(in crate::destinations) condition: Option<String>,
    pub(in crate::destinations) request: Request,
    /// The interpretation of the response's status and errors; `delivered` means that the query was answered.
    pub(in crate::destinations) answers: Answers,
    /// The part of the response that shows that it has the message; empty if it does not.
    pub(in crate::destinations) found: String,
    /// Whether the response is inconclusive, like the first of several pages.
    pub(in crate::destinations) unsure: Option<String>,
    /// A list of the references of all copies found; all but one are cancelled.
    pub(in crate::destinations) all: Option<String>,
    /// An absent message counts as absent only if it still is after this time.
    pub(in crate::destinations) grace: Duration,
    /// Where to query next if it is absent here.
    pub(in crate::destinations) otherwise: Option<Box<Ask>>,
}

/// A request that follows the delivery of a message.
#[derive(Debug)]
pub(in crate::destinations) struct Then {
    pub(in crate::destinations) name: String,
    pub(in crate::destinations) condition: Option<String>,
    pub(in crate::destinations) need: Need,
    pub(in crate::destinations) request: Request,
    pub(in crate::destinations) answers: Answers,
}

/// How to query the status of a run.
#[derive(Debug)]
pub(in crate::destinations) struct Status {
    pub(in crate::destinations) condition: Option<String>,
    pub(in crate::destinations) request: Request,
    /// `delivered` means that the query was answered, `absent` that there is no record of the run.
    pub(in crate::destinations) answers: Answers,
    /// Additional requests after the destination has responded; expressions see each response by its name.
    pub(in crate::destinations) also: Vec<Also>,
    /// The part of the response about the run; empty if there is no record of it.
    pub(in crate::destinations) job: String,
    /// Names for parts of it; each expression can use those before it.
    pub(in crate::destinations) with: Vec<(String, String)>,
    /// The first matching rule determines the status.
    pub(in crate::destinations) fates: Vec<FateRule>,
    pub(in crate::destinations) reason: Option<String>,
    pub(in crate::destinations) exit_code: Option<String>,
    pub(in crate::destinations) signal: Option<String>,
    pub(in crate::destinations) attempt: Option<String>,
    pub(in crate::destinations) tail: Option<Tail>,
    /// Where to query next if there is no record here.
    pub(in crate::destinations) otherwise: Option<Box<Status>>,
}

/// An additional request for a status. Its address can use `answer` and the responses of earlier requests.
#[derive(Debug)]
pub(in crate::destinations) struct Also {
    pub(in crate::destinations) name: String,
    pub(in crate::destinations) condition: Option<String>,
    pub(in crate::destinations) request: Request,
}

/// One status rule.
#[derive(Debug)]
pub(in crate::destinations) struct FateRule {
    pub(in crate::destinations) when: Option<String>,
    pub(in crate::destinations) fate: FateState,
}

/// The location of the last log lines of a run that has ended.
#[derive(Debug)]
pub(in crate::destinations) struct Tail {
    pub(in crate::destinations) request: Request,
    pub(in crate::destinations) text: String,
}

/// How to stop a run that is no longer needed.
#[derive(Debug)]
pub(in crate::destinations) struct Cancel {
    pub(in crate::destinations) request: Request,
    pub(in crate::destinations) answers: Answers,
}

/// The maximum `grace`: with a longer one, an experiment would wait needlessly.
const LONGEST_GRACE: f64 = 3600.0;

impl Parser<'_> {
    fn request(&self, request: &RequestFile, place: &str) -> Result<Request, PresetError> {
        let body = request.body.as_ref().map(|body| self.node(body, &format!("{place}.body"))).transpose()?;
        let list = request.list.as_ref().map(|list| self.list(list, place)).transpose()?;
        Ok(Request { method: request.method, url: self.text(&request.url, &format!("{place}.url"))?, body, list })
    }

    fn list(&self, list: &ListFile, place: &str) -> Result<List, PresetError> {
        let any = list.any.iter().map(|(field, value)| {
            let Value::String(text) = value else {
                return Err(self.unreadable(format!("`{place}.list.any.{field}` must be a text")));
            };
            Ok((field.clone(), self.text(text, &format!("{place}.list.any.{field}"))?))
        });
        Ok(List { of: list.of.clone(), any: any.collect::<Result<_, _>>()? })
    }

    fn maybe(&self, expression: Option<String>, place: &str) -> Result<Option<String>, PresetError> {
        expression.map(|expression| self.expression(expression, place)).transpose()
    }

    pub(super) fn ask(&self, ask: AskFile, place: &str) -> Result<Ask, PresetError> {
        if !(0.0..=LONGEST_GRACE).contains(&ask.grace) {
            return Err(self.unreadable(format!("`{place}.grace` must be between 0 and {LONGEST_GRACE} seconds")));
        }
        let further = format!("{place}.otherwise");
        Ok(Ask {
            condition: self.maybe(ask.condition, &format!("{place}.if"))?,
            request: self.request(&ask.request, place)?,
            answers: self.answers(ask.answers, ask.reference.as_ref(), place)?,
            found: self.expression(ask.found, &format!("{place}.found"))?,
            unsure: self.maybe(ask.unsure, &format!("{place}.unsure"))?,
            all: self.maybe(ask.all, &format!("{place}.all"))?,
            grace: Duration::from_secs_f64(ask.grace),
            otherwise: ask.otherwise.map(|ask| self.ask(*ask, &further).map(Box::new)).transpose()?,
        })
    }

    pub(super) fn then(&self, then: ThenFile) -> Result<Then, PresetError> {
        let place = format!("then.{}", then.name);
        Ok(Then {
            condition: self.maybe(then.condition, &format!("{place}.if"))?,
            need: then.need,
            request: self.request(&then.request, &place)?,
            answers: self.answers(then.answers, None, &place)?,
            name: then.name,
        })
    }

    pub(super) fn status(&self, status: StatusFile, place: &str) -> Result<Status, PresetError> {
        let at = |key: &str| format!("{place}.{key}");
        if status.fates.is_empty() {
            return Err(self.unreadable(format!("`{place}` needs `fates`: a rule for each state of a run")));
        }
        let with = status.with.into_iter().map(|(name, value)| match value {
            Value::String(text) => Ok((self.expression(text, &at(&format!("with.{name}"))), name)),
            _ => Err(self.unreadable(format!("`{place}.with.{name}` must be an expression"))),
        });
        let with: Vec<_> = with.collect::<Result<_, _>>()?;
        let fates = status.fates.into_iter().enumerate().map(|(index, FateFile { when, fate })| {
            Ok(FateRule { when: self.maybe(when, &at(&format!("fates[{index}]")))?, fate })
        });
        Ok(Status {
            condition: self.maybe(status.condition, &at("if"))?,
            request: self.request(&status.request, place)?,
            answers: self.answers(status.answers, None, place)?,
            also: status.also.into_iter().map(|also| self.also(also, place)).collect::<Result<_, _>>()?,
            job: self.expression(status.job, &at("job"))?,
            with: with.into_iter().map(|(text, name)| Ok((name, text?))).collect::<Result<_, PresetError>>()?,
            fates: fates.collect::<Result<_, _>>()?,
            reason: self.maybe(status.reason, &at("reason"))?,
            exit_code: self.maybe(status.exit_code, &at("exit_code"))?,
            signal: self.maybe(status.signal, &at("signal"))?,
            attempt: self.maybe(status.attempt, &at("attempt"))?,
            tail: status.tail.map(|tail| self.tail(tail, &at("tail"))).transpose()?,
            otherwise: status.otherwise.map(|other| self.status(*other, &at("otherwise")).map(Box::new)).transpose()?,
        })
    }

    fn also(&self, also: AlsoFile, place: &str) -> Result<Also, PresetError> {
        let place = format!("{place}.also.{}", also.name);
        let condition = self.maybe(also.condition, &format!("{place}.if"))?;
        Ok(Also { condition, request: self.request(&also.request, &place)?, name: also.name })
    }

    fn tail(&self, tail: TailFile, place: &str) -> Result<Tail, PresetError> {
        let text = self.expression(tail.text, &format!("{place}.text"))?;
        Ok(Tail { request: self.request(&tail.request, place)?, text })
    }

    pub(super) fn cancel(&self, cancel: CancelFile) -> Result<Cancel, PresetError> {
        Ok(Cancel {
            request: self.request(&cancel.request, "cancel")?,
            answers: self.answers(cancel.answers, None, "cancel")?,
        })
    }
}
