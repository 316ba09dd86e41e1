//! The bus: at-least-once messages with delays, in process or RabbitMQ.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::events::{Message, Queue};

/// A message was not taken; it stays in the outbox and is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bus: {0}")]
pub struct BusError(pub String);

/// One arrival. Every arrival is ended by exactly one of ack and retry; one that is dropped comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Handle for ack and retry; valid for this arrival.
    pub tag: u64,
    /// Where it arrived.
    pub queue: Queue,
    /// The id its sender gave it, as the transport carried it.
    pub message_id: String,
    /// The JSON document.
    pub payload: Vec<u8>,
    /// How often it may have arrived before; a hint, no exact count across a restart.
    pub redelivered: u32,
}

/// The bus.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes durably. The answer has one entry per message: only `Ok` may be marked published.
    async fn publish(&self, messages: &[Message]) -> Vec<Result<(), BusError>>;

    /// Waits for the next arrivals of a queue, at least one, at most `limit`. Waits without end when none comes, and
    /// may be dropped while it waits: no message is lost by that.
    ///
    /// # Errors
    /// When the bus is away; the caller waits and asks again.
    async fn receive(&self, queue: Queue, limit: usize) -> Result<Vec<Delivery>, BusError>;

    /// The effect is durable: forget the message. After an error it may come again.
    async fn ack(&self, delivery: &Delivery) -> Result<(), BusError>;

    /// Deliver it again after `delay`. After an error it may come earlier.
    async fn retry(&self, delivery: &Delivery, delay: Duration) -> Result<(), BusError>;
}
