//! Rows of the catalogue.

use std::collections::HashMap;

use actors::domain::{Money, SkuId};
use actors::ports::store::{SaleAttribute, Sku};

#[derive(sqlx::FromRow)]
pub(in crate::store) struct SkuColumns {
    sku_id: i64,
    spu_id: i64,
    catalog_id: i64,
    brand_id: i64,
    sku_name: String,
    sku_title: String,
    sku_subtitle: String,
    sku_default_img: String,
    price: i64,
}

impl SkuColumns {
    fn into_sku(self, attributes: Vec<SaleAttribute>) -> Sku {
        Sku {
            sku_id: SkuId(self.sku_id),
            spu_id: self.spu_id,
            category_id: self.catalog_id,
            brand_id: self.brand_id,
            name: self.sku_name,
            title: self.sku_title,
            subtitle: self.sku_subtitle,
            image: self.sku_default_img,
            price: Money(self.price),
            attributes,
        }
    }
}

/// A sale attribute: `sku_id, id, attr_id, attr_name, attr_value, attr_sort`.
pub(in crate::store) type AttributeColumns = (i64, i64, i64, String, String, i64);

/// SKUs with their attributes, both in the order given.
pub(in crate::store) fn with_attributes(skus: Vec<SkuColumns>, attributes: Vec<AttributeColumns>) -> Vec<Sku> {
    let mut by_sku: HashMap<i64, Vec<SaleAttribute>> = HashMap::new();
    for (sku_id, id, attr_id, name, value, sort) in attributes {
        by_sku.entry(sku_id).or_default().push(SaleAttribute { id, attr_id, name, value, sort });
    }
    let with_attributes = |sku: SkuColumns| {
        let attributes = by_sku.remove(&sku.sku_id).unwrap_or_default();
        sku.into_sku(attributes)
    };
    skus.into_iter().map(with_attributes).collect()
}
