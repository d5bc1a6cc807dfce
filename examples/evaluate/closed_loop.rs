//! All cases under one daemon: baselines are trained, the daemon investigates, its verdicts are compared.
//!
//! Owns: when it is over, and the score. Must not know: HTTP, how anything is trained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Map, Value};

use crate::cases::{Case, Fault};
use crate::runs;
use crate::support::daemon::Daemon;
use crate::support::queue::{self, Job, News, Programs, Trained};
use crate::trainer::knobs::Knobs;

/// Without any news for so long, nothing more will come.
const QUIET: Duration = Duration::from_secs(60);
/// How often the daemon's health is looked at while nothing happens.
const GLANCE: Duration = Duration::from_millis(200);

/// The programs of all cases, by the directory of their baseline.
struct AllCases {
    cases: BTreeMap<String, Case>,
}

impl AllCases {
    /// A run may lie in a sub-directory of its job, and jobs are named by their directory.
    fn of(&self, run: &str) -> Option<&Case> {
        self.cases.get(run.split('/').next().unwrap_or_default())
    }
}

impl Programs for AllCases {
    fn knobs(&self, baseline_run: &str) -> Option<Knobs> {
        self.of(baseline_run)?.knobs(&Map::new()).ok()
    }

    fn train(&self, job: &Job, directory: &Path) -> Trained {
        let started = Instant::now();
        let losses = match self.of(job.suggestion["baseline_run"].as_str().unwrap_or_default()) {
            // A machine fails once: the next run is on another.
            Some(case) => runs::train(&without_accidents(case), &job.overrides, directory),
            None => Err(anyhow::anyhow!("no such program")),
        };
        let losses = losses.map(|summary| summary.losses).map_err(|error| format!("{error:#}"));
        Trained { losses, took: started.elapsed() }
    }
}

fn without_accidents(case: &Case) -> Case {
    let fault = match case.fault {
        Fault::Killed { .. } | Fault::Hang { .. } => Fault::None,
        fault => fault,
    };
    Case { fault, ..case.clone() }
}

/// What the daemon did to the cases.
#[derive(Default)]
struct Outcome {
    /// Verdicts by baseline.
    verdicts: BTreeMap<String, String>,
    /// Baselines that a case was opened for.
    opened: BTreeSet<String>,
    /// Number of experiments by baseline.
    experiments: BTreeMap<String, usize>,
}

/// Trains all baselines under a daemon and scores its verdicts. Returns whether all are as expected.
///
/// # Errors
/// When the daemon or the queue cannot be started, a baseline cannot be trained, or the daemon ends early.
pub(crate) fn closed_loop(cases: &[Case], logdir: &Path, scratch: &Path, patience: Duration) -> anyhow::Result<bool> {
    let by_run = cases.iter().map(|case| (case.id.clone(), case.clone())).collect();
    let queue = queue::serve(logdir.to_path_buf(), AllCases { cases: by_run }, 0).context("cannot serve the queue")?;
    let mut daemon = Daemon::start(logdir, scratch, queue.address)?;
    let mut outcome = Outcome::default();
    let faulty: BTreeSet<&str> = cases.iter().filter(|case| !case.healthy).map(|case| case.id.as_str()).collect();
    std::thread::scope(|scope| {
        let baselines = scope.spawn(|| -> anyhow::Result<()> {
            cases.iter().try_for_each(|case| match runs::train(case, &Map::new(), &logdir.join(&case.id)) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.context(case.id.clone())),
            })
        });
        let (started, mut last) = (Instant::now(), Instant::now());
        while started.elapsed() < patience {
            match queue.news.recv_timeout(GLANCE) {
                Ok(news) => {
                    last = Instant::now();
                    outcome.take(news);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(status) = daemon.ended() {
                        bail!("the daemon ended ({status}); its words are in {}", scratch.display());
                    }
                    let settled = faulty.iter().all(|id| outcome.verdicts.contains_key(*id));
                    let quiet = last.elapsed() > if settled { QUIET / 4 } else { QUIET };
                    if baselines.is_finished() && quiet {
                        break;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the queue has stopped"),
            }
        }
        baselines.join().unwrap_or_else(|_| bail!("a baseline panicked"))
    })?;
    Ok(outcome.score(cases))
}

impl Outcome {
    fn take(&mut self, news: News) {
        match news {
            News::Started(job) => {
                let baseline = run_of(&job.suggestion);
                let state = job.suggestion["state"].as_str().unwrap_or_default();
                println!("     {baseline:30} {state}, {} steps", job.knobs.max_steps);
                *self.experiments.entry(baseline).or_default() += 1;
            }
            News::Finished(Trained { losses: Err(error), took }) => {
                println!("     crashed after {:.1} s: {error}", took.as_secs_f32());
            }
            News::Finished(_) => {}
            News::Refused(error) => println!("     refused: {error}"),
            News::Event(kind, data) => match kind.as_str() {
                "nextrun.case.opened" => {
                    self.opened.insert(run_of(&data));
                }
                "nextrun.case.closed" => {
                    let verdict = data["verdict"].as_str().unwrap_or_default();
                    println!("     {:30} => {verdict}", run_of(&data));
                    self.verdicts.entry(run_of(&data)).or_insert_with(|| verdict.to_owned());
                }
                _ => {}
            },
        }
    }

    /// Prints what was expected and what came, and the share that is right.
    fn score(&self, cases: &[Case]) -> bool {
        let mut shares: BTreeMap<(bool, bool), (usize, usize)> = BTreeMap::new();
        for case in cases {
            let verdict = self.verdicts.get(&case.id).map(String::as_str);
            let right = match verdict {
                Some(verdict) if case.healthy => matches!(verdict, "healthy" | "recovered"),
                Some(verdict) => case.verdicts.iter().any(|expected| expected == verdict),
                None => case.healthy && !self.opened.contains(&case.id),
            };
            let (rights, count) = shares.entry((case.healthy, case.held_back)).or_default();
            *rights += usize::from(right);
            *count += 1;
            println!(
                "{} {:30} {:>2} experiments  {:38} expected {}",
                if right { "ok  " } else { "FAIL" },
                case.id,
                self.experiments.get(&case.id).copied().unwrap_or_default(),
                verdict.unwrap_or(if self.opened.contains(&case.id) { "still open" } else { "no case" }),
                if case.healthy { "healthy".to_owned() } else { case.verdicts.join(" | ") },
            );
        }
        for ((healthy, held_back), (rights, count)) in &shares {
            let what = if *healthy { "healthy runs left alone" } else { "root causes named" };
            println!("{rights} of {count} {what}{}", if *held_back { " (held back)" } else { "" });
        }
        shares.values().all(|(rights, count)| rights == count)
    }
}

/// The baseline that an event is about, without the sub-directories of its job.
fn run_of(data: &Value) -> String {
    data["baseline_run"].as_str().and_then(|run| run.split('/').next()).unwrap_or_default().to_owned()
}
