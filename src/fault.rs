//! What tests do to a process: its end at each commit and send, a disk that cannot be written, a clock that is set, another
//! boot of the machine.
//!
//! Owns: when that happens. Must not know: what happens there. Release builds have none of this: the functions are empty
//! there. Killing from outside finds a moment by luck; [`point`] finds every one. Nobody but root can make a file system
//! read-only or set the clock, and root can write what is read-only. A crate for fail points would bring actions, a registry
//! and a feature that `cargo test` alone does not switch on.

/// A moment that a process may not survive. In debug builds it is the end of the process when it is the one that the
/// environment variable `NEXTRUN_TEST_END_AT` numbers, counted from 1.
#[inline]
pub(crate) fn point() {
    #[cfg(debug_assertions)]
    debug::point();
}

/// Whether the database cannot be written. In debug builds it cannot be while the file exists that the environment variable
/// `NEXTRUN_TEST_READ_ONLY` names.
#[inline]
pub(crate) fn is_read_only() -> bool {
    #[cfg(debug_assertions)]
    return debug::is_read_only();
    #[cfg(not(debug_assertions))]
    false
}

/// Seconds by which the wall clock was set. In debug builds they stand in the file that the environment variable
/// `NEXTRUN_TEST_CLOCK` names.
#[inline]
pub(crate) fn clock_set_by() -> f64 {
    #[cfg(debug_assertions)]
    return debug::clock_set_by();
    #[cfg(not(debug_assertions))]
    0.0
}

/// Another id of this boot of the machine: nobody can have it start anew within a test. In debug builds it stands in the
/// environment variable `NEXTRUN_TEST_BOOT_ID`.
#[inline]
pub(crate) fn boot_id() -> Option<String> {
    #[cfg(debug_assertions)]
    return std::env::var("NEXTRUN_TEST_BOOT_ID").ok();
    #[cfg(not(debug_assertions))]
    None
}

#[cfg(debug_assertions)]
mod debug {
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static END_AT: LazyLock<Option<u64>> =
        LazyLock::new(|| std::env::var("NEXTRUN_TEST_END_AT").ok().and_then(|number| number.parse().ok()));
    static PASSED: AtomicU64 = AtomicU64::new(0);
    static READ_ONLY: LazyLock<Option<PathBuf>> = LazyLock::new(|| file("NEXTRUN_TEST_READ_ONLY"));
    static CLOCK: LazyLock<Option<PathBuf>> = LazyLock::new(|| file("NEXTRUN_TEST_CLOCK"));

    fn file(variable: &str) -> Option<PathBuf> {
        std::env::var_os(variable).map(PathBuf::from)
    }

    pub(super) fn point() {
        if END_AT.is_some_and(|end| PASSED.fetch_add(1, Ordering::SeqCst) + 1 == end) {
            std::process::abort();
        }
    }

    pub(super) fn is_read_only() -> bool {
        READ_ONLY.as_ref().is_some_and(|file| file.exists())
    }

    pub(super) fn clock_set_by() -> f64 {
        let text = CLOCK.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(0.0)
    }
}
