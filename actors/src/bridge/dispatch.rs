//! Delivery → effects. One dispatcher a queue; several deliveries in work at once, so one that waits for its retry
//! does not hold up the others.
//!
//! A delivery ends in one way: every item of it is applied or parked, then it is acknowledged. What fails is tried
//! again in place, alone, after the pauses of [`DispatchSettings::retry_delays`]; never by handing it back to the bus,
//! which would bring it again at once, with all its good items (R14). Only when parking fails, because the store is
//! away, it goes back, with a pause.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::apply::{Applier, Try};
use super::decode::{self, Opened};
use super::stopped;
use crate::domain::events::Queue;
use crate::ports::bus::{Bus, BusError, Delivery};
use crate::ports::store::units::Park;
use crate::protocol::bridge::{Effects, Handled};
use crate::writer::Writer;

/// Settings of the dispatchers.
#[derive(Clone, Debug)]
pub struct DispatchSettings {
    /// Most deliveries of one queue in work at once, those that wait for a retry included.
    pub prefetch: usize,
    /// Pauses between the tries; there is one try more than pauses.
    pub retry_delays: Vec<Duration>,
    /// Longest time one call of the effects may take.
    pub apply_timeout: Duration,
    /// Longest wait for the bus and the store writer.
    pub timeout: Duration,
    /// Pause after the bus failed, and before a delivery comes again whose items could not be parked.
    pub pause: Duration,
    /// At a stop, how long deliveries in work may take to finish.
    pub stop_timeout: Duration,
}

impl Default for DispatchSettings {
    fn default() -> Self {
        Self {
            prefetch: 16,
            retry_delays: [100, 1_000, 5_000, 15_000].map(Duration::from_millis).to_vec(),
            apply_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// Positions or indexes of items, each with a reason.
type Reasons = Vec<(usize, String)>;

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Every item is applied or parked.
    Finished,
    /// Something could not be parked.
    Unparked,
    /// The dispatcher stops; the bus brings it again.
    Left,
}

/// Works off one queue.
pub struct Dispatcher {
    queue: Queue,
    bus: Arc<dyn Bus>,
    writer: Writer,
    applier: Applier,
    settings: DispatchSettings,
}

impl Dispatcher {
    /// A dispatcher for `queue`.
    pub fn new(
        queue: Queue,
        bus: Arc<dyn Bus>,
        writer: Writer,
        effects: Arc<dyn Effects>,
        settings: DispatchSettings,
    ) -> Self {
        let applier = Applier::new(effects, settings.apply_timeout);
        Self { queue, bus, writer, applier, settings }
    }

    /// Works until `stop` becomes true; then takes nothing more and finishes what is in work, within the limit.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut in_work = FuturesUnordered::new();
        loop {
            let room = self.settings.prefetch.saturating_sub(in_work.len());
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(()) = in_work.next(), if !in_work.is_empty() => {}
                deliveries = self.receive(room), if room > 0 => {
                    in_work.extend(deliveries.into_iter().map(|delivery| self.handle(delivery, stop.clone())));
                }
            }
            self.measure(in_work.len());
        }
        let finish = async { while in_work.next().await.is_some() {} };
        if timeout(self.settings.stop_timeout, finish).await.is_err() {
            tracing::warn!(queue = self.queue.as_str(), left = in_work.len(), "deliveries are left for the next start");
        }
        self.measure(0);
    }

    fn measure(&self, in_work: usize) {
        metrics::gauge!("seckill_dispatch_in_work", "queue" => self.queue.as_str()).set(in_work as f64);
    }

    async fn receive(&self, room: usize) -> Vec<Delivery> {
        match self.bus.receive(self.queue, room).await {
            Ok(deliveries) => deliveries,
            Err(error) => {
                tracing::warn!(queue = self.queue.as_str(), %error, "nothing can be received");
                sleep(self.settings.pause).await;
                Vec::new()
            }
        }
    }

    /// Brings one delivery to its end.
    async fn handle(&self, delivery: Delivery, stop: watch::Receiver<bool>) {
        let end = match decode::open(&delivery) {
            Ok(opened) => self.work_off(&opened, stop).await,
            Err(reason) => match self.park(vec![decode::park_whole(&delivery, &reason)]).await {
                true => End::Finished,
                false => End::Unparked,
            },
        };
        let answer = match end {
            End::Finished => timeout(self.settings.timeout, self.bus.ack(&delivery)).await,
            End::Unparked => timeout(self.settings.timeout, self.bus.retry(&delivery, self.longest_pause())).await,
            End::Left => return,
        };
        if let Err(error) = answer.unwrap_or_else(|_| Err(BusError("no answer in time".into()))) {
            // It comes again, and finds its effects done.
            metrics::counter!("seckill_dispatch_unanswered_total", "queue" => self.queue.as_str()).increment(1);
            tracing::warn!(queue = self.queue.as_str(), %error, "a delivery could not be ended");
        }
    }

    fn longest_pause(&self) -> Duration {
        self.settings.retry_delays.iter().copied().max().unwrap_or_default().max(self.settings.pause)
    }

    async fn work_off(&self, opened: &Opened, mut stop: watch::Receiver<bool>) -> End {
        let mut all_parked = self.park_items(opened, &opened.poison).await;
        let mut open: Vec<usize> = (0..opened.batch.len()).collect();
        let mut delays = self.settings.retry_delays.iter();
        while !open.is_empty() {
            let delay = delays.next();
            let this_try = if delay.is_some() { Try::More } else { Try::Last };
            let answers = self.applier.apply(&opened.batch, open, this_try).await;
            let (again, poison) = self.sort(opened, answers);
            all_parked &= self.park_items(opened, &poison).await;
            let Some(delay) = delay else {
                let given_up: Vec<_> = again.iter().map(|(at, why)| (opened.batch.index(*at), why.clone())).collect();
                all_parked &= self.park_items(opened, &given_up).await;
                break;
            };
            open = again.into_iter().map(|(position, _)| position).collect();
            if open.is_empty() {
                break;
            }
            metrics::counter!("seckill_dispatch_retries_total", "queue" => self.queue.as_str()).increment(1);
            tokio::select! {
                () = sleep(*delay) => {}
                () = stopped(&mut stop) => return End::Left,
            }
        }
        if all_parked { End::Finished } else { End::Unparked }
    }

    /// Answers → positions to try again, and indexes to park, each with the reason.
    fn sort(&self, opened: &Opened, answers: Vec<(usize, Handled)>) -> (Reasons, Reasons) {
        let (mut again, mut poison) = (Vec::new(), Vec::new());
        let all = answers.len();
        for (position, handled) in answers {
            match handled {
                Handled::Done => {}
                Handled::Retry(reason) => again.push((position, reason)),
                Handled::Poison(reason) => poison.push((opened.batch.index(position), reason)),
            }
        }
        // Positions stay ascending, so that a whole batch stays the same batch at every try.
        again.sort_unstable();
        let done = (all - again.len() - poison.len()) as u64;
        metrics::counter!("seckill_dispatch_done_items_total", "queue" => self.queue.as_str()).increment(done);
        (again, poison)
    }

    async fn park_items(&self, opened: &Opened, items: &[(usize, String)]) -> bool {
        self.park(items.iter().map(|(index, reason)| opened.park(*index, reason)).collect()).await
    }

    /// Keeps messages for an operator; `false` when one of them could not be kept.
    async fn park(&self, parks: Vec<Park>) -> bool {
        join_all(parks.into_iter().map(|park| self.park_one(park))).await.into_iter().all(|parked| parked)
    }

    async fn park_one(&self, park: Park) -> bool {
        let (message_id, reason) = (park.message_id.clone(), park.reason.clone());
        match self.writer.commit_within(park, self.settings.timeout).await {
            Ok(()) => {
                metrics::counter!("seckill_parked_total", "queue" => self.queue.as_str()).increment(1);
                tracing::error!(queue = self.queue.as_str(), message_id, reason, "a message was parked");
                true
            }
            Err(error) => {
                tracing::warn!(queue = self.queue.as_str(), message_id, %error, "a message could not be parked");
                false
            }
        }
    }
}
