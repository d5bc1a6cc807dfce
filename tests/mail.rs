//! Emails to relays on the loopback address that accept them, refuse them, or break off.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nextrun::case::{About, Body, CaseId, CaseOpened, Curve, Message, StopSuggested};
use nextrun::destinations::{Destination, Http, Outcome, Preset, Secret, Setup, SetupError, Surroundings, Timeouts};
use nextrun::series::{Level, Outline};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What a relay says; it closes the connection instead of an empty answer, and goes silent for `...`.
#[derive(Debug, Clone, Copy)]
struct Script {
    greeting: &'static str,
    recipient: &'static str,
    end: &'static str,
}

const TAKES: Script = Script { greeting: "220 relay", recipient: "250 ok", end: "250 2.0.0 queued as 4711" };

/// A relay for one conversation after the other. Returns its address, and what it heard.
async fn relay(script: Script) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, script, Arc::clone(&log)));
        }
    });
    (address, heard)
}

async fn converse(stream: TcpStream, script: Script, log: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let mut answer = script.greeting;
    let mut in_data = false;
    loop {
        match answer {
            "" => return,
            "..." => std::future::pending().await,
            // Within an email there is nothing to say.
            "-" => {}
            answer => {
                if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                    return;
                }
            }
        }
        let mut line = String::new();
        if stream.read_line(&mut line).await.is_ok_and(|length| length == 0) {
            return;
        }
        let line = line.trim_end().to_owned();
        answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "." if in_data => {
                in_data = false;
                script.end
            }
            _ if in_data => "-",
            "RCPT" => script.recipient,
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 8BITMIME",
        };
        log.lock().unwrap().push(line);
    }
}

fn email(server: &str, further: &[(&str, &str)], within: Duration) -> Result<Destination, SetupError> {
    let fields =
        [("server", server), ("from", "nextrun@example.org"), ("to", "ada@example.org, Bob <bob@example.org>")];
    let fields = fields.iter().chain(further).map(|(name, value)| ((*name).to_owned(), Secret::new(value))).collect();
    let http = Http::new(Timeouts { connect: Duration::from_secs(5), whole: within });
    let surroundings = Surroundings { host: "login1".into(), http, terminal: Arc::new(Mutex::new(std::io::sink())) };
    let setup = Setup { name: "mail".into(), fields, ..Setup::default() };
    Destination::new(Arc::new(Preset::shipped("email").unwrap()), setup, &surroundings)
}

fn message() -> Message {
    Message {
        id: "c1-stop".into(),
        case: CaseId("c1".into()),
        subject: "resnet/7\r\nBcc: eve@example.org".into(),
        time: 1_763_841_600.25,
        body: Body::StopSuggested(StopSuggested {
            why: "the loss is <b>NaN</b> & worse\r\n.\r\nDATA".into(),
            ..StopSuggested::default()
        }),
    }
}

const PLAIN: &[(&str, &str)] = &[("security", "none")];
const PATIENT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_email_says_what_the_terminal_shows_and_nothing_in_it_is_more_than_text() {
    let (server, heard) = relay(TAKES).await;
    let outcome = email(&server, PLAIN, PATIENT).unwrap().deliver(&message(), 0.0).await;
    assert_eq!(outcome, Outcome::Delivered { reference: Some("2.0.0 queued as 4711".into()) });
    let heard = heard.lock().unwrap().clone();
    let count = |start: &str| heard.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("RCPT TO:"), count("DATA"), count("Bcc:"), count("QUIT")), (2, 1, 0, 1), "{heard:?}");
    for line in ["Message-ID: <c1-stop@example.org>", "References: <c1@example.org>", "From: nextrun@example.org"] {
        assert_eq!(count(line), 1, "{line}: {heard:?}");
    }
    let all = heard.join("\n").replace("=\n", "");
    assert!(all.contains("Subject: Consider stopping resnet/7 Bcc: eve@example.org"), "{all}");
    assert!(all.contains("why       the loss is <b>NaN</b> & worse . DATA"), "{all}");
    assert!(all.contains("why       the loss is &lt;b&gt;NaN&lt;/b&gt; &amp; worse . DATA"), "{all}");
}

#[tokio::test]
async fn curves_come_as_a_picture() {
    let level = |step: i32| Level { step: step.into(), mean: 1.0, low: 1.0, high: 1.0 };
    let outline = Outline { levels: (0..9).map(level).collect(), broken: vec![] };
    let curve = Curve { suggestion: None, signal: "loss".into(), tag: "train/loss".into(), outline };
    let about = About { baseline_run: "a".into(), curves: vec![curve], ..About::default() };
    let body = Body::CaseOpened(CaseOpened { about, ..CaseOpened::default() });
    let (server, heard) = relay(TAKES).await;
    let outcome = email(&server, PLAIN, PATIENT).unwrap().deliver(&Message { body, ..message() }, 0.0).await;
    assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    let heard = heard.lock().unwrap().clone();
    for line in ["Content-Type: image/png", "Content-Disposition: attachment; filename=\"c1.png\""] {
        assert!(heard.iter().any(|heard| heard == line), "{line}");
    }
    assert!(heard.iter().any(|line| line.starts_with("iVBORw0KGgo")), "the bytes of a PNG");
}

#[tokio::test]
async fn each_way_of_not_taking_it_has_its_outcome() {
    for (script, want) in [
        (Script { recipient: "550 5.1.1 no such user", ..TAKES }, "Permanent"),
        (Script { recipient: "451 4.7.1 come again later", ..TAKES }, "Later"),
        (Script { end: "552 5.3.4 too large", ..TAKES }, "Permanent"),
        (Script { end: "452 4.3.1 disk full", ..TAKES }, "Later"),
        (Script { greeting: "421 4.3.2 not now", ..TAKES }, "Later"),
        (Script { greeting: "554 5.7.1 go away", ..TAKES }, "Permanent"),
        (Script { greeting: "", ..TAKES }, "Later"),
        (Script { greeting: "...", ..TAKES }, "Later"),
        (Script { end: "", ..TAKES }, "Unknown"),
        (Script { end: "...", ..TAKES }, "Unknown"),
    ] {
        let (server, _) = relay(script).await;
        let within = if [script.greeting, script.end].contains(&"...") { Duration::from_millis(300) } else { PATIENT };
        let outcome = email(&server, PLAIN, within).unwrap().deliver(&message(), 0.0).await;
        assert!(format!("{outcome:?}").starts_with(want), "{script:?}: {outcome:?}");
        assert!(format!("{outcome:?}").contains(&server), "it says who: {outcome:?}");
    }
}

#[tokio::test]
async fn nothing_goes_out_in_the_clear_unless_the_site_says_so() {
    let (server, heard) = relay(TAKES).await;
    let secret = [("user", "nextrun"), ("password", "s3cret")];
    let outcome = email(&server, &secret, PATIENT).unwrap().deliver(&message(), 0.0).await;
    assert!(matches!(&outcome, Outcome::Permanent { why } if why.contains("`security`")), "{outcome:?}");
    let all = heard.lock().unwrap().join("\n");
    assert!(!all.contains("AUTH") && !all.contains("MAIL"), "{all}");
    let refused = email(&server, &[PLAIN, &secret].concat(), PATIENT).unwrap_err().to_string();
    assert!(refused.contains("unencrypted") && !refused.contains("s3cret"), "{refused}");
}

#[test]
fn a_mistake_in_the_settings_says_what_to_do() {
    for (fields, words) in [
        (("server", "mail.example"), "a host and a port"),
        (("server", ":25"), "a host and a port"),
        (("security", "ssl"), "starttls, tls or none"),
        (("from", "nobody"), "an address such as"),
        (("to", "ada@example.org, bob"), "an address such as"),
    ] {
        let told = email("mail.example:587", &[fields], PATIENT).unwrap_err().to_string();
        assert!(told.contains(words) && told.contains(&format!("`{}`", fields.0)), "{told}");
    }
}
