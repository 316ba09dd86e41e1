//! Rust values on their way into a statement: one array per column. What comes out is read by [`crate::store::rows`].

use actors::domain::{OrderSn, SaleId, SkuId, Timestamp, UserId};

pub(super) use crate::store::rows::*;

/// One column of rows about to be written.
pub(super) fn column<'r, T, V>(rows: &'r [T], value: impl Fn(&'r T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

/// The rest of a condition: is one of those bound by [`numbers`], [`sku_ids`], [`sale_ids`] or [`user_ids`].
macro_rules! among {
    ($parameter:literal) => {
        concat!("= ANY(", $parameter, ")")
    };
}
pub(super) use among;

/// Order numbers.
pub(super) fn numbers<'n>(order_sns: impl IntoIterator<Item = &'n OrderSn>) -> Vec<&'n str> {
    order_sns.into_iter().map(OrderSn::as_str).collect()
}

/// SKUs.
pub(super) fn sku_ids<'s>(sku_ids: impl IntoIterator<Item = &'s SkuId>) -> Vec<i64> {
    sku_ids.into_iter().map(|sku_id| sku_id.0).collect()
}

/// Flash sales.
pub(super) fn sale_ids<'s>(sale_ids: impl IntoIterator<Item = &'s SaleId>) -> Vec<i64> {
    sale_ids.into_iter().map(|sale_id| sale_id.0).collect()
}

/// Members.
pub(super) fn user_ids<'u>(user_ids: impl IntoIterator<Item = &'u UserId>) -> Vec<i64> {
    user_ids.into_iter().map(|user_id| user_id.0).collect()
}

/// A time that may be missing.
pub(super) fn ms(time: Option<Timestamp>) -> Option<i64> {
    time.map(|time| time.0)
}
