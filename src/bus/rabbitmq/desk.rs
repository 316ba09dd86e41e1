//! What one queue's deliveries became: handed out and not answered yet, or put back and waiting for their time. Plain
//! synchronous code.
//!
//! A delivery that is put back stays unacknowledged at the broker and waits here, so its delivery count does not rise
//! and the prefetch bounds how many wait. If this process ends, the broker brings it again.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// How long a delivery may be kept before the broker gets it back, for another count of its delivery limit. The broker
/// closes a channel that keeps one for 30 minutes.
pub(super) const KEEP_AT_MOST: Duration = Duration::from_secs(600);

/// A delivery's way back to the broker (`A`), and since when it is here.
struct Held<A> {
    acker: A,
    since: Instant,
}

/// Handed out, or waiting. `D` is the delivery itself.
pub(super) struct Desk<A, D> {
    handed_out: HashMap<u64, Held<A>>,
    waiting: BTreeMap<(Instant, u64), (Held<A>, D)>,
}

/// What became due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due<A, D> {
    /// Hand it out; it is noted under the new tag.
    Again(D),
    /// Kept for too long: give it back to the broker.
    Back(A),
}

impl<A: Clone, D> Desk<A, D> {
    pub(super) fn new() -> Self {
        Self { handed_out: HashMap::new(), waiting: BTreeMap::new() }
    }

    /// Notes a delivery under `tag`, which is never used twice.
    pub(super) fn hand_out(&mut self, tag: u64, acker: A, now: Instant) {
        self.handed_out.insert(tag, Held { acker, since: now });
    }

    /// Ends a delivery: its way back, or `None` when it is not out.
    pub(super) fn finish(&mut self, tag: u64) -> Option<A> {
        self.handed_out.remove(&tag).map(|held| held.acker)
    }

    /// Puts a delivery back until `due_at`; `false` when it is not out.
    pub(super) fn put_back(&mut self, tag: u64, delivery: D, due_at: Instant) -> bool {
        let Some(held) = self.handed_out.remove(&tag) else { return false };
        self.waiting.insert((due_at, tag), (held, delivery));
        true
    }

    /// The next delivery that is due, if one is. `retag` gives it its new tag.
    pub(super) fn take_due(&mut self, now: Instant, retag: impl FnOnce(&mut D) -> u64) -> Option<Due<A, D>> {
        let entry = self.waiting.first_entry().filter(|entry| entry.key().0 <= now)?;
        let (held, mut delivery) = entry.remove();
        if now.duration_since(held.since) >= KEEP_AT_MOST {
            return Some(Due::Back(held.acker));
        }
        self.handed_out.insert(retag(&mut delivery), held);
        Some(Due::Again(delivery))
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((due_at, _), _)| *due_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_delivery_put_back_comes_under_another_tag() {
        let (mut desk, now) = (Desk::new(), Instant::now());
        desk.hand_out(1, "way back", now);
        assert!(desk.put_back(1, "m", now + Duration::from_secs(1)));
        assert!(!desk.put_back(1, "m", now), "it is not out any more");
        assert_eq!(desk.finish(1), None);
        assert_eq!(desk.take_due(now, |_| 2), None, "not yet");
        let due_at = desk.next_due().unwrap();
        assert_eq!(desk.take_due(due_at, |_| 2), Some(Due::Again("m")));
        assert_eq!((desk.finish(1), desk.finish(2)), (None, Some("way back")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_kept_for_long_goes_back_to_the_broker() {
        let (mut desk, start) = (Desk::new(), Instant::now());
        desk.hand_out(1, "way back", start);
        let (mut tag, mut now) = (1, start);
        loop {
            now += Duration::from_secs(15);
            desk.put_back(tag, "m", now);
            match desk.take_due(now, |_| tag + 1) {
                Some(Due::Again(_)) => tag += 1,
                other => break assert_eq!(other, Some(Due::Back("way back"))),
            }
        }
        assert!(now - start >= KEEP_AT_MOST && desk.handed_out.is_empty() && desk.waiting.is_empty());
    }
}
