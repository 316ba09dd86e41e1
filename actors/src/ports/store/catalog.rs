//! Reading the catalogue.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{Money, SkuId};

/// One row of `pms_sku_info` with its sale attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sku {
    /// Id.
    pub sku_id: SkuId,
    /// Its SPU.
    pub spu_id: i64,
    /// Its category.
    pub category_id: i64,
    /// Its brand.
    pub brand_id: i64,
    /// `sku_name`
    pub name: String,
    /// `sku_title`
    pub title: String,
    /// `sku_subtitle`
    pub subtitle: String,
    /// `sku_default_img`
    pub image: String,
    /// Price.
    pub price: Money,
    /// Sale attributes, by `attr_sort`, then id.
    pub attributes: Vec<SaleAttribute>,
}

/// One row of `pms_sku_sale_attr_value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleAttribute {
    /// Row id.
    pub id: i64,
    /// The attribute.
    pub attr_id: i64,
    /// Its name, e.g. 颜色.
    pub name: String,
    /// Its value, e.g. 白色.
    pub value: String,
    /// Place in the list.
    pub sort: i64,
}

/// Reading the catalogue.
#[async_trait]
pub trait CatalogReads {
    /// These SKUs; unknown ones are missing from the answer.
    async fn skus(&self, sku_ids: &[SkuId]) -> Result<Vec<Sku>, StoreError>;
    /// The first SKUs by id.
    async fn shelf(&self, limit: usize) -> Result<Vec<Sku>, StoreError>;
}
