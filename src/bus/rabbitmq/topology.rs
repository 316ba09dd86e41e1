//! Exchanges, queues and bindings, in one place. Declared at start and after every reconnect by both connections;
//! declaring what is there already changes nothing.
//!
//! Every queue is a quorum queue, which needs RabbitMQ 3.10 (uniform TTL and at-least-once dead-lettering). Work queues
//! dead-letter into PARKING-QUEUE what was delivered [`DELIVERY_LIMIT`] times. Nothing here relies on the management
//! plugin.

use std::collections::BTreeSet;

use actors::domain::events::{Delays, PARKING_EXCHANGE, PARKING_QUEUE, Queue, RoutingKey, delay_queue};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};

/// How often a message may be handed back before the broker parks it. Handing back is rare: a retry waits in this
/// process, so the count rises when a connection is lost and once in ten minutes of a long outage of the store. The
/// default of RabbitMQ 4 (20) would park good messages in an outage.
pub const DELIVERY_LIMIT: i64 = 100;

/// Messages that a queue holds at most; more are refused and stay in the outbox.
const MAX_LENGTH: i64 = 1_000_000;

/// PARKING-QUEUE gives nothing up, or it would be lost.
const NO_DELIVERY_LIMIT: i64 = i32::MAX as i64;

/// A queue and the key that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// From.
    pub exchange: &'static str,
    /// Under.
    pub key: &'static str,
    /// To.
    pub queue: String,
}

/// Every binding.
pub fn bindings(delays: &Delays) -> Vec<Binding> {
    let binding = |key: RoutingKey| {
        let queue = delayed(key, delays).unwrap_or_else(|| key.queue().as_str().to_owned());
        Binding { exchange: key.exchange(), key: key.as_str(), queue }
    };
    let mut bindings: Vec<Binding> = RoutingKey::ALL.into_iter().map(binding).collect();
    bindings.push(Binding { exchange: PARKING_EXCHANGE, key: "#", queue: PARKING_QUEUE.to_owned() });
    bindings
}

/// The queue in which messages of this key wait first; `None` for keys that do not wait.
fn delayed(key: RoutingKey, delays: &Delays) -> Option<String> {
    let waits = matches!(key, RoutingKey::OrderCreate | RoutingKey::OrderCreateFlash);
    waits.then(|| delay_queue(delays.of(key).as_millis()))
}

/// The delay queues of these delays.
pub fn delay_queues(delays: &Delays) -> BTreeSet<String> {
    RoutingKey::ALL.into_iter().filter_map(|key| delayed(key, delays)).collect()
}

/// Bindings of delay queues under a key that leads elsewhere now. The queues stay and drain.
pub fn outdated(known: &BTreeSet<String>, delays: &Delays) -> Vec<Binding> {
    let mut outdated = Vec::new();
    for queue in known {
        for key in RoutingKey::ALL {
            if delayed(key, delays).is_some_and(|current| current != *queue) {
                outdated.push(Binding { exchange: key.exchange(), key: key.as_str(), queue: queue.clone() });
            }
        }
    }
    outdated
}

/// Declares everything.
///
/// # Errors
/// When the broker refuses it, or goes away.
pub async fn declare(connection: &Connection, delays: &Delays) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let bindings = bindings(delays);
    for exchange in bindings.iter().map(|binding| binding.exchange).collect::<BTreeSet<_>>() {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default()).await?;
    }
    for queue in Queue::ALL {
        declare_queue(&channel, queue.as_str(), work_arguments()).await?;
    }
    declare_queue(&channel, PARKING_QUEUE, quorum(NO_DELIVERY_LIMIT)).await?;
    for key in [RoutingKey::OrderCreate, RoutingKey::OrderCreateFlash] {
        let delay_ms = delays.of(key).as_millis();
        declare_queue(&channel, &delay_queue(delay_ms), delay_arguments(delay_ms)).await?;
    }
    for Binding { exchange, key, queue } in &bindings {
        let (queue, exchange, key) = (queue.as_str().into(), (*exchange).into(), (*key).into());
        channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await?;
    }
    channel.close(200, "declared".into()).await
}

async fn declare_queue(channel: &Channel, name: &str, arguments: FieldTable) -> lapin::Result<()> {
    channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await?;
    Ok(())
}

fn quorum(delivery_limit: i64) -> FieldTable {
    let mut arguments = FieldTable::default();
    put_text(&mut arguments, "x-queue-type", "quorum");
    put_number(&mut arguments, "x-delivery-limit", delivery_limit);
    arguments
}

/// Without loss on the way: the broker keeps a message until the queue it dead-letters to has confirmed it, which needs
/// the overflow policy as well.
fn dead_lettering_to(mut arguments: FieldTable, exchange: &str) -> FieldTable {
    put_text(&mut arguments, "x-dead-letter-exchange", exchange);
    put_text(&mut arguments, "x-dead-letter-strategy", "at-least-once");
    put_text(&mut arguments, "x-overflow", "reject-publish");
    put_number(&mut arguments, "x-max-length", MAX_LENGTH);
    arguments
}

fn work_arguments() -> FieldTable {
    dead_lettering_to(quorum(DELIVERY_LIMIT), PARKING_EXCHANGE)
}

fn delay_arguments(delay_ms: u128) -> FieldTable {
    let mut arguments = dead_lettering_to(quorum(NO_DELIVERY_LIMIT), RoutingKey::OrderClose.exchange());
    put_text(&mut arguments, "x-dead-letter-routing-key", RoutingKey::OrderClose.as_str());
    put_number(&mut arguments, "x-message-ttl", i64::try_from(delay_ms).unwrap_or(i64::MAX));
    arguments
}

/// Puts a text argument.
pub(super) fn put_text(arguments: &mut FieldTable, name: &str, value: &str) {
    arguments.insert(name.into(), AMQPValue::LongString(value.into()));
}

/// Puts a number argument.
pub(super) fn put_number(arguments: &mut FieldTable, name: &str, value: i64) {
    arguments.insert(name.into(), AMQPValue::LongLongInt(value));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DELAYS: Delays =
        Delays { order_create: Duration::from_secs(60), order_create_flash: Duration::from_millis(1500) };

    #[test]
    fn every_key_is_bound_to_a_queue() {
        let bindings = bindings(&DELAYS);
        for key in RoutingKey::ALL {
            let of_key = |binding: &&Binding| binding.exchange == key.exchange() && binding.key == key.as_str();
            assert_eq!(bindings.iter().filter(of_key).count(), 1, "{}", key.as_str());
        }
        let waits = bindings.iter().find(|binding| binding.key == "order.create.flash").unwrap();
        assert_eq!(waits.queue, "ORDER-TTL-QUEUE.1500");
    }

    #[test]
    fn only_bindings_that_lead_elsewhere_are_outdated() {
        let known = ["ORDER-TTL-QUEUE.60000", "ORDER-TTL-QUEUE.9"].map(str::to_owned).into();
        let outdated: Vec<(String, &str)> =
            outdated(&known, &DELAYS).into_iter().map(|binding| (binding.queue, binding.key)).collect();
        let expected = [
            ("ORDER-TTL-QUEUE.60000".to_owned(), "order.create.flash"),
            ("ORDER-TTL-QUEUE.9".to_owned(), "order.create"),
            ("ORDER-TTL-QUEUE.9".to_owned(), "order.create.flash"),
        ];
        assert_eq!(outdated, expected);
    }
}
