//! Sources of the script's command, and the settings that jobs in the log directory logged.
//!
//! Owns: the order of sources. Must not know: the meaning of a command's arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::case::experiment_of;
use crate::daemon::variables;
use crate::jobs::{group, knobs_of, logged_of};
use crate::launch::{environment, find};
use crate::launched::{Launched, Source};
use crate::logdir::Place;
use crate::series::Runs;
use crate::setup::{self, Logged};
use crate::signals::{Signal, SignalRules, TagInfo, TagKind};

/// Maximum number of jobs compared with the command.
const MOST_JOBS: usize = 20;

/// A command and its source.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) argv: Vec<String>,
    pub(super) cwd: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) source: Source,
    /// The source, for people.
    pub(super) from: String,
    /// The job that it started, relative to the log directory.
    pub(super) run: Option<String>,
}

impl Start {
    /// Uses the given command, otherwise that of a running job, otherwise the newest recorded one.
    pub(super) fn find(words: &[String], sweep: Option<&Path>, logdir: &Path, jobs: &Jobs) -> anyhow::Result<Start> {
        let here = || {
            let cwd = std::env::current_dir().context("the working directory is unknown")?;
            cwd.to_str().map(str::to_owned).context("the path of the working directory is not UTF-8")
        };
        let given = |argv: Vec<String>, from: &str| {
            let (env, from) = (variables(), from.to_owned());
            Ok(Start { argv, cwd: here()?, env, source: Source::Run, from, run: None })
        };
        if !words.is_empty() {
            return given(words.to_vec(), "as given");
        }
        if let Some(file) = sweep {
            let text = std::fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
            let sweep = setup::sweep(&text, "python").with_context(|| format!("{}", file.display()))?;
            return given(sweep.argv, &format!("from {}", file.display()));
        }
        if let Some(running) = find::running(logdir).into_iter().next() {
            let run = relative(logdir, &running.run);
            let from = format!("from the process that writes {run}");
            let find::Running { argv, cwd, env, .. } = running;
            return Ok(Start { argv, cwd, env, source: Source::Process, from, run: Some(run) });
        }
        if let Some((run, launched)) = jobs.newest_recorded() {
            let own = environment::folder(&variables()).zip(launched.environment.as_deref());
            let kept = own.and_then(|(folder, id)| environment::kept(&folder, id).ok());
            return Ok(Start {
                argv: launched.argv,
                cwd: launched.cwd,
                env: kept.unwrap_or_else(variables),
                source: Source::Run,
                from: format!("from the record of {run}"),
                run: Some(run),
            });
        }
        let where_ = logdir.display();
        bail!(
            "nextrun does not know how the jobs in {where_} are started: none is running now, and none was started \
             with `nextrun run`. Pass the command: nextrun init {where_} -- python train.py …"
        )
    }
}

fn relative(logdir: &Path, run: &Path) -> String {
    let below = run.strip_prefix(logdir).unwrap_or(run).display().to_string();
    if below.is_empty() { ".".to_owned() } else { below }
}

/// The jobs of a log directory.
pub(super) struct Jobs {
    runs: Runs,
}

impl Jobs {
    /// Reads a log directory. A directory that does not exist yet has no jobs.
    pub(super) fn read(logdir: &Path) -> anyhow::Result<Jobs> {
        let runs =
            if logdir.is_dir() { crate::cli::runs_of(&Place::Disk(PathBuf::from(logdir)))? } else { Runs::default() };
        Ok(Jobs { runs })
    }

    /// The newest job that `nextrun run` recorded for this user, excluding experiments.
    fn newest_recorded(&self) -> Option<(String, Launched)> {
        let me = rustix::process::geteuid().as_raw();
        let jobs = group(&self.runs, &BTreeSet::new());
        let own = jobs.iter().filter(|job| experiment_of(&job.name).is_none() && job.suggestion_id().is_none());
        let recorded = own.filter_map(|job| Some((job, job.launched().filter(|launched| launched.owner == Some(me))?)));
        let newest = recorded.max_by(|(a, _), (b, _)| {
            let time = |wall: Option<f64>| wall.unwrap_or(f64::NEG_INFINITY);
            time(a.last_wall_time()).total_cmp(&time(b.last_wall_time()))
        });
        newest.map(|(job, launched)| (job.name.clone(), launched.clone()))
    }

    /// The settings that jobs logged: first the job of the command, then the others, newest first.
    pub(super) fn logged(&self, run: Option<&str>) -> Vec<Logged> {
        let mut jobs = group(&self.runs, &BTreeSet::new());
        jobs.retain(|job| experiment_of(&job.name).is_none());
        // The run is the job's directory or a directory below it, such as `train`.
        let is_own = |name: &str| run.is_some_and(|run| run == name || run.starts_with(&format!("{name}/")));
        jobs.sort_by(|a, b| {
            let key =
                |job: &crate::jobs::Job<'_>| (is_own(&job.name), job.last_wall_time().unwrap_or(f64::NEG_INFINITY));
            let ((own_a, time_a), (own_b, time_b)) = (key(a), key(b));
            own_b.cmp(&own_a).then(time_b.total_cmp(&time_a))
        });
        let signals = SignalRules::default();
        let logged = jobs.iter().take(MOST_JOBS).map(|job| {
            let mut tags = Vec::new();
            for (folder, data) in &job.runs {
                let of = |(tag, series): (_, &crate::series::Series)| TagInfo {
                    folder,
                    tag,
                    points: series.sketch.count(),
                    kind: TagKind::Scalar,
                };
                tags.extend(data.series().map(of));
            }
            let assigned = signals.assign(&tags);
            let loss = assigned.get(Signal::TrainLoss).and_then(|matched| {
                let run = job.runs.iter().find(|(folder, _)| *folder == matched.folder)?;
                run.1.get(&matched.tag)?.sketch.last()
            });
            let mut knobs = knobs_of(job, &BTreeMap::new());
            let rate = assigned.get(Signal::LearningRate).and_then(|matched| {
                let run = job.runs.iter().find(|(folder, _)| *folder == matched.folder)?;
                run.1.get(&matched.tag)?.sketch.highest()
            });
            if let Some(rate) = rate.filter(|rate| rate.value > 0.0) {
                #[expect(clippy::cast_possible_truncation, reason = "event files hold f32")]
                let shortest = (rate.value as f32).to_string().parse::<f64>().unwrap_or(rate.value);
                knobs.entry("learning_rate".to_owned()).or_insert_with(|| shortest.into());
            }
            #[expect(clippy::cast_precision_loss, reason = "no job has 2^53 steps")]
            let steps = loss.map(|point| point.step as f64);
            Logged { job: job.name.clone(), names: logged_of(job), knobs, steps, same_command: is_own(&job.name) }
        });
        logged.collect()
    }
}
