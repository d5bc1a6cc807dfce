//! A command that is run for a short while: its output, its exit code, and an end for all of its processes.
//!
//! Owns: the time limit and the process group. Must not know: what the command is for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};

use super::recorder::{self, Started};

/// More output than this is not kept.
const LONGEST: u64 = 1 << 20;

/// How often it is looked whether the command has ended.
const LOOK: Duration = Duration::from_millis(50);

/// A command to run.
#[derive(Debug, Clone, Default)]
pub struct Short {
    /// One word an entry.
    pub argv: Vec<String>,
    /// The working directory.
    pub cwd: String,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code, 128 and the signal where one ended it; `None` where it was ended because its time was over.
    pub code: Option<i32>,
    /// What it printed, both streams in the order of writing.
    pub output: String,
    /// The folders that it wrote events into, where that was asked.
    pub folders: BTreeSet<PathBuf>,
}

impl Short {
    fn command(&self, output: &File, errors: Option<&File>) -> io::Result<Command> {
        let (program, words) = self.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        let errors = errors.map_or_else(|| Ok(Stdio::null()), |file| file.try_clone().map(Stdio::from))?;
        command.args(words).current_dir(&self.cwd).env_clear().envs(&self.env);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(errors).process_group(0);
        Ok(command)
    }

    /// Runs it for what it prints on standard output.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn print(&self, limit: Duration) -> io::Result<Ran> {
        let mut file = tempfile::tempfile()?;
        let mut child = self.command(&file, None)?.spawn()?;
        let code = wait(&mut child, limit);
        Ok(Ran { code, output: read(&mut file)?, folders: BTreeSet::new() })
    }

    /// Runs it as a job that logs below `logdir` or where it likes, and records it beside its events.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn train(&self, logdir: PathBuf, limit: Duration) -> io::Result<Ran> {
        let mut file = tempfile::tempfile()?;
        let at = Timestamp::now();
        let mut child = self.command(&file, Some(&file))?.spawn()?;
        let started = Started {
            argv: self.argv.clone(),
            cwd: self.cwd.clone(),
            variables: self.env.clone(),
            logdir: Some(logdir),
            at,
            process: child.id(),
        };
        let (send, ended) = mpsc::channel();
        let waiting = std::thread::spawn(move || {
            let code = wait(&mut child, limit);
            // The follower waits for this; it is gone only if it has ended already.
            let _ = send.send(code.unwrap_or(-1));
            code
        });
        let folders = recorder::follow(started, &ended);
        let code = waiting.join().unwrap_or_default();
        Ok(Ran { code, output: read(&mut file)?, folders })
    }
}

/// Waits for a process; ends its whole group when its time is over, and what it has left behind in any case.
fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let begun = Instant::now();
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let end = || group.map(|group| kill_process_group(group, Signal::KILL));
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            let _ = end();
            return Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
        if begun.elapsed() > limit {
            let _ = end();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

fn read(file: &mut File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(script: &str) -> Short {
        let env = std::env::vars().filter(|(name, _)| name == "PATH").collect();
        Short { argv: ["sh", "-c", script].map(str::to_owned).to_vec(), cwd: "/".to_owned(), env }
    }

    #[test]
    fn output_and_exit_code_are_those_of_the_command() {
        let ran = short("echo out; echo err >&2; exit 3").print(Duration::from_secs(60)).expect("it runs");
        assert_eq!((ran.code, ran.output.as_str()), (Some(3), "out\n"));
    }

    #[test]
    fn a_command_that_goes_on_is_ended_with_all_its_processes() {
        let ran = short("sleep 600 & sleep 600").print(Duration::from_millis(100)).expect("it runs");
        assert_eq!(ran.code, None);
    }

    #[test]
    fn the_folder_that_a_job_logs_into_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = dir.path().join("a");
        let script = format!("mkdir {0}; : > {0}/events.out.tfevents.$(date +%s).h.$$.0", run.display());
        let ran = short(&script).train(dir.path().to_owned(), Duration::from_secs(60)).expect("it runs");
        assert_eq!((ran.code, ran.folders), (Some(0), BTreeSet::from([run])));
    }
}
