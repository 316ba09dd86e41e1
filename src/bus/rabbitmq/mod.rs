//! RabbitMQ as the bus of cluster mode.
//!
//! - [`topology`] and `delay_log`: exchanges, queues, bindings
//! - `link`: two connections, one to publish and one to consume, each dropped and built again when it breaks
//! - `publisher`, `consumer`, `desk`: what travels over them
//! - `parking`: what the broker gave up on goes into the store
//! - [`status`]: what is known of the broker

mod consumer;
mod delay_log;
mod desk;
mod link;
mod parking;
mod publisher;
pub mod status;
pub mod topology;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors::domain::events::{Delays, Message, Queue};
use actors::ports::bus::{Bus, BusError, Delivery};
use actors::ports::clock::{Clock, Entropy};
use actors::writer::Writer;
use async_trait::async_trait;
use lapin::uri::AMQPUri;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use consumer::{Arrival, Receiver, Source};
use link::{Failure, Keeper, Line, Link};
use publisher::Publisher;
use status::RabbitStatus;

/// Settings of the bus.
#[derive(Clone, Copy, Debug)]
pub struct RabbitSettings {
    /// How long the two creation keys wait.
    pub delays: Delays,
    /// Unacknowledged messages of one queue that this node may hold, those that wait for a retry included.
    pub prefetch: u16,
    /// Most messages published before their confirms are awaited.
    pub window: usize,
    /// Longest time to connect and declare at start; after it the broker counts as away.
    pub connect_timeout: Duration,
    /// Longest wait for the confirms of one call.
    pub confirm_timeout: Duration,
    /// A peer that is silent for twice this is lost.
    pub heartbeat: Duration,
    /// Longest pause between two attempts to connect.
    pub reconnect_max: Duration,
    /// How long a key may be without a queue before the topology is declared again.
    pub repair_pause: Duration,
}

impl RabbitSettings {
    /// The usual settings with these delays.
    pub const fn new(delays: Delays) -> Self {
        Self {
            delays,
            prefetch: 64,
            window: 256,
            connect_timeout: Duration::from_secs(5),
            confirm_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(10),
            reconnect_max: Duration::from_secs(5),
            repair_pause: Duration::from_secs(10),
        }
    }
}

/// Why the server must not start. A broker that cannot be reached is no such reason: the node starts, raises the alarm
/// and connects later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not an address.
    #[error("rabbitmq.url: must be amqp://USER:PASSWORD@HOST:PORT/VHOST or the same with amqps")]
    Address,
    /// The broker answers and says no: login, virtual host, permission, or a queue declared otherwise.
    #[error("rabbitmq.url: the broker refuses: {0}")]
    Refused(String),
}

/// The bus. Dropping it ends its connections; what was handed out and not answered comes again.
pub struct RabbitBus {
    publisher: Arc<Publisher>,
    receiver: Arc<Receiver>,
    status: RabbitStatus,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl RabbitBus {
    /// Connects, declares the topology and keeps both for ever. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the address is none or the broker refuses; not when it cannot be reached.
    pub async fn open(
        url: &str,
        settings: RabbitSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>, OpenError> {
        let (status, stop) = (RabbitStatus::default(), CancellationToken::new());
        let publisher = Arc::new(Publisher::new(settings, status.clone()));
        let receiver = Arc::new(Receiver::new(settings));
        let uri = parse(url, &settings)?;
        let (has_retired, status_kept, stopping) = (AtomicBool::new(false), status.clone(), stop.clone());
        let keeper =
            Arc::new(Keeper { uri, settings, status: status_kept, clock, entropy, has_retired, stop: stopping });
        let links: [Arc<dyn Link>; 2] = [publisher.clone(), receiver.clone()];
        let mut tasks = Vec::new();
        for link in links {
            let line = first_line(&keeper, link.as_ref()).await?;
            tasks.push(tokio::spawn(keeper.clone().run(link, line)));
        }
        Ok(Arc::new(Self { publisher, receiver, status, stop, tasks: Mutex::new(tasks) }))
    }

    /// What is known of the broker, for readiness.
    pub fn status(&self) -> RabbitStatus {
        self.status.clone()
    }

    /// Keeps parking, through this writer, what the broker gave up on. Without it PARKING-QUEUE only fills.
    pub fn park_through(&self, writer: Writer) {
        let task = tokio::spawn(parking::run(self.receiver.clone(), writer, self.stop.clone()));
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Ends the connections properly, within `limit`.
    pub async fn close(&self, limit: Duration) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if timeout(limit, futures_util::future::join_all(tasks)).await.is_err() {
            tracing::warn!("the broker did not take leave in time");
        }
    }
}

impl Drop for RabbitBus {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The parser's own message may hold the password.
fn parse(url: &str, settings: &RabbitSettings) -> Result<AMQPUri, OpenError> {
    let mut uri: AMQPUri = url.parse().map_err(|_| OpenError::Address)?;
    if uri.authority.host.is_empty() {
        return Err(OpenError::Address);
    }
    let heartbeat_seconds = u16::try_from(settings.heartbeat.as_secs()).unwrap_or(u16::MAX);
    uri.query.heartbeat.get_or_insert(heartbeat_seconds);
    Ok(uri)
}

async fn first_line(keeper: &Arc<Keeper>, link: &dyn Link) -> Result<Option<Arc<Line>>, OpenError> {
    match keeper.establish(link, keeper.settings.connect_timeout).await {
        Ok(line) => Ok(Some(line)),
        Err(Failure::Refused(reason)) => {
            keeper.stop.cancel();
            Err(OpenError::Refused(reason))
        }
        Err(Failure::Away(reason)) => {
            tracing::error!(link = link.name().as_str(), reason, "the broker is away; messages wait in the outbox");
            Ok(None)
        }
    }
}

#[async_trait]
impl Bus for RabbitBus {
    async fn publish(&self, messages: &[Message]) -> Vec<Result<(), BusError>> {
        self.publisher.publish(messages).await
    }

    async fn receive(&self, queue: Queue, limit: usize) -> Result<Vec<Delivery>, BusError> {
        let arrivals = self.receiver.receive(Source::Work(queue), limit).await?;
        let delivery = |arrival: Arrival| {
            let Arrival { tag, message_id, payload, redelivered, .. } = arrival;
            Delivery { tag, queue, message_id, payload, redelivered }
        };
        Ok(arrivals.into_iter().map(delivery).collect())
    }

    async fn ack(&self, delivery: &Delivery) -> Result<(), BusError> {
        self.receiver.ack(Source::Work(delivery.queue), delivery.tag).await
    }

    async fn retry(&self, delivery: &Delivery, delay: Duration) -> Result<(), BusError> {
        let Delivery { tag, queue, message_id, payload, redelivered } = delivery.clone();
        let routing_key = queue.arrival_key().as_str().to_owned();
        let arrival = Arrival { tag, message_id, payload, redelivered, routing_key, first_death: None };
        self.receiver.retry(Source::Work(queue), arrival, delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAYS: Delays = Delays { order_create: Duration::from_secs(1), order_create_flash: Duration::from_secs(1) };

    #[test]
    fn an_address_that_is_none_is_told_without_its_password() {
        for url in ["", "broker", "http://user:hunter2@broker", "amqp:hunter2", "amqp://user:hunter2@broker:port/"] {
            let error = parse(url, &RabbitSettings::new(DELAYS)).unwrap_err().to_string();
            assert!(error.starts_with("rabbitmq.url: ") && !error.contains("hunter2"), "{url}: {error}");
        }
        let uri = parse("amqp://user:hunter2@broker/shop?heartbeat=3", &RabbitSettings::new(DELAYS)).unwrap();
        assert_eq!((uri.vhost.as_str(), uri.query.heartbeat), ("shop", Some(3)));
    }
}
