//! Parses a script's own output about its options: `--help`, Hydra's `--cfg job`, jsonargparse's `--print_config`.
//!
//! Owns: the formats of these texts. Must not know: how a script is made to print, and which options are knobs.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::files;
use super::options::Opt;
use crate::launched::{Kind, Way};

/// The output of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Printed {
    /// The help of argparse, click or typer.
    Help(String),
    /// The composed configuration of Hydra, as YAML.
    HydraConfig(String),
    /// The configuration of jsonargparse and LightningCLI, as YAML.
    Config(String),
}

impl Printed {
    pub(super) fn options(&self) -> Vec<Opt> {
        match self {
            Printed::Help(text) => help(text),
            Printed::HydraConfig(text) => entries(text, Way::KeyValue),
            Printed::Config(text) => entries(text, Way::Argument),
        }
    }
}

/// The entries of a printed configuration; preceding text (warnings, a banner) is skipped.
fn entries(text: &str, way: Way) -> Vec<Opt> {
    let starts = text.lines().scan(0, |at, line| {
        let start = *at;
        *at += line.len() + 1;
        Some((start, line))
    });
    let first = starts.filter(|(_, line)| ENTRY.is_match(line)).map(|(at, _)| at);
    // A warning may look like an entry, so parsing starts at the first line from which the remainder is a single map.
    let read = first.take(32).map(|at| files::entries("config.yaml", text.get(at..).unwrap_or_default()));
    let found = read.into_iter().find(|entries| !entries.is_empty()).unwrap_or_default();
    let option = |(key, value): (String, Value)| {
        let mut option = Opt {
            names: vec![if way == Way::Argument { format!("--{key}") } else { key.clone() }],
            kind: match &value {
                Value::Bool(_) => Kind::Bool,
                Value::Number(number) if number.is_f64() => Kind::Float,
                Value::String(_) => Kind::Text,
                _ => Kind::Any,
            },
            dest: key,
            way,
            ..Opt::default()
        };
        option.default = (!value.is_array() && !value.is_object()).then_some(value);
        option
    };
    found.into_iter().map(option).collect()
}

static ENTRY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[A-Za-z_][\w.-]*:(?: |$)").expect("a pattern, and a test uses it"));

/// A line of help with an option: its spellings and value placeholder, then two spaces or the end of the line.
static OPTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^ {1,8}(-[-\w.]+(?:[ =]\S+)?(?:(?:, | ?/ ?)-[-\w.]+(?:[ =][^,\s]+)*)*(?: [^\s-]\S*)*)(?:  +(.*))?$")
        .expect("a pattern, and a test uses it")
});

static DEFAULT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[\[(](?:[^\])]*; ?)?[Dd]efault(?:s to|:|=)? *([^\])]*)[\])]").expect("a pattern, and a test uses it")
});

/// The options in a help text, with their descriptions.
fn help(text: &str) -> Vec<Opt> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines().map(|line| line.trim_end().replace(['│', '╭', '╰', '─', '╮', '╯'], " ")) {
        let line = line.trim_end();
        if let Some(option) = OPTION.captures(line) {
            found.push((option[1].to_owned(), option.get(2).map_or("", |help| help.as_str()).to_owned()));
        } else if line.starts_with("      ")
            && let Some((_, help)) = found.last_mut()
        {
            // A long help text continues on the next line, with more indentation.
            help.push(' ');
            help.push_str(line.trim());
        } else if !line.is_empty() {
            // A heading ends the description of the last option.
            found.push((String::new(), String::new()));
        }
    }
    found.iter().filter_map(|(head, help)| of_help(head, help)).collect()
}

fn of_help(head: &str, help: &str) -> Option<Opt> {
    let words: Vec<&str> = head.split([' ', ',', '=']).filter(|word| !word.is_empty() && *word != "/").collect();
    let mut names: Vec<String> = Vec::new();
    let mut off = None;
    for word in words.iter().filter(|word| word.starts_with('-')) {
        for (at, name) in word.split('/').enumerate() {
            let negated = name.strip_prefix("--no-").or_else(|| name.strip_prefix("--no_"));
            if at > 0 || negated.is_some_and(|rest| names.iter().any(|known| known.trim_start_matches('-') == rest)) {
                off = Some(name.to_owned());
            } else if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names.sort_by_key(|name| !name.starts_with("--"));
    let dest = names.first()?.trim_start_matches('-').replace('-', "_");
    if ["help", "h", "version", "install_completion", "show_completion"].contains(&dest.as_str()) {
        return None;
    }
    let value = words.iter().find(|word| !word.starts_with('-'));
    let choices: Vec<String> = value
        .and_then(|word| word.strip_prefix(['{', '['])?.strip_suffix(['}', ']']))
        .map(|list| list.split([',', '|']).map(|choice| choice.trim().to_owned()).collect())
        .unwrap_or_default();
    // Choices may hold spaces or commas, which the words above were split at.
    let braces = head.find('{').zip(head.find('}')).and_then(|(from, to)| head.get(from + 1..to));
    let choices = braces.map_or(choices, |list| list.split(',').map(|choice| choice.trim().to_owned()).collect());
    let default = DEFAULT.captures(help).map(|found| found[1].trim().trim_matches(['\'', '"']).to_owned());
    let default = default.map(|text| match text.parse::<f64>() {
        _ if text == "None" || text.is_empty() => Value::Null,
        Ok(number) if number.fract() == 0.0 && !text.contains(['.', 'e']) => Value::from(number as i64),
        Ok(number) => Value::from(number),
        Err(_) if text == "True" || text == "False" => Value::Bool(text == "True"),
        Err(_) => Value::from(text),
    });
    let kind = match value.map(|word| word.to_ascii_uppercase()) {
        _ if !choices.is_empty() => Kind::Text,
        Some(word) if word.starts_with("FLOAT") => Kind::Float,
        Some(word) if word.starts_with("INT") => Kind::Int,
        Some(word) if word.starts_with("TEXT") => Kind::Text,
        _ => match &default {
            Some(Value::Number(number)) if number.is_f64() => Kind::Float,
            Some(Value::Bool(_)) => Kind::Bool,
            _ => Kind::Any,
        },
    };
    let switch = value.is_none();
    Some(Opt {
        names,
        dest,
        way: if switch { Way::Switch } else { Way::Argument },
        kind: if switch { Kind::Bool } else { kind },
        default: if switch { default.or(Some(Value::Bool(false))) } else { default },
        off,
        choices,
        help: help.trim().to_owned(),
        ..Opt::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(options: &[Opt]) -> Vec<String> {
        let one = |o: &Opt| {
            let default = o.default.as_ref().map_or("?".to_owned(), Value::to_string);
            format!(
                "{} {:?} {default} {} {}",
                o.names.join("|"),
                o.kind,
                o.choices.join(","),
                o.off.as_deref().unwrap_or("-")
            )
        };
        options.iter().map(one).collect()
    }

    #[test]
    fn the_help_of_argparse_is_read() {
        let text = "usage: train.py [-h] [--lr LR]\n\nTrains.\n\noptions:\n  -h, --help            show this help message and exit\n  --lr LR               learning rate (default: 0.001)\n  -b BATCH, --batch BATCH\n                        how many examples make a step\n                        (default: 32)\n  --opt {adam,sgd}\n  --bn, --no-bn         batch norm (default: True)\n  --fast\n";
        assert_eq!(
            shown(&help(text)),
            [
                "--lr Float 0.001  -",
                "--batch|-b Any 32  -",
                "--opt Text ? adam,sgd -",
                "--bn Bool true  --no-bn",
                "--fast Bool false  -"
            ]
        );
        assert!(help(text)[1].help.starts_with("how many examples make a step"));
    }

    #[test]
    fn the_help_of_click_is_read() {
        let text = "Usage: t.py [OPTIONS]\n\nOptions:\n  --lr FLOAT            Step size.  [default: 0.1]\n  --bn / --no-bn        [default: bn]\n  --opt [adam|sgd]      Which one.\n  --help                Show this message and exit.\n";
        let options = help(text);
        assert_eq!(options.len(), 3, "{options:?}");
        assert_eq!((options[0].kind, options[0].default.clone()), (Kind::Float, Some(0.1.into())));
        assert_eq!(options[1].off.as_deref(), Some("--no-bn"));
        assert_eq!(options[2].choices, ["adam", "sgd"]);
    }

    #[test]
    fn a_printed_configuration_is_read_behind_what_else_is_printed() {
        let yaml = "lr: 0.1\noptim:\n  name: adam\n";
        assert_eq!(
            shown(&Printed::HydraConfig(format!("a warning, not YAML: x: y\n{yaml}")).options()),
            ["lr Float 0.1  -", "optim.name Text \"adam\"  -"]
        );
        assert_eq!(shown(&Printed::Config(yaml.to_owned()).options())[0], "--lr Float 0.1  -");
        assert!(Printed::Config("Traceback (most recent call last):\n  nothing".to_owned()).options().is_empty());
    }
}
