//! Between the store and the bus: outbox rows go out, deliveries come in, and a sweep finds what got lost.
//!
//! - [`relay`] and [`actor`]: outbox → bus
//! - [`dispatch`]: delivery → effects, item by item
//! - [`sweep`]: the net under every message (DESIGN rule 9)
//! - [`Pruner`]: forgetting what is done with

pub mod actor;
mod apply;
mod decode;
pub mod dispatch;
mod prune;
pub mod relay;
pub mod sweep;
#[cfg(test)]
pub(crate) mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::domain::events::{Message, Queue};
use crate::domain::reject::Unavailable;
use crate::ports::bus::Bus;
use crate::ports::clock::{Clock, Entropy, message_id};
use crate::ports::store::Store;
use crate::ports::store::units::Replay;
use crate::protocol::bridge::Effects;
use crate::writer::Writer;
use actor::{BridgeActor, Flush, Publish, Stop};
use dispatch::{DispatchSettings, Dispatcher};
use relay::{Outlet, Relay, RelaySettings};

pub use decode::park_whole;
pub use prune::{PRUNED_AT_ONCE, PruneSettings, Pruner};
pub use sweep::{Sweep, SweepLoop, SweepSettings};

/// Settings of the bridge.
#[derive(Clone, Debug)]
pub struct BridgeSettings {
    /// Outbox → bus.
    pub relay: RelaySettings,
    /// Delivery → effects.
    pub dispatch: DispatchSettings,
    /// At a stop, how long the last messages may take to be published.
    pub flush_timeout: Duration,
}

impl Default for BridgeSettings {
    fn default() -> Self {
        let (relay, dispatch) = (RelaySettings::default(), DispatchSettings::default());
        Self { relay, dispatch, flush_timeout: Duration::from_secs(5) }
    }
}

/// The running bridge.
pub struct Bridge {
    stop_dispatch: watch::Sender<bool>,
    stop_relay: watch::Sender<bool>,
    dispatchers: Vec<JoinHandle<()>>,
    relay: JoinHandle<()>,
    stop_timeout: Duration,
    replayer: Replayer,
}

impl Bridge {
    /// Starts the relay and one dispatcher a queue. Must be called on an arbiter (inside an actix system); everything
    /// runs there. `outbox` is what the store writer hints through; the sweep sends into it as well.
    #[expect(clippy::too_many_arguments, reason = "one per port")]
    pub fn start(
        store: Arc<dyn Store>,
        writer: Writer,
        bus: Arc<dyn Bus>,
        effects: Arc<dyn Effects>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        settings: BridgeSettings,
        outbox: mpsc::Receiver<Vec<Message>>,
    ) -> Self {
        let (stop_dispatch, stopping) = watch::channel(false);
        let start = |queue| {
            let (bus, effects) = (bus.clone(), effects.clone());
            let dispatcher = Dispatcher::new(queue, bus, writer.clone(), effects, settings.dispatch.clone());
            tokio::spawn(keep_dispatching(dispatcher, settings.dispatch.pause, stopping.clone()))
        };
        let dispatchers = Queue::ALL.into_iter().map(start).collect();
        let (stop_relay, stopping) = watch::channel(false);
        let keeper = RelayKeeper {
            outlet: Outlet::new(store, writer.clone(), bus.clone(), settings.relay),
            entropy: entropy.clone(),
            settings: settings.relay,
            flush_timeout: settings.flush_timeout,
        };
        let relay = actix::spawn(keeper.run(outbox, stopping));
        let stop_timeout = settings.dispatch.stop_timeout + 2 * settings.flush_timeout + Duration::from_secs(1);
        let replayer = Replayer { writer, clock, entropy };
        Self { stop_dispatch, stop_relay, dispatchers, relay, stop_timeout, replayer }
    }

    /// A handle that can replay parked messages.
    pub fn replayer(&self) -> Replayer {
        self.replayer.clone()
    }

    /// Stops: nothing more is received, what is in work is finished, then what these left in the outbox is published,
    /// each within its limit. The store writer must still run. What does not get done is done at the next start.
    pub async fn stop(self) {
        // Receivers that are gone have stopped already.
        let _ = self.stop_dispatch.send(true);
        for dispatcher in self.dispatchers {
            end(dispatcher, self.stop_timeout).await;
        }
        let _ = self.stop_relay.send(true);
        end(self.relay, self.stop_timeout).await;
    }
}

async fn end(mut task: JoinHandle<()>, limit: Duration) {
    if timeout(limit, &mut task).await.is_err() {
        task.abort();
    }
}

/// Puts parked messages back to work.
#[derive(Clone)]
pub struct Replayer {
    writer: Writer,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Replayer {
    /// A replayer through this writer.
    pub fn new(writer: Writer, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { writer, clock, entropy }
    }

    /// Sends a parked message again, under a new id. `false` when there is none under this id, or it was replayed.
    ///
    /// # Errors
    /// When the store cannot be written now.
    pub async fn replay(&self, parked_id: &str) -> Result<bool, Unavailable> {
        let new_message_id = message_id(self.clock.now(), self.entropy.as_ref());
        let replay = Replay { message_id: parked_id.to_owned(), new_message_id };
        Ok(self.writer.commit_within(replay, REPLAY_TIMEOUT).await?)
    }
}

const REPLAY_TIMEOUT: Duration = Duration::from_secs(5);

/// Resolves once `stop` is true, or nobody can set it any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The error means that the sender is gone: as good as true.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A dispatcher that panics is started again; what it had in work comes again.
async fn keep_dispatching(dispatcher: Dispatcher, pause: Duration, stop: watch::Receiver<bool>) {
    while AssertUnwindSafe(dispatcher.run(stop.clone())).catch_unwind().await.is_err() {
        metrics::counter!("seckill_bridge_restarts_total", "part" => "dispatcher").increment(1);
        tracing::error!("a dispatcher panicked and is started again");
        sleep(pause).await;
    }
}

/// Feeds the bridge actor with hints and starts a new one when it died.
struct RelayKeeper {
    outlet: Outlet,
    entropy: Arc<dyn Entropy>,
    settings: RelaySettings,
    flush_timeout: Duration,
}

impl RelayKeeper {
    fn start_actor(&self) -> Addr<BridgeActor> {
        BridgeActor::new(Relay::new(self.settings, self.entropy.clone()), self.outlet.clone()).start()
    }

    async fn run(self, mut outbox: mpsc::Receiver<Vec<Message>>, mut stop: watch::Receiver<bool>) {
        let mut actor = self.start_actor();
        loop {
            let hint = tokio::select! {
                hint = outbox.recv() => hint,
                () = stopped(&mut stop) => None,
            };
            match hint {
                Some(messages) => self.tell(&mut actor, messages).await,
                None if *stop.borrow() => break,
                // The writer is gone, but messages may still wait for their next try.
                None => stopped(&mut stop).await,
            }
        }
        while let Ok(messages) = outbox.try_recv() {
            self.tell(&mut actor, messages).await;
        }
        match timeout(self.flush_timeout, actor.send(Flush)).await {
            Ok(Ok(Ok(0))) => {}
            _ => tracing::warn!("messages are left in the outbox for the next start"),
        }
        // An actor that is gone has stopped already. A running one would keep trying, and keep the writer alive.
        let _ = timeout(self.flush_timeout, actor.send(Stop)).await;
    }

    /// One hint is under way at a time, so the actor's mailbox stays short. A new actor reads the outbox first.
    async fn tell(&self, actor: &mut Addr<BridgeActor>, messages: Vec<Message>) {
        if !actor.connected() {
            metrics::counter!("seckill_bridge_restarts_total", "part" => "relay").increment(1);
            tracing::error!("the bridge actor died and is started again");
            *actor = self.start_actor();
        }
        if actor.send(Publish(messages)).await.is_err() {
            tracing::warn!("a hint was lost with the bridge actor; the sweep finds its rows");
        }
    }
}
