//! The numbered invariants, one predicate each: for assertions, tests, `seckill audit` and the load test.
//!
//! | # | Statement |
//! |---|---|
//! | I1 | 0 ≤ locked ≤ stock for every stock row |
//! | I2 | locked = Σ num of LOCKED lock rows + Σ undrawn of flash-sale allotments |
//! | I3 | stock = Σ ledger deltas of the row; Σ DEDUCTED lock rows less what came back of them = Σ sales less returns in the ledger |
//! | I4 | order 0 ↔ all its locks LOCKED, 1–3 ↔ DEDUCTED, 4, 5 ↔ RELEASED or RETURNED; units locked = units ordered; no lock of another system past its lease; no lock without a lease that has no order |
//! | I6 | granted − released ≤ count; grants not FAILED per user ≤ limit; the counters equal the rows; an open sale keeps undrawn = remaining + open grants, an ended one = open grants, a draft none |
//! | I7 | one order per token |
//! | I9 | an online order in 1–3 and one paid on delivery in 3 have exactly one applied payment, one in 0 and one to be paid on delivery none; every other payment has exactly one refund of its amount, confirmed or still pending |
//! | I10 | points = Σ over paid orders of what they keep after refunds, once each; balances ≥ Σ history |
//! | I11 | no outbox row unpublished for more than 60 s |
//! | I13 | no timeout close before `pay_before` + grace; none open after `pay_before` + grace + 30 s |
//! | I16 | Σ refunds ≤ payment for every applied payment; a closed order with one has given all of it back |
//! | I17 | units asked back ≤ units bought for every line; units restocked = units of its returns that were to be |
//!
//! I1, I2, I3, I6, I7, I9, I16 and I17 hold after every transaction ([`ALWAYS`]); I4, I10, I11 and I13 hold at rest, when every
//! message has been handled and the sweep has run.
//!
//! # What the gatherer leaves out
//!
//! `exempt_ms` gives messages in flight the time to arrive. It concerns [`Facts::orders`] only, for the snapshot is of
//! one moment and the rest holds at every moment:
//! - an order whose `modified_at` is less than `exempt_ms` before the snapshot;
//! - a lock owner without order whose lease ended at or before the snapshot, but less than `exempt_ms` before it.
//!
//! With `exempt_ms` 0 nothing is left out. I11 and I13 bring their own patience (60 s and 30 s).

mod given_back;

use std::time::Duration;

use super::flash_sale::SaleState;
use super::ids::{OrderSn, SaleId, UserId, WareSkuId};
use super::money::Money;
use super::order::{OrderStatus, close_due_at};
use super::points;
use super::time::Timestamp;
pub use given_back::{ReturnFacts, i16, i17};

/// Everything the invariants look at, gathered by the store.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The store's time of the snapshot, in ms.
    pub now_ms: i64,
    /// `order.close_grace`, in ms.
    pub close_grace_ms: i64,
    /// `order.points_per_yuan`
    pub points_per_yuan: u32,
    /// One per stock row.
    pub stock: Vec<StockFacts>,
    /// One per order, plus one per lock owner without order (with `status` `None`).
    pub orders: Vec<OrderFacts>,
    /// One per sale.
    pub sales: Vec<SaleFacts>,
    /// One per (sale, user) with grants that are not FAILED.
    pub holders: Vec<HolderFacts>,
    /// One per user and token that made more than one order.
    pub doubled_tokens: Vec<String>,
    /// One per payment that was not applied.
    pub stray_payments: Vec<StrayPaymentFacts>,
    /// One per line of an order that has return requests.
    pub returns: Vec<ReturnFacts>,
    /// One per member that exists and has points history.
    pub members: Vec<MemberFacts>,
    /// Outbox rows unpublished for more than 60 s: id and age in ms.
    pub stuck_messages: Vec<(String, i64)>,
}

/// One stock row.
#[derive(Clone, Debug)]
pub struct StockFacts {
    /// Row.
    pub id: WareSkuId,
    /// On hand.
    pub stock: i64,
    /// Promised.
    pub locked: i64,
    /// Σ num of its LOCKED lock rows.
    pub locked_rows: i64,
    /// Σ undrawn of its allotments.
    pub undrawn: i64,
    /// Σ num of its DEDUCTED lock rows, less the units of them that came back.
    pub deducted_rows: i64,
    /// Σ delta of its ledger rows.
    pub ledger_stock: i64,
    /// −Σ delta of its ledger rows of the kinds sale and return.
    pub ledger_sold: i64,
}

/// One order or orderless lock owner.
#[derive(Clone, Debug)]
pub struct OrderFacts {
    /// Number.
    pub order_sn: OrderSn,
    /// Status; `None`: locks without an order.
    pub status: Option<OrderStatus>,
    /// Last change of the order (creation included).
    pub modified_at: Timestamp,
    /// Deadline of an online order.
    pub pay_before: Option<Timestamp>,
    /// When it was closed by timeout, that is by a [`CloseOrders`](crate::ports::store::units::CloseOrders) with
    /// `when_due`.
    pub timed_out_at: Option<Timestamp>,
    /// Σ quantity of its items.
    pub quantity: i64,
    /// Units LOCKED.
    pub locked: i64,
    /// Units DEDUCTED.
    pub deducted: i64,
    /// Units RELEASED or RETURNED.
    pub released: i64,
    /// Lease of orderless locks; the earliest when they differ.
    pub lease_until: Option<Timestamp>,
    /// What it cost.
    pub pay_amount: Money,
    /// Payments applied to it.
    pub applied_payments: i64,
    /// Σ refunds of its applied payment, confirmed or not.
    pub refunded: Money,
    /// Whether it is paid online: then 1–3 need one applied payment.
    pub online: bool,
    /// Σ integration credited for it, less what refunds took back; `None` when there is no row.
    pub points: Option<i64>,
}

/// One sale.
#[derive(Clone, Debug)]
pub struct SaleFacts {
    /// Sale.
    pub id: SaleId,
    /// State.
    pub state: SaleState,
    /// Units.
    pub count: i64,
    /// Counter.
    pub granted: i64,
    /// Counter.
    pub released: i64,
    /// Grant rows.
    pub grant_rows: i64,
    /// Grant rows FAILED or RELEASED.
    pub released_rows: i64,
    /// Grants GRANTED without an order.
    pub open_grants: i64,
    /// Σ undrawn.
    pub undrawn: i64,
    /// Units of LOCKED or DEDUCTED lock rows of its orders.
    pub drawn: i64,
}

/// One buyer in one sale.
#[derive(Clone, Debug)]
pub struct HolderFacts {
    /// Sale.
    pub sale_id: SaleId,
    /// Buyer.
    pub user_id: UserId,
    /// Grants that are not FAILED.
    pub grants: i64,
    /// The sale's limit.
    pub limit: i64,
}

/// A payment that was not applied.
#[derive(Clone, Debug)]
pub struct StrayPaymentFacts {
    /// Order.
    pub order_sn: OrderSn,
    /// REFUNDING or REFUNDED (MISMATCH is an operator's).
    pub refunded: bool,
    /// How much came in.
    pub amount: Money,
    /// Refund rows for it.
    pub refund_rows: i64,
    /// Σ of them.
    pub refund_amount: Money,
}

/// One member.
#[derive(Clone, Debug)]
pub struct MemberFacts {
    /// Member.
    pub user_id: UserId,
    /// Balance of spendable points.
    pub integration: i64,
    /// Σ of the history, opening balance included.
    pub history: i64,
}

/// What one invariant found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its number, e.g. `I2`.
    pub id: &'static str,
    /// How many facts it looked at.
    pub checked: usize,
    /// One sentence for each that breaks it.
    pub broken: Vec<String>,
}

impl Finding {
    /// Whether it holds.
    pub fn is_ok(&self) -> bool {
        self.broken.is_empty()
    }
}

/// What all invariants found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One per invariant, by number.
    pub invariants: Vec<Finding>,
}

impl Report {
    /// Whether all hold.
    pub fn is_ok(&self) -> bool {
        self.invariants.iter().all(Finding::is_ok)
    }

    /// Every broken sentence with its invariant's number in front.
    pub fn broken(&self) -> Vec<String> {
        let sentences = self.invariants.iter().flat_map(|finding| finding.broken.iter().map(move |b| (finding.id, b)));
        sentences.map(|(id, sentence)| format!("{id}: {sentence}")).collect()
    }

    /// With what the same invariants found on other facts of the same moment.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        for (finding, more) in self.invariants.iter_mut().zip(other.invariants) {
            finding.checked += more.checked;
            finding.broken.extend(more.broken);
        }
        self
    }

    /// Only what the named invariants found.
    #[must_use]
    pub fn only(mut self, ids: &[&str]) -> Self {
        self.invariants.retain(|finding| ids.contains(&finding.id));
        self
    }
}

/// The invariants that hold after every transaction; the others hold at rest.
pub const ALWAYS: [&str; 8] = ["I1", "I2", "I3", "I6", "I7", "I9", "I16", "I17"];

/// Judges the facts by every invariant.
pub fn check(facts: &Facts) -> Report {
    let all = [i1, i2, i3, i4, i6, i7, i9, i10, i11, i13, i16, i17];
    Report { invariants: all.iter().map(|invariant| invariant(facts)).collect() }
}

/// Collects the sentences of one invariant over one kind of fact.
fn judge<'a, T: 'a>(id: &'static str, facts: &'a [T], broken: impl Fn(&'a T) -> Vec<String>) -> Finding {
    Finding { id, checked: facts.len(), broken: facts.iter().flat_map(broken).collect() }
}

fn join(id: &'static str, parts: impl IntoIterator<Item = Finding>) -> Finding {
    parts.into_iter().fold(Finding { id, checked: 0, broken: Vec::new() }, |mut whole, part| {
        whole.checked += part.checked;
        whole.broken.extend(part.broken);
        whole
    })
}

/// `sentence` unless the condition holds.
fn must(holds: bool, sentence: impl FnOnce() -> String) -> Option<String> {
    (!holds).then(sentence)
}

fn sentences<const N: usize>(found: [Option<String>; N]) -> Vec<String> {
    found.into_iter().flatten().collect()
}

/// I1: 0 ≤ locked ≤ stock.
pub fn i1(facts: &Facts) -> Finding {
    judge("I1", &facts.stock, |row| {
        let sound = (0..=row.stock).contains(&row.locked);
        sentences([must(sound, || format!("stock row {}: {} locked of {} on hand", row.id, row.locked, row.stock))])
    })
}

/// I2: locked = Σ LOCKED lock rows + Σ undrawn.
pub fn i2(facts: &Facts) -> Finding {
    judge("I2", &facts.stock, |row| {
        let StockFacts { id, locked, locked_rows, undrawn, .. } = row;
        let sound = *locked == locked_rows + undrawn;
        sentences([must(sound, || {
            format!("stock row {id}: {locked} locked, but lock rows hold {locked_rows} and flash sales {undrawn}")
        })])
    })
}

/// I3: stock = Σ ledger; Σ DEDUCTED lock rows = Σ sales in the ledger.
pub fn i3(facts: &Facts) -> Finding {
    judge("I3", &facts.stock, |row| {
        let StockFacts { id, stock, ledger_stock, deducted_rows, ledger_sold, .. } = row;
        sentences([
            must(stock == ledger_stock, || {
                format!("stock row {id}: {stock} on hand, but its ledger sums to {ledger_stock}")
            }),
            must(deducted_rows == ledger_sold, || {
                format!("stock row {id}: {deducted_rows} units deducted, but its ledger sold {ledger_sold}")
            }),
        ])
    })
}

/// I4: locks are where the order's status says, and are as many as the units ordered; no orderless lock past its lease.
pub fn i4(facts: &Facts) -> Finding {
    judge("I4", &facts.orders, |order| match order.status {
        Some(status) => misplaced_locks(order, status),
        None => lapsed_lock(order, facts.now_ms),
    })
}

fn misplaced_locks(order: &OrderFacts, status: OrderStatus) -> Vec<String> {
    let OrderFacts { order_sn, quantity, locked, deducted, released, .. } = order;
    let (in_place, wanted) = match status {
        OrderStatus::AwaitingPayment => (*locked, "LOCKED"),
        OrderStatus::AwaitingShipment | OrderStatus::Shipped | OrderStatus::Completed => (*deducted, "DEDUCTED"),
        OrderStatus::Closed | OrderStatus::Void => (*released, "RELEASED or RETURNED"),
    };
    let units = locked + deducted + released;
    sentences([
        must(in_place == units, || {
            let found = format!("{locked} LOCKED, {deducted} DEDUCTED, {released} RELEASED or RETURNED");
            format!("order {order_sn} is {}, so all its units must be {wanted}, but they are {found}", status.name())
        }),
        must(units == *quantity, || format!("order {order_sn}: {quantity} units ordered, but {units} locked")),
    ])
}

fn lapsed_lock(owner: &OrderFacts, now_ms: i64) -> Vec<String> {
    let OrderFacts { order_sn, locked, deducted, released, lease_until, .. } = owner;
    let Some(lease_until) = lease_until else {
        let units = locked + deducted + released;
        return vec![format!("{order_sn} has {units} units without a lease, as an order has, but is no order")];
    };
    let stands = lease_until.0 > now_ms;
    sentences([must(*locked == 0 || stands, || {
        format!("{order_sn} has no order, but holds {locked} units past its lease {lease_until:?}")
    })])
}

/// I6: a sale never grants more than it has, nobody wins more than the limit, and counters, rows and units agree.
pub fn i6(facts: &Facts) -> Finding {
    let holders = judge("I6", &facts.holders, |holder| {
        let HolderFacts { sale_id, user_id, grants, limit } = holder;
        let sound = grants <= limit;
        sentences([must(sound, || {
            format!("sale {sale_id}: user {user_id} holds {grants} grants, the limit is {limit}")
        })])
    });
    join("I6", [judge("I6", &facts.sales, unsound_sale), holders])
}

fn unsound_sale(sale: &SaleFacts) -> Vec<String> {
    let SaleFacts { id, count, granted, released, grant_rows, released_rows, open_grants, undrawn, drawn, .. } = sale;
    let standing = granted - released;
    let needed = match sale.state {
        SaleState::Draft => 0,
        SaleState::Armed | SaleState::Paused => count - standing + open_grants,
        SaleState::Ended => *open_grants,
    };
    sentences([
        must((0..=*count).contains(&standing), || {
            format!("sale {id}: {granted} granted and {released} released of {count} units")
        }),
        must(granted == grant_rows, || format!("sale {id}: counts {granted} grants, but has {grant_rows} rows")),
        must(released == released_rows, || {
            format!("sale {id}: counts {released} released grants, but has {released_rows} rows")
        }),
        must(standing >= open_grants + drawn, || {
            format!("sale {id}: {standing} grants stand, but {drawn} units are drawn and {open_grants} awaited")
        }),
        must(*undrawn == needed, || format!("sale {id}: keeps {undrawn} units undrawn, but needs {needed}")),
    ])
}

/// I7: one order per token.
pub fn i7(facts: &Facts) -> Finding {
    let broken = facts.doubled_tokens.iter().map(|token| format!("token {token} made more than one order"));
    Finding { id: "I7", checked: facts.orders.len(), broken: broken.collect() }
}

/// I9: money is applied once; all other money is given back once, in full.
pub fn i9(facts: &Facts) -> Finding {
    let orders = judge("I9", &facts.orders, |order| {
        let OrderFacts { order_sn, applied_payments, .. } = order;
        let sound = match order.status {
            Some(status) if order.online && status.is_paid() => *applied_payments == 1,
            Some(OrderStatus::Completed) => *applied_payments == 1,
            Some(OrderStatus::AwaitingPayment) | None => *applied_payments == 0,
            Some(_) if order.online => *applied_payments <= 1,
            Some(_) => *applied_payments == 0,
        };
        let status = order.status.map_or("missing", OrderStatus::name);
        sentences([must(sound, || format!("order {order_sn} is {status} with {applied_payments} payments applied"))])
    });
    let strays = facts.stray_payments.iter().filter(|payment| payment.refunded);
    let strays =
        Finding { id: "I9", checked: facts.stray_payments.len(), broken: strays.filter_map(badly_refunded).collect() };
    join("I9", [orders, strays])
}

fn badly_refunded(payment: &StrayPaymentFacts) -> Option<String> {
    let StrayPaymentFacts { order_sn, amount, refund_rows, refund_amount, .. } = payment;
    must(*refund_rows == 1 && refund_amount == amount, || {
        format!("order {order_sn}: stray payment of {amount} has {refund_rows} refunds of {refund_amount} in all")
    })
}

/// I10: paid orders have earned their points, others none; balances cover the history.
pub fn i10(facts: &Facts) -> Finding {
    let orders = judge("I10", &facts.orders, |order| {
        let OrderFacts { order_sn, points, .. } = order;
        let earned = points::kept(order.pay_amount, order.refunded, facts.points_per_yuan);
        let sound = match order.status {
            // Cash on delivery earns its points when the money is there.
            Some(status) if status.is_paid() && order.applied_payments == 1 => *points == Some(earned),
            Some(status) if status.is_paid() => points.is_none_or(|credited| credited == earned),
            // Taken back by a refund, or never given.
            Some(_) => points.unwrap_or(0) == 0,
            None => true,
        };
        let status = order.status.map_or("missing", OrderStatus::name);
        sentences([must(sound, || format!("order {order_sn} is {status}, earns {earned}, was credited {points:?}"))])
    });
    let members = judge("I10", &facts.members, |member| {
        let MemberFacts { user_id, integration, history } = member;
        let sound = integration >= history;
        sentences([must(sound, || format!("member {user_id} has {integration} points, but a history of {history}"))])
    });
    join("I10", [orders, members])
}

/// I11: nothing waits in the outbox for more than 60 s.
pub fn i11(facts: &Facts) -> Finding {
    judge("I11", &facts.stuck_messages, |(message_id, age_ms)| {
        vec![format!("message {message_id} has been unpublished for {age_ms} ms")]
    })
}

/// Patience of I13 with an order that is due to be closed.
const CLOSE_PATIENCE_MS: i64 = 30_000;

/// I13: no close by timeout before it is due, none long after.
pub fn i13(facts: &Facts) -> Finding {
    let grace = Duration::from_millis(u64::try_from(facts.close_grace_ms).unwrap_or(0));
    judge("I13", &facts.orders, |order| {
        let OrderFacts { order_sn, timed_out_at, .. } = order;
        let Some(due_at) = order.pay_before.map(|pay_before| close_due_at(pay_before, grace)) else {
            return Vec::new();
        };
        let is_open = order.status == Some(OrderStatus::AwaitingPayment);
        let overdue_ms = facts.now_ms.saturating_sub(due_at.0);
        sentences([
            must(timed_out_at.is_none_or(|closed_at| closed_at >= due_at), || {
                format!("order {order_sn} was closed by timeout at {timed_out_at:?}, before {due_at:?}")
            }),
            must(!is_open || overdue_ms <= CLOSE_PATIENCE_MS, || {
                format!("order {order_sn} is still open {overdue_ms} ms after it was due")
            }),
        ])
    })
}
