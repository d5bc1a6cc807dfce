//! The curves of jobs, stored with their case and displayed.
//!
//! Owns: when curves are taken. Must not know: how they are drawn.

use super::{Case, CaseId, Changes, Diagnosis, Job, Seen, Site};
use crate::case::Curve;
use crate::diagnosis::exam::tags_of;
use crate::evidence::{JobView, Observed};
use crate::facts::Knobs;
use crate::jobs::{Course, Stage};
use crate::series::Outline;
use crate::signals::Learning;

impl Site {
    /// The displayed series of a job: the judged one first.
    pub(super) fn curves_of(&self, job: &Job<'_>, suggestion: Option<&str>) -> Vec<Curve> {
        let signals = self.signals.assign(&tags_of(job));
        let over = Stage { ended: true, finished: true, silent_for: 0.0, patience: 0.0 };
        let view = JobView::new(job, &signals, Knobs::new(), over, Course::default());
        let loss = if view.learning == Learning::Reinforcement { "reward" } else { "loss" };
        let validation = view.validation_loss.as_ref().filter(|_| !view.loss_is_validation());
        let shown: [(&str, Option<&Observed>); 4] = [
            (loss, view.judged()),
            ("validation_loss", validation),
            ("accuracy", view.own_accuracy()),
            ("gradient_norm", view.gradient_norm.as_ref()),
        ];
        let curve = |(signal, observed): (&str, Option<&Observed>)| {
            let observed = observed?;
            let outline = Outline::of(&observed.sketch);
            (!outline.is_empty()).then(|| Curve {
                suggestion: suggestion.map(str::to_owned),
                signal: signal.to_owned(),
                tag: observed.tag.clone(),
                outline,
            })
        };
        shown.into_iter().filter_map(curve).collect()
    }

    /// Stores the current curves of a case's jobs.
    fn draw(&self, case: &mut Case, jobs: &[Job<'_>]) {
        let job = |name: &str| jobs.iter().find(|job| job.name == name);
        if let Some(baseline) = job(&case.baseline) {
            case.drew(None, self.curves_of(baseline, None));
        }
        let linked = case.experiments.iter().filter_map(|e| Some((e.suggestion.clone(), job(e.job.as_deref()?)?)));
        for (suggestion, job) in linked.collect::<Vec<_>>() {
            case.drew(Some(&suggestion), self.curves_of(job, Some(&suggestion)));
        }
    }
}

impl Diagnosis {
    /// Whatever took a step, at this look or since the one before it, is kept with what its jobs have logged by now.
    pub(super) fn draw_changed(&mut self, jobs: &[Job<'_>], changes: &mut Changes) {
        for id in std::mem::take(&mut self.to_draw) {
            if let Some(case) = self.cases.get(&id) {
                changes.keep(case);
            }
        }
        for case in &mut changes.cases {
            self.site.draw(case, jobs);
            if let Some(known) = self.cases.get_mut(&case.id) {
                known.curves.clone_from(&case.curves);
            }
        }
        for message in &mut changes.messages {
            if let Some(case) = self.cases.get(&message.case) {
                message.illustrate(case);
            }
        }
    }

    /// The curves of every open case as they are now.
    pub fn live_curves<'a>(&self, seen: impl Into<Seen<'a>>) -> Vec<(CaseId, Vec<Curve>)> {
        let open = self.cases.open();
        if open.clone().next().is_none() {
            return Vec::new();
        }
        let jobs = seen.into().jobs(self.cases.run_names());
        let drawn = open.map(|case| {
            let mut case = case.clone();
            self.site.draw(&mut case, &jobs);
            (case.id, case.curves)
        });
        drawn.collect()
    }
}
