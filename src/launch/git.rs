//! The version of the code in a directory, according to git.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// What git says of a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) commit: Option<String>,
    /// Hash of the uncommitted changes; `None` if there are none.
    pub(super) changes: Option<String>,
}

/// Timeout for a repository on a slow file system.
const PATIENCE: Duration = Duration::from_secs(10);

/// The commit and the uncommitted changes of the repository that contains a directory; empty if there is none.
pub(super) fn state(folder: &Path) -> State {
    let Some(commit) = git(folder, &["rev-parse", "--verify", "HEAD"]) else { return State::default() };
    let commit = String::from_utf8_lossy(&commit).trim().to_owned();
    let mut hash = Sha256::new();
    let mut differs = false;
    if let Some(changes) = git(folder, &["diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv"]) {
        differs |= !changes.is_empty();
        hash.update(&changes);
    }
    // Files that were never added are also code.
    let untracked =
        git(folder, &["ls-files", "--others", "--exclude-standard", "-z", "--", "*.py"]).unwrap_or_default();
    for name in untracked.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        differs = true;
        hash.update(name);
        if let Some(text) = std::str::from_utf8(name).ok().and_then(|name| super::read(&folder.join(name))) {
            hash.update(text.as_bytes());
        }
    }
    let digits = |bytes: &[u8]| bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
    let changes = differs.then(|| digits(&hash.finalize()));
    State { commit: (!commit.is_empty()).then_some(commit), changes }
}

/// The output of a git command; `None` if it fails or takes too long.
fn git(folder: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let mut command = Command::new("git");
    command.args(["-c", "core.fsmonitor=false", "-c", "core.quotePath=false"]).args(arguments).current_dir(folder);
    // Uses the job's own repository, not one that a hook put into the environment; writes nothing.
    command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env("GIT_OPTIONAL_LOCKS", "0");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut output = child.stdout.take()?;
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).map(|_| bytes)
    });
    let until = Instant::now() + PATIENCE;
    while !reader.is_finished() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    if !reader.is_finished() {
        let _ = child.kill();
    }
    let status = child.wait().ok()?;
    let bytes = reader.join().ok()?.ok()?;
    status.success().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_code_changes_its_state() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(state(dir.path()), State::default(), "no repository");
        let run = |arguments: &[&str]| {
            let who = ["-c", "user.name=a", "-c", "user.email=a@example.invalid", "-c", "commit.gpgsign=false"];
            let mut command = Command::new("git");
            command.args(who).args(arguments).current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
            assert!(command.env_remove("GIT_DIR").status().expect("git is there").success(), "{arguments:?}");
        };
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
        run(&["init", "-q"]);
        write("train.py", "a = 1\n");
        run(&["add", "."]);
        run(&["commit", "-q", "-m", "first"]);
        let clean = state(dir.path());
        assert!(clean.commit.as_ref().is_some_and(|commit| commit.len() == 40) && clean.changes.is_none(), "{clean:?}");
        write("train.py", "a = 2\n");
        let changed = state(dir.path());
        assert!(changed.commit == clean.commit && changed.changes.is_some(), "{changed:?}");
        write("new.py", "b = 1\n");
        let more = state(dir.path());
        write("new.py", "b = 2\n");
        assert!(more.changes != changed.changes && state(dir.path()).changes != more.changes);
        write("notes.txt", "no code");
        run(&["commit", "-aqm", "second"]);
        assert!(state(dir.path()).commit != clean.commit);
    }
}
