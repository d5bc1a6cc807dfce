//! Messages to people when many jobs fail at once, or during quiet hours.

use serde_json::Value;

use super::operate::{address, get, metric};
use super::stage::Stage;
use super::training::{Run, knobs};
use super::web::Receiver;

/// The texts of what people were told, digests by their lines.
fn lines(people: &Receiver) -> Vec<String> {
    let blocks = |body: &Value| body["blocks"].as_array().cloned().unwrap_or_default();
    let texts = |body: &Value| -> Vec<String> {
        let sections = blocks(body).into_iter().filter(|block| block["type"] == "section" || block["type"] == "header");
        sections.filter_map(|block| block["text"]["text"].as_str().map(str::to_owned)).collect()
    };
    let all: Vec<String> = people.events().iter().flat_map(|event| texts(&event.body)).collect();
    all.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
}

fn naming<'l>(lines: &'l [String], job: &str) -> Vec<&'l String> {
    lines.iter().filter(|line| line.contains(&format!("`{job}`")) || line.starts_with(&format!("{job} "))).collect()
}

#[test]
fn a_sweep_that_fails_is_one_message_also_when_the_daemon_is_killed_meanwhile() {
    let stage = Stage::new();
    let logdir = stage.logdir();
    let (queue, webhook, people) = (Receiver::of_everything(), Receiver::of_everything(), Receiver::of_everything());
    let config = stage.write(
        "nextrun.yaml",
        &format!(
            "destinations:\n  people: {{ preset: slack, url: '{}', wants: [case_opened] }}\n\
             noise: {{ digest: {{ cases: 3, within: 8s }} }}\n",
            people.url()
        ),
    );
    let further = ["--quiet-after", "1s", "--config", config.to_str().unwrap()];
    let jobs: Vec<String> = (0..6).map(|n| format!("sweep/{n}")).collect();
    for job in &jobs {
        Run::new(&logdir, job, &knobs(0.1)).train();
    }
    let mut daemon = stage.watch(&queue, &webhook, &further);
    stage.until("all cases are open", || stage.kept().len() == jobs.len());
    daemon.kill();
    let _daemon = stage.watch(&queue, &webhook, &further);
    stage.until("people are told", || jobs.iter().all(|job| !naming(&lines(&people), job).is_empty()));
    stage.until("programs are told", || webhook.data_of("nextrun.case.opened").len() >= jobs.len());
    let told = lines(&people);
    for job in &jobs {
        assert_eq!(naming(&told, job).len(), 1, "{job} is told of once: {told:?}");
    }
    assert_eq!(people.events().len(), 1, "in one message");
    let case = stage.case_of(&jobs[0]).unwrap();
    let explained = stage.command("outbox", &["explain", &case.id.0]);
    assert!(explained.contains("digested") && explained.contains("sent in delivery"), "{explained}");

    stage.command("silence", &["add", "known/**", "--for", "1h", "--why", "the data are being mended"]);
    Run::new(&logdir, "known/1", &knobs(0.1)).train();
    stage.until("its case is open", || stage.case_of("known/1").is_some());
    let case = stage.case_of("known/1").unwrap();
    let entries = stage.journal(&case);
    let silenced = entries.iter().find(|entry| entry.kind == "silenced").unwrap();
    assert_eq!(silenced.detail["why"], "the data are being mended");
    assert_eq!(silenced.detail["destination"], "people");
    let explained = stage.command("outbox", &["explain", &case.id.0]);
    assert!(explained.contains("suppressed by silence"), "{explained}");
    let of_it = |data: &Value| data["baseline_run"] == "known/1";
    stage.until("programs are told of it", || webhook.data_of("nextrun.case.opened").iter().any(of_it));
    assert!(naming(&lines(&people), "known/1").is_empty());
    assert!(stage.command("silence", &["list"]).contains("known/**"));
}

#[test]
fn quiet_times_are_those_of_the_newest_settings() {
    let stage = Stage::new();
    let logdir = stage.logdir();
    let (queue, webhook, people) = (Receiver::of_everything(), Receiver::of_everything(), Receiver::of_everything());
    let configure = |noise: &str| {
        let url = people.url();
        let text = format!(
            "status: {{ listen: '127.0.0.1:0' }}\ndestinations:\n  people: {{ preset: slack, url: '{url}', wants: [case_opened] }}\n{noise}\n"
        );
        stage.write("nextrun.yaml", &text)
    };
    let quiet = "{ from: 2020-01-01T00:00, to: 2100-01-01T00:00, zone: UTC, why: maintenance }";
    let config = configure(&format!("noise: {{ quiet: [{quiet}] }}"));
    Run::new(&logdir, "first", &knobs(0.1)).train();
    let daemon = stage.watch(&queue, &webhook, &["--quiet-after", "1s", "--config", config.to_str().unwrap()]);
    stage.until("its case is open", || stage.case_of("first").is_some());
    let explained = stage.command("outbox", &["explain", &stage.case_of("first").unwrap().id.0]);
    assert!(explained.contains("not sent yet: delayed until 2100-01-01T00:00:00Z"), "{explained}");
    assert!(explained.contains("maintenance"), "{explained}");
    let listed = stage.command("outbox", &["list", "--only", "waiting"]);
    assert!(listed.contains("w1  ") && listed.contains("nextrun.case.opened to people: first"), "{listed}");
    let page = address(&stage);
    let kept_back = || metric(&page, "nextrun_messages_held_back{destination=\"people\"}");
    stage.until("it is counted", || kept_back() == Some(1.0));

    configure("noise: { digest: never }");
    daemon.signal("HUP");
    stage.until("the settings are in force", || stage.log().contains("settings reloaded"));
    Run::new(&logdir, "second", &knobs(0.1)).train();
    stage.until("people are told of the second", || !naming(&lines(&people), "second").is_empty());
    assert!(naming(&lines(&people), "first").is_empty(), "what is held back goes out when it would have");

    let said = stage.command("outbox", &["drop", "w1", "--why", "nobody will care in 2100"]);
    assert!(said.contains("the daemon will drop message w1 to people"), "{said}");
    stage.until("nothing waits any more", || kept_back() == Some(0.0));
    assert_eq!(stage.command("outbox", &["list", "--only", "waiting"]), "");
    let explained = stage.command("outbox", &["explain", &stage.case_of("first").unwrap().id.0]);
    assert!(explained.contains("dropped manually: nobody will care in 2100"), "{explained}");
}

#[test]
fn a_suggestion_that_people_were_told_of_in_a_digest_is_waited_for_although_the_queue_gave_it_up() {
    let stage = Stage::new();
    let logdir = stage.logdir();
    let (queue, webhook) = (Receiver::start(|_| (400, "no".to_owned())), Receiver::of_everything());
    let people = Receiver::of_everything();
    let config = stage.write(
        "nextrun.yaml",
        &format!(
            "destinations:\n  people: {{ preset: slack, url: '{}', wants: [case_opened, run_suggested] }}\n\
             noise: {{ digest: {{ cases: 2, within: 3s }} }}\nstatus: {{ listen: '127.0.0.1:0' }}\n",
            people.url()
        ),
    );
    let further = ["--quiet-after", "600s", "--config", config.to_str().unwrap()];
    let jobs = ["sweep/0", "sweep/1"];
    for job in jobs {
        Run::new(&logdir, job, &knobs(10.0)).train();
    }
    let mut daemon = stage.watch(&queue, &webhook, &further);
    stage.until("people are told", || jobs.iter().all(|job| !naming(&lines(&people), job).is_empty()));
    stage.until("the queue gave up", || stage.command("outbox", &["list", "--only", "dead"]).lines().count() == 4);
    assert!(lines(&people).iter().any(|line| line.contains("suggested run")), "in one message: {:?}", lines(&people));
    // What was given up is told again to a process that starts.
    let page = address(&stage);
    daemon.kill();
    let _daemon = stage.watch(&queue, &webhook, &further);
    stage.until("another daemon is ready", || {
        address(&stage) != page && get(&address(&stage), "/ready", "").starts_with("HTTP/1.1 200")
    });
    for job in jobs {
        assert_eq!(stage.case_of(job).unwrap().experiments.len(), 1, "{job} waits for people to start its experiment");
    }
}
