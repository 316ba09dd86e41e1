//! Gathering the facts that the invariants judge.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::MemoryStore;
use super::flash_sales::is_waiting;
use super::refunds::refunded_of_order;
use super::tables::{Lock, Tables};
use crate::domain::flash_sale::{FlashSale, GrantState};
use crate::domain::invariants::{
    Facts, HolderFacts, MemberFacts, OrderFacts, ReturnFacts, SaleFacts, StockFacts, StrayPaymentFacts,
};
use crate::domain::order::{Order, PayType};
use crate::domain::payment::PaymentState;
use crate::domain::stock::{LedgerKind, LockState, StockRow};
use crate::domain::{Money, OrderSn, SkuId, Timestamp};
use crate::ports::store::{AuditReads, Member, PaymentRow, StoreError};

/// Outbox rows that wait longer than this are stuck (I11).
const STUCK_AFTER_MS: i64 = 60_000;

#[async_trait]
impl AuditReads for MemoryStore {
    async fn facts(&self, exempt_ms: i64) -> Result<Facts, StoreError> {
        let (tables, now) = (self.tables(), self.now_ms());
        Ok(Facts {
            now_ms: now.0,
            close_grace_ms: i64::try_from(self.rules.close_grace.as_millis()).unwrap_or(i64::MAX),
            points_per_yuan: self.rules.points_per_yuan,
            stock: tables.stock.values().map(|row| stock_facts(&tables, row)).collect(),
            orders: orders(&tables, now, exempt_ms),
            sales: tables.sales.values().map(|sale| sale_facts(&tables, sale)).collect(),
            holders: holders(&tables),
            // Tokens are the keys of a map here, so none can have two orders.
            doubled_tokens: Vec::new(),
            stray_payments: stray_payments(&tables),
            returns: returns(&tables),
            members: tables.members.values().filter_map(|member| member_facts(&tables, member)).collect(),
            stuck_messages: stuck_messages(&tables, now),
        })
    }
}

fn units<'a>(locks: impl IntoIterator<Item = &'a Lock>, states: &[LockState]) -> i64 {
    locks.into_iter().filter(|lock| states.contains(&lock.state)).map(Lock::num).sum()
}

fn stock_facts(tables: &Tables, row: &StockRow) -> StockFacts {
    let locks = || tables.locks.values().filter(|lock| lock.line.ware_sku_id == row.id);
    let ledger = || tables.ledger.iter().filter(|entry| entry.ware_sku_id == row.id);
    let allotments = tables.allotments.iter().filter(|((_, id), _)| *id == row.id);
    StockFacts {
        id: row.id,
        stock: row.stock,
        locked: row.locked,
        locked_rows: units(locks(), &[LockState::Locked]),
        undrawn: allotments.map(|(_, allotment)| allotment.undrawn).sum(),
        deducted_rows: units(locks(), &[LockState::Deducted]) - restocked(locks()),
        ledger_stock: ledger().map(|entry| entry.delta).sum(),
        ledger_sold: -ledger().filter(|entry| is_sale(entry.kind)).map(|entry| entry.delta).sum::<i64>(),
    }
}

/// Units of DEDUCTED locks that came back.
fn restocked<'a>(locks: impl IntoIterator<Item = &'a Lock>) -> i64 {
    locks.into_iter().filter(|lock| lock.state == LockState::Deducted).map(|lock| lock.returned).sum()
}

/// Whether a ledger row tells of units sold or of sold units that came back.
fn is_sale(kind: LedgerKind) -> bool {
    matches!(kind, LedgerKind::Sale | LedgerKind::Return)
}

fn orders(tables: &Tables, now: Timestamp, exempt_ms: i64) -> Vec<OrderFacts> {
    let settled = tables.orders.values().filter(|order| now.0 - order.modified_at.0 >= exempt_ms);
    let mut facts: Vec<OrderFacts> = settled.map(|order| order_facts(tables, order)).collect();
    let mut orderless: BTreeMap<&OrderSn, Vec<&Lock>> = BTreeMap::new();
    for ((order_sn, _), lock) in &tables.locks {
        if !tables.orders.contains_key(order_sn) {
            orderless.entry(order_sn).or_default().push(lock);
        }
    }
    let owners = orderless.iter().map(|(order_sn, locks)| owner_facts(order_sn, locks));
    facts.extend(owners.filter(|owner| !just_lapsed(owner.lease_until, now, exempt_ms)));
    facts
}

fn just_lapsed(lease_until: Option<Timestamp>, now: Timestamp, exempt_ms: i64) -> bool {
    lease_until.is_some_and(|lease_until| lease_until <= now && now.0 - lease_until.0 < exempt_ms)
}

fn order_facts(tables: &Tables, order: &Order) -> OrderFacts {
    let order_sn = &order.order_sn;
    let locks = || tables.locks_of_owner(order_sn);
    let applied = |payment: &&PaymentRow| payment.order_sn == *order_sn && payment.state == PaymentState::Applied;
    let credits: Vec<i64> = tables
        .points
        .iter()
        .filter(|entry| entry.order_sn.as_ref() == Some(order_sn))
        .map(|entry| entry.integration)
        .collect();
    OrderFacts {
        order_sn: order_sn.clone(),
        status: Some(order.status),
        modified_at: order.modified_at,
        pay_before: order.pay_before,
        timed_out_at: tables.timed_out_at.get(order_sn).copied(),
        quantity: order.items.iter().map(|item| i64::from(item.quantity)).sum(),
        locked: units(locks(), &[LockState::Locked]),
        deducted: units(locks(), &[LockState::Deducted]),
        released: units(locks(), &[LockState::Released, LockState::Returned]),
        lease_until: None,
        pay_amount: order.pay_amount,
        applied_payments: i64::try_from(tables.payments.iter().filter(applied).count()).unwrap_or(i64::MAX),
        refunded: refunded_of_order(tables, order_sn),
        online: order.pay_type == PayType::Online,
        points: (!credits.is_empty()).then(|| credits.iter().sum()),
    }
}

fn owner_facts(order_sn: &OrderSn, locks: &[&Lock]) -> OrderFacts {
    OrderFacts {
        order_sn: order_sn.clone(),
        status: None,
        modified_at: locks.iter().map(|lock| lock.created_at).max().unwrap_or(Timestamp(0)),
        pay_before: None,
        timed_out_at: None,
        quantity: 0,
        locked: units(locks.iter().copied(), &[LockState::Locked]),
        deducted: units(locks.iter().copied(), &[LockState::Deducted]),
        released: units(locks.iter().copied(), &[LockState::Released, LockState::Returned]),
        lease_until: locks.iter().filter_map(|lock| lock.lease_until).min(),
        pay_amount: Money::ZERO,
        applied_payments: 0,
        refunded: Money::ZERO,
        online: false,
        points: None,
    }
}

fn sale_facts(tables: &Tables, sale: &FlashSale) -> SaleFacts {
    let count = |wanted: &dyn Fn(GrantState) -> bool| {
        let rows = tables.grants.iter().filter(|grant| grant.sale_id == sale.id && wanted(grant.state));
        i64::try_from(rows.count()).unwrap_or(i64::MAX)
    };
    let open = tables.grants.iter().filter(|grant| grant.sale_id == sale.id && is_waiting(tables, grant));
    let locks = tables.locks.values().filter(|lock| lock.sale_id == Some(sale.id));
    SaleFacts {
        id: sale.id,
        state: sale.state,
        count: sale.count,
        granted: sale.granted,
        released: sale.released,
        grant_rows: count(&|_| true),
        released_rows: count(&|state| state != GrantState::Granted),
        open_grants: i64::try_from(open.count()).unwrap_or(i64::MAX),
        undrawn: tables.undrawn_of(sale.id),
        drawn: units(locks, &[LockState::Locked, LockState::Deducted]),
    }
}

fn holders(tables: &Tables) -> Vec<HolderFacts> {
    let mut grants = BTreeMap::new();
    for grant in tables.grants.iter().filter(|grant| grant.state != GrantState::Failed) {
        *grants.entry((grant.sale_id, grant.user_id)).or_insert(0) += 1;
    }
    let limit = |sale_id| tables.sales.get(sale_id).map_or(0, |sale| i64::from(sale.per_user_limit));
    grants
        .iter()
        .map(|((sale_id, user_id), grants)| HolderFacts {
            sale_id: *sale_id,
            user_id: *user_id,
            grants: *grants,
            limit: limit(sale_id),
        })
        .collect()
}

fn stray_payments(tables: &Tables) -> Vec<StrayPaymentFacts> {
    let stray = tables.payments.iter().filter(|payment| payment.state != PaymentState::Applied);
    stray
        .map(|payment| {
            let refunds = || tables.refunds.values().filter(|refund| refund.trade_no == payment.trade_no);
            StrayPaymentFacts {
                order_sn: payment.order_sn.clone(),
                refunded: payment.state != PaymentState::Mismatch,
                amount: payment.amount,
                refund_rows: i64::try_from(refunds().count()).unwrap_or(i64::MAX),
                refund_amount: Money(refunds().map(|refund| refund.amount.0).sum()),
            }
        })
        .collect()
}

fn returns(tables: &Tables) -> Vec<ReturnFacts> {
    let mut lines: BTreeMap<(&OrderSn, SkuId), ReturnFacts> = BTreeMap::new();
    for row in tables.returns.values() {
        let facts = lines.entry((&row.order_sn, row.sku_id)).or_insert_with(|| {
            let order = tables.orders.get(&row.order_sn);
            let of_line = tables.locks_of_owner(&row.order_sn).filter(|lock| lock.line.sku_id == row.sku_id);
            ReturnFacts {
                order_sn: row.order_sn.clone(),
                sku_id: row.sku_id,
                bought: order.and_then(|order| order.item(row.sku_id)).map_or(0, |item| i64::from(item.quantity)),
                asked: 0,
                to_restock: 0,
                restocked: restocked(of_line),
            }
        });
        let units = i64::from(row.quantity);
        facts.asked += if row.state.counts() { units } else { 0 };
        facts.to_restock += if row.restocked { units } else { 0 };
    }
    lines.into_values().collect()
}

fn member_facts(tables: &Tables, member: &Member) -> Option<MemberFacts> {
    let history: Vec<i64> =
        tables.points.iter().filter(|entry| entry.user_id == member.id).map(|entry| entry.integration).collect();
    let facts = MemberFacts { user_id: member.id, integration: member.integration, history: history.iter().sum() };
    (!history.is_empty()).then_some(facts)
}

fn stuck_messages(tables: &Tables, now: Timestamp) -> Vec<(String, i64)> {
    let waiting = tables.outbox.iter().filter(|row| row.published_at.is_none());
    let ages = waiting.map(|row| (row.message.message_id.clone(), now.0 - row.created_at.0));
    ages.filter(|(_, age_ms)| *age_ms > STUCK_AFTER_MS).collect()
}
