//! All cases under one daemon: baselines are trained, the daemon investigates, what it says is taken down.
//!
//! Owns: when it is over. Must not know: HTTP, how anything is trained, what is right.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Map, Value};

use crate::cases::Case;
use crate::investigation::{Investigation, Opened, Tried};
use crate::lab::without_accidents;
use crate::runs;
use crate::support::daemon::Daemon;
use crate::support::queue::{self, Job, News, Programs, Trained};
use crate::trainer::knobs::Knobs;
use crate::verify::with_seed;

/// Without any news for so long, nothing more will come.
const QUIET: Duration = Duration::from_secs(60);
/// How often the daemon's health is looked at while nothing happens.
const GLANCE: Duration = Duration::from_millis(200);

/// The programs of all cases, by the directory of their baseline, each with its repetition.
#[derive(Clone)]
struct AllCases {
    cases: BTreeMap<String, (Case, u64)>,
}

impl AllCases {
    fn of(cases: &[Case], seeds: u64) -> AllCases {
        let repeated = cases.iter().flat_map(|case| (0..seeds).map(move |repetition| (case, repetition)));
        let named =
            repeated.map(|(case, repetition)| (format!("{}-s{repetition}", case.id), (case.clone(), repetition)));
        AllCases { cases: named.collect() }
    }

    /// A run may lie in a sub-directory of its job, and jobs are named by their directory.
    fn case_of(&self, run: &str) -> Option<&(Case, u64)> {
        self.cases.get(run.split('/').next().unwrap_or_default())
    }
}

impl Programs for AllCases {
    fn knobs(&self, baseline_run: &str) -> Option<Knobs> {
        let (case, repetition) = self.case_of(baseline_run)?;
        case.knobs(&with_seed(case, &Map::new(), *repetition)).ok()
    }

    fn train(&self, job: &Job, directory: &Path) -> Trained {
        let started = Instant::now();
        let losses = match self.case_of(job.suggestion["baseline_run"].as_str().unwrap_or_default()) {
            Some((case, repetition)) => {
                runs::train(&without_accidents(case), &with_seed(case, &job.overrides, *repetition), directory)
            }
            None => Err(anyhow::anyhow!("no such program")),
        };
        let losses = losses.map(|summary| summary.losses).map_err(|error| format!("{error:#}"));
        Trained { losses, took: started.elapsed() }
    }
}

/// What the daemon did to the cases, by baseline run.
#[derive(Default)]
struct Heard {
    verdicts: BTreeMap<String, String>,
    opened: BTreeMap<String, Opened>,
    experiments: BTreeMap<String, Vec<Tried>>,
    /// The baseline whose experiment is being trained.
    training: String,
}

/// Trains all baselines under a daemon, each with so many seeds, and takes down what it says.
///
/// # Errors
/// When the daemon or the queue cannot be started, a baseline cannot be trained, or the daemon ends early.
pub(crate) fn closed_loop(
    (cases, seeds): (&[Case], u64),
    logdir: &Path,
    scratch: &Path,
    patience: Duration,
) -> anyhow::Result<Vec<Investigation>> {
    let all = AllCases::of(cases, seeds);
    let queue = queue::serve(logdir.to_path_buf(), all.clone(), 0).context("cannot serve the queue")?;
    let mut daemon = Daemon::start(logdir, scratch, queue.address)?;
    let mut heard = Heard::default();
    let faulty: BTreeSet<&str> =
        all.cases.iter().filter(|(_, (case, _))| !case.healthy).map(|(run, _)| run.as_str()).collect();
    let baselines = std::thread::scope(|scope| {
        let baselines = scope.spawn(|| train_baselines(&all, logdir));
        let (started, mut last) = (Instant::now(), Instant::now());
        while started.elapsed() < patience {
            match queue.news.recv_timeout(GLANCE) {
                Ok(news) => {
                    last = Instant::now();
                    heard.take(news);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(status) = daemon.ended() {
                        bail!("the daemon ended ({status}); its words are in {}", scratch.display());
                    }
                    let settled = faulty.iter().all(|run| heard.verdicts.contains_key(*run));
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
    Ok(baselines.into_iter().map(|(run, known)| heard.of(&run, known)).collect())
}

fn train_baselines(all: &AllCases, logdir: &Path) -> anyhow::Result<Vec<(String, Investigation)>> {
    let train = |(run, (case, repetition)): (&String, &(Case, u64))| {
        let summary = runs::train(case, &with_seed(case, &Map::new(), *repetition), &logdir.join(run));
        let summary = summary.with_context(|| run.clone())?;
        Ok((run.clone(), Investigation::new(case, *repetition, &summary)))
    };
    all.cases.iter().map(train).collect()
}

impl Heard {
    fn take(&mut self, news: News) {
        match news {
            News::Started(job) => {
                self.training = run_of(&job.suggestion);
                let state = job.suggestion["state"].as_str().unwrap_or_default().to_owned();
                eprintln!("     {:34} {state}, {} steps", self.training, job.knobs.max_steps);
                self.experiments.entry(self.training.clone()).or_default().push(Tried { state, steps: 0 });
            }
            News::Finished(Trained { losses: Err(error), took }) => {
                eprintln!("     crashed after {:.1} s: {error}", took.as_secs_f32());
            }
            News::Finished(Trained { losses: Ok(losses), .. }) => {
                if let Some(tried) = self.experiments.get_mut(&self.training).and_then(|all| all.last_mut()) {
                    tried.steps = losses.len();
                }
            }
            News::Refused(error) => eprintln!("     refused: {error}"),
            News::Event(kind, data) => match kind.as_str() {
                "nextrun.case.opened" => {
                    let symptoms = data["symptoms"].as_array().into_iter().flatten();
                    let symptoms = symptoms.filter_map(|symptom| Some(symptom.as_str()?.to_owned())).collect();
                    self.opened.entry(run_of(&data)).or_insert(Opened { step: None, symptoms });
                }
                "nextrun.case.closed" => {
                    let verdict = data["verdict"].as_str().unwrap_or_default();
                    eprintln!("     {:34} => {verdict}", run_of(&data));
                    self.verdicts.entry(run_of(&data)).or_insert_with(|| verdict.to_owned());
                }
                _ => {}
            },
        }
    }

    /// What became of a baseline run. The daemon says what it saw when it opened the case, and nothing of runs that it
    /// leaves alone.
    fn of(&mut self, run: &str, mut known: Investigation) -> Investigation {
        known.opened = self.opened.remove(run);
        known.verdict = self.verdicts.remove(run);
        known.experiments = self.experiments.remove(run).unwrap_or_default();
        known.symptoms = known.opened.as_ref().map_or_else(Vec::new, |opened| opened.symptoms.clone());
        known
    }
}

/// The baseline that an event is about, without the sub-directories of its job.
fn run_of(data: &Value) -> String {
    data["baseline_run"].as_str().and_then(|run| run.split('/').next()).unwrap_or_default().to_owned()
}
