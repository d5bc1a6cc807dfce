//! Properties of the policy engine that must be true for any file and any story.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use nextrun::facts::{FactType, Facts, Knobs, Quantity as Q};
use nextrun::policy::{
    Advance, CaseFacts, Environment, Happened, LIMIT, NOT_CONFIRMED, Next, PROMISING, Policy, SKIPPED, TestKind,
    Vocabulary, enter, judge, pages, parse,
};
use nextrun::rehearsal::rehearse;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

const SAMPLE: &str = include_str!("policy/sample.yaml");
/// The policy of [`SAMPLE`], read once.
static POLICY: LazyLock<Policy> = LazyLock::new(|| parse(SAMPLE, "sample.yaml", &vocabulary()).expect("the sample"));

/// A policy with one guard, for expressions.
const SMALL: &str = "
policy: small
tests:
  one: { change: { seed: 1 }, outcomes: { a: GUARD, b: otherwise } }
conclusions:
  end: { verdict: inconclusive, summary: end }
states:
  all: { try: [one], empty: end }
";

const STORIES: &str = include_str!("policy/sample.test.yaml");

fn vocabulary() -> Vocabulary {
    Vocabulary::new(["not_learning", "overfitting", "diverging"])
}

/// One edit of a text: a stretch of it is replaced. Positions are shares of its length.
#[derive(Debug, Clone)]
struct Edit {
    at: f64,
    len: usize,
    with: String,
}

fn edit() -> impl Strategy<Value = Edit> {
    let piece = prop_oneof![
        Just(String::new()),
        "[ -~\n\t]{0,12}",
        "\\PC{0,6}",
        prop::sample::select(vec![
            "go: ",
            "when: ",
            "- ",
            ": ",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "'",
            "= ",
            "&a ",
            "*a",
            "<<: ",
            "!!map ",
            "|\n",
            ">-\n",
            "a: otherwise",
            "try: [",
            "from: overfit_one_point",
            "baseline.",
            "experiment",
            "((((",
            "&&",
            "null",
            "0x1f",
            ".nan",
            "1e999",
            "\u{0}",
            "\r\n",
            "---\n",
            "states:\n",
            "triage",
            "[0]",
            "?",
            "# ",
        ])
        .prop_map(str::to_owned),
    ];
    (0.0..1.0, 0usize..30, piece).prop_map(|(at, len, with)| Edit { at, len, with })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a length"
)]
fn edited(text: &str, edits: &[Edit]) -> String {
    edits.iter().fold(text.to_owned(), |text, edit| {
        let chars: Vec<char> = text.chars().collect();
        let at = (edit.at * chars.len() as f64) as usize;
        let end = (at + edit.len).min(chars.len());
        chars[..at].iter().copied().chain(edit.with.chars()).chain(chars[end..].iter().copied()).collect()
    })
}

/// A policy of random tests, ways and states. Many are refused; those that are not must hold.
fn random_policy() -> impl Strategy<Value = String> {
    let test = (0u8..5, 0usize..6, 0usize..GUARDS.len(), any::<bool>());
    (prop::collection::vec(test, 5), prop::collection::vec(0usize..3, 2), any::<bool>()).prop_map(
        |(tests, ways, information)| {
            let mut text = String::from(
                "policy: random\nlimits: { experiments: 5, reserve: 1, hours: 9 }\njudge: { cured: experiment.cured, helped: experiment.better }\ntests:\n",
            );
            for (i, (kind, to, guard, suspected)) in tests.iter().enumerate() {
                let guard = GUARDS[*guard];
                let suspect = if *suspected { ", suspect: baseline.learned" } else { "" };
                let then = if *to < 5 { format!(", then: {{ a: t{to} }}, believe: {{ b: {{ t{to}: 0 }} }}") } else { String::new() };
                text += &match kind {
                    0 | 1 => format!(
                        "  t{i}: {{ change: {{ seed: {i}, width: {i} }}, optional: [width], outcomes: {{ a: '{guard}', b: otherwise }}{then}{suspect} }}\n"
                    ),
                    2 => format!(
                        "  t{i}: {{ ladder: {{ batch_size: [/2, x2, \"= {i}\"], unknown: [{i}] }}, cause: batch_too_small, found: '{guard}'{suspect} }}\n"
                    ),
                    3 => format!("  t{i}: {{ ask: {{ checklist: [\"{{baseline.seed}}\"], answers: {{ a: end, b: }} }}{suspect} }}\n"),
                    _ => format!("  t{i}: {{ when: baseline.learned, cause: recovered }}\n"),
                };
            }
            let order = if information { "information" } else { "listed" };
            let fourth = ["fourth", "end"][ways[0].min(1)];
            let back = ["second", "third", "end"][ways[1]];
            text += &format!(
                "conclusions:\n  end: {{ verdict: inconclusive, summary: \"{{case.hours}}\" }}\nstates:\n  first: {{ first: [t4, t0], else: second }}\n  second: {{ try: [t0, t1, t2], order: {order}, found: third, empty: {fourth} }}\n  third: {{ seed: next, held: conclude, else: {back} }}\n"
            );
            if fourth == "fourth" {
                text += "  fourth: { try: [t3, t4], empty: end }\n";
            }
            text
        },
    )
}

const GUARDS: [&str; 5] = [
    "experiment.fits",
    "experiment.progress > 0.5",
    "!experiment.finite",
    "baseline.width == 3",
    "case.entered.t1 < 2",
];

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![Just(f64::NAN), Just(0.0), -1e3..1e3, any::<f64>()]
}

fn knob_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-5i64..3000).prop_map(Value::from),
        (0.0..1.0).prop_map(Value::from),
        "[a-z]{0,5}".prop_map(Value::from),
        Just(json!([1])),
    ]
}

fn knobs() -> impl Strategy<Value = Knobs> {
    let name = prop::sample::select(vec![
        "learning_rate",
        "batch_size",
        "batch_norm",
        "train_examples",
        "max_steps",
        "seed",
        "width",
    ]);
    prop::collection::btree_map(name.prop_map(str::to_owned), knob_value(), 0..6)
}

fn facts() -> impl Strategy<Value = Facts> {
    let symptoms = prop::sample::subsequence(vec!["not_learning".to_owned(), "overfitting".to_owned()], 0..=2);
    (prop::array::uniform8(any::<bool>()), prop::array::uniform4(number()), symptoms, knobs()).prop_map(
        |(b, n, symptoms, knobs)| Facts {
            started: b[0],
            crashed: b[1],
            finite: b[2],
            fits: b[3],
            learned: b[4],
            better: b[5],
            worse: b[6],
            cured: b[7],
            problems: symptoms.clone(),
            symptoms,
            knobs,
            ..Facts::default().with([Q::Steps, Q::Progress, Q::FinitePoints, Q::Accuracy].into_iter().zip(n))
        },
    )
}

/// What happens at one stop; the engine must stand what does not fit, too.
#[derive(Debug, Clone)]
enum Event {
    Ran(Box<Facts>, f64),
    NeverStarted,
    Refused(BTreeSet<String>),
    Answered(String),
    Unanswered,
}

fn event() -> impl Strategy<Value = Event> {
    let some = prop::collection::btree_set(
        prop::sample::select(vec!["batch_size", "max_steps", "train_examples", "seed", "width", "other"])
            .prop_map(str::to_owned),
        0..3,
    );
    prop_oneof![
        4 => (facts(), prop_oneof![4 => 0.0..1.0, 1 => number()]).prop_map(|(f, h)| Event::Ran(Box::new(f), h)),
        1 => Just(Event::NeverStarted),
        1 => some.prop_map(Event::Refused),
        1 => prop::sample::select(vec!["a", "wrong", "right", "nonsense"]).prop_map(|a| Event::Answered(a.to_owned())),
        1 => Just(Event::Unanswered),
    ]
}

fn stays_within(policy: &Policy, advance: &Advance) {
    for passed in &advance.passed {
        let test = policy.test(&passed.state).expect("a test of the policy");
        let known = test.outcomes().iter().any(|(name, _)| *name == passed.outcome);
        let given = [SKIPPED, LIMIT, NOT_CONFIRMED, PROMISING].contains(&passed.outcome.as_str());
        assert!(known || given, "{passed:?}");
    }
    assert!(advance.passed.len() <= policy.tests().len() + 1, "{} tests passed", advance.passed.len());
}

/// Walks a policy to its end and checks what must hold at every stop. Returns the verdict.
fn walk(policy: &Policy, baseline: &Facts, events: &[Event]) -> String {
    let mut case = CaseFacts::default();
    let mut advance = enter(policy, policy.start(), &environment(baseline, &case));
    let questions = policy.tests().iter().filter(|test| test.kind() == TestKind::Ask).count();
    let most = usize::try_from(policy.limits().experiments).expect("small") + questions;
    for event in events.iter().cycle().take(2 * most + 1) {
        stays_within(policy, &advance);
        case.record(&advance);
        assert!(case.experiments <= policy.limits().experiments);
        let at = match &advance.next {
            Next::Conclude(conclusion) => {
                let known = policy.test(&conclusion.state).and_then(|test| test.verdict());
                let known = known.or(policy.conclusion(&conclusion.state).map(|end| end.verdict()));
                assert_eq!(known, Some(conclusion.verdict.as_str()), "{conclusion:?}");
                return conclusion.verdict.clone();
            }
            Next::Run(proposal) => {
                assert!(!proposal.changes.is_empty());
                assert!(proposal.changes.keys().all(|knob| !case.missing_knobs.contains(knob)));
                assert!(proposal.beliefs.values().all(|p| (0.0..=1.0).contains(p)), "{:?}", proposal.beliefs);
                proposal.at.clone()
            }
            Next::Ask(question) => question.at.clone(),
        };
        let happened = match event {
            Event::Ran(facts, hours) => {
                case.record_hours(*hours);
                Happened::Ran(facts)
            }
            Event::NeverStarted => Happened::NeverStarted,
            Event::Refused(knobs) => Happened::Refused(knobs.clone()),
            Event::Answered(name) => Happened::Answered(name.clone()),
            Event::Unanswered => Happened::Unanswered,
        };
        advance = judge(policy, &at, &happened, &environment(baseline, &case));
        // Unknown numbers are NaN, which is not equal to itself.
        let again = judge(policy, &at, &happened, &environment(baseline, &case));
        assert_eq!(format!("{advance:?}"), format!("{again:?}"), "the step is a function");
    }
    panic!("the case did not end after {most} stops: {advance:?}");
}

fn environment<'a>(baseline: &'a Facts, case: &'a CaseFacts) -> Environment<'a> {
    Environment { baseline, experiment: None, case, attempt: 1 }
}

proptest! {
    #[test]
    fn parse_never_panics_and_points_into_the_text(edits in prop::collection::vec(edit(), 1..6)) {
        let text = edited(SAMPLE, &edits);
        match parse(&text, "p.yaml", &vocabulary()) {
            Ok(policy) => prop_assert!(pages(&policy).iter().all(|page| page.mermaid().starts_with("flowchart TD"))),
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    let line = text.split('\n').nth(problem.line - 1);
                    prop_assert!(line.is_some_and(|l| problem.column <= l.chars().count() + 1), "{problem}");
                    prop_assert!(problem.width >= 1 && !problem.message.is_empty());
                }
            }
        }
    }

    #[test]
    fn parse_never_panics_on_any_text(text in "\\PC{0,80}", yaml in "[a-z:\\- \n{}\\[\\]&*!|>'\"#?,=0-9]{0,120}") {
        prop_assert!(parse(&text, "p.yaml", &vocabulary()).is_err());
        prop_assert!(parse(&yaml, "p.yaml", &vocabulary()).is_err());
    }

    #[test]
    fn an_expression_never_panics(source in "[a-z0-9_.()!<>=&|+*/?:,\" \\[\\]{}'-]{0,60}", words in prop::collection::vec(
        prop::sample::select(vec!["baseline.learning_rate", "experiment.fits", "case.hours", "attempt", "(", ")", "==", "&&",
            "||", "!", "+", "-", "/", "?", ":", "in", "[", "]", "\"a\"", "1", "0.5", "null", "true", "known(", "min(", ",",
            "case.outcomes", ".x", "has_symptom(baseline,"]), 0..14)) {
        for source in [source, words.join(" ")] {
            let quoted = serde_json::to_string(&source).expect("a text");
            let text = SMALL.replacen("GUARD", &quoted, 1);
            if let Ok(policy) = parse(&text, "p.yaml", &vocabulary()) {
                walk(&policy, &Facts::default(), &[Event::Ran(Box::default(), 0.0)]);
            }
        }
    }

    #[test]
    fn a_case_always_ends_in_a_state_of_the_sample(baseline in facts(), events in prop::collection::vec(event(), 1..12)) {
        walk(&POLICY, &baseline, &events);
    }

    #[test]
    fn any_policy_that_passes_the_checks_ends(
        text in random_policy(), baseline in facts(), events in prop::collection::vec(event(), 1..12),
    ) {
        if let Ok(policy) = parse(&text, "random.yaml", &vocabulary().with_knobs(["width"])) {
            walk(&policy, &baseline, &events);
        }
    }

    #[test]
    fn a_rehearsal_never_panics(edits in prop::collection::vec(edit(), 1..5)) {
        let report = rehearse(&POLICY, &edited(STORIES, &edits), "sample.test.yaml");
        prop_assert!(!report.to_string().is_empty());
    }
}

/// Expressions would prove nothing in a policy that is refused.
#[test]
fn the_small_policy_reads_a_guard() {
    let policy = parse(&SMALL.replacen("GUARD", "\"experiment.fits\"", 1), "small.yaml", &vocabulary());
    assert!(policy.is_ok(), "{:?}", policy.err());
}

/// The generator of policies would prove nothing if the checks refused everything that it makes.
#[test]
fn some_random_policies_pass_the_checks() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let accepted = (0..400).filter(|_| {
        let tree = random_policy().new_tree(&mut runner).expect("a policy");
        parse(&tree.current(), "random.yaml", &vocabulary().with_knobs(["width"])).is_ok()
    });
    let accepted = accepted.count();
    assert!(accepted >= 10, "{accepted} of 400");
}

/// The journal keeps proposals and what was passed over: both must come back from JSON as they were.
#[test]
fn a_proposal_and_the_facts_of_a_case_survive_json() {
    let policy = &*POLICY;
    let baseline = Facts { knobs: BTreeMap::from([("learning_rate".into(), json!(0.1))]), ..Facts::default() };
    let mut case = CaseFacts::default();
    let advance = enter(policy, policy.start(), &environment(&baseline, &case));
    case.record(&advance);
    let back: CaseFacts = serde_json::from_str(&serde_json::to_string(&case).expect("json")).expect("facts");
    assert_eq!(back, case);
    let Next::Run(proposal) = advance.next else { panic!("no proposal") };
    let json = serde_json::to_string(&proposal).expect("json");
    assert_eq!(serde_json::from_str::<nextrun::policy::Proposal>(&json).expect("a proposal"), proposal);
}

/// The blocks of YAML in the documentation of the format, in order.
fn documented() -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in include_str!("../docs/POLICIES.md").lines() {
        match (line, &mut block) {
            ("```yaml", _) => block = Some(String::new()),
            ("```", _) => blocks.extend(block.take()),
            (line, Some(text)) => *text += &format!("{line}\n"),
            _ => {}
        }
    }
    blocks
}

#[test]
fn the_documented_policy_passes_its_documented_tests() {
    let blocks = documented();
    let [policy, tests] = blocks.as_slice() else { panic!("{} blocks of YAML", blocks.len()) };
    let policy = parse(policy, "short.yaml", &vocabulary()).unwrap_or_else(|problems| panic!("{}", problems[0]));
    let report = rehearse(&policy, tests, "short.test.yaml");
    assert!(report.passed(), "{report}");
    assert_eq!(report.tests.len(), 2);
}

#[test]
fn the_documentation_lists_every_fact() {
    let text = include_str!("../docs/POLICIES.md");
    for field in nextrun::facts::Field::all().filter(|field| !field.is_quantity()) {
        let kind = match field.kind {
            FactType::Bool => "true or false",
            FactType::Number => "number",
            FactType::Strings => "list of texts",
        };
        let row = format!("| `{}` | {kind} | {} |", field.name, field.summary);
        assert!(text.contains(&row), "docs/POLICIES.md lacks the row\n{row}");
    }
}
