//! The store's clock as this node sees it: windows are judged by it without asking it each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::store::{Store, StoreError};

/// The node's clock, corrected by its offset to the store's.
pub(super) struct StoreClock {
    clock: Arc<dyn Clock>,
    offset_ms: AtomicI64,
}

impl StoreClock {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, offset_ms: AtomicI64::new(0) }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.clock.now().0.saturating_add(self.offset_ms.load(Ordering::Acquire)))
    }

    /// Asks the store for the time; its answer is taken to be from the middle of the call.
    pub(super) async fn sync(&self, store: &dyn Store) -> Result<Timestamp, StoreError> {
        let before = self.clock.now();
        let store_now = store.now().await?;
        let middle = before.0 + (self.clock.now().0 - before.0) / 2;
        self.offset_ms.store(store_now.0 - middle, Ordering::Release);
        Ok(store_now)
    }
}
