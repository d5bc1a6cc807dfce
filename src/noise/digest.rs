//! Several messages as one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::case::{CaseId, Message, MessageKind};
use crate::store::Held;

/// A digest lists no more cases: what is longer is not read, and would be cut.
const MOST_CASES: usize = 30;

/// The digests of what waited, each with the rows that it stands for. A case is in one of them, with all of its messages
/// in their order.
pub(super) fn digests(rows: &[&Held], outlet: &str, now: f64) -> Vec<(Message, Vec<i64>)> {
    let mut order: Vec<&CaseId> = Vec::new();
    let mut by_case: BTreeMap<&CaseId, Vec<&Held>> = BTreeMap::new();
    for row in rows {
        let case = &row.hold.message.case;
        let of_case = by_case.entry(case).or_default();
        if of_case.is_empty() {
            order.push(case);
        }
        of_case.push(row);
    }
    let part = |cases: &[&CaseId]| {
        let rows: Vec<&Held> = cases.iter().flat_map(|case| by_case[case].iter().copied()).collect();
        let ids = rows.iter().map(|row| row.id).collect();
        let items: Vec<Value> = cases.iter().map(|case| item(&by_case[case])).collect();
        (digest(&rows, items, outlet, now), ids)
    };
    order.chunks(MOST_CASES).map(part).collect()
}

fn digest(rows: &[&Held], items: Vec<Value>, outlet: &str, now: f64) -> Message {
    let mut hash = Sha256::new();
    hash.update(outlet);
    rows.iter().for_each(|row| hash.update(format!("\n{}", row.hold.message.id)));
    let name: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let id = format!("digest-{name}");
    let since = rows.iter().map(|row| row.hold.message.time).fold(now, f64::min);
    let reasons: Vec<&str> = rows.iter().map(|row| row.hold.why.as_str()).collect();
    // The first says what began it; what came after waits for that.
    let why = reasons.first().copied().unwrap_or_default();
    let data = json!({ "items": items, "messages": rows.len(), "since": since, "why": why });
    let case = CaseId(id.clone());
    Message { id, case, kind: MessageKind::Digest, subject: "digest".to_owned(), time: now, data }
}

/// A case with what was to be said of it.
fn item(rows: &[&Held]) -> Value {
    let said = |row: &&Held| {
        let message = &row.hold.message;
        let of = |key: &str| message.data.get(key).cloned().unwrap_or_default();
        json!({
            "id": message.id, "kind": message.kind, "time": message.time, "symptoms": of("symptoms"),
            "step": of("step"), "overrides": of("overrides"), "verdict": of("verdict"),
        })
    };
    let first = rows.first().map(|row| &row.hold.message);
    json!({
        "case": first.map(|message| &message.case), "run": first.map(|message| &message.subject),
        "messages": rows.iter().map(said).collect::<Vec<_>>(),
    })
}
