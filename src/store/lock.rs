//! One daemon a state directory.
//!
//! Owns: the lock file. Must not know: the database. Two daemons on one database would each take the other's deliveries
//! under way for those of a crash, and send them again.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::StoreError;

/// WaitingMessage for as long as the daemon lives; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock file `path` (made if need be) for this process.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when another process has it, [`StoreError::Files`] when it cannot be made.
    pub fn acquire(path: &Path) -> Result<StateLock, StoreError> {
        let shown = || path.display().to_string();
        let failed = |source| StoreError::Files { action: "make the lock file", path: shown(), source };
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
