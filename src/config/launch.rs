//! How knobs reach a training script: as arguments, environment variables or Hydra overrides.
//!
//! Owns: the rendering of a suggestion for one site. Must not know: policies, and why a knob changes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::facts::Knobs;

use super::glob::Glob;
use super::words::{self, Template};

/// The placeholders of a command.
pub(super) const COMMAND_HOLES: [&str; 4] = ["arguments", "run_name", "baseline", "suggestion_id"];

/// How the jobs of one script are started.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The jobs that it is about; all where this is empty.
    pub(super) jobs: Vec<Glob>,
    pub(super) command: Option<Template>,
    /// How each knob reaches the script; `None`: every knob as `--its-name=value`.
    pub(super) knobs: Option<BTreeMap<String, Vec<Carrier>>>,
    /// Names under which the script logs knobs, each with the knob's canonical name.
    pub own_names: BTreeMap<String, String>,
    /// Knobs of the site's own, each with its meaning.
    pub own_knobs: BTreeMap<String, String>,
}

/// One way in which a knob reaches the script.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Carrier {
    pub(super) way: Way,
    pub(super) pattern: Pattern,
}

/// By what a knob is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Words of the command line.
    Argument,
    /// An environment variable.
    Env,
    /// One word of the command line in Hydra's grammar.
    Hydra,
}

/// What is written for a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pattern {
    /// The same for every value.
    Always(Vec<Template>),
    /// By the value's text.
    ByValue { cases: BTreeMap<String, Vec<Template>>, otherwise: Option<Vec<Template>> },
}

impl Way {
    /// The key in the file.
    pub(super) fn key(self) -> &'static str {
        match self {
            Way::Argument => "argument",
            Way::Env => "env",
            Way::Hydra => "hydra",
        }
    }
}

/// The run that is suggested, as the placeholders of a command name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement<'a> {
    /// The suggestion's id.
    pub suggestion_id: &'a str,
    /// The folder for the new run, relative to the log directory.
    pub run_name: &'a str,
    /// The baseline job.
    pub baseline: &'a str,
}

/// A suggestion as the site's script wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Words for the command line, not quoted.
    pub arguments: Vec<String>,
    /// Environment variables, `NEXTRUN_SUGGESTION_ID` and `NEXTRUN_RUN_NAME` among them.
    pub env: BTreeMap<String, String>,
    /// The whole command line for a POSIX shell, where the site gave one.
    pub command: Option<String>,
    /// Knobs that the script has not, or not with this value.
    pub unknown: Vec<String>,
}

impl Launch {
    /// Whether it is about a job.
    pub fn is_for(&self, job: &str) -> bool {
        self.jobs.is_empty() || self.jobs.iter().any(|glob| glob.matches(job))
    }

    /// The knobs that the script has, where the site lists them.
    pub fn knobs(&self) -> Option<BTreeSet<String>> {
        self.knobs.as_ref().map(|knobs| knobs.keys().cloned().collect())
    }

    /// Renders the changes of a suggestion. Names and values are data: they stay one word whatever is in them, and a
    /// value that could be taken for an option, or that has control characters, is not passed on.
    pub fn render(&self, knobs: &Knobs, placement: &Placement<'_>) -> Rendered {
        let mut rendered = Rendered::default();
        for (knob, value) in knobs {
            if self.carry(knob, value, &mut rendered).is_none() {
                rendered.unknown.push(knob.clone());
            }
        }
        let of_knobs: Vec<String> =
            rendered.env.iter().map(|(name, value)| format!("{name}={} ", words::shell(value))).collect();
        let arguments: Vec<String> = rendered.arguments.iter().map(|word| words::shell(word)).collect();
        rendered.command = self.command.as_ref().map(|command| {
            let filled = command.fill(|hole| match hole {
                "arguments" => arguments.join(" "),
                "run_name" => words::shell(placement.run_name),
                "baseline" => words::shell(placement.baseline),
                _ => words::shell(placement.suggestion_id),
            });
            of_knobs.concat() + filled.trim_end()
        });
        rendered.env.insert("NEXTRUN_SUGGESTION_ID".to_owned(), placement.suggestion_id.to_owned());
        rendered.env.insert("NEXTRUN_RUN_NAME".to_owned(), placement.run_name.to_owned());
        rendered
    }

    /// Adds one knob; `None` where the script cannot be given it. Nothing is added then.
    fn carry(&self, knob: &str, value: &Value, rendered: &mut Rendered) -> Option<()> {
        let text = text_of(value)?;
        let Some(knobs) = &self.knobs else {
            rendered.arguments.push(format!("--{}={text}", knob.replace('_', "-")));
            return Some(());
        };
        let carriers = knobs.get(knob)?;
        let chosen: Vec<(Way, &[Template])> =
            carriers.iter().map(|carrier| Some((carrier.way, carrier.pattern.of(&text)?))).collect::<Option<_>>()?;
        let like_an_option = value.is_string() && text.starts_with('-');
        if like_an_option
            && chosen.iter().any(|(way, words)| *way == Way::Argument && words.iter().any(Template::is_bare))
        {
            return None;
        }
        for (way, templates) in chosen {
            let filled = templates.iter().map(|template| match way {
                Way::Hydra => template.fill(|_| words::hydra(&text)),
                Way::Argument | Way::Env => template.fill(|_| text.clone()),
            });
            match way {
                Way::Argument | Way::Hydra => rendered.arguments.extend(filled),
                Way::Env => {
                    let pairs = filled.filter_map(|pair| {
                        pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
                    });
                    rendered.env.extend(pairs);
                }
            }
        }
        Some(())
    }
}

impl Pattern {
    fn of(&self, text: &str) -> Option<&[Template]> {
        match self {
            Pattern::Always(words) => Some(words),
            Pattern::ByValue { cases, otherwise } => cases.get(text).or(otherwise.as_ref()).map(Vec::as_slice),
        }
    }
}

/// The value as a script reads it; `None` for what cannot be one word.
fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLACEMENT: Placement<'_> = Placement { suggestion_id: "s1", run_name: "nextrun/a b/1", baseline: "a b" };

    fn knobs(value: Value) -> Knobs {
        value.as_object().expect("an object").clone().into_iter().collect()
    }

    fn words(text: &str) -> Vec<Template> {
        words::split(text).unwrap().iter().map(|word| Template::parse(word, &["value"]).unwrap()).collect()
    }

    fn always(way: Way, text: &str) -> Vec<Carrier> {
        let templates =
            if way == Way::Argument { words(text) } else { vec![Template::parse(text, &["value"]).unwrap()] };
        vec![Carrier { way, pattern: Pattern::Always(templates) }]
    }

    #[test]
    fn without_a_launch_section_every_knob_is_an_argument_of_its_name() {
        let rendered = Launch::default().render(
            &knobs(json!({"learning_rate": 1e-5, "batch_norm": false, "train_examples": null, "optimizer": "adam"})),
            &PLACEMENT,
        );
        assert_eq!(
            rendered.arguments,
            ["--batch-norm=false", "--learning-rate=0.00001", "--optimizer=adam", "--train-examples=null"]
        );
        assert_eq!((rendered.command, rendered.unknown), (None, vec![]));
        assert_eq!(rendered.env["NEXTRUN_SUGGESTION_ID"], "s1");
    }

    #[test]
    fn a_script_gets_what_it_understands() {
        let flags = Pattern::ByValue {
            cases: BTreeMap::from([("true".to_owned(), words("--bn")), ("false".to_owned(), words("--no-bn"))]),
            otherwise: None,
        };
        let launch = Launch {
            command: Some(
                Template::parse("python train.py {arguments} --out /runs/{run_name}", &COMMAND_HOLES).unwrap(),
            ),
            knobs: Some(BTreeMap::from([
                ("learning_rate".to_owned(), always(Way::Argument, "--lr {value}")),
                ("batch_norm".to_owned(), vec![Carrier { way: Way::Argument, pattern: flags }]),
                ("seed".to_owned(), always(Way::Env, "SEED={value}")),
                ("loss".to_owned(), always(Way::Hydra, "model.loss={value}")),
            ])),
            ..Launch::default()
        };
        let changes =
            json!({"learning_rate": 0.001, "batch_norm": false, "seed": 3, "loss": "l1, or so", "optimizer": "sgd"});
        let rendered = launch.render(&knobs(changes), &PLACEMENT);
        assert_eq!(rendered.arguments, ["--no-bn", "--lr", "0.001", "model.loss='l1, or so'"]);
        assert_eq!(rendered.unknown, ["optimizer"]);
        assert_eq!(
            rendered.command.as_deref(),
            Some(
                r"SEED=3 python train.py --no-bn --lr 0.001 'model.loss='\''l1, or so'\''' --out /runs/'nextrun/a b/1'"
            )
        );
        assert_eq!(rendered.env["SEED"], "3");
        assert_eq!(launch.render(&knobs(json!({"batch_norm": "maybe"})), &PLACEMENT).unknown, ["batch_norm"]);
    }

    #[test]
    fn a_value_is_data() {
        let launch = Launch {
            command: Some(Template::parse("train {arguments}", &COMMAND_HOLES).unwrap()),
            knobs: Some(BTreeMap::from([("optimizer".to_owned(), always(Way::Argument, "--opt {value}"))])),
            ..Launch::default()
        };
        let command = |value: &str| launch.render(&knobs(json!({ "optimizer": value })), &PLACEMENT);
        assert_eq!(command("x; rm -rf $HOME").command.as_deref(), Some("train --opt 'x; rm -rf $HOME'"));
        assert_eq!(command("$(id)'`id`").command.as_deref(), Some(r"train --opt '$(id)'\''`id`'"));
        for refused in ["--eval", "a\nb", "\u{1b}[2J"] {
            assert_eq!(command(refused).unknown, ["optimizer"], "{refused:?}");
        }
        let number = launch.render(&knobs(json!({"optimizer": -1.5})), &PLACEMENT);
        assert_eq!(number.arguments, ["--opt", "-1.5"]);
    }
}
