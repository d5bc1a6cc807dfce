//! The page `docs/SYMPTOMS.md`, generated from the rules and from the tables of quantities and numbers.

use super::rule::{Rule, Test, shown};
use super::{ALL, Severity};
use crate::evidence::QUANTITIES;

/// The whole page. Pictures are files in `symptoms/`, named by the id of each symptom.
pub fn documentation() -> String {
    let mut page = String::from(
        "# Symptoms\n\nSymptoms of training runs, their usual causes, and what to do. The pictures show synthetic \
         curves that the rules detect.\n\nSymptoms describe what is wrong with a run. A probability that combines all \
         evidence decides whether the run counts as `failing`\n([EVALUATION.md](EVALUATION.md)). Experiments find the \
         cause ([POLICIES.md](POLICIES.md)).\n\n",
    );
    for symptom in ALL {
        page.push_str(&format!("- [`{0}`](#{0}): {1}\n", symptom.id, symptom.summary));
    }
    for symptom in ALL {
        let id = symptom.id;
        let names: Vec<&str> = symptom.picture.iter().map(|(name, _)| *name).collect();
        page.push_str(&format!("\n## {id}\n\n*{}*\n\n{}\n\n", symptom.summary, symptom.meaning.trim()));
        page.push_str(&format!("![{}: {}](symptoms/{id}.svg)\n\n", id.replace('_', " "), names.join(", ")));
        page.push_str(&format!(
            "**What to do.** {}\n\n<details>\n<summary>Rules and false alarms</summary>\n\n",
            symptom.remedy.trim()
        ));
        symptom.rules.iter().for_each(|rule| page.push_str(&of_rule(rule)));
        page.push_str(&format!("\n{}\n\n</details>\n", symptom.text.trim()));
    }
    page.push_str(
        "\n# How to read the rules\n\nThis page is generated from the rules (`src/symptoms/`), the table of \
         quantities (`src/evidence.rs`) and the table of numbers\n(`src/numbers.rs`); a test keeps them consistent. \
         The first matching rule of a symptom applies. An unknown quantity satisfies no\ncondition. A `problem` is \
         evidence for a failing run; a `warning` is only shown.\n",
    );
    page.push_str("\n# Quantities\n\n| quantity | unit | meaning |\n|---|---|---|\n");
    for quantity in QUANTITIES {
        page.push_str(&format!("| `{}` | {} | {} |\n", quantity.id(), quantity.unit(), quantity.meaning()));
    }
    page.push_str(
        "\n# Numbers\n\nThe constants used in the rules.\n\n| number | value | unit | source | data set \
        |\n|---|---|---|---|---|\n",
    );
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
