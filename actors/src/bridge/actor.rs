//! The bridge actor: owns the relay, publishes what it is told of, one batch at a time.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::relay::{Outlet, Parcel, Relay, Sent};
use crate::domain::events::Message as BusMessage;
use crate::domain::reject::Unavailable;
use crate::ports::store::{OutboxRow, StoreError};

/// Callers that may wait for a flush at once.
const MOST_FLUSHES: usize = 16;

/// Pause after the outbox could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// Rows of the outbox that were just written: publish them. A hint only; the relay bounds what it keeps, and what it
/// does not keep stays in the outbox. An empty one makes it read the outbox. Senders bound the mailbox by waiting for the reply.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Publish(pub Vec<BusMessage>);

/// Answers once nothing is due and nothing is being published: how many messages are left, waiting to be tried again.
#[derive(Message)]
#[rtype(result = "Result<usize, Unavailable>")]
pub struct Flush;

/// Ends the actor, even while messages wait for their next try; they stay in the outbox.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// The actor.
pub struct BridgeActor {
    relay: Relay,
    outlet: Outlet,
    is_busy: bool,
    read_not_before: Instant,
    flushes: Vec<oneshot::Sender<usize>>,
    timer: Option<SpawnHandle>,
}

impl BridgeActor {
    /// An actor over this relay. It starts by reading the outbox.
    pub fn new(relay: Relay, outlet: Outlet) -> Self {
        let read_not_before = Instant::now();
        Self { relay, outlet, is_busy: false, read_not_before, flushes: Vec::new(), timer: None }
    }

    /// Starts the next piece of work, if there is any and none is under way.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        if self.is_busy {
            return;
        }
        let now = Instant::now();
        let batch = self.relay.take(now);
        if !batch.is_empty() {
            return self.send(batch, ctx);
        }
        match self.relay.wants_rows() {
            Some(limit) if self.read_not_before <= now => self.read(limit, ctx),
            Some(_) => self.rest(Some(self.read_not_before), ctx),
            None => self.rest(None, ctx),
        }
    }

    fn send(&mut self, batch: Vec<Parcel>, ctx: &mut Context<Self>) {
        self.is_busy = true;
        let outlet = self.outlet.clone();
        let work = async move {
            let sent = outlet.send(&batch).await;
            (batch, sent)
        };
        ctx.spawn(work.into_actor(self).map(|(batch, sent), actor, ctx| actor.sent(batch, &sent, ctx)));
    }

    fn sent(&mut self, batch: Vec<Parcel>, sent: &[Sent], ctx: &mut Context<Self>) {
        self.relay.settle(batch, sent, Instant::now());
        self.is_busy = false;
        self.pump(ctx);
    }

    fn read(&mut self, limit: usize, ctx: &mut Context<Self>) {
        self.is_busy = true;
        let (outlet, age) = (self.outlet.clone(), self.relay.unhinted_age());
        let work = async move { outlet.read_outbox(limit, age).await };
        ctx.spawn(work.into_actor(self).map(move |rows, actor, ctx| actor.has_read(rows, limit, ctx)));
    }

    fn has_read(&mut self, rows: Result<Vec<OutboxRow>, StoreError>, limit: usize, ctx: &mut Context<Self>) {
        let now = Instant::now();
        match rows {
            Ok(rows) => self.relay.take_rows(rows, limit, now),
            Err(error) => {
                tracing::warn!(%error, "the outbox could not be read");
                self.read_not_before = now + READ_PAUSE;
            }
        }
        self.is_busy = false;
        self.pump(ctx);
    }

    /// Nothing to do before the next message is due or the outbox may be read again.
    fn rest(&mut self, read_at: Option<Instant>, ctx: &mut Context<Self>) {
        for flush in self.flushes.drain(..) {
            // A caller that is gone needs no answer.
            let _ = flush.send(self.relay.len());
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let Some(due_at) = [read_at, self.relay.next_due()].into_iter().flatten().min() else { return };
        let pause = due_at.saturating_duration_since(Instant::now());
        self.timer = Some(ctx.run_later(pause, |actor, ctx| {
            actor.timer = None;
            actor.pump(ctx);
        }));
    }
}

impl Actor for BridgeActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.pump(ctx);
    }
}

impl Handler<Publish> for BridgeActor {
    type Result = ();

    fn handle(&mut self, Publish(messages): Publish, ctx: &mut Self::Context) {
        self.relay.hint(messages, Instant::now());
        self.pump(ctx);
    }
}

impl Handler<Flush> for BridgeActor {
    type Result = ResponseFuture<Result<usize, Unavailable>>;

    fn handle(&mut self, _: Flush, ctx: &mut Self::Context) -> Self::Result {
        if self.flushes.len() >= MOST_FLUSHES {
            return Box::pin(std::future::ready(Err(Unavailable::Overloaded)));
        }
        let (reply, answer) = oneshot::channel();
        self.flushes.push(reply);
        self.pump(ctx);
        Box::pin(async move { answer.await.map_err(|_| Unavailable::Stopping) })
    }
}

impl Handler<Stop> for BridgeActor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
