//! The deliverer: looks for what is due and sends it, every endpoint in a lane of its own, so that a slow one holds up
//! nobody else. Any number of nodes may run one; the claim keeps them apart.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::{WebhookFailure, Webhooks};
use crate::domain::webhook::{Delivery, Endpoint, TryOutcome, seconds};
use crate::ports::store::units::{ClaimDeliveries, PruneDeliveries, SettleDelivery};
use crate::ports::webhooks::WebhookPost;

/// What a claim outlives a try by: the way to the store and back.
const LEASE_MARGIN: Duration = Duration::from_secs(15);
/// How often old deliveries are forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// How many of them in one transaction.
const PRUNE_BATCH: usize = 1000;
/// Longest reason that is kept, in characters.
const REASON: usize = 200;

/// A running deliverer.
pub struct Delivering {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Delivering {
    /// Stops it. What is on its way is dropped; it is sent again when its lease is over.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the deliverer of webhooks ended");
        }
    }
}

impl Webhooks {
    /// Starts delivering.
    pub fn start(self: &Arc<Self>) -> Delivering {
        let (stop, mut stopping) = watch::channel(false);
        let webhooks = self.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                // The error means that the sender is gone: as good as true.
                _ = stopping.wait_for(|stop| *stop) => {}
                () = webhooks.keep_delivering() => {}
            }
        });
        Delivering { stop, task }
    }

    /// A deliverer that panics is started again; what it had claimed comes again.
    async fn keep_delivering(&self) {
        loop {
            let delivering = async { join(self.deliver_for_ever(), self.prune_for_ever()).await };
            if AssertUnwindSafe(delivering).catch_unwind().await.is_err() {
                tracing::error!("the deliverer of webhooks panicked and is started again");
            }
            sleep(self.settings.poll_interval).await;
        }
    }

    async fn deliver_for_ever(&self) {
        let mut looks = ticks(self.settings.poll_interval);
        let mut lanes = FuturesUnordered::new();
        let mut busy: HashSet<i64> = HashSet::new();
        loop {
            tokio::select! {
                Some(endpoint_id) = lanes.next() => {
                    busy.remove(&endpoint_id);
                }
                _ = looks.tick() => {
                    let due = self.due().await;
                    lanes.extend(due.into_iter().filter(|id| busy.insert(*id)).map(|id| self.work_off(id)));
                }
            }
        }
    }

    async fn due(&self) -> Vec<i64> {
        self.read(self.parts.store.due_webhooks()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "webhooks wait");
            Vec::new()
        })
    }

    /// Sends what is due at one endpoint, batch after batch; says which it was.
    async fn work_off(&self, endpoint_id: i64) -> i64 {
        loop {
            match self.send_batch(endpoint_id).await {
                Ok(sent) if sent == self.settings.at_once => {}
                Ok(_) => return endpoint_id,
                Err(failure) => {
                    tracing::warn!(endpoint_id, %failure, "a webhook waits");
                    return endpoint_id;
                }
            }
        }
    }

    /// Claims a batch and sends it; how many there were.
    ///
    /// # Errors
    /// When the store is away. Nothing is lost.
    pub async fn send_batch(&self, endpoint_id: i64) -> Result<usize, WebhookFailure> {
        let (limit, lease) = (self.settings.at_once, self.settings.timeout + LEASE_MARGIN);
        let claimed = self.commit(ClaimDeliveries { endpoint_id, limit, lease }).await?;
        if claimed.is_empty() {
            return Ok(0);
        }
        // Read after the claim: as it is now.
        let endpoint = match self.endpoint(endpoint_id).await {
            Err(WebhookFailure::Unknown) => return Ok(0),
            found => found?,
        };
        let sent = join_all(claimed.iter().map(|delivery| self.send(&endpoint, delivery))).await;
        sent.into_iter().collect::<Result<Vec<()>, _>>().map(|sent| sent.len())
    }

    async fn send(&self, endpoint: &Endpoint, delivery: &Delivery) -> Result<(), WebhookFailure> {
        let now = self.parts.clock.now();
        let post = WebhookPost {
            url: endpoint.url.clone(),
            message_id: delivery.message_id.clone(),
            seconds: seconds(now),
            signatures: endpoint.signatures(&delivery.message_id, now, &delivery.body),
            body: delivery.body.clone(),
        };
        // The sender keeps its own time; this one holds whatever it does.
        let posting = tokio::time::timeout(self.settings.timeout + LEASE_MARGIN / 3, self.parts.sender.post(&post));
        let outcome = posting.await.unwrap_or_else(|_| TryOutcome::Unanswered("no answer in time".into()));
        let next = self.settings.schedule.judge(delivery.tries, &outcome, self.parts.entropy.next_u64());
        let (status, error) = match outcome {
            TryOutcome::Answered(status @ 200..=299) => (Some(status), String::new()),
            TryOutcome::Answered(status) => (Some(status), format!("HTTP status {status}")),
            TryOutcome::Unanswered(reason) => (None, reason.chars().take(REASON).collect()),
        };
        tracing::debug!(endpoint_id = endpoint.id, delivery_id = delivery.id, ?next, error, "webhook tried");
        metrics::counter!("seckill_webhook_tries_total", "arrived" => if error.is_empty() { "yes" } else { "no" })
            .increment(1);
        self.commit(SettleDelivery { delivery_id: delivery.id, claim: delivery.claim, status, error, next }).await?;
        Ok(())
    }

    async fn prune_for_ever(&self) {
        let mut prunes = ticks(PRUNE_EVERY);
        loop {
            prunes.tick().await;
            while self.prune().await == PRUNE_BATCH {}
        }
    }

    /// Forgets some old deliveries; how many.
    async fn prune(&self) -> usize {
        let unit = PruneDeliveries { older_than: self.settings.keep, limit: PRUNE_BATCH };
        self.commit(unit).await.unwrap_or_else(|unavailable| {
            tracing::warn!(%unavailable, "old deliveries of webhooks stay for now");
            0
        })
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
