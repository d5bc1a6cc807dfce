//! A store shared by several tasks.
//!
//! Owns: access to the store. Must not know: the operations on it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Store, StoreError};

/// A store behind a lock, used from async code without blocking its threads. Clones share the store.
#[derive(Clone)]
pub struct SharedStore(Arc<Mutex<Box<dyn Store>>>);

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedStore")
    }
}

impl SharedStore {
    /// Shares a store.
    pub fn new(store: Box<dyn Store>) -> Self {
        SharedStore(Arc::new(Mutex::new(store)))
    }

    /// Runs `work` on the store from a dedicated thread, which blocks.
    pub fn blocking<T>(&self, work: impl FnOnce(&mut dyn Store) -> T) -> T {
        // A panic elsewhere left the store between two transactions, never within one: SQLite rolled it back.
        work(self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
    }

    /// Runs `work` on the store in a thread that may block. Once started, it runs to completion even if the caller is
    /// dropped.
    ///
    /// # Errors
    /// Errors of `work`, or [`StoreError::Gone`] if the runtime is shutting down or `work` panicked.
    pub async fn with<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    {
        let store = Arc::clone(&self.0);
        let run = move || {
            // A panic elsewhere left the store between two transactions, never within one: SQLite rolled it back.
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            work(store.as_mut())
        };
        tokio::task::spawn_blocking(run).await.map_err(|_| StoreError::Gone)?
    }
}
