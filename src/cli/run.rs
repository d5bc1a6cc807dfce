//! `nextrun run`: runs a command unchanged and records it next to its events.
//!
//! Owns: passing the arguments, environment, terminal, signals and exit status. Must not know: what is recorded.
//!
//! The command stays in the process group of this program, so that the terminal and job control treat both as one.
//! Signals from the terminal reach the command directly. Signals that another process sends only to this program are
//! forwarded.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, kill_process, setrlimit, waitpid};
use signal_hook::consts::{
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
    SIGVTALRM, SIGWINCH, SIGXCPU,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level;

use super::{Exit, plain};
use crate::launch::recorder::{self, Started};

/// Run a training command unchanged, and record it next to its events.
///
/// Passes through the command's exit code, signals, terminal and environment. Writes nextrun.json to the directory with
/// the command's event files: the command, its working directory, the version of its code, its start and end time.
/// Experiments are then the same command with one change.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  nextrun run -- python train.py --lr 0.1")]
pub(super) struct Run {
    /// Where the command logs, if its event files cannot be observed while it runs (because it is very short, or runs
    /// on other machines)
    #[arg(long, value_name = "DIR")]
    logdir: Option<PathBuf>,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How long to wait for the record to be written after the command ends; an unresponsive file system must not block the
/// exit.
const LAST_WORD: Duration = Duration::from_secs(20);

/// Signals that are forwarded if they were sent only to this program.
const PASSED_ON: [i32; 14] = [
    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGXCPU, SIGWINCH, SIGCONT, SIGTSTP,
    SIGTTIN, SIGTTOU,
];

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Code(u8),
    Signal(i32),
}

pub(super) fn run(command: &Run) -> anyhow::Result<Exit> {
    let prepared = prepare(command);
    // Must happen before the command starts, so that a signal meant for the command does not end this program instead.
    let signals = listen();
    let mut words = command.command.iter();
    let Some(program) = words.next() else { return Ok(Exit::Unable) };
    let child = match Command::new(program).args(words).spawn() {
        Ok(child) => child,
        Err(error) => return Ok(not_started(program, &error)),
    };
    let process = child.id();
    let recording = prepared.map(|started| record(Started { process, ..started }));
    let ending = accompany(process, signals);
    if let Some((ended, recorded)) = recording {
        let code = match ending {
            Ending::Code(code) => i32::from(code),
            Ending::Signal(signal) => 128 + signal,
        };
        // A failure to record must not change how the command ends.
        let _ = ended.send(code);
        if recorded.recv_timeout(LAST_WORD).is_ok_and(|folders| folders == 0) {
            tracing::warn!(
                "no event files of the command were observed, so it is not recorded; use --logdir to name its log directory"
            );
        }
    }
    Ok(end_as(ending))
}

/// The data known before the start; `None` if the command cannot be recorded.
fn prepare(command: &Run) -> Option<Started> {
    let text = |word: &OsString| word.to_str().map(str::to_owned);
    let argv: Option<Vec<String>> = command.command.iter().map(text).collect();
    let cwd = std::env::current_dir().ok().and_then(|cwd| cwd.to_str().map(str::to_owned));
    let (Some(argv), Some(cwd)) = (argv, cwd) else {
        tracing::warn!("the command or its working directory is not UTF-8, so it is not recorded");
        return None;
    };
    let variables: BTreeMap<String, String> =
        std::env::vars_os().filter_map(|(name, value)| Some((text(&name)?, text(&value)?))).collect();
    let at = jiff::Timestamp::now();
    let logdir = command.logdir.clone();
    Some(Started { argv, cwd, variables, logdir, at, process: 0 })
}

/// Exit codes as in a shell: 127 if the command was not found, 126 if it could not be run.
#[expect(clippy::print_stderr, reason = "the same message as from a shell")]
fn not_started(program: &OsString, error: &io::Error) -> Exit {
    eprintln!("nextrun: {}: {error}", plain(&program.to_string_lossy()));
    Exit::As(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

/// Records on a separate thread. The second channel returns the number of directories once everything is written.
fn record(started: Started) -> (mpsc::Sender<i32>, mpsc::Receiver<usize>) {
    let (ended, ends) = mpsc::channel();
    let (done, recorded) = mpsc::channel();
    thread::spawn(move || {
        let folders = recorder::follow(started, &ends);
        let _ = done.send(folders.len());
    });
    (ended, recorded)
}

/// Catches signals, except those that were ignored at the start, for example by nohup: catching them here would end the
/// command.
fn listen() -> Option<SignalsInfo<WithOrigin>> {
    let ignored = ignored();
    let caught = PASSED_ON.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let signals = SignalsInfo::<WithOrigin>::new(caught);
    signals.inspect_err(|error| tracing::warn!(%error, "signals are not forwarded to the command")).ok()
}

/// The signals ignored by this process, as a bit mask.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Forwards signals until the command ends.
fn accompany(process: u32, signals: Option<SignalsInfo<WithOrigin>>) -> Ending {
    let handle = signals.as_ref().map(SignalsInfo::handle);
    let passing = signals.map(|signals| thread::spawn(move || pass_on(signals, process)));
    let ending = wait(process);
    if let Some(handle) = handle {
        handle.close();
    }
    if let Some(passing) = passing {
        // The thread has ended because its signals were closed.
        let _ = passing.join();
    }
    ending
}

fn pid_of(process: u32) -> Option<Pid> {
    i32::try_from(process).ok().and_then(Pid::from_raw)
}

fn pass_on(mut signals: SignalsInfo<WithOrigin>, process: u32) {
    for origin in signals.forever() {
        // The kernel sends terminal signals to the whole process group, and a command may signal its own group.
        let sender = origin.process.map(|sender| sender.pid);
        let alone = sender.is_some_and(|sender| u32::try_from(sender) != Ok(process));
        if let (true, Some(pid), Some(signal)) = (alone, pid_of(process), Signal::from_named_raw(origin.signal)) {
            // The process may just have ended.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Waits for the end. If the command is stopped, this program stops too, so that the shell regains its terminal.
fn wait(process: u32) -> Ending {
    loop {
        match waitpid(pid_of(process), WaitOptions::UNTRACED) {
            Ok(Some((_, status))) => {
                if status.stopped() {
                    let _ = low_level::raise(SIGSTOP);
                } else if let Some(signal) = status.terminating_signal() {
                    return Ending::Signal(signal);
                } else if let Some(code) = status.exit_status() {
                    return Ending::Code(u8::try_from(code).unwrap_or(u8::MAX));
                }
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            // No other code reaps the child; without it, the exit status is unknown.
            Err(_) => return Ending::Code(u8::MAX),
        }
    }
}

/// Ends like the command: a shell sees the same exit code or signal.
fn end_as(ending: Ending) -> Exit {
    match ending {
        Ending::Code(code) => Exit::As(code),
        Ending::Signal(signal) => {
            // The command has already written a core file if core dumps are enabled.
            let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
            let _ = low_level::emulate_default_handler(signal);
            Exit::As(u8::try_from(128 + signal).unwrap_or(u8::MAX))
        }
    }
}
