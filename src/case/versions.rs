//! The policy and weights under which a case was opened, and the effect of changes.
//!
//! Owns: whether an open case can continue under a changed policy. Must not know: where policies and weights are
//! stored.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Case, Terms, Trace, Waiting};
use crate::policy::{Conclusion, Policy};

/// The hashes of the versions under which a case was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// The hash of the policy and the files that it uses; `None` for a case from before this was stored.
    pub policy: Option<String>,
    /// The version and the hash of the weights of belief; likewise.
    pub weights: Option<String>,
}

/// The conclusion of a case whose policy was changed so that it cannot continue. Its job may get another case.
pub const POLICY_CHANGED: &str = "policy_changed";

impl Case {
    /// The current versions of the case.
    fn under(&self) -> &Versions {
        self.goes_on_under.as_ref().unwrap_or(&self.versions)
    }

    /// Whether the current versions of the case differ from these.
    pub fn is_under_other(&self, policy: &Policy, weights: &str) -> bool {
        let under = self.under();
        under.policy.as_deref() != Some(policy.id()) || under.weights.as_deref() != Some(weights)
    }

    /// The policy or the weights have changed. The case continues if that is possible, and its journal records this;
    /// otherwise, it is closed with the reason.
    pub fn changed(&mut self, weights: &str, terms: &Terms<'_>) -> Trace {
        let mut trace = Trace::default();
        let (before, policy) = (self.under().clone(), terms.policy);
        let now = Versions { policy: Some(policy.id().to_owned()), weights: Some(weights.to_owned()) };
        if before.policy != now.policy
            && let Some(gone) = self.gone_from(policy)
        {
            let summary = format!(
                "the policy {} was changed while this case was open, and no longer has {gone}, the position of the \
                 case; {} made under the earlier file; if the job still fails, a new case investigates it",
                self.policy,
                match self.experiments.len() {
                    1 => "1 experiment was".to_owned(),
                    made => format!("{made} experiments were"),
                }
            );
            let conclusion = Conclusion {
                state: POLICY_CHANGED.to_owned(),
                verdict: "inconclusive".to_owned(),
                confidence: 0.0,
                summary,
                recommended: Default::default(),
            };
            return self.close(conclusion, terms.now);
        }
        let known = before != Versions::default();
        if known {
            trace.note(
                terms.now,
                "changed",
                json!({ "before": before, "after": now, "why": "it continues in the same state" }),
            );
        }
        // A case from before versions were stored adopts the current ones.
        if known {
            self.goes_on_under = Some(now)
        } else {
            self.versions = now
        }
        trace
    }

    /// The position of the case that a policy does not have, in words.
    fn gone_from(&self, policy: &Policy) -> Option<String> {
        let place = Some(&self.position.state).filter(|_| self.waiting != Waiting::Nothing);
        let place = place.filter(|name| !policy.knows(name)).map(|name| format!("test or state `{name}`"));
        let phase = Some(&self.facts.phase).filter(|name| !name.is_empty() && policy.state(name).is_none());
        let tests = self.facts.follow.iter().chain(&self.facts.found).find(|name| policy.test(name).is_none());
        place
            .or_else(|| phase.map(|name| format!("state `{name}`")))
            .or_else(|| tests.map(|name| format!("test `{name}`")))
    }
}
