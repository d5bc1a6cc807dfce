//! Matches options to knobs, with the evidence, and shows example experiments.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::command::{Offered, Placed, Rewritten, Style, Survey, Target, rewrite, takes};
use crate::jobs::{Knobs, canonical_value, same_value};
use crate::launched::{Flag, Launched, Way};
use crate::policy::KNOBS;

/// The settings that a job logged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logged {
    /// The job, relative to the log directory.
    pub job: String,
    /// Under their original names.
    pub names: Vec<(String, Value)>,
    /// By canonical name.
    pub knobs: Knobs,
    /// Latest step of its training loss.
    pub steps: Option<f64>,
    /// It was started by exactly the inspected command, so its values must be those of the command.
    pub same_command: bool,
}

/// The certainty of a knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// Name and type match, or a logged value does.
    Certain,
    /// Only a help text, a value or an ambiguous name matches, or a logged value contradicts it.
    Guessed,
}

impl Grade {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Grade::Certain => "certain",
            Grade::Guessed => "guessed",
        }
    }
}

/// An option as a knob.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// How the knob is set. A script that counts epochs has the knob `epochs`, which sets its steps.
    pub flag: Flag,
    /// What it is set to.
    pub value: Option<Value>,
    /// The certainty.
    pub grade: Grade,
    /// The evidence for and against it, in clauses.
    pub evidence: Vec<String>,
    /// The name under which the script logs it, if it is not a usual one.
    pub own_name: Option<String>,
}

/// An experiment as it would be started.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Its purpose, in a few words.
    pub title: String,
    /// What it changes.
    pub changes: Knobs,
    /// The command, or why there is none.
    pub command: Result<Rewritten, String>,
}

/// The results for a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its command.
    pub launched: Launched,
    /// How it reads options.
    pub style: Style,
    /// The number of its options.
    pub options: usize,
    /// Its knobs, in the standard order.
    pub mappings: Vec<Mapping>,
    /// The knobs that it does not support.
    pub absent: Vec<&'static str>,
    /// The job that serves as its baseline: one started by the command, or that it would start.
    pub baseline: String,
    /// Whether an experiment leaves the baseline's directory untouched.
    pub placed: Placed,
    /// Experiments, at most three.
    pub examples: Vec<Example>,
    /// The known settings.
    pub settings: Knobs,
    /// Latest step of the baseline.
    pub steps: Option<f64>,
    /// The absolute path of the log directory.
    pub logdir: String,
}

/// Matches options to knobs. `logged` are jobs of the log directory, the most relevant first.
pub fn plan(survey: Survey, logged: &[Logged], logdir: &str) -> Plan {
    let Survey { mut launched, offered, style, .. } = survey;
    let mut mappings: Vec<Mapping> =
        launched.flags.iter().map(|flag| mapping(flag, offered.as_slice(), logged)).collect();
    for mapping in by_value(&offered, &launched.flags, logged) {
        launched.flags.push(mapping.flag.clone());
        if let Some(value) = &mapping.value {
            launched.settings.entry(mapping.flag.knob.clone()).or_insert_with(|| value.clone());
        }
        mappings.push(mapping);
    }
    let place = |knob: &str| KNOBS.iter().position(|(known, _)| *known == knob).unwrap_or(KNOBS.len());
    mappings.sort_by_key(|mapping| place(&mapping.flag.knob));
    let mut settings = launched.settings.clone();
    let (baseline, placed) = baseline(&launched, &offered, logged, logdir);
    let own = logged.iter().find(|job| job.job == baseline);
    settings.extend(own.map(|job| job.knobs.clone()).unwrap_or_default());
    let steps = own.and_then(|job| job.steps);
    let has = takes(&launched, &settings, steps);
    let counts = |knob: &str| knob == "max_steps" && launched.flags.iter().any(|flag| flag.knob == "epochs");
    let absent = KNOBS.iter().map(|(knob, _)| *knob).filter(|knob| !has.contains(*knob) && !counts(knob)).collect();
    let mut plan = Plan {
        launched,
        style,
        options: offered.len(),
        mappings,
        absent,
        baseline,
        placed,
        examples: Vec::new(),
        settings,
        steps,
        logdir: logdir.to_owned(),
    };
    plan.examples = plan.find_examples();
    plan
}

/// The evidence that an option is a knob.
fn mapping(flag: &Flag, offered: &[Offered], logged: &[Logged]) -> Mapping {
    let own = offered.iter().find(|offer| offer.flag.name == flag.name && offer.flag.off == flag.off);
    let value = own.and_then(|offer| canonical_value(&flag.knob, offer.value.as_ref()?));
    let spelled = spelling(flag);
    let (mut grade, mut evidence) = if flag.way == Way::Overrides {
        (Grade::Certain, vec!["the script reads it from NEXTRUN_OVERRIDES".to_owned()])
    } else if !flag.guessed {
        (Grade::Certain, vec![format!("`{spelled}` by its name")])
    } else {
        let help = own.map(|offer| offer.help.as_str()).filter(|help| !help.is_empty());
        let why = help.map_or_else(|| "an ambiguous name".to_owned(), |help| format!("its help, \"{}\"", brief(help)));
        (Grade::Guessed, vec![format!("`{spelled}` by {why}")])
    };
    let mut own_name = None;
    if let Some((job, name, theirs)) = own.and_then(|offer| named(offer, logged)) {
        let theirs_value = canonical_value(&flag.knob, theirs).unwrap_or(Value::Null);
        let usual = crate::jobs::canonical_name(name) == Some(flag.knob.as_str());
        own_name = (!usual).then(|| name.to_owned());
        match &value {
            Some(ours) if same_value(ours, &theirs_value) => {
                evidence.push(format!("{} logged `{name}` = {theirs_value}, the value in the command", job.job));
                grade = Grade::Certain;
            }
            Some(ours) if job.same_command => {
                evidence
                    .push(format!("but {} logged `{name}` = {theirs_value}, while the command has {ours}", job.job));
                grade = Grade::Guessed;
            }
            _ => evidence.push(format!("{} logged `{name}`", job.job)),
        }
    } else if let (Grade::Guessed, Some(ours)) = (grade, &value)
        && let Some(job) =
            logged.iter().find(|job| job.knobs.get(&flag.knob).is_some_and(|theirs| same_value(ours, theirs)))
        && is_telling(ours, offered)
    {
        evidence.push(format!("{} logged {} = {ours}, the value in the command", job.job, flag.knob));
        grade = Grade::Certain;
    }
    Mapping { flag: flag.clone(), value, grade, evidence, own_name }
}

/// The setting that a job logged under the name of an option.
fn named<'a>(offer: &Offered, logged: &'a [Logged]) -> Option<(&'a Logged, &'a str, &'a Value)> {
    let plain = |name: &str| name.trim_start_matches('-').to_ascii_lowercase().replace(['-', ' '], "_");
    let wanted = [plain(&offer.dest), plain(&offer.flag.name)];
    logged.iter().find_map(|job| {
        let (name, value) = job.names.iter().find(|(name, _)| wanted.contains(&plain(name)))?;
        Some((job, name.as_str(), value))
    })
}

/// Whether a value belongs to a single option and is not a common one.
fn is_telling(value: &Value, offered: &[Offered]) -> bool {
    let usual = value.as_f64().is_none_or(|number| number.fract() == 0.0 && number.abs() < 10.0);
    let same = |offer: &&Offered| {
        offer.value.as_ref().and_then(|other| canonical_value("", other)).is_some_and(|other| same_value(value, &other))
    };
    !usual && offered.iter().filter(same).count() == 1
}

/// Options with an uninformative name and help, whose value equals one that a job logged as a knob.
fn by_value(offered: &[Offered], flags: &[Flag], logged: &[Logged]) -> Vec<Mapping> {
    let mut found: Vec<Mapping> = Vec::new();
    for job in logged.iter().filter(|job| job.same_command) {
        for (knob, theirs) in &job.knobs {
            let known = |flag: &Flag| flag.knob == *knob;
            if flags.iter().any(known)
                || found.iter().any(|mapping| known(&mapping.flag))
                || !is_telling(theirs, offered)
            {
                continue;
            }
            let has = |offer: &&Offered| {
                let ours = offer.value.as_ref().and_then(|value| canonical_value(knob, value));
                ours.is_some_and(|ours| same_value(&ours, theirs))
            };
            let Some(offer) = offered.iter().find(has) else { continue };
            let Some(flag) = offer.as_knob(knob) else { continue };
            let evidence = vec![format!("`{}` by its value: {} logged {knob} = {theirs}", spelling(flag), job.job)];
            let (value, grade) = (Some(theirs.clone()), Grade::Guessed);
            found.push(Mapping { flag: flag.clone(), value, grade, evidence, own_name: None });
        }
    }
    found
}

/// How a flag is shown to people.
fn spelling(flag: &Flag) -> &str {
    if flag.name.is_empty() { flag.off.as_deref().unwrap_or_default() } else { &flag.name }
}

/// The first sentence of a help text, of limited length.
fn brief(help: &str) -> String {
    const LONGEST: usize = 60;
    let sentence = help.split(". ").next().unwrap_or(help).replace(['"', '\n'], " ");
    if sentence.chars().count() <= LONGEST {
        return sentence;
    }
    sentence.chars().take(LONGEST).collect::<String>() + "…"
}

/// The job that this command started or could start: an experiment of it must not write to its directory. If there are
/// several, the first; a directory below the log directory that the command names counts as a future job.
fn baseline(launched: &Launched, offered: &[Offered], logged: &[Logged], logdir: &str) -> (String, Placed) {
    let own = logged.iter().filter(|job| job.same_command).map(|job| job.job.clone());
    let root = format!("{}/", logdir.trim_end_matches('/'));
    let cwd = launched.cwd.trim_end_matches('/');
    let set = offered.iter().filter_map(|offer| offer.value.as_ref()?.as_str());
    let words = launched.argv.iter().map(|word| word.split_once('=').map_or(word.as_str(), |(_, value)| value));
    let named = words.chain(set).filter_map(|word| {
        let path =
            if word.starts_with('/') { word.to_owned() } else { format!("{cwd}/{}", word.trim_start_matches("./")) };
        let below = path.trim_end_matches('/').strip_prefix(&root)?.to_owned();
        (!below.is_empty() && !below.contains("..")).then_some(below)
    });
    let others = logged.iter().map(|job| job.job.clone());
    let first: Vec<String> = own.collect();
    let certain = !first.is_empty();
    let mut tried: BTreeSet<String> = BTreeSet::new();
    // If the command names the log directory itself, its runs are below it.
    let unborn = std::iter::once("run".to_owned());
    let candidates: Vec<String> = if certain { first } else { named.chain(others).chain(unborn).collect() };
    let mut best = None;
    for job in candidates.into_iter().filter(|job| tried.insert(job.clone())) {
        let placed = placed_at(launched, &job, logdir);
        match placed {
            Placed::Redirected => return (job, placed),
            Placed::MakesItsOwn => best = best.or(Some((job, placed))),
            Placed::WouldOverwrite => {}
        }
    }
    let fallback = logged.first().map_or("run", |job| job.job.as_str());
    best.unwrap_or_else(|| (fallback.to_owned(), Placed::WouldOverwrite))
}

fn placed_at(launched: &Launched, job: &str, logdir: &str) -> Placed {
    let none = Knobs::new();
    let target = Target { logdir: Some(logdir), baseline: job, run_name: "nextrun/x", settings: &none, steps: None };
    rewrite(launched, &none, &target).placed
}

impl Plan {
    /// The command with some changes, logging to `run_name` below the log directory.
    pub fn rewritten(&self, changes: &Knobs, run_name: &str) -> Rewritten {
        let target = Target {
            logdir: Some(&self.logdir),
            baseline: &self.baseline,
            run_name,
            settings: &self.settings,
            steps: self.steps,
        };
        rewrite(&self.launched, changes, &target)
    }

    /// The learning rate, if known.
    pub fn rate(&self) -> Option<f64> {
        self.settings.get("learning_rate").and_then(Value::as_f64).filter(|rate| *rate > 0.0)
    }

    /// The first experiments that a policy may request: three that the script supports, and those of the two most
    /// important that it does not.
    fn find_examples(&self) -> Vec<Example> {
        const SHOWN: usize = 3;
        let object = |value: Value| -> Knobs { value.as_object().cloned().unwrap_or_default().into_iter().collect() };
        let lower = crate::command::typed("learning_rate", &json!(self.rate().map_or(1e-3, |rate| rate / 10.0)));
        #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no job has so many steps")]
        let longer = self.steps.map(|steps| (3.0 * steps).round() as i64);
        let seed = self.settings.get("seed").and_then(Value::as_i64).map_or(1, |seed| seed.saturating_add(1));
        let batch = if self.settings.get("batch_size") == Some(&json!(16)) { 32 } else { 16 };
        let is = |knob: &str, value: Value| self.settings.get(knob) == Some(&value);
        let candidates = [
            ("overfit one example", Some(json!({"train_examples": 1, "batch_size": 1, "max_steps": 1000}))),
            ("lower the learning rate", Some(json!({"learning_rate": lower}))),
            ("drop batch norm", (!is("batch_norm", json!(false))).then(|| json!({"batch_norm": false}))),
            ("scale the initialisation", Some(json!({"initializer": "variance_scaling"}))),
            ("use Adam", (!is("optimizer", json!("adam"))).then(|| json!({"optimizer": "adam"}))),
            ("run three times as long", longer.map(|steps| json!({"max_steps": steps}))),
            ("use another batch size", Some(json!({"batch_size": batch}))),
            ("repeat it with another seed", Some(json!({"seed": seed}))),
        ];
        let mut found: Vec<Example> = Vec::new();
        for (at, (title, changes)) in candidates.into_iter().enumerate() {
            let Some(changes) = changes.map(object) else { continue };
            let name = format!("nextrun/{}", title.replace(' ', "-"));
            let rewritten = self.rewritten(&changes, &name);
            let command = match rewritten.unplaced.values().next() {
                Some(why) => Err(why.clone()),
                None => Ok(rewritten),
            };
            let good = found.iter().filter(|example| example.command.is_ok()).count();
            if (command.is_ok() && good < SHOWN) || (command.is_err() && at < 2) {
                found.push(Example { title: title.to_owned(), changes, command });
            }
        }
        found
    }
}
