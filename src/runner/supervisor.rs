//! The supervisor of one job: a separate process of this program for each job.
//!
//! Owns: the process tree of the command, from its start to its last process. Must not know: slots, the socket.
//!
//! It has its own session, and every orphaned process below it becomes its child, whatever session that process
//! created. Therefore, it knows when no process of the job is left, and can terminate all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

use super::accept::Order;
use super::cgroup::Group;
use super::job::{Exit, Job, Started, Stop, Supervisor, now};
use super::observe::Observer;
use super::process::{self, Identity, Stat};
use super::{Allotment, RunnerError, log};
use crate::fate::{Fate, FateState};
use crate::launch::environment;

/// Variable with the job id of a process, used to find the remaining processes of a job whose supervisor was killed.
pub(super) const JOB_VARIABLE: &str = "NEXTRUN_RUNNER_JOB";

/// Time to exit after SIGTERM; writing a checkpoint takes seconds.
const GRACE: Duration = Duration::from_secs(10);

/// Time for the remaining processes of the command to exit on their own.
const LEFT_BEHIND: Duration = Duration::from_secs(5);

/// Interval for checking the job.
const LOOK: Duration = Duration::from_millis(500);

/// Interval for killing processes that do not exit.
const KILL_AGAIN: Duration = Duration::from_millis(20);

/// Experiments yield to all other processes on this machine.
const NICE: i32 = 10;

/// Interval for retrying to write the result on a full disk.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// Runs the job in `directory` if no other supervisor has it; returns once no process is left and the result is
/// written.
///
/// # Errors
/// The job cannot be read or taken; it keeps waiting.
pub fn supervise(directory: &Path, place: &Allotment, cgroup: Option<&Path>) -> Result<(), RunnerError> {
    let job = Job::at(directory);
    let failed = |action| move |error| RunnerError::files(action, directory)(error);
    let queued = job.queued().map_err(failed("read"))?;
    // It may already lead a session; in both cases, it is independent of terminals and process groups of others.
    let _ = rustix::process::setsid();
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me)).map_err(|error| failed("supervise")(error.into()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed("supervise"))?;
    let _inside = runtime.enter();
    // Must precede any signal.
    let terminate = signal(SignalKind::terminate()).map_err(failed("supervise"))?;
    let child = signal(SignalKind::child()).map_err(failed("supervise"))?;
    let Some(identity) = Identity::of(me.as_raw_nonzero().get()) else { return Ok(()) };
    let group = cgroup.and_then(|path| Group::enter(path, place.memory));
    let started = Supervisor {
        boot: process::boot_id(),
        pid: identity.pid,
        ticks: identity.ticks,
        started: now(),
        place: place.clone(),
        cgroup: group.as_ref().map(|group| group.path().to_owned()),
    };
    if !job.claim(&Started::By(started)).map_err(failed("take"))? {
        return Ok(());
    }
    let observer = Observer::new(queued.order.logdir());
    let mut supervision = Supervision {
        group,
        observer,
        main: None,
        ending: None,
        main_ended: None,
        memory_kills: process::memory_kills(),
        log: None,
        given_back: 0,
        job,
    };
    runtime.block_on(supervision.run(&queued.order, place, terminate, child));
    Ok(())
}

/// How the command itself ended.
#[derive(Debug, Clone)]
enum MainEnd {
    Status(WaitStatus),
    NeverStarted(String),
}

/// The termination of the whole tree, once requested.
#[derive(Debug)]
struct Ending {
    since: Instant,
    /// The result of the job; `None`: the result of its command.
    fate: Option<Fate>,
    /// Processes that have already received SIGTERM.
    told: BTreeSet<Identity>,
}

struct Supervision {
    job: Job,
    group: Option<Group>,
    observer: Observer,
    main: Option<i32>,
    main_ended: Option<(MainEnd, Instant)>,
    ending: Option<Ending>,
    memory_kills: u64,
    log: Option<File>,
    given_back: u64,
}

impl Supervision {
    async fn run(&mut self, order: &Order, place: &Allotment, mut terminate: Listener, mut child: Listener) {
        match self.start(order, place) {
            Ok(pid) => self.main = Some(pid),
            Err(error) => {
                let why = format!("it could not be started: {error}");
                self.main_ended = Some((MainEnd::NeverStarted(why), Instant::now()));
            }
        }
        while self.reap() {
            let tree = self.tree();
            self.observe(&tree);
            self.trim();
            self.look_for_stop();
            self.end_what_is_left(&tree);
            tokio::select! {
                _ = child.recv() => {}
                _ = terminate.recv() => self.told_to_end(),
                () = tokio::time::sleep(self.pause()) => {}
            }
        }
        if self.observer.look_at_last() {
            self.keep_files();
        }
        let exit = Exit { fate: self.fate(), ended: now() };
        while let Err(error) = self.job.end(&exit) {
            tracing::warn!(%error, "could not write the result of the job; retrying");
            tokio::time::sleep(WRITE_AGAIN).await;
        }
    }

    fn start(&mut self, order: &Order, place: &Allotment) -> io::Result<i32> {
        let log = log::open(&self.job.log())?;
        let (out, err) = (log.try_clone()?, log.try_clone()?);
        self.log = Some(log);
        // Requests no more than the kernel permits to all processes, so this does not fail.
        let _ = rustix::process::nice(NICE);
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(order.command()).stdin(Stdio::null()).stdout(out).stderr(err);
        // A command may signal its own process group, which must not contain the supervisor.
        command.process_group(0);
        if let Some(cwd) = order.cwd() {
            let known = cwd.is_dir();
            if !known {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("there is no directory {}", cwd.display()),
                ));
            }
            command.current_dir(cwd).env("PWD", cwd);
        }
        command.env("PYTHONUNBUFFERED", "1").envs(stored_environment(order)?).envs(order.env());
        command.env(JOB_VARIABLE, self.job.directory());
        if let Some(gpu) = &place.gpu {
            command.env("CUDA_VISIBLE_DEVICES", gpu).env("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
        }
        let child = command.spawn()?;
        // Collected together with all others.
        i32::try_from(child.id()).map_err(|_| io::Error::other("a process id beyond all bounds"))
    }

    /// Collects every process that has ended; `false` once none is left.
    fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.reaped(pid, status),
                Ok(None) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    fn reaped(&mut self, pid: Pid, status: WaitStatus) {
        let ended = status.exited() || status.signaled();
        if ended && Some(pid.as_raw_nonzero().get()) == self.main && self.main_ended.is_none() {
            self.main_ended = Some((MainEnd::Status(status), Instant::now()));
        }
    }

    /// Every process of the job.
    fn tree(&self) -> Vec<Stat> {
        let me = rustix::process::getpid().as_raw_nonzero().get();
        let mut tree = process::descendants(me);
        let known: BTreeSet<i32> = tree.iter().map(|stat| stat.identity.pid).collect();
        let grouped = self.group.as_ref().map(Group::processes).unwrap_or_default();
        let others = grouped.into_iter().filter(|pid| *pid != me && !known.contains(pid));
        tree.extend(others.filter_map(process::stat).filter(|stat| !stat.zombie));
        tree
    }

    fn observe(&mut self, tree: &[Stat]) {
        if self.observer.look(tree) {
            self.keep_files();
        }
    }

    fn keep_files(&self) {
        if let Err(error) = self.job.saw_event_files(&self.observer.files()) {
            tracing::warn!(%error, "could not record the event files of the job");
        }
    }

    fn trim(&mut self) {
        let Some(log) = &self.log else { return };
        if let Err(error) = log::trim(log, &mut self.given_back) {
            tracing::warn!(%error, "could not shorten the log of the job");
        }
    }

    fn look_for_stop(&mut self) {
        if self.ending.is_some() || self.main_ended.is_some() {
            return;
        }
        if let Some(stop) = self.stop() {
            self.end(Some(stop.fate()));
        }
    }

    fn stop(&self) -> Option<Stop> {
        self.job.stop_asked().ok().flatten()
    }

    /// It received SIGTERM: from the process that wrote `stop.json`, or from a process that terminates everything, as
    /// during a shutdown.
    fn told_to_end(&mut self) {
        if self.ending.is_some() || self.main_ended.is_some() {
            return;
        }
        let fate = self.stop().map_or_else(
            || Fate {
                reason: Some("its supervisor received SIGTERM, as during a shutdown".into()),
                ..Fate::new(FateState::Lost)
            },
            |stop| stop.fate(),
        );
        self.end(Some(fate));
    }

    fn end(&mut self, fate: Option<Fate>) {
        self.ending = Some(Ending { since: Instant::now(), fate, told: BTreeSet::new() });
    }

    /// Once the command has ended, its remaining processes are terminated too, unless they train.
    fn end_what_is_left(&mut self, tree: &[Stat]) {
        let left = |ended: &Instant| ended.elapsed() >= LEFT_BEHIND;
        let trains = tree.iter().any(|stat| self.observer.writes(stat.identity.pid));
        if self.ending.is_none() && !trains && self.main_ended.as_ref().is_some_and(|(_, ended)| left(ended)) {
            self.end(None);
        }
        // A stop while only remaining processes run also terminates them.
        if self.ending.is_none() && self.main_ended.is_some() && self.stop().is_some() {
            self.end(None);
        }
        let Some(ending) = &mut self.ending else { return };
        if ending.since.elapsed() >= GRACE {
            for stat in tree {
                stat.identity.signal(Signal::KILL);
            }
            return;
        }
        for stat in tree {
            if ending.told.insert(stat.identity) {
                stat.identity.signal(Signal::TERM);
                // A stopped process does not react to signals.
                stat.identity.signal(Signal::CONT);
            }
        }
    }

    fn pause(&self) -> Duration {
        match &self.ending {
            Some(ending) if ending.since.elapsed() >= GRACE => KILL_AGAIN,
            Some(_) => LOOK / 5,
            None => LOOK,
        }
    }

    /// The result of the job.
    fn fate(&self) -> Fate {
        let own = match &self.main_ended {
            Some((MainEnd::NeverStarted(why), _)) => Fate { reason: Some(why.clone()), ..Fate::new(FateState::Failed) },
            Some((MainEnd::Status(status), _)) => self.fate_of(*status),
            None => Fate::new(FateState::Lost),
        };
        match self.ending.as_ref().and_then(|ending| ending.fate.clone()) {
            Some(fate) => Fate { exit_code: own.exit_code, signal: own.signal, ..fate },
            None => own,
        }
    }

    fn fate_of(&self, status: WaitStatus) -> Fate {
        let (exit_code, signal) = (status.exit_status(), status.terminating_signal());
        if exit_code == Some(0) {
            return Fate { exit_code, ..Fate::new(FateState::Ended) };
        }
        let killed = signal == Some(9) || exit_code == Some(128 + 9);
        let group_ran_out = self.group.as_ref().is_some_and(Group::ran_out_of_memory);
        if killed && (group_ran_out || process::memory_kills() > self.memory_kills) {
            let reason = Some("the kernel killed it because it was out of memory".to_owned());
            return Fate { reason, exit_code, signal, ..Fate::new(FateState::OutOfMemory) };
        }
        let said = log::tail(&self.job.log()).and_then(|tail| out_of_memory(&tail).map(str::to_owned));
        match said {
            Some(line) => Fate { reason: Some(line), exit_code, signal, ..Fate::new(FateState::OutOfMemory) },
            None => Fate { exit_code, signal, ..Fate::new(FateState::Failed) },
        }
    }
}

/// The stored environment of the baseline. Values that look like secrets are not stored; they come from this process.
fn stored_environment(order: &Order) -> io::Result<BTreeMap<String, String>> {
    let Some(id) = order.environment() else { return Ok(BTreeMap::new()) };
    let folder = environment::folder(&environment::variables()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "the location of its environment is unknown because neither XDG_STATE_HOME nor HOME is set",
        )
    })?;
    environment::kept(&folder, id)
}

/// Out-of-memory messages at the end of a program: Python's own error, and those of PyTorch, TensorFlow and JAX.
const OUT_OF_MEMORY: [&str; 6] = [
    "MemoryError",
    "torch.OutOfMemoryError",
    "torch.cuda.OutOfMemoryError",
    "RuntimeError: CUDA out of memory",
    "tensorflow.python.framework.errors_impl.ResourceExhaustedError",
    "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED",
];

/// The line of a traceback with the error. The message of an exception may have several lines.
fn out_of_memory(tail: &str) -> Option<&str> {
    let line = tail.lines().rev().take(20).find(|line| OUT_OF_MEMORY.iter().any(|error| line.starts_with(error)))?;
    let end = line.char_indices().nth(200).map_or(line.len(), |(at, _)| at);
    Some(&line[..end])
}

impl Supervisor {
    /// Its process.
    pub(super) fn identity(&self) -> Identity {
        Identity { pid: self.pid, ticks: self.ticks }
    }

    /// Whether it still exists; an id from before this boot belongs to another process.
    pub(super) fn is_alive(&self) -> bool {
        self.boot == process::boot_id() && self.identity().is_alive()
    }

    /// Sends it a signal if it still exists.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        self.boot == process::boot_id() && self.identity().signal(signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_says_that_memory_is_out_is_believed() {
        let told = "Traceback (most recent call last):\n  File \"t.py\", line 1, in <module>\n\
                    torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.\nSee documentation";
        assert_eq!(
            out_of_memory(told),
            Some("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.")
        );
        assert_eq!(out_of_memory("MemoryError"), Some("MemoryError"));
        assert_eq!(out_of_memory("ValueError: MemoryError is not defined"), None);
    }
}
