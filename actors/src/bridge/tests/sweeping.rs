//! The sweep over a store whose every message was lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::rig::{Character, Recorder, names, order, until};
use crate::bridge::sweep::{Part, PartReport, Sweep, SweepSettings};
use crate::domain::events::{Message, SecKill};
use crate::domain::payment::refund_request_no;
use crate::domain::{OrderSn, UserId};
use crate::local::store::MemoryFixtures;
use crate::ports::contract::store::world::{ALICE, BOB, GRACE, LEASE, PAYMENT_TIMEOUT, PHONE, World, credit, payment};
use crate::ports::store::units::{LockRequest, LockStock, PaymentTaken, StockLock, StockLocks};
use crate::protocol::bridge::{EffectBatch, Effects, Handled};

fn sweep_with(
    world: &World,
    effects: Arc<dyn Effects>,
    settings: SweepSettings,
) -> (Arc<Sweep>, mpsc::Receiver<Vec<Message>>) {
    let (hints, outbox) = mpsc::channel(4);
    (Sweep::new(world.store.clone(), effects, hints, settings), outbox)
}

fn report(reports: &[PartReport], part: Part) -> PartReport {
    *reports.iter().find(|report| report.part == part).expect("every part reports")
}

fn done(part: Part, found: usize) -> PartReport {
    PartReport { part, found, done: found, has_failed: false }
}

fn refs(order_sns: &[OrderSn]) -> Vec<crate::domain::events::OrderRef> {
    order_sns.iter().map(|order_sn| order(order_sn.as_str())).collect()
}

async fn lock_for_another_system(world: &World, order_sn: &OrderSn) {
    let requests = vec![LockRequest { order_sn: order_sn.clone(), lines: world.phones(2).await }];
    assert_eq!(world.one(LockStock { requests, lease: LEASE }).await, StockLocks::Done(vec![StockLock::Locked]));
}

#[tokio::test(start_paused = true)]
async fn it_finds_every_kind_when_all_messages_are_lost() {
    let world = World::with_phones(&MemoryFixtures, 100).await;
    let unpaid = world.placed(ALICE, 1).await;
    let paid = world.paid(ALICE, 1).await;
    let closed = world.placed(BOB, 1).await;
    let late = world.receipt(&closed).await;
    world.cancel(&closed).await;
    let request_no = refund_request_no(&late.trade_no);
    assert_eq!(world.one(payment(late)).await, PaymentTaken::Refunding);
    let sale = world.live_sale(5, 1).await;
    let granted = world.granted(sale, &[ALICE, BOB]).await;
    let foreign = OrderSn::parse("another-system-1").unwrap();
    lock_for_another_system(&world, &foreign).await;

    let shipped = world.shipped(ALICE, 1).await;

    let effects = Recorder::with(&[]);
    let (sweep, mut outbox) = sweep_with(&world, effects.clone(), SweepSettings::new(GRACE));
    let early = sweep.step().await;
    assert!(early.iter().all(|report| report.found == 0 || report.part == Part::Refunds), "{early:?}");

    world.clock.advance(PAYMENT_TIMEOUT.max(LEASE) + GRACE + Duration::from_secs(8 * 24 * 3600));
    let reports = sweep.step().await;
    assert_eq!(report(&reports, Part::DueReceipts), done(Part::DueReceipts, 1));
    assert_eq!(report(&reports, Part::OverdueOrders), done(Part::OverdueOrders, 1));
    assert_eq!(report(&reports, Part::UnorderedGrants), done(Part::UnorderedGrants, 2));
    assert_eq!(report(&reports, Part::LapsedLocks), done(Part::LapsedLocks, 1));
    assert_eq!(report(&reports, Part::UnresolvedLocks), done(Part::UnresolvedLocks, 2));
    assert_eq!(report(&reports, Part::MissingPoints), done(Part::MissingPoints, 2));
    assert_eq!(report(&reports, Part::EndedSales), done(Part::EndedSales, 1));
    assert_eq!(report(&reports, Part::Refunds), done(Part::Refunds, 1));
    let resent = report(&reports, Part::Outbox);
    assert!(resent.found > 0 && resent.done == resent.found, "{resent:?}");
    assert_eq!(outbox.recv().await, Some(Vec::new()), "the relay is told to read the outbox");

    let batches = effects.batches();
    assert!(batches.contains(&EffectBatch::OrderClose(refs(&[unpaid]))));
    assert!(batches.contains(&EffectBatch::StockMinus(refs(std::slice::from_ref(&paid)))));
    assert!(batches.contains(&EffectBatch::StockUnlock(refs(&[closed]))));
    assert!(batches.contains(&EffectBatch::ReleaseLapsed(refs(&[foreign]))));
    assert!(batches.contains(&EffectBatch::AutoReceive(refs(std::slice::from_ref(&shipped)))));
    let credits = vec![credit(&paid, ALICE, 100), credit(&shipped, ALICE, 100)];
    assert!(batches.contains(&EffectBatch::BoundPlus(credits)));
    assert!(batches.contains(&EffectBatch::EndSales(vec![sale.0])));
    assert!(
        batches.iter().any(|batch| matches!(batch, EffectBatch::Refunds(_)) && names(batch) == [request_no.clone()])
    );
    let winner = |order_sn: &OrderSn, user_id| SecKill {
        order_token: order_sn.clone(),
        sku_id: PHONE,
        num: 1,
        user_id,
        sale_id: sale.0,
    };
    let mut kills: Vec<SecKill> = batches
        .iter()
        .filter_map(|batch| match batch {
            EffectBatch::SecKill(items) => Some(items.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    kills.sort_by_key(|item| item.user_id);
    assert_eq!(kills, [winner(&granted[0], ALICE), winner(&granted[1], BOB)]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_does_not_hide_what_stands_behind_it() {
    let world = World::with_phones(&MemoryFixtures, 100).await;
    let mut orders = Vec::new();
    for _ in 0..25 {
        orders.push(world.placed(ALICE, 1).await);
    }
    world.clock.advance(PAYMENT_TIMEOUT + GRACE + Duration::from_secs(1));
    let effects = Recorder::with(&[]);
    for stuck in &orders[..8] {
        effects.set(stuck.as_str(), Character::Refused(usize::MAX));
    }
    let settings = SweepSettings { batch: 4, ..SweepSettings::new(GRACE) };
    let (sweep, _outbox) = sweep_with(&world, effects.clone(), settings);
    let reports = sweep.step().await;
    let expected = PartReport { part: Part::OverdueOrders, found: 25, done: 17, has_failed: false };
    assert_eq!(report(&reports, Part::OverdueOrders), expected);
    assert!(orders.iter().all(|order_sn| effects.tries_of(order_sn.as_str()).len() == 1), "each once a sweep");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_panics_or_hangs_does_not_stop_the_others() {
    let world = World::with_phones(&MemoryFixtures, 100).await;
    let hanging = world.placed(ALICE, 1).await;
    let fine = world.placed(ALICE, 1).await;
    let sale = world.live_sale(5, 1).await;
    let granted = world.granted(sale, &[ALICE, BOB, UserId(3)]).await;
    world.clock.advance(PAYMENT_TIMEOUT + GRACE + Duration::from_secs(1));
    let effects = Recorder::with(&[(hanging.as_str(), Character::Hangs), (granted[1].as_str(), Character::Panics)]);
    let (sweep, _outbox) = sweep_with(&world, effects.clone(), SweepSettings::new(GRACE));
    let started = Instant::now();
    let reports = sweep.step().await;
    assert_eq!(report(&reports, Part::OverdueOrders).done, 1);
    assert_eq!(report(&reports, Part::UnorderedGrants).done, 2);
    assert!(effects.has_applied(fine.as_str()));
    assert!(effects.has_applied(granted[0].as_str()) && effects.has_applied(granted[2].as_str()));
    assert!(started.elapsed() <= Duration::from_secs(90), "a few deadlines, not one an item: {:?}", started.elapsed());
}

/// Applies nothing until it is let go.
#[derive(Default)]
struct Gate {
    entered: Notify,
    open: Notify,
}

#[async_trait]
impl Effects for Gate {
    async fn apply(&self, batch: EffectBatch) -> Vec<Handled> {
        self.entered.notify_one();
        self.open.notified().await;
        vec![Handled::Done; batch.len()]
    }
}

#[tokio::test(start_paused = true)]
async fn sweeps_never_overlap() {
    let world = World::with_phones(&MemoryFixtures, 10).await;
    world.placed(ALICE, 1).await;
    world.clock.advance(PAYMENT_TIMEOUT + GRACE + Duration::from_secs(1));
    let gate = Arc::new(Gate::default());
    let (sweep, _outbox) = sweep_with(&world, gate.clone(), SweepSettings::new(GRACE));
    let first = tokio::spawn({
        let sweep = sweep.clone();
        async move { sweep.step().await }
    });
    gate.entered.notified().await;
    assert_eq!(sweep.step().await, [], "the first one is still running");
    gate.open.notify_one();
    let reports = first.await.unwrap();
    assert_eq!(report(&reports, Part::OverdueOrders).done, 1);
}

#[tokio::test(start_paused = true)]
async fn the_loop_sweeps_at_start_and_every_interval_until_stopped() {
    let world = World::with_phones(&MemoryFixtures, 10).await;
    let overdue = world.placed(ALICE, 1).await;
    world.clock.advance(PAYMENT_TIMEOUT + GRACE + Duration::from_secs(1));
    let effects = Recorder::with(&[(overdue.as_str(), Character::Refused(2))]);
    let (sweep, _outbox) = sweep_with(&world, effects.clone(), SweepSettings::new(GRACE));
    let started = Instant::now();
    let running = sweep.start();
    until("the third sweep closed it", async || effects.has_applied(overdue.as_str())).await;
    assert_eq!(effects.tries_of(overdue.as_str())[0], started, "at once");
    let elapsed = started.elapsed();
    assert!((Duration::from_secs(60)..Duration::from_secs(61)).contains(&elapsed), "{elapsed:?}");
    running.stop().await;
}
