//! The page of symptoms matches the rules, and its pictures show curves that the rules detect.

use std::fs;
use std::path::Path;

use nextrun::evidence::{Evidence, JobView, Life, Observed, QUANTITIES};
use nextrun::numbers;
use nextrun::picture::{Chart, Line, Window};
use nextrun::series::{Outline, Point, Sketch};
use nextrun::signals::Learning;
use nextrun::symptoms::{ALL, Rule, Severity, Symptom, Test, shown};

use super::ROOT;

/// A curve: its name, and its value for each share of the run (0 to 1). Negative infinity is a point that was not logged.
type Curve = (&'static str, fn(f64) -> f64);

/// The number of points of each curve.
const POINTS: usize = 400;

/// The curves in the picture of each symptom.
#[rustfmt::skip]
const PICTURES: &[(&str, &[Curve])] = &[
    ("clipped", &[("training loss", |x| 2.3 + 0.05 * jitter(x)), ("gradient norm", |_| 1.0)]),
    ("dead_units", &[("training loss", |x| 2.3 - 0.25 * x.min(0.1) + 0.04 * jitter(x)), ("layer gradient", |x| if x < 0.1 { 1.5 + 0.3 * jitter(x) } else { 0.0 })]),
    ("diverging", &[("training loss", |x| if x < 0.6 { 2.3 * (-4.0 * x).exp() + 0.03 * jitter(x) } else { 0.2 * (12.0 * (x - 0.6)).exp() + 0.05 * jitter(x) })]),
    ("exploding_gradients", &[("training loss", |x| 2.3 + 0.1 * jitter(x)), ("gradient norm", |x| (11.0 * x).exp() * (1.0 + 0.3 * jitter(x)))]),
    ("loss_floor", &[("training loss", |x| 1.4612 + 0.84 * (-14.0 * x).exp()), ("training accuracy", |x| 0.999 - 0.9 * (-14.0 * x).exp())]),
    ("loss_spikes", &[("training loss", |x| 0.3 + 2.0 * (-5.0 * x).exp() + 0.02 * jitter(x) + if [0.3, 0.5, 0.62, 0.8].iter().any(|at| (x - at).abs() < 0.004) { 6.0 } else { 0.0 })]),
    ("non_finite", &[("training loss", |x| if x < 0.55 { 2.3 * (-3.0 * x).exp() + 0.03 * jitter(x) } else { f64::NAN })]),
    ("not_learning", &[("training loss", |x| 2.303 + 0.03 * jitter(x))]),
    ("oscillating", &[("training loss", |x| 2.2 + 0.9 * (60.0 * x).sin() + 0.1 * jitter(x))]),
    ("overfitting", &[("training loss", |x| 2.3 * (-5.0 * x).exp() + 0.02), ("validation loss", |x| if x < 0.3 { 2.3 - 5.0 * x } else { 0.8 + 1.4 * (x - 0.3) })]),
    ("plateaued", &[("training loss", |x| 1.6 + 0.9 * (-20.0 * x).exp() + 0.02 * jitter(x)), ("training accuracy", |x| 0.38 - 0.28 * (-20.0 * x).exp() + 0.01 * jitter(x))]),
    ("sawtooth", &[("training loss", |x| 1.2 - 0.3 * x + 0.45 * (2.0 * std::f64::consts::PI * 12.0 * x).sin() + 0.05 * jitter(x))]),
    ("silent", &[("training loss", |x| if x < 0.4 { 2.3 * (-3.0 * x).exp() + 0.03 * jitter(x) } else { f64::NEG_INFINITY })]),
    ("slow_learning", &[("training loss", |x| 2.3 - 0.09 * x + 0.01 * jitter(x))]),
    ("stalled_after_lr_drop", &[("training loss", |x| 1.4 + 0.9 * (-6.0 * x.min(0.3)).exp() + 0.02 * jitter(x)), ("learning rate", |x| 0.001 * (-16.0 * x).exp())]),
    ("vanishing_gradients", &[("training loss", |x| 2.3 + 0.01 * jitter(x)), ("gradient norm", |x| 1e-6 * (1.0 + 0.2 * jitter(x)))]),
    ("weights_frozen", &[("training loss", |x| if x < 0.2 { 2.3 + 0.01 * jitter(x) } else { 2.3017 })]),
];

/// Noise between -1 and 1 that is the same in every drawing.
fn jitter(share: f64) -> f64 {
    let mut bits = (share * 1e6) as u64 ^ 0x9E37_79B9_7F4A_7C15;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn curves(symptom: &Symptom) -> &'static [Curve] {
    let (_, curves) = PICTURES.iter().find(|(id, _)| *id == symptom.id).expect("a picture of each symptom");
    curves
}

/// A series of values, without those that were not logged.
fn sketch(curve: &Curve, every: usize) -> Sketch {
    let mut sketch = Sketch::default();
    for step in (0..POINTS).step_by(every) {
        let value = curve.1(step as f64 / POINTS as f64);
        if value != f64::NEG_INFINITY {
            sketch.push(Point { step: step as i64, wall_time: step as f64, value });
        }
    }
    sketch
}

/// The curves of a symptom, drawn as nextrun draws curves.
fn drawn(symptom: &Symptom) -> String {
    let curves = curves(symptom);
    let line = |(style, curve): (usize, &Curve)| Line {
        name: curve.0.to_owned(),
        outline: Outline::of(&sketch(curve, 1)),
        style,
    };
    let lines = curves.iter().enumerate().map(line).collect();
    let logged = |step: &usize| curves.iter().any(|(_, at)| at(*step as f64 / POINTS as f64) != f64::NEG_INFINITY);
    let last = (0..POINTS).rfind(logged).unwrap_or_default() + 1;
    let silence = Window { from: last as f64, to: POINTS as f64, name: "nothing is logged".to_owned() };
    let windows = if last < POINTS { vec![silence] } else { Vec::new() };
    Chart { title: symptom.id.replace('_', " "), lines, windows }.svg()
}

/// The job in a picture.
fn job(symptom: &Symptom) -> JobView {
    let observed = |name: &str, every: usize| {
        let curve = curves(symptom).iter().find(|(known, _)| *known == name)?;
        Some(Observed::new(name, &sketch(curve, every)))
    };
    let silent = symptom.id == "silent";
    let mut job = JobView {
        learning: Learning::Supervised,
        training_loss: observed("training loss", 1),
        loss_is_derived: false,
        validation_loss: observed("validation loss", 10),
        accuracy: observed("training accuracy", 1),
        validation_accuracy: None,
        learning_rate: observed("learning rate", 1),
        gradient_norm: observed("gradient norm", 1),
        reward: None,
        scores: Vec::new(),
        epoch: None,
        parts: Vec::new(),
        gradients: Vec::new(),
        weights: Vec::new(),
        knobs: nextrun::facts::Knobs::new(),
        life: Life {
            ended: !silent,
            finished: !silent,
            silent_for: if silent { 6000.0 } else { 0.0 },
            patience: 600.0,
            done: silent.then_some(0.4),
            updates: None,
            cut_off: false,
        },
    };
    if symptom.id == "loss_floor" {
        job.knobs.insert("loss".into(), "cross_entropy".into());
    }
    job
}

fn of_rule(rule: &Rule) -> String {
    let severity = match rule.severity {
        Severity::Problem => "problem",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let unless = match rule.unless {
        [] => String::new(),
        tests => format!("; unless {}", joined(tests, " or ")),
    };
    format!("- **{}** ({severity}): {}{unless}\n", rule.name, joined(rule.when, ", "))
}

fn joined(tests: &[Test], with: &str) -> String {
    tests.iter().map(of_test).collect::<Vec<_>>().join(with)
}

fn of_test(test: &Test) -> String {
    match *test {
        Test::Above(quantity, f64::NEG_INFINITY) => format!("`{}` is known", quantity.id()),
        Test::Above(quantity, number) => format!("`{}` above {}", quantity.id(), shown(number)),
        Test::AtLeast(quantity, number) => format!("`{}` at least {}", quantity.id(), shown(number)),
        Test::Below(quantity, number) => format!("`{}` below {}", quantity.id(), shown(number)),
        Test::Sure(quantity, number) => format!("error of `{}` at most {}", quantity.id(), shown(number)),
        Test::Support(quantity, number) => format!("`{}` from at least {} points", quantity.id(), shown(number)),
        Test::All(tests) => format!("({})", joined(tests, " and ")),
        Test::Any(tests) => format!("({})", joined(tests, " or ")),
    }
}

/// Each generated part of the page, with its name.
fn generated() -> Vec<(String, String)> {
    let line = |symptom: &&Symptom| format!("- [`{0}`](#{0}): {1}\n", symptom.id, symptom.summary);
    let mut parts = vec![("symptoms".to_owned(), ALL.iter().map(line).collect())];
    let rules = |symptom: &&Symptom| {
        (format!("rules of {}", symptom.id), symptom.rules.iter().map(of_rule).collect::<String>())
    };
    parts.extend(ALL.iter().map(rules));
    let rows = QUANTITIES.iter().map(|q| format!("| `{}` | {} | {} |\n", q.id(), q.unit(), q.meaning()));
    let head = "| quantity | unit | meaning |\n|---|---|---|\n".to_owned();
    parts.push(("quantities".to_owned(), head + &rows.collect::<String>()));
    let row = |n: &numbers::Number| {
        format!("| `{}` | {} | {} | {} | {} |\n", n.name, shown(n.value), n.unit, n.source, n.set_on)
    };
    let head = "| number | value | unit | source | data set |\n|---|---|---|---|---|\n".to_owned();
    parts.push(("numbers".to_owned(), head + &numbers::ALL.iter().map(row).collect::<String>()));
    parts
}

#[test]
fn the_page_of_symptoms_says_what_the_rules_and_tables_say() {
    let path = Path::new(ROOT).join("docs/SYMPTOMS.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut expected = page.clone();
    for (name, text) in generated() {
        let begin = format!("<!-- generated: {name} -->\n");
        let from = expected.find(&begin).unwrap_or_else(|| panic!("docs/SYMPTOMS.md lacks {begin}")) + begin.len();
        let to = from + expected[from..].find("<!-- end -->").expect("an end of each part");
        expected.replace_range(from..to, &text);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
    } else {
        assert!(page == expected, "write it anew: UPDATE_DOCS=1 cargo test --test docs");
    }
    for symptom in ALL {
        let head = format!("\n## {}\n\n*{}*\n", symptom.id, symptom.summary);
        assert!(page.contains(&head), "docs/SYMPTOMS.md lacks{head}");
        let picture = format!("](symptoms/{}.svg)", symptom.id);
        assert!(page.contains(&picture), "docs/SYMPTOMS.md lacks {picture}");
    }
}

#[test]
fn the_pictures_of_symptoms_are_what_the_rules_find() {
    let folder = Path::new(ROOT).join("docs/symptoms");
    let ids: Vec<String> = ALL.iter().map(|symptom| format!("{}.svg", symptom.id)).collect();
    for (symptom, file) in ALL.iter().zip(&ids) {
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(folder.join(file), drawn(symptom)).unwrap();
        }
        let picture = fs::read_to_string(folder.join(file)).unwrap_or_default();
        assert!(picture == drawn(symptom), "{file}: write it anew: UPDATE_DOCS=1 cargo test --test docs");
        // Dead units appear in histograms, layer by layer.
        let found = symptom.find(&Evidence::of(&job(symptom))).is_some();
        assert!(found || symptom.id == "dead_units", "{}", symptom.id);
    }
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(files.into_iter().all(|file| ids.contains(&file)), "a picture of no symptom");
}
