//! The step function: from one event to the next stop.
//!
//! Owns: the order of tests, limits, and termination. Must not know: YAML, and how a proposal is carried out.

use crate::facts::{Facts, Knobs, Quantity};

use super::file::{
    Action, Ask, CONCLUDE, FOUND, LIMIT, NO_CURE, NOT_CONFIRMED, Order, PROMISING, Phase, Policy, Run, SILENCE,
    SKIPPED, Test, Try, UNAVAILABLE, Verdict,
};
use super::guard::{Evaluator, Expression, show_number};
use super::settings::{self, Obstacle};
use super::{
    Advance, CaseFacts, Conclusion, Environment, Happened, INCONCLUSIVE, Next, Passed, Position, Proposal, Question,
    gain,
};

/// Enters a state, usually the initial one, and continues to the next stop.
///
/// Uses the baseline and the case of the environment: attempts follow from the case, and nothing is judged yet.
pub fn enter(policy: &Policy, state: &str, environment: &Environment<'_>) -> Advance {
    let mut walk = Walk::new(policy, environment);
    walk.case.phase = state.to_owned();
    walk.walk(None)
}

/// Judges the event that the policy waited for, records the outcome and continues.
///
/// Uses the baseline and the case of the environment; the attempt is that of `at`, and the experiment that of
/// `happened`. The returned value contains the case after the step ([`CaseFacts::record`]).
///
/// A position that the policy no longer has (because its file was changed) ends the case as inconclusive.
pub fn judge(policy: &Policy, at: &Position, happened: &Happened<'_>, environment: &Environment<'_>) -> Advance {
    let mut walk = Walk::new(policy, environment);
    let next = match policy.test(&at.state) {
        Some(test) => match &test.action {
            Action::Run(run) => walk.after_run(test, run, at, happened),
            Action::Ask(ask) => walk.after_ask(test, ask, happened),
            Action::Read => None,
        },
        None if policy.state(&at.state).is_some() => walk.after_confirmation(at, happened),
        None => Some(give_up(&at.state, format!("the policy no longer has a test `{}`", at.state))),
    };
    walk.walk(next)
}

/// The facts of an experiment.
struct Shown<'a> {
    /// The number of its value in the ladder, from 1.
    attempt: u32,
    changes: &'a Knobs,
    facts: &'a Facts,
}

struct Walk<'p, 'e> {
    policy: &'p Policy,
    baseline: &'e Facts,
    /// The case after the step; skipped tests already count in the following conditions.
    case: CaseFacts,
    passed: Vec<Passed>,
}

impl<'p, 'e> Walk<'p, 'e> {
    fn new(policy: &'p Policy, environment: &Environment<'e>) -> Self {
        Walk { policy, baseline: environment.baseline, case: environment.case.clone(), passed: Vec::new() }
    }

    /// Continues until it must wait, or the case ends.
    fn walk(mut self, mut next: Option<Next>) -> Advance {
        // Every pass runs or skips a test, or leaves a state; a checked policy has no loop of states.
        let mut turns = 4 * (self.policy.tests().len() + self.policy.states().len()) + 4;
        while next.is_none() && turns > 0 {
            next = self.turn();
            turns -= 1;
        }
        let phase = self.case.phase.clone();
        let next = next.unwrap_or_else(|| give_up(&phase, "the policy returned here without new tests".to_owned()));
        Advance { passed: self.passed, next, case: self.case }
    }

    fn turn(&mut self) -> Option<Next> {
        if !self.case.follow.is_empty() {
            let follows = self.case.follow.remove(0);
            let test = self.policy.test(&follows)?;
            return self.make(test, "it follows from the previous experiment");
        }
        let Some(state) = self.policy.state(&self.case.phase) else {
            return Some(give_up(&self.case.phase, format!("the policy no longer has a state `{}`", self.case.phase)));
        };
        match &state.phase {
            Phase::First { tests, onward } => match self.called_for(tests) {
                Some(test) => self.make(test, "its condition is true"),
                None => self.go(onward),
            },
            Phase::Try(phase) => self.try_next(phase),
            Phase::Confirm { held, onward } => self.confirm(held, onward),
        }
    }

    /// The first test in a list that has not run and whose condition is true.
    fn called_for(&self, tests: &[String]) -> Option<&'p Test> {
        let open = tests.iter().filter(|name| !self.case.outcomes.contains_key(*name));
        let mut tests = open.filter_map(|name| self.policy.test(name));
        tests.find(|test| test.when.as_ref().is_some_and(|when| self.holds(when)))
    }

    fn try_next(&mut self, phase: &'p Try) -> Option<Next> {
        if let Some((_, go)) = phase.before_each.iter().find(|(when, _)| self.holds(when)) {
            return self.go(go);
        }
        if let Some(test) = self.most_promising().filter(|test| self.is_probable(test)) {
            return self.found(test, "it is now more probable than all other causes together".to_owned());
        }
        // A limit ends the experiments; what they have shown can still be read.
        let limited = self.case.outcomes.values().any(|outcome| outcome == LIMIT);
        let open: Vec<&'p Test> = phase
            .tests
            .iter()
            .filter(|name| !self.case.outcomes.contains_key(*name) && !self.case.excluded.contains_key(*name))
            .filter_map(|name| self.policy.test(name))
            .filter(|test| !limited || matches!(test.action, Action::Read))
            .filter(|test| test.when.as_ref().is_none_or(|when| self.holds(when)))
            .collect();
        let suspected = open.iter().copied().find(|test| test.suspect.as_ref().is_some_and(|s| self.holds(&s.when)));
        if phase.only_suspected && suspected.is_none() {
            return self.nothing_left(phase);
        }
        match (phase.order, suspected) {
            (Order::Listed, Some(test)) => {
                let why = self.why_suspected(test);
                self.make(test, &why)
            }
            (Order::Listed, None) => match open.first() {
                Some(test) => self.make(test, "it is next in the order of the policy"),
                None => self.nothing_left(phase),
            },
            (Order::Information, _) => match self.most_informative(&open) {
                Some(test) => self.make(test, "it has the highest expected information for its cost"),
                None => self.nothing_left(phase),
            },
        }
    }

    fn why_suspected(&self, test: &Test) -> String {
        let Some(suspect) = &test.suspect else { return String::new() };
        let why = suspect.why.render(&mut self.evaluator(1, None));
        if why.is_empty() { format!("`{}` holds", suspect.when.source()) } else { why }
    }

    fn most_informative(&self, open: &[&'p Test]) -> Option<&'p Test> {
        let mut best: Option<(f64, &'p Test)> = None;
        let beliefs = gain::beliefs(self.policy, self.environment(1, None));
        for test in open {
            let gain = gain::gain_per_cost(self.policy, test, &beliefs, self.environment(1, None));
            // The order of the list breaks ties.
            if best.is_none_or(|(most, _)| gain > most) {
                best = Some((gain, test));
            }
        }
        best.map(|(_, test)| test)
    }

    fn nothing_left(&mut self, phase: &'p Try) -> Option<Next> {
        let way = phase.empty.iter().find(|(when, _)| when.as_ref().is_none_or(|when| self.holds(when)));
        let (_, go) = way?;
        if self.policy.state(go).is_none()
            && let Some(test) = self.most_promising()
        {
            return self.found(test, "of all changes that help, it helps most".to_owned());
        }
        self.go(go)
    }

    /// Of the tests whose changes help, the one with the most probable cause.
    fn most_promising(&self) -> Option<&'p Test> {
        let beliefs = gain::beliefs(self.policy, self.environment(1, None));
        let probability = |name: &String| beliefs.get(name).copied().unwrap_or_default();
        let gain = |name: &String| self.case.promising.get(name).copied().unwrap_or_default();
        let names = self.case.promising.keys();
        let best = names.max_by(|a, b| probability(a).total_cmp(&probability(b)).then(gain(a).total_cmp(&gain(b))))?;
        self.policy.test(best)
    }

    /// Goes to a state, or ends the case.
    fn go(&mut self, to: &str) -> Option<Next> {
        if to == CONCLUDE {
            return Some(self.conclude_found());
        }
        if let Some(conclusion) = self.policy.conclusion(to) {
            return Some(Next::Conclude(self.conclusion(conclusion, None)));
        }
        self.case.phase = to.to_owned();
        None
    }

    fn conclude_found(&self) -> Next {
        let found = self.case.found.as_deref().and_then(|name| self.policy.test(name));
        match found.and_then(|test| Some((test, test.cause.as_ref()?))) {
            Some((test, cause)) => Next::Conclude(self.conclusion(cause, Some(test))),
            None => give_up(&self.case.phase, "no cause was found".to_owned()),
        }
    }

    /// Runs a test: suggests its experiment, asks its question, or concludes from the baseline. None if it is skipped.
    fn make(&mut self, test: &'p Test, why: &str) -> Option<Next> {
        let skip = test.skips.iter().find(|skip| self.holds(&skip.when));
        if let Some(skip) = skip {
            let words = skip.why.render(&mut self.evaluator(1, None));
            let words = if words.is_empty() { format!("`{}` holds", skip.when.source()) } else { words };
            self.settle(test, SKIPPED, words);
            return None;
        }
        match &test.action {
            Action::Run(run) => self.propose(test, run, 1, why),
            Action::Ask(ask) => {
                self.case.enter(&test.name, 1);
                Some(Next::Ask(self.question(test, ask)))
            }
            Action::Read if test.when.as_ref().is_some_and(|when| self.holds(when)) => {
                let why = test.why.render(&mut self.evaluator(1, None));
                if self.is_plausible(test) {
                    return self.found(test, why);
                }
                self.case.promising.insert(test.name.clone(), 0.0);
                self.settle(test, PROMISING, why);
                None
            }
            Action::Read => {
                self.settle(test, SKIPPED, "its condition is false".to_owned());
                None
            }
        }
    }

    fn propose(&mut self, test: &'p Test, run: &'p Run, attempt: u32, why: &str) -> Option<Next> {
        let changes = match settings::of_experiment(self.policy, run, self.environment(attempt, None)) {
            Ok(changes) => changes,
            Err(Obstacle { outcome, why }) => {
                self.settle(test, outcome, why);
                return None;
            }
        };
        if let Some(tried) = settings::tried_before(&self.case, &changes).cloned() {
            let same = if tried.test == test.name { "it".to_owned() } else { format!("`{}`", tried.test) };
            let Some(facts) = tried.facts else {
                self.settle(test, UNAVAILABLE, format!("{same} requested the same changes without a result"));
                return None;
            };
            let shown = Shown { attempt, changes: &changes, facts: &facts };
            return self.judge_run(test, run, shown, &format!("{same} tried the same changes: "));
        }
        if let Some(why) = self.out_of_budget(self.policy.limits().reserve) {
            self.settle(test, LIMIT, why);
            return None;
        }
        let at = Position { state: test.name.clone(), attempt };
        Some(self.suggest(test, at, changes, why))
    }

    fn suggest(&mut self, test: &Test, at: Position, changes: Knobs, chosen: &str) -> Next {
        let beliefs = gain::beliefs(self.policy, self.environment(at.attempt, None));
        let mut evaluator = self.evaluator(at.attempt, None);
        let why = test.why.render(&mut evaluator);
        let why = if why.is_empty() { chosen.to_owned() } else { why };
        let hypothesis = test.hypothesis.render(&mut evaluator);
        let expect = test.expect.render(&mut evaluator);
        self.case.suggest(&at.state, at.attempt, &changes);
        Next::Run(Proposal { at, step: test.step.clone(), changes, why, hypothesis, expect, beliefs })
    }

    fn out_of_budget(&self, reserve: u32) -> Option<String> {
        let limits = self.policy.limits();
        let experiments = limits.experiments.saturating_sub(reserve).max(1);
        if self.case.experiments >= experiments {
            let kept = if reserve > 0 { format!(", {reserve} reserved for a confirmation") } else { String::new() };
            return Some(format!("the case has used its {} experiments{kept}", limits.experiments));
        }
        // Written such that hours that are not a number count as used up.
        let left = self.case.hours < limits.hours;
        (!left).then(|| format!("the experiments have used their {} hours", show_number(limits.hours)))
    }

    fn after_run(&mut self, test: &'p Test, run: &'p Run, at: &Position, happened: &Happened<'_>) -> Option<Next> {
        let why = match happened {
            Happened::Ran(facts) => {
                self.case.show(&test.name, facts);
                let tried = self.case.tried.iter().rev().find(|tried| tried.test == test.name);
                let changes = tried.map(|tried| tried.changes.clone()).unwrap_or_default();
                return self.judge_run(test, run, Shown { attempt: at.attempt, changes: &changes, facts }, "");
            }
            Happened::Refused(knobs) => {
                let news = knobs.iter().any(|knob| !self.case.missing_knobs.contains(knob));
                self.case.missing_knobs.extend(knobs.iter().cloned());
                if news {
                    return self.propose(test, run, at.attempt, "without the knobs that the script does not support");
                }
                "the script does not support its knobs".to_owned()
            }
            Happened::NeverStarted => "the experiment never started".to_owned(),
            Happened::NoTest(why) => why.clone(),
            Happened::Answered(_) | Happened::Unanswered => "there is no experiment to judge".to_owned(),
        };
        self.settle(test, UNAVAILABLE, why);
        None
    }

    /// Judges an experiment: the cause is found, the ladder continues, or one of the test's own outcomes applies.
    fn judge_run(&mut self, test: &'p Test, run: &'p Run, shown: Shown<'_>, prefix: &str) -> Option<Next> {
        let Shown { attempt, changes, facts } = shown;
        let found = test.cause.is_some() && self.says_found(test, attempt, facts);
        let improves = self.improves(test, facts);
        if improves || found && !self.case.promising.contains_key(&test.name) {
            self.case.keep_best(&test.name, changes, facts);
        }
        if found && (improves || !self.case.promising.contains_key(&test.name)) {
            // A gain that is not known is not held against the change.
            let gain = if facts.gain.is_finite() { facts.gain } else { 1.0 };
            self.case.promising.insert(test.name.clone(), gain);
        }
        let goes_on = run.ladder.as_ref().is_some_and(|ladder| match (&ladder.goes_on, &self.policy.helped) {
            (Some(condition), _) => self.holds_of(condition, attempt, facts),
            (None, Some(helped)) => improves && self.holds_of(helped, attempt, facts),
            (None, None) => false,
        });
        let why = format!("{prefix}{}", facts.in_words());
        // A condition of the test is specific; a fix by the policy's measure may be one of many.
        let compares = self.policy.cured.as_ref().is_some_and(|cured| self.holds_of(cured, attempt, facts));
        if found && run.together.is_empty() && if compares { gain::is_most(facts) } else { self.is_plausible(test) } {
            return self.found(test, why);
        }
        if goes_on && attempt < test.rungs() {
            return self.propose(test, run, attempt.saturating_add(1), "the previous value helped");
        }
        if self.case.promising.contains_key(&test.name) {
            self.case.outcomes.insert(test.name.clone(), PROMISING.to_owned());
            if self.is_probable(test) {
                return self.found(test, why);
            }
            self.settle(test, PROMISING, why);
            return None;
        }
        let (outcome, why) = self.outcome(test, attempt, facts);
        // One harmful change hides what the others do.
        let harms = !facts.started || facts.crashed || facts.worse || self.baseline.finite && !facts.finite;
        if harms && !run.together.is_empty() {
            self.settle(test, UNAVAILABLE, format!("{prefix}{why}; this says nothing of the single changes"));
            return None;
        }
        self.settle(test, &outcome, format!("{prefix}{why}"));
        for part in self.open_parts(test) {
            self.note(part, NO_CURE, format!("`{}` made this change, too", test.name));
        }
        None
    }

    /// Whether the cause of a test is more probable than all others together.
    fn is_probable(&self, test: &Test) -> bool {
        // Several changes that help together leave open which of them is needed.
        self.open_parts(test).is_empty()
            && gain::believed(self.policy, test, self.environment(1, None)) >= gain::PROBABLE
    }

    /// The tests without an outcome whose changes were part of the experiment of another.
    fn open_parts(&self, test: &Test) -> Vec<&'p Test> {
        let mut parts = settings::made(self.policy, test, self.environment(1, None));
        parts.retain(|part| !self.case.outcomes.contains_key(&part.name));
        parts
    }

    /// Whether the cause that a reading has just found is probable enough to stop the search.
    fn is_plausible(&self, test: &Test) -> bool {
        let mut case = self.case.clone();
        case.outcomes.insert(test.name.clone(), PROMISING.to_owned());
        gain::believe(&mut case, test, FOUND);
        gain::believed(self.policy, test, Environment { case: &case, ..self.environment(1, None) }) >= gain::PLAUSIBLE
    }

    fn says_found(&self, test: &Test, attempt: u32, facts: &Facts) -> bool {
        let condition = test.found.as_ref().or(self.policy.cured.as_ref());
        condition.is_some_and(|condition| self.holds_of(condition, attempt, facts))
    }

    /// Whether an experiment is the best of its test so far.
    fn improves(&self, test: &Test, facts: &Facts) -> bool {
        let Some(best) = self.case.shown.get(&test.name) else { return true };
        match (best.finite, facts.finite) {
            (true, false) => false,
            (false, true) => true,
            // Two experiments that are not finite are equally bad: the ladder of a rate that is far too high continues.
            (false, false) => true,
            (true, true) if facts.gain.is_nan() || best.gain.is_nan() => {
                facts.better && !best.better || facts.number(Quantity::Progress) > best.number(Quantity::Progress)
            }
            (true, true) => facts.gain > best.gain,
        }
    }

    fn outcome(&self, test: &Test, attempt: u32, facts: &Facts) -> (String, String) {
        let mut evaluator = self.evaluator(attempt, Some(facts));
        let outcome = test.outcomes.iter().find(|o| o.when.as_ref().is_none_or(|guard| evaluator.holds(guard)));
        let remarks = evaluator.remarks();
        let name = outcome.map_or(NO_CURE, |outcome| outcome.name.as_str());
        let mut why = facts.in_words();
        if !remarks.is_empty() {
            why = format!("{why} ({remarks})");
        }
        (name.to_owned(), why)
    }

    /// Records that the cause of a test was found.
    fn found(&mut self, test: &Test, why: String) -> Option<Next> {
        self.case.promising.remove(&test.name);
        self.settle(test, FOUND, why);
        self.case.found = Some(test.name.clone());
        let found = match self.policy.state(&self.case.phase).map(|state| &state.phase) {
            Some(Phase::Try(phase)) => phase.found.clone(),
            _ => CONCLUDE.to_owned(),
        };
        self.go(&found)
    }

    /// Records the outcome of a test, and the test that follows it.
    fn settle(&mut self, test: &Test, outcome: &str, why: String) {
        self.note(test, outcome, why);
        // A test runs at most once, even if several others lead to it.
        if let Some(follows) = test.then.get(outcome).filter(|next| !self.case.outcomes.contains_key(*next)) {
            self.case.follow.insert(0, follows.clone());
        }
    }

    /// Records the outcome of a test, with its effect on what is believed of others.
    fn note(&mut self, test: &Test, outcome: &str, why: String) {
        let passed = Passed { state: test.name.clone(), outcome: outcome.to_owned(), why };
        self.case.pass(&passed);
        gain::believe(&mut self.case, test, outcome);
        self.passed.push(passed);
    }

    fn after_ask(&mut self, test: &'p Test, ask: &'p Ask, happened: &Happened<'_>) -> Option<Next> {
        let why = match happened {
            Happened::Answered(name) => match ask.answers.iter().find(|answer| answer.name == *name) {
                Some(answer) => {
                    self.settle(test, &answer.name, "a person answered".to_owned());
                    return answer.go.as_deref().and_then(|go| self.go(go)).map(seen_by_a_person);
                }
                None => format!("`{name}` is not a possible answer"),
            },
            _ => "no answer came in time".to_owned(),
        };
        self.settle(test, SILENCE, why);
        None
    }

    /// Repeats a close result with another seed before it is believed.
    fn confirm(&mut self, held: &str, onward: &str) -> Option<Next> {
        let found = self.case.found.clone().and_then(|name| self.policy.test(&name));
        let Some(test) = found else { return self.go(onward) };
        let close = self.case.shown.get(&test.name).is_some_and(|facts| facts.close);
        if !close || self.out_of_budget(0).is_some() {
            return self.go(held);
        }
        let mut changes = self.case.changes.get(&test.name).cloned().unwrap_or_default();
        if settings::has_knob(&self.case, "seed", self.policy.vocabulary()) {
            let seed = self.baseline.knobs.get("seed").and_then(serde_json::Value::as_i64);
            changes.insert("seed".to_owned(), seed.map_or(1, |seed| seed.saturating_add(1)).into());
        }
        let at = Position { state: self.case.phase.clone(), attempt: self.next_confirmation() };
        let mut confirmation = test.clone();
        confirmation.why = super::text::Text::plain("the result is so close that another seed could reverse it");
        Some(self.suggest(&confirmation, at, changes, ""))
    }

    fn next_confirmation(&self) -> u32 {
        self.case.entered.get(&self.case.phase).copied().unwrap_or(0).saturating_add(1)
    }

    fn after_confirmation(&mut self, at: &Position, happened: &Happened<'_>) -> Option<Next> {
        let Some(Phase::Confirm { held, onward }) = self.policy.state(&at.state).map(|state| &state.phase) else {
            return Some(give_up(&at.state, format!("state `{}` no longer has an experiment", at.state)));
        };
        let test = self.case.found.clone().and_then(|name| self.policy.test(&name));
        let (Some(test), Happened::Ran(facts)) = (test, happened) else {
            if let Happened::Refused(knobs) = happened {
                self.case.missing_knobs.extend(knobs.iter().cloned());
            }
            return self.go(held);
        };
        self.case.show(&at.state, facts);
        if self.says_found(test, 1, facts) {
            return self.go(held);
        }
        self.settle(test, NOT_CONFIRMED, format!("with another seed: {}", facts.in_words()));
        self.case.found = None;
        self.go(onward)
    }

    fn question(&self, test: &Test, ask: &Ask) -> Question {
        let mut evaluator = self.evaluator(1, None);
        Question {
            at: Position { state: test.name.clone(), attempt: 1 },
            step: test.step.clone(),
            why: test.why.render(&mut evaluator),
            checklist: ask.checklist.iter().map(|item| item.render(&mut evaluator)).collect(),
            answers: ask.answers.iter().map(|answer| answer.name.clone()).collect(),
        }
    }

    fn conclusion(&self, verdict: &Verdict, test: Option<&Test>) -> Conclusion {
        let environment = self.environment(1, None);
        let summary = verdict.summary.render(&mut Evaluator::new(environment));
        let summary = if summary.is_empty() { self.in_words(test) } else { summary };
        let recommended = match &verdict.recommend {
            Some(settings) => settings::of_recommendation(settings, environment, self.policy.vocabulary()),
            None => test.map(|test| self.as_settings(test)).unwrap_or_default(),
        };
        let state = test.map_or(&verdict.name, |test| &test.name).clone();
        let named = test.filter(|_| verdict.verdict != INCONCLUSIVE);
        let confidence = named
            .map_or(0.0, |test| gain::beliefs(self.policy, environment).get(&test.name).copied().unwrap_or_default());
        Conclusion { state, verdict: verdict.verdict.clone(), confidence, summary, recommended }
    }

    /// The changes of a test as settings for the whole job. An experiment on a few examples, or one without a finite loss,
    /// shows a fault and no way to train.
    fn as_settings(&self, test: &Test) -> Knobs {
        let trains = self.case.shown.get(&test.name).is_none_or(|shown| shown.finite);
        let changes = self.case.changes.get(&test.name).filter(|_| trains);
        changes.filter(|changes| !changes.contains_key("train_examples")).cloned().unwrap_or_default()
    }

    /// The result of a test's experiment compared with its baseline.
    fn in_words(&self, test: Option<&Test>) -> String {
        let shown = test.and_then(|test| Some((self.case.shown.get(&test.name)?, self.case.changes.get(&test.name)?)));
        let Some((shown, changes)) = shown else { return String::new() };
        let changes: Vec<String> = changes.iter().map(|(knob, value)| format!("{knob} = {}", plain(value))).collect();
        let number = |value: f64| if value.is_nan() { "an unknown loss".to_owned() } else { show_number(value) };
        format!(
            "with {}, and everything else unchanged, the loss falls from {} to {}; the baseline ended at {}",
            changes.join(", "),
            number(shown.number(Quantity::LossStart)),
            number(shown.number(Quantity::LossEnd)),
            number(self.baseline.number(Quantity::LossEnd)),
        )
    }

    fn environment<'w>(&'w self, attempt: u32, experiment: Option<&'w Facts>) -> Environment<'w> {
        Environment { baseline: self.baseline, experiment, case: &self.case, attempt }
    }

    fn evaluator<'w>(&'w self, attempt: u32, experiment: Option<&'w Facts>) -> Evaluator<'w> {
        Evaluator::new(self.environment(attempt, experiment))
    }

    fn holds(&self, condition: &Expression) -> bool {
        self.evaluator(1, None).holds(condition)
    }

    fn holds_of(&self, condition: &Expression, attempt: u32, facts: &Facts) -> bool {
        self.evaluator(attempt, Some(facts)).holds(condition)
    }
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}

/// What a person has seen is certain.
fn seen_by_a_person(next: Next) -> Next {
    match next {
        Next::Conclude(conclusion) => Next::Conclude(Conclusion { confidence: 1.0, ..conclusion }),
        other => other,
    }
}

fn give_up(state: &str, summary: String) -> Next {
    Next::Conclude(Conclusion {
        state: state.to_owned(),
        verdict: INCONCLUSIVE.to_owned(),
        confidence: 0.0,
        summary,
        recommended: Knobs::new(),
    })
}
