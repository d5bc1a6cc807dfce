//! Tests of expressions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Datum, Evaluator, Expression, Names, When, show_number};
use crate::facts::{Facts, Quantity};
use crate::policy::{CaseFacts, ConstantValue, Environment, Vocabulary};

struct Scene {
    vocabulary: Vocabulary,
    constants: BTreeMap<String, ConstantValue>,
    conditions: BTreeMap<String, (When, Expression)>,
    tests: BTreeMap<String, BTreeSet<String>>,
    baseline: Facts,
    case: CaseFacts,
}

impl Scene {
    fn new() -> Self {
        let mut baseline = Facts { learned: true, symptoms: vec!["diverging".into()], ..Facts::default() }
            .with([(Quantity::Progress, 0.25)]);
        baseline.knobs = serde_json::from_value(json!({
            "learning_rate": 0.0003, "optimizer": "adam", "batch_norm": true, "train_examples": null, "batch_size": 33
        }))
        .expect("knobs");
        let mut case = CaseFacts { experiments: 2, hours: 1.5, ..CaseFacts::default() };
        case.outcomes.insert("first".into(), "fits".into());
        case.entered.insert("first".into(), 2);
        case.shown.insert("first".into(), Facts { fits: true, ..Facts::default() });
        case.changes.insert("first".into(), [("seed".to_owned(), json!(7))].into());
        case.promising.extend([("first".to_owned(), 0.4), ("second".to_owned(), 0.0)]);
        let outcomes = BTreeSet::from(["fits".to_owned(), "fails".to_owned()]);
        Scene {
            vocabulary: Vocabulary::new(["diverging", "overfitting"]),
            constants: [
                ("factor".to_owned(), ConstantValue::Number(10.0)),
                ("adaptive".to_owned(), ConstantValue::Texts(vec!["adam".to_owned()])),
            ]
            .into(),
            conditions: BTreeMap::new(),
            tests: [("first".to_owned(), outcomes.clone()), ("second".to_owned(), outcomes)].into(),
            baseline,
            case,
        }
    }

    fn names(&self) -> Names<'_> {
        let Scene { vocabulary, constants, conditions, tests, .. } = self;
        Names { vocabulary, constants, conditions, tests, when: When::Judging }
    }

    fn environment(&self) -> Environment<'_> {
        Environment { baseline: &self.baseline, experiment: None, case: &self.case, attempt: 2 }
    }

    fn value(&self, source: &str) -> Datum {
        let expression = Expression::compile(source, &self.names()).unwrap_or_else(|f| panic!("{source}: {f:?}"));
        Evaluator::new(self.environment()).value(&expression)
    }

    fn message(&self, source: &str) -> String {
        match Expression::compile(source, &self.names()) {
            Ok(expression) => panic!("{source} is {expression:?}"),
            Err(faults) => faults[0].message.clone(),
        }
    }

    /// Whether a guard holds, and what it stumbled over.
    fn guard(&self, source: &str) -> (bool, String) {
        let guard = Expression::guard(source, &self.names()).unwrap_or_else(|f| panic!("{source}: {f:?}"));
        let mut evaluator = Evaluator::new(self.environment());
        (evaluator.holds(&guard), evaluator.remarks())
    }
}

#[test]
fn quantities_of_the_evidence_are_names_like_facts() {
    let mut scene = Scene::new();
    scene.baseline = scene.baseline.with([(Quantity::Rise, 0.5), (Quantity::RiskyStart, 1.0)]);
    assert!(scene.guard("baseline.rise > 0.4 && baseline.progress == 0.25 && baseline.risky_start").0);
    let (holds, remarks) = scene.guard("!(baseline.noise > 0.1)");
    assert!(!holds && remarks.contains("`baseline.noise`"), "what is not measured is unknown: {remarks}");
    assert!(scene.message("baseline.risky_start > 1").contains("needs numbers"));
    assert!(scene.message("baseline.progres > 1").contains("no fact"));
}

#[test]
fn operators_and_functions_have_their_values() {
    let scene = Scene::new();
    for (source, value) in [
        ("1 + 2 * 3 - 4 / 8", 6.5),
        ("-(2)", -2.0),
        ("min(3, 1, 2)", 1.0),
        ("max(baseline.progress, 1)", 1.0),
        ("log10(1000)", 3.0),
        ("pow(factor, attempt)", 100.0),
        ("abs(-0.5)", 0.5),
        ("int(baseline.batch_size / 2)", 16.0),
        ("int(0.3 / 0.1)", 3.0),
        ("size(baseline.symptoms)", 1.0),
        ("baseline.learned ? 1 : 2", 1.0),
        ("case.experiments + case.hours", 3.5),
        ("case.entered[\"first\"] + case.entered.second", 2.0),
        ("case.changes.first.seed", 7.0),
        ("case.promising", 1.0),
    ] {
        assert_eq!(scene.value(source), Datum::Number(value), "{source}");
    }
}

#[test]
fn guards_hold_as_they_read() {
    let scene = Scene::new();
    for (source, holds) in [
        ("baseline.learned && !baseline.crashed", true),
        ("baseline.progress > 1 || baseline.progress <= 0.25", true),
        ("has_symptom(baseline, \"diverging\")", true),
        ("\"overfitting\" in baseline.symptoms", false),
        ("baseline.optimizer in [\"sgd\", \"adam\"]", true),
        ("baseline.batch_size in [32, 33]", true),
        ("baseline.batch_norm == true", true),
        ("baseline.train_examples == null", true),
        ("baseline.train_examples != 1", true),
        ("case.outcomes[\"first\"] == \"fits\"", true),
        ("case.outcomes.second == \"\"", true),
        ("case.shown.first.fits", true),
        ("known(baseline.learning_rate) && !known(baseline.seed)", true),
        ("baseline.optimizer in adaptive", true),
        ("holds(baseline.learned) && !holds(baseline.crashed)", true),
        ("is_nan(baseline.accuracy) && !is_nan(baseline.progress)", true),
    ] {
        assert_eq!(scene.guard(source), (holds, String::new()), "{source}");
    }
}

#[test]
fn a_comparison_with_something_unknown_is_unknown_and_remembered() {
    let scene = Scene::new();
    for source in
        ["seed > 1", "seed == 1", "seed != 1", "seed + 1 < 5", "seed in [1]", "-seed < 0", "min(seed, 1) == 1"]
    {
        let source = source.replace("seed", "baseline.seed");
        assert_eq!(scene.guard(&source), (false, "unknown: `baseline.seed`".to_owned()), "{source}");
    }
    for source in ["experiment.fits", "case.shown.second.finite"] {
        assert_eq!(scene.guard(source), (false, format!("unknown: `{source}`")));
    }
    assert_eq!(scene.guard("baseline.accuracy < 2").1, "unknown: `baseline.accuracy`");
    for (source, holds) in [
        // Its negation is as unknown as it is; one side that is known may settle the whole.
        ("!(baseline.seed > 1)", false),
        ("baseline.seed > 1 || baseline.learned", true),
        ("baseline.seed > 1 && baseline.learned", false),
        ("!(baseline.seed > 1 && baseline.crashed)", true),
        ("!(baseline.seed > 1 || baseline.crashed)", false),
        ("holds(baseline.seed > 1)", false),
        ("!holds(baseline.seed > 1)", true),
        ("known(baseline.seed > 1)", false),
    ] {
        assert_eq!(scene.guard(source).0, holds, "{source}");
    }
}

#[test]
fn a_value_of_the_wrong_type_makes_a_guard_false() {
    let mut scene = Scene::new();
    scene.baseline.knobs.insert("learning_rate".into(), json!("auto"));
    let remark = "`baseline.learning_rate` is auto, not a number";
    assert_eq!(scene.guard("baseline.learning_rate < 1"), (false, remark.to_owned()));
    assert_eq!(scene.guard("!(baseline.learning_rate < 1)"), (false, remark.to_owned()));
    assert_eq!(scene.guard("baseline.learned || baseline.learning_rate < 1"), (true, String::new()));
    scene.baseline.knobs.insert("learning_rate".into(), json!({"a": 1}));
    assert!(!scene.guard("baseline.learning_rate == 1").0);
}

#[test]
fn wrong_expressions_say_what_is_wrong() {
    let scene = Scene::new();
    for (source, message) in [
        ("", "an expression is missing"),
        ("baseline", "`baseline` is a job: add one of its facts or knobs"),
        ("case.shown", "`case.shown` is not a value"),
        ("baseline.fits.more", "unknown name `baseline`"),
        ("baseline.symptoms[0]", "only names have parts"),
        ("baseline.symptoms.size()", "only functions can be called, as in `known(baseline.learning_rate)`"),
        ("min(1)", "`min` takes 2 to 8 values, not 1"),
        ("pow(1)", "`pow` takes 2 values, not 1"),
        ("size(1)", "`size` counts a list, but this is a number"),
        ("5 % 2", "`%` is not supported"),
        ("{\"a\": 1}", "this part of CEL is not supported"),
        ("[1, \"a\"] == 2", "a list may hold only texts or only numbers"),
        ("1 in baseline.symptoms", "this is a number, which a list of texts cannot contain"),
        ("1 in 2", "`in` needs a list, but this is a number"),
        ("baseline.learned ? 1 : \"a\"", "the two sides of `:` differ: a number and a text"),
        ("baseline.learned == null", "these can never be equal: true or false and null"),
        ("has_symptom(case, \"diverging\")", "this is not a job; use `baseline`, `experiment` or `case.shown.TEST`"),
        ("has_symptom(baseline, 1)", "the symptom must be a text in quotes"),
        ("has_symptom(baseline)", "write has_symptom(baseline, \"SYMPTOM\")"),
        ("case.outcomes[\"first\"] == \"maybe\"", "test `first` has no outcome `maybe`"),
        ("\"maybe\" != case.outcomes.first", "test `first` has no outcome `maybe`"),
    ] {
        assert_eq!(scene.message(source), message, "{source}");
    }
}

#[test]
fn an_expression_that_is_too_deep_is_refused() {
    let scene = Scene::new();
    for source in ["(".repeat(500) + "1", "!".repeat(300) + "true", "1+".repeat(250) + "1", "1".repeat(700)] {
        assert!(scene.message(&source).starts_with("this expression is too long"), "{source}");
    }
    // What is allowed must not exhaust a thread's stack.
    assert_eq!(scene.value(&("(".repeat(40) + "1" + &")".repeat(40))), Datum::Number(1.0));
    assert_eq!(scene.value(&("!".repeat(40) + "true")), Datum::Bool(true));
    assert_eq!(scene.value(&("-".repeat(40) + "1")), Datum::Number(1.0));
    assert_eq!(scene.value(&("true?1:".repeat(40) + "1")), Datum::Number(1.0));
    assert_eq!(scene.value(&("1+".repeat(110) + "1")), Datum::Number(111.0));
}

#[test]
fn numbers_read_well_and_knobs_get_clean_ones() {
    for (number, shown) in [
        (0.001, "0.001"),
        (0.1 + 0.2, "0.3"),
        (4000.0, "4000"),
        (1e-7, "1e-7"),
        (1.0 / 3.0, "0.333333"),
        (2.5e12, "2500000000000"),
    ] {
        assert_eq!(show_number(number), shown);
    }
    assert_eq!(Datum::Number(0.0003 / 10.0).to_json(), Some(json!(0.00003)));
    assert_eq!(Datum::Number(2000.0).to_json(), Some(json!(2000)));
    assert_eq!(Datum::Number(f64::INFINITY).to_json(), None);
    assert_eq!(Datum::Unknown.to_json(), None);
    assert_eq!(Datum::Null.to_json(), Some(json!(null)));
}

#[test]
fn a_named_condition_is_read_where_its_names_are_known() {
    let mut scene = Scene::new();
    let condition = |source: &str, scene: &Scene| Expression::guard(source, &scene.names()).expect("a condition");
    let (slow, helped) = (condition("baseline.learning_rate < 0.1", &scene), condition("experiment.better", &scene));
    scene.conditions.insert("slow".to_owned(), (When::Entering, slow));
    scene.conditions.insert("helped".to_owned(), (When::Judging, helped));
    assert!(scene.guard("slow && baseline.learned").0);
    let entering = Names { when: When::Entering, ..scene.names() };
    let faults = Expression::guard("helped", &entering).expect_err("there is no experiment");
    assert_eq!(faults[0].message, "`helped` is a judgement");
}
