//! Operations: the status page, a reload, a stop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;

use super::hand::POLICY;
use super::stage::{Daemon, Stage, verdict};
use super::training::{Run, knobs};
use super::web::Receiver;
use super::whole::trainer;
use serde_json::Value;

/// The address of the newest daemon's status page.
pub(crate) fn address(stage: &Stage) -> String {
    let said = "status page available address=";
    stage.until("the status page is available", || stage.log().contains(said));
    stage.log().rsplit(said).next().unwrap().split_whitespace().next().unwrap().to_owned()
}

/// Status line, headers and body.
pub(crate) fn get(address: &str, path: &str, headers: &str) -> String {
    get_as(address, address, path, headers)
}

/// As [`get`], by another name of the host.
fn get_as(host: &str, address: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The value of a metric; `None` where it is not there.
pub(crate) fn metric(address: &str, name: &str) -> Option<f64> {
    let text = get(address, "/metrics", "");
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn the_status_page_says_how_the_daemon_is_and_what_it_does() {
    let stage = Stage::new();
    let configuration = stage.write("nextrun.yaml", "status: { listen: \"127.0.0.1:0\" }\n");
    let queue = Receiver::start(trainer(&stage.logdir(), knobs(10.0)));
    let webhook = Receiver::of_everything();
    let arguments = ["--quiet-after", "600s", "--config", configuration.to_str().unwrap()];
    let _daemon = stage.watch(&queue, &webhook, &arguments);
    Run::new(&stage.logdir(), "<sick>", &knobs(10.0)).train();
    let case = stage.until_closed("<sick>");
    let page = address(&stage);
    let sent = "nextrun_deliveries{destination=\"webhook\",state=\"delivered\"}";
    stage.until("the closing is counted", || metric(&page, sent) == Some(2.0));

    assert!(get(&page, "/health", "").ends_with("\r\n\r\nalive\n"));
    assert!(get(&page, "/ready", "").ends_with("\r\n\r\nready\n"));
    let closed = format!("nextrun_cases_closed{{policy=\"article\",verdict=\"{}\"}}", verdict(&case));
    let suggested = case.experiments.len() as f64;
    for (name, value) in [
        (closed.as_str(), 1.0),
        ("nextrun_cases_open{policy=\"article\"}", 0.0),
        ("nextrun_runs", 1.0 + suggested),
        ("nextrun_jobs", 1.0 + suggested),
        ("nextrun_files{state=\"read\"}", 1.0 + suggested),
        ("nextrun_files{state=\"damaged\"}", 0.0),
        ("nextrun_bad_records", 0.0),
        ("nextrun_delivery_attempts_total{destination=\"queue\",outcome=\"delivered\"}", suggested),
        ("nextrun_deliveries{destination=\"queue\",state=\"dead\"}", 0.0),
        ("nextrun_oldest_pending_delivery_age_seconds", 0.0),
        ("nextrun_config_last_reload_successful", 1.0),
        ("nextrun_store_errors_total", 0.0),
    ] {
        assert_eq!(metric(&page, name), Some(value), "{name}");
    }
    let bytes: u64 = files_below(&stage.logdir());
    assert_eq!(metric(&page, "nextrun_read_bytes_total"), Some(bytes as f64), "every byte once");
    for name in ["nextrun_read_events_total", "nextrun_turn_duration_seconds_count"] {
        assert!(metric(&page, name).is_some_and(|value| value > 0.0), "{name}");
    }
    assert!(metric(&page, "nextrun_jobs_with_symptom{symptom=\"diverging\"}").is_some());
    assert!(!get(&page, "/metrics", "").contains("sick"), "no name of a job is a label");

    let listed: Value = serde_json::from_str(get(&page, "/api/cases", "").split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&listed[0]["baseline_run"], &listed[0]["verdict"]), (&"<sick>".into(), &verdict(&case).into()));
    let html = get(&page, "/", "");
    assert!(html.contains("&lt;sick&gt;") && html.contains("content-security-policy: default-src 'none'"), "{html}");
    assert!(get(&page, "/nowhere", "").starts_with("HTTP/1.1 404"), "{}", get(&page, "/nowhere", ""));
    for (host, status) in
        [("localhost:1", "200"), ("[::1]:9", "200"), ("evil.example", "421"), ("127.0.0.1.evil.example", "421")]
    {
        let answer = get_as(host, &page, "/api/cases", "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
        assert_eq!(answer.contains("sick"), status == "200", "{host}");
    }
}

fn files_below(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let size = |path: std::path::PathBuf| match path.is_dir() {
        true => files_below(&path),
        false if path.to_string_lossy().contains("tfevents") => path.metadata().unwrap().len(),
        false => 0,
    };
    entries.map(size).sum()
}

#[test]
fn who_has_no_token_sees_that_it_lives_and_no_more() {
    let stage = Stage::new();
    stage.write("token", "s3cret\n");
    let text = "status: { listen: \"127.0.0.1:0\", token: { file: token } }\n";
    let configuration = stage.write("nextrun.yaml", text);
    let _daemon = stage.start(&["--config", configuration.to_str().unwrap()], &[]);
    let page = address(&stage);
    stage.until("it is ready", || get(&page, "/ready", "").starts_with("HTTP/1.1 200"));
    for path in ["/", "/metrics", "/api/cases"] {
        for brought in ["", "authorization: Bearer s3cre\r\n", "authorization: Basic s3cret\r\n"] {
            let answer = get(&page, path, brought);
            assert!(
                answer.starts_with("HTTP/1.1 401") && !answer.contains("nextrun_runs"),
                "{path} {brought}: {answer}"
            );
        }
        assert!(get(&page, path, "authorization: Bearer s3cret\r\n").starts_with("HTTP/1.1 200"), "{path}");
    }
    assert!(get(&page, "/health", "").starts_with("HTTP/1.1 200"));
}

/// A daemon that a service manager listens to, with a queue and a page.
struct Service {
    stage: Stage,
    manager: UnixDatagram,
    daemon: Daemon,
    page: String,
}

fn configuration(queue: &Receiver, further: &str) -> String {
    format!(
        "policy: ./short.yaml\ncontrol: never\nlimits: {{ ask_wait: 1h }}\nstatus: {{ listen: \"127.0.0.1:0\" }}\n\
         watch: {{ quiet_after: 10m }}\ndestinations:\n  cluster: {{ preset: queue, url: \"{}\" }}\n{further}",
        queue.url()
    )
}

impl Service {
    fn start(queue: &Receiver) -> Service {
        let stage = Stage::new();
        stage.write("short.yaml", POLICY);
        let file = stage.write("nextrun.yaml", &configuration(queue, ""));
        let socket = stage.state().with_file_name("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        let told = [("NOTIFY_SOCKET", socket.to_str().unwrap())];
        let daemon = stage.start(&["--config", file.to_str().unwrap()], &told);
        let page = address(&stage);
        let service = Service { stage, manager, daemon, page };
        service.until_told("READY=1");
        service
    }

    /// Waits for a datagram that has this, and gives it.
    fn until_told(&self, wanted: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.manager.recv(&mut buffer).unwrap();
            let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if told.contains(wanted) {
                return told;
            }
        }
    }

    /// Has it read its settings again, and gives the status that it then tells.
    fn reload(&self) -> String {
        self.daemon.signal("HUP");
        let told = self.until_told("RELOADING=1");
        assert!(told.contains("MONOTONIC_USEC="), "{told}");
        self.until_told("READY=1")
    }

    fn succeeded(&self) -> Option<f64> {
        metric(&self.page, "nextrun_config_last_reload_successful")
    }
}

#[test]
fn settings_are_put_in_force_whole_or_not_at_all() {
    let queue = Receiver::of_everything();
    let service = Service::start(&queue);
    let stage = &service.stage;
    Run::new(&stage.logdir(), "first", &knobs(1.0)).train();
    stage.until("a run is suggested", || queue.events().len() == 1);

    let write = |text: &str| drop(stage.write("nextrun.yaml", text));
    for (wrong, reason) in [
        (configuration(&queue, "limitz: {}\n"), "limitz"),
        (configuration(&queue, "  team: { preset: slack, url: { file: nowhere } }\n"), "nowhere"),
        (
            configuration(&queue, "keep_closed: 30d\nstate: /elsewhere\n").replace("127.0.0.1:0", "127.0.0.1:1"),
            "requires a restart",
        ),
    ] {
        write(&wrong);
        let told = service.reload();
        assert!(told.contains("the reload was rejected"), "{told}");
        assert!(stage.log().contains(reason), "{reason}: {}", stage.log());
        assert_eq!(service.succeeded(), Some(0.0));
    }
    // The state where the open case stands is taken out of its policy.
    write(&configuration(&queue, ""));
    stage.write("short.yaml", &POLICY.replace("lower_learning_rate", "raise_learning_rate"));
    assert!(service.reload().contains("the reload was rejected"));
    let id = stage.case_of("first").unwrap().id;
    assert!(stage.log().contains(&format!("case {id} (policy short, state lower_learning_rate)")), "{}", stage.log());

    // What is not a mistake is in force at once, for open cases too: one destination more, and another end.
    let audit = Receiver::of_everything();
    write(&configuration(&queue, &format!("  audit: {{ preset: webhook, url: \"{}\" }}\n", audit.url())));
    stage.write("short.yaml", &POLICY.replace("summary: cured", "summary: cured now"));
    assert!(!service.reload().contains("rejected"));
    assert_eq!(service.succeeded(), Some(1.0));
    trainer(&stage.logdir(), knobs(1.0))(&queue.events()[0]);
    let case = stage.until_closed("first");
    assert_eq!(
        (verdict(&case), case.closed.as_ref().unwrap().summary.as_str()),
        ("learning_rate_too_high", "cured now")
    );
    stage.until("the new destination is told", || audit.data_of("nextrun.case.closed").len() == 1);
    assert_eq!(queue.events().len(), 1, "what was delivered before is not sent again");

    // One destination less, another at a new address: what it owes is sent there.
    let moved = Receiver::of_everything();
    write(&configuration(&moved, ""));
    assert!(!service.reload().contains("rejected"));
    Run::new(&stage.logdir(), "second", &knobs(1.0)).train();
    stage.until("the queue at its new address is asked", || moved.events().len() == 1);
    assert_eq!((queue.events().len(), audit.data_of("nextrun.case.opened").len()), (1, 0));
}

#[test]
fn it_stops_although_a_destination_does_not_answer() {
    let queue = Receiver::start(|_| {
        loop {
            std::thread::park();
        }
    });
    let mut service = Service::start(&queue);
    Run::new(&service.stage.logdir(), "sick", &knobs(1.0)).train();
    service.stage.until("the queue is asked", || queue.events().len() == 1);
    service.daemon.signal("TERM");
    service.until_told("STOPPING=1");
    let mut ended = None;
    service.stage.until("it ends", || {
        ended = service.daemon.ended();
        ended.is_some()
    });
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    let listed = service.stage.command("outbox", &["list"]);
    assert!(listed.contains("sending"), "{listed}");
}

#[test]
fn it_stops_while_it_reads_for_the_first_time() {
    let stage = Stage::new();
    // Far more than can be read before the signal is there: one file under many names.
    let long = Run::new(&stage.logdir(), "0", &knobs(0.01));
    long.log(0..50_000);
    let file = stage.logdir().join("0");
    let file = std::fs::read_dir(file).unwrap().next().unwrap().unwrap().path();
    for number in 1..3000 {
        let folder = stage.logdir().join(number.to_string());
        std::fs::create_dir(&folder).unwrap();
        std::fs::hard_link(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let mut daemon = stage.start(&[], &[]);
    stage.until("it reads", || stage.log().contains("watching"));
    daemon.signal("TERM");
    stage.until("it ends", || daemon.ended().is_some());
    assert!(daemon.ended().is_some_and(|status| status.success()), "{}", stage.log());
    assert!(stage.log().contains("stopped before all files were read"), "{}", stage.log());
}

#[test]
fn it_stops_although_its_loop_hangs() {
    let queue = Receiver::of_everything();
    let mut service = Service::start(&queue);
    // Nobody writes into this pipe, so that the reading of the settings does not end.
    let file = service.stage.write("nextrun.yaml", "");
    std::fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    service.daemon.signal("HUP");
    service.until_told("RELOADING=1");
    service.daemon.signal("TERM");
    service.stage.until("it ends", || service.daemon.ended().is_some());
    assert!(service.daemon.ended().is_some_and(|status| status.success()), "{}", service.stage.log());
    assert!(service.stage.log().contains("shutdown timed out"), "{}", service.stage.log());
}
