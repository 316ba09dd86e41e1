//! All reads.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use super::flash_sales::{held_by, is_open, is_waiting};
use super::stock::is_lapsed;
use super::tables::{Lock, Outgoing, Tables};
use crate::domain::events::BoundPlus;
use crate::domain::flash_sale::{FlashSale, Grant, GrantState, SaleState};
use crate::domain::order::{Order, OrderHistory, OrderStatus, close_due_at};
use crate::domain::payment::{PaymentState, PendingRefund, Refund};
use crate::domain::returns::ReturnApply;
use crate::domain::stock::{LockState, StockRow};
use crate::domain::{OrderSn, SaleId, SkuId, Timestamp, UserId, WareSkuId, points};
use crate::ports::store::{
    Address, Buyer, CartItem, CatalogReads, FlashSaleReads, FulfilmentReads, KeptRequest, LedgerCursor, LedgerRow,
    LockRow, Member, MemberReads, MessageReads, OrderFilter, OrderReads, OrderSearch, OutboxRow, ParkedMessage,
    PaymentRow, QueuedMessage, RequestReads, ReturnSearch, SaleCounts, SaleFilter, Sku, StockReads, StoreError,
    UnpaidOrder,
};

fn is_older(at: Timestamp, older_ms: i64, now: Timestamp) -> bool {
    now.0 - at.0 >= older_ms
}

fn lock_row(order_sn: &OrderSn, lock: &Lock) -> LockRow {
    LockRow { order_sn: order_sn.clone(), line: lock.line.clone(), state: lock.state }
}

fn locked_rows(tables: &Tables) -> Vec<(&(OrderSn, WareSkuId), &Lock)> {
    let mut rows: Vec<_> = tables.locks.iter().filter(|(_, lock)| lock.state == LockState::Locked).collect();
    rows.sort_by_key(|(_, lock)| lock.created_at);
    rows
}

#[async_trait]
impl StockReads for MemoryStore {
    async fn stock_rows(&self, sku_id: SkuId) -> Result<Vec<StockRow>, StoreError> {
        Ok(self.tables().stock.values().filter(|row| row.sku_id == sku_id).copied().collect())
    }

    async fn locks_of(&self, order_sns: &[OrderSn]) -> Result<Vec<LockRow>, StoreError> {
        let tables = self.tables();
        let owned = tables.locks.iter().filter(|((order_sn, _), _)| order_sns.contains(order_sn));
        Ok(owned.map(|((order_sn, _), lock)| lock_row(order_sn, lock)).collect())
    }

    async fn lapsed_locks(&self, limit: usize) -> Result<Vec<LockRow>, StoreError> {
        let (tables, now) = (self.tables(), self.now_ms());
        let lapsed = locked_rows(&tables)
            .into_iter()
            .filter(|((order_sn, _), lock)| !tables.orders.contains_key(order_sn) && is_lapsed(lock, now));
        Ok(lapsed.take(limit).map(|((order_sn, _), lock)| lock_row(order_sn, lock)).collect())
    }

    async fn ledger(
        &self,
        sku_id: SkuId,
        before: Option<LedgerCursor>,
        limit: usize,
    ) -> Result<Vec<LedgerRow>, StoreError> {
        let tables = self.tables();
        let numbered = tables.ledger.iter().enumerate().rev().filter_map(|(at, entry)| {
            let row = tables.stock.get(&entry.ware_sku_id).filter(|row| row.sku_id == sku_id)?;
            Some(LedgerRow {
                id: LedgerCursor(i64::try_from(at).unwrap_or(i64::MAX)),
                ware_id: row.ware_id,
                kind: entry.kind,
                delta: entry.delta,
                stock_after: entry.stock_after,
                reason: entry.reason.clone(),
                at: entry.at,
            })
        });
        Ok(numbered.filter(|row| before.is_none_or(|before| row.id < before)).take(limit).collect())
    }

    async fn unresolved_locks(&self, older_ms: i64, limit: usize) -> Result<Vec<(LockRow, LockState)>, StoreError> {
        let (tables, now) = (self.tables(), self.now_ms());
        let due = |order: &Order| match order.status {
            _ if !is_older(order.modified_at, older_ms, now) => None,
            status if status.is_paid() => Some(LockState::Deducted),
            status if status.is_over_unsold() => Some(LockState::Released),
            _ => None,
        };
        let unresolved = locked_rows(&tables).into_iter().filter_map(|((order_sn, _), lock)| {
            let state = tables.orders.get(order_sn).and_then(due)?;
            Some((lock_row(order_sn, lock), state))
        });
        Ok(unresolved.take(limit).collect())
    }
}

#[async_trait]
impl OrderReads for MemoryStore {
    async fn order(&self, order_sn: &OrderSn) -> Result<Option<Order>, StoreError> {
        Ok(self.tables().orders.get(order_sn).cloned())
    }

    async fn own_orders(&self, asked: &[(UserId, OrderSn)]) -> Result<Vec<Order>, StoreError> {
        let tables = self.tables();
        let own = |(user_id, order_sn): &(UserId, OrderSn)| {
            tables.orders.get(order_sn).filter(|order| order.user_id == *user_id).cloned()
        };
        Ok(asked.iter().filter_map(own).collect())
    }

    async fn order_by_token(&self, user_id: UserId, token: &str) -> Result<Option<Order>, StoreError> {
        let tables = self.tables();
        let order_sn = tables.tokens.get(&(user_id, token.to_owned()));
        Ok(order_sn.and_then(|order_sn| tables.orders.get(order_sn)).cloned())
    }

    async fn orders_of(&self, user_id: UserId, filter: &OrderFilter) -> Result<Vec<Order>, StoreError> {
        let tables = self.tables();
        let place = |order: &Order| (order.created_at, order.id);
        let wanted = |order: &&Order| {
            order.user_id == user_id
                && filter.status.is_none_or(|status| order.status == status)
                && filter.before.is_none_or(|before| place(order) < (before.created_at, before.id))
        };
        let mut orders: Vec<Order> = tables.orders.values().filter(wanted).cloned().collect();
        orders.sort_by_key(|order| std::cmp::Reverse(place(order)));
        orders.truncate(filter.limit);
        Ok(orders)
    }

    async fn order_counts(&self, user_id: UserId) -> Result<Vec<(OrderStatus, u64)>, StoreError> {
        let tables = self.tables();
        let count = |status| {
            let is_it = |order: &&Order| order.user_id == user_id && order.status == status;
            (status, tables.orders.values().filter(is_it).count() as u64)
        };
        Ok(OrderStatus::ALL.into_iter().map(count).collect())
    }

    async fn order_history(&self, order_sn: &OrderSn) -> Result<Vec<OrderHistory>, StoreError> {
        let tables = self.tables();
        Ok(tables.history.iter().filter(|(owner, _)| owner == order_sn).map(|(_, row)| row.clone()).collect())
    }

    async fn overdue_orders(&self, grace: Duration, limit: usize) -> Result<Vec<OrderSn>, StoreError> {
        let (tables, now) = (self.tables(), self.now_ms());
        let unpaid = tables.orders.values().filter(|order| order.status == OrderStatus::AwaitingPayment);
        let is_over = |pay_before: &Timestamp| close_due_at(*pay_before, grace) <= now;
        let mut overdue: Vec<(Timestamp, i64, OrderSn)> = unpaid
            .filter_map(|order| Some((order.pay_before.filter(is_over)?, order.id, order.order_sn.clone())))
            .collect();
        overdue.sort();
        Ok(overdue.into_iter().take(limit).map(|(_, _, order_sn)| order_sn).collect())
    }

    async fn unpaid_orders(&self, order_sns: &[OrderSn]) -> Result<Vec<UnpaidOrder>, StoreError> {
        let tables = self.tables();
        let asked = order_sns.iter().filter_map(|order_sn| tables.orders.get(order_sn));
        let unpaid = asked.filter(|order| order.status == OrderStatus::AwaitingPayment).filter_map(|order| {
            Some(UnpaidOrder {
                order_sn: order.order_sn.clone(),
                pay_before: order.pay_before?,
                pay_page_issued: order.pay_page_issued_at.is_some(),
            })
        });
        Ok(unpaid.collect())
    }

    async fn payments_of(&self, order_sn: &OrderSn) -> Result<Vec<PaymentRow>, StoreError> {
        Ok(self.tables().payments.iter().filter(|payment| payment.order_sn == *order_sn).cloned().collect())
    }

    async fn pending_refunds(&self, limit: usize) -> Result<Vec<PendingRefund>, StoreError> {
        let tables = self.tables();
        let mut pending: Vec<PendingRefund> = tables.refunds.values().filter_map(Refund::pending).collect();
        pending.sort_by_key(|refund| refund.created_at);
        pending.truncate(limit);
        Ok(pending)
    }
}

#[async_trait]
impl FulfilmentReads for MemoryStore {
    async fn search_orders(&self, search: &OrderSearch) -> Result<Vec<Order>, StoreError> {
        let tables = self.tables();
        let wanted = |order: &&Order| {
            search.status.is_none_or(|status| order.status == status)
                && search.user_id.is_none_or(|user_id| order.user_id == user_id)
                && search.sku_id.is_none_or(|sku_id| order.item(sku_id).is_some())
                && search.created_from.is_none_or(|from| order.created_at >= from)
                && search.created_to.is_none_or(|to| order.created_at < to)
                && search.before.is_none_or(|before| order.id < before)
        };
        let mut orders: Vec<Order> = tables.orders.values().filter(wanted).cloned().collect();
        orders.sort_by_key(|order| std::cmp::Reverse(order.id));
        orders.truncate(search.limit);
        Ok(orders)
    }

    async fn due_receipts(&self, limit: usize) -> Result<Vec<OrderSn>, StoreError> {
        let (tables, now) = (self.tables(), self.now_ms());
        let shipped = tables.orders.values().filter(|order| order.status == OrderStatus::Shipped);
        let due = |order: &Order| order.auto_receive_at().filter(|due_at| *due_at <= now);
        let mut due: Vec<(Timestamp, i64, OrderSn)> =
            shipped.filter_map(|order| Some((due(order)?, order.id, order.order_sn.clone()))).collect();
        due.sort();
        Ok(due.into_iter().take(limit).map(|(_, _, order_sn)| order_sn).collect())
    }

    async fn return_apply(&self, return_id: i64) -> Result<Option<ReturnApply>, StoreError> {
        Ok(self.tables().returns.get(&return_id).cloned())
    }

    async fn returns_of(&self, order_sn: &OrderSn) -> Result<Vec<ReturnApply>, StoreError> {
        Ok(self.tables().returns.values().filter(|row| row.order_sn == *order_sn).cloned().collect())
    }

    async fn search_returns(&self, search: &ReturnSearch) -> Result<Vec<ReturnApply>, StoreError> {
        let tables = self.tables();
        let wanted = |row: &&ReturnApply| {
            search.state.is_none_or(|state| row.state == state) && search.before.is_none_or(|before| row.id < before)
        };
        Ok(tables.returns.values().rev().filter(wanted).take(search.limit).cloned().collect())
    }

    async fn refunds_of(&self, order_sn: &OrderSn) -> Result<Vec<Refund>, StoreError> {
        let tables = self.tables();
        let of_order = tables.refunds.values().filter(|refund| refund.order_sn == *order_sn);
        let mut refunds: Vec<Refund> = of_order.cloned().collect();
        refunds.sort_by_key(|refund| refund.created_at);
        Ok(refunds)
    }
}

fn with_ordered(tables: &Tables, grant: &Grant) -> Grant {
    Grant { ordered: tables.orders.contains_key(&grant.order_sn), ..grant.clone() }
}

#[async_trait]
impl FlashSaleReads for MemoryStore {
    async fn sale(&self, sale_id: SaleId) -> Result<Option<FlashSale>, StoreError> {
        Ok(self.tables().sales.get(&sale_id).cloned())
    }

    async fn sales(&self, limit: usize) -> Result<Vec<FlashSale>, StoreError> {
        Ok(self.tables().sales.values().rev().take(limit).cloned().collect())
    }

    async fn sales_page(&self, filter: &SaleFilter) -> Result<Vec<FlashSale>, StoreError> {
        let tables = self.tables();
        let wanted = |sale: &&FlashSale| {
            filter.before.is_none_or(|before| sale.id < before)
                && (filter.with_drafts || sale.state != SaleState::Draft)
        };
        Ok(tables.sales.values().rev().filter(wanted).take(filter.limit).cloned().collect())
    }

    async fn open_sales(&self) -> Result<Vec<FlashSale>, StoreError> {
        Ok(self.tables().sales.values().filter(|sale| is_open(sale.state)).cloned().collect())
    }

    async fn sale_of_sku(&self, sku_id: SkuId) -> Result<Option<FlashSale>, StoreError> {
        let tables = self.tables();
        let of_sku: Vec<&FlashSale> = tables.sales.values().filter(|sale| sale.sku_id == sku_id).collect();
        let open = of_sku.iter().find(|sale| is_open(sale.state));
        let ended = of_sku.iter().filter(|sale| sale.state == SaleState::Ended);
        let last_ended = ended.max_by_key(|sale| (tables.ended_at.get(&sale.id).copied(), sale.id));
        Ok(open.or(last_ended).map(|sale| (*sale).clone()))
    }

    async fn sale_counts(&self, sale_id: SaleId) -> Result<SaleCounts, StoreError> {
        let tables = self.tables();
        let mut counts = SaleCounts::default();
        for order in tables.orders.values().filter(|order| order.sale_id == Some(sale_id)) {
            counts.ordered += 1;
            counts.paid += i64::from(order.paid_at.is_some());
        }
        Ok(counts)
    }

    async fn holders(&self, sale_id: SaleId) -> Result<Vec<(UserId, u32)>, StoreError> {
        let tables = self.tables();
        let mut holders = BTreeMap::new();
        let counted = |grant: &&Grant| grant.sale_id == sale_id && grant.state != GrantState::Failed;
        for grant in tables.grants.iter().filter(counted) {
            *holders.entry(grant.user_id).or_insert(0) += 1;
        }
        Ok(holders.into_iter().collect())
    }

    async fn grants(&self, order_sns: &[OrderSn]) -> Result<Vec<Grant>, StoreError> {
        let tables = self.tables();
        let wanted = tables.grants.iter().filter(|grant| order_sns.contains(&grant.order_sn));
        Ok(wanted.map(|grant| with_ordered(&tables, grant)).collect())
    }

    async fn grants_of(&self, sale_id: SaleId, user_id: UserId) -> Result<Vec<Grant>, StoreError> {
        let tables = self.tables();
        Ok(held_by(&tables, sale_id, user_id).map(|grant| with_ordered(&tables, grant)).collect())
    }

    async fn first_grant(&self, sale_id: SaleId, user_id: UserId) -> Result<Option<Grant>, StoreError> {
        let tables = self.tables();
        Ok(held_by(&tables, sale_id, user_id).next().map(|grant| with_ordered(&tables, grant)))
    }

    async fn unordered_grants(&self, older_ms: i64, limit: usize) -> Result<Vec<Grant>, StoreError> {
        let (tables, now) = (self.tables(), self.now_ms());
        let waiting = tables
            .grants
            .iter()
            .filter(|grant| is_waiting(&tables, grant) && is_older(grant.created_at, older_ms, now));
        let mut waiting: Vec<Grant> = waiting.cloned().collect();
        waiting.sort_by_key(|grant| grant.created_at);
        waiting.truncate(limit);
        Ok(waiting)
    }
}

#[async_trait]
impl MemberReads for MemoryStore {
    async fn members(&self, user_ids: &[UserId]) -> Result<Vec<Member>, StoreError> {
        let tables = self.tables();
        Ok(user_ids.iter().filter_map(|user_id| tables.members.get(user_id).cloned()).collect())
    }

    async fn buyers(&self, user_ids: &[UserId]) -> Result<Vec<Buyer>, StoreError> {
        let tables = self.tables();
        let receiver = |user_id| {
            let default = tables.addresses.iter().find(|address| address.is_default && address.user_id == user_id);
            default.map(|address| address.receiver.clone())
        };
        let wanted = tables.members.values().filter(|member| user_ids.contains(&member.id));
        let buyer = |member: &Member| Buyer {
            user_id: member.id,
            username: member.username.clone(),
            receiver: receiver(member.id),
        };
        Ok(wanted.map(buyer).collect())
    }

    async fn addresses_of(&self, user_ids: &[UserId]) -> Result<Vec<Address>, StoreError> {
        let tables = self.tables();
        let mut addresses: Vec<Address> =
            tables.addresses.iter().filter(|address| user_ids.contains(&address.user_id)).cloned().collect();
        addresses.sort_by_key(|address| (!address.is_default, address.id));
        Ok(addresses)
    }

    async fn missing_points(&self, older_ms: i64, limit: usize) -> Result<Vec<BoundPlus>, StoreError> {
        let (tables, now) = (self.tables(), self.now_ms());
        let credited = |order_sn: &OrderSn| tables.points.iter().any(|entry| entry.order_sn.as_ref() == Some(order_sn));
        let missing = tables.payments.iter().filter_map(|payment| {
            let order = tables.orders.get(&payment.order_sn).filter(|order| order.status.is_paid())?;
            let is_due = payment.state == PaymentState::Applied && is_older(payment.created_at, older_ms, now);
            let Order { order_sn, user_id, pay_amount, .. } = order;
            (is_due && !credited(order_sn))
                .then(|| points::credit(order_sn, *user_id, *pay_amount, self.rules.points_per_yuan))
        });
        Ok(missing.take(limit).collect())
    }

    async fn cart(&self, user_id: UserId) -> Result<Vec<CartItem>, StoreError> {
        let tables = self.tables();
        let lines = tables.carts.iter().filter(|((owner, _), _)| *owner == user_id);
        Ok(lines.map(|((_, sku_id), quantity)| CartItem { sku_id: *sku_id, quantity: *quantity }).collect())
    }
}

#[async_trait]
impl CatalogReads for MemoryStore {
    async fn skus(&self, sku_ids: &[SkuId]) -> Result<Vec<Sku>, StoreError> {
        let tables = self.tables();
        Ok(tables.skus.values().filter(|sku| sku_ids.contains(&sku.sku_id)).cloned().collect())
    }

    async fn shelf(&self, limit: usize) -> Result<Vec<Sku>, StoreError> {
        Ok(self.tables().skus.values().take(limit).cloned().collect())
    }
}

#[async_trait]
impl MessageReads for MemoryStore {
    async fn unpublished(&self, older_ms: i64, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
        let (tables, now) = (self.tables(), self.now_ms());
        let is_waiting = |row: &&Outgoing| row.published_at.is_none() && is_older(row.created_at, older_ms, now);
        let waiting = tables.outbox.iter().filter(is_waiting);
        let rows = waiting.map(|row| OutboxRow { message: row.message.clone(), created_at: row.created_at });
        Ok(rows.take(limit).collect())
    }

    async fn queued(&self) -> Result<Vec<QueuedMessage>, StoreError> {
        let mut queued: Vec<QueuedMessage> = self.tables().queue.values().cloned().collect();
        queued.sort_by_key(|message| message.due_at);
        Ok(queued)
    }

    async fn parked_before(&self, message_id: Option<&str>, limit: usize) -> Result<Vec<ParkedMessage>, StoreError> {
        let tables = self.tables();
        let until = match message_id {
            None => tables.parked.len(),
            Some(id) => tables.parked.iter().position(|parked| parked.message_id == id).unwrap_or(0),
        };
        Ok(tables.parked[..until].iter().rev().take(limit).cloned().collect())
    }
}

#[async_trait]
impl RequestReads for MemoryStore {
    async fn kept_request(
        &self,
        user_id: UserId,
        operation: &str,
        key: &str,
    ) -> Result<Option<KeptRequest>, StoreError> {
        let place = (user_id, operation.to_owned(), key.to_owned());
        Ok(self.tables().requests.get(&place).map(|(kept, _)| kept.clone()))
    }
}
