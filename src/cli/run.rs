//! `nextrun run`: a command as it is, recorded beside its events.
//!
//! Owns: passing on what concerns the command: its words, its environment, its terminal, signals, its exit. Must not know:
//! what is recorded.
//!
//! The command stays in the process group of this program, so that terminal and job control treat both as one: what the
//! terminal sends reaches the command by itself. What another process sends to this program alone is passed on.

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

/// Runs a training command as it is, and records it beside its events.
///
/// The command's exit code, signals, terminal and environment are passed through. Into the folder where the command writes
/// event files goes nextrun.json: the command, its working directory, the state of its code, when it started and ended. Its
/// experiments are then the same command with one change.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  nextrun run -- python train.py --lr 0.1")]
pub(super) struct Run {
    /// Where the command logs, for a command whose event files cannot be seen while it runs (it is very short, or runs on
    /// other machines)
    #[arg(long, value_name = "DIR")]
    logdir: Option<PathBuf>,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How long the end of the command waits for its record to be written: a file system that hangs must not hold it.
const LAST_WORD: Duration = Duration::from_secs(20);

/// Signals that are passed on where they were sent to this program alone.
const PASSED_ON: [i32; 14] = [
    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGXCPU, SIGWINCH, SIGCONT, SIGTSTP,
    SIGTTIN, SIGTTOU,
];

/// What a command ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Code(u8),
    Signal(i32),
}

pub(super) fn run(command: &Run) -> anyhow::Result<Exit> {
    let prepared = prepare(command);
    // Before the command starts, so that a signal meant for it is not the end of this program instead.
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
        // What cannot be recorded is no reason to end otherwise than the command did.
        let _ = ended.send(code);
        if recorded.recv_timeout(LAST_WORD).is_ok_and(|folders| folders == 0) {
            tracing::warn!("no event file of the command was seen, so it is not recorded; --logdir says where it logs");
        }
    }
    Ok(end_as(ending))
}

/// What is known before the start; nothing where it cannot be recorded.
fn prepare(command: &Run) -> Option<Started> {
    let text = |word: &OsString| word.to_str().map(str::to_owned);
    let argv: Option<Vec<String>> = command.command.iter().map(text).collect();
    let cwd = std::env::current_dir().ok().and_then(|cwd| cwd.to_str().map(str::to_owned));
    let (Some(argv), Some(cwd)) = (argv, cwd) else {
        tracing::warn!("the command or its folder is not UTF-8, so it is not recorded");
        return None;
    };
    let variables: BTreeMap<String, String> =
        std::env::vars_os().filter_map(|(name, value)| Some((text(&name)?, text(&value)?))).collect();
    let at = jiff::Timestamp::now();
    let logdir = command.logdir.clone();
    Some(Started { argv, cwd, variables, logdir, at, process: 0 })
}

/// As a shell says it: 127 for a command that is not there, 126 for one that cannot be run.
#[expect(clippy::print_stderr, reason = "what a shell would say")]
fn not_started(program: &OsString, error: &io::Error) -> Exit {
    eprintln!("nextrun: {}: {error}", plain(&program.to_string_lossy()));
    Exit::As(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

/// Records on a thread of its own; the second channel gives the number of folders once everything is written.
fn record(started: Started) -> (mpsc::Sender<i32>, mpsc::Receiver<usize>) {
    let (ended, ends) = mpsc::channel();
    let (done, recorded) = mpsc::channel();
    thread::spawn(move || {
        let folders = recorder::follow(started, &ends);
        let _ = done.send(folders.len());
    });
    (ended, recorded)
}

/// Catches signals. One that was ignored at the start, as by nohup, is left alone: caught here, it would be the end of the
/// command.
fn listen() -> Option<SignalsInfo<WithOrigin>> {
    let ignored = ignored();
    let caught = PASSED_ON.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let signals = SignalsInfo::<WithOrigin>::new(caught);
    signals.inspect_err(|error| tracing::warn!(%error, "signals are not passed on to the command")).ok()
}

/// The signals that this process ignores, as a mask.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Stands by the command until it ends.
fn accompany(process: u32, signals: Option<SignalsInfo<WithOrigin>>) -> Ending {
    let handle = signals.as_ref().map(SignalsInfo::handle);
    let passing = signals.map(|signals| thread::spawn(move || pass_on(signals, process)));
    let ending = wait(process);
    if let Some(handle) = handle {
        handle.close();
    }
    if let Some(passing) = passing {
        // It ended, for its signals were closed.
        let _ = passing.join();
    }
    ending
}

fn pid_of(process: u32) -> Option<Pid> {
    i32::try_from(process).ok().and_then(Pid::from_raw)
}

fn pass_on(mut signals: SignalsInfo<WithOrigin>, process: u32) {
    for origin in signals.forever() {
        // The kernel tells the whole process group of what happens at the terminal, and a command may tell its own.
        let sender = origin.process.map(|sender| sender.pid);
        let alone = sender.is_some_and(|sender| u32::try_from(sender) != Ok(process));
        if let (true, Some(pid), Some(signal)) = (alone, pid_of(process), Signal::from_named_raw(origin.signal)) {
            // It may have ended just now.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Waits for the end. When the command is stopped, so is this program: the shell that started it gets its terminal back.
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
            // Nothing else takes the child away; without it nothing is known.
            Err(_) => return Ending::Code(u8::MAX),
        }
    }
}

/// Ends as the command did: a shell sees the same code, or the same signal.
fn end_as(ending: Ending) -> Exit {
    match ending {
        Ending::Code(code) => Exit::As(code),
        Ending::Signal(signal) => {
            // The command has left its core where one was wanted.
            let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
            let _ = low_level::emulate_default_handler(signal);
            Exit::As(u8::try_from(128 + signal).unwrap_or(u8::MAX))
        }
    }
}
