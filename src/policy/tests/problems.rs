//! What `parse` says of a policy with one mistake.

use super::{SAMPLE, show, vocabulary};
use crate::policy::{Problem, parse};

fn problems(text: &str) -> Vec<Problem> {
    parse(text, "sample.yaml", &vocabulary()).err().unwrap_or_default()
}

/// The sample with one place changed must have exactly one problem, with this message, at the given words.
fn one(from: &str, to: &str, message: &str, at: &str) -> Problem {
    assert!(SAMPLE.contains(from), "the sample has no {from:?}");
    let text = SAMPLE.replacen(from, to, 1);
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{to:?} gave:\n{}", show(&found));
    let problem = found[0].clone();
    let line = text.lines().nth(problem.line - 1).expect("a line of the text");
    let under: String = line.chars().skip(problem.column - 1).take(problem.width).collect();
    assert_eq!((problem.message.as_str(), under.as_str()), (message, at), "{problem}");
    problem
}

#[test]
fn the_sample_has_no_problem() {
    assert_eq!(show(&problems(SAMPLE)), "");
}

#[test]
fn a_problem_reads_like_this() {
    let problem = one(
        "when: experiment.fits,",
        "when: experiment.fitz,",
        "a job has no fact and no knob `fitz`",
        "experiment.fitz",
    );
    insta::assert_snapshot!(problem.to_string());
}

#[test]
fn unknown_keys() {
    let problem = one("limits:", "limit:", "a policy has no key `limit`", "limit");
    assert_eq!(problem.help.as_deref(), Some("did you mean `limits`?"));
    one("repeats: 2, hours", "repeat: 2, hours", "`limits` has no key `repeat`", "repeat");
    one("    step: \"1", "    stop: \"1", "state `overfit_one_point` has no key `stop`", "stop");
    one("optional: [", "optionally: [", "`run` has no key `optionally`", "optionally");
    one("repeat: true", "repeat: true, then: x", "an outcome has no key `then`", "then");
    one("confidence: 0.5,", "confidence: 0.5, sure: 1,", "`conclude` has no key `sure`", "sure");
}

#[test]
fn names_that_do_not_exist() {
    one("train_examples: 1\n", "train_example: 1\n", "there is no knob `train_example`", "train_example");
    one("[batch_size, max_steps]", "[batch_size, max_step]", "there is no knob `max_step`", "max_step");
    one("verdict: data_pipeline", "verdict: data", "there is no verdict `data`", "data");
    one("\"overfitting\"", "\"overfits\"", "there is no symptom `overfits`", "\"overfits\"");
    one("go: conclude_overfitting", "go: conclude_overfit", "there is no state `conclude_overfit`", "conclude_overfit");
    one("start: triage", "start: triag", "there is no state `triag`", "triag");
    one("exhausted: conclude_inconclusive", "exhausted: nowhere", "there is no state `nowhere`", "nowhere");
    one("silence: conclude_inconclusive", "silence: nowhere", "there is no state `nowhere`", "nowhere");
    one("unavailable: look_at_data", "unavailable: look", "there is no state `look`", "look");
    one("attempt < 3", "atempt < 3", "unknown name `atempt`", "atempt");
    one("min(baseline.max_steps, 2000)", "mni(baseline.max_steps, 2000)", "there is no function `mni`", "mni");
    one("{case.experiments}", "{case.experiment}", "`case` has nothing called `experiment`", "case.experiment");
    one(
        "case.shown.drop_batch_norm.",
        "case.shown.drop.",
        "there is no state `drop`",
        "case.shown.drop.non_finite_step",
    );
    one(
        "case.changes.lower_learning_rate.learning_rate",
        "case.changes.lower_learning_rate.lr",
        "there is no knob `lr`",
        "case.changes.lower_learning_rate.lr",
    );
}

#[test]
fn an_outcome_that_a_state_has_not() {
    one(
        "{case.outcomes['lower_learning_rate']}",
        "{case.outcomes['lower_learning_rate'] == 'maybe'}",
        "state `lower_learning_rate` has no outcome `maybe`",
        "'maybe'",
    );
}

#[test]
fn wrong_types() {
    one("confidence: 0.5", "confidence: high", "`confidence` must be a number, but this is the text \"high\"", "high");
    one("confidence: 0.5", "confidence: 1.5", "`confidence` lies between 0 and 1", "1.5");
    one("experiments: 6", "experiments: 0", "`experiments` must be a whole number of at least 1, but this is 0", "0");
    one("hours: 10", "hours: -1", "`hours` must be above 0", "-1");
    one("batch_norm: false }", "batch_norm: 1 }", "`batch_norm` takes true or false, but this is 1", "1");
    let problem = one(
        "train_examples: 1\n",
        "train_examples: baseline.batch_size\n",
        "`train_examples` takes a whole number, but this is the text \"baseline.batch_size\"",
        "baseline.batch_size",
    );
    assert!(problem.help.is_some_and(|help| help.contains("begins with =")));
    one(
        "train_examples: 1\n",
        "train_examples: = baseline.learned\n",
        "`train_examples` takes a whole number, but this is true or false",
        "= baseline.learned",
    );
    one(
        "when: experiment.fits,",
        "when: experiment.progress,",
        "a guard must be true or false, but this is a number",
        "experiment.progress",
    );
    one("attempt < 3", "attempt < \"3\"", "`<` works on numbers, but this is a text", "\"3\"");
    one(
        "experiment.better &&",
        "experiment.progress &&",
        "this must be true or false, but it is a number",
        "experiment.progress",
    );
    one(
        "attempt < 3",
        "baseline.symptoms == 3",
        "these can never be equal: a list of texts and a number",
        "baseline.symptoms == 3",
    );
    one("lr_factor: 10", "lr_factor: ten", "a constant must be a number, but this is the text \"ten\"", "ten");
}

#[test]
fn a_knob_may_be_unknown_and_is_no_guard_by_itself() {
    let problem = one(
        "when: baseline.train_examples == 1,",
        "when: baseline.batch_norm,",
        "a guard must be true or false, but this is a knob (true or false, or unknown)",
        "baseline.batch_norm",
    );
    assert_eq!(problem.help.as_deref(), Some("a knob may be unknown, so compare it: `baseline.batch_norm == true`"));
}

#[test]
fn an_experiment_is_known_only_where_one_is_judged() {
    one(
        "when: baseline.train_examples == 1,",
        "when: experiment.fits,",
        "there is no `experiment` here",
        "experiment.fits",
    );
}

#[test]
fn texts_with_wrong_expressions() {
    one("{baseline.steps} steps", "{baseline.step} steps", "a job has no fact and no knob `step`", "baseline.step");
    one("{baseline.steps} steps", "{baseline.steps steps", "this brace is not closed", "{");
    one("{baseline.steps} steps", "baseline.steps} steps", "this brace was not opened", "}");
    one("{baseline.steps} steps", "{} steps", "an expression is missing", "}");
    one(
        "why: one value cannot be normalised",
        "why: >-\n      one value cannot\n      be {baseline.nothing} normalised",
        "a job has no fact and no knob `nothing`",
        "baseline.nothing",
    );
}

#[test]
fn outcomes_that_do_not_end() {
    one(
        "      - { name: fails, otherwise: true, go: lower_learning_rate }\n",
        "",
        "the outcomes of state `overfit_one_point` have no `otherwise`",
        "outcomes",
    );
    one(
        "{ name: crashed, when: experiment.crashed, go: drop_batch_norm }",
        "{ name: crashed, otherwise: true, go: drop_batch_norm }",
        "this outcome is never reached: it comes after `otherwise`",
        "{",
    );
    one(
        "when: experiment.better && attempt < 3, repeat: true",
        "go: look_at_data",
        "outcome `helps` needs `when` or `otherwise`",
        "{",
    );
    one("name: right,", "name: wrong,", "there are two answers `wrong`", "{");
    one("name: explodes,", "name: fits,", "state `drop_batch_norm` has two outcomes `fits`", "fits");
    one("name: explodes,", "name: skipped,", "`skipped` is an outcome that nextrun gives by itself", "skipped");
}

#[test]
fn states_that_do_nothing_or_two_things() {
    one(
        "  conclude_data:\n    conclude:",
        "  conclude_data:\n    run: { change: { seed: 1 } }\n    conclude:",
        "state `conclude_data` does two things: run and conclude",
        "conclude",
    );
    one(
        "    conclude: { verdict: data_pipeline, confidence: 0.5, summary: it fits one point and not the whole }",
        "    why: nothing",
        "state `conclude_data` does nothing",
        "conclude_data",
    );
    one(
        "  conclude_data:\n",
        "  conclude_data:\n    expect: something\n",
        "`expect` has no use in state `conclude_data`, which runs nothing",
        "expect",
    );
}

#[test]
fn the_graph_of_states() {
    one(
        "go: conclude_overfitting",
        "go: conclude_data",
        "state `conclude_overfitting` cannot be reached",
        "conclude_overfitting",
    );
    one(
        "silence: conclude_inconclusive",
        "silence: look_at_data",
        "this loop has no limit: look_at_data -> look_at_data",
        "look_at_data",
    );
    one(
        "unavailable: lower_learning_rate\n    outcomes:\n      - { name: fits",
        "unavailable: triage\n    outcomes:\n      - { name: fits",
        "this loop has no limit: triage -> overfit_one_point -> triage",
        "triage",
    );
    one(
        "exhausted: conclude_inconclusive\n",
        "",
        "a policy that runs experiments needs `exhausted`",
        "overfit_one_point",
    );
    one(
        "exhausted: conclude_inconclusive",
        "exhausted: drop_batch_norm",
        "`exhausted` leads to `drop_batch_norm`, which runs an experiment",
        "drop_batch_norm",
    );
    one(
        "{ from: lower_learning_rate }",
        "{ from: triage }",
        "state `triage` runs nothing, so nothing can begin from it",
        "triage",
    );
    one(
        "from: overfit_one_point",
        "from: lower_learning_rate",
        "state `lower_learning_rate` cannot have run before `drop_batch_norm`",
        "lower_learning_rate",
    );
    one("pow(lr_factor, attempt)", "lr_factor", "the repetitions of state `lower_learning_rate` are all alike", "true");
    one(
        "    run:\n      from: overfit_one_point\n",
        "    run:\n      without: [seed]\n",
        "`without` leaves out changes of `from`, but there is no `from`",
        "without",
    );
}

#[test]
fn a_loop_through_a_run_with_repeats_is_bounded() {
    let text = SAMPLE.replacen(
        "      change: { batch_norm: false }\n",
        "      change: { batch_norm: false }\n      repeats: 1\n",
        1,
    );
    let text = text.replacen("go: conclude_batch_norm }", "go: overfit_one_point }", 1);
    assert_eq!(show(&problems(&text)), "");
}

#[test]
fn a_state_without_a_way_to_a_conclusion() {
    let text = "policy: p\nstart: a\nstates:\n  a: { outcomes: [{ name: on, otherwise: true, go: b }] }\n  b: { outcomes: [{ name: on, otherwise: true, go: a }] }";
    let messages: Vec<String> = problems(text).into_iter().map(|p| p.message).collect();
    assert_eq!(
        messages,
        [
            "state `a` never leads to a conclusion",
            "this loop has no limit: a -> b -> a",
            "state `b` never leads to a conclusion"
        ]
    );
}

#[test]
fn all_problems_are_reported_in_the_order_of_the_text() {
    let text = SAMPLE.replace("experiment.fits", "experiment.fit").replace("verdict: overfitting", "verdict: overfit");
    let found = problems(&text);
    assert_eq!(found.len(), 3, "{}", show(&found));
    assert!(found.is_sorted_by_key(|problem| problem.line));
}

#[test]
fn knobs_that_a_policy_brings_along_may_be_named() {
    let with = |knobs: &str| SAMPLE.replacen("limits:", &format!("own_knobs: {knobs}\nlimits:"), 1);
    let used = with("{ warmup_steps: steps of warm-up }").replacen("train_examples: 1\n", "warmup_steps: 1\n", 1);
    assert_eq!(show(&problems(&used)), "");
    let message = |knobs: &str| problems(&with(knobs))[0].message.clone();
    assert_eq!(message("{ learning_rate: its rate }"), "`learning_rate` is a knob already");
    assert_eq!(message("{ Warm-Up: steps }"), "`Warm-Up` cannot be the name of a knob");
}

#[test]
fn yaml_that_cannot_be_read() {
    one(
        "start: triage\n",
        "start: triage\nstart: triage\n",
        "the YAML cannot be read: duplicate mapping key: start",
        "start",
    );
    for text in ["", "- a\n", "policy: [", "policy: *x", "policy: &x {a: *x}", "\u{0}", "policy: !!int x"] {
        assert!(!problems(text).is_empty(), "{text:?}");
    }
    assert_eq!(problems(&" ".repeat((1 << 20) + 1)).len(), 1);
}
