//! The step function: from one event to the next stop.
//!
//! Owns: the order in which states are walked, limits, and the end of every walk. Must not know: YAML, and what becomes
//! of a proposal.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{Facts, Knobs};

use super::file::{Action, Ask, Conclude, LIMIT, Outcome, Policy, Run, SILENCE, SKIPPED, State, Then, UNAVAILABLE};
use super::guard::{Evaluator, Expression, show_number};
use super::settings::{self, Obstacle};
use super::{Advance, CaseFacts, Conclusion, Environment, Happened, Next, Passed, Position, Proposal, Question};

/// Enters a state, the start of the policy as a rule, and walks on to where something must be waited for.
///
/// Of the environment, baseline and case are read: attempts follow from the case, and nothing is judged yet.
pub fn enter(policy: &Policy, state: &str, environment: &Environment<'_>) -> Advance {
    Walk::new(policy, environment).walk(Flow::On(state.to_owned()))
}

/// Judges what happened to what the policy waited for, takes the outcome and walks on.
///
/// Of the environment, baseline and case are read: the attempt is that of `at`, the experiment that of `happened`. What
/// the step leaves in the case is for the caller to take in with [`CaseFacts::record`]; knobs that were refused, too.
///
/// A position that the policy does not have (its file was changed) ends the case as inconclusive.
pub fn judge(policy: &Policy, at: &Position, happened: &Happened<'_>, environment: &Environment<'_>) -> Advance {
    let mut walk = Walk::new(policy, environment);
    let flow = match policy.state(&at.state) {
        None => Flow::Stop(give_up(&at.state, format!("the policy has no state `{}` any more", at.state))),
        Some(state) => match &state.action {
            Action::Run(run) => walk.after_run(state, run, at, happened),
            Action::Ask(ask) => walk.after_ask(ask, at, happened),
            Action::Conclude(_) | Action::Branch(_) => Flow::On(at.state.clone()),
        },
    };
    walk.walk(flow)
}

/// What follows from a state.
enum Flow {
    /// Enter another state.
    On(String),
    /// Run the state again.
    Again(Position),
    /// Wait, or end.
    Stop(Next),
}

struct Walk<'p, 'e> {
    policy: &'p Policy,
    baseline: &'e Facts,
    /// The case as it will be: what is passed on the way counts for the guards that follow.
    case: CaseFacts,
    passed: Vec<Passed>,
    /// Within a walk only the outcomes change, so to come back with the same ones is to go in a circle.
    visited: BTreeSet<(Position, BTreeMap<String, String>)>,
    /// It was led to the policy's `exhausted` already.
    exhausted: bool,
}

impl<'p, 'e> Walk<'p, 'e> {
    fn new(policy: &'p Policy, environment: &Environment<'e>) -> Self {
        Walk {
            policy,
            baseline: environment.baseline,
            case: environment.case.clone(),
            passed: Vec::new(),
            visited: BTreeSet::new(),
            exhausted: false,
        }
    }

    fn walk(mut self, mut flow: Flow) -> Advance {
        loop {
            let (at, again) = match flow {
                Flow::Stop(next) => return Advance { passed: self.passed, next },
                Flow::On(name) => (Position { attempt: self.next_attempt(&name), state: name }, false),
                Flow::Again(at) => (at, true),
            };
            let news = self.visited.insert((at.clone(), self.case.outcomes.clone()));
            let too_long = self.passed.len() > self.most_passed() && !self.exhausted;
            flow = if !news || too_long {
                self.circle(&at)
            } else {
                match self.policy.state(&at.state) {
                    None => Flow::Stop(give_up(&at.state, format!("the policy has no state `{}`", at.state))),
                    Some(state) if again => self.visit(state, &at),
                    Some(state) => self.skip(state, &at).unwrap_or_else(|| self.visit(state, &at)),
                }
            };
        }
    }

    /// A branch that tries one state after the other passes each of them, and itself in between; some are repeated.
    fn most_passed(&self) -> usize {
        self.policy.states().len().saturating_mul(4)
    }

    fn next_attempt(&self, state: &str) -> u32 {
        self.case.entered.get(state).copied().unwrap_or(0).saturating_add(1)
    }

    fn environment<'w>(&'w self, at: &Position, experiment: Option<&'w Facts>) -> Environment<'w> {
        Environment { baseline: self.baseline, experiment, case: &self.case, attempt: at.attempt }
    }

    fn pass(&mut self, at: &Position, outcome: &str, why: String) {
        self.pass_like(at, outcome, why, None);
    }

    fn pass_like(&mut self, at: &Position, outcome: &str, why: String, answered_by: Option<String>) {
        let passed = Passed { state: at.state.clone(), outcome: outcome.to_owned(), why, answered_by };
        self.case.pass(&passed);
        self.passed.push(passed);
    }

    fn circle(&mut self, at: &Position) -> Flow {
        self.pass(at, LIMIT, "the policy came back here with nothing new to try".to_owned());
        self.exhaust(at)
    }

    fn exhaust(&mut self, at: &Position) -> Flow {
        match self.policy.exhausted() {
            Some(state) if !std::mem::replace(&mut self.exhausted, true) => Flow::On(state.to_owned()),
            _ => Flow::Stop(give_up(&at.state, "the limits of the case were reached".to_owned())),
        }
    }

    fn skip(&mut self, state: &State, at: &Position) -> Option<Flow> {
        let environment = self.environment(at, None);
        let (skip, why) = state.skips.iter().find_map(|skip| {
            let mut evaluator = Evaluator::new(environment);
            evaluator.holds(&skip.when).then(|| (skip, skip.why.render(&mut evaluator)))
        })?;
        self.pass(at, SKIPPED, why);
        Some(Flow::On(skip.go.clone()))
    }

    fn visit(&mut self, state: &State, at: &Position) -> Flow {
        match &state.action {
            Action::Run(run) => self.propose(state, run, at),
            Action::Ask(ask) => self.ask(state, ask, at),
            Action::Conclude(conclude) => Flow::Stop(Next::Conclude(self.conclusion(state, conclude, at))),
            Action::Branch(outcomes) => {
                let Some((outcome, why)) = self.choose(outcomes, at, None, u32::MAX) else {
                    return Flow::Stop(give_up(&at.state, "no outcome of this state holds".to_owned()));
                };
                self.pass(at, &outcome.name, why);
                follow(outcome, at)
            }
        }
    }

    fn ask(&mut self, state: &State, ask: &Ask, at: &Position) -> Flow {
        let repeats = self.policy.limits().repeats;
        if at.attempt > repeats {
            self.pass(at, LIMIT, format!("it was asked {repeats} times"));
            return self.exhaust(at);
        }
        Flow::Stop(Next::Ask(self.question(state, ask, at)))
    }

    fn propose(&mut self, state: &State, run: &Run, at: &Position) -> Flow {
        let repeats = run.repeats.unwrap_or(self.policy.limits().repeats);
        if at.attempt > repeats {
            self.pass(at, LIMIT, format!("it has had its {repeats} experiments"));
            return Flow::On(run.unavailable.clone());
        }
        let changes = match settings::of_experiment(run, self.environment(at, None), self.policy.vocabulary()) {
            Ok(changes) => changes,
            Err(Obstacle { outcome, why }) => {
                self.pass(at, outcome, why);
                return Flow::On(run.unavailable.clone());
            }
        };
        if let Some(other) = settings::asked_before(&self.case, &changes).map(str::to_owned) {
            return self.reuse(run, at, &other);
        }
        if let Some(why) = self.out_of_budget() {
            self.pass(at, LIMIT, why);
            return self.exhaust(at);
        }
        Flow::Stop(Next::Run(self.proposal(state, at, changes)))
    }

    /// The same changes were suggested before: what they showed answers this state, too.
    fn reuse(&mut self, run: &Run, at: &Position, other: &str) -> Flow {
        let Some(shown) = self.case.shown.get(other).cloned() else {
            self.pass(at, UNAVAILABLE, format!("the same changes were suggested by `{other}`, and showed nothing"));
            return Flow::On(run.unavailable.clone());
        };
        let other = (other != at.state).then(|| other.to_owned());
        let prefix = match &other {
            Some(other) => format!("`{other}` tried the same changes: "),
            None => "these changes were tried before: ".to_owned(),
        };
        self.judge_run(run, at, &shown, Reused { prefix, other })
    }

    fn out_of_budget(&self) -> Option<String> {
        let limits = self.policy.limits();
        if self.case.experiments >= limits.experiments {
            return Some(format!("the case has had its {} experiments", limits.experiments));
        }
        // Written so that hours which are not a number count as used up.
        let left = self.case.hours < limits.hours;
        (!left).then(|| format!("the experiments have run for their {} hours", show_number(limits.hours)))
    }

    fn after_run(&mut self, state: &State, run: &Run, at: &Position, happened: &Happened<'_>) -> Flow {
        let why = match happened {
            Happened::Ran(facts) => {
                self.case.shown.insert(at.state.clone(), (*facts).clone());
                return self.judge_run(run, at, facts, Reused::default());
            }
            Happened::Refused(knobs) => {
                let news = knobs.iter().any(|knob| !self.case.missing_knobs.contains(knob));
                self.case.missing_knobs.extend(knobs.iter().cloned());
                if news {
                    return self.propose(state, run, at);
                }
                "the queue refused it".to_owned()
            }
            Happened::NeverStarted => "the experiment never started".to_owned(),
            Happened::NoTest(why) => why.clone(),
            Happened::Answered(_) | Happened::Unanswered => "there is no experiment to judge".to_owned(),
        };
        self.pass(at, UNAVAILABLE, why);
        Flow::On(run.unavailable.clone())
    }

    fn after_ask(&mut self, ask: &Ask, at: &Position, happened: &Happened<'_>) -> Flow {
        let why = match happened {
            Happened::Answered(name) => match ask.answers.iter().find(|answer| answer.name == *name) {
                Some(answer) => {
                    self.pass(at, &answer.name, "a person answered".to_owned());
                    return Flow::On(answer.go.clone());
                }
                None => format!("`{name}` is none of the answers"),
            },
            _ => "nobody answered in time".to_owned(),
        };
        self.pass(at, SILENCE, why);
        Flow::On(ask.silence.clone())
    }

    fn judge_run(&mut self, run: &Run, at: &Position, facts: &Facts, reused: Reused) -> Flow {
        let repeats = run.repeats.unwrap_or(self.policy.limits().repeats);
        match self.choose(&run.outcomes, at, Some(facts), repeats) {
            Some((outcome, why)) => {
                let (flow, name) = (follow(outcome, at), outcome.name.clone());
                self.pass_like(at, &name, reused.prefix + &why, reused.other);
                flow
            }
            None => {
                self.pass(at, UNAVAILABLE, "no outcome of this state holds".to_owned());
                Flow::On(run.unavailable.clone())
            }
        }
    }

    /// The first outcome that holds, and why. A repetition holds only while one is left.
    fn choose<'o>(
        &self,
        outcomes: &'o [Outcome],
        at: &Position,
        experiment: Option<&Facts>,
        repeats: u32,
    ) -> Option<(&'o Outcome, String)> {
        let mut evaluator = Evaluator::new(self.environment(at, experiment));
        let used_up = |outcome: &Outcome| matches!(outcome.then, Then::Repeat) && at.attempt >= repeats;
        let outcome = outcomes
            .iter()
            .filter(|outcome| !used_up(outcome))
            .find(|outcome| outcome.when.as_ref().is_none_or(|guard| evaluator.holds(guard)))?;
        let remarks = evaluator.remarks();
        let mut why = outcome.why.render(&mut evaluator);
        if why.is_empty() {
            why = outcome
                .when
                .as_ref()
                .map_or("no other outcome holds".to_owned(), |g: &Expression| format!("`{}` holds", g.source()));
        }
        if !remarks.is_empty() {
            why = format!("{why} ({remarks})");
        }
        Some((outcome, why))
    }

    fn proposal(&self, state: &State, at: &Position, changes: Knobs) -> Proposal {
        let mut evaluator = Evaluator::new(self.environment(at, None));
        Proposal {
            at: at.clone(),
            step: state.step.clone(),
            changes,
            why: state.why.render(&mut evaluator),
            hypothesis: state.hypothesis.render(&mut evaluator),
            expect: state.expect.render(&mut evaluator),
        }
    }

    fn question(&self, state: &State, ask: &Ask, at: &Position) -> Question {
        let mut evaluator = Evaluator::new(self.environment(at, None));
        Question {
            at: at.clone(),
            step: state.step.clone(),
            why: state.why.render(&mut evaluator),
            checklist: ask.checklist.iter().map(|item| item.render(&mut evaluator)).collect(),
            answers: ask.answers.iter().map(|answer| answer.name.clone()).collect(),
        }
    }

    fn conclusion(&self, state: &State, conclude: &Conclude, at: &Position) -> Conclusion {
        let environment = self.environment(at, None);
        Conclusion {
            state: state.name.clone(),
            verdict: conclude.verdict.clone(),
            confidence: conclude.confidence,
            summary: conclude.summary.render(&mut Evaluator::new(environment)),
            recommended: settings::of_recommendation(&conclude.recommend, environment, self.policy.vocabulary()),
        }
    }
}

/// Whether an outcome rests on an earlier experiment.
#[derive(Debug, Default)]
struct Reused {
    prefix: String,
    /// The other state whose experiment it was.
    other: Option<String>,
}

fn follow(outcome: &Outcome, at: &Position) -> Flow {
    match &outcome.then {
        Then::Go(to) => Flow::On(to.clone()),
        Then::Repeat => Flow::Again(Position { state: at.state.clone(), attempt: at.attempt.saturating_add(1) }),
    }
}

fn give_up(state: &str, summary: String) -> Next {
    Next::Conclude(Conclusion {
        state: state.to_owned(),
        verdict: "inconclusive".to_owned(),
        confidence: 0.0,
        summary,
        recommended: Knobs::new(),
    })
}
