//! Rows of `oms_order` and `oms_order_item`: writing new ones, reading them back.

use std::time::Duration;

use actors::domain::order::{NewOrder, Order, OrderHistory, OrderItem, OrderStatus};
use actors::domain::payment::PendingRefund;
use actors::domain::{OrderSn, UserId};
use actors::ports::store::{OrderFilter, OrderReads, PaymentRow, Store, StoreError, UnpaidOrder};
use async_trait::async_trait;

use super::PostgresStore;
use super::commit::Transaction;
use super::connection::Select;
use super::rows::{column, count, expect_rows, limit, ms, numbers, order_sn, order_status};
use crate::store::columns::{
    HistoryColumns, HistoryRow, ItemColumns, OrderColumns, PaymentColumns, PendingColumns, UnpaidColumns,
    order_history, pay_before, payment_row, pending_refund, unpaid_order, with_items,
};

/// An order and the token it is made under.
pub(super) type Made<'u> = (&'u NewOrder, Option<&'u str>);

macro_rules! insert {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO oms_order
                 (create_time, modify_time, order_sn, member_id, order_token, sale_id, member_username, total_amount,
                  pay_amount, pay_type, status, pay_before, pay_page_issued_time, delivery_company, receiver_name,
                  receiver_phone, receiver_post_code, receiver_province, receiver_city, receiver_region,
                  receiver_detail_address)
             SELECT $1, $1, new.*
             FROM unnest($2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[],
                         $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[],
                         $16::text[], $17::text[], $18::text[], $19::text[], $20::text[])
                  AS new (order_sn, member_id, order_token)",
            $conflict
        )
    };
}

/// Where nothing can be in the way; asking whether something is makes each insertion a provisional one, which costs more.
const INSERT: &str = insert!("");
const INSERT_UNDER_TOKENS: &str = insert!(
    " ORDER BY new.order_token
      ON CONFLICT (order_token, member_id) WHERE order_token IS NOT NULL DO NOTHING"
);

/// Writes orders; how many. Only a token that another transaction has used keeps one from being written. They are
/// written in the order of their tokens, so that two batches meet on tokens in the same order.
pub(super) async fn insert_orders(tx: &mut Transaction<'_>, orders: &[Made<'_>]) -> Result<usize, StoreError> {
    if orders.is_empty() {
        return Ok(0);
    }
    let at = tx.at;
    let are_winners = orders.iter().all(|(_, token)| token.is_none());
    let insert = sqlx::query(if are_winners { INSERT } else { INSERT_UNDER_TOKENS });
    tx.execute(
        insert
            .bind(at.0)
            .bind(column(orders, |(order, _)| order.order_sn.as_str()))
            .bind(column(orders, |(order, _)| order.user_id.0))
            .bind(column(orders, |(_, token)| *token))
            .bind(column(orders, |(order, _)| order.sale_id.map(|sale_id| sale_id.0)))
            .bind(column(orders, |(order, _)| order.username.as_str()))
            .bind(column(orders, |(order, _)| order.total_amount.0))
            .bind(column(orders, |(order, _)| order.pay_amount.0))
            .bind(column(orders, |(order, _)| order.pay_type.column()))
            .bind(column(orders, |(order, _)| order.first_status().code()))
            .bind(column(orders, |(order, _)| ms(pay_before(order, at))))
            .bind(column(orders, |(order, _)| order.pay_page_issued.then_some(at.0)))
            .bind(column(orders, |(order, _)| order.delivery_company.as_str()))
            .bind(column(orders, |(order, _)| order.receiver.name.as_str()))
            .bind(column(orders, |(order, _)| order.receiver.phone.as_str()))
            .bind(column(orders, |(order, _)| order.receiver.post_code.as_str()))
            .bind(column(orders, |(order, _)| order.receiver.province.as_str()))
            .bind(column(orders, |(order, _)| order.receiver.city.as_str()))
            .bind(column(orders, |(order, _)| order.receiver.region.as_str()))
            .bind(column(orders, |(order, _)| order.receiver.detail_address.as_str())),
    )
    .await
}

/// The items of an order with its number and their places in it.
pub(super) fn lines(order: &NewOrder) -> impl Iterator<Item = (&str, i64, &OrderItem)> {
    (0..).zip(&order.items).map(|(line, item)| (order.order_sn.as_str(), line, item))
}

/// Writes history rows.
pub(super) async fn insert_history(tx: &mut Transaction<'_>, rows: &[HistoryRow<'_>]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO oms_order_operate_history
                     (create_time, order_sn, operate_man, order_status, note, by_timeout)
                 SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])",
            )
            .bind(tx.at.0)
            .bind(column(rows, |row| row.order_sn.as_str()))
            .bind(column(rows, |row| row.operator.as_str()))
            .bind(column(rows, |row| row.status.code()))
            .bind(column(rows, |row| row.note))
            .bind(column(rows, |row| i64::from(row.by_timeout))),
        )
        .await?;
    expect_rows("oms_order_operate_history", rows.len(), inserted)
}

impl PostgresStore {
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
                    "SELECT order_sn, sku_id, spu_id, category_id, sku_name, sku_pic, sku_price, sku_quantity,
                            sku_attrs_vals
                     FROM oms_order_item WHERE order_sn = ANY($1) ORDER BY order_sn, line",
                )
                .bind(column(&orders, |order| order.order_sn.as_str())),
            )
            .await?;
        with_items(orders, items)
    }

    async fn order_where(&self, select: Select<'_, OrderColumns>) -> Result<Option<Order>, StoreError> {
        Ok(self.orders(select).await?.pop())
    }
}

#[async_trait]
impl OrderReads for PostgresStore {
    async fn order(&self, order_sn: &OrderSn) -> Result<Option<Order>, StoreError> {
        self.order_where(sqlx::query_as("SELECT * FROM oms_order WHERE order_sn = $1").bind(order_sn.as_str())).await
    }

    async fn own_orders(&self, asked: &[(UserId, OrderSn)]) -> Result<Vec<Order>, StoreError> {
        self.orders(
            sqlx::query_as(
                "SELECT o.* FROM unnest($1::bigint[], $2::text[]) AS asked (member_id, order_sn)
                 JOIN oms_order AS o ON o.order_sn = asked.order_sn AND o.member_id = asked.member_id",
            )
            .bind(column(asked, |(user_id, _)| user_id.0))
            .bind(column(asked, |(_, order_sn)| order_sn.as_str())),
        )
        .await
    }

    async fn order_by_token(&self, user_id: UserId, token: &str) -> Result<Option<Order>, StoreError> {
        self.order_where(
            sqlx::query_as("SELECT * FROM oms_order WHERE order_token = $1 AND member_id = $2")
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
                     WHERE order_sn = ANY($1) AND status = $2 AND pay_before IS NOT NULL",
                )
                .bind(numbers(order_sns))
                .bind(OrderStatus::AwaitingPayment as i64),
            )
            .await?;
        rows.into_iter().map(unpaid_order).collect()
    }

    async fn orders_of(&self, user_id: UserId, filter: &OrderFilter) -> Result<Vec<Order>, StoreError> {
        let before = filter.before.map_or((i64::MAX, i64::MAX), |before| (before.created_at.0, before.id));
        self.orders(
            sqlx::query_as(
                "SELECT * FROM oms_order
                 WHERE member_id = $1 AND (create_time, id) < ($2, $3) AND ($4::bigint IS NULL OR status = $4)
                 ORDER BY create_time DESC, id DESC LIMIT $5",
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
                sqlx::query_as("SELECT status, count(*) FROM oms_order WHERE member_id = $1 GROUP BY status")
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
                     FROM oms_order_operate_history WHERE order_sn = $1 ORDER BY id",
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
                    "SELECT order_sn FROM oms_order WHERE status = 0 AND pay_before <= $1
                     ORDER BY pay_before, id LIMIT $2",
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
                     FROM oms_payment_info WHERE order_sn = $1 ORDER BY id",
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
                     FROM oms_refund_info WHERE refund_status = 0 ORDER BY create_time, id LIMIT $1",
                )
                .bind(limit(most)),
            )
            .await?;
        rows.into_iter().map(pending_refund).collect()
    }
}
