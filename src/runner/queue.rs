//! The queue, which assigns jobs to slots.
//!
//! Owns: slots, starting supervisors, detecting lost supervisors. Must not know: sockets. All its state is in the
//! directories of the jobs, so that a new process can continue after the old one was killed.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::accept::Order;
use super::cgroup::{Group, Groups};
use super::job::{Exit, Job, Started, Supervisor, jobs, now};
use super::process::{self, Identity};
use super::supervisor::JOB_VARIABLE;
use super::{Allotment, Home, RunnerError};
use crate::fate::{Fate, FateState};

/// If a supervisor could not take its job, for example on a full disk, another one is started after this time.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// The state of a job.
enum Standing {
    /// Waits until this time at least.
    Waits(Instant),
    /// A supervisor was started and has not taken it yet. A supervisor started by an earlier runner is not a child of
    /// this process.
    Starting { place: Allotment, identity: Identity },
    /// It has a supervisor.
    Runs(Supervisor),
    /// It has ended.
    Over,
}

struct Entry {
    job: Job,
    /// Whatever else waits comes first.
    probe: bool,
    logdir: Option<PathBuf>,
    standing: Standing,
    /// Its files could not be read or written at the last check.
    troubled: bool,
    /// The last reported status and the number of that update.
    told: Option<Fate>,
    news: u64,
}

/// The jobs of this machine's user.
pub(super) struct Queue {
    home: Home,
    slots: Vec<Allotment>,
    groups: Groups,
    /// In order of acceptance.
    entries: Vec<Entry>,
    by_id: BTreeMap<String, usize>,
    /// Supervisors started by this process, each with its cgroup, until they have ended.
    children: Vec<(Child, Option<PathBuf>)>,
    news: u64,
}

impl Queue {
    /// Continues with the state in the directories.
    pub(super) fn load(home: &Home, slots: Vec<Allotment>, groups: Groups) -> Result<Queue, RunnerError> {
        let mut queue = Queue {
            home: home.clone(),
            slots,
            groups,
            entries: Vec::new(),
            by_id: BTreeMap::new(),
            children: Vec::new(),
            news: 0,
        };
        for (queued, job) in jobs(home)? {
            queue.add(job, &queued.order);
        }
        queue.adopt();
        Ok(queue)
    }

    fn add(&mut self, job: Job, order: &Order) {
        let logdir = order.logdir().map(Path::to_owned);
        self.by_id.insert(job.id(), self.entries.len());
        self.entries.push(Entry {
            job,
            probe: order.is_probe(),
            logdir,
            standing: Standing::Waits(Instant::now()),
            troubled: false,
            told: None,
            news: 0,
        });
    }

    /// Supervisors that an earlier runner started may be about to take their jobs; each occupies its slot until this is
    /// known.
    fn adopt(&mut self) {
        for pid in process::of_user(rustix::process::geteuid().as_raw()) {
            let Some(arguments) = process::arguments(pid) else { continue };
            let [_, command, directory, _, place, ..] = arguments.as_slice() else { continue };
            if command != "supervise" {
                continue;
            }
            let entry = self.entries.iter_mut().find(|entry| entry.job.directory() == Path::new(directory));
            let found = entry.zip(Identity::of(pid)).zip(serde_json::from_str(place).ok());
            if let Some(((entry, identity), place)) = found {
                entry.standing = Standing::Starting { place, identity };
            }
        }
    }

    /// Accepts an order; `false` if the job already exists or existed.
    ///
    /// # Errors
    /// It cannot be written to disk.
    pub(super) fn take(&mut self, order: Order) -> io::Result<bool> {
        let created = Job::create(&self.home, order.clone(), now())?;
        let taken = created.is_some();
        if let Some(job) = created {
            self.add(job, &order);
        }
        Ok(taken)
    }

    /// The job with this id.
    pub(super) fn job(&self, id: &str) -> Option<&Job> {
        self.by_id.get(id).and_then(|at| self.entries.get(*at)).map(|entry| &entry.job)
    }

    /// All jobs in order of acceptance.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.entries.iter().map(|entry| &entry.job)
    }

    /// Whether no job is waiting or running.
    pub(super) fn is_idle(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.standing, Standing::Over)) && self.children.is_empty()
    }

    /// Records changes, and starts jobs that have a free slot.
    pub(super) fn turn(&mut self) {
        self.children.retain_mut(|(child, group)| {
            let runs = matches!(child.try_wait(), Ok(None));
            if let (false, Some(group)) = (runs, group) {
                Group::at(group).remove();
            }
            runs
        });
        for entry in &mut self.entries {
            if !matches!(entry.standing, Standing::Over) {
                let followed = entry.follow();
                if let (Err(error), false) = (&followed, entry.troubled) {
                    tracing::warn!(job = entry.job.id(), %error, "could not read or write the files of a job; retrying");
                }
                entry.troubled = followed.is_err();
                if let Ok(standing) = followed {
                    entry.standing = standing;
                }
            }
        }
        self.start_waiting();
    }

    /// The status of the jobs that log below `logdir` and changed since update number `after`, and the newest number. A
    /// change of the log alone is not an update before the job has ended.
    pub(super) fn news(&mut self, logdir: &Path, after: u64) -> (u64, BTreeMap<String, Fate>) {
        let mut changed = BTreeMap::new();
        for entry in &mut self.entries {
            if entry.told.as_ref().is_none_or(|fate| !fate.state.is_final())
                && let Ok(fate) = entry.job.fate()
            {
                let tail = fate.tail.clone().filter(|_| fate.state.is_final());
                let fate = Fate { tail, ..fate };
                if entry.told.as_ref() != Some(&fate) {
                    self.news += 1;
                    (entry.told, entry.news) = (Some(fate), self.news);
                }
            }
            let its = entry.logdir.as_deref() == Some(logdir);
            if let (true, true, Some(fate)) = (its, entry.news > after, &entry.told) {
                changed.insert(entry.job.id(), fate.clone());
            }
        }
        (self.news, changed)
    }

    fn start_waiting(&mut self) {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|at| self.entries[*at].probe);
        for at in order {
            let Standing::Waits(after) = self.entries[at].standing else { continue };
            let Some(place) = self.free_place() else { return };
            if after > Instant::now() {
                continue;
            }
            self.entries[at].standing = match self.start(&self.entries[at].job, &place) {
                Ok((child, group, identity)) => {
                    self.children.push((child, group));
                    Standing::Starting { place, identity }
                }
                Err(error) => {
                    tracing::warn!(job = self.entries[at].job.id(), %error, "could not start a supervisor");
                    Standing::Waits(Instant::now() + TRY_AGAIN)
                }
            };
        }
    }

    /// A free slot. A job that started under other settings also occupies its GPU.
    fn free_place(&self) -> Option<Allotment> {
        let taken: Vec<&Allotment> = self.entries.iter().filter_map(|entry| entry.standing.place()).collect();
        // From before the slots were changed.
        let foreign = |other: &Allotment| self.slots.get(other.slot).is_none_or(|place| place.gpu != other.gpu);
        let shares = |place: &Allotment| {
            let same_gpu = |other: &Allotment| place.gpu.is_some() && other.gpu == place.gpu;
            taken.iter().any(|other| other.slot == place.slot || (foreign(other) && same_gpu(other)))
        };
        if taken.len() >= self.slots.len() {
            return None;
        }
        self.slots.iter().find(|place| !shares(place)).cloned()
    }

    /// Starts a supervisor: another process of the current program, even if its file has been replaced since.
    fn start(&self, job: &Job, place: &Allotment) -> io::Result<(Child, Option<PathBuf>, Identity)> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("nextrun").arg("supervise").arg(job.directory());
        command.arg("--place").arg(serde_json::to_string(place)?);
        let group = self.groups.path_for(&job.id());
        if let Some(group) = &group {
            command.arg("--cgroup").arg(group);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(super::log::open(&self.home.log())?);
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(|_| io::Error::other("a process id beyond all bounds"))?;
        let identity = Identity::of(pid).ok_or_else(|| io::Error::other("it ended immediately"))?;
        Ok((child, group, identity))
    }
}

impl Standing {
    /// The slot that it occupies.
    fn place(&self) -> Option<&Allotment> {
        match self {
            Standing::Starting { place, .. } => Some(place),
            Standing::Runs(supervisor) => Some(&supervisor.place),
            Standing::Waits(_) | Standing::Over => None,
        }
    }
}

impl Entry {
    /// Its current state, according to its files and its supervisor.
    fn follow(&mut self) -> io::Result<Standing> {
        if self.job.exit()?.is_some() {
            return self.over();
        }
        match self.job.started()? {
            Some(Started::Never) => {
                // Whoever stopped it did not finish recording it.
                let fate = self.job.stop_asked()?.map_or_else(|| Fate::new(FateState::Cancelled), |stop| stop.fate());
                self.job.end(&Exit { fate, ended: now() })?;
                self.over()
            }
            Some(Started::By(supervisor)) if supervisor.is_alive() => Ok(Standing::Runs(supervisor)),
            Some(Started::By(supervisor)) => self.supervisor_is_gone(supervisor),
            None => Ok(match &self.standing {
                Standing::Starting { place, identity } if identity.is_alive() => {
                    Standing::Starting { place: place.clone(), identity: *identity }
                }
                // It may have taken the job and ended since the check.
                Standing::Starting { .. } if self.job.started()?.is_some() => return self.follow(),
                Standing::Starting { .. } => Standing::Waits(Instant::now() + TRY_AGAIN),
                Standing::Waits(after) => Standing::Waits(*after),
                Standing::Runs(_) | Standing::Over => Standing::Waits(Instant::now()),
            }),
        }
    }

    fn over(&self) -> io::Result<Standing> {
        if let Some(Started::By(Supervisor { cgroup: Some(path), .. })) = self.job.started()? {
            Group::at(&path).remove();
        }
        Ok(Standing::Over)
    }

    /// The supervisor is gone. If it did not record the end, it is unknown how or whether the job ended: its remaining
    /// processes are terminated, and the job is lost.
    fn supervisor_is_gone(&self, supervisor: Supervisor) -> io::Result<Standing> {
        if self.job.exit()?.is_some() {
            return self.over();
        }
        let same_boot = supervisor.boot == process::boot_id();
        if same_boot && end_what_is_left(&self.job, &supervisor) {
            // Checks again, because termination takes a moment and a process may have created another.
            return Ok(Standing::Runs(supervisor));
        }
        let stopped = self.job.stop_asked()?.map(|stop| stop.fate());
        let reason = match same_boot {
            true => "its supervisor was killed",
            false => "the machine was rebooted",
        };
        let lost = || Fate { reason: Some(reason.to_owned()), ..Fate::new(FateState::Lost) };
        self.job.end(&Exit { fate: stopped.unwrap_or_else(lost), ended: now() })?;
        self.over()
    }
}

/// Terminates the processes of a job that no longer has a supervisor; `false` if there are none.
fn end_what_is_left(job: &Job, supervisor: &Supervisor) -> bool {
    let group = supervisor.cgroup.as_deref().map(Group::at);
    if let Some(group) = &group {
        group.kill();
    }
    // A session id cannot be reused while a process is in the session.
    let session_is_its = process::stat(supervisor.pid).is_none_or(|stat| stat.identity == supervisor.identity());
    let is_its = |pid: &i32| {
        let in_session = session_is_its && process::stat(*pid).is_some_and(|stat| stat.session == supervisor.pid);
        in_session || process::has_variable(*pid, JOB_VARIABLE, job.directory())
    };
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let processes = process::of_user(rustix::process::geteuid().as_raw());
    let left: Vec<_> = processes
        .into_iter()
        .filter(|pid| *pid != me && is_its(pid))
        .filter_map(process::stat)
        .filter(|stat| !stat.zombie)
        .collect();
    for stat in &left {
        stat.identity.signal(Signal::KILL);
    }
    !left.is_empty() || group.is_some_and(|group| !group.processes().is_empty())
}

/// The slots of a runner: one per GPU, or one without GPUs, or the requested number.
pub(super) fn places(slots: Option<usize>, gpus: &[String], memory: Option<u64>) -> Vec<Allotment> {
    let count = slots.unwrap_or(gpus.len()).max(1);
    let gpu = |slot: usize| gpus.get(slot % gpus.len().max(1)).cloned();
    (0..count).map(|slot| Allotment { slot, gpu: gpu(slot), memory }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_place_for_each_gpu() {
        let gpus = ["GPU-a".to_owned(), "GPU-b".to_owned()];
        let shown = |slots, gpus: &[String]| -> Vec<(usize, Option<String>)> {
            places(slots, gpus, None).into_iter().map(|place| (place.slot, place.gpu)).collect()
        };
        assert_eq!(shown(None, &[]), [(0, None)]);
        assert_eq!(shown(None, &gpus), [(0, Some("GPU-a".to_owned())), (1, Some("GPU-b".to_owned()))]);
        assert_eq!(shown(Some(3), &[]).len(), 3);
        assert_eq!(shown(Some(0), &[]).len(), 1);
    }
}
