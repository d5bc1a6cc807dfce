//! The site's budgets for experiments.
//!
//! Owns: which budgets apply to a case, and their usage. Must not know: what happens to an experiment that would exceed
//! one.

use std::sync::Arc;

use super::Diagnosis;
use crate::case::{Allowance, Budget, CaseId, Used};

/// A budget of the site.
#[derive(Clone)]
pub struct SiteBudget {
    /// Its name, for people: `the daily budget of team vision`.
    pub of: String,
    /// The experiments that it applies to.
    pub per: Per,
    /// Whether it is for the experiments of a baseline of this name.
    pub is_for: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// How much.
    pub budget: Budget,
}

/// The scope of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// The experiments of one case.
    Case,
    /// Experiments that were suggested within 24 hours.
    Day,
}

const DAY: f64 = 86_400.0;

impl std::fmt::Debug for SiteBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SiteBudget").field("of", &self.of).field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl Diagnosis {
    /// The remaining budget for the experiments of a case; `id` is `None` for a case that is being opened. Costs are
    /// computed from the stored cases, so a restart does not reset them.
    pub(super) fn allowances(&self, baseline: &str, id: Option<&CaseId>, now: f64) -> Vec<Allowance> {
        let budgets = self.site.budgets.iter().filter(|budget| (budget.is_for)(baseline));
        budgets
            .map(|budget| Allowance { of: budget.of.clone(), budget: budget.budget, used: self.used(budget, id, now) })
            .collect()
    }

    fn used(&self, budget: &SiteBudget, id: Option<&CaseId>, now: f64) -> Used {
        let mut used = Used::default();
        let cases = self.cases.all().filter(|case| match budget.per {
            Per::Case => Some(&case.id) == id,
            Per::Day => (budget.is_for)(&case.baseline),
        });
        for case in cases {
            let counts = |suggested: f64| budget.per == Per::Case || now - suggested < DAY;
            let experiments = case.experiments.iter().filter(|experiment| counts(experiment.suggested));
            experiments.for_each(|experiment| used.add(experiment, case.pace, now));
        }
        used
    }
}
