//! The semaphore of one open sale: collects attempts and has them decided in batches, one batch at a time.
//!
//! A batch is what arrived while the last one was in flight, at most `max_batch`; a lone attempt goes at once. What may
//! wait here is bounded by the places of the sale (`attempts_per_sale`), taken before an attempt is sent, because an
//! actix mailbox does not bound itself.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::claims;
use super::desk::Desk;
use crate::domain::reject::Unavailable;
use crate::protocol::flash_sale::{CloseSemaphore, Reconcile, TryAcquire};

/// The actor. Its state is only what waits: when it dies a new one starts from the store and the gate.
pub(super) struct SemaphoreActor {
    desk: Arc<Desk>,
    max_batch: usize,
    waiting: VecDeque<TryAcquire>,
    reconcile: Option<Vec<oneshot::Sender<Result<(), Unavailable>>>>,
    is_busy: bool,
    is_closing: bool,
}

impl SemaphoreActor {
    pub(super) fn new(desk: Desk, max_batch: usize) -> Self {
        Self {
            desk: Arc::new(desk),
            max_batch,
            waiting: VecDeque::new(),
            reconcile: None,
            is_busy: false,
            is_closing: false,
        }
    }

    /// Starts the next piece of work unless one is in flight. Setting the permits comes first: between two batches no
    /// hold of this node is live, so what it sets is exact.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.is_busy {
            return;
        }
        if let Some(replies) = self.reconcile.take() {
            let desk = self.desk.clone();
            return self.run(ctx, async move { reconcile(&desk, replies).await });
        }
        let limit = self.desk.gate().per_user_limit();
        let mut batch = claims::form(&mut self.waiting, self.max_batch, limit);
        if !batch.is_empty() {
            let desk = self.desk.clone();
            return self.run(ctx, async move { desk.decide(&mut batch).await });
        }
        if self.is_closing {
            ctx.stop();
        }
    }

    fn run(&mut self, ctx: &mut Context<Self>, work: impl Future<Output = ()> + 'static) {
        self.is_busy = true;
        ctx.spawn(work.into_actor(self).map(|(), actor, ctx| {
            actor.is_busy = false;
            actor.go_on(ctx);
        }));
    }
}

async fn reconcile(desk: &Desk, replies: Vec<oneshot::Sender<Result<(), Unavailable>>>) {
    let result = match replies.is_empty() {
        true => desk.reconcile().await.map(|_| ()),
        false => desk.restore().await,
    };
    if let Err(unavailable) = &result {
        tracing::warn!(sale_id = %desk.gate().sale_id(), %unavailable, "permits are not reconciled");
    }
    for reply in replies {
        // Nobody waits any more: the permits are set all the same.
        let _ = reply.send(result.clone());
    }
}

impl Actor for SemaphoreActor {
    type Context = Context<Self>;
}

impl Handler<TryAcquire> for SemaphoreActor {
    type Result = ();

    fn handle(&mut self, attempt: TryAcquire, ctx: &mut Context<Self>) {
        self.waiting.push_back(attempt);
        self.go_on(ctx);
    }
}

impl Handler<Reconcile> for SemaphoreActor {
    type Result = ();

    fn handle(&mut self, message: Reconcile, ctx: &mut Context<Self>) {
        self.reconcile.get_or_insert_default().extend(message.reply);
        self.go_on(ctx);
    }
}

impl Handler<CloseSemaphore> for SemaphoreActor {
    type Result = ();

    fn handle(&mut self, _: CloseSemaphore, ctx: &mut Context<Self>) {
        self.is_closing = true;
        self.go_on(ctx);
    }
}
