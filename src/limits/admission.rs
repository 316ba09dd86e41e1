//! Bounded admission: so many requests in work on this node, and not one more (R28).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out the right to be in work. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    permits: Arc<Semaphore>,
    max_in_flight: usize,
}

/// The right to be in work, given back when dropped.
pub struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    /// At most `max_in_flight` at the same time.
    pub fn new(max_in_flight: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max_in_flight)), max_in_flight }
    }

    /// A permit, or `None` when the node is full. Never waits: a queue in front of a full server only adds delay.
    pub fn try_enter(&self) -> Option<Permit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Permit { _permit: permit })
    }

    /// Requests in work now.
    pub fn in_flight(&self) -> usize {
        self.max_in_flight - self.permits.available_permits()
    }

    /// The share of the bound that is in work now, in percent.
    pub fn used_percent(&self) -> u32 {
        u32::try_from(self.in_flight() * 100 / self.max_in_flight.max(1)).unwrap_or(u32::MAX)
    }

    /// The bound.
    pub fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_means_none_until_one_leaves() {
        let admission = Admission::new(2);
        let (first, second) = (admission.try_enter(), admission.try_enter());
        assert!(first.is_some() && second.is_some() && admission.try_enter().is_none());
        assert_eq!((admission.in_flight(), admission.max_in_flight(), admission.used_percent()), (2, 2, 100));
        drop(first);
        assert_eq!((admission.in_flight(), admission.used_percent()), (1, 50));
        assert!(admission.try_enter().is_some());
    }
}
