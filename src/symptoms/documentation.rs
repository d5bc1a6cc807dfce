//! The page `docs/SYMPTOMS.md`, rendered from the rules and from the tables of quantities and numbers.

use super::rule::{Rule, Test, shown};
use super::{ALL, Severity};
use crate::evidence::QUANTITIES;

/// The whole page.
pub fn documentation() -> String {
    let mut page = String::from(
        "# Symptoms\n\nWhat one job can show. This page is rendered from the rules themselves (`src/symptoms/`), from the table of\nquantities (`src/evidence.rs`) and from the table of numbers (`src/numbers.rs`); a test keeps it equal to them.\n\nThe first rule of a symptom that holds counts. A quantity that is not known meets no condition. Whether a job is\n`failing` is decided by belief, not by these rules: they say what is wrong with it.\n",
    );
    for symptom in ALL {
        page.push_str(&format!("\n## {}\n\n*{}*\n\n", symptom.id, symptom.summary));
        symptom.rules.iter().for_each(|rule| page.push_str(&of_rule(rule)));
        page.push_str(&format!("\n{}\n", symptom.text.trim()));
    }
    page.push_str("\n# Quantities\n\n| quantity | unit | what it is |\n|---|---|---|\n");
    for quantity in QUANTITIES {
        page.push_str(&format!("| `{}` | {} | {} |\n", quantity.id(), quantity.unit(), quantity.meaning()));
    }
    page.push_str("\n# Numbers\n\nEvery number that decides.\n\n| number | value | unit | source | set on |\n|---|---|---|---|---|\n");
    for n in crate::numbers::ALL {
        page.push_str(&format!("| `{}` | {} | {} | {} | {} |\n", n.name, shown(n.value), n.unit, n.source, n.set_on));
    }
    page
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
