//! `nextrun notify test`: the request to a destination, and the interpretation of its response.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "these tests need a receiver that answers")]
mod support;

use std::process::Command;

use support::{Act, Server};

/// Exit code and what was said.
fn notify(server: &Server, destination: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nextrun.yaml");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let text = format!(
        "destinations:\n  cluster: {{ preset: queue, url: \"{}\", secret: {{ file: secret }}, timeout: 2s }}\n",
        server.url()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nextrun"));
    let output = command.args(["notify", "test", destination, "--config"]).arg(&file).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_is_told_with_its_meaning_and_its_exit_code() {
    for (act, code, words) in [
        (Act::body(200, r#"{"job_id": 17}"#), 0, ["response  200", "delivered; the receiver's id is 17"]),
        (Act::status(409), 0, ["response  409", "delivered"]),
        (Act::status(503), 1, ["response  503", "retry later"]),
        (Act::body(400, "no such type"), 1, ["response  400", "give up: http://127.0.0.1"]),
        (Act::Drop, 1, ["response  none", "may have arrived"]),
    ] {
        let server = Server::start(vec![], act.clone()).await;
        let (exit, said) = notify(&server, "cluster");
        assert_eq!(exit, code, "{act:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{act:?}: {said}");
        assert!(said.contains(&format!("POST http://{}/***, signed", server.address())), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_signed_and_says_that_it_is_a_test() {
    let server = Server::start(vec![], Act::status(200)).await;
    let (_, said) = notify(&server, "cluster");
    assert!(said.contains("does not send nextrun.case.opened to this destination"), "{said}");
    let request = &server.received()[0];
    assert!(request.headers.contains_key("webhook-signature"), "{:?}", request.headers);
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["data"]["test"], true);
    assert!(request.json("/id").starts_with("test-"));
    let (exit, said) = notify(&server, "team");
    assert!(exit == 2 && said.contains("no destination team; it has cluster"), "{said}");
}
