//! Years of old runs: they are skipped, except those that open cases need or that grow again.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::hand::POLICY;
use super::operate::{address, metric};
use super::stage::{Stage, verdict};
use super::training::{Run, knobs, with};
use super::web::{Event, Receiver};

const OLD_RUNS: usize = 200;

/// Three days pass for all files of a run.
fn age(logdir: &Path, run: &str) {
    let then = SystemTime::now() - Duration::from_secs(3 * 86_400);
    for file in fs::read_dir(logdir.join(run)).unwrap() {
        File::options().append(true).open(file.unwrap().path()).unwrap().set_modified(then).unwrap();
    }
}

#[test]
fn old_runs_are_read_when_they_grow_or_an_open_case_needs_them() {
    let stage = Stage::new();
    let logdir = stage.logdir();
    stage.write("short.yaml", POLICY);
    let text = "policy: ./short.yaml\nstatus: { listen: \"127.0.0.1:0\" }\nwatch: { sweep: 1s, quiet_after: 1s }\n";
    let configuration = stage.write("nextrun.yaml", text);
    let (queue, webhook) = (Receiver::of_everything(), Receiver::of_everything());
    let watch = || stage.watch(&queue, &webhook, &["--config", configuration.to_str().unwrap()]);
    let mut daemon = watch();
    Run::new(&logdir, "sick", &knobs(1.0)).train();
    stage.until("an experiment is suggested", || queue.events().len() == 1);
    daemon.kill();

    age(&logdir, "sick");
    for i in 0..OLD_RUNS {
        let name = format!("old/{i}");
        Run::new(&logdir, &name, &knobs(1.0)).ago(3.0 * 86_400.0).log(0..50);
        age(&logdir, &name);
    }
    let _daemon = watch();
    stage.until("it has looked at everything", || stage.log().matches("status page available").count() == 2);
    let page = address(&stage);
    let counts = || (metric(&page, "nextrun_runs"), metric(&page, "nextrun_old_runs"));
    stage.until("the baseline is read and the old runs are not", || counts() == (Some(1.0), Some(OLD_RUNS as f64)));

    let train = |event: &Event| {
        let name = event.text("/data/run_name");
        if !logdir.join(name).exists() {
            Run::new(&logdir, name, &with(&knobs(1.0), &event.body["data"]["overrides"])).train();
        }
    };
    stage.until("the case of the old baseline is closed", || {
        queue.events().iter().for_each(train);
        stage.case_of("sick").is_some_and(|case| case.closed.is_some())
    });
    let sick = stage.case_of("sick").unwrap();
    assert_eq!(verdict(&sick), "learning_rate_too_high");
    let experiments = sick.experiments.len() as f64;

    // It is started again: a second file in the folder of a run that had ended.
    Run::new(&logdir, "old/7", &knobs(1.0)).train();
    stage.until("the run that grew has a case", || stage.case_of("old/7").is_some());
    stage.until("its neighbours are still not read", || {
        counts() == (Some(2.0 + experiments), Some(OLD_RUNS as f64 - 1.0))
    });
    assert_eq!(stage.kept().len(), 2);
}

#[test]
fn the_run_of_an_experiment_is_read_although_its_files_are_old_when_they_come_to_light() {
    let stage = Stage::new();
    let logdir = stage.logdir();
    let (queue, webhook) = (Receiver::of_everything(), Receiver::of_everything());
    let configuration = stage.write("nextrun.yaml", "status: { listen: \"127.0.0.1:0\" }\nwatch: { sweep: 1s }\n");
    let _daemon = stage.watch(&queue, &webhook, &["--config", configuration.to_str().unwrap()]);
    Run::new(&logdir, "sick", &knobs(1.0)).train();
    stage.until("an experiment is suggested", || queue.events().len() == 1);
    // What it needs was read at the next tick already.
    let (page, turns) = (address(&stage), "nextrun_turn_duration_seconds_count");
    let before = metric(&page, turns).unwrap();
    stage.until("it has ticked", || metric(&page, turns).unwrap() >= before + 3.0);
    let event = queue.events()[0].clone();
    let name = event.text("/data/run_name");
    let elsewhere = logdir.with_file_name("elsewhere");
    Run::new(&elsewhere, name, &with(&knobs(1.0), &event.body["data"]["overrides"])).train();
    age(&elsewhere, name);
    fs::create_dir_all(logdir.join(name).parent().unwrap()).unwrap();
    fs::rename(elsewhere.join(name), logdir.join(name)).unwrap();
    stage.until("it is judged, and the next one is suggested", || queue.events().len() == 2);
}
