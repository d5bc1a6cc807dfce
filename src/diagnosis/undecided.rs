//! Experiments that were weighed without a result: whether weighing them again could give one.
//!
//! Owns: everything that the result depends on. Must not know: how an experiment is weighed.
//!
//! Weighing reads every series of a job, and there are two ticks per second: without this, each open experiment would cost
//! as much in each of them as when its job has just logged something.

use crate::case::{Case, Experiment};
use crate::facts::Knobs;
use crate::jobs::Job;
use crate::launched::Launched;

/// Silence is measured against the clock, and sums of times are rounded: seconds by which a job is looked at too early
/// rather than too late.
const EARLY: f64 = 1e-3;

/// An experiment without a result, remembered with its job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Undecided {
    inputs: Inputs,
    /// When silence alone could give a result, in seconds since the Unix epoch.
    again: f64,
}

/// What the result depends on, besides the time and the settings of the site.
#[derive(Debug, Clone, PartialEq)]
struct Inputs {
    suggestion: String,
    events: u64,
    /// When the first and the last of them were logged: files can be replaced.
    logged: [Option<f64>; 2],
    /// How many hyperparameters and texts the job has logged.
    said: usize,
    launched: Option<Launched>,
    baseline: Baseline,
}

/// What the case knows of its baseline.
#[derive(Debug, Clone, PartialEq)]
struct Baseline {
    knobs: Knobs,
    settings: Knobs,
    launched: Option<Launched>,
    shown_at: Option<f64>,
}

impl Undecided {
    /// The experiment of a case has no result, and gets none from silence before `again` (seconds since the Unix epoch).
    pub(super) fn new(case: &Case, experiment: &Experiment, job: &Job<'_>, again: f64) -> Undecided {
        let baseline = Baseline {
            knobs: case.baseline_facts.knobs.clone(),
            settings: case.settings.clone(),
            launched: case.launched.clone(),
            shown_at: case.shown_at,
        };
        let inputs = Inputs {
            suggestion: experiment.suggestion.clone(),
            events: job.events(),
            logged: [job.first_wall_time(), job.last_wall_time()],
            said: super::plan::said(job),
            launched: job.launched().cloned(),
            baseline,
        };
        Undecided { inputs, again }
    }

    /// Whether it still has none at `now`, in seconds since the Unix epoch.
    pub(super) fn still(&self, case: &Case, experiment: &Experiment, job: &Job<'_>, now: f64) -> bool {
        let Undecided { inputs, again } = self;
        let Baseline { knobs, settings, launched, shown_at } = &inputs.baseline;
        now < again - EARLY
            && inputs.events == job.events()
            && inputs.logged == [job.first_wall_time(), job.last_wall_time()]
            && inputs.suggestion == experiment.suggestion
            && inputs.said == super::plan::said(job)
            && inputs.launched.as_ref() == job.launched()
            && *shown_at == case.shown_at
            && *knobs == case.baseline_facts.knobs
            && *settings == case.settings
            && *launched == case.launched
    }

    /// The clock was changed by this many seconds, which do not count as silence.
    pub(super) fn clock_was_set(&mut self, by: f64) {
        self.again += by;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Changes;
    use super::super::trials::Bench;
    use super::*;

    /// A case whose experiment is under way.
    fn under_way() -> (Bench, String) {
        let mut bench = Bench::plain();
        bench.run(60, false, &[("learning_rate", 0.1)]);
        bench.look();
        let job = bench.open().1;
        (bench, job)
    }

    fn remembered(bench: &Bench, job: &str) -> Option<Undecided> {
        bench.diagnosis.memory[job].undecided.as_deref().cloned()
    }

    #[test]
    fn an_experiment_is_weighed_again_when_it_has_news_or_its_silence_may_end_it() {
        let (mut bench, job) = under_way();
        let first = remembered(&bench, &job).expect("it has no result yet");
        bench.look();
        assert_eq!(remembered(&bench, &job), Some(first.clone()));
        bench.run(61, false, &[("learning_rate", 0.1)]);
        bench.look();
        assert!(remembered(&bench, &job).is_some_and(|later| later != first), "a point more");
        assert_eq!(bench.outcomes(), [None]);

        // The silence ends it at the same tick as if it had been weighed at each.
        let last = bench.runs[&crate::series::RunName::new(&job)].last_wall_time().expect("it has logged");
        bench.now = last + 598.5;
        bench.look();
        assert_eq!(bench.outcomes(), [None], "after 599.5 s");
        bench.look();
        assert_eq!(bench.outcomes(), [Some("not_as_asked"), None], "after 600.5 s: it stopped at a third of its steps");
    }

    #[test]
    fn a_clock_that_is_set_and_changed_settings_are_news_or_none_as_they_were_before() {
        let (mut bench, job) = under_way();
        let first = remembered(&bench, &job);
        bench.now += 5000.0;
        drop::<Changes>(bench.diagnosis.clock_was_set(5000.0));
        bench.look();
        assert_eq!(bench.outcomes(), [None], "the clock was set, nothing was silent");
        assert_ne!(remembered(&bench, &job), first, "its time was set, too");
        bench.now += 600.0;
        bench.look();
        assert_eq!(bench.outcomes()[0], Some("not_as_asked"));
        let (mut bench, job) = under_way();
        let site = bench.diagnosis.site().clone();
        bench.diagnosis.go_on_at(site);
        assert_eq!(remembered(&bench, &job), None);
    }
}
