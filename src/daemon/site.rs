//! Converts the operator's settings to the input of the diagnosis.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::case::Budget;
use crate::config::{
    self, ASK_WAIT, PolicyChoice, PresetChoice, PresetField, QuietAfter, Settings, WatchSettings, text_of,
};
use crate::destinations::{self, Preset};
use crate::diagnosis::{Choice, Directory, Per, Probes, Script, Site, SiteBudget};
use crate::jobs::QuietLimit;
use crate::logdir::Place;
use crate::policy::{self, Policy, Problem};
use crate::signals::SignalRules;
use crate::symptoms;

/// Maximum number of seconds that the runner needs to find the process of a job and to analyse its script, including
/// git.
const COMMAND_WITHIN: f64 = 5.0;

/// A built-in policy with its tests.
struct BuiltIn {
    name: &'static str,
    text: &'static str,
    tests: &'static str,
}

/// A policy from `policies/`, by name.
macro_rules! built_in {
    ($name:literal) => {
        BuiltIn {
            name: $name,
            text: include_str!(concat!("../../policies/", $name, ".yaml")),
            tests: include_str!(concat!("../../policies/", $name, ".test.yaml")),
        }
    };
}

/// The built-in policies; to add one, add its name.
const BUILT_IN: &[BuiltIn] = &[
    built_in!("article"),
    built_in!("boosting"),
    built_in!("pretraining"),
    built_in!("quick"),
    built_in!("reinforcement"),
    built_in!("watch-only"),
];

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// There is no built-in policy of this name.
    #[error("there is no built-in policy `{name}`; available: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The available names.
        known: String,
    },
    /// Its file cannot be read.
    #[error("could not read the policy {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It has problems.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
    /// A tag pattern of the site is invalid.
    #[error("signals, rule {number}: {reason}")]
    Signals {
        /// Its number, from 1.
        number: usize,
        /// The problem.
        reason: String,
    },
}

/// The names of the built-in policies.
pub fn built_in_policies() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|policy| policy.name)
}

/// The tests of a built-in policy, and their source.
pub fn built_in_tests(name: &str) -> Option<(&'static str, String)> {
    let policy = BUILT_IN.iter().find(|policy| policy.name == name)?;
    Some((policy.tests, format!("{name}.test.yaml")))
}

/// The text of a policy and its source.
///
/// # Errors
/// There is no policy of that name, or its file cannot be read.
pub fn policy_text(choice: &PolicyChoice) -> Result<(String, String), PolicyError> {
    match choice {
        PolicyChoice::BuiltIn(name) => {
            let known = || built_in_policies().collect::<Vec<_>>().join(", ");
            let found = BUILT_IN.iter().find(|policy| policy.name == name);
            let policy = found.ok_or_else(|| PolicyError::Unknown { name: name.clone(), known: known() })?;
            Ok((policy.text.to_owned(), format!("{name}.yaml")))
        }
        PolicyChoice::File(path) => {
            let text = text_of(path);
            let text = text.map_err(|source| PolicyError::Unreadable { path: path.clone(), source })?;
            Ok((text, path.display().to_string()))
        }
    }
}

/// Reads and checks a policy.
///
/// # Errors
/// The policy cannot be read, or has problems.
pub fn load_policy(choice: &PolicyChoice, settings: &Settings) -> Result<Policy, PolicyError> {
    let (text, origin) = policy_text(choice)?;
    let named = settings.launches.iter().flat_map(|l| l.knobs().unwrap_or_default());
    let meant = settings.launches.iter().flat_map(|l| l.own_knobs.keys().cloned());
    let own: Vec<String> = named.chain(meant).collect();
    let vocabulary = policy::Vocabulary::new(symptoms::ids()).with_knobs(own.iter().map(String::as_str));
    let policy = policy::parse(&text, &origin, &vocabulary).map_err(PolicyError::Problems)?;
    let mut limits = policy.limits();
    limits.experiments = settings.limits.experiments.unwrap_or(limits.experiments);
    limits.hours = settings.limits.hours.unwrap_or(limits.hours);
    Ok(policy.with_limits(limits))
}

/// The input of the diagnosis.
///
/// # Errors
/// A policy or a tag pattern is invalid.
pub fn site_of(settings: &Settings) -> Result<Site, PolicyError> {
    let signals = SignalRules::with_site(&settings.signals)
        .map_err(|(i, error)| PolicyError::Signals { number: i + 1, reason: error.to_string() })?;
    // The first policy for a kind of training applies; `quick` comes after `article` and is chosen only by name.
    let by_kind = BUILT_IN.iter().map(|policy| PolicyChoice::BuiltIn(policy.name.to_owned()));
    let mut named: Vec<PolicyChoice> = settings.named_policies().cloned().collect();
    let mut defaults = settings.watch.iter().map(|one| one.policy.as_ref().unwrap_or(&settings.policies));
    let some_by_kind = defaults.any(|policies| policies.default.is_none());
    named.extend(by_kind.filter(|_| some_by_kind));
    let mut policies: Vec<(PolicyChoice, Arc<Policy>)> = Vec::new();
    for choice in named {
        if policies.iter().all(|(known, _)| *known != choice) {
            let policy = Arc::new(load_policy(&choice, settings)?);
            policies.push((choice, policy));
        }
    }
    let whole = Arc::new(settings.clone());
    let choices = policies.into_iter().map(|(choice, policy)| {
        let settings = whole.clone();
        let kinds = policy.kinds().clone();
        let is_for = move |job: &str, kind: &str| {
            let suits = settings.policy_of(job).map_or_else(|| kinds.contains(kind), |named| *named == choice);
            settings.watch.watches(job) && suits
        };
        Choice { policy, is_for: Arc::new(is_for) }
    });
    let scripts = settings.launches.iter().cloned().map(|launch| Script {
        knobs: launch.knobs(),
        own_names: own_names(&launch),
        is_for: Arc::new(move |job| launch.is_for(job)),
    });
    Ok(Site {
        signals,
        scripts: scripts.collect(),
        policies: choices.collect(),
        at_once: settings.limits.at_once as usize,
        start_within: settings.limits.start_within.as_secs_f64(),
        answer_within: settings.limits.ask_wait.unwrap_or_default().as_secs_f64(),
        prior: settings.prior(),
        control: settings.control,
        approval: settings.approval,
        approve_within: settings.limits.ask_wait.unwrap_or_default().max(ASK_WAIT).as_secs_f64(),
        by_hand: false,
        budgets: budgets_of(settings),
        gpus: settings.budgets.gpus,
        probes: probes_of(settings),
        directories: settings.watch.iter().map(directory).collect(),
        command_within: if settings.destinations.iter().any(|d| d.preset.is("runner")) { COMMAND_WITHIN } else { 0.0 },
    })
}

fn budgets_of(settings: &Settings) -> Vec<SiteBudget> {
    let of = |of: String, per, budget, jobs: Vec<config::Glob>| SiteBudget {
        of,
        per,
        budget,
        is_for: Arc::new(move |job| jobs.is_empty() || jobs.iter().any(|glob| glob.matches(job))),
    };
    let budgets = &settings.budgets;
    let mut all = vec![of("the budget of the case".to_owned(), Per::Case, budgets.case, Vec::new())];
    all.push(of("the daily budget".to_owned(), Per::Day, budgets.day, Vec::new()));
    let teams = budgets.teams.iter();
    all.extend(
        teams.map(|team| of(format!("the daily budget of team {}", team.name), Per::Day, team.day, team.jobs.clone())),
    );
    all.retain(|budget| budget.budget != Budget::default());
    all
}

/// Probes need the consent of job owners, so without a pattern there are none.
fn probes_of(settings: &Settings) -> Option<Probes> {
    let config::Probes { jobs, share, audit } = settings.probes.clone();
    let is_for = move |job: &str| jobs.iter().any(|glob| glob.matches(job));
    (!settings.probes.jobs.is_empty()).then(|| Probes { is_for: Arc::new(is_for), share, audit })
}

fn directory(watch: &WatchSettings) -> Directory {
    Directory {
        name: watch.name.clone(),
        roots: roots_of(watch),
        patience: match watch.quiet_after {
            QuietAfter::Adaptive { floor } => QuietLimit::Adaptive { floor: floor.as_secs_f64() },
            QuietAfter::Fixed(time) => QuietLimit::Fixed(time.as_secs_f64()),
        },
        history_after: watch.ignore_older_than.map_or(f64::INFINITY, |time| time.as_secs_f64()),
    }
}

/// A log directory as named by those who observe which files a job opens: by its real path, with links resolved.
fn roots_of(watch: &WatchSettings) -> Vec<String> {
    let Some(Place::Disk(path)) = &watch.logdir else { return Vec::new() };
    let real = std::fs::canonicalize(path).ok();
    let absolute = std::path::absolute(path).ok();
    real.into_iter().chain(absolute).map(|path| path.display().to_string()).collect()
}

/// The names under which a script logs its knobs; a custom knob is also logged under its own name.
fn own_names(launch: &config::Launch) -> BTreeMap<String, String> {
    let plain = launch.own_knobs.keys().map(|name| (name.clone(), name.clone()));
    plain.chain(launch.own_names.clone()).collect()
}

/// The preset of a destination.
///
/// # Errors
/// There is no preset of that name, or its file cannot be read.
pub fn preset_of(choice: &PresetChoice) -> Result<Preset, destinations::PresetError> {
    match choice {
        PresetChoice::Shipped(name) => Preset::shipped(name),
        PresetChoice::File(path) => Preset::from_file(path),
    }
}

/// Names defined by other parts that the configuration can use.
pub fn vocabulary() -> config::Vocabulary {
    let presets = Preset::names().filter_map(|name| Preset::shipped(name).ok().map(|preset| (name.to_owned(), preset)));
    config::Vocabulary {
        presets: presets.map(|(name, preset)| (name, fields_of(&preset))).collect(),
        preset_file: Some(|path| {
            Preset::from_file(path).map(|preset| fields_of(&preset)).map_err(|error| error.to_string())
        }),
        policies: built_in_policies().map(str::to_owned).collect(),
        symptoms: symptoms::ids().map(str::to_owned).collect(),
    }
}

fn fields_of(preset: &Preset) -> Vec<PresetField> {
    let field = |(name, field): (&String, &destinations::Field)| PresetField {
        name: name.clone(),
        kind: field.kind,
        need: field.need,
        help: field.help.clone(),
    };
    preset.fields.iter().map(field).collect()
}
