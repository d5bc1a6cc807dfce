//! Properties of the policy engine that must hold for any file and any story.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use nextrun::facts::{FactType, Facts, Knobs};
use nextrun::policy::{
    Advance, CaseFacts, Environment, Happened, LIMIT, Next, Policy, StateKind, Vocabulary, enter, judge, mermaid, parse,
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
start: one
exhausted: end
states:
  one:
    run: { change: { seed: 1 } }
    outcomes: [{ name: a, when: GUARD, go: end }, { name: b, otherwise: true, go: end }]
  end: { conclude: { verdict: inconclusive, confidence: 0, summary: end } }
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
            "otherwise: true",
            "repeat: true",
            "from: triage",
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

/// A policy of random ways between a few states of every kind. Many are refused; those that are not must hold.
fn random_policy() -> impl Strategy<Value = String> {
    let target = 0usize..7;
    let state = (0u8..5, prop::collection::vec(target, 3), 0usize..GUARDS.len(), any::<bool>());
    prop::collection::vec(state, 5).prop_map(|states| {
        let mut text = String::from(
            "policy: random\nlimits: { experiments: 5, repeats: 2, hours: 9 }\nstart: s0\nexhausted: s6\nstates:\n",
        );
        for (i, (kind, to, guard, repeats)) in states.iter().enumerate() {
            let (a, b, c) = (to[0], to[1], to[2]);
            let guard = GUARDS[*guard];
            let repeats = if *repeats { "repeats: 2, " } else { "" };
            let again = if *kind == 1 { "repeat: true".to_owned() } else { format!("go: s{a}") };
            text += &match kind {
                0 | 1 => format!(
                    "  s{i}:\n    run: {{ {repeats}change: {{ seed: \"= attempt + {}\", width: {i} }}, optional: [width], unavailable: s{c} }}\n    outcomes:\n      - {{ name: a, when: '{guard} && attempt < 9', {again} }}\n      - {{ name: b, otherwise: true, go: s{b} }}\n",
                    i % 2
                ),
                2 => format!(
                    "  s{i}:\n    ask: {{ checklist: [\"{{baseline.seed}}\"], answers: [{{ name: a, go: s{a} }}], silence: s{b} }}\n"
                ),
                _ => format!(
                    "  s{i}:\n    outcomes:\n      - {{ name: a, when: 'case.outcomes[\"s{c}\"] == \"\"', go: s{a} }}\n      - {{ name: b, otherwise: true, go: s{b} }}\n"
                ),
            };
        }
        for i in 5..7 {
            text += &format!("  s{i}:\n    conclude: {{ verdict: inconclusive, confidence: 0.5, summary: \"{{case.hours}}\" }}\n");
        }
        text
    })
}

const GUARDS: [&str; 5] = [
    "experiment.fits",
    "experiment.progress > 0.5",
    "!experiment.finite",
    "baseline.width == 3",
    "case.entered.s1 < 2",
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
            steps: n[0],
            progress: n[1],
            finite_points: n[2],
            accuracy: n[3],
            problems: symptoms.clone(),
            symptoms,
            knobs,
            ..Facts::default()
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
        let state = policy.state(&passed.state).expect("a state of the policy");
        let known = state.ways().iter().any(|way| way.outcome == passed.outcome);
        let skipped = passed.outcome == "skipped" && state.kind() == StateKind::Run;
        assert!(known || skipped || passed.outcome == LIMIT, "{passed:?}");
        assert!(!passed.why.is_empty(), "{passed:?}");
    }
    assert!(advance.passed.len() <= 4 * policy.states().len() + 3, "{} states passed", advance.passed.len());
}

/// Walks a policy to its end and checks what must hold at every stop. Returns the verdict.
fn walk(policy: &Policy, baseline: &Facts, events: &[Event]) -> String {
    let mut case = CaseFacts::default();
    let mut advance = enter(policy, policy.start(), &environment(baseline, &case));
    let mut asked: Vec<Knobs> = Vec::new();
    let questions = policy.states().iter().filter(|state| state.kind() == StateKind::Ask).count();
    let repeats = usize::try_from(policy.limits().repeats).expect("small");
    let most = usize::try_from(policy.limits().experiments).expect("small") + questions * repeats;
    for event in events.iter().cycle().take(most + 1) {
        stays_within(policy, &advance);
        case.record(&advance);
        assert!(case.experiments <= policy.limits().experiments);
        let at = match &advance.next {
            Next::Conclude(conclusion) => {
                assert_eq!(
                    policy.state(&conclusion.state).and_then(|s| s.verdict()),
                    Some(conclusion.verdict.as_str())
                );
                return conclusion.verdict.clone();
            }
            Next::Run(proposal) => {
                assert!(!proposal.changes.is_empty());
                assert!(proposal.changes.keys().all(|knob| !case.missing_knobs.contains(knob)));
                // The facts of the case hold the newest changes of each state only: those are not asked for again.
                assert!(asked.last() != Some(&proposal.changes), "asked twice in a row: {:?}", proposal.changes);
                asked.push(proposal.changes.clone());
                proposal.at.clone()
            }
            Next::Ask(question) => question.at.clone(),
        };
        let happened = match event {
            Event::Ran(facts, hours) => {
                case.record_experiment(&at.state, facts, *hours);
                Happened::Ran(facts)
            }
            Event::NeverStarted => Happened::NeverStarted,
            Event::Refused(knobs) => Happened::Refused(knobs.clone()),
            Event::Answered(name) => Happened::Answered(name.clone()),
            Event::Unanswered => Happened::Unanswered,
        };
        advance = judge(policy, &at, &happened, &environment(baseline, &case));
        assert_eq!(advance, judge(policy, &at, &happened, &environment(baseline, &case)), "the step is a function");
        let ran = policy.state(&at.state).is_some_and(|state| state.kind() == StateKind::Run);
        if let (Happened::Refused(knobs), true) = (happened, ran) {
            case.missing_knobs.extend(knobs);
        }
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
            Ok(policy) => prop_assert!(mermaid(&policy).starts_with("stateDiagram-v2")),
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

/// A hub that tries one state after the other comes back to itself with other outcomes: that is no circle.
#[test]
fn a_hub_may_be_passed_as_often_as_it_has_spokes() {
    let text = r#"
policy: hub
start: hub
exhausted: out
states:
  hub:
    outcomes:
      - { name: first, when: 'case.outcomes["one"] == ""', go: one }
      - { name: second, when: 'case.outcomes["two"] == ""', go: two }
      - { name: done, otherwise: true, go: found }
  one:
    run: { change: { seed: 1 }, repeats: 1, unavailable: hub }
    outcomes: [{ name: any, otherwise: true, go: hub }]
  two:
    run: { change: { batch_size: 1 }, repeats: 1, unavailable: hub }
    outcomes: [{ name: any, otherwise: true, go: hub }]
  found: { conclude: { verdict: data_pipeline, confidence: 0.5, summary: found } }
  out: { conclude: { verdict: inconclusive, confidence: 0, summary: out } }
"#;
    let policy = parse(text, "hub.yaml", &vocabulary()).unwrap_or_else(|p| panic!("{}", p[0]));
    let case = CaseFacts { knobs: Some(BTreeSet::new()), ..CaseFacts::default() };
    let advance = enter(&policy, "hub", &environment(&Facts::default(), &case));
    let path: Vec<&str> = advance.passed.iter().map(|passed| passed.outcome.as_str()).collect();
    assert_eq!(path, ["first", "unavailable", "second", "unavailable", "done"]);
    assert!(matches!(advance.next, Next::Conclude(c) if c.state == "found"));
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
    for line in include_str!("../docs/POLICY.md").lines() {
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
    let text = include_str!("../docs/POLICY.md");
    for field in nextrun::facts::FIELDS {
        let kind = match field.kind {
            FactType::Bool => "true or false",
            FactType::Number => "number",
            FactType::Strings => "list of texts",
        };
        let row = format!("| `{}` | {kind} | {} |", field.name, field.summary);
        assert!(text.contains(&row), "docs/POLICY.md lacks the row\n{row}");
    }
}

/// A loop whose experiment cannot be run comes back with nothing new, and ends where the policy says.
#[test]
fn a_circle_ends_in_exhausted() {
    let text = r#"
policy: circle
start: hub
exhausted: out
states:
  hub: { outcomes: [{ name: done, when: baseline.learned, go: out }, { name: on, otherwise: true, go: one }] }
  one:
    run: { change: { seed: 1 }, repeats: 1, unavailable: hub }
    outcomes: [{ name: any, otherwise: true, go: hub }]
  out: { conclude: { verdict: inconclusive, confidence: 0, summary: out } }
"#;
    let policy = parse(text, "circle.yaml", &vocabulary()).unwrap_or_else(|p| panic!("{}", p[0]));
    let case = CaseFacts { knobs: Some(BTreeSet::new()), ..CaseFacts::default() };
    let advance = enter(&policy, "hub", &environment(&Facts::default(), &case));
    let last = advance.passed.last().expect("a state was passed");
    assert_eq!(
        (last.outcome.as_str(), last.why.as_str()),
        (LIMIT, "the policy came back here with nothing new to try")
    );
    assert!(matches!(advance.next, Next::Conclude(c) if c.state == "out"));
}
