//! Checks the operator's file and turns it into settings.
//!
//! Owns: the keys of the file, defaults, secrets, and how a script sets a knob. Must not know: the internals of the
//! parts that it configures; the names that it needs are passed in as a `Vocabulary`.

mod duration;
mod glob;
mod launch;
mod noise;
mod overrides;
mod people;
mod policies;
mod read;
mod secret;
mod settings;
mod show;
mod watch;
mod words;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

pub use duration::{DurationError, parse_duration, show_duration};
pub use glob::Glob;
pub use launch::{Launch, Placement, Rendered};
pub use noise::{Burst, KnobTest, Noise, Quiet, Route, Rule, Span};
pub use overrides::Overrides;
pub use people::{Approvers, Owners};
pub use policies::{Policies, PolicyChoice};
pub use read::parse;
pub use secret::{Secret, SecretError, SecretSource, Variables};
pub use settings::{
    ASK_WAIT, Budgets, DestinationSettings, FieldValue, Keep, Limits, OnUnknown, Patience, PresetChoice, Probes,
    RunnerSettings, ServerSettings, Settings, StatusSettings, Team, TokenSources,
};
pub use show::show;
pub use watch::{Poll, QuietAfter, WatchSettings, Watched};

use crate::yaml::Problem;

/// Names defined by other parts that the file can use.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// The presets of destinations with their fields.
    pub presets: Vec<(String, Vec<PresetField>)>,
    /// Reads the fields of a preset file; `None` if preset files are not supported.
    pub preset_file: Option<ReadPreset>,
    /// The built-in policies.
    pub policies: Vec<String>,
    /// The symptoms that a job can show.
    pub symptoms: Vec<String>,
}

/// The fields of a preset file, or its problems.
pub type ReadPreset = fn(&Path) -> Result<Vec<PresetField>, String>;

/// A setting of a preset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresetField {
    /// Its name.
    pub name: String,
    /// The kind of value.
    pub kind: FieldKind,
    /// Whether it is required.
    pub need: Need,
    /// Its description, for messages.
    pub help: String,
}

/// The kind of value of a destination's setting. Templates of addresses and headers can use all settings, those of bodies
/// only text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// An `http` or `https` address. If its path is a secret, it is not written in the file itself.
    Url,
    /// A token or signing secret; never written in the file itself.
    Secret,
    /// A token for each job owner, in place of `user` and `token`.
    Accounts,
    /// Anything else.
    Text,
}

/// Whether a setting must be given, or a request must succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Required for the destination or the delivery.
    Required,
    /// Can be omitted, or may fail.
    Optional,
}

/// Why the settings could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("could not read the configuration {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file has mistakes; lists all of them in the order of the file.
    #[error("{}", listed(.0))]
    Problems(Vec<Problem>),
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n\n")
}

/// Human-written files are much shorter; devices and logs named by mistake are longer.
const MAX_FILE: u64 = 4 << 20;

/// Reads the text of a human-written file.
///
/// # Errors
///
/// The file cannot be read, is not text, or is longer than 4 MiB.
pub fn text_of(path: &Path) -> io::Result<String> {
    let too_long =
        || io::Error::new(io::ErrorKind::InvalidData, "it is longer than 4 MiB, the limit for configuration files");
    read_at_most(path, MAX_FILE)?.ok_or_else(too_long)
}

/// Reads the text of a file; returns `None` if it exceeds the limit, after reading at most that many bytes.
fn read_at_most(path: &Path, most: u64) -> io::Result<Option<String>> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    Ok((text.len() as u64 <= most).then_some(text))
}

/// Reads the file, or uses the defaults if there is none. Command-line options override the file.
///
/// # Errors
///
/// The file cannot be read, or has mistakes.
pub fn load(
    file: Option<&Path>,
    overrides: &Overrides,
    variables: &Variables,
    vocabulary: &Vocabulary,
) -> Result<Settings, ConfigError> {
    let mut settings = match file {
        Some(path) => {
            let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
            let text = text_of(path).map_err(unreadable)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = std::path::absolute(folder).map_err(unreadable)?;
            parse(&text, &path.display().to_string(), &folder, vocabulary).map_err(ConfigError::Problems)?
        }
        None => Settings::default(),
    };
    overrides.apply(&mut settings);
    settings.fill_defaults(variables);
    Ok(settings)
}
