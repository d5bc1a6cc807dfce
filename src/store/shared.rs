//! A store shared by several tasks.
//!
//! Owns: access to the store. Must not know: the operations on it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Held, Store, StoreError};

/// Interval for looking whether the ownership is certain again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A store behind a lock, used from async code without blocking its threads. Clones share the store.
#[derive(Clone)]
pub struct SharedStore {
    store: Arc<Mutex<Box<dyn Store>>>,
    held: Held,
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedStore")
    }
}

impl SharedStore {
    /// Shares a store that only this process uses.
    pub fn new(store: Box<dyn Store>) -> Self {
        SharedStore::held(store, Held::default())
    }

    /// Shares a store whose cases this process owns as `held` tells.
    pub fn held(store: Box<dyn Store>, held: Held) -> Self {
        SharedStore { store: Arc::new(Mutex::new(store)), held }
    }

    /// Waits until this process certainly owns the cases. Whoever sends a message waits here last: after a pause of the
    /// process, another daemon may have sent it.
    ///
    /// # Errors
    /// [`StoreError::Gone`] if another daemon has taken over.
    pub async fn owned(&self) -> Result<(), StoreError> {
        while !self.held.is_certain() {
            if self.held.is_lost() {
                return Err(StoreError::Gone);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Ok(())
    }

    /// Runs `work` on the store from a dedicated thread, which blocks.
    pub fn blocking<T>(&self, work: impl FnOnce(&mut dyn Store) -> T) -> T {
        // A panic elsewhere left the store between two transactions, never within one: the database rolled it back.
        work(self.store.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
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
        let store = Arc::clone(&self.store);
        let run = move || {
            // A panic elsewhere left the store between two transactions, never within one: the database rolled it back.
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            work(store.as_mut())
        };
        tokio::task::spawn_blocking(run).await.map_err(|_| StoreError::Gone)?
    }
}
