//! The daemon, in a process of its own.
//!
//! Owns: its command line, its output file, its end. Must not know: what it does.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// A running daemon. It is stopped when this is dropped.
pub(crate) struct Daemon {
    process: Child,
}

impl Daemon {
    /// Starts `nextrun watch` over a log directory; suggestions and events go to the queue.
    ///
    /// # Errors
    /// When the process cannot be started or its output has nowhere to go.
    pub(crate) fn start(logdir: &Path, scratch: &Path, queue: SocketAddr) -> anyhow::Result<Daemon> {
        let output = scratch.join("daemon.log");
        let file = File::create(&output).with_context(|| format!("{}: cannot write", output.display()))?;
        let url = format!("http://{queue}/");
        // This program is the daemon, too, so that the example needs no other binary to be built.
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let process = Command::new(&program)
            .args(["daemon", "watch"])
            .arg(logdir)
            .args(["--queue", &url, "--webhook", &url, "--quiet-after", "3s", "--state"])
            .arg(scratch.join("state"))
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("cannot share the daemon's output file")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{}: cannot start", program.display()))?;
        Ok(Daemon { process })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.process.try_wait().ok().flatten().map(|status| status.to_string())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be killed at any time: what it knows is in its store. Failing means that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
