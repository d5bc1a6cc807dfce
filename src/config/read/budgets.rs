//! The cost limits of experiments in the file.
//!
//! Owns: the keys of `budgets` and `probes`. Must not know: actual costs.

use crate::case::{Budget, WhenControl};
use crate::yaml::{Fields, Node};

use super::super::settings::{Budgets, Probes, Team};
use super::Reader;

const BUDGETS: [&str; 4] = ["case", "day", "teams", "gpus"];
const BUDGET: [&str; 3] = ["experiments", "hours", "gpu_hours"];
const PROBES: [&str; 3] = ["jobs", "share", "audit"];
const TEAM: [&str; 4] = ["jobs", "experiments", "hours", "gpu_hours"];

impl Reader<'_> {
    pub(super) fn budgets(&mut self, node: &Node) -> Budgets {
        let mut budgets = Budgets::default();
        let Some(fields) = Fields::new(node, "`budgets`", &BUDGETS, &mut self.problems) else { return budgets };
        let mut whole = |name: &str| {
            let node = fields.get(name)?;
            let fields = Fields::new(node, &format!("`{name}`"), &BUDGET, &mut self.problems)?;
            Some(self.budget(&fields))
        };
        budgets.case = whole("case").unwrap_or_default();
        budgets.day = whole("day").unwrap_or_default();
        if let Some(gpus) = self.above_zero(&fields, "gpus") {
            budgets.gpus = gpus;
        }
        let teams = fields.get("teams").map_or(&[][..], |node| node.entries("`teams`", &mut self.problems));
        for (key, node) in teams {
            let Some(fields) = Fields::new(node, "a team", &TEAM, &mut self.problems) else { continue };
            let Some(jobs) = fields.get("jobs") else {
                self.problems
                    .add(key.place, format!("the team `{}` has no `jobs`: add patterns of its jobs", key.name));
                continue;
            };
            let (jobs, day) = (self.globs(jobs, "`jobs`"), self.budget(&fields));
            budgets.teams.push(Team { name: key.name.clone(), jobs, day });
        }
        budgets
    }

    fn budget(&mut self, fields: &Fields<'_>) -> Budget {
        let experiments = fields.get("experiments").and_then(|node| node.count("`experiments`", &mut self.problems));
        let (hours, gpu_hours) = (self.above_zero(fields, "hours"), self.above_zero(fields, "gpu_hours"));
        Budget { experiments, hours, gpu_hours }
    }

    fn above_zero(&mut self, fields: &Fields<'_>, name: &str) -> Option<f64> {
        let node = fields.get(name)?;
        let number = node.number(&format!("`{name}`"), &mut self.problems)?;
        if number <= 0.0 {
            self.problems.add(node.place, format!("`{name}` must be greater than 0"));
        }
        Some(number).filter(|number| *number > 0.0)
    }

    pub(super) fn probes(&mut self, node: &Node) -> Probes {
        let mut probes = Probes::default();
        let Some(fields) = Fields::new(node, "`probes`", &PROBES, &mut self.problems) else { return probes };
        match fields.get("jobs") {
            Some(jobs) => probes.jobs = self.globs(jobs, "`jobs`"),
            None => self.problems.add_help(
                node.place,
                "`probes` has no `jobs`",
                "write patterns of the jobs whose owners want probes: `jobs: [vision/**]`",
            ),
        }
        if let Some(share) = self.share(&fields, "share") {
            probes.share = share;
        }
        if let Some(audit) = self.share(&fields, "audit") {
            probes.audit = audit;
        }
        probes
    }

    /// A number from 0 to 1.
    fn share(&mut self, fields: &Fields<'_>, name: &str) -> Option<f64> {
        let node = fields.get(name)?;
        let number = node.number(&format!("`{name}`"), &mut self.problems)?;
        if !(0.0..=1.0).contains(&number) {
            let help = "it is a share: 0.1 for a tenth";
            self.problems.add_help(node.place, format!("`{name}` lies between 0 and 1"), help);
            return None;
        }
        Some(number)
    }

    pub(super) fn control(&mut self, node: &Node) -> WhenControl {
        let words =
            [("when_unsure", WhenControl::Unsure), ("always", WhenControl::Always), ("never", WhenControl::Never)];
        self.one_of(node, "`control`", &words).unwrap_or_default()
    }
}
