//! Reading flash sales and grants, and the counters that several units change.

use std::collections::BTreeMap;

use actors::domain::flash_sale::{FlashSale, Grant};
use actors::domain::{OrderSn, SaleId, SkuId, UserId};
use actors::ports::store::{FlashSaleReads, SaleCounts, SaleFilter, Store, StoreError};
use async_trait::async_trait;

use super::DatabaseStore;
use super::commit::Transaction;
use super::connection::Select;
use super::rows::{among, count, expect_rows, limit, numbers, sale_ids as ids};
use crate::store::columns::{AllotmentColumns, GrantColumns, SaleColumns, allotment, grant};
use crate::store::decisions::Undrawn;

/// A sale, within a transaction.
pub(super) async fn read_sale(tx: &mut Transaction<'_>, sale_id: SaleId) -> Result<Option<FlashSale>, StoreError> {
    let row: Option<SaleColumns> =
        tx.optional(sqlx::query_as("SELECT * FROM sms_flash_sale WHERE id = $1").bind(sale_id.0)).await?;
    row.map(SaleColumns::into_sale).transpose()
}

/// Counts units that are for sale again.
pub(super) async fn add_released(tx: &mut Transaction<'_>, released: &BTreeMap<SaleId, i64>) -> Result<(), StoreError> {
    for (sale_id, units) in released {
        let changed = tx
            .execute(
                sqlx::query(
                    "UPDATE sms_flash_sale SET released = released + $1
                     WHERE id = $2 AND released + $1 <= granted",
                )
                .bind(units)
                .bind(sale_id.0),
            )
            .await?;
        expect_rows("sms_flash_sale", 1, changed)?;
    }
    Ok(())
}

/// Undrawn units of a sale's allotments, by stock row.
pub(super) async fn read_undrawn(tx: &mut Transaction<'_>, sale_ids: &[SaleId]) -> Result<Undrawn, StoreError> {
    let rows: Vec<AllotmentColumns> = tx
        .all(
            sqlx::query_as(concat!(
                "SELECT a.sale_id, a.ware_sku_id, w.sku_id, a.undrawn
                 FROM sms_flash_sale_allotment AS a JOIN wms_ware_sku AS w ON w.id = a.ware_sku_id
                 WHERE a.sale_id ",
                among!("$1")
            ))
            .bind(ids(sale_ids)),
        )
        .await?;
    Ok(rows.into_iter().map(allotment).collect())
}

impl DatabaseStore {
    async fn sales_where(&self, select: Select<'_, SaleColumns>) -> Result<Vec<FlashSale>, StoreError> {
        self.readers.all(select).await?.into_iter().map(SaleColumns::into_sale).collect()
    }

    async fn grants_where(&self, select: Select<'_, GrantColumns>) -> Result<Vec<Grant>, StoreError> {
        self.readers.all(select).await?.into_iter().map(grant).collect()
    }
}

#[async_trait]
impl FlashSaleReads for DatabaseStore {
    async fn sale(&self, sale_id: SaleId) -> Result<Option<FlashSale>, StoreError> {
        let select = sqlx::query_as("SELECT * FROM sms_flash_sale WHERE id = $1").bind(sale_id.0);
        Ok(self.sales_where(select).await?.pop())
    }

    async fn sales(&self, most: usize) -> Result<Vec<FlashSale>, StoreError> {
        self.sales_where(sqlx::query_as("SELECT * FROM sms_flash_sale ORDER BY id DESC LIMIT $1").bind(limit(most)))
            .await
    }

    async fn sales_page(&self, filter: &SaleFilter) -> Result<Vec<FlashSale>, StoreError> {
        self.sales_where(
            sqlx::query_as(
                "SELECT * FROM sms_flash_sale WHERE id < $1 AND ($2 OR state <> 0) ORDER BY id DESC LIMIT $3",
            )
            .bind(filter.before.map_or(i64::MAX, |before| before.0))
            .bind(filter.with_drafts)
            .bind(limit(filter.limit)),
        )
        .await
    }

    async fn open_sales(&self) -> Result<Vec<FlashSale>, StoreError> {
        self.sales_where(sqlx::query_as("SELECT * FROM sms_flash_sale WHERE state IN (1, 2) ORDER BY id")).await
    }

    async fn sale_of_sku(&self, sku_id: SkuId) -> Result<Option<FlashSale>, StoreError> {
        let open = sqlx::query_as("SELECT * FROM sms_flash_sale WHERE sku_id = $1 AND state IN (1, 2)").bind(sku_id.0);
        if let Some(sale) = self.sales_where(open).await?.pop() {
            return Ok(Some(sale));
        }
        let ended = sqlx::query_as(
            "SELECT * FROM sms_flash_sale WHERE sku_id = $1 AND state = 3 ORDER BY ended_time DESC, id DESC LIMIT 1",
        )
        .bind(sku_id.0);
        Ok(self.sales_where(ended).await?.pop())
    }

    async fn sale_counts(&self, sale_id: SaleId) -> Result<SaleCounts, StoreError> {
        let counts: Option<(i64, i64)> = self
            .readers
            .optional(
                sqlx::query_as(
                    "SELECT count(*), count(o.payment_time)
                     FROM sms_flash_sale_grant AS g JOIN oms_order AS o ON o.order_sn = g.order_sn
                     WHERE g.sale_id = $1",
                )
                .bind(sale_id.0),
            )
            .await?;
        Ok(counts.map_or(SaleCounts::default(), |(ordered, paid)| SaleCounts { ordered, paid }))
    }

    async fn holders(&self, sale_id: SaleId) -> Result<Vec<(UserId, u32)>, StoreError> {
        let rows: Vec<(i64, i64)> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT user_id, count(ordinal) FROM sms_flash_sale_grant
                     WHERE sale_id = $1 GROUP BY user_id HAVING count(ordinal) > 0 ORDER BY user_id",
                )
                .bind(sale_id.0),
            )
            .await?;
        rows.into_iter().map(|(user_id, grants)| Ok((UserId(user_id), count("grants", grants)?))).collect()
    }

    async fn grants(&self, order_sns: &[OrderSn]) -> Result<Vec<Grant>, StoreError> {
        self.grants_where(
            sqlx::query_as(concat!(
                "SELECT g.order_sn, g.sale_id, g.user_id, g.state, g.reason, g.create_time,
                        o.order_sn IS NOT NULL
                 FROM sms_flash_sale_grant AS g LEFT JOIN oms_order AS o ON o.order_sn = g.order_sn
                 WHERE g.order_sn ",
                among!("$1")
            ))
            .bind(numbers(order_sns)),
        )
        .await
    }

    async fn grants_of(&self, sale_id: SaleId, user_id: UserId) -> Result<Vec<Grant>, StoreError> {
        self.grants_where(
            sqlx::query_as(
                "SELECT g.order_sn, g.sale_id, g.user_id, g.state, g.reason, g.create_time,
                        o.order_sn IS NOT NULL
                 FROM sms_flash_sale_grant AS g LEFT JOIN oms_order AS o ON o.order_sn = g.order_sn
                 WHERE g.sale_id = $1 AND g.user_id = $2 AND g.ordinal IS NOT NULL
                 ORDER BY g.create_time, g.ordinal",
            )
            .bind(sale_id.0)
            .bind(user_id.0),
        )
        .await
    }

    async fn first_grant(&self, sale_id: SaleId, user_id: UserId) -> Result<Option<Grant>, StoreError> {
        let select = sqlx::query_as(
            "SELECT g.order_sn, g.sale_id, g.user_id, g.state, g.reason, g.create_time,
                    o.order_sn IS NOT NULL
             FROM sms_flash_sale_grant AS g LEFT JOIN oms_order AS o ON o.order_sn = g.order_sn
             WHERE g.sale_id = $1 AND g.user_id = $2 AND g.ordinal IS NOT NULL
             ORDER BY g.create_time, g.ordinal LIMIT 1",
        )
        .bind(sale_id.0)
        .bind(user_id.0);
        Ok(self.grants_where(select).await?.pop())
    }

    async fn unordered_grants(&self, older_ms: i64, most: usize) -> Result<Vec<Grant>, StoreError> {
        self.grants_where(
            sqlx::query_as(
                "SELECT g.order_sn, g.sale_id, g.user_id, g.state, g.reason, g.create_time, FALSE
                 FROM sms_flash_sale_grant AS g
                 WHERE g.state = 0 AND g.create_time <= $1
                   AND NOT EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = g.order_sn)
                 ORDER BY g.create_time, g.order_sn LIMIT $2",
            )
            .bind(self.now().await?.0.saturating_sub(older_ms))
            .bind(limit(most)),
        )
        .await
    }
}
