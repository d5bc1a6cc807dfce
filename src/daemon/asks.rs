//! Converts messages that ask something to stored questions.

use crate::case::{Body, Case, Message};
use crate::store::{Ask, AskKind, AskState};

/// The row for a message that asks something, with exactly what it shows; `None` for any other message, and for a
/// question whose case does not wait for the answer.
pub(super) fn ask_of(message: &Message, cases: &[Case]) -> Option<Ask> {
    let (kind, fingerprint, answers, expires) = match &message.body {
        Body::ApprovalAsked(asked) => (AskKind::Approval, &asked.fingerprint, &asked.answers, asked.expires),
        Body::QuestionAsked(asked) => (AskKind::Question, &asked.fingerprint, &asked.answers, asked.expires?),
        _ => return None,
    };
    let case = cases.iter().find(|case| case.id == message.case)?;
    Some(Ask {
        id: message.id.clone(),
        case: case.id.clone(),
        job: case.baseline.clone(),
        kind,
        shown: message.body.data(),
        fingerprint: fingerprint.clone(),
        answers: answers.clone(),
        asked: message.time,
        expires,
        state: AskState::Open,
    })
}
