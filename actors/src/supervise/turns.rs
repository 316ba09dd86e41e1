//! Turns: work of one name goes one after the other.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// One at a time per name on this node, e.g. of an order token: the others wait, or hear that one is at work.
#[derive(Default)]
pub struct Turns {
    running: Arc<DashMap<String, Arc<Mutex<()>>>>,
}

/// The turn of one name; the next waiter goes on when it is dropped.
pub struct Turn {
    running: Arc<DashMap<String, Arc<Mutex<()>>>>,
    name: String,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn of `name`, at most `at_most`; `None` when the others took too long.
    pub async fn take(&self, name: &str, at_most: Duration) -> Option<Turn> {
        // Made before the wait: whoever gives up waiting cleans up as well.
        let mut turn = Turn { running: self.running.clone(), name: name.to_owned(), guard: None };
        let lock = self.running.entry(name.to_owned()).or_default().value().clone();
        let guard = tokio::time::timeout(at_most, lock.lock_owned()).await.ok()?;
        turn.guard = Some(guard);
        Some(turn)
    }

    /// The turn of `name` if nobody has it.
    pub fn try_take(&self, name: &str) -> Option<Turn> {
        let mut turn = Turn { running: self.running.clone(), name: name.to_owned(), guard: None };
        let lock = self.running.entry(name.to_owned()).or_default().value().clone();
        turn.guard = lock.try_lock_owned().ok();
        turn.guard.is_some().then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.guard.take());
        // Whoever else holds the lock, waiting or at work, takes the entry over.
        self.running.remove_if(&self.name, |_, lock| Arc::strong_count(lock) == 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_follow_one_another_and_leave_nothing_behind() {
        let turns = Turns::default();
        let first = turns.take("t", Duration::from_secs(1)).await.expect("free");
        assert!(turns.take("t", Duration::from_millis(1)).await.is_none());
        turns.take("other", Duration::from_millis(1)).await.expect("another token is free");
        drop(first);
        drop(turns.take("t", Duration::from_millis(1)).await.expect("free again"));
        assert!(turns.running.is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing_behind() {
        let turns = Turns::default();
        let first = turns.take("t", Duration::from_secs(1)).await.expect("free");
        let mut waiting = Box::pin(turns.take("t", Duration::from_secs(1)));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(first);
        drop(waiting);
        assert!(turns.running.is_empty());
    }

    #[tokio::test]
    async fn a_turn_is_taken_or_not() {
        let turns = Turns::default();
        let first = turns.try_take("t").expect("free");
        assert!(turns.try_take("t").is_none());
        assert!(turns.try_take("other").is_some());
        drop(first);
        assert!(turns.try_take("t").is_some());
        assert!(turns.running.is_empty());
    }
}
