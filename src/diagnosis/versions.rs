//! Effects of changed policies or weights on open cases.
//!
//! Owns: when changes are detected. Must not know: whether a case can continue.

use super::{Changes, Diagnosis};
use crate::belief::Weights;
use crate::case::{Case, POLICY_CHANGED};

impl Diagnosis {
    /// Applies changed policies and weights to cases. A case whose policy does not exist waits for it.
    pub(super) fn note_versions(&mut self, now: f64, changes: &mut Changes) {
        let weights = &Weights::shipped().id;
        let policy = |name: &str| self.site.policies.iter().map(|choice| &choice.policy).find(|p| p.name() == name);
        let open = self.cases.open().filter_map(|case| Some((case, policy(&case.policy)?)));
        let changed: Vec<_> = open
            .filter(|(case, policy)| case.is_under_other(policy, weights))
            .map(|(case, policy)| (case.id.clone(), policy.clone()))
            .collect();
        for (id, policy) in changed {
            let baseline = self.cases[&id].baseline.clone();
            let allowances = self.allowances(&baseline, Some(&id), now);
            let terms = self.terms(&policy, Some(&id), &allowances, now);
            let Some(case) = self.cases.get_mut(&id) else { continue };
            let trace = case.changed(weights, &terms);
            let case = case.clone();
            changes.add(&case, trace);
            changes.keep(&case);
        }
    }
}

/// Whether a case ended for a change of its policy alone, which says nothing of its job.
pub(super) fn ended_by_change(case: &Case) -> bool {
    case.closed.as_ref().is_some_and(|end| end.state == POLICY_CHANGED)
}
