//! Old runs are skipped, and cost almost nothing, until they change.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nextrun::logdir::DiskLogdir;
use nextrun::series::RunName;
use nextrun::tfevents::encode;
use nextrun::watch::{Changes, Options, TURN, Watcher};

const DAY: f64 = 86_400.0;

/// Long enough after the real time that no directory seems to have changed a moment ago.
fn later(seconds: f64) -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs_f64() + 10.0 + seconds
}

struct Fixture {
    dir: tempfile::TempDir,
    watcher: Watcher,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().expect("a directory");
        let mut watcher = Watcher::new(Box::new(DiskLogdir::new(dir.path())), Options { threads: 1 });
        watcher.ignore_older_than(DAY);
        Fixture { dir, watcher }
    }

    fn path(&self, run: &str) -> PathBuf {
        self.dir.path().join(run).join("events.out.tfevents.1.h")
    }

    /// Appends an event to the file of a run.
    fn append(&self, run: &str) {
        let path = self.path(run);
        fs::create_dir_all(path.parent().expect("it is in one")).expect("a directory");
        let mut file = File::options().create(true).append(true).open(path).expect("a file");
        file.write_all(&encode::scalar(1.0, 1, "loss", 0.5)).expect("space");
    }

    /// A file that was written two days ago.
    fn old(&self, run: &str) {
        self.append(run);
        self.age(run);
    }

    fn age(&self, run: &str) {
        let then = SystemTime::now() - Duration::from_secs(2 * 86_400);
        File::options().append(true).open(self.path(run)).and_then(|file| file.set_modified(then)).expect("a time");
    }

    fn read(&self) -> Vec<String> {
        self.watcher.runs().keys().map(|run| run.as_str().to_owned()).collect()
    }

    fn events(&self, run: &str) -> u64 {
        self.watcher.runs()[&RunName::new(run)].events()
    }
}

fn names(runs: &[RunName]) -> Vec<&str> {
    runs.iter().map(RunName::as_str).collect()
}

#[test]
fn an_old_run_is_not_read_until_it_grows_and_then_from_its_start() {
    let mut fixture = Fixture::new();
    for run in ["old/a", "old/b", "new"] {
        if run == "new" { fixture.append(run) } else { fixture.old(run) }
    }
    let now = later(0.0);
    assert_eq!(names(&fixture.watcher.poll(now).appeared), ["new"]);
    assert_eq!((fixture.read(), fixture.watcher.old_runs()), (vec!["new".to_owned()], 2));
    assert!(fixture.watcher.has("old/a") && fixture.watcher.follows("old") && !fixture.watcher.has("old"));
    // Appending does not change the directory: without a notice of the kernel, the file is looked at in its turn.
    fixture.append("old/a");
    assert_eq!(fixture.watcher.poll(now).appeared, []);
    let turn = fixture.watcher.poll(now + TURN);
    assert_eq!(names(&turn.appeared), ["old/a"]);
    assert_eq!((fixture.events("old/a"), fixture.watcher.old_runs()), (2, 1));
    fixture.append("old/b");
    let path = fixture.path("old/b");
    let told = fixture.watcher.poll_paths(now, [path.strip_prefix(fixture.dir.path()).expect("it is below")]);
    assert_eq!((names(&told.appeared), fixture.events("old/b")), (vec!["old/b"], 2));
}

#[test]
fn a_new_file_or_run_beside_old_ones_is_found_at_once() {
    let mut fixture = Fixture::new();
    ["team/a", "team/b", "team/c"].iter().for_each(|run| fixture.old(run));
    let now = later(0.0);
    fixture.watcher.poll(now);
    fixture.append("team/d");
    let second = fixture.dir.path().join("team/b/events.out.tfevents.2.h");
    fs::write(second, encode::scalar(2.0, 2, "loss", 0.25)).expect("a file");
    assert_eq!(names(&fixture.watcher.poll(now).appeared), ["team/b", "team/d"]);
    assert_eq!(fixture.events("team/b"), 2, "its old file is read with the new one");
    fs::remove_dir_all(fixture.dir.path().join("team/a")).expect("a directory");
    fixture.watcher.poll(now);
    assert_eq!(fixture.watcher.old_runs(), 1);
    fs::remove_dir_all(fixture.dir.path().join("team")).expect("a directory");
    assert_eq!(names(&fixture.watcher.poll(now).vanished), ["team/b", "team/d"]);
    assert_eq!(fixture.watcher.old_runs(), 0);
}

#[test]
fn a_released_run_is_left_alone_until_it_changes() {
    let mut fixture = Fixture::new();
    fixture.append("run");
    let now = later(0.0);
    fixture.watcher.poll(now);
    fixture.watcher.release(&RunName::new("run"));
    assert_eq!(fixture.watcher.poll(now + TURN), Changes::default());
    assert_eq!((fixture.read().len(), fixture.watcher.old_runs()), (0, 1));
    fixture.append("run");
    assert_eq!(names(&fixture.watcher.poll(now + 2.0 * TURN).appeared), ["run"]);
    assert_eq!(fixture.events("run"), 2);
}

#[test]
fn what_somebody_needs_is_read_whatever_its_age() {
    let mut fixture = Fixture::new();
    ["a", "a/train", "b"].iter().for_each(|run| fixture.old(run));
    let now = later(0.0);
    fixture.watcher.poll(now);
    let needed: Vec<String> = fixture.watcher.old_runs_under("a").collect();
    assert_eq!(needed, ["a", "a/train"]);
    assert_eq!(fixture.watcher.recall(now, &needed, now - DAY), Changes::default(), "nothing of it is that young");
    assert_eq!(names(&fixture.watcher.recall(now, &needed, f64::NEG_INFINITY).appeared), ["a", "a/train"]);
    assert_eq!(fixture.watcher.poll(now + TURN).vanished, []);
    assert_eq!((fixture.read(), fixture.watcher.old_runs()), (vec!["a".to_owned(), "a/train".to_owned()], 1));
}

#[test]
fn a_rename_moves_a_run_and_an_exchange_exchanges_runs() {
    let mut fixture = Fixture::new();
    ["a/x", "b/x"].iter().for_each(|run| fixture.append(run));
    fixture.append("b/x");
    let now = later(0.0);
    fixture.watcher.poll(now);
    let at = |name: &str| fixture.dir.path().join(name);
    for (from, to) in [("a", "c"), ("b", "a"), ("c", "b")] {
        fs::rename(at(from), at(to)).expect("a directory");
    }
    fixture.watcher.poll(now);
    assert_eq!((fixture.events("a/x"), fixture.events("b/x")), (2, 1));
    fs::rename(fixture.dir.path().join("a"), fixture.dir.path().join("d")).expect("a directory");
    let moved = fixture.watcher.poll(now);
    assert_eq!((names(&moved.appeared), names(&moved.vanished)), (vec!["d/x"], vec!["a/x"]));
}

#[test]
fn a_file_that_is_reached_twice_is_one_run_under_its_own_name() {
    let mut fixture = Fixture::new();
    fixture.append("z/2024");
    symlink("z/2024", fixture.dir.path().join("latest")).expect("a link");
    fs::create_dir(fixture.dir.path().join("copy")).expect("a directory");
    fs::hard_link(fixture.path("z/2024"), fixture.path("copy")).expect("a link");
    let now = later(0.0);
    fixture.watcher.poll(now);
    assert_eq!(fixture.read(), ["copy"], "of two names of one file the first is as good as the other");
    fixture.watcher.poll(now + TURN);
    assert_eq!(fixture.read(), ["copy"]);
    fs::remove_file(fixture.path("copy")).expect("the file");
    fixture.watcher.poll(now + 2.0 * TURN);
    assert_eq!(fixture.read(), ["z/2024"]);
}

#[test]
fn a_hostile_log_directory_is_survived() {
    let mut fixture = Fixture::new();
    let root = fixture.dir.path().to_owned();
    let deep = "d/".repeat(300);
    fs::create_dir_all(root.join(&deep)).expect("a directory");
    for (link, target) in [("loop", "."), ("d/up", ".."), ("self", "self"), ("d/d/round", "../../d")] {
        symlink(target, root.join(link)).expect("a link");
    }
    symlink("/", root.join("everything")).expect("a link");
    let odd = root.join(std::ffi::OsStr::from_bytes(b"a\nb\x1b[31m \xff"));
    fs::create_dir(&odd).expect("a directory");
    fs::write(odd.join("x.tfevents\n2"), encode::scalar(1.0, 1, "loss", 0.5)).expect("a file");
    fs::create_dir(root.join("dir.tfevents")).expect("a directory");
    fs::create_dir(root.join("many")).expect("a directory");
    for i in 0..1100 {
        fs::write(root.join(format!("many/{i:04}.tfevents")), encode::scalar(1.0, i, "loss", 0.5)).expect("a file");
    }
    (0..500).for_each(|i| fixture.append(&format!("tiny/{i}")));
    let now = later(0.0);
    let changes = fixture.watcher.poll(now);
    assert_eq!(changes.appeared.len(), 502);
    assert_eq!(changes.problems.len(), 1, "{:?}", changes.problems);
    assert!(changes.problems[0].contains("1100 event files"), "{:?}", changes.problems);
    assert_eq!(fixture.events("many"), 1000);
    assert_eq!(fixture.watcher.poll(now).changed, []);
    assert!(!fixture.read().iter().any(|run| run.starts_with("everything") || run.starts_with("loop")));
}

#[test]
fn a_directory_that_cannot_be_read_for_a_while_is_told_once_and_not_gone() {
    use std::os::unix::fs::PermissionsExt;
    let mut fixture = Fixture::new();
    fixture.append("a/run");
    let locked = fixture.dir.path().join("a");
    let allow = |mode| fs::set_permissions(&locked, fs::Permissions::from_mode(mode)).expect("a mode");
    let now = later(0.0);
    fixture.watcher.poll(now);
    allow(0o000);
    if fs::read_dir(&locked).is_ok() {
        // Nothing is locked to this user; what is done about a failure is tested on a name that is too long.
        allow(0o755);
        assert!(fixture.watcher.poll_paths(now, [Path::new(&"x".repeat(1000))]).problems.len() == 1);
        assert_eq!(fixture.watcher.poll(now).problems, [] as [&str; 0]);
        return;
    }
    assert_eq!(fixture.watcher.poll(now + TURN).problems.len(), 1);
    let again = fixture.watcher.poll(now + 2.0 * TURN);
    assert_eq!((again.problems.len(), again.vanished.len()), (0, 0));
    allow(0o755);
    fixture.append("a/run");
    assert_eq!(names(&fixture.watcher.poll(now + 3.0 * TURN).changed), ["a/run"]);
}
