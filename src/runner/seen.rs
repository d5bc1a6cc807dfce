//! Detects training processes of this user: finds the command of a job that was not started with `nextrun run`.
//!
//! Owns: matching processes to the event files that they write, and the stored result. Must not know: knobs, cases.
//! Only processes of this user are inspected, and only for log directories that a daemon of this user asks about.
//!
//! Two observations show that a process writes a file: it has the file open, or the file's name contains its id and the
//! process existed when the file was created, because some writers open their file only while writing. A process may
//! end before its file is found, so every process is remembered for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::client::Trainer;
use super::process::{self, Identity};
use super::supervisor::JOB_VARIABLE;
use super::{Home, files};
use crate::launch::{self, environment, processes};
use crate::launched::{Launched, Source};

/// Interval for checking processes while a daemon asks.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// A log directory that nobody has asked about for this long is not checked.
const ASKED_WITHIN: Duration = Duration::from_secs(60);

/// A walk through a log directory takes at most this fraction of the time.
const SHARE: u32 = 50;

/// Maximum depth of directories.
const DEEPEST: usize = 16;

/// How long an ended process is remembered; the next walk finds its file.
const REMEMBERED: Duration = Duration::from_secs(120);

/// The command line of a process changes when it executes its program, which happens immediately.
const BECOMES: u32 = 3;

/// How long the command is kept after its process was last seen.
const KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Maximum difference in seconds between the clocks of a file system and of the kernel.
const CLOCKS_DIFFER: f64 = 2.0;

/// The kernel's unit for the start time of a process; the same on all machines with GPUs.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process, training or not.
#[derive(Debug, Clone)]
struct Process {
    argv: Vec<String>,
    cwd: PathBuf,
    env: BTreeMap<String, String>,
    /// The number of times it was read.
    looks: u32,
    gone: Option<Instant>,
}

/// A training process, with the number of its latest update.
struct Entry {
    trainer: Trainer,
    news: u64,
}

#[derive(Default)]
struct Inner {
    /// Log directories, each with the time of the last query and of the next walk.
    watched: BTreeMap<PathBuf, (Instant, Instant)>,
    processes: BTreeMap<Identity, Process>,
    entries: BTreeMap<String, Entry>,
    /// The entry of each training process.
    of_process: BTreeMap<Identity, String>,
    news: u64,
}

/// The training processes of this user.
pub(super) struct Seen {
    folder: PathBuf,
    /// The directory in which the runner also looks for environments; a training process may have another `XDG_STATE_HOME`.
    environments: Option<PathBuf>,
    user: u32,
    boot: String,
    booted: f64,
    inner: Mutex<Inner>,
}

impl Seen {
    /// Continues with the stored state.
    pub(super) fn load(home: &Home, environments: Option<PathBuf>, user: u32) -> Seen {
        let folder = home.path().join("seen");
        let boot = process::boot_id();
        let mut inner = Inner::default();
        for path in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            inner.restore(&path, &boot);
        }
        Seen { folder, environments, user, boot, booted: booted_at(), inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates about processes that write below `logdir`, after update number `after`.
    pub(super) fn news(&self, logdir: &Path, after: u64) -> (u64, Vec<Trainer>) {
        let mut inner = self.inner();
        let now = Instant::now();
        inner.watched.entry(logdir.to_owned()).or_insert((now, now)).0 = now;
        let new = inner
            .entries
            .values()
            .filter(|entry| entry.news > after && entry.trainer.files.iter().any(|file| file.starts_with(logdir)));
        (inner.news, new.map(|entry| entry.trainer.clone()).collect())
    }

    /// Checks every process of this user, and the log directories if they are due.
    pub(super) fn look(&self) {
        let mut inner = self.inner();
        inner.watched.retain(|_, (asked, _)| asked.elapsed() < ASKED_WITHIN);
        if inner.watched.is_empty() {
            return;
        }
        inner.look_at_processes(self.user);
        let mut found = inner.open_files();
        found.extend(inner.named_files(self.booted));
        for (identity, file) in found {
            self.note(&mut inner, identity, file);
        }
        self.note_ends(&mut inner);
    }

    /// A process writes a file.
    fn note(&self, inner: &mut Inner, writer: Identity, file: PathBuf) {
        let Some(identity) = inner.commander(writer) else { return };
        let key = inner.of_process.get(&identity).cloned();
        let key = key.unwrap_or_else(|| {
            format!("{}-{}-{}", &self.boot.get(..8).unwrap_or("boot"), identity.pid, identity.ticks)
        });
        if !inner.entries.contains_key(&key) {
            let Some(process) = inner.processes.get(&identity).cloned() else { return };
            let trainer = Trainer { files: BTreeSet::new(), launched: self.learn(&process), running: true };
            inner.entries.insert(key.clone(), Entry { trainer, news: 0 });
        }
        inner.of_process.insert(identity, key.clone());
        let Some(entry) = inner.entries.get_mut(&key) else { return };
        if entry.trainer.files.insert(file) {
            inner.is_news(&key);
            self.keep(inner, &key);
        }
    }

    fn note_ends(&self, inner: &mut Inner) {
        let ended: Vec<String> = inner
            .of_process
            .iter()
            .filter(|(identity, key)| {
                inner.entries.get(*key).is_some_and(|entry| entry.trainer.running) && !identity.is_alive()
            })
            .map(|(_, key)| key.clone())
            .collect();
        for key in ended {
            if let Some(entry) = inner.entries.get_mut(&key) {
                entry.trainer.running = false;
            }
            inner.is_news(&key);
            self.keep(inner, &key);
        }
    }

    /// How a process was started. The values of its environment, without secrets, go to a file that only this user can
    /// read.
    fn learn(&self, process: &Process) -> Launched {
        let cwd = process.cwd.to_string_lossy();
        let mut launched = launch::learn(Source::Process, &process.argv, &cwd, &process.env);
        launched.owner = Some(self.user);
        launched.environment = self.environments.as_ref().and_then(|folder| {
            let kept = environment::keep(folder, &process.env);
            kept.inspect_err(|error| tracing::warn!(%error, "could not store the environment of a job")).ok()
        });
        launched
    }

    fn keep(&self, inner: &Inner, key: &str) {
        let Some(entry) = inner.entries.get(key) else { return };
        let path = self.folder.join(format!("{key}.json"));
        let kept = files::make_private(&self.folder).and_then(|()| files::replace(&path, &entry.trainer));
        if let Err(error) = kept {
            tracing::warn!(%error, "could not store how a job was started; this will be unknown after a restart");
        }
    }
}

impl Inner {
    fn restore(&mut self, path: &Path, boot: &str) {
        let old = fs::metadata(path).and_then(|about| about.modified()).ok();
        if old.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > KEPT) {
            let _ = fs::remove_file(path);
            return;
        }
        let Some(key) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")) else { return };
        let Ok(Some(mut trainer)) = files::read::<Trainer>(path) else { return };
        let identity = identity_in(key, boot);
        trainer.running &= identity.is_some_and(Identity::is_alive);
        self.news += 1;
        self.entries.insert(key.to_owned(), Entry { trainer, news: self.news });
        if let Some(identity) = identity {
            self.of_process.insert(identity, key.to_owned());
        }
    }

    fn is_news(&mut self, key: &str) {
        self.news += 1;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.news = self.news;
        }
    }

    fn look_at_processes(&mut self, user: u32) {
        let mut alive = BTreeSet::new();
        for pid in process::of_user(user) {
            let Some(identity) = Identity::of(pid) else { continue };
            alive.insert(identity);
            let known = self.processes.get(&identity).map_or(0, |process| process.looks);
            if known < BECOMES {
                self.read(identity, known + 1);
            }
        }
        for (identity, process) in &mut self.processes {
            if !alive.contains(identity) && process.gone.is_none() {
                process.gone = Some(Instant::now());
            }
        }
        self.processes.retain(|_, process| process.gone.is_none_or(|gone| gone.elapsed() < REMEMBERED));
    }

    fn read(&mut self, identity: Identity, looks: u32) {
        let read = |pid| Some((process::arguments(pid)?, process::directory(pid)?, process::environment(pid)?));
        let Some((argv, cwd, env)) = read(identity.pid) else { return };
        // The id may have been reused during the read.
        if Identity::of(identity.pid) == Some(identity) {
            self.processes.insert(identity, Process { argv, cwd, env, looks, gone: None });
        }
    }

    /// Event files below a watched directory that processes have open.
    fn open_files(&self) -> Vec<(Identity, PathBuf)> {
        let open = |identity: &Identity| {
            let files = u32::try_from(identity.pid).map(processes::event_files).unwrap_or_default();
            let watched = files.into_iter().filter(|file| self.watches(file));
            watched.map(|file| (*identity, file)).collect::<Vec<_>>()
        };
        let alive = self.processes.iter().filter(|(_, process)| process.gone.is_none());
        alive.flat_map(|(identity, _)| open(identity)).collect()
    }

    fn watches(&self, file: &Path) -> bool {
        self.watched.keys().any(|logdir| file.starts_with(logdir))
    }

    /// Event files below a watched directory whose names contain the id of a process that existed when they were
    /// created.
    fn named_files(&mut self, booted: f64) -> Vec<(Identity, PathBuf)> {
        let mut found = Vec::new();
        let now = Instant::now();
        let due: Vec<PathBuf> =
            self.watched.iter().filter(|(_, (_, walk))| *walk <= now).map(|(logdir, _)| logdir.clone()).collect();
        let by_pid: BTreeMap<i32, Identity> = self.processes.keys().map(|identity| (identity.pid, *identity)).collect();
        for logdir in due {
            let begun = Instant::now();
            walk(&logdir, 0, &mut |path, changed| {
                let Some(identity) = process::writer_of(path).and_then(|pid| by_pid.get(&pid)) else { return };
                let started = booted + identity.ticks as f64 / TICKS_PER_SECOND;
                let made = made_at(path).unwrap_or(changed);
                if changed + CLOCKS_DIFFER >= started && made + CLOCKS_DIFFER >= started {
                    found.push((*identity, path.to_owned()));
                }
            });
            let next = Instant::now() + LOOK.max(begun.elapsed() * SHARE);
            if let Some((_, walk)) = self.watched.get_mut(&logdir) {
                *walk = next;
            }
        }
        found
    }

    /// The process that was started for the work of `writer`: workers of a training have the command of their parent.
    /// `None` for experiments, which their runner knows.
    fn commander(&self, writer: Identity) -> Option<Identity> {
        let mut at = writer;
        loop {
            let process = self.processes.get(&at)?;
            let experiment = |name: &str| process.env.contains_key(name);
            if experiment(JOB_VARIABLE) || process.env.get("NEXTRUN_SUGGESTION_ID").is_some_and(|id| !id.is_empty()) {
                return None;
            }
            let parent =
                process::stat(at.pid).filter(|stat| stat.identity == at).and_then(|stat| Identity::of(stat.parent));
            match parent.and_then(|parent| Some((parent, self.processes.get(&parent)?))) {
                Some((parent, above)) if is_worker(&process.argv, &above.argv) => at = parent,
                Some(_) | None => return Some(at),
            }
        }
    }
}

/// Launchers that start a training script several times.
const LAUNCHERS: [&str; 7] = [
    "torchrun",
    "accelerate",
    "deepspeed",
    "horovodrun",
    "torch.distributed.run",
    "torch.distributed.launch",
    "accelerate.commands.launch",
];

/// Whether a process was created by its parent as a worker.
fn is_worker(argv: &[String], parent: &[String]) -> bool {
    let forked = argv == parent;
    let spawned = argv.iter().any(|word| {
        word.contains("multiprocessing.spawn")
            || word.contains("multiprocessing.forkserver")
            || word == "--multiprocessing-fork"
    });
    let launches = |word: &String| {
        let name = Path::new(word).file_name().unwrap_or_default().to_string_lossy().into_owned();
        LAUNCHERS.contains(&name.as_str())
    };
    forked || spawned || parent.iter().take(4).any(launches)
}

/// Every event file below a directory, with its modification time in seconds since the Unix epoch.
fn walk(directory: &Path, depth: usize, see: &mut dyn FnMut(&Path, f64)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if kind.is_dir() && depth < DEEPEST {
            walk(&path, depth + 1, see);
        } else if kind.is_file() && process::is_event_file(&path) {
            let changed = entry.metadata().and_then(|about| about.modified()).ok();
            if let Some(changed) = changed.and_then(seconds) {
                see(&path, changed);
            }
        }
    }
}

/// When a file was created, according to its name: `events.out.tfevents.TIME.…`.
fn made_at(path: &Path) -> Option<f64> {
    let name = path.file_name()?.to_str()?;
    name.split_once("tfevents.")?.1.split('.').next()?.parse().ok()
}

fn seconds(time: SystemTime) -> Option<f64> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

/// When this machine was booted, in seconds since the Unix epoch.
fn booted_at() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = stat.lines().find_map(|line| line.strip_prefix("btime "));
    booted.and_then(|time| time.trim().parse().ok()).unwrap_or(0.0)
}

/// The process named by an entry, if it belongs to the current boot.
fn identity_in(key: &str, boot: &str) -> Option<Identity> {
    let rest = key.strip_prefix(boot.get(..8)?)?.strip_prefix('-')?;
    let (pid, ticks) = rest.split_once('-')?;
    Some(Identity { pid: pid.parse().ok()?, ticks: ticks.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_worker_has_the_command_of_its_parent() {
        for (worker, parent, is) in [
            ("python train.py", "python train.py", true),
            ("python -c multiprocessing.spawn", "python train.py", true),
            ("python -u train.py --local-rank=0", "/usr/bin/python /usr/bin/torchrun train.py", true),
            ("python -u train.py", "python -m torch.distributed.run train.py", true),
            ("python train.py", "python test_harness.py", false),
            ("python train.py", "bash", false),
        ] {
            assert_eq!(is_worker(&words(worker), &words(parent)), is, "{worker} of {parent}");
        }
    }

    #[test]
    fn a_process_that_writes_is_seen_with_its_command_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let logdir = folder.path().canonicalize().unwrap().join("logs");
        fs::create_dir_all(logdir.join("run")).unwrap();
        let home = Home::below(&folder.path().join("state"));
        home.prepare().unwrap();
        let user = rustix::process::geteuid().as_raw();
        let environments = folder.path().join("environments");
        let seen = Seen::load(&home, Some(environments.clone()), user);
        assert_eq!(seen.news(&logdir, 0).1, []);
        let script = "exec 5>run/events.out.tfevents.1.x; read line";
        let mut child = Command::new("sh")
            .args(["-c", script, "--lr=1"])
            .current_dir(&logdir)
            .env("XDG_STATE_HOME", "/nowhere")
            .env_remove("NEXTRUN_SUGGESTION_ID")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while seen.news(&logdir, 0).1.is_empty() && begun.elapsed() < Duration::from_secs(30) {
            seen.look();
        }
        let (last, trainers) = seen.news(&logdir, 0);
        let trainer = &trainers[0];
        assert_eq!(trainer.launched.argv, ["sh", "-c", script, "--lr=1"]);
        assert_eq!((Path::new(&trainer.launched.cwd), trainer.launched.owner), (logdir.as_path(), Some(user)));
        let kept = trainer.launched.environment.as_deref().and_then(|id| environment::kept(&environments, id).ok());
        assert!(trainer.running && kept.is_some_and(|kept| kept["XDG_STATE_HOME"] == "/nowhere"));
        assert_eq!(seen.news(&logdir, last).1, []);
        assert_eq!(seen.news(Path::new("/elsewhere"), 0).1, []);
        drop(child.stdin.take());
        child.wait().unwrap();
        seen.look();
        assert!(!seen.news(&logdir, last).1[0].running);
        let again = Seen::load(&home, None, user).news(&logdir, 0).1;
        assert_eq!(again.len(), 1);
        assert_eq!((&again[0].launched, again[0].running), (&trainer.launched, false));
    }

    #[test]
    fn a_process_is_found_by_the_name_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let logdir = folder.path().canonicalize().unwrap();
        let home = Home::below(&folder.path().join("state"));
        home.prepare().unwrap();
        let seen = Seen::load(&home, None, rustix::process::geteuid().as_raw());
        seen.news(&logdir, 0);
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let now = seconds(SystemTime::now()).unwrap();
        let mut child = Command::new("sleep").arg("1000").env_remove("NEXTRUN_SUGGESTION_ID").spawn().unwrap();
        // The same id in an old file refers to another process.
        for time in [now, 1000.0] {
            fs::write(logdir.join(format!("events.out.tfevents.{time:.0}.{host}.{}.0", child.id())), "x").unwrap();
        }
        let begun = Instant::now();
        while seen.news(&logdir, 0).1.is_empty() && begun.elapsed() < Duration::from_secs(30) {
            seen.look();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let trainers = seen.news(&logdir, 0).1;
        assert_eq!(trainers[0].launched.argv, ["sleep", "1000"]);
        assert_eq!(trainers[0].files.len(), 1, "{:?}", trainers[0].files);
    }
}
