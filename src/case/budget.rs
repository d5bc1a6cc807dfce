//! What experiments cost, and how much they may.
//!
//! Owns: sums of what was spent. Must not know: which jobs a budget is for, the clock.

use serde::{Deserialize, Serialize};

use super::{Case, Cost, Experiment};
use crate::facts::Knobs;

/// How much experiments may cost; what is `None` has no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Budget {
    /// How many.
    pub experiments: Option<u32>,
    /// Hours that they run, in all.
    pub hours: Option<f64>,
    /// Hours that they run times the GPUs that they have, in all.
    pub gpu_hours: Option<f64>,
}

/// What of a budget is left at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowance {
    /// Whose budget it is, for people: `the case's budget`.
    pub of: String,
    /// The budget.
    pub budget: Budget,
    /// What was spent of it.
    pub used: Used,
}

/// What some experiments have cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// How many ran, or may yet.
    pub experiments: u32,
    /// Hours.
    pub hours: f64,
    /// Hours times GPUs.
    pub gpu_hours: f64,
}

/// What the job of an experiment took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Seconds from its first event to its newest.
    pub seconds: f64,
    /// Its newest step.
    pub steps: f64,
    /// It has ended by itself: nothing is left to cancel.
    pub over: bool,
}

/// How fast a baseline trains, and how many GPUs it has.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Seconds for each step of its loss.
    pub seconds_per_step: f64,
    /// GPUs that its experiments have.
    pub gpus: f64,
}

impl Used {
    /// Adds an experiment up to `now` (seconds since the Unix epoch). What never ran costs nothing.
    pub fn add(&mut self, experiment: &Experiment, pace: Option<Pace>, now: f64) {
        let open = experiment.outcome.is_none();
        let ran = experiment.facts.is_some() || experiment.spent.is_some();
        if !open && !ran {
            return;
        }
        let expected = experiment.cost.and_then(|cost| cost.seconds).unwrap_or(0.0);
        let seconds = match experiment.spent {
            Some(spent) if !open => spent.seconds,
            _ if experiment.job.is_some() => expected.max(experiment.age(now)),
            _ => expected,
        };
        self.experiments += 1;
        self.hours += seconds.max(0.0) / 3600.0;
        self.gpu_hours += seconds.max(0.0) / 3600.0 * pace.map_or(1.0, |pace| pace.gpus);
    }
}

impl Allowance {
    /// What would be exceeded by an experiment more, for people; `None` where it may start.
    fn exceeded_by(&self, cost: Option<Cost>) -> Option<String> {
        let Allowance { of, budget, used } = self;
        let hours = cost.and_then(|cost| cost.seconds).unwrap_or(0.0) / 3600.0;
        let gpu_hours = cost.and_then(|cost| cost.gpu_hours).unwrap_or(hours);
        let count = budget.experiments.filter(|most| used.experiments >= *most);
        if let Some(most) = count {
            return Some(format!("{of} of {most} experiments is used up"));
        }
        let over = |most: Option<f64>, used: f64, more: f64, unit: &str| {
            let most = most.filter(|most| used + more > *most)?;
            Some(format!("{of} is {most} {unit}: {used:.1} are used, and this takes about {more:.1}"))
        };
        over(budget.hours, used.hours, hours, "hours")
            .or_else(|| over(budget.gpu_hours, used.gpu_hours, gpu_hours, "GPU hours"))
    }
}

impl Case {
    /// What an experiment with these changes is expected to cost: the baseline's time for each step, times the steps.
    pub(super) fn expected_cost(&self, changes: &Knobs, control: bool) -> Option<Cost> {
        let number = |knobs: &Knobs| knobs.get("max_steps").and_then(serde_json::Value::as_f64);
        let whole = || number(changes).or_else(|| number(&self.settings)).or(Some(self.baseline_facts.steps));
        let steps = if control { self.shown_at.or_else(whole) } else { whole() };
        let steps = steps.filter(|steps| steps.is_finite() && *steps > 0.0)?;
        let seconds = self.pace.map(|pace| pace.seconds_per_step * steps);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count above 0; a cast saturates"
        )]
        Some(Cost {
            steps: Some(steps.round() as u64),
            seconds,
            gpu_hours: seconds.zip(self.pace).map(|(seconds, pace)| seconds / 3600.0 * pace.gpus),
        })
    }

    /// What has been spent by an experiment that came to its end, as a cost.
    pub fn real_cost(&self, spent: Spent) -> Cost {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below 0; a cast saturates")]
        let steps = spent.steps.is_finite().then(|| spent.steps.max(0.0).round() as u64);
        let gpu_hours = self.pace.map(|pace| spent.seconds / 3600.0 * pace.gpus);
        Cost { steps, seconds: Some(spent.seconds), gpu_hours }
    }
}

/// Why an experiment has to wait; `None` where it may start.
pub(super) fn exceeded(allowances: &[Allowance], cost: Option<Cost>) -> Option<String> {
    allowances.iter().find_map(|allowance| allowance.exceeded_by(cost))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(budget: Budget, used: Used) -> Allowance {
        Allowance { of: "the day's budget".into(), budget, used }
    }

    #[test]
    fn what_would_exceed_a_budget_waits_and_says_so() {
        let cost = Some(Cost { steps: Some(100), seconds: Some(7200.0), gpu_hours: Some(16.0) });
        let used = Used { experiments: 3, hours: 9.0, gpu_hours: 10.0 };
        let why = |budget| allowance(budget, used).exceeded_by(cost);
        assert_eq!(why(Budget::default()), None);
        assert_eq!(why(Budget { experiments: Some(4), hours: Some(11.0), gpu_hours: Some(26.0) }), None);
        let few = why(Budget { experiments: Some(3), ..Budget::default() });
        assert_eq!(few.as_deref(), Some("the day's budget of 3 experiments is used up"));
        let hours = why(Budget { hours: Some(10.0), ..Budget::default() });
        assert_eq!(hours.as_deref(), Some("the day's budget is 10 hours: 9.0 are used, and this takes about 2.0"));
        assert!(why(Budget { gpu_hours: Some(20.0), ..Budget::default() }).unwrap().contains("GPU hours"));
    }
}
