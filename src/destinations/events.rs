//! A message as a text for TensorBoard, in its own event file.
//!
//! Owns: the location of that file, and that it is written atomically. Must not know: the content of a message,
//! presets.
//!
//! This is the only place where nextrun writes to a log directory, and only if a site configures it. The reader of log
//! directories skips everything below [`FOLDER`].

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::case::{Message, MessageKind};
use crate::tfevents::encode::{file_version, text};

use super::preset::Preset;
use super::template::{Node, Scope};
use super::{Outcome, Setup, SetupError, values};

/// Where cases are, below the log directory.
pub(super) const FOLDER: &str = "nextrun/cases";

/// The tag of the texts.
const TAG: &str = "case";

/// A name of a directory is cut to so many characters.
const LONGEST_NAME: usize = 80;

pub(super) struct EventsChannel {
    logdir: PathBuf,
}

impl EventsChannel {
    /// Checks the log directory; nothing is written.
    ///
    /// # Errors
    /// It cannot be used.
    pub(super) fn open(preset: &Preset, logdir: &Node, setup: &Setup) -> Result<EventsChannel, SetupError> {
        let scope = Scope::from([("fields".to_owned(), values(setup.fields.iter()))]);
        let unusable = |reason: String| SetupError::Unusable {
            destination: setup.name.clone(),
            field: "logdir".to_owned(),
            reason,
        };
        let rendered = preset.render(logdir, &scope, "logdir").map_err(|error| unusable(error.to_string()))?;
        EventsChannel::at(rendered.as_str().unwrap_or_default()).map_err(unusable)
    }

    fn at(logdir: &str) -> Result<EventsChannel, String> {
        let logdir = PathBuf::from(logdir.trim());
        if logdir.is_absolute() {
            Ok(EventsChannel { logdir })
        } else {
            Err("it must be the absolute path of a log directory on a disk of this machine".to_owned())
        }
    }

    /// Where texts go, for people.
    pub(super) fn target(&self) -> String {
        format!("event files below {}", self.logdir.join(FOLDER).display())
    }

    /// Writes a message. The file is named after it: written again, it is the same file.
    pub(super) fn send(&self, message: &Message, markdown: &str) -> Outcome {
        let file = self.file(message);
        match write(&self.logdir, &file, message.time, markdown) {
            Ok(()) => Outcome::Delivered { reference: Some(file.display().to_string()) },
            Err(error) => Outcome::Later { after: None, why: format!("could not write {}: {error}", file.display()) },
        }
    }

    /// One run a case. Its files are in the order of their times, as TensorBoard reads them.
    fn file(&self, message: &Message) -> PathBuf {
        let id: String = message.case.0.chars().take(6).collect();
        let run = format!("{}-{}", plain(&message.subject), plain(&id));
        let seconds = message.time.max(0.0);
        // What opens a case comes before what is said in the same second, and its end comes last.
        let order = match message.kind() {
            MessageKind::CaseOpened => 0,
            MessageKind::CaseClosed => 2,
            _ => 1,
        };
        let name = format!("events.out.tfevents.{seconds:010.0}.{order}.nextrun.{}", plain(&message.id));
        self.logdir.join(FOLDER).join(run).join(name)
    }
}

/// A name that means nothing to a file system.
fn plain(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    name.chars().take(LONGEST_NAME).map(kept).collect()
}

fn write(logdir: &Path, file: &Path, time: f64, markdown: &str) -> io::Result<()> {
    // A log directory that is not there (yet, or not mounted) is not made up.
    fs::metadata(logdir)?;
    let folder = file.parent().unwrap_or(logdir);
    fs::create_dir_all(folder)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds of a time; a cast saturates")]
    let step = time as i64;
    let mut whole = tempfile::Builder::new().prefix(".nextrun-").tempfile_in(folder)?;
    whole.write_all(&file_version(time))?;
    whole.write_all(&text(time, step, TAG, markdown))?;
    whole.as_file().sync_all()?;
    // Whoever reads the log directory reads this, too: a temporary file is its owner's alone.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        whole.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    whole.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Body, CaseId, StopSuggested};
    use crate::logdir::Kind;

    fn message(id: &str) -> Message {
        let body = Body::StopSuggested(StopSuggested::default());
        Message { id: id.into(), case: CaseId("c1a2b3c4d5".into()), subject: "../team/<b>".into(), time: 1.7e9, body }
    }

    #[test]
    fn a_message_is_one_file_that_appears_whole_and_is_read_by_nobody_as_a_job() {
        let logdir = tempfile::tempdir().unwrap();
        let channel = EventsChannel::at(logdir.path().to_str().unwrap()).unwrap();
        for _ in 0..2 {
            let Outcome::Delivered { reference: Some(file) } = channel.send(&message("m/1"), "**news**") else {
                panic!("not delivered")
            };
            let relative = Path::new(&file).strip_prefix(logdir.path()).unwrap().to_owned();
            assert_eq!(
                relative,
                Path::new("nextrun/cases/___team__b_-c1a2b3/events.out.tfevents.1700000000.1.nextrun.m_1")
            );
            assert_eq!(Kind::of(&relative), None);
            assert_eq!(
                fs::read_dir(Path::new(&file).parent().unwrap()).unwrap().count(),
                1,
                "nothing is left beside it"
            );
        }
    }

    #[test]
    fn a_log_directory_that_is_not_there_is_waited_for() {
        let gone = EventsChannel::at("/does/not/exist").unwrap();
        assert!(matches!(gone.send(&message("m"), "x"), Outcome::Later { .. }));
        assert!(EventsChannel::at("runs").is_err());
    }
}
