//! The number of requests per scan, and objects that change while they are read.

use axum::http::StatusCode;
use nextrun::series::RunName;
use nextrun::watch::{Changes, Watcher, each_scalar};

use super::bucket::{Asked, Bucket};
use super::records;

const FILE: &str = "runs/job/events.out.tfevents.1.node";
const NOW: f64 = 1.7e9;
const GET: Asked = Asked::Get { conditional: true };

fn events(watcher: &Watcher) -> u64 {
    watcher.runs()[&RunName::new("job")].events()
}

fn assert_unchanged(changes: &Changes) {
    assert_eq!(changes, &Changes::default());
}

#[test]
fn what_did_not_change_costs_nothing_but_the_listing() {
    let bucket = Bucket::start();
    bucket.put(FILE, &records(0..100));
    bucket.put("runs/job/hparams.yaml", b"lr: 0.1");
    bucket.put("runs/large/events.tfevents", &records(0..100_000));
    bucket.put("runs/job/model.pt", &[0; 100_000]);
    let mut watcher = bucket.watcher();
    assert_eq!(watcher.poll(NOW).appeared, [RunName::new("job"), RunName::new("large")]);
    assert_eq!(bucket.asked(), [Asked::List, GET, GET, GET], "one request an object, whatever its size");
    assert_unchanged(&watcher.poll(NOW + 30.0));
    assert_eq!(bucket.asked(), [Asked::List]);
}

#[test]
fn what_grew_costs_at_most_two_requests() {
    let bucket = Bucket::start();
    let mut watcher = bucket.watcher();
    for (steps, most) in [(1, 1), (2, 1), (200, 1), (20_000, 2), (20_001, 2)] {
        bucket.put(FILE, &records(0..steps));
        watcher.poll(NOW);
        assert_eq!(events(&watcher), steps as u64);
        let asked = bucket.asked();
        let gets = asked.iter().filter(|asked| **asked == GET).count();
        assert!(gets <= most && asked.len() == gets + 1, "{steps} steps: {asked:?}");
    }
}

#[test]
fn an_unfinished_tail_is_not_asked_for_again_before_the_object_changes() {
    let bucket = Bucket::start();
    let whole = records(0..50);
    bucket.put(FILE, &whole[..whole.len() - 7]);
    let mut watcher = bucket.watcher();
    watcher.poll(NOW);
    assert_eq!(events(&watcher), 49);
    bucket.asked();
    for seconds in [2.0, 100.0, 1000.0] {
        assert_unchanged(&watcher.poll(NOW + seconds));
    }
    assert_eq!(bucket.asked(), [Asked::List; 3]);
    bucket.put(FILE, &whole);
    watcher.poll(NOW + 1001.0);
    assert_eq!(events(&watcher), 50);
}

#[test]
fn an_object_that_changes_between_listing_and_reading_is_read_as_it_is_then() {
    let bucket = Bucket::start();
    bucket.put(FILE, &records(0..300));
    bucket.contents().after_listing = Some((FILE.to_owned(), records(0..500)));
    let mut watcher = bucket.watcher();
    watcher.poll(NOW);
    assert_eq!(events(&watcher), 500);
    assert_eq!(bucket.asked(), [Asked::List, GET, Asked::Head, GET], "refused, looked at, read");
    watcher.poll(NOW + 30.0);
    assert_eq!(events(&watcher), 500);
    assert_eq!(watcher.files().map(|file| (file.generation, file.bad_records)).collect::<Vec<_>>(), [(0, 0)]);
}

#[test]
fn another_object_under_the_same_key_starts_over() {
    let bucket = Bucket::start();
    bucket.put(FILE, &records(0..300));
    let mut watcher = bucket.watcher();
    watcher.poll(NOW);
    // Shorter; as long; longer.
    for (generation, steps) in [(1, 100..200), (2, 500..600), (3, 0..400)] {
        bucket.put(FILE, &records(steps.clone()));
        assert_eq!(watcher.poll(NOW).changed, [RunName::new("job")]);
        assert_eq!(events(&watcher), (steps.end - steps.start) as u64);
        let run = &watcher.runs()[&RunName::new("job")];
        assert_eq!(run.first_wall_time(), Some(1.7e9 + steps.start as f64), "nothing of the old one is left");
        assert_eq!(watcher.files().next().unwrap().generation, generation);
    }
    bucket.delete(FILE);
    assert_eq!(watcher.poll(NOW).vanished, [RunName::new("job")]);
}

#[test]
fn an_outage_makes_nothing_vanish_and_asks_for_nothing_in_vain() {
    let bucket = Bucket::start();
    bucket.put(FILE, &records(0..10));
    let mut watcher = bucket.watcher();
    watcher.poll(NOW);
    bucket.put(FILE, &records(0..20));
    bucket.asked();
    bucket.contents().fault = Some(StatusCode::FORBIDDEN);
    let changes = watcher.poll(NOW + 30.0);
    assert!(changes.vanished.is_empty() && changes.problems.len() == 1, "{changes:?}");
    assert!(changes.problems[0].contains("cannot list s3://bucket/runs: access denied (HTTP 403"), "{changes:?}");
    assert_eq!((events(&watcher), bucket.asked()), (10, vec![Asked::List]));
    bucket.contents().fault = None;
    assert_eq!(watcher.poll(NOW + 60.0).changed, [RunName::new("job")]);
    assert_eq!(events(&watcher), 20);
}

#[test]
fn what_could_not_be_read_is_read_at_the_next_look() {
    let bucket = Bucket::start();
    let side = "runs/job/hparams.yaml";
    bucket.put(FILE, &records(0..10));
    bucket.put(side, b"lr: 0.1");
    let mut watcher = bucket.watcher();
    let look = |watcher: &mut Watcher, forbidden: Option<&str>| {
        bucket.contents().forbidden = forbidden.map(str::to_owned);
        watcher.poll(NOW);
        let run = &watcher.runs()[&RunName::new("job")];
        (run.events(), run.hyperparameters().len())
    };
    assert_eq!(look(&mut watcher, Some(side)), (10, 0));
    assert_eq!(look(&mut watcher, None), (10, 1));
    bucket.put(FILE, &records(0..20));
    bucket.put(side, b"{lr: 0.1, seed: 2}");
    assert_eq!(look(&mut watcher, Some(FILE)), (0, 2));
    assert_eq!(look(&mut watcher, None), (20, 2));
}

#[test]
fn a_store_that_is_busy_is_asked_again_a_few_times() {
    let bucket = Bucket::start();
    bucket.contents().fault = Some(StatusCode::SERVICE_UNAVAILABLE);
    let problem = bucket.watcher().poll(NOW).problems.remove(0);
    assert!(problem.contains("HTTP 503, ServiceUnavailable"), "{problem}");
    assert_eq!(bucket.asked(), [Asked::List; 4]);
}

#[test]
fn every_page_of_a_listing_is_read() {
    let bucket = Bucket::start();
    for job in 0..5 {
        bucket.put(&format!("runs/a&b<{job}/events.tfevents"), &records(0..2));
    }
    bucket.contents().page = 2;
    let mut watcher = bucket.watcher();
    assert_eq!(watcher.poll(NOW).appeared.len(), 5);
    assert_eq!(bucket.asked().iter().filter(|asked| **asked == Asked::List).count(), 3);
}

#[test]
fn a_key_that_is_no_path_is_named_and_what_was_seen_before_it_is_read() {
    let bucket = Bucket::start();
    bucket.put("runs/a/events.tfevents", &records(0..2));
    bucket.put("runs/b//events.tfevents", &records(0..2));
    bucket.contents().page = 1;
    let mut watcher = bucket.watcher();
    let changes = watcher.poll(NOW);
    assert_eq!(changes.appeared, [RunName::new("a")]);
    assert!(changes.problems[0].contains("runs/b//events.tfevents"), "{changes:?}");
}

#[test]
fn scalars_are_read_in_one_request_an_object() {
    let bucket = Bucket::start();
    bucket.put("runs/a/events.tfevents", &records(0..50_000));
    bucket.put("runs/b/events.tfevents", &records(0..5));
    let mut steps = Vec::new();
    let problems = each_scalar(&*bucket.logdir(), |_, _, point| steps.push(point.step)).unwrap();
    assert!(problems.is_empty() && steps == (0..50_000).chain(0..5).collect::<Vec<_>>());
    assert_eq!(bucket.asked(), [Asked::List, GET, GET]);
}
