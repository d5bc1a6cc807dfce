//! Event files of another machine: `nextrun forward` sends them to a daemon that watches nothing else.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::faults::longest_file;
use super::operate::{address, get, metric};
use super::stage::{Daemon, Stage, verdict};
use super::training::{Run, knobs};
use super::web::Receiver;

/// A daemon that takes files of the machine `node1` below `lab/node1`.
fn daemon(stage: &Stage, queue: &Receiver) -> Daemon {
    stage.write("token", "of-node-1\n");
    let spool = stage.state().join("../spool");
    let text = format!(
        "watch: {{ logdir: {:?}, quiet_after: 1s, sweep: 1s, ignore_older_than: never }}\ncontrol: never\nstatus:\n  listen: \"127.0.0.1:0\"\n  tokens: {{ \
         forward: {{ lab/node1: {{ file: ./token }} }} }}\n",
        format!("forwarded://{}", spool.display()),
    );
    let configuration = stage.write("nextrun.yaml", &text);
    stage.start_as_configured(&["--config", configuration.to_str().unwrap(), "--queue", &queue.url()], &[])
}

/// The status line and the body of a response to a `PUT`.
fn put(address: &str, path: &str, headers: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    // A request that is refused may not be read to its end.
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    answer
}

#[test]
fn a_case_about_a_run_on_another_machine_opens_and_ends_although_both_programs_are_killed() {
    let stage = Stage::new();
    let queue = Receiver::of_everything();
    let node = stage.logdir();
    let mut watching = daemon(&stage, &queue);
    let mut page = address(&stage);
    let sick = Run::new(&node, "sick", &knobs(10.0));
    sick.with_knobs().log(0..150);
    let mut sending = stage.forward(&node, &page, "of-node-1");
    let copy = stage.state().join("../spool/lab/node1/sick");
    let bytes =
        || fs::read_dir(&copy).map_or(0, |files| files.map(|file| file.unwrap().metadata().unwrap().len()).sum());
    stage.until("the first half arrives", || bytes() > 1000u64);
    sending.kill();
    watching.kill();
    sick.log(150..401);

    watching = daemon(&stage, &queue);
    stage.until("it listens again", || stage.log().matches("status page available").count() == 2);
    page = address(&stage);
    let _sending = stage.forward(&node, &page, "of-node-1");
    stage.until("an experiment is suggested", || !queue.events().is_empty());
    let case = stage.case_of("lab/node1/sick").unwrap();
    for file in fs::read_dir(node.join("sick")).unwrap() {
        let file = file.unwrap();
        let sent = fs::read(copy.join(file.file_name())).unwrap();
        assert!(sent == fs::read(file.path()).unwrap(), "the copy is the same, byte for byte");
    }
    let event = queue.events()[0].clone();
    assert_eq!(event.text("/data/baseline_run"), "lab/node1/sick");
    assert!(event.body.pointer("/data/env/NEXTRUN_LOG_DIR").is_none(), "the copy is no place to train in");
    stage.cases(&["close", &case.id.0, "--verdict", "data_pipeline", "--why", "seen"]);
    assert_eq!(verdict(&stage.until_closed("lab/node1/sick")), "data_pipeline");
    drop(watching);
}

#[test]
fn what_is_sent_by_others_or_leads_elsewhere_is_refused() {
    let stage = Stage::new();
    let queue = Receiver::of_everything();
    let _daemon = daemon(&stage, &queue);
    let page = address(&stage);
    let body = [7; 64];
    let crc = format!("{:08x}", crc32c::crc32c(&body));
    let id = format!("{:08x}", crc32c::crc32c(&body[..32]));
    let headers = |token: &str, crc: &str, offset: u64| {
        format!(
            "authorization: Bearer {token}\r\nnextrun-identity: {id}\r\nnextrun-offset: {offset}\r\nnextrun-checksum: \
             {crc}\r\nnextrun-modified: 1700000000.5\r\n"
        )
    };
    let good = headers("of-node-1", &crc, 0);
    let (place, long) = ("/v1/files/a/x.tfevents", vec![0; (1 << 20) + 1]);
    for (path, headers, body, expected) in [
        (place, headers("of-node-2", &crc, 0), &body[..], " 401 "),
        (place, String::new(), &body, " 401 "),
        (place, headers("of-node-1", "00000000", 0), &body, " 400 "),
        (place, "authorization: Bearer of-node-1\r\n".to_owned(), &body, " 400 "),
        (place, headers("of-node-1", &crc, 40), &body, " 409 "),
        (place, good.clone(), &long, " 413 "),
        ("/v1/files/..%2F..%2Fstate%2Fx.tfevents", good.clone(), &body, " 422 "),
        ("/v1/files/a/%2e%2e/%2e%2e/x.tfevents", good.clone(), &body, " 422 "),
        ("/v1/files/a/train.py", good.clone(), &body, " 422 "),
        (place, good.clone(), &body, " 200 "),
        (place, good.clone(), &body, " 409 "),
    ] {
        let answer = put(&page, path, &headers, body);
        let status = answer.lines().next().unwrap_or_default();
        assert!(status.contains(expected), "{path} {headers}: {answer}");
    }
    let spool = stage.state().join("../spool");
    let stored: Vec<_> = fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(stored, ["lab"], "everything is below the directory of the machine");
    assert!(spool.join("lab/node1/a/x.tfevents").is_file());
    let mut refused = stage.forward(&stage.logdir(), &page, "of-node-2");
    Run::new(&stage.logdir(), "a", &knobs(0.1)).log(0..10);
    stage.until("a program with a wrong token ends", || refused.ended().is_some());
    assert!(stage.log().contains("status.tokens.forward"));
}

#[test]
fn a_full_disk_delays_files_and_loses_none_of_their_bytes() {
    let stage = Stage::new();
    let queue = Receiver::of_everything();
    let node = stage.logdir();
    let watching = daemon(&stage, &queue);
    let page = address(&stage);
    // The second chunk breaks off in its middle.
    longest_file(&watching.id(), "1500000");
    let sick = Run::new(&node, "sick", &knobs(10.0));
    sick.with_knobs().text("notes", &"x".repeat(2_000_000)).log(0..401);
    let original = || events_in(&node.join("sick"));
    let copy = || events_in(&stage.state().join("../spool/lab/node1/sick"));
    // The machine that sends has no room either: it stores nothing, and its log goes to a full disk.
    let mut sending = stage.forward_with_log(&node, &page, "of-node-1", fs::File::create("/dev/full").unwrap());
    longest_file(&sending.id(), "0");
    let refused = || metric(&page, "nextrun_forward_errors_total").unwrap_or_default();
    stage.until("it is refused, and tried again", || refused() >= 2.0);
    let said = |words: &str| stage.log().matches(words).count();
    assert_eq!((said("no room for forwarded files in"), said("are stored in")), (1, 0), "{}", stage.log());
    assert!(get(&page, "/", "").contains("no room for forwarded files in"));
    assert!(get(&page, "/health", "").starts_with("HTTP/1.1 200"));
    let part = copy().unwrap();
    assert!(part.len() < 1_500_001 && original().unwrap().starts_with(&part), "{} bytes", part.len());
    // What is owed is sent however old it becomes.
    let long_ago = SystemTime::now() - Duration::from_secs(10 * 86_400);
    for file in fs::read_dir(node.join("sick")).unwrap() {
        fs::File::options().append(true).open(file.unwrap().path()).unwrap().set_modified(long_ago).unwrap();
    }

    longest_file(&watching.id(), "unlimited");
    stage.until("the copy is the same", || copy() == original());
    stage.until("an experiment is suggested", || !queue.events().is_empty());
    assert_eq!((said("no room for forwarded files in"), said("are stored in")), (1, 1), "{}", stage.log());
    assert!(!get(&page, "/", "").contains("no room for forwarded files in"));
    assert!(sending.ended().is_none(), "it never ended");
}

/// The bytes of the event file in a directory, once there is one.
fn events_in(folder: &Path) -> Option<Vec<u8>> {
    let mut files = fs::read_dir(folder).ok()?.map(|file| file.unwrap().path());
    fs::read(files.find(|path| path.to_string_lossy().contains("tfevents"))?).ok()
}
