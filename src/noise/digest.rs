//! Combines several messages into one.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::case::{Body, CaseId, Digest, DigestItem, DigestLine, Message};
use crate::store::WaitingMessage;

/// Maximum number of cases in a digest; longer ones are not read and would be shortened.
const MOST_CASES: usize = 30;

/// Digests of delayed messages, each with the rows that it contains. A case is in only one of them, with all its
/// messages in order.
pub(super) fn digests(rows: &[&WaitingMessage], outlet: &str, now: f64) -> Vec<(Message, Vec<i64>)> {
    let mut order: Vec<&CaseId> = Vec::new();
    let mut by_case: BTreeMap<&CaseId, Vec<&WaitingMessage>> = BTreeMap::new();
    for row in rows {
        let case = &row.wait.message.case;
        let of_case = by_case.entry(case).or_default();
        if of_case.is_empty() {
            order.push(case);
        }
        of_case.push(row);
    }
    let part = |cases: &[&CaseId]| {
        let rows: Vec<&WaitingMessage> = cases.iter().flat_map(|case| by_case[case].iter().copied()).collect();
        let ids = rows.iter().map(|row| row.id).collect();
        let items = cases.iter().map(|case| item(case, &by_case[case])).collect();
        (digest(&rows, items, outlet, now), ids)
    };
    order.chunks(MOST_CASES).map(part).collect()
}

fn digest(rows: &[&WaitingMessage], items: Vec<DigestItem>, outlet: &str, now: f64) -> Message {
    let mut hash = Sha256::new();
    hash.update(outlet);
    rows.iter().for_each(|row| hash.update(format!("\n{}", row.wait.message.id)));
    let name: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let id = format!("digest-{name}");
    let since = rows.iter().map(|row| row.wait.message.time).fold(now, f64::min);
    let reasons: Vec<&str> = rows.iter().map(|row| row.wait.why.as_str()).collect();
    // The first message determines the reason; later messages wait for it.
    let why = reasons.first().copied().unwrap_or_default();
    let body = Body::Digest(Digest { items, messages: rows.len(), since, why: why.to_owned() });
    Message { case: CaseId(id.clone()), id, subject: "digest".to_owned(), time: now, body }
}

/// A case with its messages.
fn item(case: &CaseId, rows: &[&WaitingMessage]) -> DigestItem {
    let run = rows.first().map(|row| row.wait.message.subject.clone()).unwrap_or_default();
    let messages = rows.iter().map(|row| DigestLine::from(&row.wait.message)).collect();
    DigestItem { case: case.clone(), run, messages }
}
