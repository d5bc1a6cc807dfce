//! The section `launch`.

use std::collections::BTreeMap;

use crate::config::launch::{COMMAND_HOLES, Carrier, Launch, Pattern, Way};
use crate::config::words::{self, Template, Wrong};
use crate::policy::{Formula, KNOBS};
use crate::yaml::{Fields, Kind, Node, suggest};

use super::Reader;

const LAUNCH: [&str; 5] = ["jobs", "command", "knobs", "own_names", "own_knobs"];
const WAYS: [Way; 3] = [Way::Argument, Way::Env, Way::Hydra];

impl Reader<'_> {
    /// One script, or a list of scripts; the first that matches a job applies.
    pub(super) fn launches(&mut self, node: &Node) -> Vec<Launch> {
        let nodes: &[Node] = if let Kind::List(items) = &node.kind { items } else { std::slice::from_ref(node) };
        let launches: Vec<Launch> = nodes.iter().filter_map(|node| self.launch(node)).collect();
        let shadow = launches.iter().position(|launch| launch.jobs.is_empty());
        if let Some(node) = shadow.and_then(|place| nodes.get(place + 1)).filter(|_| launches.len() == nodes.len()) {
            let help = "add `jobs:` to the previous block, or put that block last";
            self.problems.add_help(
                node.place,
                "this block is never used because the previous one matches all jobs",
                help,
            );
        }
        launches
    }

    fn launch(&mut self, node: &Node) -> Option<Launch> {
        let fields = Fields::new(node, "`launch`", &LAUNCH, &mut self.problems)?;
        let mut launch = Launch {
            jobs: fields.get("jobs").map(|node| self.globs(node, "`jobs`")).unwrap_or_default(),
            command: fields.get("command").and_then(|node| self.command(node)),
            own_knobs: fields.get("own_knobs").map(|node| self.own_knobs(node)).unwrap_or_default(),
            ..Launch::default()
        };
        if let Some(node) = fields.get("knobs") {
            launch.knobs = Some(self.knobs(node, &launch.own_knobs));
        }
        if let Some(node) = fields.get("own_names") {
            launch.own_names = self.own_names(node, &launch.own_knobs);
        }
        Some(launch)
    }

    fn command(&mut self, node: &Node) -> Option<Template> {
        let text = node.text("`command`", &mut self.problems)?;
        let template = match Template::parse(text, &COMMAND_HOLES) {
            Ok(template) => template,
            Err(reason) => {
                self.problems.add(node.place, format!("`command`: {reason}"));
                return None;
            }
        };
        if template.has_quoted_hole() {
            let help = "remove the quotes; values are quoted automatically if necessary";
            self.problems.add_help(node.place, "a placeholder of `command` is between quotes", help);
        }
        if !template.has("arguments") && !template.has("settings") {
            let help = "put {settings} at the position of the script's arguments; it expands to the baseline's settings, \
                 followed by the changes";
            self.problems.add_help(
                node.place,
                "`command` contains neither {settings} nor {arguments}, so changes would not reach the script",
                help,
            );
        }
        Some(template)
    }

    fn own_knobs(&mut self, node: &Node) -> BTreeMap<String, String> {
        let mut own = BTreeMap::new();
        for (key, node) in node.entries("`own_knobs`", &mut self.problems) {
            let word = key.name.starts_with(|c: char| c.is_ascii_lowercase())
                && key.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if !word {
                let help = "names must consist of lower-case letters, digits and `_`, and begin with a letter, because policies use them";
                self.problems.add_help(key.place, format!("`{}` is not a valid knob name", key.name), help);
            } else if KNOBS.iter().any(|(known, _)| *known == key.name) {
                self.problems.add(key.place, format!("`{}` is already a knob", key.name));
            }
            if let Some(meaning) = node.text("the meaning of a knob", &mut self.problems) {
                own.insert(key.name.clone(), meaning.to_owned());
            }
        }
        own
    }

    fn known_knob(&mut self, name: &str, place: crate::yaml::Span, own: &BTreeMap<String, String>) -> bool {
        let names = || KNOBS.iter().map(|(name, _)| *name).chain(own.keys().map(String::as_str));
        let known = names().any(|known| known == name);
        if !known {
            let near = suggest(name, names()).filter(|help| help.starts_with("did you mean"));
            let help =
                near.unwrap_or_else(|| format!("declare custom knobs first: own_knobs: {{{name}: \"its meaning\"}}"));
            self.problems.add_help(place, format!("there is no knob `{name}`"), help);
        }
        known
    }

    fn own_names(&mut self, node: &Node, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for (key, node) in node.entries("`own_names`", &mut self.problems) {
            if let Some(knob) = node.text("the knob for a name", &mut self.problems)
                && self.known_knob(knob, node.place, own)
            {
                names.insert(key.name.clone(), knob.to_owned());
            }
        }
        names
    }

    fn knobs(&mut self, node: &Node, own: &BTreeMap<String, String>) -> BTreeMap<String, Vec<Carrier>> {
        let mut knobs = BTreeMap::new();
        for (key, node) in node.entries("`knobs`", &mut self.problems) {
            self.known_knob(&key.name, key.place, own);
            let what = format!("the knob `{}`", key.name);
            let keys = WAYS.map(Way::key);
            let Some(fields) = Fields::new(node, &what, &keys, &mut self.problems) else { continue };
            let given = WAYS.into_iter().filter_map(|way| Some((way, fields.get(way.key())?)));
            let carriers: Vec<Carrier> =
                given.filter_map(|(way, node)| Some(Carrier { way, pattern: self.pattern(way, node, own)? })).collect();
            if keys.iter().all(|key| fields.get(key).is_none()) {
                let help = "write, for example, {argument: \"--lr={value}\"}";
                self.problems.add_help(fields.place(), format!("{what} needs argument, env or hydra"), help);
            }
            knobs.insert(key.name.clone(), carriers);
        }
        knobs
    }

    fn pattern(&mut self, way: Way, node: &Node, own: &BTreeMap<String, String>) -> Option<Pattern> {
        let Kind::Map(entries) = &node.kind else { return self.words(way, node, own).map(Pattern::Always) };
        let mut cases = BTreeMap::new();
        let mut otherwise = None;
        for (key, node) in entries {
            let words = self.words(way, node, own)?;
            if key.name == "otherwise" {
                otherwise = Some(words);
            } else {
                cases.insert(key.name.clone(), words);
            }
        }
        Some(Pattern::ByValue { cases, otherwise })
    }

    fn words(&mut self, way: Way, node: &Node, own: &BTreeMap<String, String>) -> Option<Vec<Template>> {
        let key = way.key();
        let text = node.text(&format!("`{key}`"), &mut self.problems)?;
        let split = if way == Way::Argument { words::split(text) } else { Ok(vec![text.to_owned()]) };
        let compile = |source: &str| Formula::compile(source, own.keys().map(String::as_str));
        let parsed = split.map_err(Wrong::Text).and_then(|words| {
            words
                .iter()
                .filter(|word| way == Way::Argument || !word.is_empty())
                .map(|word| Template::read(word, &["value"], Some(&compile)))
                .collect()
        });
        let words: Vec<Template> = match parsed {
            Ok(words) => words,
            Err(Wrong::Text(reason)) => {
                self.problems.add(node.place, format!("`{key}`: {reason}"));
                return None;
            }
            Err(Wrong::Formula(source, faults)) => {
                let start = text.find(&source).unwrap_or(0);
                for fault in faults {
                    let part = start + fault.span.start..start + fault.span.end;
                    let at = node.place.inside(self.problems.text(), text, &part);
                    self.problems.add_maybe(at, format!("`{key}`: {}", fault.message), fault.help);
                }
                return None;
            }
        };
        if way != Way::Argument && words.iter().any(|word| !is_assignment(way, word.source())) {
            let (example, what) = match way {
                Way::Env => ("LR={value}", "an environment variable"),
                Way::Argument | Way::Hydra => ("optim.lr={value}", "an override"),
            };
            self.problems.add_help(
                node.place,
                format!("`{key}` must set {what}"),
                format!("write, for example, {example}"),
            );
            return None;
        }
        Some(words)
    }
}

fn is_assignment(way: Way, text: &str) -> bool {
    let Some((name, _)) = text.split_once('=') else { return false };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || (way == Way::Hydra && "./+~@-".contains(c));
    !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}
