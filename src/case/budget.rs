//! Costs and budgets of experiments.
//!
//! Owns: sums of costs. Must not know: which jobs a budget applies to, the clock.

use serde::{Deserialize, Serialize};

use super::{Case, Cost, Experiment};
use crate::facts::{Knobs, Quantity};

/// A cost limit for experiments; `None` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Budget {
    /// Number of experiments.
    pub experiments: Option<u32>,
    /// Total run time in hours.
    pub hours: Option<f64>,
    /// Total GPU hours.
    pub gpu_hours: Option<f64>,
}

/// A budget and its usage at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowance {
    /// Its name, for people: `the budget of the case`.
    pub of: String,
    /// The budget.
    pub budget: Budget,
    /// The costs so far.
    pub used: Used,
}

/// The cost of some experiments.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// Number of experiments that ran or may still run.
    pub experiments: u32,
    /// Hours.
    pub hours: f64,
    /// GPU hours.
    pub gpu_hours: f64,
}

/// The cost of an experiment's job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Seconds from its first to its latest event.
    pub seconds: f64,
    /// Its latest step; unknown before it has logged what it is judged by.
    pub steps: Option<f64>,
    /// Whether it ended on its own, so that it need not be cancelled.
    pub over: bool,
}

/// How fast a baseline trains, and how many GPUs it has.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Seconds per optimizer update; per step of its loss if its updates are unknown.
    pub seconds_per_update: f64,
    /// Updates so far, if they are known.
    pub updates: Option<f64>,
    /// GPUs per experiment.
    pub gpus: f64,
}

impl Used {
    /// Adds an experiment up to `now` (seconds since the Unix epoch). An experiment that never ran costs nothing.
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
    /// Which limit one more experiment would exceed, for people; `None` if it may start.
    fn exceeded_by(&self, cost: Option<Cost>) -> Option<String> {
        let Allowance { of, budget, used } = self;
        let hours = cost.and_then(|cost| cost.seconds).unwrap_or(0.0) / 3600.0;
        let gpu_hours = cost.and_then(|cost| cost.gpu_hours).unwrap_or(hours);
        let count = budget.experiments.filter(|most| used.experiments >= *most);
        if let Some(most) = count {
            return Some(format!("{of} of {most} experiments is exhausted"));
        }
        let over = |most: Option<f64>, used: f64, more: f64, unit: &str| {
            let most = most.filter(|most| used + more > *most)?;
            Some(format!("{of} is {most} {unit}: {used:.1} are used, and this experiment takes about {more:.1}"))
        };
        over(budget.hours, used.hours, hours, "hours")
            .or_else(|| over(budget.gpu_hours, used.gpu_hours, gpu_hours, "GPU hours"))
    }
}

impl Case {
    /// The expected cost of an experiment with these changes: the baseline's time per update multiplied by the number of
    /// updates. If only its epochs are known, that of a given number of updates is not. A probe without a number of updates is
    /// limited by time.
    pub(super) fn expected_cost(&self, changes: &Knobs, control: bool) -> Option<Cost> {
        let asked = changes.get("max_steps").and_then(serde_json::Value::as_f64);
        if let Some(seconds) = self.time_for_probe().filter(|_| asked.is_none()) {
            return Some(Cost { steps: None, seconds: Some(seconds), gpu_hours: self.gpu_hours(seconds) });
        }
        let facts = &self.baseline_facts;
        let planned = Some(facts.number(Quantity::Updates)).filter(|updates| updates.is_finite());
        let counted = self.pace.is_none_or(|pace| pace.updates.is_some());
        let so_far = self.pace.and_then(|pace| pace.updates);
        let whole = planned.filter(|_| counted).or(so_far).unwrap_or(facts.steps());
        let steps = match asked {
            _ if control => whole * self.control_share(),
            Some(asked) => asked,
            None => whole,
        };
        let steps = Some(steps).filter(|steps| steps.is_finite() && *steps > 0.0)?;
        let pace = self.pace.filter(|_| asked.is_none() || counted);
        let seconds = pace.map(|pace| pace.seconds_per_update * steps);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count above 0; a cast saturates"
        )]
        Some(Cost {
            steps: Some(steps.round() as u64),
            seconds,
            gpu_hours: seconds.and_then(|seconds| self.gpu_hours(seconds)),
        })
    }

    fn gpu_hours(&self, seconds: f64) -> Option<f64> {
        Some(seconds / 3600.0 * self.pace?.gpus)
    }

    /// The cost of an experiment that has ended.
    pub fn real_cost(&self, spent: Spent) -> Cost {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below 0; a cast saturates")]
        let steps = spent.steps.map(|steps| steps.max(0.0).round() as u64);
        Cost { steps, seconds: Some(spent.seconds), gpu_hours: self.gpu_hours(spent.seconds) }
    }
}

/// Why an experiment has to wait; `None` if it may start.
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
        assert_eq!(few.as_deref(), Some("the day's budget of 3 experiments is exhausted"));
        let hours = why(Budget { hours: Some(10.0), ..Budget::default() });
        assert_eq!(
            hours.as_deref(),
            Some("the day's budget is 10 hours: 9.0 are used, and this experiment takes about 2.0")
        );
        assert!(why(Budget { gpu_hours: Some(20.0), ..Budget::default() }).unwrap().contains("GPU hours"));
    }

    #[test]
    fn what_an_experiment_took_is_read_back_whether_or_not_its_steps_are_known() {
        for steps in [None, Some(40.0)] {
            let spent = Spent { seconds: 12.0, steps, over: true };
            let text = serde_json::to_string(&spent).expect("numbers");
            assert_eq!(serde_json::from_str::<Spent>(&text).expect("what was written"), spent);
        }
    }
}
