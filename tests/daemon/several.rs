//! Several log directories in one daemon: each with its own policy and queue, and none waits for another.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::hand::POLICY;
use super::operate::{address, get};
use super::stage::{Stage, verdict};
use super::training::{Run, knobs, with};
use super::web::Receiver;
use super::whole::trainer;

/// A directory beside the others.
fn directory(stage: &Stage, name: &str) -> PathBuf {
    let path = stage.logdir().join("..").join(name);
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn the_same_run_in_two_directories_is_two_jobs_each_with_its_policy_and_queue() {
    let stage = Stage::new();
    let [vision, nlp] = ["vision", "nlp"].map(|name| directory(&stage, name));
    stage.write("short.yaml", POLICY);
    let queues = [&vision, &nlp].map(|logdir| Receiver::start(trainer(logdir, knobs(1.0))));
    let text = format!(
        "watch:\n  - {{ name: vision, logdir: ./vision, policy: ./short.yaml, queue: small }}\n  - {{ name: nlp, logdir: \
         ./nlp, queue: large, exclude: [debug] }}\ncontrol: never\ndestinations:\n  small: {{ preset: queue, url: {:?} }}\n  \
         large: {{ preset: queue, url: {:?} }}\n",
        queues[0].url(),
        queues[1].url()
    );
    let configuration = stage.write("nextrun.yaml", &text);
    let _daemon = stage.start_as_configured(&["--config", configuration.to_str().unwrap(), "--quiet-after", "1s"], &[]);
    for (logdir, name) in [(&vision, "sick"), (&nlp, "sick"), (&nlp, "debug")] {
        Run::new(logdir, name, &knobs(1.0)).train();
    }
    for (directory, queue, policy) in [("vision", &queues[0], "short"), ("nlp", &queues[1], "article")] {
        let job = format!("{directory}/sick");
        let case = stage.until_closed(&job);
        assert_eq!((verdict(&case), case.policy.as_str()), ("learning_rate_too_high", policy), "{job}");
        assert!(case.experiments.iter().all(|e| e.job.as_ref() == Some(&e.run_name)), "{:?}", case.experiments);
        let suggested: Vec<_> = queue.events();
        assert_eq!(suggested.len(), case.experiments.len(), "only its own");
        for event in suggested {
            let (logdir, run) = (event.text("/data/logdir"), event.text("/data/run_name"));
            assert_eq!((logdir, event.text("/data/baseline_run"), event.text("/subject")), (directory, "sick", &*job));
            assert!(run.starts_with("nextrun/sick-"), "relative to its directory: {run}");
            let place = event.text("/data/env/NEXTRUN_LOG_DIR");
            assert!(place.ends_with(&format!("/{directory}/{run}")), "{place}");
        }
    }
    assert!(stage.case_of("nlp/debug").is_none(), "the patterns of a directory are relative to it");
}

#[test]
fn a_directory_that_is_missing_or_does_not_respond_delays_no_other() {
    let stage = Stage::new();
    let vision = directory(&stage, "vision");
    // It accepts connections, and answers none.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let queue = Receiver::start(trainer(&vision, knobs(10.0)));
    let text = "watch:\n  - { name: missing, logdir: ./missing }\n  - { name: hanging, logdir: \"s3://runs/a\" }\n  - { name: \
                vision, logdir: ./vision, quiet_after: 1s, sweep: 1s }\nstatus: { listen: \"127.0.0.1:0\" }\n";
    let configuration = stage.write("nextrun.yaml", text);
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "local"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ];
    let arguments = ["--config", configuration.to_str().unwrap(), "--queue", &queue.url()];
    let mut daemon = stage.start_as_configured(&arguments, &variables);
    Run::new(&vision, "sick", &knobs(10.0)).train();
    let case = stage.until_closed("vision/sick");
    assert!(!case.experiments.is_empty());
    assert!(get(&address(&stage), "/ready", "").ends_with("ready\n"), "one was read, the others may follow");

    let missing = directory(&stage, "missing");
    Run::new(&missing, "late", &knobs(10.0)).train();
    stage.until("a directory that appears is read", || stage.case_of("missing/late").is_some());
    daemon.signal("TERM");
    stage.until("it stops although a directory does not respond", || daemon.ended().is_some());
}

/// What `nextrun config check` says of a configuration, and whether it accepts it.
fn checked(configuration: &Path) -> (bool, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_nextrun")).args(["config", "check"]).arg(configuration).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn cases_follow_their_jobs_when_a_second_directory_gives_the_first_one_a_name() {
    let stage = Stage::new();
    let [vision, _nlp] = ["vision", "nlp"].map(|name| directory(&stage, name));
    stage.write("short.yaml", POLICY);
    let queue = Receiver::of_everything();
    let suggested = || {
        let events = queue.events().into_iter();
        events.filter(|event| event.text("/type") == "nextrun.run.suggested").collect::<Vec<_>>()
    };
    let configured = |name: &str, watch: &str| {
        let text = format!("watch: {watch}\npolicy: ./short.yaml\ncontrol: never\nstate: ./state\n");
        stage.write(name, &text)
    };
    let alone = configured("alone.yaml", "{ logdir: ./vision }");
    let both = configured("both.yaml", "[{ name: vision, logdir: ./vision }, { name: nlp, logdir: ./nlp }]");
    let start = |configuration: &Path| {
        let arguments = ["--config", configuration.to_str().unwrap(), "--queue", &queue.url(), "--quiet-after", "1s"];
        stage.start_as_configured(&arguments, &[])
    };
    let mut daemon = start(&alone);
    for name in ["sick", "odd"] {
        Run::new(&vision, name, &knobs(1.0)).train();
    }
    stage.until("both experiments are suggested", || suggested().len() == 2);
    let [sick, odd] = ["sick", "odd"].map(|name| stage.case_of(name).unwrap());
    stage.cases(&["close", &odd.id.0, "--verdict", "data_pipeline", "--why", "seen"]);
    stage.until_closed("odd");
    daemon.kill();

    assert!(!checked(&alone).1.contains("note:"), "nothing changes");
    let (accepted, said) = checked(&both);
    assert!(accepted && said.contains("vision/NAME instead of NAME; their cases follow"), "{said}");
    let mut daemon = start(&both);
    stage.until("the case has the new name", || stage.case_of("vision/sick").is_some());
    let case = stage.case_of("vision/sick").unwrap();
    assert_eq!((&case.id, case.closed.is_some(), case.logdir.as_deref()), (&sick.id, false, Some("vision")));
    assert_eq!(stage.journal(&case).last().unwrap().kind, "renamed");
    let event = suggested().into_iter().find(|event| event.text("/data/case_id") == sick.id.0).unwrap();
    Run::new(&vision, event.text("/data/run_name"), &with(&knobs(1.0), &event.body["data"]["overrides"])).train();
    assert_eq!(verdict(&stage.until_closed("vision/sick")), "learning_rate_too_high");
    assert_eq!(stage.log().matches("vision/NAME instead of NAME").count(), 1);
    daemon.kill();

    let _daemon = start(&alone);
    Run::new(&vision, "late", &knobs(1.0)).train();
    stage.until("it works under the former names", || suggested().len() == 3);
    let mut names: Vec<String> = stage.kept().into_iter().map(|case| case.baseline).collect();
    names.sort();
    assert_eq!(names, ["late", "odd", "sick"], "no job is investigated twice");
}

#[test]
fn a_directory_inside_another_is_refused_unless_it_is_left_out_there() {
    let stage = Stage::new();
    let data = directory(&stage, "data");
    fs::create_dir(data.join("inner")).unwrap();
    std::os::unix::fs::symlink(&data, data.with_file_name("link")).unwrap();
    let configured = |outer: &str, inner: &str| {
        let text =
            format!("watch: [{{ name: outer, logdir: ./data{outer} }}, {{ name: inner, logdir: ./link{inner} }}]\n");
        stage.write("nextrun.yaml", &text)
    };
    let (accepted, said) = checked(&configured("", "/inner"));
    assert!(!accepted && said.contains("is inside `outer`") && said.contains("exclude: [\"inner\"]"), "{said}");
    let (accepted, said) = checked(&configured("", ""));
    assert!(!accepted && said.contains("are the same directory"), "{said}");
    assert!(checked(&configured("", "/../nlp")).0 && checked(&configured("/x", "/xy")).0);
    assert!(checked(&configured(", exclude: [inner]", "/inner")).0);
    let configuration = configured("", "/inner");
    let mut daemon = stage.start_as_configured(&["--config", configuration.to_str().unwrap()], &[]);
    stage.until("it does not start", || daemon.ended().is_some());
    assert!(stage.log().contains("is inside `outer`"), "{}", stage.log());
}
