//! Grouping of runs into training processes, their hyperparameters, and their stage.
//!
//! Owns: the grouping of runs, canonical knobs, the end of a job. Must not know: symptoms, policies.

mod folders;
mod knobs;
mod life;
mod texts;

use std::collections::{BTreeMap, BTreeSet};

use crate::launched::Launched;
use crate::series::{RunData, RunName, Runs, Sketch};
use folders::{is_split, is_time_stamp, side_of};

pub use knobs::{
    Knobs, canonical_name, canonical_value, is_of_rewards, knobs_of, logged_of, rewarded_name, same_value,
};
pub use life::{Course, Pulse, QuietLimit, Stage, stage};

/// One training process: one run, or several related runs.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// Path relative to the log directory.
    pub name: String,
    /// Its runs, each with its directory relative to the job's (`""` for the job's own directory), ordered by name.
    pub runs: Vec<(String, &'a RunData)>,
}

impl<'a> Job<'a> {
    /// Seconds since the Unix epoch of the newest event.
    pub fn last_wall_time(&self) -> Option<f64> {
        self.runs.iter().filter_map(|(_, run)| run.last_wall_time()).reduce(f64::max)
    }

    /// Seconds since the Unix epoch of the first event.
    pub fn first_wall_time(&self) -> Option<f64> {
        self.runs.iter().filter_map(|(_, run)| run.first_wall_time()).reduce(f64::min)
    }

    /// Number of events of any kind; it grows with the job.
    pub fn events(&self) -> u64 {
        self.runs.iter().map(|(_, run)| run.events()).sum()
    }

    /// The job at the time when each series had reached the step that `step_of` returns for its directory, tag and
    /// sketch; see [`RunData::until`].
    pub fn until(&self, mut step_of: impl FnMut(&str, &str, &Sketch) -> i64) -> PastJob {
        let cut = |(folder, run): &(String, &RunData)| {
            (folder.clone(), run.until(|tag, sketch| step_of(folder, tag, sketch)))
        };
        PastJob { name: self.name.clone(), runs: self.runs.iter().map(cut).collect() }
    }

    /// The text of a tag, from whichever run logged it.
    pub fn text(&self, matches: impl Fn(&str) -> bool) -> Option<&'a str> {
        let mut texts = self.runs.iter().flat_map(|(_, run)| run.texts().iter());
        texts.find(|(tag, _)| matches(tag)).map(|(_, text)| text.as_str())
    }

    /// How it was started, if known: as recorded in the first of its runs by name.
    pub fn launched(&self) -> Option<&'a Launched> {
        self.runs.iter().find_map(|(_, run)| run.launched.as_deref())
    }

    /// The suggestion id that the job states itself: `NEXTRUN_SUGGESTION_ID` as a hyperparameter or text, or a
    /// `nextrun.json` next to the events.
    pub fn suggestion_id(&self) -> Option<String> {
        const NAME: &str = "nextrun_suggestion_id";
        let is_name = |tag: &str| tag.to_ascii_lowercase().trim_end_matches("/text_summary").ends_with(NAME);
        let mut hyperparameters = self.runs.iter().flat_map(|(_, run)| run.hyperparameters().iter());
        if let Some((_, value)) = hyperparameters.find(|(name, _)| is_name(name)) {
            return Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        if let Some(text) = self.text(|tag| is_name(tag)) {
            return Some(text.trim().to_owned());
        }
        let side_file: serde_json::Value = serde_json::from_str(self.text(|tag| tag == "nextrun.json")?).ok()?;
        Some(side_file.get("suggestion_id")?.as_str()?.to_owned())
    }
}

/// An earlier state of a job, with its own data.
#[derive(Debug, Clone)]
pub struct PastJob {
    name: String,
    runs: Vec<(String, RunData)>,
}

impl PastJob {
    /// As a job, for whatever looks at jobs.
    pub fn job(&self) -> Job<'_> {
        let runs = self.runs.iter().map(|(folder, run)| (folder.clone(), run)).collect();
        Job { name: self.name.clone(), runs }
    }
}

/// Groups the runs of a log directory into jobs. `experiments` are the names of suggested runs: everything at or below
/// such a name belongs to that experiment, regardless of directory names. If several programs write to one directory at
/// the same time, the first has the name of the directory, and the others `NAME#WRITER`.
pub fn group<'a>(runs: &'a Runs, experiments: &BTreeSet<String>) -> Vec<Job<'a>> {
    let grouping = Grouping::of(runs, experiments);
    let mut jobs: BTreeMap<String, Vec<(String, &'a RunData)>> = BTreeMap::new();
    for (name, run) in runs {
        let job = grouping.job_of(name);
        let below = name.as_str().strip_prefix(job.as_str()).unwrap_or(name.as_str()).trim_start_matches('/');
        let below = if job == "." && name.as_str() != "." { name.as_str() } else { below };
        for (writer, data) in grouping.beside(&job, run) {
            jobs.entry(beside(&job, writer)).or_default().push((below.to_owned(), data));
        }
        jobs.entry(job).or_default().push((below.to_owned(), run));
    }
    jobs.into_iter().map(|(name, runs)| Job { name, runs }).collect()
}

/// The name of a job whose program writes into the directory of another one.
fn beside(job: &str, writer: &str) -> String {
    format!("{job}#{writer}")
}

/// The name of the directory of a job, without its writer.
pub fn directory_of(job: &str) -> &str {
    job.rsplit_once('#').map_or(job, |(directory, _)| directory)
}

/// Which run belongs to which job.
#[derive(Debug)]
pub struct Grouping<'a, 'e> {
    runs: &'a Runs,
    experiments: &'e BTreeSet<String>,
    /// The sides of the data that the folders in a folder are of: training, validation.
    sides: BTreeMap<&'a str, [bool; 2]>,
}

impl<'a, 'e> Grouping<'a, 'e> {
    /// Looks at the names of all runs.
    pub fn of(runs: &'a Runs, experiments: &'e BTreeSet<String>) -> Grouping<'a, 'e> {
        let mut sides: BTreeMap<&str, [bool; 2]> = BTreeMap::new();
        for (parent, last) in runs.keys().filter_map(|name| folders(name.as_str())) {
            if let Some(side) = side_of(last) {
                sides.entry(parent).or_default()[side as usize] = true;
            }
        }
        Grouping { runs, experiments, sides }
    }

    /// The name of the job that a run belongs to.
    pub fn job_of(&self, run: &RunName) -> String {
        let mut name = run.as_str();
        if let Some(experiment) = ancestors(name).find(|part| self.experiments.contains(*part)) {
            return experiment.to_owned();
        }
        for _ in 0..DEEPEST {
            match self.parent_of(name) {
                Some(parent) => name = parent,
                None => break,
            }
        }
        name.to_owned()
    }

    /// The names of all jobs that write into the directory of a run.
    pub fn jobs_of(&self, run: &RunName) -> Vec<String> {
        let job = self.job_of(run);
        let data = self.runs.get(run);
        let others = data.into_iter().flat_map(|data| self.beside(&job, data)).map(|(writer, _)| beside(&job, writer));
        others.chain([job.clone()]).collect()
    }

    /// An experiment that was started twice is judged by the first of both.
    fn beside(&self, job: &str, run: &'a RunData) -> impl Iterator<Item = (&'a str, &'a RunData)> + use<'a> {
        let is_experiment = self.experiments.contains(job);
        run.beside().filter(move |_| !is_experiment)
    }

    /// The directory that a run is a part of; none if it is a separate job.
    fn parent_of<'n>(&self, name: &'n str) -> Option<&'n str> {
        let (parent, last) = folders(name)?;
        let run = |name: &str| self.runs.get(&RunName::new(name));
        let is_pair = || side_of(last).is_some() && self.sides.get(parent) == Some(&[true, true]);
        let belongs = is_split(last)
            || is_pair()
            || (run(parent).is_some() && is_time_stamp(last))
            || (run(parent).is_some() && run(name).is_some_and(|data| is_part_of_chart(last, data)));
        belongs.then_some(parent)
    }
}

/// A sub-run of a sub-run (hyperparameters below `train/`) takes two steps up to its job; no program nests deeper.
const DEEPEST: usize = 3;

/// Whether a run may belong to a job, going by names alone; `is_run` says which folders are runs. Where tags decide, it may.
pub fn may_belong(run: &str, job: &str, is_run: impl Fn(&str) -> bool) -> bool {
    let mut name = run;
    for _ in 0..DEEPEST {
        if name == job {
            return true;
        }
        match parent_by_name(name, &is_run) {
            Some(parent) => name = parent,
            None => break,
        }
    }
    name == job
}

/// The topmost job that a run may belong to, going by names alone; `is_run` says which folders are runs.
pub fn topmost_job(run: &str, is_run: impl Fn(&str) -> bool) -> &str {
    let above = std::iter::successors(Some(run), |name| parent_by_name(name, &is_run));
    above.take(DEEPEST + 1).last().unwrap_or(run)
}

fn parent_by_name<'a>(name: &'a str, is_run: &impl Fn(&str) -> bool) -> Option<&'a str> {
    let (parent, last) = folders(name)?;
    let may_be_part =
        is_split(last) || side_of(last).is_some() || ((is_time_stamp(last) || last.contains('_')) && is_run(parent));
    may_be_part.then_some(parent)
}

/// The folder that a run is in, and its own name there; none for the log directory itself.
fn folders(name: &str) -> Option<(&str, &str)> {
    (name != ".").then(|| name.rsplit_once('/').unwrap_or((".", name)))
}

/// A path and everything above it, longest first.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |path| path.rsplit_once('/').map(|(above, _)| above))
}

/// PyTorch's `add_scalars(main_tag, …)` logs each curve of a chart to `<main_tag>_<curve>` next to the run, under the
/// tag `main_tag`.
fn is_part_of_chart(folder: &str, run: &RunData) -> bool {
    let mut tags = run.series().map(|(tag, _)| tag).peekable();
    tags.peek().is_some() && tags.all(|tag| folder.starts_with(&format!("{}_", tag.replace('/', "_"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Point;

    fn runs(names: &[(&str, &str)]) -> Runs {
        let mut runs = Runs::new();
        for (name, tag) in names {
            let mut run = RunData::default();
            if let Some(id) = run.tag_id(tag) {
                run.scalar(id, Point { step: 0, wall_time: 1.0, value: 1.0 });
            }
            runs.insert(RunName::new(name), run);
        }
        runs
    }

    fn grouped(names: &[(&str, &str)], experiments: &[&str]) -> Vec<(String, Vec<String>)> {
        let experiments = experiments.iter().map(|e| (*e).to_owned()).collect();
        let named = |job: Job<'_>| (job.name, job.runs.into_iter().map(|(below, _)| below).collect());
        group(&runs(names), &experiments).into_iter().map(named).collect()
    }

    #[test]
    fn keras_folders_are_one_job() {
        let jobs = grouped(&[("a/train", "epoch_loss"), ("a/validation", "epoch_loss"), ("b", "loss")], &[]);
        assert_eq!(jobs, [("a".into(), vec!["train".into(), "validation".into()]), ("b".into(), vec![String::new()])]);
    }

    #[test]
    fn the_log_directory_itself_can_be_a_job() {
        let jobs = grouped(&[("train", "loss"), ("validation", "loss")], &[]);
        assert_eq!(jobs, [(".".into(), vec!["train".into(), "validation".into()])]);
        let jobs = grouped(&[("a/train_inner", "loss"), ("a/valid", "loss")], &[]);
        assert_eq!(jobs, [("a".into(), vec!["train_inner".into(), "valid".into()])]);
    }

    #[test]
    fn hyperparameter_folders_belong_to_their_run() {
        let jobs = grouped(&[("a", "loss"), ("a/1718000000.123", "hp")], &[]);
        assert_eq!(jobs.len(), 1);
        let alone = grouped(&[("a/1718000000.123", "hp")], &[]);
        assert_eq!(alone[0].0, "a/1718000000.123");
    }

    #[test]
    fn the_curves_of_a_chart_belong_to_their_run() {
        let jobs = grouped(&[("a", "lr"), ("a/Loss_all_train", "Loss/all"), ("a/other", "loss")], &[]);
        let names: Vec<_> = jobs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "a/other"]);
    }

    #[test]
    fn lightning_versions_are_jobs_of_their_own() {
        let jobs = grouped(&[("lightning_logs/version_0", "loss"), ("lightning_logs/version_1", "loss")], &[]);
        assert_eq!(jobs.len(), 2);
    }

    #[test]
    fn an_experiment_takes_everything_below_its_name() {
        let jobs =
            grouped(&[("nextrun/x/01-a/logs/v0", "loss"), ("nextrun/x/01-a/train", "loss")], &["nextrun/x/01-a"]);
        assert_eq!(jobs, [("nextrun/x/01-a".into(), vec!["logs/v0".into(), "train".into()])]);
    }

    #[test]
    fn the_folders_of_both_sides_are_one_job_if_both_are_there() {
        let job = |names: &[&str]| -> Vec<String> {
            let tagged: Vec<_> = names.iter().map(|name| (*name, "loss")).collect();
            grouped(&tagged, &[]).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(job(&["catboost_info/learn", "catboost_info/test"]), ["catboost_info"]);
        assert_eq!(job(&["a/fit", "a/holdout", "a/valid_1", "a/valid_2"]), ["a"]);
        assert_eq!(job(&["a/train_log", "a/val_log", "b"]), ["a", "b"]);
        assert_eq!(job(&["learn", "test_1", "test_2"]), ["."]);
        assert_eq!(job(&["a/learn", "a/other"]), ["a/learn", "a/other"]);
        assert_eq!(job(&["a/test_1", "a/test_2"]), ["a/test_1", "a/test_2"], "experiments of somebody");
        assert_eq!(job(&["a/train_1", "a/train_2", "a/val_1"]), ["a/train_1", "a/train_2", "a/val_1"]);
    }

    #[test]
    fn programs_that_write_into_one_directory_are_jobs_of_their_own() {
        let mut runs = runs(&[("a", "loss"), ("b/train", "loss"), ("b/validation", "loss")]);
        let others = |run: &RunData| [("h.2".to_owned(), run.clone())].into_iter();
        for run in runs.values_mut() {
            let data = run.clone();
            run.set_beside(others(&data));
        }
        let named = |experiments: &BTreeSet<String>| -> Vec<(String, usize)> {
            group(&runs, experiments).into_iter().map(|job| (job.name, job.runs.len())).collect()
        };
        let names = [("a", 1), ("a#h.2", 1), ("b", 2), ("b#h.2", 2)].map(|(name, runs)| (name.to_owned(), runs));
        assert_eq!(named(&BTreeSet::new()), names);
        let experiments = BTreeSet::from(["a".to_owned()]);
        assert_eq!(named(&experiments).len(), 3, "an experiment is one job");
        let grouping = Grouping::of(&runs, &experiments);
        assert_eq!(grouping.jobs_of(&RunName::new("b/train")), ["b#h.2", "b"]);
        assert_eq!(grouping.jobs_of(&RunName::new("a")), ["a"]);
        assert_eq!((directory_of("b#h.2"), directory_of("b")), ("b", "b"));
    }

    #[test]
    fn names_say_which_runs_may_be_of_one_job() {
        let runs = ["a", "a/1718000000.5", "a/Loss_train", "b/train", "b/validation", "c_1", "."];
        let is_run = |name: &str| runs[..6].contains(&name);
        let tops = runs.map(|run| topmost_job(run, is_run));
        assert_eq!(tops, ["a", "a", "a", "b", "b", "c_1", "."]);
        assert!(may_belong("a/1718000000.5", "a", is_run) && may_belong("b/train", "b", is_run));
        assert!(!may_belong("b/train", "a", is_run) && !may_belong("c_1", ".", is_run));
        assert!(may_belong("c_1", ".", |_| true), "a chart of the log directory itself");
    }

    #[test]
    fn a_job_can_be_seen_as_it_was() {
        let mut runs = runs(&[("a/train", "loss"), ("a/validation", "loss")]);
        for run in runs.values_mut() {
            let id = run.tag_id("loss").expect("room");
            (1..10).for_each(|step| run.scalar(id, Point { step, wall_time: 1.0 + step as f64, value: 1.0 }));
        }
        let jobs = group(&runs, &BTreeSet::new());
        let past = jobs[0].until(|folder, _, _| if folder == "train" { 4 } else { 2 });
        let last = |(_, run): &(String, &RunData)| run.get("loss").and_then(|s| s.sketch.last()).map(|p| p.step);
        assert_eq!(past.job().runs.iter().filter_map(last).collect::<Vec<_>>(), [4, 2]);
        assert_eq!(past.job().last_wall_time(), Some(5.0));
    }

    #[test]
    fn a_job_can_say_which_suggestion_it_carries_out() {
        let mut runs = runs(&[("a", "loss"), ("b", "loss"), ("c", "loss")]);
        let mut edit =
            |name: &str, f: &dyn Fn(&mut RunData)| f(runs.get_mut(&RunName::new(name)).expect("it is there"));
        edit("a", &|run| run.hyperparameter("NEXTRUN_SUGGESTION_ID", "s1".into()));
        edit("b", &|run| run.text("NEXTRUN_SUGGESTION_ID/text_summary", " s2\n"));
        edit("c", &|run| run.text("nextrun.json", r#"{"suggestion_id": "s3"}"#));
        let ids: Vec<_> = group(&runs, &BTreeSet::new()).iter().map(Job::suggestion_id).collect();
        assert_eq!(ids, [Some("s1".into()), Some("s2".into()), Some("s3".into())]);
    }
}
