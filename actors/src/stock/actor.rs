//! The actor of one SKU: a thin shell around [`StockLedger`]. It queues, flushes, reads rows, replies.
//!
//! A wish that fits is promised at once. One that does not is refused only when that is certain: the rows are young
//! enough (R23) and would not do even if everything being committed were given up. Until then it waits for the next
//! news: a read (one for all who wait), a settled commit, an abandoned promise. Its caller's deadline bounds the wait.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use actix::prelude::*;
use dashmap::DashMap;
use tokio::time::timeout;

use super::Tools;
use super::directory::Entry;
use super::queue::CommandQueue;
use crate::domain::SkuId;
use crate::domain::order::LockLine;
use crate::domain::reject::Unavailable;
use crate::domain::stock::{StockLedger, StockRow};
use crate::ports::store::StoreError;
use crate::protocol::stock::{Abandon, Lock, Promise, Refresh, Refusal, Reserve, Resolve, Settle, SkuNews, Stop};
use crate::supervise::{Admission, Reply};

/// The actor of one SKU.
pub struct StockActor {
    pub(super) sku_id: SkuId,
    pub(super) ledger: StockLedger,
    pub(super) tools: Arc<Tools>,
    presence: Presence,
    /// Reservations that wait for news.
    asks: VecDeque<Reserve>,
    /// Locks and resolves that wait for their flush.
    pub(super) commands: CommandQueue,
    /// One flush runs at a time; the next forms meanwhile.
    pub(super) flushing: bool,
    pub(super) flush_planned: bool,
    pub(super) reads: Reads,
    /// Whether anybody used the actor since the idle timer last looked.
    used: bool,
    stopping: Option<Stop>,
}

type RowsReply = Reply<Result<Vec<StockRow>, Unavailable>>;

/// Reads of the rows, numbered from 1. At most one runs.
#[derive(Default)]
pub(super) struct Reads {
    started: u64,
    pub(super) done: u64,
    /// Whether one succeeded yet.
    loaded: bool,
    /// No lock is decided before this read is done: the one after a stale decision.
    pub(super) locks_wait_for: u64,
    /// Who waits for which read.
    refreshes: Vec<(u64, RowsReply)>,
}

impl Reads {
    pub(super) fn running(&self) -> bool {
        self.started > self.done
    }

    /// The first read that will start after now.
    pub(super) fn next(&self) -> u64 {
        self.started + 1
    }

    /// Whether somebody waits for a read that has not started.
    fn another_wanted(&self) -> bool {
        self.locks_wait_for > self.done || !self.refreshes.is_empty()
    }

    fn take_done_refreshes(&mut self) -> Vec<RowsReply> {
        let done = self.done;
        self.refreshes.extract_if(.., |(read, _)| *read <= done).map(|(_, reply)| reply).collect()
    }
}

/// What a wish comes to.
pub(super) enum Decision {
    Promised(Vec<LockLine>),
    /// Undecided until the rows are read.
    Look,
    /// Undecided until what is being committed is settled.
    Wait,
    Refused(Refusal),
}

/// The actor's entry in the directory; leaves with the actor, whether it stopped or panicked.
pub(super) struct Presence {
    pub(super) sku_id: SkuId,
    pub(super) entries: Weak<DashMap<SkuId, Entry>>,
    pub(super) admission: Arc<Admission>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        // May run while a panic unwinds: nothing in here may panic.
        self.admission.close();
        if std::thread::panicking() {
            metrics::counter!("seckill_stock_actor_lost_total").increment(1);
            tracing::error!(sku_id = %self.sku_id, "stock actor lost; the next call rebuilds it from the store");
        }
        let Some(entries) = self.entries.upgrade() else { return };
        entries.remove_if(&self.sku_id, |_, entry| entry.is_behind(&self.admission));
    }
}

impl Actor for StockActor {
    type Context = Context<Self>;

    /// Rows are read when the first message needs them; a resolve never does.
    fn started(&mut self, ctx: &mut Self::Context) {
        self.watch_idle(ctx);
    }
}

impl StockActor {
    pub(super) fn new(tools: Arc<Tools>, presence: Presence) -> Self {
        let sku_id = presence.sku_id;
        Self {
            sku_id,
            ledger: StockLedger::new(sku_id, Vec::new(), tools.clock.now()),
            tools,
            presence,
            asks: VecDeque::new(),
            commands: CommandQueue::default(),
            flushing: false,
            flush_planned: false,
            reads: Reads::default(),
            used: false,
            stopping: None,
        }
    }

    // Deciding.

    /// With `rows_are_fresh`, right after a read, the clock is not asked: a wish causes one read at most at a time.
    pub(super) fn decide(&mut self, num: u32, rows_are_fresh: bool) -> Decision {
        if !self.reads.loaded {
            return Decision::Look;
        }
        let short = match self.ledger.reserve(num) {
            Ok(lines) => return Decision::Promised(lines),
            Err(short) => short,
        };
        let too_old = || self.ledger.is_older_than(self.tools.settings.refusal_age, self.tools.clock.now());
        if !rows_are_fresh && too_old() {
            return Decision::Look;
        }
        if !self.ledger.is_known() {
            return Decision::Refused(Refusal::Unknown);
        }
        if self.ledger.conceivable() >= i64::from(num) {
            return Decision::Wait;
        }
        Decision::Refused(Refusal::Short { available: short.available })
    }

    fn answer_or_keep(&mut self, ask: Reserve, rows_are_fresh: bool, ctx: &mut Context<Self>) {
        if ask.reply.is_abandoned() {
            return;
        }
        match self.decide(ask.num, rows_are_fresh) {
            Decision::Promised(lines) => ask.reply.send(Ok(Promise::new(lines, ctx.address().recipient()))),
            Decision::Refused(refusal) => ask.reply.send(Err(refusal)),
            Decision::Wait => self.asks.push_back(ask),
            Decision::Look => {
                self.asks.push_back(ask);
                self.look(ctx);
            }
        }
    }

    /// Decides again whatever waits, in order.
    fn reconsider(&mut self, rows_are_fresh: bool, ctx: &mut Context<Self>) {
        for ask in std::mem::take(&mut self.asks) {
            self.answer_or_keep(ask, rows_are_fresh, ctx);
        }
        self.flush(rows_are_fresh, ctx);
    }

    fn take_news(&mut self, news: &SkuNews, ctx: &mut Context<Self>) {
        for row in &news.rows {
            self.ledger.observe(*row);
        }
        let foreign = self.ledger.settle(&news.settled);
        if foreign > 0 {
            tracing::debug!(sku_id = %self.sku_id, units = foreign, "settled units promised before a restart");
        }
        self.reconsider(false, ctx);
    }

    // Reading.

    /// Makes sure that a read is on its way.
    pub(super) fn look(&mut self, ctx: &mut Context<Self>) {
        if self.reads.running() {
            return;
        }
        self.reads.started += 1;
        let (tools, sku_id) = (Arc::clone(&self.tools), self.sku_id);
        let read = async move {
            match timeout(tools.settings.read, tools.store.stock_rows(sku_id)).await {
                Ok(rows) => rows,
                Err(_) => Err(StoreError::Failed("reading stock rows takes too long".into())),
            }
        };
        ctx.spawn(read.into_actor(self).map(|rows, actor, ctx| actor.take_rows(rows, ctx)));
    }

    fn take_rows(&mut self, rows: Result<Vec<StockRow>, StoreError>, ctx: &mut Context<Self>) {
        self.reads.done = self.reads.started;
        match rows {
            Ok(rows) => {
                self.ledger.reload(&rows, self.tools.clock.now());
                self.reads.loaded = true;
                for refresh in self.reads.take_done_refreshes() {
                    refresh.send(Ok(self.rows_by_id()));
                }
                self.reconsider(true, ctx);
            }
            Err(error) => {
                tracing::warn!(sku_id = %self.sku_id, %error, "stock rows could not be read");
                self.refuse_all(&Unavailable::Dependency(error.to_string()));
                self.flush(false, ctx);
            }
        }
        if self.reads.another_wanted() {
            self.look(ctx);
        }
        self.stop_when_done(ctx);
    }

    /// Without rows nothing can be decided; what only resolves locks goes on.
    fn refuse_all(&mut self, unavailable: &Unavailable) {
        for refresh in self.reads.take_done_refreshes() {
            refresh.send(Err(unavailable.clone()));
        }
        for ask in self.asks.drain(..) {
            ask.reply.send(Err(Refusal::Unavailable(unavailable.clone())));
        }
        for waiting in self.commands.take_locks() {
            waiting.lock.reply.send(Err(Refusal::Unavailable(unavailable.clone())));
        }
    }

    fn rows_by_id(&self) -> Vec<StockRow> {
        let mut rows: Vec<StockRow> = self.ledger.rows().copied().collect();
        rows.sort_by_key(|row| row.id);
        rows
    }

    // Ending.

    /// Nobody waits and nothing is promised.
    fn is_at_rest(&self) -> bool {
        self.is_done() && self.ledger.pending() == 0
    }

    fn is_done(&self) -> bool {
        self.asks.is_empty() && self.commands.is_empty() && !self.flushing && !self.reads.running()
    }

    fn watch_idle(&mut self, ctx: &mut Context<Self>) {
        let settings = &self.tools.settings;
        let unknown = self.reads.loaded && !self.ledger.is_known();
        let pause = if unknown || !self.reads.loaded { settings.unknown_idle } else { settings.idle };
        ctx.run_later(pause, |actor, ctx| {
            actor.asks.retain(|ask| !ask.reply.is_abandoned());
            let rested = !std::mem::take(&mut actor.used) && actor.is_at_rest();
            // Whoever holds a permit by now keeps the actor; whoever comes later meets a closed queue and asks the
            // directory once more.
            if rested && actor.presence.admission.close_if_idle() {
                actor.end(ctx);
            } else {
                actor.watch_idle(ctx);
            }
        });
    }

    /// After [`Stop`]: ends once everybody is answered. Promises still out are the writer's and the store's affair.
    pub(super) fn stop_when_done(&mut self, ctx: &mut Context<Self>) {
        if self.stopping.is_some() && self.is_done() && self.presence.admission.in_flight() == 0 {
            self.end(ctx);
        }
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        if let Some(stop) = self.stopping.take() {
            let _ = stop.done.send(());
        }
        ctx.stop();
    }
}

impl Handler<Reserve> for StockActor {
    type Result = ();

    fn handle(&mut self, ask: Reserve, ctx: &mut Self::Context) {
        self.used = true;
        self.answer_or_keep(ask, false, ctx);
        self.stop_when_done(ctx);
    }
}

impl Handler<Abandon> for StockActor {
    type Result = ();

    fn handle(&mut self, abandon: Abandon, ctx: &mut Self::Context) {
        self.ledger.settle(&abandon.lines);
        self.reconsider(false, ctx);
        self.stop_when_done(ctx);
    }
}

impl Handler<Settle> for StockActor {
    type Result = ();

    fn handle(&mut self, Settle(news): Settle, ctx: &mut Self::Context) {
        self.take_news(&news, ctx);
        self.stop_when_done(ctx);
    }
}

impl Handler<Lock> for StockActor {
    type Result = ();

    fn handle(&mut self, lock: Lock, ctx: &mut Self::Context) {
        self.used = true;
        self.commands.push_lock(lock);
        self.plan_flush(ctx);
    }
}

impl Handler<Resolve> for StockActor {
    type Result = ();

    fn handle(&mut self, resolve: Resolve, ctx: &mut Self::Context) {
        self.used = true;
        self.commands.push_resolve(resolve);
        self.plan_flush(ctx);
    }
}

impl Handler<Refresh> for StockActor {
    type Result = ();

    fn handle(&mut self, refresh: Refresh, ctx: &mut Self::Context) {
        self.used = true;
        self.reads.refreshes.push((self.reads.next(), refresh.reply));
        self.look(ctx);
    }
}

impl Handler<Stop> for StockActor {
    type Result = ();

    fn handle(&mut self, stop: Stop, ctx: &mut Self::Context) {
        self.stopping = Some(stop);
        self.stop_when_done(ctx);
    }
}

/// Makes the actor panic.
#[cfg(any(test, feature = "testkit"))]
#[derive(Message)]
#[rtype(result = "()")]
pub struct Blow;

#[cfg(any(test, feature = "testkit"))]
impl Handler<Blow> for StockActor {
    type Result = ();

    fn handle(&mut self, _: Blow, _: &mut Self::Context) {
        panic!("blown up for a test");
    }
}
