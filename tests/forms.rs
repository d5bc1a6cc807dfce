//! Compatibility with data stored by earlier versions: every format of a case, a message, a journal and a request that
//! was ever on the main branch. Formats are never removed from `fixtures/`; new ones are added.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use nextrun::case::{Body, Case, MessageKind, VERSION, Waiting};
use nextrun::facts::Quantity;
use nextrun::store::{Sqlite, Store};
use serde::Deserialize;
use serde_json::Value;

fn fixtures(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), serde_json::from_str(&text).unwrap())
    };
    let mut found: Vec<(String, Value)> = folder.read_dir().unwrap().map(read).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn every_form_of_a_case_that_was_ever_kept_is_read() {
    let cases = fixtures("cases");
    assert!(cases.len() >= 11, "{}", cases.len());
    for (name, state) in cases {
        let case = Case::read(state).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((case.version, case.baseline.as_str(), case.policy.as_str()), (VERSION, "team/bad", "article"));
        assert_eq!(case.baseline_facts.number(Quantity::FinitePoints).to_bits(), 5f64.to_bits(), "{name}");
        assert_eq!(case.baseline_facts.steps().to_bits(), 299f64.to_bits(), "{name}");
        assert!(case.baseline_facts.training_loss, "{name}: a form that does not say so judged by training losses");
        let (closed, waits) = (case.closed.is_some(), case.waiting != Waiting::Nothing);
        assert!(closed != waits, "{name}");
        if let Some(open) = case.open_experiment() {
            assert_eq!((open.proposal.step.as_str(), open.outcome.as_deref()), ("4 batch size 1", Some("unavailable")));
        }
        let kept = serde_json::to_value(&case).unwrap();
        let again = Case::read(kept.clone()).unwrap();
        assert_eq!(serde_json::to_value(&again).unwrap(), kept, "{name}: it is kept as it is read");
    }
}

/// Whether all that was said is said still: fields are added, and none goes.
fn holds(now: &Value, before: &Value) -> bool {
    match (now, before) {
        (Value::Object(now), Value::Object(before)) => {
            before.iter().all(|(name, value)| now.get(name).is_some_and(|now| holds(now, value)))
        }
        (Value::Array(now), Value::Array(before)) => {
            now.len() == before.len() && now.iter().zip(before).all(|(now, before)| holds(now, before))
        }
        _ => now == before,
    }
}

#[derive(Deserialize)]
struct Said {
    kind: MessageKind,
    data: Value,
}

#[test]
fn every_form_of_a_message_that_was_ever_kept_is_read() {
    let mut kinds = 0;
    for (name, messages) in fixtures("messages") {
        for said in serde_json::from_value::<Vec<Said>>(messages).unwrap() {
            let body = Body::read(said.kind, said.data.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let data = body.data();
            for (field, value) in said.data.as_object().unwrap() {
                // What opened and stop messages once repeated is not read any more.
                let dropped = field == "summary" && said.kind != MessageKind::CaseClosed;
                let unchanged = holds(&data[field], value);
                assert!(dropped || unchanged, "{name}: {field} of {:?}", said.kind);
            }
            kinds += 1;
        }
    }
    assert!(kinds >= MessageKind::ALL.len() - 1, "{kinds}");
}

#[test]
fn the_state_of_the_first_release_is_read_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nextrun.db");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores/schema1.db"), &path).unwrap();
    let mut store = Sqlite::open(&path).unwrap();
    let stored = store.cases(false).unwrap().into_iter().map(Result::unwrap).collect::<Vec<_>>();
    let case = Case::read(stored[0].state.clone()).unwrap();
    assert_eq!((stored.len(), case.closed.unwrap().verdict.as_str()), (1, "inconclusive"));
    let kinds: Vec<String> = store.journal(&case.id).unwrap().into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds.len(), 38);
    assert!(
        ["opened", "passed", "suggested", "observed", "asked", "closed"]
            .iter()
            .all(|kind| kinds.iter().any(|k| k == kind))
    );
    let deliveries = store.deliveries(None, None).unwrap();
    let kinds = MessageKind::ALL.iter().filter(|kind| deliveries.iter().any(|row| row.message.kind() == **kind));
    assert_eq!((deliveries.len(), kinds.count()), (23, 5));
}
