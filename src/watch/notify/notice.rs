//! Notifications of a kernel about watched directories.
//!
//! Owns: the vocabulary shared by all systems. Must not know: any particular system.

use std::path::PathBuf;

/// Something that happened. Paths are relative to the log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// What is at this path changed.
    Changed(PathBuf),
    /// Something is at this path that was not there before: a file, or a directory that may be watched.
    Appeared(PathBuf),
    /// What was at this path is there no longer; watches of it and below it are void.
    Gone(PathBuf),
    /// The kernel lost notices, because it keeps only a limited number.
    Overflow,
    /// This program dropped notices, because it was busy and keeps only a limited number.
    Dropped,
    /// Notices may have been lost, and why.
    Failed(String),
}

/// Why a directory is not watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such directory.
    Absent,
    /// Its file system gives no notices of what other machines do.
    Silent,
    /// The user has as many watches as they may.
    Limit,
    /// As the kernel has it.
    Other(String),
}
