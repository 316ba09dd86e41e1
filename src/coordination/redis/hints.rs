//! The latch's hints: one subscription per node.
//!
//! Publishing is at most once, and what is published while the subscription is down is lost. That is fine: a hint only
//! makes waiters look at once, and they also look by themselves.

use std::time::Duration;

use actors::domain::OrderSn;
use futures_util::StreamExt;
use redis::aio::PubSub;
use redis::{Client, ConnectionInfo, Msg, RedisError};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::keys;
use super::server::{OpenError, Server, open_error};

/// Hints that a slow receiver may be behind.
const CAPACITY: usize = 4096;
/// A subscription that is silent is asked this often whether it still lives.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// Pause before the first new attempt, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// Between two order numbers of one message; no order number holds it.
const SEPARATOR: &str = " ";

/// The subscription and those who listen to it.
pub(super) struct Hints {
    listeners: broadcast::Sender<OrderSn>,
    task: JoinHandle<()>,
}

impl Hints {
    /// Subscribes, then keeps subscribed until dropped.
    pub(super) async fn open(server: &Server, connect_limit: Duration) -> Result<Self, OpenError> {
        let subscriber = Subscriber { nodes: server.nodes.clone(), next: 0, connect_limit };
        let first = subscriber.subscribe().await.map_err(|error| open_error(&server.nodes[0], &error))?;
        let (listeners, _) = broadcast::channel(CAPACITY);
        let task = tokio::spawn(subscriber.run(first, listeners.clone()));
        Ok(Self { listeners, task })
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<OrderSn> {
        self.listeners.subscribe()
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One message for a whole batch.
pub(super) fn pack(order_sns: &[OrderSn]) -> String {
    let numbers: Vec<&str> = order_sns.iter().map(OrderSn::as_str).collect();
    numbers.join(SEPARATOR)
}

fn unpack(text: &str) -> impl Iterator<Item = OrderSn> {
    text.split(SEPARATOR).filter_map(OrderSn::parse)
}

struct Subscriber {
    nodes: Vec<ConnectionInfo>,
    next: usize,
    connect_limit: Duration,
}

impl Subscriber {
    async fn run(mut self, first: PubSub, listeners: broadcast::Sender<OrderSn>) {
        let mut subscribed = Some(first);
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(pubsub) = subscribed.take() {
                pause = FIRST_PAUSE;
                self.listen(pubsub, &listeners).await;
                metrics::counter!("seckill_redis_subscription_lost_total").increment(1);
                tracing::warn!("the subscription to hints is lost");
            }
            match self.subscribe().await {
                Ok(pubsub) => {
                    tracing::info!("hints are subscribed to again");
                    subscribed = Some(pubsub);
                }
                Err(error) => {
                    tracing::debug!(%error, "hints cannot be subscribed to yet");
                    // Any node of a cluster will do.
                    self.next = (self.next + 1) % self.nodes.len();
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn subscribe(&self) -> Result<PubSub, RedisError> {
        let subscribing = async {
            let mut pubsub = Client::open(self.nodes[self.next].clone())?.get_async_pubsub().await?;
            pubsub.subscribe(keys::HINTS).await?;
            Ok(pubsub)
        };
        timeout(self.connect_limit, subscribing).await.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Passes hints on until the connection is lost.
    async fn listen(&self, pubsub: PubSub, listeners: &broadcast::Sender<OrderSn>) {
        let (mut sink, mut messages) = pubsub.split();
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => pass_on(&message, listeners),
                    None => return,
                },
                _ = checks.tick() => match timeout(self.connect_limit, sink.ping::<redis::Value>()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => return,
                },
            }
        }
    }
}

fn pass_on(message: &Msg, listeners: &broadcast::Sender<OrderSn>) {
    let Ok(text) = message.get_payload::<String>() else { return };
    for order_sn in unpack(&text) {
        // No receiver, nobody waits.
        let _ = listeners.send(order_sn);
    }
}

fn no_answer() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_one_message_and_what_is_no_order_number_is_left_out() {
        let numbers = ["20260101080000123000000000000001", "a-b_c"].map(|text| OrderSn::parse(text).unwrap());
        assert_eq!(unpack(&pack(&numbers)).collect::<Vec<_>>(), numbers);
        assert_eq!(unpack("a  b'c d").map(|n| n.to_string()).collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(unpack("").count(), 0);
    }
}
