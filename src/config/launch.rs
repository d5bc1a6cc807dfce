//! How to pass knobs to a training script: as arguments, environment variables or Hydra overrides.
//!
//! Owns: rendering a suggestion for one site. Must not know: policies, and the reason for a change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::command::{decimal, is_float, typed};
use crate::facts::Knobs;

use super::glob::Glob;
use super::words::{self, Template};
use crate::policy::{Formula, KNOBS};

/// The placeholders in a command.
pub(super) const COMMAND_HOLES: [&str; 5] = ["arguments", "settings", "run_name", "baseline", "suggestion_id"];

/// How the jobs of one script are started.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The jobs that this applies to; all if empty.
    pub(super) jobs: Vec<Glob>,
    pub(super) command: Option<Template>,
    /// How to pass each knob; `None`: every knob as `--its-name=value`.
    pub(super) knobs: Option<BTreeMap<String, Vec<Carrier>>>,
    /// Names under which the script logs knobs, with the canonical name of each.
    pub own_names: BTreeMap<String, String>,
    /// Custom knobs of the site, with their meanings.
    pub own_knobs: BTreeMap<String, String>,
}

/// One way to pass a knob to the script.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Carrier {
    pub(super) way: Way,
    pub(super) pattern: Pattern,
}

/// The carrier of a knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Command-line arguments.
    Argument,
    /// An environment variable.
    Env,
    /// One argument in Hydra's grammar.
    Hydra,
}

/// The text for a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pattern {
    /// The same template for every value.
    Always(Vec<Template>),
    /// A template for each value.
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

/// The suggested run, for the placeholders of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement<'a> {
    /// The suggestion's id.
    pub suggestion_id: &'a str,
    /// The directory for the new run, relative to the log directory.
    pub run_name: &'a str,
    /// The baseline job.
    pub baseline: &'a str,
}

/// A suggestion in the form that the site's script expects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Command-line arguments, unquoted.
    pub arguments: Vec<String>,
    /// Environment variables, including `NEXTRUN_SUGGESTION_ID` and `NEXTRUN_RUN_NAME`.
    pub env: BTreeMap<String, String>,
    /// The whole command line for a POSIX shell, if the site configured one.
    pub command: Option<String>,
    /// Knobs (or values of knobs) that the script does not support, each with the reason.
    pub unknown: BTreeMap<String, String>,
}

impl Launch {
    /// The command as configured by the site, if any.
    pub fn command(&self) -> Option<&str> {
        self.command.as_ref().map(|command| command.source())
    }

    /// Whether this applies to a job.
    pub fn is_for(&self, job: &str) -> bool {
        self.jobs.is_empty() || self.jobs.iter().any(|glob| glob.matches(job))
    }

    /// The knobs that the script supports, if the site lists them.
    pub fn knobs(&self) -> Option<BTreeSet<String>> {
        self.knobs.as_ref().map(|knobs| knobs.keys().cloned().collect())
    }

    /// Whether the command contains all settings of the run, not only the changes.
    pub fn says_settings(&self) -> bool {
        self.command.as_ref().is_some_and(|command| command.has("settings"))
    }

    /// Renders the changes of a suggestion and, for `{settings}`, the other known settings of the baseline. Names and
    /// values are data: each remains one argument regardless of its content. Values that look like options or contain
    /// control characters are not passed.
    pub fn render(&self, changes: &Knobs, settings: &Knobs, placement: &Placement<'_>) -> Rendered {
        let mut rendered = Rendered::default();
        let mut all = settings.clone();
        all.extend(changes.iter().map(|(knob, value)| (knob.clone(), value.clone())));
        for (knob, value) in changes {
            if let Err(why) = self.carry(knob, value, &all, &mut rendered) {
                rendered.unknown.insert(knob.clone(), why);
            }
        }
        // The baseline's settings come first, so that a change takes precedence in scripts that use the last value.
        let mut whole = Rendered::default();
        if self.says_settings() {
            let kept = settings.iter().filter(|(knob, value)| !changes.contains_key(*knob) && !value.is_null());
            for (knob, value) in kept.filter(|(knob, _)| self.may_have(knob)) {
                // If a setting cannot be passed to the script, the command did not pass it before either.
                let _ = self.carry(knob, value, &all, &mut whole);
            }
            whole.env.extend(rendered.env.clone());
            rendered.env = whole.env;
        }
        rendered.command = self.command.as_ref().map(|command| {
            let quoted = |words: &[String]| words.iter().map(|word| words::shell(word)).collect::<Vec<_>>().join(" ");
            let both = command.has("arguments");
            let filled = command.fill(|hole| match hole {
                "arguments" => quoted(&rendered.arguments),
                "settings" if both => quoted(&whole.arguments),
                "settings" => quoted(&[&whole.arguments[..], &rendered.arguments[..]].concat()),
                "run_name" => words::shell(placement.run_name),
                "baseline" => words::shell(placement.baseline),
                _ => words::shell(placement.suggestion_id),
            });
            words::with_environment(&rendered.env, filled.trim())
        });
        rendered.env.insert("NEXTRUN_SUGGESTION_ID".to_owned(), placement.suggestion_id.to_owned());
        rendered.env.insert("NEXTRUN_RUN_NAME".to_owned(), placement.run_name.to_owned());
        rendered
    }

    /// Without a list, the script is assumed to support the standard knobs and those of the site.
    fn may_have(&self, knob: &str) -> bool {
        match &self.knobs {
            Some(knobs) => knobs.contains_key(knob),
            None => KNOBS.iter().any(|(known, _)| *known == knob) || self.own_knobs.contains_key(knob),
        }
    }

    /// The options, keys and variables by which this section sets a knob; `None` where it does not list the knob.
    pub fn names_of(&self, knob: &str) -> Option<BTreeSet<String>> {
        let templates = |pattern: &Pattern| -> Vec<Template> {
            match pattern {
                Pattern::Always(words) => words.clone(),
                Pattern::ByValue { cases, otherwise } => cases.values().chain(otherwise).flatten().cloned().collect(),
            }
        };
        let carriers = self.knobs.as_ref()?.get(knob)?;
        let words = carriers.iter().flat_map(|carrier| templates(&carrier.pattern));
        Some(words.filter_map(|word| Some(word.source().split('=').next()?.to_owned())).collect())
    }

    /// Adds knobs from this section to a known command: the arguments and variables of one knob.
    ///
    /// # Errors
    ///
    /// The section does not define how to pass this knob.
    pub fn added(&self, knob: &str, value: &Value, settings: &Knobs) -> Result<Rendered, String> {
        if self.knobs.is_none() {
            return Err(format!("the script does not support `{knob}`"));
        }
        let mut rendered = Rendered::default();
        self.carry(knob, value, settings, &mut rendered)?;
        Ok(rendered)
    }

    /// Adds one knob. If that is not possible, adds nothing.
    fn carry(&self, knob: &str, value: &Value, settings: &Knobs, rendered: &mut Rendered) -> Result<(), String> {
        let value = &typed(knob, value);
        let text = text_of(knob, value).ok_or_else(|| format!("the value of `{knob}` cannot be a single argument"))?;
        let Some(knobs) = &self.knobs else {
            rendered.arguments.push(format!("--{}={text}", knob.replace('_', "-")));
            return Ok(());
        };
        let carriers = knobs.get(knob).ok_or_else(|| format!("the script does not support `{knob}`"))?;
        let like_an_option = value.is_string() && text.starts_with('-');
        let mut found = Vec::new();
        for Carrier { way, pattern } in carriers {
            let templates =
                pattern.of(&text, value).ok_or_else(|| format!("the script does not support {text} for `{knob}`"))?;
            if like_an_option && *way == Way::Argument && templates.iter().any(Template::is_bare) {
                return Err(format!("the value of `{knob}` looks like an option"));
            }
            let quoted = |text: String| if *way == Way::Hydra { words::hydra(&text) } else { text };
            let computed = |formula: &Formula| {
                let value = formula.value(value, settings)?;
                Ok(quoted(text_of("", &value).ok_or("it is not a single argument")?))
            };
            let words: Result<Vec<String>, String> =
                templates.iter().map(|template| template.compute(|_| quoted(text.clone()), computed)).collect();
            found.push((*way, words.map_err(|why| format!("`{knob}` cannot be computed: {why}"))?));
        }
        for (way, words) in found {
            match way {
                Way::Argument | Way::Hydra => rendered.arguments.extend(words),
                Way::Env => {
                    let pairs = words.iter().filter_map(|pair| pair.split_once('='));
                    rendered.env.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
                }
            }
        }
        Ok(())
    }
}

impl Pattern {
    /// The text for a value. In the file, whole numbers can be written without a decimal point.
    fn of(&self, text: &str, value: &Value) -> Option<&[Template]> {
        match self {
            Pattern::Always(words) => Some(words),
            Pattern::ByValue { cases, otherwise } => {
                let whole = value.as_f64().map(|number| number.to_string());
                let found = cases.get(text).or_else(|| cases.get(&whole?));
                found.or(otherwise.as_ref()).map(Vec::as_slice)
            }
        }
    }
}

/// The value as a script reads it; `None` if it cannot be a single argument. Floats have a decimal point and no
/// exponent, which YAML 1.1 would read as text.
fn text_of(knob: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if is_float(knob) || number.is_f64() => decimal(number.as_f64()?),
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
            &Knobs::new(),
            &PLACEMENT,
        );
        assert_eq!(
            rendered.arguments,
            ["--batch-norm=false", "--learning-rate=0.00001", "--optimizer=adam", "--train-examples=null"]
        );
        assert_eq!((rendered.command, rendered.unknown.len()), (None, 0));
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
        let rendered = launch.render(&knobs(changes), &Knobs::new(), &PLACEMENT);
        assert_eq!(rendered.arguments, ["--no-bn", "--lr", "0.001", "model.loss='l1, or so'"]);
        assert_eq!(rendered.unknown.keys().collect::<Vec<_>>(), ["optimizer"]);
        assert_eq!(
            rendered.command.as_deref(),
            Some(
                r"env SEED=3 python train.py --no-bn --lr 0.001 'model.loss='\''l1, or so'\''' --out /runs/'nextrun/a b/1'"
            )
        );
        assert_eq!(rendered.env["SEED"], "3");
        let maybe = launch.render(&knobs(json!({"batch_norm": "maybe"})), &Knobs::new(), &PLACEMENT);
        assert_eq!(maybe.unknown["batch_norm"], "the script does not support maybe for `batch_norm`");
    }

    #[test]
    fn settings_are_the_whole_run_and_changes_come_after_them() {
        let launch = |command: &str| Launch {
            command: Some(Template::parse(command, &COMMAND_HOLES).unwrap()),
            knobs: Some(BTreeMap::from([
                ("learning_rate".to_owned(), always(Way::Argument, "--lr={value}")),
                ("initializer".to_owned(), always(Way::Argument, "--init={value}")),
                ("batch_size".to_owned(), always(Way::Env, "BATCH={value}")),
            ])),
            ..Launch::default()
        };
        let settings =
            knobs(json!({"learning_rate": 10, "initializer": "zero", "batch_size": 8, "epochs": 3, "seed": null}));
        let command =
            |text: &str, changes: Value| launch(text).render(&knobs(changes), &settings, &PLACEMENT).command.unwrap();
        assert_eq!(
            command("cd /w && python t.py {settings}", json!({"learning_rate": 1})),
            "export BATCH=8; cd /w && python t.py --init=zero --lr=1.0"
        );
        assert_eq!(
            command("t {settings} -- {arguments}", json!({"batch_size": 1})),
            "env BATCH=1 t --init=zero --lr=10.0 --"
        );
    }

    #[test]
    fn a_mapping_can_compute_from_all_settings() {
        let compile = |text: &str| Formula::compile(text, []);
        let word = Template::read("--batches={ceil(value / batch_size)}", &["value"], Some(&compile)).unwrap();
        let carrier = Carrier { way: Way::Argument, pattern: Pattern::Always(vec![word]) };
        let launch =
            Launch { knobs: Some(BTreeMap::from([("train_examples".to_owned(), vec![carrier])])), ..Launch::default() };
        let render =
            |settings: Value| launch.render(&knobs(json!({"train_examples": 100})), &knobs(settings), &PLACEMENT);
        assert_eq!(render(json!({"batch_size": 32})).arguments, ["--batches=4"]);
        assert_eq!(
            render(json!({})).unknown["train_examples"],
            "`train_examples` cannot be computed: unknown: `batch_size`"
        );
    }

    #[test]
    fn a_value_is_data() {
        let launch = Launch {
            command: Some(Template::parse("train {arguments}", &COMMAND_HOLES).unwrap()),
            knobs: Some(BTreeMap::from([("optimizer".to_owned(), always(Way::Argument, "--opt {value}"))])),
            ..Launch::default()
        };
        let command = |value: &str| launch.render(&knobs(json!({ "optimizer": value })), &Knobs::new(), &PLACEMENT);
        assert_eq!(command("x; rm -rf $HOME").command.as_deref(), Some("train --opt 'x; rm -rf $HOME'"));
        assert_eq!(command("$(id)'`id`").command.as_deref(), Some(r"train --opt '$(id)'\''`id`'"));
        for refused in ["--eval", "a\nb", "\u{1b}[2J"] {
            assert!(command(refused).unknown.contains_key("optimizer"), "{refused:?}");
        }
        let number = launch.render(&knobs(json!({"optimizer": -1.5})), &Knobs::new(), &PLACEMENT);
        assert_eq!(number.arguments, ["--opt", "-1.5"]);
    }
}
