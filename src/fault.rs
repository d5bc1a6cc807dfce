//! Fault injection for tests: end the process at each commit and send, make the disk read-only, change the clock,
//! simulate a reboot.
//!
//! Owns: when this happens. Must not know: what happens at these points. In release builds, the functions are empty.
//! Killing from outside hits a given moment only by chance; [`point`] covers all of them. Only root can make a file
//! system read-only or set the clock, and root can write to read-only files. A crate for fail points would add actions,
//! a registry and a feature that `cargo test` alone does not enable.

/// A point at which the process may end. In debug builds, the process ends at the point whose number, counted from 1,
/// is in the environment variable `NEXTRUN_TEST_END_AT`.
#[inline]
pub(crate) fn point() {
    #[cfg(debug_assertions)]
    debug::point();
}

/// Whether the database is read-only. In debug builds, it is while the file named in the environment variable
/// `NEXTRUN_TEST_READ_ONLY` exists.
#[inline]
pub(crate) fn is_read_only() -> bool {
    #[cfg(debug_assertions)]
    return debug::is_read_only();
    #[cfg(not(debug_assertions))]
    false
}

/// Seconds by which the wall clock was changed. In debug builds, they are in the file named in the environment variable
/// `NEXTRUN_TEST_CLOCK`.
#[inline]
pub(crate) fn clock_set_by() -> f64 {
    #[cfg(debug_assertions)]
    return debug::clock_set_by();
    #[cfg(not(debug_assertions))]
    0.0
}

/// A different boot id, because a test cannot reboot the machine. In debug builds, it is in the environment variable
/// `NEXTRUN_TEST_BOOT_ID`.
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
