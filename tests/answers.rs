//! How each built-in destination interprets every response, and no response.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nextrun::case::{Body, CaseId, Message, MessageKind};
use nextrun::destinations::{
    Destination, Earlier, FieldKind, Http, Last, Need, OnUnknown, Outcome, Preset, Secret, Setup, Surroundings,
    Timeouts,
};
use serde_json::json;
use support::{Act, Server};
use tokio::io::AsyncReadExt;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Wed, 21 Oct 2015 07:27:00 GMT.
const NOW: f64 = 1_445_412_420.0;

fn http_presets() -> impl Iterator<Item = &'static str> {
    // The runner is reached through a socket only.
    Preset::names().filter(|name| !["email", "terminal", "runner", "tensorboard"].contains(name))
}

fn patient() -> Http {
    Http::new(Timeouts { connect: Duration::from_secs(5), whole: Duration::from_secs(30) })
}

/// A destination of any preset, at this address.
fn destination(preset: &str, url: &str, http: Http) -> Destination {
    configured(preset, url, Setup::default(), http)
}

fn configured(preset: &str, url: &str, mut setup: Setup, http: Http) -> Destination {
    let preset = Preset::shipped(preset).unwrap();
    let needed = preset.fields.iter().filter(|(name, field)| field.need == Need::Required || *name == "api");
    let value = |kind| if kind == FieldKind::Url { url.to_owned() } else { "s3cret-t0k3n".to_owned() };
    setup.fields = needed.map(|(name, field)| (name.clone(), Secret::new(&value(field.kind)))).collect();
    let surroundings = Surroundings { host: "login1".into(), http, terminal: Arc::new(Mutex::new(std::io::sink())) };
    Destination::new(Arc::new(preset), setup, &surroundings).unwrap()
}

fn message() -> Message {
    Message {
        id: "m1".into(),
        case: CaseId("c1".into()),
        subject: "resnet/7".into(),
        time: NOW,
        body: Body::read(
            MessageKind::RunSuggested,
            json!({"overrides": {"batch_norm": false, "batch_size": 1}, "command": "python train.py"}),
        )
        .unwrap(),
    }
}

/// What an outcome is, in a word.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Refused { .. } => "refused",
        Outcome::Later { .. } => "later",
        Outcome::Unknown { .. } => "unknown",
        Outcome::Held { .. } => "held",
        Outcome::Site { .. } => "site",
        Outcome::Settling { .. } => "settling",
        Outcome::Dropped { .. } => "dropped",
        Outcome::Permanent { .. } => "permanent",
    }
}

fn why(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered { .. } => "",
        Outcome::Refused { why, .. }
        | Outcome::Later { why, .. }
        | Outcome::Unknown { why }
        | Outcome::Held { why }
        | Outcome::Site { why, .. }
        | Outcome::Settling { why, .. }
        | Outcome::Dropped { why }
        | Outcome::Permanent { why } => why,
    }
}

/// One row of the table: what the receiver does, what it means to most, and to whom it means something else.
type Row = (Act, &'static str, &'static [(&'static str, &'static str)]);

fn table() -> Vec<Row> {
    // Slurm submits twice what is sent twice, and Slack's API says what matters in the body.
    const NO_WORD: &[(&str, &str)] = &[("slack_bot", "unknown"), ("slurm", "permanent")];
    const ASKS: &[(&str, &str)] = &[("slurm", "unknown")];
    vec![
        (Act::status(200), "delivered", NO_WORD),
        (Act::body(200, "ok"), "delivered", NO_WORD),
        (Act::body(200, r#"{"ok": true, "ts": "1.2", "channel": "C1"}"#), "delivered", &[("slurm", "permanent")]),
        (
            Act::body(200, r#"{"ok": false, "error": "is_archived"}"#),
            "delivered",
            &[("slack_bot", "permanent"), ("slurm", "permanent")],
        ),
        (Act::status(202), "delivered", NO_WORD),
        (Act::status(204), "delivered", NO_WORD),
        (Act::BreakOff(200), "delivered", NO_WORD),
        (Act::Endless(200), "delivered", NO_WORD),
        (Act::status(301), "permanent", &[]),
        (Act::status(304), "permanent", &[]),
        (Act::status(307), "permanent", &[]),
        (Act::status(400), "permanent", &[]),
        (Act::status(401), "site", &[("discord", "permanent"), ("teams", "permanent")]),
        (Act::body(403, "invalid_token"), "site", &[("slack", "permanent")]),
        (Act::status(404), "permanent", &[("kubernetes", "site"), ("trainjob", "site")]),
        (Act::status(408), "later", &[]),
        (
            Act::status(409),
            "permanent",
            &[("kubernetes", "delivered"), ("queue", "delivered"), ("trainjob", "delivered"), ("webhook", "delivered")],
        ),
        (Act::status(410), "permanent", &[]),
        (Act::status(413), "permanent", &[]),
        (Act::status(422), "permanent", &[("queue", "refused")]),
        (Act::BreakOff(422), "permanent", &[("queue", "refused")]),
        (Act::status(425), "later", &[]),
        (Act::status(429), "later", &[]),
        (Act::retry_after(429, "17"), "later", &[]),
        (Act::retry_after(429, "16.2"), "later", &[]),
        (Act::retry_after(429, "Wed, 21 Oct 2015 07:27:17 GMT"), "later", &[]),
        (Act::status(500), "later", ASKS),
        (
            Act::body(500, "Job with submission_id m1 already exists."),
            "later",
            &[("ray", "delivered"), ("slurm", "unknown")],
        ),
        (Act::BreakOff(502), "later", ASKS),
        (Act::retry_after(503, "17"), "later", ASKS),
        (Act::status(504), "later", ASKS),
        (Act::status(511), "later", &[("slurm", "site")]),
        (Act::status(599), "later", ASKS),
        (Act::Drop, "unknown", &[]),
    ]
}

#[tokio::test]
async fn every_preset_reads_every_answer() {
    let table = table();
    for preset in http_presets() {
        let server = Server::start(table.iter().map(|(act, _, _)| act.clone()).collect(), Act::Drop).await;
        let destination = destination(preset, &server.url(), patient());
        for (act, most, others) in &table {
            let want = others.iter().find(|(name, _)| *name == preset).map_or(*most, |(_, want)| *want);
            let outcome = destination.deliver(&message(), NOW).await;
            assert_eq!(word(&outcome), want, "{preset} {act:?}: {outcome:?}");
            assert!(!format!("{outcome:?}").contains("s3cret"), "{preset} {act:?}: {outcome:?}");
            let stated = !matches!(outcome, Outcome::Delivered { .. });
            assert!(!stated || why(&outcome).contains(server.address()), "{preset} {act:?} says who: {outcome:?}");
            if let Outcome::Later { after, .. } = outcome {
                let asked = matches!(act, Act::Answer(_, headers, _) if !headers.is_empty());
                assert_eq!(after, asked.then_some(Duration::from_secs(17)), "{preset} {act:?}");
            }
        }
        assert_eq!(server.received().len(), table.len(), "{preset}: each was sent once");
    }
}

#[tokio::test]
async fn an_answer_is_data_however_it_is_made() {
    let deep = "[".repeat(60_000);
    for (body, id) in [
        (r#"{"job_id": "17"}"#.to_owned(), Some("17")),
        ("{\"job_id\": \"17\\n<!channel>\"}".to_owned(), None),
        (json!({"job_id": "\u{1b}[31m17"}).to_string(), None),
        (json!({"job_id": "7".repeat(50_000)}).to_string(), None),
        (json!({"job_id": [1, 2]}).to_string(), None),
        (format!("{{\"job_id\": {deep}"), None),
        (deep, None),
    ] {
        let server = Server::start(vec![], Act::body(200, &body)).await;
        let outcome = destination("queue", &server.url(), patient()).deliver(&message(), NOW).await;
        assert_eq!(outcome, Outcome::Delivered { reference: id.map(str::to_owned) }, "{}", &body[..body.len().min(60)]);
    }
}

#[tokio::test]
async fn no_answer_in_time_is_unknown_and_no_connection_is_later() {
    let server = Server::start(vec![], Act::Hold(200)).await;
    let nobody = {
        let gone = Server::start(vec![], Act::Drop).await;
        gone.url()
    };
    let brief = Timeouts { connect: Duration::from_secs(5), whole: Duration::from_millis(100) };
    for preset in http_presets() {
        let slow = destination(preset, &server.url(), Http::new(brief));
        let outcome = slow.deliver(&message(), NOW).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{preset}: {outcome:?}");
        assert!(why(&outcome).contains("timed out"), "{outcome:?}");

        let refused = until_refused(&destination(preset, &nobody, patient())).await;
        assert!(why(&refused).contains("could not reach http://127.0.0.1"), "{refused:?}");
        assert!(!format!("{refused:?}{outcome:?}").contains("s3cret"));
    }
}

/// The listener's task ends a moment after the server was dropped.
async fn until_refused(destination: &Destination) -> Outcome {
    for _ in 0..1000 {
        let outcome = destination.deliver(&message(), NOW).await;
        if matches!(outcome, Outcome::Later { .. }) {
            return outcome;
        }
        tokio::task::yield_now().await;
    }
    panic!("a closed port still takes connections");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(vec![], Act::status(200)).await;
    let location = format!("Location: {}", elsewhere.url());
    for preset in http_presets() {
        for status in [301, 302, 303, 307, 308] {
            let server = Server::start(vec![], Act::Answer(status, vec![location.clone()], String::new())).await;
            let outcome = destination(preset, &server.url(), patient()).deliver(&message(), NOW).await;
            assert!(why(&outcome).contains("redirects are not followed"), "{preset} {outcome:?}");
        }
    }
    assert!(elsewhere.received().is_empty(), "a body went to where nobody sent it");
}

const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");

/// A receiver with this certificate and key. Returns its address, and what it could read.
async fn certified(certificate: &str, key: &str) -> (String, Arc<Mutex<Vec<u8>>>) {
    let chain = vec![CertificateDer::from_pem_file(format!("{CERTIFICATES}/{certificate}")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(format!("{CERTIFICATES}/{key}")).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let read: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&read);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut bytes = [0; 1024];
            if let Ok(length) = stream.read(&mut bytes).await {
                kept.lock().unwrap().extend_from_slice(&bytes[..length]);
            }
        }
    });
    (address, read)
}

#[tokio::test]
async fn an_authority_that_is_named_is_trusted_and_no_other() {
    let preset = Arc::new(Preset::shipped("kubernetes").unwrap());
    let open = |address: &str, ca: &str| {
        let url = format!("https://{address}");
        let given = [("url", url.as_str()), ("ca", ca), ("token", "t"), ("namespace", "ml"), ("image", "i")];
        let given = given.into_iter().chain([("claim", "runs"), ("mount", "/data")]);
        let fields = given.map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
        let terminal = Arc::new(Mutex::new(std::io::sink()));
        let surroundings = Surroundings { host: "login1".into(), http: patient(), terminal };
        Destination::new(Arc::clone(&preset), Setup { name: "k8s".into(), fields, ..Setup::default() }, &surroundings)
    };
    let authority = format!("{CERTIFICATES}/authority.pem");
    let (address, read) = certified("signed.pem", "signed-key.pem").await;
    open(&address, &authority).unwrap().deliver(&message(), NOW).await;
    assert!(read.lock().unwrap().starts_with(b"POST /apis/batch/v1/namespaces/ml/jobs"));
    let (address, read) = certified("certificate.pem", "key.pem").await;
    let outcome = open(&address, &authority).unwrap().deliver(&message(), NOW).await;
    assert!(matches!(outcome, Outcome::Later { .. }) && read.lock().unwrap().is_empty(), "{outcome:?}");
    for (ca, told) in [("ca.crt", "absolute path"), ("/nowhere/ca.crt", "/nowhere/ca.crt cannot be used")] {
        let error = open(&address, ca).map(drop).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    let key = format!("{CERTIFICATES}/key.pem");
    let error = open(&address, &key).map(drop).unwrap_err().to_string();
    assert!(error.contains("no PEM certificate"), "{error}");
}

#[tokio::test]
async fn an_untrusted_certificate_gets_no_message() {
    let (address, read) = certified("certificate.pem", "key.pem").await;
    let speaks_plainly = Server::start(vec![], Act::status(200)).await;
    for preset in http_presets() {
        for address in [address.as_str(), speaks_plainly.address()] {
            let outcome = destination(preset, &format!("https://{address}/s3cret-path"), patient());
            let outcome = outcome.deliver(&message(), NOW).await;
            assert!(matches!(outcome, Outcome::Later { .. }), "{preset}: {outcome:?}");
            assert!(why(&outcome).contains(&format!("could not reach https://{address}")), "{preset}: {outcome:?}");
        }
    }
    assert!(read.lock().unwrap().is_empty(), "not a byte was sent");
    assert!(speaks_plainly.received().is_empty());
}

#[tokio::test]
async fn messages_go_to_allowed_hosts_only() {
    let preset = Arc::new(Preset::shipped("webhook").unwrap());
    let surroundings =
        Surroundings { host: "login1".into(), http: patient(), terminal: Arc::new(Mutex::new(std::io::sink())) };
    let open = |url: &str, allowed: &[&str]| {
        let fields = [("url".to_owned(), Secret::new(url))].into();
        let allowed_hosts = Some(allowed.iter().map(|host| (*host).to_owned()).collect());
        let setup = Setup { name: "hook".into(), fields, allowed_hosts, ..Setup::default() };
        Destination::new(Arc::clone(&preset), setup, &surroundings).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(open("https://hooks.example/s3cret", &["other.example", "hooks.example"]), Ok(()));
    assert_eq!(open("https://a.hooks.example:8443/s3cret", &["*.hooks.example"]), Ok(()));
    for allowed in [&["queue.example"][..], &["*.hooks.example"], &[]] {
        let told = open("https://hooks.example/s3cret", allowed).unwrap_err();
        assert!(told.contains("hooks.example is not in `allowed_hosts`") && !told.contains("s3cret"), "{told}");
    }
}

/// What happens to a message that may have arrived, where the receiver says this when it is asked.
async fn in_doubt(preset: &str, on_unknown: OnUnknown, script: Vec<Act>) -> (Outcome, Vec<String>) {
    in_doubt_since(None, preset, on_unknown, script).await
}

/// As [`in_doubt`], where it has said before that it does not have the message.
async fn in_doubt_since(
    absent_since: Option<f64>,
    preset: &str,
    on_unknown: OnUnknown,
    script: Vec<Act>,
) -> (Outcome, Vec<String>) {
    let server = Server::start(script, Act::status(500)).await;
    let destination = configured(preset, &server.url(), Setup { on_unknown, ..Setup::default() }, patient());
    let earlier = Earlier { last: Last::InDoubt, absent_since, ..Earlier::default() };
    let outcome = destination.deliver_after(&earlier, &message(), NOW).await;
    (outcome, server.received().iter().map(|request| request.method.clone()).collect())
}

#[tokio::test]
async fn who_can_be_asked_is_asked_before_a_message_is_sent_again() {
    let delivered = |reference: &str| Outcome::Delivered { reference: Some(reference.to_owned()) };
    let there = r#"{"jobs": [{"job_id": 17, "comment": "nextrun m1"}]}"#;
    let (outcome, requests) = in_doubt("slurm", OnUnknown::Hold, vec![Act::body(200, there), Act::status(200)]).await;
    assert_eq!((outcome, requests.join(" ")), (delivered("17"), "GET POST".to_owned()), "found, and released");

    let submitted = Act::body(200, r#"{"job_id": 18, "errors": []}"#);
    let absent = || Act::body(200, r#"{"jobs": []}"#);
    let (outcome, requests) = in_doubt("slurm", OnUnknown::Hold, vec![absent()]).await;
    assert_eq!((word(&outcome), requests.join(" ")), ("settling", "GET".to_owned()), "the request may be late");
    let script = vec![absent(), submitted, Act::status(200)];
    let (outcome, requests) = in_doubt_since(Some(NOW - 60.0), "slurm", OnUnknown::Hold, script).await;
    assert_eq!((outcome, requests.join(" ")), (delivered("18"), "GET POST POST".to_owned()), "not found, so sent");

    let (outcome, requests) = in_doubt("slurm", OnUnknown::Resend, vec![Act::status(500)]).await;
    assert_eq!((word(&outcome), requests.join(" ")), ("unknown", "GET".to_owned()), "no answer, so asked again later");

    let script = vec![Act::body(200, there), Act::status(503)];
    let (outcome, requests) = in_doubt("slurm", OnUnknown::Hold, script).await;
    assert_eq!((word(&outcome), requests.join(" ")), ("unknown", "GET POST".to_owned()), "not released: asked again");

    let (outcome, requests) =
        in_doubt("ray", OnUnknown::Resend, vec![Act::body(200, r#"{"submission_id": "m1"}"#)]).await;
    assert_eq!((outcome, requests.join(" ")), (delivered("m1"), "GET".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_found_out_is_held_or_sent_again_as_the_site_chose() {
    let cannot = || Act::body(200, r#"{"ok": false, "error": "missing_scope"}"#);
    let (outcome, requests) = in_doubt("slack_bot", OnUnknown::Hold, vec![cannot()]).await;
    assert_eq!((word(&outcome), requests.join(" ")), ("held", "GET".to_owned()), "{outcome:?}");

    let posted = Act::body(200, r#"{"ok": true, "channel": "C1", "ts": "1.2"}"#);
    let (outcome, requests) = in_doubt("slack_bot", OnUnknown::Resend, vec![cannot(), posted]).await;
    let reference = Some("C1/1.2".to_owned());
    assert_eq!((outcome, requests.join(" ")), (Outcome::Delivered { reference }, "GET POST".to_owned()));

    for odd in [Act::Endless(200), Act::body(200, r#"{"jobs": 7}"#), Act::body(200, "{}")] {
        let (outcome, requests) = in_doubt("slurm", OnUnknown::Hold, vec![odd.clone()]).await;
        assert_eq!((word(&outcome), requests.join(" ")), ("held", "GET".to_owned()), "{odd:?}: {outcome:?}");
    }
}
