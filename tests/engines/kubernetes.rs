//! Kubernetes with conflicts, suspension, evictions, out-of-memory kills and token rotation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nextrun::destinations::{Fresh, Preset, Reread, Secret, Setup};
use nextrun::fate::{Fate, FateState};
use nextrun::outbox::{OpenRuns, Report};
use serde_json::json;

use crate::api_server::ApiServer;
use crate::stage::{Process, State, cancelled, set_up, suggested};
use crate::support::until;

const JOB: &str = "nextrun-m1";

fn fields(server: &ApiServer, more: &[(&str, &str)]) -> BTreeMap<String, Secret> {
    let url = server.url();
    let plain = [
        ("url", url.as_str()),
        ("token", "t-0"),
        ("namespace", "ml"),
        ("image", "train:1"),
        ("claim", "runs"),
        ("mount", "/data"),
    ];
    plain.iter().chain(more).map(|(name, value)| ((*name).to_owned(), Secret::new(value))).collect()
}

async fn start(state: &State, server: &ApiServer, more: &[(&str, &str)]) -> Process {
    let preset = Arc::new(Preset::shipped("kubernetes").unwrap());
    let status_every = Some(Duration::from_millis(50));
    let setup = Setup { fields: fields(server, more), status_every, ..Setup::default() };
    state.start(set_up(preset, setup)).await
}

fn fate(state: FateState, reason: &str) -> Fate {
    Fate { reason: (!reason.is_empty()).then(|| reason.to_owned()), ..Fate::new(state) }
}

fn running() -> serde_json::Value {
    json!({"phase": "Running"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_answer_was_lost_is_made_once() {
    let (server, state) = (ApiServer::start("t-0").await, State::new());
    let mut process = start(&state, &server, &[]).await;
    server.swallow_one();
    process.owe(suggested("m1", None)).await;
    assert_eq!(process.delivered().await.as_deref(), Some(JOB));
    process.outbox.stop().await;
    assert_eq!(server.made(), [JOB]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_told_and_waited_for() {
    let (server, state) = (ApiServer::start("t-0").await, State::new());
    server.set_quota(Some("exceeded quota: gpus, requested: requests.nvidia.com/gpu=1"));
    let mut process = start(&state, &server, &[]).await;
    process.owe(suggested("m1", None)).await;
    let Report::Blocked { why, .. } = process.report().await else { panic!("nobody is told") };
    assert!(why.contains("ResourceQuota") && why.contains("requested"), "{why}");
    server.set_quota(None);
    assert_eq!(process.delivered().await.as_deref(), Some(JOB));
    process.outbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_rotates_is_read_again() {
    let (server, state) = (ApiServer::start("t-0").await, State::new());
    let (file, all) = (Arc::new(Mutex::new("t-0")), fields(&server, &[]));
    let read = Arc::clone(&file);
    let reread: Reread = Arc::new(move || {
        let mut fields = all.clone();
        fields.insert("token".to_owned(), Secret::new(*read.lock().unwrap()));
        Ok(Fresh { fields, accounts: None })
    });
    let preset = Arc::new(Preset::shipped("kubernetes").unwrap());
    let setup = Setup { fields: fields(&server, &[]), reread: Some(reread), ..Setup::default() };
    let mut process = state.start(set_up(preset, setup)).await;
    process.owe(suggested("m1", None)).await;
    assert_eq!(process.delivered().await.as_deref(), Some(JOB));

    server.rotate("t-1");
    process.owe(suggested("m2", None)).await;
    let Report::Blocked { why, .. } = process.report().await else { panic!("nobody is told") };
    assert!(why.contains("write a new one to its file"), "{why}");
    *file.lock().unwrap() = "t-1";
    assert_eq!(process.delivered().await.as_deref(), Some("nextrun-m2"));
    process.outbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kueue_suspends_is_queued_until_it_runs_and_says_how_it_was_preempted() {
    let (server, state) = (ApiServer::start("t-0").await, State::new());
    let mut process = start(&state, &server, &[("queue", "research")]).await;
    process.owe(suggested("m1", None)).await;
    assert_eq!(process.delivered().await.as_deref(), Some(JOB));
    assert_eq!(server.jobs()[0]["spec"]["suspend"], true);
    server.workload(JOB, "QuotaReserved", "False", "WaitingForQuota");
    process.wait_for("m1");
    let mut expected = vec![fate(FateState::Queued, "WaitingForQuota: WaitingForQuota.")];
    until("it is queued", || state.fates("m1") == expected).await;

    server.suspend(JOB, false);
    server.pod(JOB, &running());
    expected.push(fate(FateState::Running, ""));
    until("it runs", || state.fates("m1") == expected).await;

    server.suspend(JOB, true);
    server.workload(JOB, "Evicted", "True", "Preempted");
    expected.push(fate(FateState::Queued, "Preempted: Preempted."));
    until("it is preempted", || state.fates("m1") == expected).await;

    server.suspend(JOB, false);
    server.pod(JOB, &running());
    expected.push(Fate { attempt: Some(2), ..fate(FateState::Running, "") });
    until("it runs again", || state.fates("m1") == expected).await;

    server.set_pod(
        JOB,
        &json!({"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}),
    );
    server.condition(JOB, "Complete", "CompletionsReached");
    expected.push(Fate { attempt: Some(2), exit_code: Some(0), ..fate(FateState::Ended, "") });
    until("it ends", || state.fates("m1") == expected).await;
    process.outbox.wait_for(&OpenRuns::default());
    process.outbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_killed_for_memory_or_fails_says_so_with_the_end_of_its_log() {
    let killed = json!({"exitCode": 137, "reason": "OOMKilled", "message": "epoch 3"});
    let raised = json!({"exitCode": 1, "reason": "Error", "message": "RuntimeError: no such file"});
    for (terminated, state_then, reason, exit_code, signal) in [
        (&killed, FateState::OutOfMemory, "OOMKilled", None, Some(9)),
        (&raised, FateState::Failed, "BackoffLimitExceeded.", Some(1), None),
    ] {
        let (server, state) = (ApiServer::start("t-0").await, State::new());
        let mut process = start(&state, &server, &[]).await;
        process.owe(suggested("m1", None)).await;
        assert_eq!(process.delivered().await.as_deref(), Some(JOB));
        server.pod(JOB, &json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": terminated}}]}));
        server.condition(JOB, "Failed", "BackoffLimitExceeded");
        process.wait_for("m1");
        let tail = terminated["message"].as_str().map(str::to_owned);
        let expected = Fate { exit_code, signal, tail, ..fate(state_then, reason) };
        until("the end is told", || state.fates("m1") == [expected.clone()]).await;
        process.outbox.wait_for(&OpenRuns::default());
        process.outbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_waits_for_is_deleted_once_and_one_that_is_gone_is_gone() {
    let (server, state) = (ApiServer::start("t-0").await, State::new());
    let mut process = start(&state, &server, &[]).await;
    process.owe(suggested("m1", None)).await;
    assert_eq!(process.delivered().await.as_deref(), Some(JOB));
    server.swallow_one();
    process.owe(cancelled("m1")).await;
    assert_eq!(process.delivered().await, None);
    assert!(server.jobs().is_empty());
    process.wait_for("m1");
    until("it is gone", || state.fates("m1") == [Fate::new(FateState::Gone)]).await;
    process.outbox.wait_for(&OpenRuns::default());
    process.outbox.stop().await;
}
