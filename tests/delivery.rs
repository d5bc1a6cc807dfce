//! Delivery to misbehaving receivers: the meaning of each response, and that nothing is lost, duplicated or delayed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nextrun::case::{Body, CaseId, Message, MessageKind, RunCancelled};
use nextrun::destinations::{Destination, Http, OnUnknown, Preset, Secret, Setup, Surroundings, Timeouts};
use nextrun::outbox::{Outbox, Pace, Report, Sending, bad_ends};
use nextrun::store::{Commit, Decision, Delivery, DeliveryState, SharedStore, Sqlite, Store};
use serde_json::json;
use support::{Act, Server, until};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn http(whole: Duration) -> Http {
    Http::new(Timeouts { connect: Duration::from_secs(5), whole })
}

fn patient() -> Http {
    http(Duration::from_secs(30))
}

fn destination(preset: &str, name: &str, url: &str, http: Http) -> Destination {
    configured(preset, Setup { name: name.into(), ..Setup::default() }, &[("url", url)], http)
}

fn configured(preset: &str, mut setup: Setup, fields: &[(&str, &str)], http: Http) -> Destination {
    setup.fields = fields.iter().map(|(field, value)| ((*field).to_owned(), Secret::new(value))).collect();
    let surroundings = Surroundings { host: "login1".into(), http, terminal: Arc::new(Mutex::new(std::io::sink())) };
    Destination::new(Arc::new(Preset::shipped(preset).unwrap()), setup, &surroundings).unwrap()
}

fn body(kind: MessageKind, data: serde_json::Value) -> Body {
    Body::read(kind, data).unwrap()
}

fn message(id: &str, case: &str) -> Message {
    Message {
        id: id.into(),
        case: CaseId(case.into()),
        subject: "resnet/7".into(),
        time: now(),
        body: body(MessageKind::RunSuggested, json!({"overrides": {"batch_norm": false, "batch_size": 1}, "step": id})),
    }
}

#[tokio::test]
async fn another_library_verifies_the_signature() {
    let server = Server::start(vec![], Act::status(200)).await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let fields = [("url", server.url()), ("secret", secret.to_owned()), ("token", "t0k3n".to_owned())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(field, value)| (*field, value.as_str())).collect();
    for preset in ["queue", "webhook"] {
        let destination = configured(preset, Setup { name: preset.into(), ..Setup::default() }, &fields, patient());
        destination.deliver(&message("m1", "c1"), now()).await;
    }
    for request in server.received() {
        let mut headers = axum::http::HeaderMap::new();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers.insert(name, request.headers[name].parse().unwrap());
        }
        standardwebhooks::Webhook::new(secret).unwrap().verify(request.body.as_bytes(), &headers).unwrap();
        assert_eq!((request.headers["webhook-id"].as_str(), request.json("/id").as_str()), ("m1", "m1"));
        assert_eq!(request.headers["idempotency-key"], "m1");
        assert_eq!(request.headers["authorization"], "Bearer t0k3n");
        assert_eq!(request.headers["content-type"], "application/cloudevents+json");
    }
}

/// A state directory, and the ways to work on it.
struct State {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

/// A process: an open store and an outbox that works on it.
struct Process {
    store: SharedStore,
    outbox: Outbox,
    reports: UnboundedReceiver<Report>,
}

impl State {
    fn new() -> State {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nextrun.db");
        State { _directory: directory, path }
    }

    async fn start(&self, destinations: Vec<Destination>) -> Process {
        self.start_at_pace(destinations, quick()).await
    }

    async fn start_at_pace(&self, destinations: Vec<Destination>, pace: Pace) -> Process {
        let store = SharedStore::new(Box::new(Sqlite::open(&self.path).unwrap()));
        store.with(|store| store.recover(now())).await.unwrap();
        let (sender, reports) = unbounded_channel();
        let sending =
            Sending { store: store.clone(), pace, clock: Arc::new(now), reports: sender, metrics: Arc::default() };
        Process { outbox: Outbox::start(destinations, &sending), store, reports }
    }

    fn deliveries(&self, state: DeliveryState) -> Vec<Delivery> {
        listing(&self.path).deliveries(None, Some(state)).unwrap()
    }
}

fn listing(path: &Path) -> Sqlite {
    Sqlite::open_read_only(path).unwrap()
}

fn quick() -> Pace {
    Pace { first: Duration::from_millis(2), most: Duration::from_millis(10), ..Pace::default() }
}

impl Process {
    async fn owe(&self, id: &str, case: &str, to: &[&str]) {
        let to = to.iter().map(|name| (*name).to_owned()).collect();
        let commit = Commit { messages: vec![(message(id, case), to)], ..Commit::default() };
        self.store.with(move |store| store.commit(&commit)).await.unwrap();
        self.outbox.wake();
    }

    async fn report(&mut self) -> Report {
        let waited = tokio::time::timeout(Duration::from_secs(30), self.reports.recv()).await;
        waited.expect("a report within the deadline").expect("workers that live")
    }
}

fn delivered(id: &str, destination: &str) -> Report {
    Report::Delivered { message_id: id.into(), destination: destination.into(), reference: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_gets_through_every_fault_under_one_id() {
    let faults = vec![
        Act::status(500),
        Act::retry_after(429, "0"),
        Act::Drop,
        Act::Hold(200),
        Act::BreakOff(503),
        Act::status(408),
        Act::body(201, r#"{"job_id": "j-7"}"#),
    ];
    let tries = faults.len();
    let server = Server::start(faults, Act::status(500)).await;
    let queue = destination("queue", "queue", &server.url(), http(Duration::from_millis(250)));
    let state = State::new();
    let mut process = state.start(vec![queue]).await;
    process.owe("m1", "c1", &["queue"]).await;
    let reference = Some("j-7".to_owned());
    let want = Report::Delivered { message_id: "m1".into(), destination: "queue".into(), reference };
    assert_eq!(process.report().await, want);
    process.outbox.stop().await;
    assert_eq!(server.ids(), vec!["m1"; tries], "every try has the id of the first, and none follows the success");
    let rows = state.deliveries(DeliveryState::Delivered);
    assert_eq!((rows.len(), rows[0].attempts as usize), (1, tries));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_success_is_never_sent_again() {
    let server = Server::start(vec![], Act::status(200)).await;
    let state = State::new();
    for round in 0..3 {
        let queue = destination("queue", "queue", &server.url(), patient());
        let mut process = state.start(vec![queue]).await;
        process.owe("m1", "c1", &["queue"]).await;
        let fresh = format!("round-{round}");
        process.owe(&fresh, "c1", &["queue"]).await;
        while process.report().await != delivered(&fresh, "queue") {}
        process.outbox.stop().await;
    }
    assert_eq!(server.ids(), ["m1", "round-0", "round-1", "round-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_under_way_is_sent_again_or_held_as_chosen() {
    for (preset, on_unknown, sent_again) in [
        ("queue", OnUnknown::Hold, true),
        ("webhook", OnUnknown::Resend, true),
        ("slack", OnUnknown::Resend, true),
        ("slack", OnUnknown::Hold, false),
    ] {
        let server = Server::start(vec![Act::Hold(200)], Act::status(200)).await;
        let setup = || Setup { name: "there".into(), on_unknown, ..Setup::default() };
        let url = server.url();
        let there = || configured(preset, setup(), &[("url", &url)], patient());
        let state = State::new();
        let process = state.start(vec![there()]).await;
        process.owe("m1", "c1", &["there"]).await;
        until("the request arrives", || server.received().len() == 1).await;
        assert_eq!(state.deliveries(DeliveryState::Sending).len(), 1, "marked before the first byte went out");
        drop(process);

        let mut process = state.start(vec![there()]).await;
        process.owe("m2", "c1", &["there"]).await;
        if sent_again {
            assert_eq!(process.report().await, delivered("m1", "there"), "{preset} {on_unknown:?}");
        }
        assert_eq!(process.report().await, delivered("m2", "there"), "{preset} {on_unknown:?}: it holds up nothing");
        process.outbox.stop().await;
        assert_eq!(server.received().len(), if sent_again { 3 } else { 2 }, "{preset} {on_unknown:?}");
        let held = state.deliveries(DeliveryState::Held);
        assert_eq!(held.len(), usize::from(!sent_again), "{preset} {on_unknown:?}: shown to the operator");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_hangs_or_is_down_delays_no_other() {
    let hanging = Server::start(vec![], Act::Hold(200)).await;
    let failing = Server::start(vec![], Act::retry_after(503, "3600")).await;
    let healthy = Server::start(vec![], Act::status(200)).await;
    let state = State::new();
    let mut process = state
        .start(vec![
            destination("webhook", "hanging", &hanging.url(), patient()),
            destination("webhook", "failing", &failing.url(), patient()),
            destination("webhook", "healthy", &healthy.url(), patient()),
        ])
        .await;
    let ids: Vec<String> = (0..20).map(|index| format!("m{index}")).collect();
    for id in &ids {
        process.owe(id, "c1", &["hanging", "failing", "healthy"]).await;
    }
    for id in &ids {
        assert_eq!(process.report().await, delivered(id, "healthy"));
    }
    assert_eq!(healthy.ids(), ids, "in order");
    assert_eq!(hanging.received().len(), 1, "one at a time");
    assert!(failing.received().len() <= 1, "it asked to be left alone");
    hanging.let_go();
    assert_eq!(process.report().await, delivered("m0", "hanging"));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_case_keep_their_order_and_other_cases_pass_by() {
    let server = Server::start(vec![Act::status(500)], Act::status(200)).await;
    let state = State::new();
    let mut owed = Sqlite::open(&state.path).unwrap();
    let to = || vec!["queue".to_owned()];
    let messages = vec![(message("a1", "a"), to()), (message("a2", "a"), to()), (message("b1", "b"), to())];
    owed.commit(&Commit { messages, ..Commit::default() }).unwrap();
    drop(owed);
    let slow = Pace { first: Duration::from_secs(1), most: Duration::from_secs(1), ..Pace::default() };
    let queue = destination("queue", "queue", &server.url(), patient());
    let mut process = state.start_at_pace(vec![queue], slow).await;
    for _ in 0..3 {
        process.report().await;
    }
    process.outbox.stop().await;
    // Its second message waits for the repetition of the first; the other case does not.
    assert_eq!(server.ids(), ["a1", "b1", "a1", "a2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_outlives_whoever_should_have_been_told() {
    let body = r#"{"error": "train.py has no --batch-norm", "unknown_knobs": ["batch_norm"]}"#;
    let server = Server::start(vec![Act::body(422, body)], Act::status(200)).await;
    let state = State::new();
    let mut process = state.start(vec![destination("queue", "queue", &server.url(), patient())]).await;
    process.reports.close();
    process.owe("m1", "c1", &["queue"]).await;
    until("the refusal is recorded", || state.deliveries(DeliveryState::Refused).len() == 1).await;
    process.outbox.stop().await;

    let process = state.start(vec![destination("queue", "queue", &server.url(), patient())]).await;
    let found = bad_ends(&process.store).await.unwrap();
    let [Report::Refused { message_id, destination, unknown_knobs, why }] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((message_id.as_str(), destination.as_str()), ("m1", "queue"));
    assert_eq!(unknown_knobs, &["batch_norm"]);
    assert!(why.contains("train.py has no --batch-norm"), "{why}");
    process.outbox.stop().await;
    assert_eq!(server.ids(), ["m1"], "a refusal is not retried");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_given_up_in_the_end_and_the_next_message_gets_its_turn() {
    let server =
        Server::start(vec![Act::status(500), Act::Drop, Act::status(503), Act::status(404)], Act::status(200)).await;
    let state = State::new();
    let pace = Pace { give_up: Duration::ZERO, least_tries: 3, ..quick() };
    let mut process = state.start_at_pace(vec![destination("queue", "queue", &server.url(), patient())], pace).await;
    for id in ["m1", "m2", "m3"] {
        process.owe(id, "c1", &["queue"]).await;
    }
    for (id, part) in [("m1", "503"), ("m2", "check the address")] {
        match process.report().await {
            Report::Dead { message_id, why, .. } => {
                assert!(message_id == id && why.contains(part), "{message_id}: {why}")
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(process.report().await, delivered("m3", "queue"));
    process.outbox.stop().await;
    assert_eq!(server.ids(), ["m1", "m1", "m1", "m2", "m3"]);
    assert_eq!(state.deliveries(DeliveryState::Dead).len(), 2, "kept for the operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_what_is_under_way_finish() {
    let server = Server::start(vec![], Act::Hold(200)).await;
    let state = State::new();
    let process = state.start(vec![destination("queue", "queue", &server.url(), patient())]).await;
    process.owe("m1", "c1", &["queue"]).await;
    process.owe("m2", "c1", &["queue"]).await;
    until("the request arrives", || server.received().len() == 1).await;
    let stopping = tokio::spawn(process.outbox.stop());
    assert!(!stopping.is_finished());
    server.let_go();
    stopping.await.unwrap();
    let ids = |state_of| state.deliveries(state_of).iter().map(|row| row.message.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(DeliveryState::Delivered), ["m1"]);
    assert_eq!(ids(DeliveryState::Pending), ["m2"], "nothing new was begun");
    assert_eq!(server.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_comes_back_gets_what_it_missed() {
    let address = {
        let gone = Server::start(vec![], Act::Drop).await;
        gone.address().to_owned()
    };
    let state = State::new();
    let url = format!("http://{address}/runs");
    let mut process = state.start(vec![destination("queue", "queue", &url, patient())]).await;
    for id in ["m1", "m2"] {
        process.owe(id, id, &["queue"]).await;
    }
    let tried = || listing(&state.path).deliveries(None, None).unwrap().iter().any(|row| row.attempts > 1);
    until("it was tried in vain", tried).await;
    let server = Server::start_at(&address, vec![], Act::status(200)).await;
    let mut ends = [process.report().await, process.report().await];
    ends.sort_by_key(|report| format!("{report:?}"));
    assert_eq!(ends, [delivered("m1", "queue"), delivered("m2", "queue")]);
    assert_eq!(server.received()[0].path, "/runs");
}

/// Slack's answer to a message that it took.
fn posted(ts: &str) -> Act {
    Act::body(200, &json!({"ok": true, "channel": "C024", "ts": ts}).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_may_have_arrived_is_cancelled_too() {
    let server = Server::start(vec![], Act::status(204)).await;
    let state = State::new();
    let mut store = Sqlite::open(&state.path).unwrap();
    let mut commit = |id: &str, body| {
        let messages = vec![(Message { body, ..message(id, "c1") }, vec!["queue".to_owned()])];
        store.commit(&Commit { messages, ..Commit::default() }).unwrap();
        store.lease("queue", 1.0, 1).unwrap()
    };
    // The process ended while it sent the run; the case then did not want it any more.
    assert_eq!(commit("m1", message("m1", "c1").body).len(), 1);
    let cancelled = body(MessageKind::RunCancelled, json!({"suggestion_id": "m1"}));
    commit(&RunCancelled::id_for("m1"), cancelled);
    drop(store);
    let process = state.start(vec![destination("queue", "queue", &server.url(), patient())]).await;
    until("it is cancelled", || server.received().iter().any(|request| request.method == "DELETE")).await;
    process.outbox.stop().await;
    let methods: Vec<String> = server.received().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["DELETE"], "it is not sent again");
}

fn slack_bot(server: &Server, on_unknown: OnUnknown) -> Destination {
    let api = format!("http://{}/api", server.address());
    let fields = [("token", "xoxb-s3cret"), ("channel", "C1"), ("api", api.as_str())];
    configured("slack_bot", Setup { name: "team".into(), on_unknown, ..Setup::default() }, &fields, patient())
}

fn owed(store: &SharedStore, id: &str, kind: MessageKind) {
    let message = Message { body: body(kind, json!({"verdict": "recovered", "step": id})), ..message(id, "c1") };
    let commit = Commit { messages: vec![(message, vec!["team".into()])], ..Commit::default() };
    store.blocking(|store| store.commit(&commit)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_is_one_thread_in_slack_also_after_a_restart() {
    let updated = Act::body(200, r#"{"ok": true}"#);
    let script = vec![posted("1.1"), posted("1.2"), updated.clone(), posted("1.3"), updated];
    let server = Server::start(script, Act::status(500)).await;
    let state = State::new();
    let mut process = state.start(vec![slack_bot(&server, OnUnknown::Resend)]).await;
    owed(&process.store, "m1", MessageKind::CaseOpened);
    process.outbox.wake();
    process.report().await;
    process.outbox.stop().await;

    let mut process = state.start(vec![slack_bot(&server, OnUnknown::Resend)]).await;
    owed(&process.store, "m2", MessageKind::RunSuggested);
    owed(&process.store, "m3", MessageKind::CaseClosed);
    process.outbox.wake();
    for (id, reference) in [("m2", "C024/1.2"), ("m3", "C024/1.3")] {
        let reference = Some(reference.to_owned());
        let want = Report::Delivered { message_id: id.into(), destination: "team".into(), reference };
        assert_eq!(process.report().await, want);
    }
    process.outbox.stop().await;
    let seen: Vec<_> =
        server.received().iter().map(|r| (r.path.clone(), r.json("/thread_ts"), r.json("/ts"))).collect();
    let row = |path: &str, thread: &str, ts: &str| (format!("/api/{path}"), thread.to_owned(), ts.to_owned());
    let first = row("chat.postMessage", "", "");
    let later = row("chat.postMessage", "1.1", "");
    let update = row("chat.update", "", "1.1");
    assert_eq!(seen, [first, later.clone(), update.clone(), later, update], "the first shows how the case stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_is_asked_for_what_a_crash_left_under_way() {
    let there = json!({"ok": true, "messages": [{"ts": "1.1", "metadata": {"event_payload": {"dedup_key": "m1"}}}]});
    let absent = json!({"ok": true, "messages": [{"ts": "1.0", "text": "hello"}]});
    for (answer, requests) in [(there, "POST GET"), (absent, "POST GET POST")] {
        let answer = Act::body(200, &answer.to_string());
        let server = Server::start(vec![Act::Hold(200), answer, posted("1.1")], Act::status(500)).await;
        let state = State::new();
        let process = state.start(vec![slack_bot(&server, OnUnknown::Hold)]).await;
        owed(&process.store, "m1", MessageKind::CaseOpened);
        process.outbox.wake();
        until("the request arrives", || server.received().len() == 1).await;
        drop(process);

        let mut process = state.start(vec![slack_bot(&server, OnUnknown::Hold)]).await;
        assert!(matches!(process.report().await, Report::Delivered { .. }));
        process.outbox.stop().await;
        let methods: Vec<String> = server.received().iter().map(|request| request.method.clone()).collect();
        assert_eq!(methods.join(" "), requests);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_slack_cannot_say_is_held_for_a_person() {
    let cannot = Act::body(200, r#"{"ok": false, "error": "missing_scope"}"#);
    let server = Server::start(vec![Act::Drop, cannot], Act::status(500)).await;
    let state = State::new();
    let process = state.start(vec![slack_bot(&server, OnUnknown::Hold)]).await;
    owed(&process.store, "m1", MessageKind::CaseOpened);
    process.outbox.wake();
    let held = || !state.deliveries(DeliveryState::Held).is_empty();
    until("it is held", held).await;
    process.outbox.stop().await;
    assert_eq!(server.received().len(), 2, "sent once, asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_sent_again_is_asked_for_first() {
    let cannot = || Act::body(200, r#"{"ok": false, "error": "missing_scope"}"#);
    let there = json!({"ok": true, "messages": [{"ts": "1.1", "metadata": {"event_payload": {"dedup_key": "m1"}}}]});
    for (answer, requests) in [(Act::body(200, &there.to_string()), "POST GET GET"), (cannot(), "POST GET GET POST")] {
        let server = Server::start(vec![Act::Drop, cannot(), answer, posted("1.1")], Act::status(500)).await;
        let state = State::new();
        let mut process = state.start(vec![slack_bot(&server, OnUnknown::Hold)]).await;
        owed(&process.store, "m1", MessageKind::CaseOpened);
        process.outbox.wake();
        let held = || !state.deliveries(DeliveryState::Held).is_empty();
        until("it is held", held).await;
        let decisions = vec![(1, Decision::Resend)];
        process.store.with(|store| store.commit(&Commit { decisions, ..Commit::default() })).await.unwrap();
        process.outbox.wake();
        assert!(matches!(process.report().await, Report::Delivered { .. }));
        process.outbox.stop().await;
        let methods: Vec<String> = server.received().iter().map(|request| request.method.clone()).collect();
        assert_eq!(methods.join(" "), requests);
    }
}
