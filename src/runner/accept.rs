//! Which suggested runs are accepted, depending on the owner of the command.
//!
//! Owns: the only conversion from a message to an [`Order`], and thus to a process. Must not know: sockets, files,
//! slots.
//!
//! A command belongs to whoever wrote it. The site's configuration is read by the daemon of this user, which has
//! exclusive access to the runner's socket. A command from a record or a process is accepted only if it also belongs to
//! this user: otherwise, anyone who can write to a log directory could execute commands as its readers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::launched::{CommandFrom, CommandSource};

/// The maximum length of an id in bytes, because it is the name of a directory.
const LONGEST_ID: usize = 128;

/// A run to execute. It can only be created by [`Order::accept`], which checks the owner of the command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    id: String,
    /// For a POSIX shell.
    command: String,
    /// Its working directory; if there is none, the runner's.
    #[serde(default)]
    cwd: Option<PathBuf>,
    /// Variables set for this run.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// The stored environment of the run.
    #[serde(default)]
    environment: Option<String>,
    /// The directory that it should log to, relative to the log directory.
    #[serde(default)]
    run_name: String,
    /// The log directory.
    #[serde(default)]
    logdir: Option<PathBuf>,
    /// The baseline job.
    #[serde(default)]
    baseline: String,
    /// A quiet probe, which runs after all other waiting jobs.
    #[serde(default)]
    probe: bool,
}

/// Why a message is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not a valid suggested run.
    Malformed(String),
    /// It may not run here, or it contains no command; an administrator can fix this.
    NotAllowed(String),
}

/// The relevant parts of the message.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    /// The log directory, if the sender is on this machine.
    #[serde(default)]
    nextrunlogdir: Option<PathBuf>,
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    suggestion_id: String,
    #[serde(default)]
    run_name: String,
    #[serde(default)]
    baseline_run: String,
    #[serde(default)]
    command: Option<String>,
    #[serde(default)]
    command_from: Option<CommandFrom>,
    #[serde(default)]
    cwd: Option<PathBuf>,
    #[serde(default)]
    environment: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    probe: bool,
}

impl Order {
    /// Converts a message to an order if user `me` may run its command.
    ///
    /// # Errors
    /// It is not a suggested run, contains no command, or its command belongs to another user.
    pub(super) fn accept(message: &Value, me: u32) -> Result<Order, Refusal> {
        let malformed = |why: String| Refusal::Malformed(why);
        let event: Event = serde_json::from_value(message.clone())
            .map_err(|error| malformed(format!("this is not an event: {error}")))?;
        if event.kind != "nextrun.run.suggested" {
            return Err(malformed(format!(
                "`{}` is not for a runner, which accepts only nextrun.run.suggested",
                event.kind
            )));
        }
        let data = event.data;
        if !is_a_name(&data.suggestion_id) {
            return Err(malformed(format!(
                "a suggestion id consists of at most {LONGEST_ID} letters, digits, - and _"
            )));
        }
        let command = data.command.filter(|command| !command.trim().is_empty()).ok_or_else(|| {
            let how = "start it with `nextrun run -- COMMAND`, or set `launch.command`";
            Refusal::NotAllowed(format!("no command is known for {}: {how}", shown(&data.baseline_run)))
        })?;
        may_run(data.command_from.as_ref(), me)?;
        let holds_nul = |text: &String| text.contains('\0');
        if holds_nul(&command) || data.env.iter().any(|(name, value)| !is_variable(name) || holds_nul(value)) {
            return Err(malformed(
                "a command or a variable contains characters that cannot be passed to a process".to_owned(),
            ));
        }
        if data.cwd.as_ref().is_some_and(|cwd| !cwd.is_absolute()) {
            return Err(malformed("`cwd` is not absolute".to_owned()));
        }
        Ok(Order {
            id: data.suggestion_id,
            command,
            cwd: data.cwd,
            env: data.env,
            environment: data.environment,
            run_name: data.run_name,
            logdir: event.nextrunlogdir.filter(|logdir| logdir.is_absolute()),
            baseline: data.baseline_run,
            probe: data.probe,
        })
    }

    /// The suggestion's id: also the name of the job.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The command line, for a POSIX shell.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The directory that it runs in.
    pub fn cwd(&self) -> Option<&std::path::Path> {
        self.cwd.as_deref()
    }

    /// Whether it is a quiet probe, which runs after all other waiting jobs.
    pub(super) fn is_probe(&self) -> bool {
        self.probe
    }

    /// Variables set for this run.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The stored environment of the run.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// The directory that it should log to, relative to the log directory.
    pub fn run_name(&self) -> &str {
        &self.run_name
    }

    /// The log directory.
    pub fn logdir(&self) -> Option<&std::path::Path> {
        self.logdir.as_deref()
    }

    /// The baseline job.
    pub fn baseline(&self) -> &str {
        &self.baseline
    }
}

/// Whether user `me` may run a command from this source. A command without a source is rejected.
fn may_run(from: Option<&CommandFrom>, me: u32) -> Result<(), Refusal> {
    let refused = |why: String| Err(Refusal::NotAllowed(why));
    let Some(from) = from else { return refused("the message does not contain the source of its command".to_owned()) };
    match (from.source, from.owner) {
        (CommandSource::Configuration, _) => Ok(()),
        (CommandSource::Run | CommandSource::Engine | CommandSource::Process, Some(owner)) if owner == me => Ok(()),
        (CommandSource::Run | CommandSource::Engine | CommandSource::Process, Some(owner)) => {
            refused(format!("the command belongs to user {owner}, but this runner executes only commands of user {me}"))
        }
        (CommandSource::Run | CommandSource::Engine | CommandSource::Process, None) => refused(
            "the owner of the command is unknown because other users can write to the file from which it was read"
                .to_owned(),
        ),
    }
}

/// Whether a text is a valid directory name.
pub(super) fn is_a_name(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// A name from an untrusted source, shortened and on one line.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(data: Value) -> Value {
        let mut event = json!({
            "specversion": "1.0", "id": "s1", "type": "nextrun.run.suggested", "nextrunlogdir": "/logs",
            "data": {
                "suggestion_id": "s1", "run_name": "nextrun/a/1", "baseline_run": "a", "command": "python t.py",
                "command_from": {"source": "configuration"}, "env": {"A": "1"}, "cwd": "/code",
            },
        });
        for (key, value) in data.as_object().unwrap() {
            event["data"][key] = value.clone();
        }
        event
    }

    fn refused(data: Value) -> String {
        match Order::accept(&message(data), 1000) {
            Err(Refusal::NotAllowed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_suggested_run_is_an_order() {
        let order = Order::accept(&message(json!({})), 1000).unwrap();
        assert_eq!((order.id(), order.command(), order.run_name()), ("s1", "python t.py", "nextrun/a/1"));
        assert_eq!((order.cwd(), order.logdir()), (Some("/code".as_ref()), Some("/logs".as_ref())));
    }

    #[test]
    fn only_commands_of_this_user_are_run() {
        for source in ["run", "process", "engine"] {
            let from = |owner: Value| json!({"command_from": {"source": source, "owner": owner}});
            assert!(Order::accept(&message(from(json!(1000))), 1000).is_ok());
            assert!(refused(from(json!(0))).contains("belongs to user 0"));
            assert!(refused(from(json!(1001))).contains("belongs to user 1001"));
            assert!(refused(from(Value::Null)).contains("unknown"));
        }
        assert!(refused(json!({"command_from": null})).contains("does not contain the source"));
        let unknown = Order::accept(&message(json!({"command_from": {"source": "elsewhere", "owner": 1000}})), 1000);
        assert!(matches!(unknown, Err(Refusal::Malformed(_))), "{unknown:?}");
    }

    #[test]
    fn a_run_without_a_command_is_not_allowed() {
        assert!(refused(json!({"command": null})).contains("no command is known for a"));
        assert!(refused(json!({"command": " "})).contains("nextrun run"));
    }

    #[test]
    fn what_no_process_or_directory_can_be_called_is_malformed() {
        for data in [
            json!({"suggestion_id": "../x"}),
            json!({"suggestion_id": ""}),
            json!({"suggestion_id": "x".repeat(129)}),
            json!({"suggestion_id": "a/b"}),
            json!({"command": "a\u{0}b"}),
            json!({"env": {"A=B": "1"}}),
            json!({"env": {"": "1"}}),
            json!({"cwd": "code"}),
        ] {
            let result = Order::accept(&message(data.clone()), 1000);
            assert!(matches!(result, Err(Refusal::Malformed(_))), "{data}: {result:?}");
        }
        let other = json!({"type": "nextrun.case.closed", "data": {"suggestion_id": "s1"}});
        assert!(matches!(Order::accept(&other, 1000), Err(Refusal::Malformed(_))));
    }
}
