//! I/O for `command`: the files and the repository behind a command.
//!
//! Owns: which files may be read to analyse a script, and calling git. Must not know: the meaning of files.

pub mod ask;
pub mod child;
pub mod environment;
pub mod find;
mod git;
pub mod processes;
pub mod record;
pub mod recorder;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::command::{self, Printed, Seen, Survey};
use crate::launched::{Launched, Source};

/// Human-written scripts and configurations are shorter than this.
const LONGEST_FILE: u64 = 1 << 20;

/// Analyses a command: the knobs that its script supports, its settings, the arguments that define where it writes, and
/// the version of its code. Reads the script, its own modules and the configuration files that it names, without
/// executing them. Takes as long as git needs to compare the working tree, at most a few seconds.
pub fn learn(source: Source, argv: &[String], cwd: &str, env: &BTreeMap<String, String>) -> Launched {
    let mut launched = command::learn(Seen { argv, cwd, env, source }, &|path| read(Path::new(path)));
    let code = git::state(Path::new(cwd));
    (launched.git, launched.changes) = (code.commit, code.changes);
    launched
}

/// The same with all options of the script, and without calling git. `printed` is the script's own output about its
/// options.
pub fn survey(
    source: Source,
    argv: &[String],
    cwd: &str,
    env: &BTreeMap<String, String>,
    printed: &[Printed],
) -> Survey {
    command::survey(Seen { argv, cwd, env, source }, &|path| read(Path::new(path)), printed)
}

/// The text of a regular file of limited length; ignores pipes and devices.
fn read(path: &Path) -> Option<String> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblock).open(path).ok()?;
    let about = file.metadata().ok()?;
    if !about.is_file() || about.len() > LONGEST_FILE {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_script_is_read_where_it_is_and_nothing_is_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let script = "import argparse\nfrom options import add\nopen('ran', 'w')\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, default=0.1)\nadd(p)\n";
        std::fs::write(dir.path().join("train.py"), script).expect("a file");
        std::fs::write(dir.path().join("options.py"), "def add(p):\n    p.add_argument('--bs', type=int, default=8)\n")
            .expect("a file");
        let argv = ["python", "train.py", "--lr", "0.5"].map(str::to_owned);
        let cwd = dir.path().to_str().expect("a path of text");
        let launched = learn(Source::Run, &argv, cwd, &BTreeMap::new());
        assert_eq!(
            launched.settings,
            BTreeMap::from([("learning_rate".into(), json!(0.5)), ("batch_size".into(), json!(8))])
        );
        assert!(!dir.path().join("ran").exists());
    }

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let long = dir.path().join("long");
        std::fs::write(&long, vec![b'a'; LONGEST_FILE as usize + 1]).expect("a file");
        assert_eq!((read(&long), read(dir.path()), read(Path::new("/dev/zero"))), (None, None, None));
    }
}
