//! All cases, with indexes that keep the cost of a tick independent of how many are closed.
//!
//! Owns: which cases are open, which jobs cases claim. Must not know: what happens to a case.
//!
//! A closed case never changes: what it claims is kept apart, and looked up.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Index;

use crate::case::{Case, CaseId};

/// Cases by their ids.
#[derive(Debug, Default)]
pub(super) struct Cases {
    all: BTreeMap<CaseId, Case>,
    /// All open cases, and those that were closed since the last [`Cases::settle`].
    open: BTreeSet<CaseId>,
    /// The names of all suggested runs, up to the last [`Cases::settle`].
    run_names: BTreeSet<String>,
    /// The jobs of experiments of closed cases, by their expected and their real names, and the baselines of closed cases.
    claimed_by_closed: HashSet<String>,
    baselines_of_closed: HashSet<String>,
}

impl FromIterator<Case> for Cases {
    fn from_iter<I: IntoIterator<Item = Case>>(cases: I) -> Cases {
        let mut made = Cases::default();
        cases.into_iter().for_each(|case| made.insert(case));
        made.settle();
        made
    }
}

impl Index<&CaseId> for Cases {
    type Output = Case;

    fn index(&self, id: &CaseId) -> &Case {
        &self.all[id]
    }
}

impl Cases {
    pub(super) fn get(&self, id: &CaseId) -> Option<&Case> {
        self.all.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &CaseId) -> Option<&mut Case> {
        self.all.get_mut(id)
    }

    /// Adds a case, or replaces the one with its id.
    pub(super) fn insert(&mut self, case: Case) {
        self.open.insert(case.id.clone());
        self.all.insert(case.id.clone(), case);
    }

    /// Keeps only the cases with these ids.
    pub(super) fn keep_only(&mut self, kept: &BTreeSet<CaseId>) {
        let all = std::mem::take(&mut self.all);
        *self = all.into_iter().filter(|(id, _)| kept.contains(id)).map(|(_, case)| case).collect();
    }

    /// Every case, open or closed, in the order of the ids.
    pub(super) fn all(&self) -> impl Iterator<Item = &Case> + Clone {
        self.all.values()
    }

    /// Every open case, in the order of the ids.
    pub(super) fn open(&self) -> impl DoubleEndedIterator<Item = &Case> + Clone {
        self.open.iter().filter_map(|id| self.all.get(id)).filter(|case| case.closed.is_none())
    }

    /// The ids of all open cases.
    pub(super) fn open_ids(&self) -> Vec<CaseId> {
        self.open().map(|case| case.id.clone()).collect()
    }

    /// The first open case that `is_wanted`, to be changed.
    pub(super) fn open_mut(&mut self, is_wanted: impl Fn(&Case) -> bool) -> Option<&mut Case> {
        let id = self.open().find(|case| is_wanted(case))?.id.clone();
        self.all.get_mut(&id)
    }

    /// Takes in what has changed since the last time: new experiments, and closed cases.
    pub(super) fn settle(&mut self) {
        let Cases { all, open, run_names, claimed_by_closed, baselines_of_closed } = self;
        open.retain(|id| {
            let Some(case) = all.get(id) else { return false };
            for name in case.experiments.iter().map(|experiment| &experiment.run_name) {
                if !run_names.contains(name) {
                    run_names.insert(name.clone());
                }
            }
            if case.closed.is_some() {
                let names = case.experiments.iter().flat_map(|e| [Some(e.run_name.clone()), e.job.clone()]);
                claimed_by_closed.extend(names.flatten());
                baselines_of_closed.insert(case.baseline.clone());
            }
            case.closed.is_none()
        });
    }

    /// The names of all suggested runs, as of the last [`Cases::settle`].
    pub(super) fn run_names(&self) -> &BTreeSet<String> {
        &self.run_names
    }

    /// Looks up the roles of jobs, as of the last [`Cases::settle`].
    pub(super) fn roles(&self) -> Roles<'_> {
        let mut roles = Roles { cases: self, asked: HashMap::new(), baselines: HashSet::new() };
        // Those that were closed since then, too.
        for case in self.open.iter().filter_map(|id| self.all.get(id)) {
            roles.baselines.insert(&case.baseline);
            for experiment in &case.experiments {
                for name in std::iter::once(experiment.run_name.as_str()).chain(experiment.job.as_deref()) {
                    roles.asked.entry(name).or_default().push(&experiment.suggestion);
                }
            }
        }
        roles
    }
}

/// The roles of jobs in all cases.
pub(super) struct Roles<'c> {
    cases: &'c Cases,
    /// The suggestions of open cases that asked for a job: it has the name, or was linked.
    asked: HashMap<&'c str, Vec<&'c str>>,
    /// Of open cases.
    baselines: HashSet<&'c str>,
}

impl Roles<'_> {
    /// Whether a job carries out an experiment of any case.
    pub(super) fn is_experiment(&self, job: &str) -> bool {
        self.cases.claimed_by_closed.contains(job) || self.asked.contains_key(job)
    }

    /// Whether a suggestion of an open case other than this one, or one of a closed case, asked for a job.
    pub(super) fn is_of_another(&self, job: &str, suggestion: &str) -> bool {
        let others = || self.asked.get(job).is_some_and(|all| all.iter().any(|other| *other != suggestion));
        self.cases.claimed_by_closed.contains(job) || others()
    }

    /// Whether a job is the baseline of any case.
    pub(super) fn is_baseline(&self, job: &str) -> bool {
        self.cases.baselines_of_closed.contains(job) || self.baselines.contains(job)
    }
}

#[cfg(test)]
mod tests {
    use super::super::trials::Bench;
    use super::*;

    #[test]
    fn what_a_case_claims_is_known_while_it_is_open_when_it_closes_and_afterwards() {
        let mut bench = Bench::plain();
        let (suggestion, run) = bench.open();
        let id = bench.case().id.clone();
        let holds = |bench: &Bench, open: usize| {
            let (cases, roles) = (&bench.diagnosis.cases, bench.diagnosis.cases.roles());
            assert_eq!((cases.all().count(), cases.open().count()), (1, open));
            assert!(roles.is_experiment(&run) && roles.is_baseline("sick"));
            assert!(!roles.is_experiment("sick") && !roles.is_baseline(&run) && !roles.is_experiment("other"));
            assert!(roles.is_of_another(&run, "another"));
        };
        holds(&bench, 1);
        assert!(!bench.diagnosis.cases.roles().is_of_another(&run, &suggestion));
        drop(bench.diagnosis.close(&id, "inconclusive", "enough", bench.now));
        holds(&bench, 0);
        bench.diagnosis.cases.settle();
        holds(&bench, 0);
        assert!(bench.diagnosis.cases.run_names().contains(&run));
        bench.diagnosis.cases.keep_only(&BTreeSet::from([id]));
        holds(&bench, 0);
        bench.diagnosis.cases.keep_only(&BTreeSet::new());
        assert!(bench.diagnosis.cases.run_names().is_empty() && !bench.diagnosis.cases.roles().is_baseline("sick"));
    }
}
