//! `nextrun cases approve`, `decline` and `answer`.
//!
//! Owns: the identity of the person on the command line, the output of questions. Must not know: who may answer.

use std::io::{self, Write};

use anyhow::bail;

use super::{At, find, plain, time};
use crate::answers::{self, Submission};
use crate::case::{CaseId, Person, Reply};
use crate::command::masked_line;
use crate::daemon::{now, store_of};
use crate::store::{Ask, AskKind, Store};

/// Answers on behalf of the user of this process.
pub(super) fn give(out: &mut impl Write, case: &str, answer: &str, why: &str, at: &At) -> anyhow::Result<()> {
    let settings = at.settings()?;
    let mut store = store_of(&settings).open_existing()?;
    let case = find(store.as_mut(), case)?;
    let Some(ask) = answers::open_ask(store.as_mut(), &case.id)? else {
        bail!("case {} has no open question; see `nextrun cases show {}`", case.id, case.id);
    };
    let reply = Reply { answer: answer.to_owned(), by: user(), at: now(), why: why.to_owned() };
    let submission = Submission { ask: ask.id, fingerprint: Some(ask.fingerprint), reply };
    let said = answers::give(store.as_mut(), &settings.approvers, &submission)?;
    let words = said.words(ToString::to_string, time);
    if !said.is_taken() {
        bail!("case {}: {words}", case.id);
    }
    writeln!(out, "case {}: {}", case.id, plain(&words))?;
    Ok(())
}

/// The user of this process: by name, or by number if the system has no name for it.
fn user() -> Person {
    let id = rustix::process::getuid().as_raw();
    let name = uzers::get_user_by_uid(id).and_then(|user| user.name().to_str().map(str::to_owned));
    Person { provider: "local".to_owned(), user: name.unwrap_or_else(|| id.to_string()), name: None }
}

/// Prints the open question or approval of a case, and how to answer it.
pub(super) fn show(out: &mut impl Write, store: &mut dyn Store, case: &CaseId) -> anyhow::Result<()> {
    if let Some(ask) = answers::open_ask(store, case)? {
        show_ask(out, &ask)?;
    }
    Ok(())
}

fn show_ask(out: &mut impl Write, ask: &Ask) -> io::Result<()> {
    let text = |key: &str| ask.shown.get(key).and_then(|value| value.as_str()).unwrap_or_default();
    let until = time(ask.expires);
    match ask.kind {
        AskKind::Approval => {
            writeln!(out, "\n  waits for approval until {until}: {}", plain(text("why")))?;
            if !text("command").is_empty() {
                writeln!(out, "      command: {}", plain(&masked_line(text("command"))))?;
            }
            writeln!(out, "      approve with `nextrun cases approve {}`, or `decline`", ask.case)
        }
        AskKind::Question => {
            writeln!(out, "\n  waits for an answer until {until}: {}", plain(text("why")))?;
            for item in ask.shown.get("checklist").and_then(|list| list.as_array()).into_iter().flatten() {
                writeln!(out, "      - {}", plain(item.as_str().unwrap_or_default()))?;
            }
            writeln!(out, "      answer with `nextrun cases answer {} {}`", ask.case, ask.answers.join("|"))
        }
    }
}
