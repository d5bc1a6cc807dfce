//! Processes of this user that write event files below a directory.
//!
//! Owns: which process represents a job. Must not know: the meaning of its arguments, except which one is the script.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::processes;
use crate::command::{Script, peel};

/// A training process, as started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// One argument per entry.
    pub argv: Vec<String>,
    /// The absolute working directory.
    pub cwd: String,
    /// The environment, as far as it is text.
    pub env: BTreeMap<String, String>,
    /// The directory to which it writes events.
    pub run: PathBuf,
}

/// The processes of this user that have event files below `logdir` open, newest first. Empty without `/proc`.
pub fn running(logdir: &Path) -> Vec<Running> {
    let Ok(logdir) = logdir.canonicalize() else { return Vec::new() };
    let user = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut processes: Vec<u32> = entries
        .filter(|entry| entry.metadata().is_ok_and(|about| about.uid() == user))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|process| *process != std::process::id())
        .collect();
    processes.sort_unstable_by(|a, b| b.cmp(a));
    let below = |process: u32| {
        let file = processes::event_files(process).into_iter().find(|file| file.starts_with(&logdir))?;
        read(launcher_of(process), file.parent()?.to_owned())
    };
    processes.into_iter().filter_map(below).collect()
}

fn read(process: u32, run: PathBuf) -> Option<Running> {
    let cwd = fs::read_link(format!("/proc/{process}/cwd")).ok()?.to_str()?.to_owned();
    let pairs = words(process, "environ");
    let env = pairs.iter().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    Some(Running { argv: words(process, "cmdline"), cwd, env, run })
}

fn words(process: u32, file: &str) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
    let words = bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|byte| *byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The ancestor that runs the same script, such as torchrun, or the process itself.
fn launcher_of(process: u32) -> u32 {
    let script = |process: u32| {
        let argv = words(process, "cmdline");
        let (Script::File(at) | Script::Module(at) | Script::Program(at)) = peel(&argv).script else { return None };
        argv.get(at).cloned()
    };
    let parent = |process: u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok())
    };
    let Some(own) = script(process) else { return process };
    let mut top = process;
    // A launcher may start a shell that starts the script; deeper nesting is not searched.
    for _ in 0..8 {
        match parent(top).filter(|above| *above > 1 && script(*above).as_deref() == Some(own.as_str())) {
            Some(above) => top = above,
            None => break,
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_an_event_file_open_is_found_with_its_command() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = dir.path().canonicalize().expect("it is there").join("a");
        fs::create_dir(&run).expect("a directory");
        let file = fs::File::create(run.join("events.out.tfevents.1.h.1.0")).expect("a file");
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .env("LR", "0.1")
            .stdout(std::process::Stdio::from(file))
            .spawn()
            .expect("it starts");
        let found = running(dir.path());
        child.kill().expect("it ends");
        child.wait().expect("it ends");
        // Another test may be about to start a process, which has all files of this one open for a moment.
        let found: Vec<Running> = found.into_iter().filter(|found| found.argv[0] == "sleep").collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].argv.join(" ").as_str(), found[0].env["LR"].as_str()), ("sleep 60", "0.1"));
        assert_eq!(found[0].run, run);
    }
}
