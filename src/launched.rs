//! How a job was started, as far as that is known.
//!
//! Owns: the record that goes from whoever saw the command (`nextrun run`, the runner, an engine) to the case. Must not
//! know: how knobs are found in a command or rewritten, and who runs what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where the knowledge of a command comes from, strongest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `nextrun run` started it.
    #[default]
    Run,
    /// The engine that ran it told its command.
    Engine,
    /// The runner read it from the process that writes the event files.
    Process,
}

/// Where the command of a suggested run is from, and whose it is: it is run only under its owner's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandFrom {
    /// Where it was read.
    pub source: CommandSource,
    /// The user who owns what it was read from; `None` where that is not known, or where it is the site's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
}

/// Where a command was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandSource {
    /// In the site's configuration.
    Configuration,
    /// In the record of `nextrun run`.
    Run,
    /// From the engine that ran the baseline.
    Engine,
    /// From the baseline's process.
    Process,
}

impl CommandFrom {
    /// A command of the site's configuration.
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

/// How a script is told a value.
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
    /// An entry of a configuration file that the command names.
    File,
    /// The script reads it from `NEXTRUN_OVERRIDES`, as the Python package does: the command stays as it is.
    Overrides,
}

/// What a script makes of a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Not known.
    #[default]
    Any,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// True or false, by their words.
    Bool,
    /// Python's `bool(text)`: every text but the empty one is true.
    Truthy,
    /// A text.
    Text,
}

/// What a number that a script takes counts, where that is not what its knob counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// What the knob counts.
    #[default]
    Knob,
    /// Batches, of a knob that counts examples.
    Batches,
    /// A share between 0 and 1, of a knob that counts examples.
    Share,
}

/// A knob that a script takes, as its source or command shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Flag {
    /// As it is written: `--lr`, `optimizer.lr` (for `key=value` and files), or the name of an environment variable.
    pub name: String,
    /// Canonical name of the knob; `epochs` for a script that counts its length so.
    pub knob: String,
    /// What the script takes where the command says nothing; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// How it is set.
    #[serde(default)]
    pub way: Way,
    /// What the script makes of a value.
    #[serde(default)]
    pub kind: Kind,
    /// What its number counts.
    #[serde(default)]
    pub unit: Unit,
    /// Other spellings: `-b`, or an abbreviation that the command uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The word that turns a switch off, where it has one. Its `name` turns it on; an empty name: nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
    /// The only values that the script takes, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// The file that holds it, as the command names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its meaning was concluded from its help text, not from its name.
    #[serde(default)]
    pub guessed: bool,
}

/// The command of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Launched {
    /// Where this is known from.
    #[serde(default)]
    pub source: Source,
    /// The command, one word an entry. Secrets among them are not masked: mask where people read.
    pub argv: Vec<String>,
    /// The absolute working directory.
    pub cwd: String,
    /// Which stored environment it ran with, for the runner of the same user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The commit of the code, where there is a git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// Hash of uncommitted changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<String>,
    /// The knobs that its script takes, where they could be found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    /// What says where it logs and what else it writes: folders, and names of runs. Their `knob` is `folder` or `name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Flag>,
    /// The values of the environment variables among `outputs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub output_env: BTreeMap<String, String>,
    /// The text of each configuration file that the command names, as it was when the job started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The knobs that its command or its script's defaults set, by canonical name: weaker than what the job logged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Value>,
    /// The user who owns the record (the process, or the file that it was read from, if nobody else may write it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
}
