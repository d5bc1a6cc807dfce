//! How a job was started, if known.
//!
//! Owns: the record passed from the observer of the command (`nextrun run`, the runner, an engine) to the case. Must
//! not know: how knobs are found in a command or rewritten, and who runs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The source of a command, in order of precedence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `nextrun run` started it.
    #[default]
    Run,
    /// The engine that ran it reported its command.
    Engine,
    /// The runner read it from the process that writes the event files.
    Process,
}

/// The source and owner of a suggested run's command, which runs only under its owner's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandFrom {
    /// The source.
    pub source: CommandSource,
    /// The user who owns the source; `None` if unknown, or for the site's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
}

/// The source of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandSource {
    /// The site's configuration.
    Configuration,
    /// The record of `nextrun run`.
    Run,
    /// The engine that ran the baseline.
    Engine,
    /// The baseline's process.
    Process,
}

impl CommandFrom {
    /// A command in the site's configuration.
    pub const CONFIGURATION: CommandFrom = CommandFrom { source: CommandSource::Configuration, owner: None };
}

impl From<&Launched> for CommandFrom {
    fn from(launched: &Launched) -> CommandFrom {
        let source = match launched.source {
            Source::Run => CommandSource::Run,
            Source::Engine => CommandSource::Engine,
            Source::Process => CommandSource::Process,
        };
        CommandFrom { source, owner: launched.owner }
    }
}

/// How a value is passed to a script.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// `--name value` or `--name=value`.
    #[default]
    Argument,
    /// `--name`, without a value.
    Switch,
    /// `name=value`.
    KeyValue,
    /// An environment variable.
    Environment,
    /// An entry of a configuration file named in the command.
    File,
    /// The script reads it from `NEXTRUN_OVERRIDES`, like the Python package; the command is unchanged.
    Overrides,
}

/// How a script parses a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Unknown.
    #[default]
    Any,
    /// An integer.
    Int,
    /// A number.
    Float,
    /// A Boolean word.
    Bool,
    /// Python's `bool(text)`: every non-empty text is true.
    Truthy,
    /// A text.
    Text,
}

/// The unit of a script's number, if it differs from the unit of its knob.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// The unit of the knob.
    #[default]
    Knob,
    /// Batches, for a knob that counts examples.
    Batches,
    /// A fraction between 0 and 1, for a knob that counts examples.
    Share,
}

/// A knob of a script, as shown by its source or command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Flag {
    /// Its spelling: `--lr`, `optimizer.lr` (for `key=value` and files), or the name of an environment variable.
    pub name: String,
    /// Canonical name of the knob; `epochs` for a script that measures its length in epochs.
    pub knob: String,
    /// The default of the script; `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// How it is set.
    #[serde(default)]
    pub way: Way,
    /// How the script parses its value.
    #[serde(default)]
    pub kind: Kind,
    /// The unit of its number.
    #[serde(default)]
    pub unit: Unit,
    /// Other spellings: `-b`, or an abbreviation that the command uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The argument that turns a switch off, if any. Its `name` turns it on; if that is empty, nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
    /// The only accepted values, if known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// The file that contains it, as named in the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its meaning was derived from its help text, not from its name.
    #[serde(default)]
    pub guessed: bool,
}

impl Flag {
    /// Whether 1 means everything: an option that the script reads as a float, with 1.0 as its default.
    pub fn one_is_all(&self) -> bool {
        self.kind == Kind::Float && self.default.as_ref().and_then(Value::as_f64) == Some(1.0)
    }
}

/// The command of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Launched {
    /// The source.
    #[serde(default)]
    pub source: Source,
    /// The command, one argument per entry. Secrets are not masked here; mask them before showing them to people.
    pub argv: Vec<String>,
    /// The absolute working directory.
    pub cwd: String,
    /// Id of its stored environment, for the runner of the same user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The commit of the code, if there is a git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// Hash of uncommitted changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<String>,
    /// The knobs that its script supports, if they could be found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    /// The arguments that define where it logs and writes: directories, and names of runs. Their `knob` is `folder` or
    /// `name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Flag>,
    /// The values of the environment variables among `outputs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub output_env: BTreeMap<String, String>,
    /// The text of each configuration file named in the command, at the start of the job.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The knobs set by its command or by the defaults of its script, by canonical name; logged values take precedence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Value>,
    /// The user who owns the record (the process, or the file from which it was read, if no other user can write it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
}
