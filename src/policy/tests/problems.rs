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
        "cured: experiment.cured",
        "cured: experiment.curd",
        "jobs have no fact and no knob `curd`",
        "experiment.curd",
    );
    insta::assert_snapshot!(problem.to_string());
}

#[test]
fn unknown_keys() {
    let problem = one("limits:", "limit:", "a policy has no key `limit`", "limit");
    assert_eq!(problem.help.as_deref(), Some("did you mean `limits`?"));
    one("reserve: 1", "reserved: 1", "`limits` has no key `reserved`", "reserved");
    one("    step: \"1", "    stop: \"1", "test `overfit_one_point` has no key `stop`", "stop");
    one("    order: listed", "    ordered: listed", "state `sequence` has no key `ordered`", "ordered");
    one("verdict: infrastructure, summary:", "verdict: infrastructure, sum:", "a conclusion has no key `sum`", "sum");
}

#[test]
fn names_that_do_not_exist() {
    one("train_examples: 1, batch", "train_example: 1, batch", "there is no knob `train_example`", "train_example");
    one("[batch_size, max_steps]", "[batch_size, max_step]", "there is no knob `max_step`", "max_step");
    one("verdict: data_pipeline", "verdict: data", "there is no verdict `data`", "data");
    one("cause: input_scaling", "cause: inputs", "there is no verdict `inputs`", "inputs");
    one("crashed: drop_batch_norm", "crashed: drop", "there is no test `drop`", "drop");
    one("{ fits: { lower", "{ fist: { lower", "test `overfit_one_point` has no outcome `fist`", "fist");
    one("look_at_data: 2", "look: 2", "there is no test `look`", "look");
    one("{ wrong: data,", "{ wrong: date,", "there is no conclusion `date`", "date");
    one("else: one_point }", "else: one_pint }", "there is no state or conclusion `one_pint`", "one_pint");
    one("order: listed", "order: random", "there is no order `random`", "random");
    one("kinds: [supervised]", "kinds: [unsupervised]", "there is no kind of training `unsupervised`", "unsupervised");
    one(
        "is_adaptive: baseline.optimizer",
        "is_adaptive: baseline.optimiser",
        "jobs have no fact and no knob `optimiser`",
        "baseline.optimiser",
    );
    one("min(baseline.max_steps, 2000)", "mni(baseline.max_steps, 2000)", "there is no function `mni`", "mni");
    one("{case.experiments}", "{case.experiment}", "`case` has no part `experiment`", "case.experiment");
    one("then: { crashed: drop", "when: nonsens\n    then: { crashed: drop", "unknown name `nonsens`", "nonsens");
    one(
        "{case.outcomes.lower_learning_rate}",
        "{case.outcomes.lower_learning_rate == 'maybe'}",
        "test `lower_learning_rate` has no outcome `maybe`",
        "'maybe'",
    );
}

#[test]
fn wrong_types() {
    one("experiments: 6", "experiments: 0", "`experiments` must be a whole number of at least 1, but this is 0", "0");
    one("hours: 10", "hours: -1", "`hours` must be above 0", "-1");
    one("batch_norm: false }", "batch_norm: 1 }", "`batch_norm` takes true or false, but this is 1", "1");
    one(
        "normalize_inputs: true",
        "normalize_inputs: x10",
        "`normalize_inputs` is not a number, so it cannot be multiplied",
        "x10",
    );
    let problem = one(
        "train_examples: 1, batch",
        "train_examples: few, batch",
        "`train_examples` takes a whole number, but this is the text \"few\"",
        "few",
    );
    assert!(problem.help.is_some_and(|help| help.contains("/10 or x10")));
    one("prior: 0.3", "prior: 1.5", "`prior` must be between 0 and 1", "1.5");
    one("lr_factor: 10", "lr_factor: ten", "a constant must be a number, but this is the text \"ten\"", "ten");
    one(
        "helped: experiment.better",
        "helped: experiment.progress",
        "a guard must be true or false, but this is a number",
        "experiment.progress",
    );
    one("look_at_data: 2", "look_at_data: -2", "a factor on the odds must be 0 or greater", "-2");
}

#[test]
fn a_knob_may_be_unknown_and_is_no_condition_by_itself() {
    let problem = one(
        "when: baseline.train_examples == 1",
        "when: baseline.batch_norm",
        "a guard must be true or false, but this is a knob (true or false, or unknown)",
        "baseline.batch_norm",
    );
    assert_eq!(problem.help.as_deref(), Some("a knob can be unknown, so compare it: `baseline.batch_norm == true`"));
}

#[test]
fn an_experiment_is_known_only_where_one_is_judged() {
    let message = "`experiment` is not available here";
    one("when: baseline.train_examples == 1", "when: experiment.fits", message, "experiment.fits");
    one("when: baseline.train_examples == 1", "when: cured", "`cured` is a judgement", "cured");
}

#[test]
fn texts_with_wrong_expressions() {
    one("{baseline.steps} steps", "{baseline.step} steps", "jobs have no fact and no knob `step`", "baseline.step");
    one("{baseline.steps} steps", "{baseline.steps steps", "this brace is not closed", "{");
    one("{baseline.steps} steps", "baseline.steps} steps", "this brace has no opening brace", "}");
    one("{baseline.steps} steps", "{} steps", "an expression is missing", "}");
    one(
        "why: one value cannot be normalised",
        "why: >-\n      one value cannot\n      be {baseline.nothing} normalised",
        "jobs have no fact and no knob `nothing`",
        "baseline.nothing",
    );
}

#[test]
fn outcomes_that_do_not_end() {
    one(
        "crashed: experiment.crashed, fails: otherwise }",
        "crashed: experiment.crashed, fails: experiment.worse }",
        "the outcomes of test `overfit_one_point` have no `otherwise`",
        "{",
    );
    one(
        "{ fits: experiment.fits, crashed: experiment.crashed, fails: otherwise }\n    then: { crashed: drop_batch_norm }\n    believe: { fits: { lower_learning_rate: 0.5, look_at_data: 2 }, fails: { normalize_inputs: 0 } }",
        "{ fails: otherwise, crashed: experiment.crashed }\n    then: { crashed: drop_batch_norm }",
        "this outcome is unreachable because it comes after `otherwise`",
        "crashed",
    );
    one(
        "fits: experiment.fits, crashed",
        "skipped: experiment.fits, fits: experiment.fits, crashed",
        "`skipped` is a built-in outcome",
        "skipped",
    );
}

#[test]
fn tests_that_make_no_sense() {
    one(
        "    when: nonsense\n",
        "",
        "test `nonsense_logged` has no experiments, so it needs `when`: what the baseline must show",
        "nonsense_logged",
    );
    one(
        "    cause: { verdict: infrastructure, summary: the job ended before it logged a loss }\n",
        "",
        "test `nonsense_logged` does nothing",
        "nonsense_logged",
    );
    one(
        "    change: { normalize_inputs: true }\n    cause: input_scaling\n",
        "    change: { normalize_inputs: true }\n",
        "test `normalize_inputs` has neither `cause` nor `outcomes`, so it would have no effect",
        "normalize_inputs",
    );
    one(
        "    when: nonsense\n",
        "    when: nonsense\n    expect: x\n",
        "`expect` has no effect in test `nonsense_logged`, which has no experiments",
        "expect",
    );
    one("unknown: [0.001] }", "unknown: [1], batch_size: [/2] }", "a ladder has one knob", "batch_size");
    one(
        "    from: overfit_one_point",
        "    from: look_at_data",
        "test `drop_batch_norm` builds on `look_at_data`, which has no experiments",
        "drop_batch_norm",
    );
    one(
        "  cured: experiment.cured\n",
        "",
        "there is no condition for finding the cause of test `lower_learning_rate`",
        "lower_learning_rate",
    );
    one(
        "  helped: experiment.better\n",
        "",
        "there is no condition for continuing the ladder of test `lower_learning_rate`",
        "lower_learning_rate",
    );
    one(
        "order: listed",
        "order: listed\n    seed: next",
        "`seed` cannot be combined with `try` in state `sequence`",
        "seed",
    );
}

#[test]
fn the_states_as_a_graph() {
    one("else: one_point }", "else: sequence }", "state `one_point` is unreachable", "one_point");
    one(
        "[{ when: case.hours > 1e6, go: data }, inconclusive]",
        "one_point",
        "state `one_point` loops when no tests are left",
        "one_point",
    );
    one(
        "go: data }, inconclusive]",
        "go: data }]",
        "`empty` must end with a name: the next state if no condition is true",
        "[",
    );
    one(
        "go: data }, inconclusive]",
        "go: data }, conclude]",
        "state `sequence` leads to `conclude` although no cause has been found",
        "sequence",
    );
    one("tips: [normalize_inputs]", "tips: []", "test `normalize_inputs` never runs", "normalize_inputs");
    one(
        "lower_learning_rate, tips, look",
        "lower_learning_rate, lower_learning_rate, tips, look",
        "`lower_learning_rate` is listed twice: a test runs at most once",
        "lower_learning_rate",
    );
}

#[test]
fn a_policy_in_the_first_form_says_what_becomes_of_each_state() {
    let old = "policy: p\nstart: a\nexhausted: c\nstates:\n  a: { run: { change: { seed: 1 } }, outcomes: [{ name: x, otherwise: true, go: c }] }\n  b: { outcomes: [{ name: x, otherwise: true, go: a }] }\n  c: { conclude: { verdict: inconclusive, confidence: 0, summary: end } }\n  d: { ask: { checklist: [], answers: [], silence: c } }\n";
    insta::assert_snapshot!(show(&problems(old)));
}

#[test]
fn all_problems_are_reported_in_the_order_of_the_text() {
    let text = SAMPLE.replace("experiment.fits", "experiment.fit").replace("experiment.better", "experiment.bitter");
    let found = problems(&text);
    assert_eq!(found.len(), 2, "{}", show(&found));
    assert!(found.is_sorted_by_key(|problem| problem.line));
}

#[test]
fn knobs_that_a_policy_brings_along_may_be_named() {
    let with = |knobs: &str| SAMPLE.replacen("limits:", &format!("own_knobs: {knobs}\nlimits:"), 1);
    let used = with("{ warmup_steps: steps of warm-up }").replacen("train_examples: 1, b", "warmup_steps: 1, b", 1);
    assert_eq!(show(&problems(&used)), "");
    let message = |knobs: &str| problems(&with(knobs))[0].message.clone();
    assert_eq!(message("{ learning_rate: its rate }"), "`learning_rate` is already a knob");
    assert_eq!(message("{ Warm-Up: steps }"), "`Warm-Up` is not a valid name of a knob");
}

#[test]
fn yaml_that_cannot_be_read() {
    one(
        "kinds: [supervised]\n",
        "kinds: [supervised]\nkinds: [unknown]\n",
        "invalid YAML: duplicate mapping key: kinds",
        "kinds",
    );
    for text in ["", "- a\n", "policy: [", "policy: *x", "policy: &x {a: *x}", "\u{0}", "policy: !!int x"] {
        assert!(!problems(text).is_empty(), "{text:?}");
    }
    assert_eq!(problems(&" ".repeat((1 << 20) + 1)).len(), 1);
}
