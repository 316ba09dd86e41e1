//! A bus whose deliveries the test hands out: as often and in what order it likes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::domain::events::{Message, Queue};
use crate::ports::bus::{Bus, BusError, Delivery};

#[derive(Default)]
struct State {
    waiting: BTreeMap<Queue, VecDeque<Delivery>>,
    in_work: BTreeSet<u64>,
    next_tag: u64,
    handed_back: usize,
}

/// The bus.
#[derive(Default)]
pub struct HandBus {
    state: Mutex<State>,
    changed: Notify,
}

impl HandBus {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// One arrival of a message at the queue of its key.
    pub fn hand_out(&self, message: &Message) {
        let mut state = self.state();
        state.next_tag += 1;
        let tag = state.next_tag;
        let queue = message.key.queue();
        let payload = message.payload.clone().into_bytes();
        let delivery = Delivery { tag, queue, message_id: message.message_id.clone(), payload, redelivered: 0 };
        state.in_work.insert(tag);
        state.waiting.entry(queue).or_default().push_back(delivery);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until every arrival was acknowledged.
    ///
    /// # Panics
    /// When they are not in 20 s.
    pub async fn settled(&self) {
        self.wait(|state| state.in_work.is_empty()).await;
    }

    /// Waits until every arrival was acknowledged, or one was handed back.
    ///
    /// # Panics
    /// When neither happens in 20 s.
    pub async fn settled_or_handed_back(&self) {
        self.wait(|state| state.in_work.is_empty() || state.handed_back > 0).await;
    }

    async fn wait(&self, holds: impl Fn(&State) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if holds(&self.state()) {
                    return;
                }
                changed.await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "deliveries are not ended");
    }

    /// How often a delivery could neither be handled nor parked.
    pub fn handed_back(&self) -> usize {
        self.state().handed_back
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, queue: Queue, limit: usize) -> Vec<Delivery> {
        let mut state = self.state();
        let Some(waiting) = state.waiting.get_mut(&queue) else { return Vec::new() };
        let count = waiting.len().min(limit);
        waiting.drain(..count).collect()
    }
}

#[async_trait]
impl Bus for HandBus {
    async fn publish(&self, messages: &[Message]) -> Vec<Result<(), BusError>> {
        messages.iter().for_each(|message| self.hand_out(message));
        vec![Ok(()); messages.len()]
    }

    async fn receive(&self, queue: Queue, limit: usize) -> Result<Vec<Delivery>, BusError> {
        loop {
            let changed = self.changed.notified();
            let taken = self.take(queue, limit);
            if !taken.is_empty() {
                return Ok(taken);
            }
            changed.await;
        }
    }

    async fn ack(&self, delivery: &Delivery) -> Result<(), BusError> {
        self.state().in_work.remove(&delivery.tag);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn retry(&self, delivery: &Delivery, _delay: Duration) -> Result<(), BusError> {
        let mut state = self.state();
        state.handed_back += 1;
        state.waiting.entry(delivery.queue).or_default().push_back(delivery.clone());
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }
}
