//! Between rows and Rust values, whatever the database: checked values coming out, and the rows of each table.

use actors::domain::order::{OrderStatus, PayType};
use actors::domain::stock::StockRow;
use actors::domain::{Money, OrderSn, SkuId, Timestamp, TradeNo, WareId, WareSkuId};
use actors::ports::store::StoreError;

/// `Ok` when as many rows changed as were meant to (R39).
pub(super) fn expect_rows(what: &str, expected: usize, changed: usize) -> Result<(), StoreError> {
    if expected == changed {
        return Ok(());
    }
    Err(StoreError::Inconsistent(format!("{what}: {changed} rows changed, {expected} expected")))
}

/// A stored value that its type does not know.
pub(super) fn unreadable(column: &str, value: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent(format!("{column} is {value}"))
}

pub(super) fn order_sn(text: &str) -> Result<OrderSn, StoreError> {
    OrderSn::parse(text).ok_or_else(|| unreadable("order_sn", text))
}

pub(super) fn trade_no(text: &str) -> Result<TradeNo, StoreError> {
    TradeNo::parse(text).ok_or_else(|| unreadable("trade_no", text))
}

pub(super) fn order_status(code: i64) -> Result<OrderStatus, StoreError> {
    OrderStatus::from_code(code).ok_or_else(|| unreadable("oms_order.status", code))
}

pub(super) fn pay_type(column: i64) -> Result<PayType, StoreError> {
    PayType::from_column(column).ok_or_else(|| unreadable("oms_order.pay_type", column))
}

/// A count that fits its domain type.
pub(super) fn count<N: TryFrom<i64>>(column: &str, value: i64) -> Result<N, StoreError> {
    N::try_from(value).map_err(|_| unreadable(column, value))
}

/// A domain count as the column's integer; a count that does not fit is the largest one.
pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn time(column: Option<i64>) -> Option<Timestamp> {
    column.map(Timestamp)
}

pub(super) fn money(column: i64) -> Money {
    Money(column)
}

/// A row of `wms_ware_sku`.
pub(super) type StockColumns = (i64, i64, i64, i64, i64, i64);

pub(super) fn stock_row((id, sku_id, ware_id, stock, locked, version): StockColumns) -> StockRow {
    StockRow { id: WareSkuId(id), sku_id: SkuId(sku_id), ware_id: WareId(ware_id), stock, locked, version }
}
