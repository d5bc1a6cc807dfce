//! Slurm with normal and faulty responses and lost jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nextrun::destinations::{Destination, Fresh, Preset, Reread, Secret, Setup};
use nextrun::fate::{Fate, FateState};
use nextrun::outbox::{OpenRuns, Report};
use nextrun::store::{Commit, DeliveryState, Sqlite, Store};
use serde_json::json;

use crate::stage::{State, cancelled, set_up, suggested};
use crate::support::{Act, Server, until};

/// The preset as it comes, but for how long it waits for a request that may be late.
fn preset() -> Arc<Preset> {
    let yaml = Preset::yaml("slurm").unwrap();
    assert!(yaml.contains("grace: 20"));
    Arc::new(Preset::parse("slurm", &yaml.replace("grace: 20", "grace: 0.05")).unwrap())
}

fn fields(server: &Server) -> BTreeMap<String, Secret> {
    let url = format!("http://{}", server.address());
    let fields =
        [("url", url.as_str()), ("version", "v0.0.38"), ("user", "ada"), ("token", "t0k3n"), ("directory", "/d")];
    fields.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect()
}

fn slurm(server: &Server) -> Destination {
    set_up(preset(), Setup { fields: fields(server), ..Setup::default() })
}

/// Method and path of each request.
fn asked(server: &Server) -> Vec<String> {
    let short = |path: &str| path.replace("/slurm/v0.0.38", "");
    server.received().iter().map(|request| format!("{} {}", request.method, short(&request.path))).collect()
}

fn submitted(job: u32) -> Act {
    Act::body(200, &json!({"job_id": job, "errors": [{"error_code": 2042, "error": "held"}]}).to_string())
}

fn done() -> Act {
    Act::body(200, r#"{"errors": []}"#)
}

fn jobs(jobs: serde_json::Value) -> Act {
    Act::body(200, &json!({"jobs": jobs, "errors": []}).to_string())
}

fn error(code: u32) -> Act {
    Act::body(500, &json!({"errors": [{"error_number": code, "error": "no"}], "jobs": []}).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_before_the_release_goes_on_with_the_job_that_it_submitted() {
    // The release is never answered; the next one finds that the job has run and was forgotten since.
    let server = Server::start(vec![submitted(17), Act::Hold(200), error(2017)], Act::status(500)).await;
    let state = State::new();
    let process = state.start(slurm(&server)).await;
    process.owe(suggested("m1", None)).await;
    until("the release arrives", || server.received().len() == 2).await;
    drop(process);

    let mut process = state.start(slurm(&server)).await;
    assert_eq!(process.delivered().await.as_deref(), Some("17"));
    process.outbox.stop().await;
    assert_eq!(asked(&server), ["POST /job/submit", "POST /job/17", "POST /job/17"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_yet_is_asked_for_again_before_it_is_sent_again() {
    let script = vec![Act::Drop, jobs(json!([])), jobs(json!([{"name": "other", "job_id": 3}])), submitted(18), done()];
    let server = Server::start(script, Act::status(500)).await;
    let state = State::new();
    let mut process = state.start(slurm(&server)).await;
    process.owe(suggested("m1", None)).await;
    assert_eq!(process.delivered().await.as_deref(), Some("18"));
    process.outbox.stop().await;
    assert_eq!(asked(&server), ["POST /job/submit", "GET /jobs", "GET /jobs", "POST /job/submit", "POST /job/18"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_job_that_is_there_twice_the_younger_is_cancelled() {
    let job = |id: u32| json!({"name": "nextrun-m1", "comment": "nextrun m1", "job_id": id, "job_state": "PENDING"});
    let script = vec![Act::Drop, jobs(json!([job(19), job(17)])), done(), done()];
    let server = Server::start(script, Act::status(500)).await;
    let state = State::new();
    let mut process = state.start(slurm(&server)).await;
    process.owe(suggested("m1", None)).await;
    assert_eq!(process.delivered().await.as_deref(), Some("17"));
    process.outbox.stop().await;
    assert_eq!(asked(&server), ["POST /job/submit", "GET /jobs", "DELETE /job/19", "POST /job/17"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_every_job_of_a_large_cluster_is_read_to_its_end() {
    let other = json!({"name": "other", "comment": "x".repeat(4000), "job_id": 1});
    let mut all = vec![other; 10_000];
    all.push(json!({"name": "nextrun-m1", "comment": "", "job_id": 17, "job_state": "PENDING"}));
    let server = Server::start(vec![Act::Drop, jobs(json!(all)), done()], Act::status(500)).await;
    let state = State::new();
    let mut process = state.start(slurm(&server)).await;
    process.owe(suggested("m1", None)).await;
    assert_eq!(process.delivered().await.as_deref(), Some("17"));
    process.outbox.stop().await;
    assert_eq!(asked(&server), ["POST /job/submit", "GET /jobs", "POST /job/17"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_site_must_mend_is_waited_for_and_told() {
    let script = vec![error(2000), error(2000), submitted(17), done()];
    let server = Server::start(script, Act::status(500)).await;
    let state = State::new();
    let mut process = state.start(slurm(&server)).await;
    process.owe(suggested("m1", None)).await;
    let Report::Blocked { message_id, why, .. } = process.report().await else { panic!("nobody is told") };
    assert!(message_id == "m1" && why.contains("check `partition`"), "{why}");
    assert_eq!(process.delivered().await.as_deref(), Some("17"));
    process.outbox.stop().await;
    assert_eq!(asked(&server).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_waits_for_is_cancelled_where_it_is_and_not_sent_where_it_is_not() {
    let server = Server::start(vec![submitted(17), done(), error(1800), done()], error(2000)).await;
    let state = State::new();
    let mut process = state.start(slurm(&server)).await;
    process.owe(suggested("m1", None)).await;
    assert_eq!(process.delivered().await.as_deref(), Some("17"));
    process.owe(cancelled("m1")).await;
    assert_eq!(process.delivered().await, None);
    let before = asked(&server);
    assert_eq!(before[2..], ["DELETE /job/17", "DELETE /job/17"], "it is asked until it is done");

    process.owe(suggested("m2", None)).await;
    assert!(matches!(process.report().await, Report::Blocked { .. }));
    process.owe(cancelled("m2")).await;
    assert_eq!(process.delivered().await, None);
    process.outbox.stop().await;
    let after = asked(&server).split_off(before.len());
    assert!(after.iter().all(|request| request == "POST /job/submit"), "nothing was there to be cancelled: {after:?}");
    let m2 = state.deliveries().into_iter().find(|row| row.message.id == "m2").unwrap();
    assert_eq!(m2.state, DeliveryState::Dead);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_job_that_nobody_waits_for_is_not_released() {
    // The submission was not answered; meanwhile the case closed.
    let job = json!([{"name": "nextrun-m1", "job_id": 17, "job_state": "PENDING"}]);
    let server = Server::start(vec![Act::Hold(200), jobs(job), done()], Act::status(500)).await;
    let state = State::new();
    let process = state.start(slurm(&server)).await;
    process.owe(suggested("m1", None)).await;
    until("the submission arrives", || server.received().len() == 1).await;
    drop(process);

    let commit = Commit { messages: vec![(cancelled("m1"), vec!["cluster".into()])], ..Commit::default() };
    Sqlite::open(&state.path).unwrap().commit(&commit).unwrap();
    let mut process = state.start(slurm(&server)).await;
    assert_eq!(process.delivered().await.as_deref(), Some("17"));
    assert_eq!(process.delivered().await, None);
    process.outbox.stop().await;
    let asked = asked(&server);
    assert!(!asked.contains(&"POST /job/17".to_owned()) && asked.last().unwrap() == "DELETE /job/17", "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_renewed_is_used_and_each_owner_has_their_own() {
    let server = Server::start(vec![error(1007), submitted(17), done()], Act::status(500)).await;
    let (reads, all) = (Arc::new(AtomicU32::new(0)), fields(&server));
    let reread: Reread = Arc::new(move || {
        let token = format!("token-{}", reads.fetch_add(1, Ordering::SeqCst));
        let accounts = BTreeMap::from([("grace".to_owned(), Secret::new(&token))]);
        Ok(Fresh { fields: all.clone(), accounts: Some(accounts) })
    });
    let accounts = Some(BTreeMap::from([("grace".to_owned(), Secret::new("old"))]));
    let setup = Setup { fields: fields(&server), reread: Some(reread), accounts, ..Setup::default() };
    let state = State::new();
    let mut process = state.start(set_up(preset(), setup)).await;
    process.owe(suggested("m1", Some("grace"))).await;
    assert_eq!(process.delivered().await.as_deref(), Some("17"));
    let sent: Vec<(String, String)> = server
        .received()
        .iter()
        .map(|request| (request.headers["x-slurm-user-name"].clone(), request.headers["x-slurm-user-token"].clone()))
        .collect();
    assert!(sent.iter().all(|(user, _)| user == "grace"), "{sent:?}");
    assert!(sent[0].1 != sent[1].1 && sent[1].1.starts_with("token-"), "{sent:?}");

    process.owe(suggested("m2", Some("eve"))).await;
    let Report::Blocked { why, .. } = process.report().await else { panic!("a run without an account went out") };
    assert!(why.contains("`users` has no token for eve"), "{why}");
    process.outbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_run_is_asked_while_a_case_waits_for_it_and_told_once() {
    let job = |state: &str, reason: &str, code: u32| {
        jobs(json!([{"name": "nextrun-m1", "job_state": state, "state_reason": reason, "exit_code": code}]))
    };
    let script = vec![submitted(17), done(), job("PENDING", "Resources", 0), job("PENDING", "Resources", 0)];
    let server = Server::start(script, job("FAILED", "NonZeroExitCode", 512)).await;
    let state = State::new();
    let status_every = Some(Duration::from_millis(100));
    let setup = Setup { fields: fields(&server), status_every, ..Setup::default() };
    let mut process = state.start(set_up(preset(), setup)).await;
    process.owe(suggested("m1", None)).await;
    assert_eq!(process.delivered().await.as_deref(), Some("17"));
    let told = || state.fates("m1");
    assert!(told().is_empty(), "nobody waits for it yet");
    process.wait_for("m1");
    until("the end is told", || told().len() == 2).await;
    let asked_so_far = server.received().len();
    until("it is asked again", || server.received().len() > asked_so_far + 1).await;
    let reason = |text: &str| Some(text.to_owned());
    let queued = Fate { reason: reason("Resources"), ..Fate::new(FateState::Queued) };
    let failed = Fate { reason: reason("NonZeroExitCode"), exit_code: Some(2), ..Fate::new(FateState::Failed) };
    assert_eq!(told(), [queued, failed], "what is no news is not told");
    process.outbox.wait_for(&OpenRuns::default());
    process.outbox.stop().await;
}
