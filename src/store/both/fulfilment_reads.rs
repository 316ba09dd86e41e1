//! Reading for shipping, receipt, returns and refunds.

use actors::domain::OrderSn;
use actors::domain::order::{Order, OrderStatus};
use actors::domain::payment::Refund;
use actors::domain::returns::ReturnApply;
use actors::ports::store::{FulfilmentReads, OrderSearch, ReturnSearch, Store, StoreError};
use async_trait::async_trait;

use super::DatabaseStore;
use super::rows::{limit, order_sn};
use crate::store::columns::{RefundColumns, ReturnColumns, select_refunds, select_returns};

fn returns(rows: Vec<ReturnColumns>) -> Result<Vec<ReturnApply>, StoreError> {
    rows.into_iter().map(ReturnColumns::into_return).collect()
}

#[async_trait]
impl FulfilmentReads for DatabaseStore {
    async fn search_orders(&self, search: &OrderSearch) -> Result<Vec<Order>, StoreError> {
        // A member's orders come from their index, everybody's along the row ids.
        // The items of each are looked up: IN of a correlated query is never made into a hash of all items.
        let select = match search.user_id {
            Some(_) => {
                "SELECT * FROM oms_order AS o
                 WHERE member_id = $1 AND o.id < $2 AND (CAST($3 AS bigint) IS NULL OR status = $3)
                   AND create_time >= $4 AND create_time < $5
                   AND (CAST($6 AS bigint) IS NULL OR $6 IN (SELECT i.sku_id FROM oms_order_item AS i
                                                        WHERE i.order_sn = o.order_sn))
                 ORDER BY o.id DESC LIMIT $7"
            }
            None => {
                "SELECT * FROM oms_order AS o
                 WHERE CAST($1 AS bigint) IS NULL AND o.id < $2 AND (CAST($3 AS bigint) IS NULL OR status = $3)
                   AND create_time >= $4 AND create_time < $5
                   AND (CAST($6 AS bigint) IS NULL OR $6 IN (SELECT i.sku_id FROM oms_order_item AS i
                                                        WHERE i.order_sn = o.order_sn))
                 ORDER BY o.id DESC LIMIT $7"
            }
        };
        self.orders(
            sqlx::query_as(select)
                .bind(search.user_id.map(|id| id.0))
                .bind(search.before.unwrap_or(i64::MAX))
                .bind(search.status.map(OrderStatus::code))
                .bind(search.created_from.map_or(i64::MIN, |at| at.0))
                .bind(search.created_to.map_or(i64::MAX, |at| at.0))
                .bind(search.sku_id.map(|id| id.0))
                .bind(limit(search.limit)),
        )
        .await
    }

    async fn due_receipts(&self, most: usize) -> Result<Vec<OrderSn>, StoreError> {
        let now = self.now().await?;
        let rows: Vec<(String,)> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT order_sn FROM oms_order
                     WHERE status = 2 AND delivery_time + auto_confirm_day * 86400000 <= $1
                     ORDER BY delivery_time + auto_confirm_day * 86400000, id LIMIT $2",
                )
                .bind(now.0)
                .bind(limit(most)),
            )
            .await?;
        rows.iter().map(|(text,)| order_sn(text)).collect()
    }

    async fn return_apply(&self, return_id: i64) -> Result<Option<ReturnApply>, StoreError> {
        let select = sqlx::query_as(concat!(select_returns!(), " WHERE id = $1")).bind(return_id);
        self.readers.optional(select).await?.map(ReturnColumns::into_return).transpose()
    }

    async fn returns_of(&self, order: &OrderSn) -> Result<Vec<ReturnApply>, StoreError> {
        let select = sqlx::query_as(concat!(select_returns!(), " WHERE order_sn = $1 ORDER BY id"));
        returns(self.readers.all(select.bind(order.as_str())).await?)
    }

    async fn search_returns(&self, search: &ReturnSearch) -> Result<Vec<ReturnApply>, StoreError> {
        let before = search.before.unwrap_or(i64::MAX);
        let rows = match search.state {
            Some(state) => {
                let select = concat!(select_returns!(), " WHERE status = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
                self.readers
                    .all(sqlx::query_as(select).bind(state.code()).bind(before).bind(limit(search.limit)))
                    .await?
            }
            None => {
                let select = concat!(select_returns!(), " WHERE id < $1 ORDER BY id DESC LIMIT $2");
                self.readers.all(sqlx::query_as(select).bind(before).bind(limit(search.limit))).await?
            }
        };
        returns(rows)
    }

    async fn refunds_of(&self, order: &OrderSn) -> Result<Vec<Refund>, StoreError> {
        let select = sqlx::query_as(concat!(select_refunds!(), " WHERE order_sn = $1 ORDER BY id"));
        let rows: Vec<RefundColumns> = self.readers.all(select.bind(order.as_str())).await?;
        rows.into_iter().map(RefundColumns::into_refund).collect()
    }
}
