//! Settings that a script reads through the Python package `nextrun`, which reads `NEXTRUN_OVERRIDES`.
//!
//! Owns: the functions of the package, and the effect of its callbacks. Must not know: command-line options.

use serde_json::Value;

use super::{Opt, kind_of_value};
use crate::command::python::{Source, Token};
use crate::launched::{Kind, Way};

/// The knobs that each callback of the package changes, by its module.
const CALLBACKS: &[(&str, &[&str])] = &[
    ("keras", &["learning_rate", "max_steps"]),
    ("lightning", &["learning_rate", "max_steps", "train_examples", "gradient_clip"]),
    ("transformers", &["learning_rate", "max_steps", "batch_size", "gradient_clip", "seed"]),
];

/// The settings that a script reads with `nextrun.setting("learning_rate", 0.1)`, by name from `nextrun.overrides()`, and
/// those that the callbacks which it uses change.
pub(super) fn package(source: &Source) -> Vec<Opt> {
    if !source.names("nextrun") {
        return Vec::new();
    }
    let mut options: Vec<Opt> = Vec::new();
    let mut add = |name: &str, default: Option<Value>| {
        if options.iter().all(|option| option.dest != name) {
            options.push(Opt {
                names: vec![name.to_owned()],
                dest: name.to_owned(),
                way: Way::Overrides,
                kind: default.as_ref().map_or(Kind::Any, |value| kind_of_value(Some(value))),
                default,
                ..Opt::default()
            });
        }
    };
    for (_, call) in source.calls(|name| name == "setting") {
        let name = call.first().and_then(|argument| source.literal(argument.value));
        let default = call.get(1).and_then(|argument| source.literal(argument.value));
        if let Some(Value::String(name)) = name {
            add(&name, default);
        }
    }
    if source.names("overrides") {
        let read = source.tokens.windows(2).filter_map(|pair| match pair {
            [Token::Mark('(' | '['), Token::Text(Some(name))] => Some(name),
            _ => None,
        });
        let knobs = read.filter(|name| crate::jobs::canonical_name(name) == Some(name.as_str()));
        knobs.for_each(|name| add(name, None));
    }
    let used = |module: &str| {
        source
            .tokens
            .windows(3)
            .any(|tokens| tokens[0].is_name("nextrun") && tokens[1].is('.') && tokens[2].is_name(module))
    };
    for (_, knobs) in CALLBACKS.iter().filter(|(module, _)| used(module)) {
        knobs.iter().for_each(|knob| add(knob, None));
    }
    options
}

/// Whether the script asks the package where to log.
pub(in crate::command) fn asks_where_to_log(source: &Source) -> bool {
    source.names("nextrun") && source.calls(|name| name == "log_dir").next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        package(&Source::read(text)).iter().map(|option| format!("{}={:?}", option.dest, option.default)).collect()
    }

    #[test]
    fn settings_that_the_script_asks_for_are_found() {
        let text = "import nextrun\nlr = nextrun.setting('learning_rate', 0.5)\nn = nextrun.overrides().get('train_examples')\nx = d['other']\n";
        assert_eq!(shown(text), ["learning_rate=Some(Number(0.5))", "train_examples=None"]);
        assert_eq!(shown("lr = setting('learning_rate', 0.5)\n"), Vec::<String>::new());
    }

    #[test]
    fn a_callback_changes_what_it_can() {
        assert_eq!(
            shown("from nextrun.keras import NextrunCallback\nmodel.fit(x, callbacks=[NextrunCallback()])\n"),
            ["learning_rate=None", "max_steps=None"]
        );
    }
}
