//! If the kernel watches too few directories, the others are swept: nothing is lost, and people are notified.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nextrun::logdir::DiskLogdir;
use nextrun::tfevents::encode;
use nextrun::watch::notify::{Notifier, Sweep, Woken};
use nextrun::watch::{Options, Watcher};

const LIMIT: usize = 5;
const RUNS: usize = 12;
const INSIDE: &str = "NEXTRUN_TEST_INSIDE_NAMESPACE";

/// The limit of a user namespace is its own, so that one can be reached without privileges and without harm to others.
#[test]
fn beyond_the_limit_of_watches_directories_are_polled() {
    if std::env::var_os(INSIDE).is_some() {
        return watch_more_than_the_limit();
    }
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", script]).env(INSIDE, "1");
        command
    };
    let limit = format!("echo {LIMIT} > /proc/sys/user/max_inotify_watches");
    if !unshare(&limit).output().is_ok_and(|out| out.status.success()) {
        eprintln!("not tested: this system has no user namespaces to set a limit in");
        return;
    }
    let itself = std::env::current_exe().expect("a path");
    let name = "limits::beyond_the_limit_of_watches_directories_are_polled";
    let script = format!("{limit} && exec '{}' --exact {name}", itself.display());
    let out = unshare(&script).output().expect("it was there a moment ago");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&out.stderr));
}

fn watch_more_than_the_limit() {
    let dir = tempfile::tempdir().expect("a directory");
    let files: Vec<PathBuf> =
        (0..RUNS).map(|run| dir.path().join(format!("run{run}/events.out.tfevents.1.h"))).collect();
    for file in &files {
        fs::create_dir(file.parent().expect("a run")).expect("a directory");
        fs::write(file, encode::file_version(1.0)).expect("a file");
    }
    let mut watcher = Watcher::new(Box::new(DiskLogdir::new(dir.path())), Options { threads: 1 });
    watcher.poll(1.0);
    let sweep = Sweep { watched: Duration::from_secs(3600), unwatched: Duration::from_millis(20) };
    let mut notifier = Notifier::new(dir.path(), sweep);
    notifier.watch(watcher.directories());
    assert_eq!(notifier.watches(), (LIMIT, RUNS + 1 - LIMIT));
    assert_eq!(notifier.sweep_interval(), sweep.unwatched);
    let problems = notifier.take_problems();
    assert!(problems.len() == 1 && problems[0].contains("fs.inotify.max_user_watches"), "{problems:?}");

    for file in &files {
        let mut file = File::options().append(true).open(file).expect("the file");
        file.write_all(&encode::scalar(2.0, 1, "loss", 0.5)).expect("space");
    }
    let (mut seen, deadline) = (BTreeSet::new(), Instant::now() + Duration::from_secs(20));
    while seen.len() < RUNS {
        assert!(Instant::now() < deadline, "only {seen:?} were seen");
        let changes = match notifier.wait(notifier.sweep_interval()) {
            Woken::Paths(paths) => watcher.poll_paths(2.0, paths.iter().map(|path| -> &Path { path })),
            Woken::Sweep | Woken::Timeout => watcher.poll(2.0),
        };
        seen.extend(changes.changed);
    }
}
