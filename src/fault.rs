//! Points at which a test may end the process: before and after each commit and each send.
//!
//! Owns: counting them. Must not know: what happens there. Release builds have none of this: [`point`] is empty there.
//! Killing from outside finds a moment by luck; these find every one. A crate for fail points would bring actions, a
//! registry and a feature that `cargo test` alone does not switch on, for the one action that is needed.

/// A moment that a process may not survive. In debug builds it is the end of the process when it is the one that the
/// environment variable `NEXTRUN_TEST_END_AT` numbers, counted from 1.
#[inline]
pub(crate) fn point() {
    #[cfg(debug_assertions)]
    counted::point();
}

#[cfg(debug_assertions)]
mod counted {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static END_AT: LazyLock<Option<u64>> =
        LazyLock::new(|| std::env::var("NEXTRUN_TEST_END_AT").ok().and_then(|number| number.parse().ok()));
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn point() {
        if END_AT.is_some_and(|end| PASSED.fetch_add(1, Ordering::SeqCst) + 1 == end) {
            std::process::abort();
        }
    }
}
