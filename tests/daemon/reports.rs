//! Status reports over HTTP: permissions, responses, and durability.

use std::io::{Read, Write};
use std::net::TcpStream;

use nextrun::case::CaseId;
use nextrun::fate::{FateState, JobFate};
use nextrun::store::{Sqlite, Store};
use serde_json::{Value, json};

use super::hand::POLICY;
use super::operate::{address, get, metric};
use super::stage::Stage;
use super::training::{Run, knobs, with};
use super::web::Receiver;

const REPORT: &str = "authorization: Bearer r3port\r\n";
pub(crate) const ACT: &str = "authorization: Bearer 4ct\r\n";

/// A stage whose daemon has a job with an open case.
fn stage(configuration: &str) -> (Stage, String) {
    let stage = Stage::new();
    stage.write("short.yaml", POLICY);
    stage.write("read", "r3ad\n");
    stage.write("report", "r3port\n");
    stage.write("act", "4ct\n");
    let configuration = stage.write("nextrun.yaml", configuration);
    (stage, configuration.to_str().unwrap().to_owned())
}

const CONFIGURATION: &str = "policy: ./short.yaml\ncontrol: never\nlimits: { ask_wait: 1h }\nstatus:\n  listen: 127.0.0.1:0\n  \
    tokens: { report: { file: report }, act: { file: act } }\n";

pub(crate) fn post(address: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{answer}")), answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

fn fates(stage: &Stage, baseline: &str) -> Vec<Value> {
    let Some(case) = stage.case_of(baseline) else { return Vec::new() };
    stage.journal(&case).into_iter().filter(|entry| entry.kind == "fate").map(|entry| entry.detail).collect()
}

#[test]
fn reports_need_their_token_and_each_way_of_being_wrong_has_its_answer() {
    let (stage, configuration) = stage(CONFIGURATION);
    let (queue, webhook) = (Receiver::of_everything(), Receiver::of_everything());
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    Run::new(&stage.logdir(), "team a/sick", &knobs(10.0)).train();
    stage.until("a run is suggested", || !queue.events().is_empty());
    let id = queue.events()[0].text("/id").to_owned();
    let page = address(&stage);
    let experiment = format!("/v1/experiments/{id}");
    let failed =
        json!({"state": "failed", "exit_code": 2, "signal": null, "tail": "train.py --api-key=sk-0123456789\n\u{1b}[2J"}).to_string();
    for (headers, status) in
        [("", 401), (ACT, 401), ("authorization: Bearer r3ad\r\n", 401), (REPORT, 202), (REPORT, 202)]
    {
        assert_eq!(post(&page, &experiment, headers, &failed).0, status, "{headers}");
    }
    for (path, body, status, words) in [
        ("/v1/experiments/c1-01-abc", failed.as_str(), 404, "no suggestion"),
        ("/v1/experiments/..%2F..", &failed, 404, "no suggestion"),
        ("/v1/jobs/nobody", &failed, 404, "no job"),
        (&experiment, "{}", 400, "state"),
        (&experiment, r#"{"state": "dancing"}"#, 400, "dancing"),
        (&experiment, "not json", 400, "not a valid status"),
        (&experiment, &format!("{{\"state\": \"failed\", \"tail\": \"{}\"}}", "x".repeat(70_000)), 413, ""),
    ] {
        let (got, told) = post(&page, path, REPORT, body);
        assert!(got == status && told.contains(words), "{path} {body:.60}: {got} {told}");
    }
    assert!(get(&page, &experiment, REPORT).starts_with("HTTP/1.1 405"));

    let baseline = "/v1/jobs/team%20a%2Fsick";
    assert_eq!(post(&page, baseline, "", &failed).0, 401);
    assert_eq!(post(&page, baseline, REPORT, r#"{"state": "out_of_memory", "reason": "oom"}"#).0, 202);
    stage.until("both are in the journal", || fates(&stage, "team a/sick").len() == 2);
    let [experiment_fate, baseline_fate] = fates(&stage, "team a/sick").try_into().unwrap();
    assert_eq!(experiment_fate["suggestion_id"], id.as_str());
    assert_eq!((&experiment_fate["state"], &experiment_fate["exit_code"]), (&json!("failed"), &json!(2)));
    assert_eq!((&baseline_fate["baseline"], &baseline_fate["reason"]), (&json!("team a/sick"), &json!("oom")));
    let case = stage.case_of("team a/sick").unwrap().id;
    check_shown(&stage, &case, &id);
    assert_eq!(
        metric(&page, "nextrun_fates_total{state=\"failed\"}"),
        Some(2.0),
        "the same again is taken, and no news"
    );
}

/// What the program shows of a case whose experiment failed, as text and as JSON: nothing that should not be shown.
fn check_shown(stage: &Stage, case: &CaseId, id: &str) {
    let text = stage.cases(&["show", &case.0]);
    assert!(text.contains("failed") && !text.contains('\u{1b}') && !text.contains("0123456789"), "{text:?}");
    let json = stage.cases(&["show", &case.0, "--format", "json"]);
    assert!(!json.contains('\u{1b}') && !json.contains("0123456789"), "{json}");
    let shown: Value = serde_json::from_str(&json).unwrap();
    for field in
        "case_id baseline_run policy state opened updated symptoms not_tried verdict confidence summary recommended \
                  evidence hyperparameters journal messages"
            .split_whitespace()
    {
        assert!(shown.get(field).is_some(), "{field}: {shown}");
    }
    let experiment = &shown["experiments"][0];
    assert_eq!((&experiment["suggestion_id"], &experiment["fate"]["state"]), (&json!(id), &json!("failed")));
    assert_eq!((&experiment["outcome"], &experiment["cost"]["real"]), (&Value::Null, &Value::Null));
    assert!(experiment["run_name"].is_string() && experiment["overrides"]["learning_rate"].is_number());
    assert_eq!(
        (&shown["waiting"]["for"], &shown["waiting"]["since"]),
        (&json!("experiment"), &experiment["suggested"])
    );
    let listed: Value = serde_json::from_str(stage.cases(&["list", "--format", "json"]).trim()).unwrap();
    assert_eq!((&listed["experiments"], &listed["case_id"]), (&shown["experiments"], &json!(case)));
}

#[test]
fn a_job_that_ran_out_of_memory_or_time_is_infrastructure_with_its_fate_and_needs_no_experiment() {
    let (stage, configuration) = stage(CONFIGURATION);
    let (queue, webhook) = (Receiver::of_everything(), Receiver::of_everything());
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    for (job, state, words) in [
        ("memory", "out_of_memory", "ran out of memory (killed by the cgroup)"),
        ("time", "out_of_time", "ran out of time (its limit was 24 h)"),
    ] {
        Run::new(&stage.logdir(), job, &knobs(0.01)).with_knobs().log(0..200);
        let page = address(&stage);
        stage.until("it is ready", || get(&page, "/ready", "").starts_with("HTTP/1.1 200"));
        let reason = words.split(['(', ')']).nth(1).unwrap();
        let fate = json!({ "state": state, "reason": reason }).to_string();
        stage.until("its fate is taken", || post(&page, &format!("/v1/jobs/{job}"), REPORT, &fate).0 == 202);
        let end = stage.until_closed(job).closed.unwrap();
        assert_eq!(end.verdict, "infrastructure");
        assert!(end.summary.contains(words), "{}", end.summary);
        let told = || webhook.data_of("nextrun.case.closed").into_iter().find(|data| data["baseline_run"] == job);
        stage.until("people are told", || told().is_some());
        let told = told().unwrap();
        assert_eq!(told["verdict"], "infrastructure");
        assert!(told["summary"].as_str().unwrap().contains(words), "{told}");
    }
    assert!(queue.events().is_empty(), "nothing was suggested");
}

#[test]
fn without_a_token_nobody_reports_and_what_was_acknowledged_outlives_a_kill() {
    let (stage, configuration) = stage("policy: ./short.yaml\nstatus: { listen: 127.0.0.1:0 }\n");
    let (queue, webhook) = (Receiver::of_everything(), Receiver::of_everything());
    let mut daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    Run::new(&stage.logdir(), "sick", &knobs(10.0)).train();
    stage.until("a run is suggested", || !queue.events().is_empty());
    let id = queue.events()[0].text("/id").to_owned();
    let (status, told) = post(&address(&stage), &format!("/v1/experiments/{id}"), REPORT, r#"{"state": "lost"}"#);
    assert!(status == 403 && told.contains("status.tokens.report"), "{told}");
    daemon.kill();

    stage.write("nextrun.yaml", CONFIGURATION);
    let mut daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    let pages = || stage.log().matches("status page available").count();
    stage.until("the second daemon has its page", || pages() == 2);
    stage.until("it is ready", || get(&address(&stage), "/ready", "").starts_with("HTTP/1.1 200"));
    assert_eq!(post(&address(&stage), &format!("/v1/experiments/{id}"), REPORT, r#"{"state": "running"}"#).0, 202);
    assert_eq!(post(&address(&stage), "/v1/jobs/sick", REPORT, r#"{"state": "lost"}"#).0, 202);
    daemon.kill();
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    stage.until("both are in the journal", || fates(&stage, "sick").len() == 2);
    let mut store = Sqlite::open_read_only(&stage.state().join("nextrun.db")).unwrap();
    let kept: Vec<JobFate> = store.fates().unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!((kept.len(), kept[0].job.as_str(), kept[0].fate.state), (1, "sick", FateState::Lost));
}

#[test]
fn a_closed_case_takes_no_fates_and_a_question_takes_an_answer() {
    let (stage, configuration) = stage(CONFIGURATION);
    let (queue, webhook) = (Receiver::of_everything(), Receiver::of_everything());
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    Run::new(&stage.logdir(), "sick", &knobs(10.0)).train();
    stage.until("a run is suggested", || !queue.events().is_empty());
    let event = queue.events()[0].clone();
    let asked = with(&knobs(10.0), &event.body["data"]["overrides"]);
    Run::new(&stage.logdir(), event.text("/data/run_name"), &asked).train();
    stage.until("a question is asked", || webhook.events().iter().any(|e| e.text("/type") == "nextrun.question.asked"));
    let (page, case) = (address(&stage), stage.case_of("sick").unwrap().id);
    let path = format!("/v1/cases/{case}/answer");
    for (path, headers, answer, status, words) in [
        (path.as_str(), REPORT, "found_it", 401, "tokens.act"),
        ("/v1/cases/none/answer", ACT, "found_it", 404, "no case"),
        (&path, ACT, "perhaps", 400, "found"),
        (&path, ACT, "found_it", 202, ""),
    ] {
        let (got, told) = post(&page, path, headers, &json!({ "answer": answer }).to_string());
        assert!(got == status && told.contains(words), "{answer}: {got} {told}");
    }
    let closed = stage.until_closed("sick");
    assert_eq!(closed.closed.unwrap().verdict, "data_pipeline");
    for path in [format!("/v1/experiments/{}", event.text("/id")), "/v1/jobs/sick".to_owned()] {
        let (status, told) = post(&page, &path, REPORT, r#"{"state": "ended"}"#);
        assert!(status == 409 && told.contains("is closed"), "{path}: {status} {told}");
    }
    assert_eq!(post(&page, &format!("/v1/cases/{case}/answer"), ACT, r#"{"answer": "found_it"}"#).0, 409);
}
