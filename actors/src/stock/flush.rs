//! Flushing the durable commands of one SKU: one unit at a time, made of what waits at the front of the queue.
//!
//! The writer commits units in the order they are queued, so even a flush whose answer came too late keeps its place.

use std::collections::HashSet;

use actix::prelude::*;

use super::actor::{Decision, StockActor};
use super::queue::{Next, WaitingLock};
use crate::domain::OrderSn;
use crate::domain::order::LockLine;
use crate::domain::reject::Unavailable;
use crate::ports::store::units::{LockRequest, LockResolved, LockStock, ResolveLocks, StockLock, StockLocks, Unit};
use crate::protocol::stock::{LockAnswer, Refusal, Resolve, settled};
use crate::writer::{Queued, WriteError};

/// Locks of one flush, each with the rows it was promised.
type Promised = Vec<(WaitingLock, Vec<LockLine>)>;

impl StockActor {
    /// Flushes once the mailbox is drained, so that what arrived together is committed together: actix looks at
    /// spawned futures only then.
    pub(super) fn plan_flush(&mut self, ctx: &mut Context<Self>) {
        if self.flushing || self.flush_planned {
            return;
        }
        self.flush_planned = true;
        ctx.spawn(std::future::ready(()).into_actor(self).map(|(), actor, ctx| {
            actor.flush_planned = false;
            actor.flush(false, ctx);
            actor.stop_when_done(ctx);
        }));
    }

    /// Starts the next flush, if none runs and something at the front of the queue is ready for it.
    pub(super) fn flush(&mut self, rows_are_fresh: bool, ctx: &mut Context<Self>) {
        while !self.flushing {
            let moved = match self.commands.look_ahead() {
                None => false,
                Some(Next::Locks) => self.flush_locks(rows_are_fresh, ctx),
                Some(Next::Resolves) => self.flush_resolves(ctx),
            };
            if !moved {
                return;
            }
        }
    }

    /// `false` when the locks at the front have to wait.
    fn flush_locks(&mut self, rows_are_fresh: bool, ctx: &mut Context<Self>) -> bool {
        if self.reads.locks_wait_for > self.reads.done {
            self.look(ctx);
            return false;
        }
        let promised = self.decide_locks(rows_are_fresh, ctx);
        if promised.is_empty() {
            // Those at the front were refused; if another lock is there now, it waits for news.
            return self.commands.look_ahead() == Some(Next::Resolves);
        }
        self.commit_locks(promised, ctx);
        true
    }

    /// Promises units to the locks at the front; those that must wait keep their places, those refused are answered.
    fn decide_locks(&mut self, rows_are_fresh: bool, ctx: &mut Context<Self>) -> Promised {
        let mut promised = Promised::new();
        let mut kept = Vec::new();
        let mut owners: HashSet<OrderSn> = HashSet::new();
        for waiting in self.commands.take_locks() {
            let lease = promised.first().map_or(waiting.lock.lease, |(first, _)| first.lock.lease);
            let fits = promised.len() < self.tools.settings.max_flush
                && waiting.lock.lease == lease
                && !owners.contains(&waiting.lock.order_sn);
            if !fits {
                kept.push(waiting);
                continue;
            }
            match self.decide(waiting.lock.num, rows_are_fresh) {
                Decision::Promised(lines) => {
                    owners.insert(waiting.lock.order_sn.clone());
                    promised.push((waiting, lines));
                }
                Decision::Refused(refusal) => waiting.lock.reply.send(Err(refusal)),
                Decision::Wait => kept.push(waiting),
                Decision::Look => {
                    kept.push(waiting);
                    self.look(ctx);
                }
            }
        }
        self.commands.put_back(kept);
        promised
    }

    fn commit_locks(&mut self, promised: Promised, ctx: &mut Context<Self>) {
        metrics::histogram!("seckill_stock_flush_owners", "kind" => "lock").record(promised.len() as f64);
        let Some((first, _)) = promised.first() else { return };
        let unit = LockStock {
            lease: first.lock.lease,
            requests: promised
                .iter()
                .map(|(waiting, lines)| LockRequest { order_sn: waiting.lock.order_sn.clone(), lines: lines.clone() })
                .collect(),
        };
        match self.tools.writer.queue(unit) {
            Ok(queued) => self.await_flush(queued, ctx, |outcome, actor, ctx| {
                actor.finish_locks(promised, outcome, ctx);
            }),
            Err(error) => {
                // Never reached the writer, so nobody else settles it.
                for (_, lines) in &promised {
                    self.ledger.settle(&settled(lines));
                }
                refuse_locks(promised, &error.into());
            }
        }
    }

    fn finish_locks(&mut self, promised: Promised, outcome: Result<StockLocks, Unavailable>, ctx: &mut Context<Self>) {
        match outcome {
            Ok(StockLocks::Done(answers)) if answers.len() == promised.len() => {
                for ((waiting, lines), answer) in promised.into_iter().zip(answers) {
                    waiting.lock.reply.send(Ok(match answer {
                        StockLock::Locked => LockAnswer::Locked(lines),
                        StockLock::Exists => LockAnswer::Exists,
                    }));
                }
            }
            Ok(StockLocks::Done(_)) => refuse_locks(promised, &miscounted()),
            Ok(StockLocks::Stale(_)) => self.decide_again(promised, ctx),
            Err(unavailable) => refuse_locks(promised, &unavailable),
        }
    }

    /// The rows were not as believed: reads them and decides again, in the same order.
    fn decide_again(&mut self, promised: Promised, ctx: &mut Context<Self>) {
        metrics::counter!("seckill_stock_stale_total").increment(1);
        let mut again = Vec::with_capacity(promised.len());
        for (mut waiting, _) in promised {
            waiting.decided += 1;
            if waiting.decided < self.tools.settings.decisions {
                again.push(waiting);
            } else {
                waiting.lock.reply.send(Err(Refusal::Unavailable(contended())));
            }
        }
        self.commands.put_back(again);
        self.reads.locks_wait_for = self.reads.next();
        self.look(ctx);
    }

    /// `false` when nothing was started.
    fn flush_resolves(&mut self, ctx: &mut Context<Self>) -> bool {
        let taken = self.commands.take_resolves(self.tools.settings.max_flush);
        let Some(first) = taken.first() else { return true };
        let unit = ResolveLocks {
            sku_id: self.sku_id,
            way: first.way,
            lapsed_only: first.lapsed_only,
            order_sns: taken.iter().flat_map(|resolve| resolve.order_sns.iter().cloned()).collect(),
        };
        metrics::histogram!("seckill_stock_flush_owners", "kind" => "resolve").record(unit.order_sns.len() as f64);
        match self.tools.writer.queue(unit) {
            Ok(queued) => self.await_flush(queued, ctx, |outcome, _, _| finish_resolves(taken, outcome)),
            Err(error) => finish_resolves(taken, Err(error.into())),
        }
        true
    }

    /// Runs `finish` on the outcome, then starts the next flush.
    fn await_flush<U: Unit>(
        &mut self,
        queued: Queued<U>,
        ctx: &mut Context<Self>,
        finish: impl FnOnce(Result<U::Outcome, Unavailable>, &mut Self, &mut Context<Self>) + 'static,
    ) {
        self.flushing = true;
        let limit = self.tools.settings.commit;
        let outcome = async move { queued.outcome_within(limit).await.map_err(WriteError::into) };
        ctx.spawn(outcome.into_actor(self).map(move |outcome, actor, ctx| {
            actor.flushing = false;
            finish(outcome, actor, ctx);
            actor.flush(false, ctx);
            actor.stop_when_done(ctx);
        }));
    }
}

fn finish_resolves(taken: Vec<Resolve>, outcome: Result<Vec<LockResolved>, Unavailable>) {
    let owners: usize = taken.iter().map(|resolve| resolve.order_sns.len()).sum();
    let outcome = outcome.and_then(|answers| if answers.len() == owners { Ok(answers) } else { Err(miscounted()) });
    match outcome {
        Ok(answers) => {
            let mut answers = answers.into_iter();
            for resolve in taken {
                resolve.reply.send(Ok(answers.by_ref().take(resolve.order_sns.len()).collect()));
            }
        }
        Err(unavailable) => {
            for resolve in taken {
                resolve.reply.send(Err(unavailable.clone()));
            }
        }
    }
}

fn refuse_locks(promised: Promised, unavailable: &Unavailable) {
    for (waiting, _) in promised {
        waiting.lock.reply.send(Err(Refusal::Unavailable(unavailable.clone())));
    }
}

fn miscounted() -> Unavailable {
    Unavailable::Dependency("the store answered another number of owners".into())
}

fn contended() -> Unavailable {
    Unavailable::Dependency("the stock rows keep changing".into())
}
