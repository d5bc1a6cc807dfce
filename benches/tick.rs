//! The cost of the core at many live jobs: a tick in which every job has news, one without, and the memory of a job.
//!
//! `cargo bench --bench tick`, or `cargo bench --bench tick -- 10000` for another number of jobs. Each job logs training
//! loss, validation loss, learning rate and gradient norm, and learns. Between two ticks with news it grows by a fifth, so
//! that it is due for an examination.

use std::time::Instant;

use fastrand::Rng;
use nextrun::config::Settings;
use nextrun::daemon::site_of;
use nextrun::diagnosis::Diagnosis;
use nextrun::series::{Point, RunData, RunName, Runs};

/// Points that a job has logged when it is first seen.
const FIRST: i64 = 200;
/// Ticks with news, each after a job has grown by a fifth.
const ROUNDS: i32 = 7;
/// Validations come every so many points.
const VALIDATION: i64 = 8;

fn main() {
    let jobs: u64 = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(10_000);
    let mut runs: Runs = (0..jobs)
        .map(|job| (RunName::new(&format!("team-{:02}/job-{job:06}", job % 50)), RunData::default()))
        .collect();
    let mut grown = 0;
    log(&mut runs, 0..FIRST);
    grown += FIRST;
    let read = resident();
    let site = site_of(&Settings::default()).expect("the defaults make a site");
    let mut diagnosis = Diagnosis::new(site, []);
    let mut opened = 0;
    let mut ticks = Vec::new();
    for _ in 0..=ROUNDS {
        let begun = Instant::now();
        opened += diagnosis.tick(&runs, at(grown)).cases.len();
        ticks.push(begun.elapsed().as_secs_f64());
        let more = grown / 5;
        log(&mut runs, grown..grown + more);
        grown += more;
    }
    diagnosis.tick(&runs, at(grown));
    let after = resident();
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        diagnosis.tick(&runs, at(grown));
    }
    let idle = begun.elapsed().as_secs_f64() / f64::from(ROUNDS);
    // The first tick meets every job for the first time.
    ticks.remove(0);
    ticks.sort_by(f64::total_cmp);
    println!(
        "{jobs} jobs: a tick with news of every job takes {:.0} ms (median of {ROUNDS}; best {:.0} ms), {:.0} us a job; one \
         without news {:.1} ms; series take {:.1} KiB a job, diagnosis {:.2} KiB; {opened} cases opened",
        1e3 * ticks[ticks.len() / 2],
        1e3 * ticks[0],
        1e6 * ticks[0] / jobs as f64,
        1e3 * idle,
        read / jobs as f64,
        (after - read) / jobs as f64,
    );
}

/// Seconds since the Unix epoch when the point of this number was logged.
fn at(point: i64) -> f64 {
    1.8e9 + 10.0 * point as f64
}

fn log(runs: &mut Runs, points: std::ops::Range<i64>) {
    for (number, (_, data)) in (0u64..).zip(runs.iter_mut()) {
        let mut rng = Rng::with_seed(number ^ (points.start as u64) << 32);
        for point in points.clone() {
            let (wall_time, falls) = (at(point), 1.5 * (1.0 - (-(point as f64) / 150.0).exp()));
            let mut wave = || 0.05 * (rng.f64() - 0.5);
            let values = [
                ("train/loss", 2.3 - falls + wave()),
                ("lr", 1e-3),
                ("grad_norm", 0.5 + wave()),
                ("val/loss", 2.35 - 0.95 * falls + wave()),
            ];
            data.event(wall_time);
            for (tag, value) in values {
                if tag != "val/loss" || point % VALIDATION == 0 {
                    let tag = data.tag_id(tag).expect("four tags are below the limit");
                    data.scalar(tag, Point { step: 10 * point, wall_time, value });
                }
            }
        }
    }
}

/// Resident memory, in KiB.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim_matches([' ', '\t', 'k', 'B']).parse().unwrap_or(f64::NAN)
}
