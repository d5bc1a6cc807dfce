//! The file that the operator writes, checked, and the settings that come of it.
//!
//! Owns: the keys of the file, defaults, secrets, and how a knob reaches a script. Must not know: how the parts work
//! that it sets up; what it needs to know of them is handed to it as a `Vocabulary`.

mod duration;
mod glob;
mod launch;
mod noise;
mod overrides;
mod people;
mod read;
mod secret;
mod settings;
mod show;
mod words;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

pub use duration::{DurationError, parse_duration, show_duration};
pub use glob::Glob;
pub use launch::{Launch, Placement, Rendered};
pub use noise::{Burst, KnobTest, Noise, Quiet, Route, Rule, Span};
pub use overrides::Overrides;
pub use people::{Approvers, Owners};
pub use read::parse;
pub use secret::{Secret, SecretError, SecretSource, Variables};
pub use settings::{
    ASK_WAIT, Budgets, DestinationSettings, FieldValue, Keep, Limits, OnUnknown, Patience, Policies, PolicyChoice,
    Poll, PresetChoice, QuietAfter, RunnerSettings, Settings, StatusSettings, Team, TokenSources, WatchSettings,
};
pub use show::show;

use crate::yaml::Problem;

/// What the file may name that other parts own.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// The presets of destinations, each with its fields.
    pub presets: Vec<(String, Vec<PresetField>)>,
    /// Reads the fields of a preset that is a file; without it there are no such presets.
    pub preset_file: Option<ReadPreset>,
    /// The policies that are built in.
    pub policies: Vec<String>,
    /// The symptoms that a job can show.
    pub symptoms: Vec<String>,
}

/// The fields of the preset in a file, or what is wrong with it.
pub type ReadPreset = fn(&Path) -> Result<Vec<PresetField>, String>;

/// A setting that a preset asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresetField {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub holds: Holds,
    /// Whether it must be set.
    pub need: Need,
    /// What it is, for messages.
    pub help: String,
}

/// What a setting of a destination holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A token or signing secret: never in the file itself.
    Secret,
    /// An address; one whose path is a secret is not in the file itself.
    Address,
    /// A token for each owner of jobs, in place of `user` and `token`.
    Accounts,
    /// Anything else.
    Text,
}

/// Whether a setting must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Without it there is no destination.
    Required,
    /// It may be left out.
    Optional,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file has mistakes: all of them, in the order of the file.
    #[error("{}", listed(.0))]
    Problems(Vec<Problem>),
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n\n")
}

/// Files that people write are shorter by far; devices and logs named by mistake are not.
const MAX_FILE: u64 = 4 << 20;

/// The text of a file that people write.
///
/// # Errors
///
/// It cannot be read, is no text, or is longer than 4 MiB.
pub fn text_of(path: &Path) -> io::Result<String> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, "it is longer than 4 MiB, which no such file is");
    read_at_most(path, MAX_FILE)?.ok_or_else(too_long)
}

/// The text of a file; `None` if it has more than so many bytes, of which no more are read.
fn read_at_most(path: &Path, most: u64) -> io::Result<Option<String>> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    Ok((text.len() as u64 <= most).then_some(text))
}

/// Reads the file, or takes the defaults where there is none, and lets the command line have the last word.
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
