//! Actions of people on a case: answering, linking, closing.

use std::collections::BTreeMap;

use super::{Changes, Diagnosis};
use crate::case::{BY_HAND, CaseId, Reply};
use crate::policy::Conclusion;

impl Diagnosis {
    /// Closes a case manually.
    pub fn close(&mut self, id: &CaseId, verdict: &str, why: &str, now: f64) -> Changes {
        let mut changes = Changes::default();
        if let Some(case) = self.cases.get_mut(id).filter(|case| case.closed.is_none()) {
            let conclusion = Conclusion {
                state: "closed_by_hand".into(),
                verdict: verdict.to_owned(),
                confidence: 1.0,
                summary: why.to_owned(),
                recommended: BTreeMap::new(),
            };
            let trace = case.close(conclusion, now);
            self.to_draw.insert(id.clone());
            changes.add(case, trace);
        }
        changes
    }

    /// A person answers the question in the message with this id.
    pub fn reply(&mut self, id: &CaseId, ask: &str, reply: &Reply, now: f64) -> Changes {
        let mut changes = Changes::default();
        self.step(id, now, &mut changes, |case, terms| case.reply(ask, reply, terms));
        changes
    }

    /// A person says which job carries out the open experiment of a case.
    pub fn link(&mut self, id: &CaseId, job: &str, now: f64) -> Changes {
        let mut changes = Changes::default();
        if let Some(case) = self.cases.get_mut(id) {
            let trace = case.link_to(job, BY_HAND, now);
            changes.add(case, trace);
        }
        changes
    }
}
