//! The part of one durable queue that is in memory: what is due soon, and what is being worked on. Plain synchronous
//! code; the caller brings the time.
//!
//! Invariant: every stored message of the queue whose position is before [`Shelf::end`] is on the shelf. What stands behind it, or
//! found no room, is only in the store and is read later, page by page, by [`Shelf::claim`] and [`Shelf::fill`].

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::Chaos;
use crate::domain::Timestamp;
use crate::domain::events::Queue;
use crate::local::clock::SeededEntropy;
use crate::ports::bus::Delivery;
use crate::ports::clock::Entropy;
use crate::ports::store::{QueuePosition, QueuedMessage};

/// What a message costs beside its payload: keys, map nodes, counters.
const OVERHEAD_BYTES: usize = 256;

/// A message in memory.
#[derive(Clone, Debug)]
struct Item {
    message_id: Arc<str>,
    payload: Arc<str>,
    redelivered: u32,
    /// A copy made on purpose by [`Chaos`]; the original answers for the room it takes.
    is_copy: bool,
}

/// An item handed out and not answered yet.
#[derive(Debug)]
struct Flight {
    item: Item,
    due_at: Timestamp,
    expires_at: Instant,
}

/// The shelf.
#[derive(Debug)]
pub(super) struct Shelf {
    queue: Queue,
    /// By due time, then by arrival.
    waiting: BTreeMap<(Timestamp, u64), Item>,
    /// By tag. Tags rise and every flight has the same limit, so the first one expires first.
    flights: BTreeMap<u64, Flight>,
    /// Ids on the shelf, waiting or in flight, copies not counted.
    held: HashSet<Arc<str>>,
    end: QueuePosition,
    bytes: usize,
    capacity_bytes: usize,
    sequence: u64,
    chaos: Option<(Chaos, SeededEntropy)>,
}

impl Shelf {
    /// An empty shelf.
    pub(super) fn new(queue: Queue, capacity_bytes: usize, chaos: Option<Chaos>) -> Self {
        Self {
            queue,
            waiting: BTreeMap::new(),
            flights: BTreeMap::new(),
            held: HashSet::new(),
            end: QueuePosition::before(Timestamp(i64::MIN)),
            bytes: 0,
            capacity_bytes,
            sequence: 0,
            chaos: chaos.map(|chaos| (chaos, SeededEntropy::new(chaos.seed))),
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages waiting or in flight.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether stored messages due before `until` may be missing here and there is room to read some.
    pub(super) fn wants_more(&self, until: Timestamp) -> bool {
        self.end < QueuePosition::before(until) && self.bytes <= self.capacity_bytes / 2
    }

    /// Takes a message that is in the store by now. Behind the end it is left there; without room the end moves
    /// before it. Whether it is on the shelf.
    pub(super) fn put(&mut self, message: QueuedMessage) -> bool {
        let position = message.position();
        if position >= self.end {
            return false;
        }
        let stands = self.hold(message);
        if !stands {
            self.end = position;
        }
        stands
    }

    /// Starts reading the store up to `until`; answers the position to read from. The end moves at once, so a message
    /// that is stored while the store is read is either read or put.
    pub(super) fn claim(&mut self, until: &QueuePosition) -> QueuePosition {
        let from = self.end.clone();
        self.end = self.end.clone().max(until.clone());
        from
    }

    /// Ends what [`Self::claim`] started: the page read, and how far the reading came. What finds no room stays in the
    /// store; `false` when there was such.
    pub(super) fn fill(&mut self, page: Vec<QueuedMessage>, read_to: QueuePosition) -> bool {
        let mut end = read_to;
        let mut has_room = true;
        for message in page {
            let position = message.position();
            if !self.hold(message) {
                end = position;
                has_room = false;
                break;
            }
        }
        self.end = self.end.clone().min(end);
        has_room
    }

    /// `false` when there is no room. An empty shelf has room for anything, so that a huge message cannot block it.
    fn hold(&mut self, message: QueuedMessage) -> bool {
        if self.held.contains(message.message_id.as_str()) {
            return true;
        }
        let size = message.payload.len() + OVERHEAD_BYTES;
        if !self.held.is_empty() && self.bytes + size > self.capacity_bytes {
            return false;
        }
        let item = Item {
            message_id: message.message_id.into(),
            payload: message.payload.into(),
            redelivered: message.attempts,
            is_copy: false,
        };
        self.bytes += size;
        self.held.insert(item.message_id.clone());
        self.copy_on_purpose(&item, message.due_at);
        self.wait(item, message.due_at);
        true
    }

    fn copy_on_purpose(&mut self, item: &Item, due_at: Timestamp) {
        let Some((chaos, entropy)) = &self.chaos else { return };
        let copies = entropy.next_u64() % u64::from(chaos.most_deliveries.max(1));
        for _ in 0..copies {
            let copy = Item { redelivered: item.redelivered + 1, is_copy: true, ..item.clone() };
            self.wait(copy, due_at);
        }
    }

    fn wait(&mut self, item: Item, due_at: Timestamp) {
        self.sequence += 1;
        self.waiting.insert((due_at, self.sequence), item);
    }

    /// Hands out up to `limit` messages that are due, the longest due first.
    pub(super) fn take(&mut self, limit: usize, now: Timestamp, expires_at: Instant) -> Vec<Delivery> {
        let mut taken = Vec::new();
        for key in self.choose(limit, now) {
            let Some(item) = self.waiting.remove(&key) else { continue };
            self.sequence += 1;
            taken.push(Delivery {
                tag: self.sequence,
                queue: self.queue,
                message_id: item.message_id.to_string(),
                payload: item.payload.as_bytes().to_vec(),
                redelivered: item.redelivered,
            });
            self.flights.insert(self.sequence, Flight { item, due_at: key.0, expires_at });
        }
        taken
    }

    fn choose(&self, limit: usize, now: Timestamp) -> Vec<(Timestamp, u64)> {
        let due = self.waiting.range(..=(now, u64::MAX)).map(|(key, _)| *key);
        match &self.chaos {
            Some((Chaos { reorder: true, .. }, entropy)) => {
                let mut due: Vec<_> = due.map(|key| (entropy.next_u64(), key)).collect();
                due.sort_unstable();
                due.into_iter().map(|(_, key)| key).take(limit).collect()
            }
            _ => due.take(limit).collect(),
        }
    }

    /// When the next message is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((due_at, _), _)| *due_at)
    }

    /// Puts back what was handed out and not answered in time.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(entry) = self.flights.first_entry() {
            if entry.get().expires_at > now {
                return;
            }
            let Flight { item, due_at, .. } = entry.remove();
            self.wait(Item { redelivered: item.redelivered + 1, ..item }, due_at);
        }
    }

    /// Forgets a message that is out of the store. An arrival that expired meanwhile is already waiting again and
    /// comes once more.
    pub(super) fn finish(&mut self, tag: u64) {
        if let Some(flight) = self.flights.remove(&tag) {
            self.forget(&flight.item);
        }
    }

    /// Puts a message back whose due time in the store is `due_at` by now. Whether it is on the shelf.
    pub(super) fn put_back(&mut self, tag: u64, due_at: Timestamp) -> bool {
        let Some(Flight { item, .. }) = self.flights.remove(&tag) else { return false };
        let position = QueuePosition { due_at, message_id: item.message_id.to_string() };
        if position >= self.end && !item.is_copy {
            self.forget(&item);
            return false;
        }
        self.wait(Item { redelivered: item.redelivered + 1, ..item }, due_at);
        true
    }

    fn forget(&mut self, item: &Item) {
        if item.is_copy || !self.held.remove(&item.message_id) {
            return;
        }
        self.bytes -= item.payload.len() + OVERHEAD_BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(message_id: &str, due_ms: i64) -> QueuedMessage {
        let (message_id, payload) = (message_id.to_owned(), "{}".to_owned());
        QueuedMessage { message_id, queue: Queue::SecKill, payload, due_at: Timestamp(due_ms), attempts: 0 }
    }

    fn taken(shelf: &mut Shelf, now_ms: i64) -> Vec<String> {
        let later = Instant::now() + std::time::Duration::from_secs(1);
        shelf.take(100, Timestamp(now_ms), later).into_iter().map(|delivery| delivery.message_id).collect()
    }

    const UNTIL: QueuePosition = QueuePosition::before(Timestamp(1_000));

    #[test]
    fn a_message_stored_while_the_store_is_read_is_not_missed() {
        let mut shelf = Shelf::new(Queue::SecKill, 1 << 20, None);
        shelf.claim(&UNTIL);
        assert!(shelf.put(queued("published meanwhile", 10)));
        assert!(!shelf.put(queued("due later", 5_000)));
        // The read may have seen it or not.
        assert!(shelf.fill(vec![queued("old", 5), queued("published meanwhile", 10)], UNTIL));
        assert_eq!(taken(&mut shelf, 9_999), ["old", "published meanwhile"]);
    }

    #[test]
    fn a_failed_read_is_made_good_by_the_next_one() {
        let mut shelf = Shelf::new(Queue::SecKill, 1 << 20, None);
        let from = shelf.claim(&UNTIL);
        shelf.fill(Vec::new(), from.clone());
        assert!(shelf.wants_more(Timestamp(1_000)));
        assert_eq!(shelf.claim(&UNTIL), from, "it starts where the failed one started");
        shelf.fill(vec![queued("old", 5)], UNTIL);
        assert!(!shelf.wants_more(Timestamp(1_000)));
        assert_eq!(taken(&mut shelf, 9_999), ["old"]);
    }

    #[test]
    fn what_finds_no_room_is_read_again_once_there_is_some() {
        let mut shelf = Shelf::new(Queue::SecKill, 2 * OVERHEAD_BYTES + 100, None);
        shelf.claim(&UNTIL);
        let page = vec![queued("a", 1), queued("b", 2), queued("c", 3)];
        assert!(!shelf.fill(page, UNTIL), "there is room for two");
        assert!(!shelf.put(queued("d", 4)), "nothing overtakes what is left in the store");
        assert!(!shelf.wants_more(Timestamp(1_000)), "no room yet");
        assert_eq!(taken(&mut shelf, 9_999), ["a", "b"]);
        let tags: Vec<u64> = shelf.flights.keys().copied().collect();
        tags.into_iter().for_each(|tag| shelf.finish(tag));
        assert_eq!((shelf.len(), shelf.bytes()), (0, 0));
        assert!(shelf.wants_more(Timestamp(1_000)));
        assert_eq!(shelf.claim(&UNTIL), queued("c", 3).position());
        assert!(shelf.fill(vec![queued("c", 3), queued("d", 4)], UNTIL));
        assert_eq!(taken(&mut shelf, 9_999), ["c", "d"]);
    }
}
