//! Rewrites a known command with other settings and another output directory: an experiment is its baseline with one
//! change.
//!
//! Owns: which arguments change, which are added, and the command line for a shell. Must not know: who runs it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::files;
use super::peel::{Peeled, peel};
use super::place::{Folders, Placed, Slot, changes_each_time, is_hydras, redirect};
use super::shell::{hydra, shell};
use super::units::Units;
use super::value::{Setting, is_float, setting, shown};
use super::words::{Spot, absolute, may_be_value, spots, value_at};
use crate::jobs::Knobs;
use crate::launched::{Flag, Launched, Unit, Way};

/// The requested experiment, according to its suggestion.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The absolute path of the log directory; `None` if it is not a local directory.
    pub logdir: Option<&'a str>,
    /// The baseline job, relative to the log directory.
    pub baseline: &'a str,
    /// The folder of the experiment, relative to the log directory.
    pub run_name: &'a str,
    /// All known knobs of the baseline.
    pub settings: &'a Knobs,
    /// Newest logged step of the baseline's training loss.
    pub steps: Option<f64>,
}

/// A command that carries out an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewritten {
    /// One word an entry.
    pub argv: Vec<String>,
    /// Variables to set for it.
    pub env: BTreeMap<String, String>,
    /// Variables to take out of its environment.
    pub unset: BTreeSet<String>,
    /// Files to write before it starts, by absolute path: changed copies of configuration files.
    pub files: BTreeMap<String, String>,
    /// Whether it stays out of the baseline's folder.
    pub placed: Placed,
    /// Which flag carries each knob.
    pub carried: BTreeMap<String, String>,
    /// Knobs that the command cannot be given, each with the reason.
    pub unplaced: BTreeMap<String, String>,
}

/// Rewrites a command.
pub fn rewrite(launched: &Launched, overrides: &Knobs, target: &Target<'_>) -> Rewritten {
    let mut editor = Editor::new(launched);
    for (knob, value) in overrides {
        match editor.knob(knob, value, overrides, target) {
            Ok(flag) => drop(editor.carried.insert(knob.clone(), flag)),
            Err(why) => drop(editor.unplaced.insert(knob.clone(), why)),
        }
    }
    let placed = editor.place(target);
    editor.finish(placed, target)
}

/// The knobs that a command can be given, as far as that can be said without their values.
pub fn takes(launched: &Launched, settings: &Knobs, steps: Option<f64>) -> BTreeSet<String> {
    let none = Knobs::new();
    let units = Units { settings, overrides: &none, steps };
    let mut knobs: BTreeSet<String> = launched.flags.iter().map(|flag| flag.knob.clone()).collect();
    let sized = |knob: &str| {
        launched.flags.iter().any(|flag| flag.knob == knob) || settings.get(knob).is_some_and(|value| !value.is_null())
    };
    let examples = launched.flags.iter().find(|flag| flag.knob == "train_examples");
    if let Some(flag) = examples {
        let known = match flag.unit {
            Unit::Knob => true,
            Unit::Batches if flag.one_is_all() => sized("batch_size") && units.share_of_batches(1.0).is_some(),
            Unit::Batches => sized("batch_size"),
            Unit::Share => units.share(1.0).is_some(),
        };
        if !known {
            knobs.remove("train_examples");
        }
    }
    // Epochs can express any number of steps once the steps per epoch are known, which is the case if the data are
    // limited.
    if knobs.remove("epochs")
        && (units.epochs(1.0).is_some() || (knobs.contains("train_examples") && sized("batch_size")))
    {
        knobs.insert("max_steps".to_owned());
    }
    knobs
}

/// The arguments that set a flag to a value of its knob, in the knob's own unit; none if the script sets it without
/// arguments.
///
/// # Errors
///
/// Why the script cannot be given this value by words.
pub fn words_for(flag: &Flag, value: &Value) -> Result<Vec<String>, String> {
    if matches!(flag.way, Way::File | Way::Overrides) {
        return Err(format!("`{}` is not set by command-line arguments", shown(flag)));
    }
    Ok(match setting(flag, value)? {
        Setting::To(text) if flag.way == Way::KeyValue => vec![format!("{}={}", flag.name, hydra(&text))],
        Setting::To(text) if flag.way == Way::Argument && !flag.name.starts_with("--") => {
            vec![flag.name.clone(), value_word(&flag.name, &text)?]
        }
        Setting::To(text) => vec![format!("{}={text}", flag.name)],
        Setting::On => vec![flag.name.clone()],
        Setting::Off => flag.off.iter().cloned().collect(),
        Setting::Left => Vec::new(),
    })
}

/// The position of a slot's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Word(usize, usize),
    Variable(usize),
    Entry(usize),
    Output(usize),
}

struct Editor<'a> {
    launched: &'a Launched,
    peeled: Peeled,
    argv: Vec<String>,
    /// Words of the command that are left out in the end; until then places do not move.
    dropped: BTreeSet<usize>,
    added: Vec<String>,
    env: BTreeMap<String, String>,
    unset: BTreeSet<String>,
    files: BTreeMap<String, String>,
    carried: BTreeMap<String, String>,
    unplaced: BTreeMap<String, String>,
}

impl<'a> Editor<'a> {
    fn new(launched: &'a Launched) -> Editor<'a> {
        Editor {
            launched,
            peeled: peel(&launched.argv),
            argv: launched.argv.clone(),
            dropped: BTreeSet::new(),
            added: Vec::new(),
            env: BTreeMap::new(),
            unset: BTreeSet::new(),
            files: launched.files.clone(),
            carried: BTreeMap::new(),
            unplaced: BTreeMap::new(),
        }
    }

    fn flag(&self, knob: &str) -> Option<&'a Flag> {
        self.launched.flags.iter().find(|flag| flag.knob == knob)
    }

    /// Gives the command one knob; says by which flag.
    fn knob(&mut self, knob: &str, value: &Value, overrides: &Knobs, target: &Target<'_>) -> Result<String, String> {
        let units = Units { settings: target.settings, overrides, steps: target.steps };
        if knob == "max_steps" {
            return self.length(value, &units);
        }
        let flag = self.flag(knob).ok_or_else(|| format!("the script does not support `{knob}`"))?;
        // The script itself reads the requested change.
        if flag.way == Way::Overrides {
            return Ok(flag.name.clone());
        }
        let number = value.as_f64();
        let value =
            match (flag.unit, number) {
                (Unit::Knob, _) | (_, None) => value.clone(),
                (Unit::Batches, Some(examples)) if flag.one_is_all() => {
                    Value::from(units.share_of_batches(examples).ok_or(
                        "converting examples to a fraction of the batches needs their number, which is unknown",
                    )?)
                }
                (Unit::Batches, Some(examples)) => Value::from(
                    units
                        .batches(examples)
                        .ok_or("converting examples to batches needs the batch size, which is unknown")?,
                ),
                (Unit::Share, Some(examples)) => Value::from(units.share(examples).ok_or(
                    "converting examples to a fraction needs the number of training examples, which is unknown",
                )?),
            };
        self.set(flag, &setting(flag, &value)?, knob)?;
        Ok(shown(flag).to_owned())
    }

    /// The length of the run, in steps, epochs or both.
    fn length(&mut self, value: &Value, units: &Units<'_>) -> Result<String, String> {
        let (steps, epochs) = (self.flag("max_steps"), self.flag("epochs"));
        let wanted = value.as_f64();
        if let Some(flag) = steps.filter(|flag| flag.way == Way::Overrides) {
            return Ok(flag.name.clone());
        }
        if let Some(flag) = steps {
            self.set(flag, &setting(flag, value)?, "max_steps")?;
        }
        let Some(flag) = epochs else {
            return steps
                .map(|flag| shown(flag).to_owned())
                .ok_or_else(|| "the script has no option for steps or epochs".to_owned());
        };
        let Some(wanted) = wanted else {
            if steps.is_none() {
                self.set(flag, &Setting::Left, "epochs")?;
            }
            return Ok(shown(steps.unwrap_or(flag)).to_owned());
        };
        match (units.epochs(wanted), steps) {
            (Some(epochs), None) => self.set(flag, &setting(flag, &Value::from(epochs))?, "epochs")?,
            // Epochs must not end the run before its steps do; an epoch has a step at least.
            (epochs, Some(_)) => {
                let limit = units.settings.get("epochs").and_then(Value::as_f64);
                let needed = epochs.unwrap_or(wanted);
                if limit.is_some_and(|limit| limit > 0.0 && limit < needed) {
                    self.set(flag, &setting(flag, &Value::from(needed))?, "epochs")?;
                }
            }
            (None, None) => return Err(format!("the steps per epoch are unknown, which `{}` needs", shown(flag))),
        }
        Ok(shown(steps.unwrap_or(flag)).to_owned())
    }

    fn set(&mut self, flag: &Flag, setting: &Setting, knob: &str) -> Result<(), String> {
        let spots = spots(&self.argv, self.peeled.arguments, &self.peeled.assignments, flag);
        match (setting, flag.way) {
            (Setting::To(text), Way::File) => self.set_entry(flag, text, knob),
            (Setting::Left, Way::File) => self.set_entry(flag, "null", knob),
            (Setting::To(text), _) => self.set_text(flag, text, &spots),
            (_, Way::Environment) => {
                self.unset.insert(flag.name.clone());
                self.drop_spots(&spots);
                Ok(())
            }
            _ => {
                self.drop_spots(&spots);
                match setting {
                    Setting::On => self.added.push(flag.name.clone()),
                    Setting::Off => self.added.extend(flag.off.clone()),
                    Setting::To(_) | Setting::Left => {}
                }
                Ok(())
            }
        }
    }

    fn drop_spots(&mut self, spots: &[Spot]) {
        for spot in spots {
            match spot {
                Spot::Pair(name, value) => self.dropped.extend([*name, *value]),
                Spot::Joined(at, _) | Spot::Alone(at) => drop(self.dropped.insert(*at)),
            }
        }
    }

    fn set_text(&mut self, flag: &Flag, text: &str, spots: &[Spot]) -> Result<(), String> {
        let written = if flag.way == Way::KeyValue { hydra(text) } else { text.to_owned() };
        if spots.is_empty() {
            return match flag.way {
                Way::Environment => {
                    self.env.insert(flag.name.clone(), written);
                    Ok(())
                }
                Way::Argument if !flag.name.starts_with("--") => {
                    self.added.extend([flag.name.clone(), value_word(&flag.name, &written)?]);
                    Ok(())
                }
                _ => {
                    self.added.push(format!("{}={written}", flag.name));
                    Ok(())
                }
            };
        }
        for spot in spots {
            match *spot {
                Spot::Pair(name, value) if may_be_value(&written) => {
                    self.argv[value].clone_from(&written);
                    self.dropped.remove(&name);
                }
                // A word that begins with a dash would be read as an option.
                Spot::Pair(name, value) if self.argv[name].starts_with("--") => {
                    self.argv[name] = format!("{}={written}", self.argv[name]);
                    self.dropped.insert(value);
                }
                Spot::Pair(..) => drop(value_word(&flag.name, &written)?),
                Spot::Joined(at, from) => self.argv[at].replace_range(from.., &written),
                Spot::Alone(_) => {}
            }
        }
        Ok(())
    }

    fn set_entry(&mut self, flag: &Flag, text: &str, knob: &str) -> Result<(), String> {
        let file = flag.file.clone().unwrap_or_default();
        let value = if text == "null" {
            Value::Null
        } else {
            match text.parse::<f64>() {
                Ok(number) if is_float(knob) || text.contains('.') => Value::from(number),
                Ok(number) => Value::from(format!("{number:.0}").parse::<i64>().unwrap_or(0)),
                Err(_) if text == "true" || text == "false" => Value::Bool(text == "true"),
                Err(_) => Value::from(text),
            }
        };
        self.edit(&file, &flag.name, &value)
    }

    fn edit(&mut self, file: &str, key: &str, value: &Value) -> Result<(), String> {
        let edited = self.files.get(file).and_then(|text| files::with(file, text, key, value));
        let edited =
            edited.ok_or_else(|| format!("`{key}` cannot be changed in {file} without affecting other entries"))?;
        self.files.insert(file.to_owned(), edited);
        Ok(())
    }

    /// Redirects the output of the command.
    fn place(&mut self, target: &Target<'_>) -> Placed {
        let own = if changes_each_time(target.baseline) { Placed::MakesItsOwn } else { Placed::WouldOverwrite };
        let Some(root) = target.logdir else { return own };
        // The script itself asks where to log.
        if self.launched.outputs.iter().any(|flag| flag.way == Way::Overrides) {
            return Placed::Redirected;
        }
        let (baseline, experiment) = (absolute(root, target.baseline), absolute(root, target.run_name));
        let folders = Folders {
            cwd: &self.launched.cwd,
            root: &absolute(root, ""),
            baseline: &baseline,
            experiment: &experiment,
        };
        let (slots, entries) = self.slots();
        let (changes, redirected) = redirect(&slots, &folders);
        if !redirected {
            let hydra = self.launched.outputs.iter().any(|flag| flag.name == HYDRA_FOLDER);
            if hydra && is_hydras(target.baseline) {
                self.added.push(format!("{HYDRA_FOLDER}={}", super::shell::hydra(&experiment)));
                return Placed::Redirected;
            }
            return own;
        }
        for (at, value) in changes {
            if self.redirect(at, &value, &entries).is_err() {
                return own;
            }
        }
        Placed::Redirected
    }

    /// Every value that may define where the script writes, including entries of files.
    fn slots(&self) -> (Vec<Slot<At>>, Vec<(String, String)>) {
        let mut slots = Vec::new();
        let mut name = String::new();
        let places = self.peeled.assignments.iter().copied().chain(self.peeled.arguments..self.argv.len());
        for at in places.filter(|at| !self.dropped.contains(at)) {
            let word = self.launched.argv[at].as_str();
            let before = std::mem::take(&mut name);
            let mut slot = |from: usize, name: &str| {
                let value = word.get(from..).unwrap_or_default().to_owned();
                slots.push(Slot { at: At::Word(at, from), name: name.to_owned(), value, given: true });
            };
            match word.split_once('=') {
                Some((head, _)) => slot(head.len() + 1, head.trim_start_matches('+')),
                None if word.starts_with('-') && !may_be_value(word) => word.clone_into(&mut name),
                None => slot(0, &before),
            }
        }
        let variables = self.launched.output_env.iter().enumerate();
        slots.extend(variables.map(|(at, (name, value))| Slot {
            at: At::Variable(at),
            name: name.clone(),
            value: value.clone(),
            given: true,
        }));
        let mut entries = Vec::new();
        for (file, text) in &self.files {
            for (key, value) in files::entries(file, text) {
                if let Some(value) = value.as_str() {
                    slots.push(Slot {
                        at: At::Entry(entries.len()),
                        name: key.clone(),
                        value: value.to_owned(),
                        given: true,
                    });
                    entries.push((file.clone(), key));
                }
            }
        }
        for (at, flag) in self.launched.outputs.iter().enumerate() {
            let absent = spots(&self.launched.argv, self.peeled.arguments, &self.peeled.assignments, flag).is_empty()
                && !self.launched.output_env.contains_key(&flag.name);
            if let Some(default) =
                flag.default.as_ref().and_then(Value::as_str).filter(|_| absent && flag.knob != "config")
            {
                slots.push(Slot {
                    at: At::Output(at),
                    name: flag.name.clone(),
                    value: default.to_owned(),
                    given: false,
                });
            }
        }
        (slots, entries)
    }

    fn redirect(&mut self, at: At, value: &str, entries: &[(String, String)]) -> Result<(), String> {
        match at {
            At::Word(at, from) => {
                // A separate argument is either the value of the preceding option or positional.
                let key = self.launched.argv[at].get(..from).unwrap_or_default();
                let quoted = !key.is_empty() && !key.starts_with('-') && !self.peeled.assignments.contains(&at);
                self.argv[at] = format!("{key}{}", if quoted { hydra(value) } else { value.to_owned() });
            }
            At::Variable(at) => {
                let name = self.launched.output_env.keys().nth(at).cloned().unwrap_or_default();
                self.env.insert(name, value.to_owned());
            }
            At::Entry(at) => {
                let (file, key) = entries.get(at).cloned().unwrap_or_default();
                self.edit(&file, &key, &Value::from(value))?;
            }
            At::Output(at) => {
                if let Some(flag) = self.launched.outputs.get(at) {
                    self.set_text(flag, value, &[])?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self, placed: Placed, target: &Target<'_>) -> Rewritten {
        let mut written = BTreeMap::new();
        for (file, text) in &self.files {
            if self.launched.files.get(file) == Some(text) {
                continue;
            }
            // Next to the experiment's directory, because some scripts reject an existing directory.
            let name = file.rsplit('/').next().unwrap_or(file);
            let copy = format!("{}.{name}", absolute(target.logdir.unwrap_or("/tmp"), target.run_name));
            let mut named = false;
            for at in self.peeled.arguments..self.argv.len() {
                let word = &mut self.argv[at];
                if word == file {
                    word.clone_from(&copy);
                    named = true;
                } else if let Some(head) = word.strip_suffix(file.as_str()).filter(|head| head.ends_with('=')) {
                    *word = format!("{head}{copy}");
                    named = true;
                }
            }
            let by_default = self
                .launched
                .outputs
                .iter()
                .find(|flag| flag.knob == "config" && flag.default.as_ref().is_some_and(|default| default == file));
            if let Some(flag) = by_default.filter(|_| !named) {
                self.added.push(format!("{}={copy}", flag.name));
            }
            written.insert(copy, text.clone());
        }
        let kept = self.argv.into_iter().enumerate().filter(|(at, _)| !self.dropped.contains(at)).map(|(_, word)| word);
        Rewritten {
            argv: kept.chain(self.added).collect(),
            env: self.env,
            unset: self.unset,
            files: written,
            placed,
            carried: self.carried,
            unplaced: self.unplaced,
        }
    }
}

/// Hydra's setting for the folder of a run.
pub(super) const HYDRA_FOLDER: &str = "hydra.run.dir";

fn value_word(name: &str, text: &str) -> Result<String, String> {
    if may_be_value(text) { Ok(text.to_owned()) } else { Err(format!("`{name}` would interpret {text} as an option")) }
}

impl Rewritten {
    /// The command as one line for a POSIX shell, in its working directory. Whatever is in a name or value stays data.
    pub fn command(&self, cwd: &str) -> String {
        let mut steps = vec![format!("cd {}", shell(cwd))];
        for (path, text) in &self.files {
            let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
            steps.push(format!("mkdir -p {}", shell(folder)));
            steps.push(format!("printf %s {} > {}", shell(text), shell(path)));
        }
        steps.push(self.words().iter().map(|word| shell(word)).collect::<Vec<_>>().join(" "));
        steps.join(" && ")
    }

    /// The words of the command with the variables that it sets before them.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        // Words before the script are assignments only where `env` or a shell reads them.
        let bare = self.argv.first().is_some_and(|word| super::peel::is_assignment(word));
        if !self.env.is_empty() || !self.unset.is_empty() || bare {
            words.push("env".to_owned());
            words.extend(self.unset.iter().flat_map(|name| ["-u".to_owned(), name.clone()]));
            words.extend(self.env.iter().map(|(name, value)| format!("{name}={value}")));
        }
        words.extend(self.argv.iter().cloned());
        words
    }
}

/// The value that a command gives a flag now, for tests and messages.
pub fn given(launched: &Launched, flag: &Flag) -> Option<String> {
    let peeled = peel(&launched.argv);
    let spot = spots(&launched.argv, peeled.arguments, &peeled.assignments, flag).pop()?;
    value_at(&launched.argv, spot).map(str::to_owned)
}
