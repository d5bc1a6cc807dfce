//! Converts the file to checked settings.
//!
//! Owns: the keys of the file. Must not know: the location of files, the environment.
//!
//! Reading continues after a mistake so that all are reported at once. Settings with a mistake are never returned.

mod budgets;
mod destinations;
mod experiments;
mod launch;
mod noise;
mod people;
mod redact;
mod status;
mod store;
mod values;
mod watch;

use std::path::{Path, PathBuf};

use crate::signals::{Signal, SignalRules, SiteRule, SiteRuleError};
use crate::yaml::{Fields, Kind, Node, Problem, Problems, Span, suggest};

use super::Vocabulary;
use super::policies::{Policies, PolicyChoice};
use super::settings::{Limits, Settings};

const KEYS: [&str; 20] = [
    "watch",
    "destinations",
    "allowed_hosts",
    "noise",
    "launch",
    "experiments",
    "policy",
    "limits",
    "control",
    "approval",
    "approvers",
    "owners",
    "budgets",
    "probes",
    "signals",
    "prior",
    "state",
    "store",
    "keep_closed",
    "status",
];
const LIMITS: [&str; 5] = ["experiments", "hours", "at_once", "start_within", "ask_wait"];

/// Reads a configuration.
///
/// `origin` is the name of the text in messages, `folder` the base of relative paths, and `vocabulary` the names that
/// the file can use.
///
/// # Errors
///
/// All mistakes, in the order of the text.
pub fn parse(text: &str, origin: &str, folder: &Path, vocabulary: &Vocabulary) -> Result<Settings, Vec<Problem>> {
    let mut reader = Reader { problems: Problems::new(text, origin), folder, vocabulary, queues: Vec::new() };
    // A file that contains only comments sets nothing.
    let only_comments = text.lines().map(str::trim_start).all(|line| line.is_empty() || line.starts_with('#'));
    if only_comments {
        return Ok(Settings::default());
    }
    let root = crate::yaml::read(&mut reader.problems);
    let settings = root.as_ref().map(|root| reader.settings(root));
    let mut problems = reader.problems.into_sorted();
    redact::redact(&mut problems, root.as_ref());
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(problems),
    }
}

struct Reader<'t> {
    problems: Problems<'t>,
    folder: &'t Path,
    vocabulary: &'t Vocabulary,
    /// Destinations that log directories name.
    queues: Vec<(String, Span)>,
}

impl Reader<'_> {
    fn settings(&mut self, root: &Node) -> Settings {
        let mut settings = Settings::default();
        let Some(fields) = Fields::new(root, "the configuration", &KEYS, &mut self.problems) else { return settings };
        if let Some(node) = fields.get("watch") {
            settings.watch = self.watch(node);
        }
        if let Some(node) = fields.get("destinations") {
            settings.destinations = self.destinations(node);
        }
        self.check_queues(&settings.destinations);
        settings.allowed_hosts = fields.get("allowed_hosts").map(|node| self.hosts(node));
        if let Some(node) = fields.get("noise") {
            settings.noise = self.noise(node);
        }
        if let Some(node) = fields.get("launch") {
            settings.launches = self.launches(node);
        }
        if let Some(node) = fields.get("experiments") {
            settings.experiments = self.experiments(node);
        }
        if let Some(node) = fields.get("policy") {
            settings.policies = self.policies(node);
        }
        if let Some(node) = fields.get("limits") {
            settings.limits = self.limits(node);
        }
        settings.control = fields.get("control").map(|node| self.control(node)).unwrap_or_default();
        settings.approval = fields.get("approval").map(|node| self.approval(node)).unwrap_or_default();
        settings.approvers = fields.get("approvers").map(|node| self.approvers(node)).unwrap_or_default();
        settings.owners = fields.get("owners").map(|node| self.owners(node)).unwrap_or_default();
        settings.budgets = fields.get("budgets").map(|node| self.budgets(node)).unwrap_or_default();
        settings.probes = fields.get("probes").map(|node| self.probes(node)).unwrap_or_default();
        if let Some(node) = fields.get("signals") {
            settings.signals = self.signals(node);
        }
        settings.prior = fields.get("prior").and_then(|node| self.prior(node));
        if let Some(node) = fields.get("state") {
            settings.state = self.path(node, "`state`").unwrap_or_default();
        }
        settings.store = fields.get("store").and_then(|node| self.store(node));
        if let Some(node) = fields.get("keep_closed") {
            settings.keep = self.keep(node);
        }
        settings.status = fields.get("status").and_then(|node| self.status(node));
        settings
    }

    /// A probability that evidence can change, so neither 0 nor 1.
    fn prior(&mut self, node: &Node) -> Option<f64> {
        let prior = node.number("`prior`", &mut self.problems)?;
        if !(prior > 0.0 && prior < 1.0) {
            let help = "this is the fraction of all jobs that fail: for example 0.05 if one job in twenty fails";
            self.problems.add_help(node.place, "`prior` must be between 0 and 1, exclusive", help);
            return None;
        }
        Some(prior)
    }

    fn limits(&mut self, node: &Node) -> Limits {
        let mut limits = Limits::default();
        let Some(fields) = Fields::new(node, "`limits`", &LIMITS, &mut self.problems) else { return limits };
        let count = |name: &str, problems: &mut Problems<'_>| {
            fields.get(name).and_then(|node| node.count(&format!("`{name}`"), problems))
        };
        limits.experiments = count("experiments", &mut self.problems);
        limits.at_once = count("at_once", &mut self.problems).unwrap_or(limits.at_once);
        if let Some(node) = fields.get("hours") {
            limits.hours = node.number("`hours`", &mut self.problems).filter(|hours| *hours > 0.0);
            if limits.hours.is_none() {
                self.problems.add(node.place, "`hours` must be greater than 0");
            }
        }
        if let Some(time) = fields.get("start_within").and_then(|node| self.positive(node, "`start_within`")) {
            limits.start_within = time;
        }
        if let Some(node) = fields.get("ask_wait").filter(|node| !node.is_word("auto")) {
            limits.ask_wait = self.duration(node, "`ask_wait`", "`auto` or ");
        }
        limits
    }

    fn policies(&mut self, node: &Node) -> Policies {
        let mut policies = Policies::default();
        if let Kind::Scalar(_) = &node.kind {
            policies.default = self.default_policy(node);
            return policies;
        }
        let Some(fields) = Fields::new(node, "`policy`", &["default", "jobs"], &mut self.problems) else {
            return policies;
        };
        policies.default = fields.get("default").and_then(|node| self.default_policy(node));
        let jobs = fields.get("jobs").map_or(&[][..], |node| node.entries("`jobs`", &mut self.problems));
        for (key, node) in jobs {
            let (glob, choice) = (self.glob(&key.name, key.place), self.policy(node));
            policies.by_job.extend(glob.zip(choice));
        }
        policies
    }

    /// A policy, or `by_kind`: the built-in policy for a job's kind of training.
    fn default_policy(&mut self, node: &Node) -> Option<PolicyChoice> {
        if node.kind == Kind::Scalar("by_kind".into()) { None } else { self.policy(node) }
    }

    /// Text that looks like a path is a file; anything else must be a built-in policy.
    fn policy(&mut self, node: &Node) -> Option<PolicyChoice> {
        let name = node.text("a policy", &mut self.problems)?;
        let like_a_path = name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml");
        if like_a_path {
            return self.path(node, "a policy").map(PolicyChoice::File);
        }
        let built_in = &self.vocabulary.policies;
        if !built_in.iter().any(|known| known == name) {
            let help = suggest(name, built_in.iter().map(String::as_str));
            let help = help.map_or(String::new(), |help| format!("{help} "))
                + "write a file with its directory, as in ./mine.yaml";
            self.problems.add_help(node.place, format!("there is no built-in policy `{name}`"), help);
            return None;
        }
        Some(PolicyChoice::BuiltIn(name.to_owned()))
    }

    fn signals(&mut self, node: &Node) -> Vec<SiteRule> {
        let mut rules = Vec::new();
        for (key, node) in node.entries("`signals`", &mut self.problems) {
            let signal = Signal::from_name(&key.name).filter(|signal| *signal != Signal::PartOfLoss);
            if signal.is_none() && key.name != "ignore" {
                let names = Signal::ALL.into_iter().filter(|signal| *signal != Signal::PartOfLoss).map(Signal::as_str);
                let help = suggest(&key.name, names.chain(["ignore"]));
                self.problems.add_maybe(key.place, format!("there is no signal `{}`", key.name), help);
                continue;
            }
            for (pattern, place) in self.texts(node, "patterns of tags") {
                let rule = SiteRule { signal, pattern };
                match SignalRules::with_site(std::slice::from_ref(&rule)) {
                    Ok(_) => rules.push(rule),
                    Err((
                        _,
                        error @ (SiteRuleError::Empty { .. }
                        | SiteRuleError::NoLayer { .. }
                        | SiteRuleError::TooLong { .. }),
                    )) => {
                        self.problems.add(place, error.to_string());
                    }
                }
            }
        }
        rules
    }

    /// A path; relative paths are relative to the directory of the file.
    fn path(&mut self, node: &Node, what: &str) -> Option<PathBuf> {
        let text = node.text(what, &mut self.problems)?;
        if text.is_empty() || text == "~" || text.starts_with("~/") || text.contains('\0') {
            let help = "write an absolute path, or a path relative to the directory of this file; `~` is not expanded";
            self.problems.add_help(node.place, format!("{what} must be a path, but this is `{text}`"), help);
            return None;
        }
        Some(self.folder.join(text))
    }
}
