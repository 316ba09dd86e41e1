//! Reading the catalogue.

use actors::domain::SkuId;
use actors::ports::store::{CatalogReads, Sku, StoreError};
use async_trait::async_trait;

use super::DatabaseStore;
use super::rows::{among, limit as row_limit, sku_ids as ids};
use crate::store::columns::{AttributeColumns, SkuColumns, with_attributes};

#[async_trait]
impl CatalogReads for DatabaseStore {
    async fn skus(&self, sku_ids: &[SkuId]) -> Result<Vec<Sku>, StoreError> {
        let skus: Vec<SkuColumns> = self
            .readers
            .all(
                sqlx::query_as(concat!("SELECT * FROM pms_sku_info WHERE sku_id ", among!("$1"), " ORDER BY sku_id"))
                    .bind(ids(sku_ids)),
            )
            .await?;
        let attributes: Vec<AttributeColumns> = self
            .readers
            .all(
                sqlx::query_as(concat!(
                    "SELECT sku_id, id, attr_id, attr_name, attr_value, attr_sort FROM pms_sku_sale_attr_value
                     WHERE sku_id ",
                    among!("$1"),
                    " ORDER BY attr_sort, id"
                ))
                .bind(ids(sku_ids)),
            )
            .await?;
        Ok(with_attributes(skus, attributes))
    }

    async fn shelf(&self, limit: usize) -> Result<Vec<Sku>, StoreError> {
        let first = "SELECT sku_id FROM pms_sku_info ORDER BY sku_id LIMIT $1";
        let ids: Vec<(i64,)> = self.readers.all(sqlx::query_as(first).bind(row_limit(limit))).await?;
        let sku_ids: Vec<SkuId> = ids.into_iter().map(|(id,)| SkuId(id)).collect();
        self.skus(&sku_ids).await
    }
}
