//! The target of a command's data: standard output, or a file that is written atomically.
//!
//! Owns: the temporary file and when it is renamed. Must not know: what is written.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::NamedTempFile;

/// A file under construction.
pub(super) struct Output {
    named: Option<(NamedTempFile, PathBuf)>,
}

impl Output {
    /// Returns the writer and what finishes the file; `None` for standard output. Devices and named pipes are written
    /// directly.
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<(Box<dyn Write + Send>, Output)> {
        let Some(path) = path else { return Ok((buffered(io::stdout()), Output { named: None })) };
        let cannot = || format!("could not write {}", path.display());
        if path.exists() && !path.is_file() {
            let device = File::options().write(true).open(path).with_context(cannot)?;
            return Ok((buffered(device), Output { named: None }));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The umask applies; without this, the file would be readable only by its owner.
        let everybody = Permissions::from_mode(0o666);
        let file = tempfile::Builder::new().permissions(everybody).tempfile_in(folder).with_context(cannot)?;
        let writer = buffered(file.reopen().with_context(cannot)?);
        Ok((writer, Output { named: Some((file, path.to_owned())) }))
    }

    /// Renames the file after everything has been written.
    pub(super) fn keep(self) -> anyhow::Result<()> {
        let Some((file, path)) = self.named else { return Ok(()) };
        let cannot = || format!("could not write {}", path.display());
        file.as_file().sync_all().with_context(cannot)?;
        file.persist(&path).map_err(|error| error.error).with_context(cannot)?;
        Ok(())
    }
}

/// Whether the output goes to a terminal.
pub(super) fn is_shown(path: Option<&Path>) -> bool {
    path.is_none() && io::stdout().is_terminal()
}

fn buffered(out: impl Write + Send + 'static) -> Box<dyn Write + Send> {
    Box::new(BufWriter::new(out))
}
