//! Derives the knobs and settings of a command from the command and its script's source.
//!
//! Owns: which files are read, and how their information is combined. Must not know: how files are read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::files;
use super::fixed::Fixed;
use super::meaning;
use super::options::{Dialect, Opt, Taken, asks_where_to_log, complete, taken};
use super::peel::{Peeled, Script, base, is_assignment, peel};
use super::printed::Printed;
use super::python::{Source, Token};
use super::rewrite::HYDRA_FOLDER;
use super::secrets::{holds_secret, is_secret_name};
use super::style::Style;
use super::words::{Spot, absolute, alike, may_be_value, spots, value_at};
use crate::jobs::canonical_value;
use crate::launched::{self, Flag, Kind, Launched, Unit, Way};

/// Maximum number of files of a script and its own modules.
const MOST_FILES: usize = 32;

/// Longer configuration files are not stored with the command.
const LONGEST_CONFIG: usize = 64 << 10;

/// A command as started.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// One argument per entry.
    pub argv: &'a [String],
    /// The absolute working directory.
    pub cwd: &'a str,
    /// The environment.
    pub env: &'a BTreeMap<String, String>,
    /// The observer.
    pub source: launched::Source,
}

/// An option of a script, knob or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Offered {
    /// How it is set. `knob` is empty if it is not a knob.
    pub flag: Flag,
    /// Its name in the script: `batch_size` for `--batch-size`.
    pub dest: String,
    /// Its help text.
    pub help: String,
    /// Its value from the command, otherwise its default.
    pub value: Option<Value>,
    /// The knobs that its type permits.
    may_be: BTreeMap<&'static str, Flag>,
}

impl Offered {
    /// How to set it as this knob; `None` if its type does not permit it.
    pub fn as_knob(&self, knob: &str) -> Option<&Flag> {
        self.may_be.get(knob)
    }
}

/// The full analysis of a command and its script.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// The command, its knobs and settings.
    pub launched: Launched,
    /// Every option of the script.
    pub offered: Vec<Offered>,
    /// How it reads its options and what it trains with.
    pub style: Style,
    /// Whether the source of the script was found.
    pub has_source: bool,
}

/// Analyses a command: the knobs that its script supports, its settings, and where it writes. `read` returns the text
/// of a file by its absolute path; it is the only file access and decides which files to open.
pub fn learn(seen: Seen<'_>, read: &dyn Fn(&str) -> Option<String>) -> Launched {
    survey(seen, read, &[]).launched
}

/// Analyses a command with all options of its script. `printed` is the script's own output about its options, which is
/// used if its source does not show them.
pub fn survey(seen: Seen<'_>, read: &dyn Fn(&str) -> Option<String>, printed: &[Printed]) -> Survey {
    let peeled = peel(seen.argv);
    let mut script = Scripts::read(Look { seen: &seen, peeled: &peeled, read });
    script.style.note_program(seen.argv, &peeled);
    let mut options = script.options;
    for option in printed.iter().flat_map(Printed::options) {
        add_printed(&mut options, option);
    }
    let abbreviated = abbreviations(seen.argv, &peeled, &options);
    for (word, at) in abbreviated {
        options[at].names.push(word);
    }
    let mut launched =
        Launched { source: seen.source, argv: seen.argv.to_vec(), cwd: seen.cwd.to_owned(), ..Launched::default() };
    for word in configs(seen.argv, &peeled, &options, &mut launched.outputs) {
        let Some(text) = read(&absolute(seen.cwd, &word)).filter(|text| text.len() <= LONGEST_CONFIG) else { continue };
        let entries = files::entries(&word, &text);
        options.extend(entries.iter().map(|(key, value)| entry(Way::File, key, value, Some(&word))));
        if !holds_secret(&entries) {
            launched.files.insert(word, text);
        }
    }
    options.extend(unknown_words(seen.argv, &peeled, &options));
    // The source explains options that a configuration file or a command only sets.
    for option in options.iter_mut().filter(|option| matches!(option.way, Way::KeyValue | Way::File)) {
        script.sources.iter().for_each(|source| complete(option, source));
    }
    let given = |option: &Opt| is_given(&seen, &peeled, option);
    launched.flags = meaning::flags(&options, &given);
    // Options that cannot be rewritten must not appear to be supported.
    launched.flags.retain(|flag| flag.file.as_ref().is_none_or(|file| launched.files.contains_key(file)));
    let flags = meaning::flags(&options, &given);
    launched.settings = settings(&seen, &peeled, &flags);
    // A setting that an option can change is not hard-coded, whatever its value is.
    let fixed = script.fixed.settings().into_iter().filter(|(knob, _)| flags.iter().all(|flag| flag.knob != *knob));
    for (knob, value) in fixed {
        launched.settings.entry(knob).or_insert(value);
    }
    if script.dialect == Some(Dialect::Hydra) {
        let folder =
            Flag { name: HYDRA_FOLDER.to_owned(), knob: "folder".to_owned(), way: Way::KeyValue, ..Flag::default() };
        launched.outputs.push(folder);
    }
    outputs(&seen, &options, &mut launched);
    if script.sources.iter().any(asks_where_to_log) {
        let folder =
            Flag { name: "log_dir".to_owned(), knob: "folder".to_owned(), way: Way::Overrides, ..Flag::default() };
        launched.outputs.push(folder);
    }
    let offered = options.iter().map(|option| offer(&seen, &peeled, option, &launched.flags)).collect();
    Survey { launched, offered, style: script.style, has_source: script.has_source }
}

/// An option that the script printed: new, or a known one with its default.
fn add_printed(options: &mut Vec<Opt>, printed: Opt) {
    let same = |known: &&mut Opt| {
        known.names.iter().chain(&known.off).any(|name| printed.names.iter().any(|other| alike(name, other)))
    };
    match options.iter_mut().find(same) {
        Some(known) => {
            known.default = known.default.take().or(printed.default);
            if known.help.is_empty() {
                known.help = printed.help;
            }
            if known.choices.is_empty() {
                known.choices = printed.choices;
            }
        }
        None => options.push(printed),
    }
}

fn offer(seen: &Seen<'_>, peeled: &Peeled, option: &Opt, flags: &[Flag]) -> Offered {
    let plain = Flag { kind: option.kind, off: option.off.clone(), file: option.file.clone(), ..output(option, "") };
    let own = |flag: &&Flag| {
        flag.way == option.way
            && std::iter::once(&flag.name)
                .chain(&flag.off)
                .any(|name| option.names.contains(name) || option.off.as_ref() == Some(name))
    };
    let known = flags.iter().find(own);
    let may_be = KNOBS_BY_VALUE.iter().filter_map(|knob| Some((*knob, meaning::flag_of(option, knob)?)));
    Offered {
        may_be: if known.is_some() { BTreeMap::new() } else { may_be.collect() },
        flag: known.cloned().unwrap_or_else(|| plain.clone()),
        dest: option.dest.clone(),
        help: option.help.clone(),
        value: set_to(seen, peeled, known.unwrap_or(&plain)),
    }
}

/// Knobs whose values are distinctive enough to identify their option: numbers of a wide range.
const KNOBS_BY_VALUE: &[&str] =
    &["learning_rate", "batch_size", "max_steps", "epochs", "train_examples", "lr_decay", "gradient_clip", "seed"];

/// The options in the source files of a script.
#[derive(Default)]
struct Scripts {
    options: Vec<Opt>,
    dialect: Option<Dialect>,
    style: Style,
    fixed: Fixed,
    sources: Vec<Source>,
    has_source: bool,
}

/// The files to read, and how.
#[derive(Clone, Copy)]
struct Look<'a> {
    seen: &'a Seen<'a>,
    peeled: &'a Peeled,
    read: &'a dyn Fn(&str) -> Option<String>,
}

impl Scripts {
    fn read(look: Look<'_>) -> Scripts {
        let Look { seen, peeled, read } = look;
        let mut scripts = Scripts::default();
        let mut open: Vec<String> = starts(seen, peeled);
        let mut looked: BTreeSet<String> = BTreeSet::new();
        let first = open.iter().find(|path| read(path).is_some()).cloned();
        let home = first.as_deref().map_or("/", folder).to_owned();
        open.clear();
        open.extend(first);
        while let Some(path) = open.pop() {
            if looked.len() >= MOST_FILES || !looked.insert(path.clone()) {
                continue;
            }
            let Some(text) = read(&path) else { continue };
            let source = Source::read(&text);
            scripts.has_source = true;
            scripts.style.note(&source);
            scripts.fixed.note(&source);
            let found = taken(&source);
            let own = looked.len() == 1;
            scripts.add(look, found, own.then_some(home.as_str()));
            open.extend(imports(&source, &home, folder(&path), seen.cwd));
            scripts.sources.push(source);
        }
        scripts
    }

    fn add(&mut self, look: Look<'_>, found: Taken, home: Option<&str>) {
        for option in found.options {
            if self.options.iter().all(|known| known.names != option.names || known.dest != option.dest) {
                self.options.push(option);
            }
        }
        // The command line of another module is not that of this script.
        let Some(home) = home else { return };
        let Look { seen, peeled, read } = look;
        self.dialect = found.dialect;
        let named = after(seen.argv, peeled.arguments, &["--config-name", "-cn"]);
        for file in found.files {
            let hydra = self.dialect == Some(Dialect::Hydra);
            let file = match (&named, file.rsplit_once('/')) {
                (Some(name), Some((above, _))) if hydra => format!("{above}/{}.yaml", name.trim_end_matches(".yaml")),
                _ => file,
            };
            let path = absolute(if hydra { home } else { seen.cwd }, &file);
            let Some(text) = read(&path) else { continue };
            for (key, value) in composed(&path, &text, read) {
                self.options.push(entry(Way::KeyValue, &key, &value, None));
            }
        }
    }
}

/// The entries of Hydra's configuration, with those of the groups that its `defaults` choose.
fn composed(path: &str, text: &str, read: &dyn Fn(&str) -> Option<String>) -> BTreeMap<String, Value> {
    let mut entries = files::entries(path, text);
    let groups = entries.remove("defaults");
    for (group, choice) in
        groups.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).flatten()
    {
        let group = group.trim_start_matches("override ").trim_start_matches('/');
        let Some(choice) = choice.as_str() else { continue };
        let file = absolute(folder(path), &format!("{group}/{choice}.yaml"));
        let Some(text) = read(&file) else { continue };
        let prefix = group.replace('/', ".");
        for (key, value) in files::entries(&file, &text) {
            entries.entry(format!("{prefix}.{key}")).or_insert(value);
        }
    }
    entries
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(above, _)| if above.is_empty() { "/" } else { above })
}

/// Where the script's source may be.
fn starts(seen: &Seen<'_>, peeled: &Peeled) -> Vec<String> {
    match peeled.script {
        Script::File(at) => vec![absolute(seen.cwd, &seen.argv[at])],
        Script::Program(at) if seen.argv[at].contains('/') => vec![absolute(seen.cwd, &seen.argv[at])],
        Script::Program(_) | Script::Nothing => Vec::new(),
        Script::Module(at) => {
            let path = seen.argv[at].replace('.', "/");
            let below = ["", "src/"]
                .into_iter()
                .flat_map(|above| [format!("{above}{path}.py"), format!("{above}{path}/__main__.py")]);
            below.map(|path| absolute(seen.cwd, &path)).collect()
        }
    }
}

/// The script's own files that it imports, if they exist in the usual locations.
fn imports(source: &Source, home: &str, here: &str, cwd: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (_, _, line) in source.lines() {
        let (mut modules, mut relative) = (Vec::new(), false);
        match line {
            [from, rest @ ..] if from.is_name("from") => {
                relative = rest.first().is_some_and(|token| token.is('.'));
                let dots = rest.iter().take_while(|token| token.is('.')).count();
                let end = rest.iter().position(|token| token.is_name("import")).unwrap_or(rest.len());
                let module = dotted(rest.get(dots.min(end)..end).unwrap_or_default());
                let names = rest.get(end + 1..).unwrap_or_default().iter().filter_map(Token::name);
                modules.extend(
                    names.map(|name| if module.is_empty() { name.to_owned() } else { format!("{module}/{name}") }),
                );
                modules.push(module);
            }
            [import, rest @ ..] if import.is_name("import") => {
                modules.extend(
                    rest.split(|token| token.is(','))
                        .map(|part| dotted(part.split(|t| t.is_name("as")).next().unwrap_or_default())),
                );
            }
            _ => continue,
        }
        for module in modules.iter().filter(|module| !module.is_empty()) {
            let folders = if relative { vec![here] } else { vec![home, cwd] };
            found.extend(folders.iter().flat_map(|folder| {
                [format!("{module}.py"), format!("{module}/__init__.py")].map(|file| absolute(folder, &file))
            }));
        }
    }
    found
}

fn dotted(tokens: &[Token]) -> String {
    tokens.iter().filter_map(Token::name).collect::<Vec<_>>().join("/")
}

/// The value of an option of the launcher or the script that is not a knob.
fn after(argv: &[String], from: usize, names: &[&str]) -> Option<String> {
    let flag = Flag {
        name: (*names.first()?).to_owned(),
        also: names[1..].iter().map(|name| (*name).to_owned()).collect(),
        ..Flag::default()
    };
    let spot = spots(argv, from, &[], &flag).pop()?;
    value_at(argv, spot).map(str::to_owned)
}

/// Unique abbreviations accepted by argparse: the argument as written, and the option that it stands for.
fn abbreviations(argv: &[String], peeled: &Peeled, options: &[Opt]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for word in argv.iter().skip(peeled.arguments).filter(|word| word.starts_with("--") && word.len() > 2) {
        let head = word.split('=').next().unwrap_or(word);
        let long = |option: &Opt| option.names.iter().chain(&option.off).any(|name| alike(name, head));
        if options.iter().any(long) {
            continue;
        }
        let begins = |option: &Opt| option.names.iter().any(|name| name.starts_with(head));
        let mut candidates = options.iter().enumerate().filter(|(_, option)| begins(option));
        if let (Some((at, _)), None) = (candidates.next(), candidates.next()) {
            found.push((head.to_owned(), at));
        }
    }
    found
}

/// Configuration files: arguments of the command, and defaults of options that it omits. The option is kept as an
/// output, so that another file can be passed.
fn configs(argv: &[String], peeled: &Peeled, options: &[Opt], outputs: &mut Vec<Flag>) -> BTreeSet<String> {
    let values =
        argv.iter().skip(peeled.arguments).map(|word| word.split_once('=').map_or(word.as_str(), |(_, value)| value));
    let mut found: BTreeSet<String> = values.filter(|value| files::is_config(value)).map(str::to_owned).collect();
    for option in options.iter().filter(|option| option.way == Way::Argument && !option.names.is_empty()) {
        let default = option.default.as_ref().and_then(Value::as_str).filter(|text| files::is_config(text));
        let absent = |name: &String| !argv.iter().any(|word| alike(name, word.split('=').next().unwrap_or(word)));
        if let Some(default) = default.filter(|_| option.names.iter().all(absent) && option.dest.contains("conf")) {
            found.insert(default.to_owned());
            outputs.push(output(option, "config"));
        }
    }
    found
}

fn output(option: &Opt, knob: &str) -> Flag {
    Flag {
        name: option.names.first().cloned().unwrap_or_default(),
        also: option.names.iter().skip(1).cloned().collect(),
        knob: knob.to_owned(),
        default: option.default.clone(),
        way: option.way,
        kind: Kind::Text,
        ..Flag::default()
    }
}

fn entry(way: Way, key: &str, value: &Value, file: Option<&str>) -> Opt {
    let kind = match value {
        Value::Bool(_) => Kind::Bool,
        Value::Number(number) if number.is_f64() => Kind::Float,
        // An integer is accepted for a float.
        Value::Number(_) => Kind::Any,
        Value::String(_) => Kind::Text,
        _ => Kind::Any,
    };
    Opt {
        names: vec![key.to_owned()],
        dest: key.to_owned(),
        way,
        kind,
        default: (!value.is_array() && !value.is_object()).then(|| value.clone()),
        file: file.map(str::to_owned),
        ..Opt::default()
    }
}

/// Undeclared options in the command, recognised by their form.
fn unknown_words(argv: &[String], peeled: &Peeled, options: &[Opt]) -> Vec<Opt> {
    let known =
        |word: &str| options.iter().any(|option| option.names.iter().chain(&option.off).any(|name| alike(name, word)));
    let mut found: Vec<Opt> = Vec::new();
    let mut words = argv.iter().enumerate().skip(peeled.arguments).peekable();
    while let Some((_, word)) = words.next() {
        let (head, joined) = word.split_once('=').map_or((word.as_str(), None), |(head, value)| (head, Some(value)));
        let long = word.starts_with("--") && word.len() > 2;
        if (long || word.starts_with('-')) && !may_be_value(word) {
            let follows =
                words.peek().map(|(_, next)| next.as_str()).filter(|next| joined.is_none() && may_be_value(next));
            let value = joined.or(follows);
            if !known(head) {
                found.push(given_word(head, if value.is_some() { Way::Argument } else { Way::Switch }, value));
            }
        } else if let Some(value) = joined.filter(|_| !head.is_empty()) {
            let key = head.trim_start_matches('+');
            if !known(key) {
                found.push(given_word(key, Way::KeyValue, Some(value)));
            }
        }
    }
    for at in &peeled.assignments {
        if let Some((name, value)) = argv[*at].split_once('=').filter(|(name, _)| !known(name)) {
            found.push(given_word(name, Way::Environment, Some(value)));
        }
    }
    found
}

fn given_word(name: &str, way: Way, value: Option<&str>) -> Opt {
    let kind = match value {
        Some(value) if value.parse::<i64>().is_ok() => Kind::Any,
        Some(value) if value.parse::<f64>().is_ok() => Kind::Float,
        Some(value) if ["true", "false"].contains(&value.to_ascii_lowercase().as_str()) => Kind::Bool,
        Some(_) => Kind::Text,
        None => Kind::Bool,
    };
    let dest = name.trim_start_matches('-').replace('-', "_");
    Opt { names: vec![name.to_owned()], dest, way, kind, ..Opt::default() }
}

fn is_given(seen: &Seen<'_>, peeled: &Peeled, option: &Opt) -> bool {
    let flag = Flag { off: option.off.clone(), ..output(option, "") };
    let in_command = !spots(seen.argv, peeled.arguments, &peeled.assignments, &flag).is_empty();
    in_command || option.way == Way::File || (option.way == Way::Environment && seen.env.contains_key(&flag.name))
}

/// The settings from the command, its files, its environment and its script's defaults, by canonical name.
fn settings(seen: &Seen<'_>, peeled: &Peeled, flags: &[Flag]) -> BTreeMap<String, Value> {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    let mut batches = None;
    for flag in flags {
        let Some(value) = set_to(seen, peeled, flag) else { continue };
        match (flag.unit, flag.knob.as_str()) {
            (Unit::Batches, _) => {
                let is_number = |n: &f64| n.fract() == 0.0 && (*n > 1.0 || !flag.one_is_all());
                batches = value.as_f64().filter(is_number);
            }
            (Unit::Share, _) => {}
            (Unit::Knob, "train_examples") if value.as_f64().is_some_and(|n| n <= 0.0) => {
                found.insert(flag.knob.clone(), Value::Null);
            }
            (Unit::Knob, "lr_decay") if !flag.choices.is_empty() => {
                if value.as_str().is_some_and(meaning::constant) {
                    found.insert(flag.knob.clone(), Value::from(1.0));
                }
            }
            (Unit::Knob, knob @ ("batch_norm" | "normalize_inputs"))
                if !flag.choices.is_empty() && value.is_string() =>
            {
                let text = value.as_str().unwrap_or_default();
                let (on, off) = (meaning::turns(knob, true, text), meaning::turns(knob, false, text));
                // Another norm is no batch norm; another scaling may do as well.
                if on || off || knob == "batch_norm" {
                    found.insert(flag.knob.clone(), Value::Bool(on));
                }
            }
            (Unit::Knob, knob) => {
                let value = canonical_value(knob, &value);
                let empty = ["gradient_clip", "train_examples", "output_activation", "input_scaling"].contains(&knob);
                found.extend(value.filter(|value| !value.is_null() || empty).map(|value| (knob.to_owned(), value)));
            }
        }
    }
    let batch = found.get("batch_size").and_then(Value::as_f64);
    if let (Some(batches), Some(batch)) = (batches, batch) {
        found.insert("train_examples".to_owned(), Value::from(batches * batch).as_f64().map_or(Value::Null, whole));
    }
    found
}

fn whole(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no data set is near its bounds")]
    Value::from(number as i64)
}

/// The value of a flag: from the command, otherwise from its file, its environment, its default.
fn set_to(seen: &Seen<'_>, peeled: &Peeled, flag: &Flag) -> Option<Value> {
    let spots = spots(seen.argv, peeled.arguments, &peeled.assignments, flag);
    match spots.last() {
        Some(Spot::Alone(at)) => {
            let word = &seen.argv[*at];
            Some(Value::Bool(flag.off.as_deref() != Some(word.as_str())))
        }
        Some(spot) => {
            let text = value_at(seen.argv, *spot)?;
            Some(match flag.kind {
                Kind::Truthy => Value::Bool(!text.is_empty()),
                _ => Value::from(text.trim_matches(['"', '\''])),
            })
        }
        None if flag.way == Way::Environment => {
            seen.env.get(&flag.name).map(|text| Value::from(text.as_str())).or_else(|| flag.default.clone())
        }
        None => flag.default.clone(),
    }
}

/// Definitions of where a script writes that are not arguments of the command.
fn outputs(seen: &Seen<'_>, options: &[Opt], launched: &mut Launched) {
    for option in options {
        let Some(kind) = option.names.first().and_then(|name| meaning::writes(name)) else { continue };
        if !matches!(option.kind, Kind::Text | Kind::Any)
            || launched.outputs.iter().any(|known| known.name == option.names[0])
        {
            continue;
        }
        let flag = output(option, kind);
        match option.way {
            Way::Environment if !is_secret_name(&flag.name) => {
                let value = seen.env.get(&flag.name).cloned();
                launched.output_env.extend(value.map(|value| (flag.name.clone(), value)));
                launched.outputs.push(flag);
            }
            Way::Argument | Way::KeyValue => launched.outputs.push(flag),
            Way::Environment | Way::Switch | Way::File | Way::Overrides => {}
        }
    }
    // Assignments in front of the command are part of its arguments.
    launched.output_env.retain(|name, _| {
        !launched.argv.iter().any(|word| is_assignment(word) && base(word).starts_with(&format!("{name}=")))
    });
}
