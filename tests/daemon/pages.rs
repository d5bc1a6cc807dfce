//! The pages in a browser: content, access control, actions, and the report of a case.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::hand::POLICY;
use super::operate::{address, get};
use super::reports::post;
use super::stage::{Stage, verdict};
use super::training::{Run, knobs};
use super::web::Receiver;
use super::whole::trainer;

const CONFIGURATION: &str = "policy: ./short.yaml\ncontrol: never\nlimits: { ask_wait: 1h }\nstatus:\n  listen: 127.0.0.1:0\n  \
    tensorboard: http://tensorboard.example:6006\n  tokens: { read: { file: read } }\n";

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

fn stage() -> (Stage, String) {
    let stage = Stage::new();
    stage.write("short.yaml", POLICY);
    stage.write("read", "r3ad\n");
    let configuration = stage.write("nextrun.yaml", CONFIGURATION);
    (stage, configuration.to_str().unwrap().to_owned())
}

/// Logs a browser in; its cookie header.
fn log_in(stage: &Stage, configuration: &str, page: &str, more: &[&str]) -> String {
    let url = format!("http://{page}");
    let arguments = [&["--config", configuration, "--url", &url], more].concat();
    let link = stage.command("login", &arguments);
    let code = link.trim().rsplit_once("code=").unwrap().1.to_owned();
    let offered = get(page, &format!("/login?code={code}"), "");
    assert!(header(&offered, "set-cookie").is_none(), "looking at a link does not use it up: {offered}");
    let body = format!("code={code}");
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let foreign = format!("{form}origin: http://evil.example\r\n");
    assert_eq!(post(page, "/login", &foreign, &body).0, 403);
    let own = format!("{form}origin: http://{page}\r\n");
    let mut stream = TcpStream::connect(page).unwrap();
    write!(stream, "POST /login HTTP/1.1\r\nhost: {page}\r\ncontent-length: {}\r\n{own}\r\n{body}", body.len())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let cookie = header(&answer, "set-cookie").unwrap_or_else(|| panic!("{answer}"));
    assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"), "{cookie}");
    assert_eq!(post(page, "/login", &own, &body).0, 403, "a link works once");
    format!("cookie: {}\r\n", cookie.split(';').next().unwrap())
}

#[test]
fn a_browser_that_logged_in_sees_a_case_and_answers_its_question() {
    let (stage, configuration) = stage();
    let (queue, webhook) = (Receiver::start(trainer(&stage.logdir(), knobs(10.0))), Receiver::of_everything());
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "2s", "--config", &configuration]);
    // A hundredth of it is too high still, so that a person is asked.
    Run::new(&stage.logdir(), "team/<b>sick", &knobs(10.0)).train();
    stage.until("a person is asked", || !webhook.data_of("nextrun.question.asked").is_empty());
    let (page, case) = (address(&stage), stage.case_of("team/<b>sick").unwrap());
    let at = format!("/cases/{}", case.id);

    for path in ["/", at.as_str(), "/events", "/api/cases", "/metrics"] {
        assert!(get(&page, path, "accept: text/html\r\n").starts_with("HTTP/1.1 401"), "{path}");
    }
    assert!(get(&page, "/health", "").starts_with("HTTP/1.1 200"));
    let looker = log_in(&stage, &configuration, &page, &["--read-only"]);
    let first = get(&page, "/", &looker);
    assert!(
        first.contains("Needs you") && first.contains("team/&lt;b&gt;sick") && !first.contains("<b>sick"),
        "{first}"
    );
    for (name, value) in
        [("cache-control", "no-store"), ("x-frame-options", "DENY"), ("referrer-policy", "same-origin")]
    {
        assert_eq!(header(&first, name), Some(value));
    }
    assert!(header(&first, "content-security-policy").unwrap().starts_with("default-src 'none'"));
    let shown = get(&page, &at, &looker);
    for what in ["the learning rate is too high", "Expected, if so", "<svg", "tensorboard.example", "Question"] {
        assert!(shown.contains(what), "{what}: {shown}");
    }
    assert!(!shown.contains("<form class=\"answers\""), "who may look may not act");
    let form = format!("content-type: application/x-www-form-urlencoded\r\norigin: http://{page}\r\n");
    let answer = format!("{at}/answer");
    assert_eq!(post(&page, &answer, &format!("{form}{looker}"), "answer=found_it").0, 403);

    let actor = log_in(&stage, &configuration, &page, &[]);
    let shown = get(&page, &at, &actor);
    assert!(shown.contains("<form class=\"answers\"") && shown.contains("name=\"fingerprint\""), "{shown}");
    let foreign = "content-type: application/x-www-form-urlencoded\r\norigin: http://evil.example\r\n";
    assert_eq!(post(&page, &answer, &format!("{foreign}{actor}"), "answer=found_it").0, 403);
    assert_eq!(post(&page, &answer, &format!("{form}{actor}"), "answer=dance").0, 400);
    assert_eq!(post(&page, &answer, &format!("{form}{actor}"), "answer=found_it").0, 303);
    let closed = stage.until_closed("team/<b>sick");
    assert_eq!(verdict(&closed), "data_pipeline");

    assert!(closed.curves.iter().any(|curve| curve.suggestion.is_none()), "the baseline's curves are kept");
    assert!(closed.curves.iter().any(|curve| curve.suggestion.is_some()), "and those of the experiment");
    stage.until("its end is told", || !webhook.data_of("nextrun.case.closed").is_empty());
    let told = webhook.data_of("nextrun.case.closed");
    assert_eq!(told[0]["curves"].as_array().map(Vec::len), Some(2), "the loss of both: {}", told[0]);
    // What it keeps outlives the event files.
    std::fs::remove_dir_all(stage.logdir().join("team")).unwrap();
    let file = stage.state().join("case.html");
    let arguments = [closed.id.0.as_str(), "-o", file.to_str().unwrap()];
    stage.command("report", &arguments);
    let report = std::fs::read_to_string(&file).unwrap();
    assert!(report.contains("<svg") && report.contains("Data pipeline") && !report.contains("<script"), "{report}");
}
