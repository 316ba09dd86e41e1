//! Rust values on their way into a statement: JSON arrays. What comes out is read by [`crate::store::rows`].

use actors::domain::{OrderSn, SaleId, SkuId, UserId};
use serde::Serialize;

pub(super) use crate::store::rows::*;

/// A JSON array of arrays, one per row, for `jsonb_each(?)`.
pub(super) struct Rows {
    text: Vec<u8>,
    count: usize,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self { text: vec![b'['], count: 0 }
    }

    /// Starts the next row; it ends when the value is dropped.
    pub(super) fn row(&mut self) -> RowWriter<'_> {
        self.text.extend_from_slice(if self.count == 0 { b"[" } else { b",[" });
        self.count += 1;
        RowWriter { text: &mut self.text, columns: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The finished text.
    pub(super) fn json(mut self) -> String {
        self.text.push(b']');
        String::from_utf8(self.text).expect("serde_json writes UTF-8")
    }
}

/// Writes one row.
pub(super) struct RowWriter<'a> {
    text: &'a mut Vec<u8>,
    columns: usize,
}

impl RowWriter<'_> {
    /// Writes the next column.
    pub(super) fn put(&mut self, value: &(impl Serialize + ?Sized)) -> &mut Self {
        if self.columns > 0 {
            self.text.push(b',');
        }
        self.columns += 1;
        serde_json::to_writer(&mut *self.text, value).expect("columns are plain numbers and strings");
        self
    }
}

impl Drop for RowWriter<'_> {
    fn drop(&mut self) {
        self.text.push(b']');
    }
}

/// A JSON array of plain values.
pub(super) fn list<T: Serialize>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<T> = values.into_iter().collect();
    serde_json::to_string(&values).expect("values are plain numbers and strings")
}

/// The rest of a condition: is one of those bound by [`numbers`], [`sku_ids`], [`sale_ids`] or [`user_ids`].
macro_rules! among {
    ($parameter:literal) => {
        concat!("IN (SELECT value FROM jsonb_each(", $parameter, "))")
    };
}
pub(super) use among;

/// Order numbers.
pub(super) fn numbers<'n>(order_sns: impl IntoIterator<Item = &'n OrderSn>) -> String {
    list(order_sns)
}

/// SKUs.
pub(super) fn sku_ids<'s>(sku_ids: impl IntoIterator<Item = &'s SkuId>) -> String {
    list(sku_ids)
}

/// Flash sales.
pub(super) fn sale_ids<'s>(sale_ids: impl IntoIterator<Item = &'s SaleId>) -> String {
    list(sale_ids)
}

/// Members.
pub(super) fn user_ids<'u>(user_ids: impl IntoIterator<Item = &'u UserId>) -> String {
    list(user_ids)
}
