//! Runs one story through a policy.
//!
//! Owns: the state of the case at each step. Must not know: how a story is written.

use crate::facts::Knobs;
use crate::policy::{
    Advance, CaseFacts, Conclusion, Environment, Happened, Next, Passed, Policy, Position, TestKind, enter, judge,
};

use super::story::{Show, Story};

/// A policy that was checked ends long before; a story must end even if the engine had a fault.
const MOST_STEPS: usize = 1000;

/// How a story went.
#[derive(Debug, Clone, Default)]
pub(super) struct Played {
    /// The tests at which the case stopped, with repetitions.
    pub(super) path: Vec<String>,
    /// The changes of each experiment that was suggested.
    pub(super) proposed: Vec<(String, Knobs)>,
    pub(super) passed: Vec<Passed>,
    /// The stops in their order, each with the number of tests that were passed before it.
    pub(super) stops: Vec<(usize, Next)>,
    pub(super) experiments: u32,
    pub(super) conclusion: Option<Conclusion>,
    /// What the story does not define.
    pub(super) gap: Option<String>,
}

impl Played {
    /// Whether a test ran or was skipped, or a conclusion was reached.
    pub(super) fn visited(&self, state: &str) -> bool {
        self.path.iter().any(|name| name == state)
            || self.passed.iter().any(|passed| passed.state == state)
            || self.conclusion.as_ref().is_some_and(|conclusion| conclusion.state == state)
    }
}

pub(super) fn play(policy: &Policy, story: &Story) -> Played {
    let mut played = Played::default();
    let mut case = CaseFacts { knobs: story.knobs.clone(), ..CaseFacts::default() };
    let mut advance = enter(policy, policy.start(), &environment(story, &case, 1));
    for _ in 0..MOST_STEPS {
        case.record(&advance);
        played.passed.extend(advance.passed.iter().cloned());
        played.stops.push((played.passed.len(), advance.next.clone()));
        let at = match &advance.next {
            Next::Conclude(conclusion) => {
                played.experiments = case.experiments;
                played.conclusion = Some(conclusion.clone());
                return played;
            }
            Next::Run(proposal) => {
                played.proposed.push((proposal.at.state.clone(), proposal.changes.clone()));
                proposal.at.clone()
            }
            Next::Ask(question) => question.at.clone(),
        };
        played.path.push(at.state.clone());
        let times = played.path.iter().filter(|name| **name == at.state).count();
        match tell(policy, story, &mut case, Told { at: &at, times }) {
            Ok(next) => advance = next,
            Err(gap) => {
                played.gap = Some(gap);
                return played;
            }
        }
    }
    played.gap = Some(format!("the case did not end within {MOST_STEPS} steps"));
    played
}

/// A stop, and how often the test was stopped at by now.
struct Told<'a> {
    at: &'a Position,
    times: usize,
}

/// Passes the story's result of a stop to the policy.
fn tell(policy: &Policy, story: &Story, case: &mut CaseFacts, stop: Told<'_>) -> Result<Advance, String> {
    let Told { at, times } = stop;
    // A state at which a case stops confirms a result, by an experiment.
    let runs = policy.test(&at.state).is_none_or(|test| test.kind() == TestKind::Run);
    let said = match story.shows.get(&at.state) {
        Some(shows) => shows.at(times).ok_or_else(|| {
            format!("`{}` was reached {times} times, but the story covers only {} of them", at.state, shows.len())
        })?,
        None if runs => story.default_show.as_ref().ok_or_else(|| {
            format!("the story does not define the result of `{}`: add it to `shows`, or add `default_show`", at.state)
        })?,
        // A question that the story omits is not answered.
        None => &Show::Silence,
    };
    let happened = match said {
        Show::Ran { facts, hours } if runs => {
            let mut facts = facts.clone();
            facts.knobs = story.baseline.knobs.clone();
            facts.knobs.extend(case.tried.last().map(|tried| tried.changes.clone()).unwrap_or_default());
            case.record_hours(*hours);
            return Ok(judge(policy, at, &Happened::Ran(&facts), &environment(story, case, at.attempt)));
        }
        Show::NeverStarts if runs => Happened::NeverStarted,
        Show::Refused(knobs) if runs => Happened::Refused(knobs.clone()),
        Show::Answer(name) if !runs => Happened::Answered(name.clone()),
        Show::Silence if !runs => Happened::Unanswered,
        _ if runs => return Err(format!("`{}` runs an experiment, but the story contains an answer", at.state)),
        _ => return Err(format!("`{}` asks a person, but the story contains an experiment", at.state)),
    };
    Ok(judge(policy, at, &happened, &environment(story, case, at.attempt)))
}

fn environment<'a>(story: &'a Story, case: &'a CaseFacts, attempt: u32) -> Environment<'a> {
    Environment { baseline: &story.baseline, experiment: None, case, attempt }
}
