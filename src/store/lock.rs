//! Only one daemon per state directory.
//!
//! Owns: the lock file. Must not know: the database. Two daemons on one database would each treat the other's
//! deliveries in progress as interrupted by a crash, and send them again.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::StoreError;

/// Held while the daemon lives; the kernel releases it whenever the process ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// The name of the lock file in a state directory.
    pub const FILE: &str = "nextrun.lock";

    /// Takes the lock file `path` for this process; creates it if necessary.
    ///
    /// # Errors
    /// [`StoreError::Taken`] if another process holds it, [`StoreError::Files`] if it cannot be created.
    pub fn acquire(path: &Path) -> Result<StateLock, StoreError> {
        let shown = || path.display().to_string();
        let failed = |source| StoreError::Files { action: "create the lock file", path: shown(), source };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Taken { path: shown() }),
            Err(TryLockError::Error(source)) => Err(StoreError::Files { action: "lock", path: shown(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_has_it_and_may_have_it_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/lock");
        let first = StateLock::acquire(&path).unwrap();
        let refusal = StateLock::acquire(&path).unwrap_err();
        assert!(matches!(refusal, StoreError::Taken { .. }));
        assert!(refusal.to_string().contains("state/lock"), "{refusal}");
        drop(first);
        StateLock::acquire(&path).unwrap();
    }
}
