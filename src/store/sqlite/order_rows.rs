//! Rows of `oms_order` and `oms_order_item`: writing new ones, reading them back.

use std::time::Duration;

use actors::domain::order::{NewOrder, Order, OrderHistory, OrderItem, OrderStatus};
use actors::domain::payment::PendingRefund;
use actors::domain::{OrderSn, UserId};
use actors::ports::store::{OrderFilter, OrderReads, PaymentRow, Store, StoreError, UnpaidOrder};
use async_trait::async_trait;

use super::SqliteStore;
use super::commit::Transaction;
use super::connection::Select;
use super::rows::{Rows, count, expect_rows, limit, list, order_sn, order_status};
use super::script::Insert;
use crate::store::columns::{
    HistoryColumns, HistoryRow, ItemColumns, OrderColumns, PaymentColumns, PendingColumns, UnpaidColumns,
    order_history, pay_before, payment_row, pending_refund, unpaid_order, with_items,
};

const ORDER: Insert = Insert {
    table: "oms_order",
    statement: "INSERT INTO oms_order
                    (order_sn, member_id, order_token, sale_id, member_username, total_amount, pay_amount, pay_type,
                     status, pay_before, pay_page_issued_time, delivery_company, receiver_name, receiver_phone,
                     receiver_post_code, receiver_province, receiver_city, receiver_region, receiver_detail_address,
                     create_time, modify_time)
                SELECT * FROM (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?))
                WHERE column1 IS NOT NULL",
};

const ITEM: Insert = Insert {
    table: "oms_order_item",
    statement: "INSERT INTO oms_order_item
                    (order_sn, line, sku_id, spu_id, category_id, sku_name, sku_pic, sku_price, sku_quantity,
                     sku_attrs_vals)
                SELECT * FROM (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)) WHERE column1 IS NOT NULL",
};

/// Writes orders, each with the token it is made under, and their items.
pub(super) fn insert(tx: &mut Transaction<'_>, orders: &[(&NewOrder, Option<&str>)]) {
    let at = tx.at;
    tx.script.insert(&ORDER, orders, |row, (order, token)| {
        row.put(order.order_sn.as_str())
            .put(order.user_id.0)
            .put(*token)
            .put(order.sale_id.map(|sale_id| sale_id.0))
            .put(&order.username)
            .put(order.total_amount.0)
            .put(order.pay_amount.0)
            .put(order.pay_type.column())
            .put(order.first_status().code())
            .put(pay_before(order, at).map(|time| time.0))
            .put(order.pay_page_issued.then_some(at.0))
            .put(&order.delivery_company);
        let receiver = &order.receiver;
        row.put(&receiver.name)
            .put(&receiver.phone)
            .put(&receiver.post_code)
            .put(&receiver.province)
            .put(&receiver.city)
            .put(&receiver.region)
            .put(&receiver.detail_address)
            .put(at.0)
            .put(at.0);
    });
    let orders = orders.iter().map(|(order, _)| *order);
    let items: Vec<(&OrderSn, i64, &OrderItem)> =
        orders.flat_map(|order| (0..).zip(&order.items).map(|(line, item)| (&order.order_sn, line, item))).collect();
    tx.script.insert(&ITEM, &items, |row, (order_sn, line, item)| {
        row.put(order_sn.as_str())
            .put(*line)
            .put(item.sku_id.0)
            .put(item.spu_id)
            .put(item.category_id)
            .put(&item.title)
            .put(&item.image)
            .put(item.price.0)
            .put(i64::from(item.quantity))
            .put(&item.attributes);
    });
}

/// Writes history rows.
pub(super) async fn insert_history(tx: &mut Transaction<'_>, rows: &[HistoryRow<'_>]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut json = Rows::new();
    for row in rows {
        json.row()
            .put(row.order_sn)
            .put(row.operator.as_str())
            .put(&row.status.code())
            .put(row.note)
            .put(&i64::from(row.by_timeout));
    }
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO oms_order_operate_history 
                     (order_sn, operate_man, order_status, note, by_timeout, create_time)
                 SELECT value->>0, value->>1, value->>2, value->>3, value->>4, ?1 FROM jsonb_each(?2)",
            )
            .bind(tx.at.0)
            .bind(json.json()),
        )
        .await?;
    expect_rows("oms_order_operate_history", rows.len(), inserted)
}

impl SqliteStore {
    /// Orders with their items. Items never change, so reading them after their orders is as good as one snapshot.
    pub(super) async fn orders(&self, select: Select<'_, OrderColumns>) -> Result<Vec<Order>, StoreError> {
        let orders = self.readers.all(select).await?;
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let items: Vec<ItemColumns> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT i.order_sn, sku_id, spu_id, category_id, sku_name, sku_pic, sku_price, sku_quantity,
                            sku_attrs_vals
                     FROM jsonb_each(?) AS asked CROSS JOIN oms_order_item AS i ON i.order_sn = asked.value
                     ORDER BY i.order_sn, line",
                )
                .bind(list(orders.iter().map(|order| &order.order_sn))),
            )
            .await?;
        with_items(orders, items)
    }

    async fn order_where(&self, select: Select<'_, OrderColumns>) -> Result<Option<Order>, StoreError> {
        Ok(self.orders(select).await?.pop())
    }
}

#[async_trait]
impl OrderReads for SqliteStore {
    async fn order(&self, order_sn: &OrderSn) -> Result<Option<Order>, StoreError> {
        self.order_where(sqlx::query_as("SELECT * FROM oms_order WHERE order_sn = ?").bind(order_sn.as_str())).await
    }

    async fn own_orders(&self, asked: &[(UserId, OrderSn)]) -> Result<Vec<Order>, StoreError> {
        self.orders(
            sqlx::query_as(
                "SELECT o.* FROM jsonb_each(?) AS asked CROSS JOIN oms_order AS o
                     ON o.member_id = asked.value->>0 AND o.order_sn = asked.value->>1",
            )
            .bind(list(asked)),
        )
        .await
    }

    async fn order_by_token(&self, user_id: UserId, token: &str) -> Result<Option<Order>, StoreError> {
        self.order_where(
            sqlx::query_as("SELECT * FROM oms_order WHERE order_token = ? AND member_id = ?")
                .bind(token)
                .bind(user_id.0),
        )
        .await
    }

    async fn unpaid_orders(&self, order_sns: &[OrderSn]) -> Result<Vec<UnpaidOrder>, StoreError> {
        let rows: Vec<UnpaidColumns> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT order_sn, pay_before, pay_page_issued_time IS NOT NULL FROM oms_order
                     WHERE order_sn IN (SELECT value FROM jsonb_each(?)) AND status = 0 AND pay_before IS NOT NULL",
                )
                .bind(list(order_sns)),
            )
            .await?;
        rows.into_iter().map(unpaid_order).collect()
    }

    async fn orders_of(&self, user_id: UserId, filter: &OrderFilter) -> Result<Vec<Order>, StoreError> {
        let before = filter.before.map_or((i64::MAX, i64::MAX), |before| (before.created_at.0, before.id));
        self.orders(
            sqlx::query_as(
                "SELECT * FROM oms_order
                 WHERE member_id = ?1 AND (create_time, id) < (?2, ?3) AND (?4 IS NULL OR status = ?4)
                 ORDER BY create_time DESC, id DESC LIMIT ?5",
            )
            .bind(user_id.0)
            .bind(before.0)
            .bind(before.1)
            .bind(filter.status.map(OrderStatus::code))
            .bind(limit(filter.limit)),
        )
        .await
    }

    async fn order_counts(&self, user_id: UserId) -> Result<Vec<(OrderStatus, u64)>, StoreError> {
        let rows: Vec<(i64, i64)> = self
            .readers
            .all(
                sqlx::query_as("SELECT status, count(*) FROM oms_order WHERE member_id = ? GROUP BY status")
                    .bind(user_id.0),
            )
            .await?;
        rows.into_iter().map(|(status, orders)| Ok((order_status(status)?, count("count(*)", orders)?))).collect()
    }

    async fn order_history(&self, order_sn: &OrderSn) -> Result<Vec<OrderHistory>, StoreError> {
        let rows: Vec<HistoryColumns> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT operate_man, create_time, order_status, note
                     FROM oms_order_operate_history WHERE order_sn = ? ORDER BY id",
                )
                .bind(order_sn.as_str()),
            )
            .await?;
        rows.into_iter().map(order_history).collect()
    }

    async fn overdue_orders(&self, grace: Duration, most: usize) -> Result<Vec<OrderSn>, StoreError> {
        let due = self.now().await?.minus(grace);
        let rows: Vec<(String,)> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT order_sn FROM oms_order WHERE status = 0 AND pay_before <= ?
                     ORDER BY pay_before, id LIMIT ?",
                )
                .bind(due.0)
                .bind(limit(most)),
            )
            .await?;
        rows.iter().map(|(text,)| order_sn(text)).collect()
    }

    async fn payments_of(&self, order: &OrderSn) -> Result<Vec<PaymentRow>, StoreError> {
        let rows: Vec<PaymentColumns> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT alipay_trade_no, total_amount, payment_status, create_time
                     FROM oms_payment_info WHERE order_sn = ? ORDER BY id",
                )
                .bind(order.as_str()),
            )
            .await?;
        rows.into_iter().map(|row| payment_row(order, row)).collect()
    }

    async fn pending_refunds(&self, most: usize) -> Result<Vec<PendingRefund>, StoreError> {
        let rows: Vec<PendingColumns> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT refund_sn, order_sn, trade_no, refund, create_time
                     FROM oms_refund_info WHERE refund_status = 0 ORDER BY create_time, id LIMIT ?",
                )
                .bind(limit(most)),
            )
            .await?;
        rows.into_iter().map(pending_refund).collect()
    }
}
