//! A command with limited run time: its output, its exit code, and the termination of all its processes.
//!
//! Owns: the time limit and the process group. Must not know: the purpose of the command.

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

/// Maximum output to keep.
const LONGEST: u64 = 1 << 20;

/// Interval for checking whether the command has ended.
const LOOK: Duration = Duration::from_millis(50);

/// A command to run.
#[derive(Debug, Clone, Default)]
pub struct Short {
    /// One argument per entry.
    pub argv: Vec<String>,
    /// The working directory.
    pub cwd: String,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code, or 128 plus the signal number; `None` if it was terminated at the time limit.
    pub code: Option<i32>,
    /// Its output, both streams in order.
    pub output: String,
    /// The directories to which it wrote events, if requested.
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

    /// Runs it for its standard output.
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

    /// Runs it as a job that logs below `logdir` or in its own directory, and records it next to its events.
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
            // The follower waits for this; it no longer exists only if it has already ended.
            let _ = send.send(code.unwrap_or(-1));
            code
        });
        let folders = recorder::follow(started, &ended);
        let code = waiting.join().unwrap_or_default();
        Ok(Ran { code, output: read(&mut file)?, folders })
    }
}

/// Waits for a process; terminates its whole group at the time limit, and its remaining processes in any case.
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
