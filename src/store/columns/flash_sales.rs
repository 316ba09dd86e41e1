//! Rows of flash sales and grants.

use actors::domain::flash_sale::{ChallengeMode, FlashSale, Grant, GrantState, SaleState};
use actors::domain::{Money, SaleId, SkuId, Timestamp, UserId, WareSkuId};
use actors::ports::store::StoreError;

use crate::store::rows::{count, order_sn, unreadable};

/// A row of `sms_flash_sale`.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct SaleColumns {
    id: i64,
    sku_id: i64,
    price: i64,
    count: i64,
    per_user_limit: i64,
    start_time: i64,
    end_time: i64,
    challenge: i64,
    state: i64,
    epoch: i64,
    granted: i64,
    released: i64,
}

impl SaleColumns {
    pub(in crate::store) fn into_sale(self) -> Result<FlashSale, StoreError> {
        Ok(FlashSale {
            id: SaleId(self.id),
            sku_id: SkuId(self.sku_id),
            price: Money(self.price),
            count: self.count,
            per_user_limit: count("sms_flash_sale.per_user_limit", self.per_user_limit)?,
            starts_at: Timestamp(self.start_time),
            ends_at: Timestamp(self.end_time),
            challenge: challenge(self.challenge)?,
            state: sale_state(self.state)?,
            epoch: self.epoch,
            granted: self.granted,
            released: self.released,
        })
    }
}

fn challenge(code: i64) -> Result<ChallengeMode, StoreError> {
    ChallengeMode::from_code(code).ok_or_else(|| unreadable("sms_flash_sale.challenge", code))
}

pub(in crate::store) fn sale_state(code: i64) -> Result<SaleState, StoreError> {
    SaleState::from_code(code).ok_or_else(|| unreadable("sms_flash_sale.state", code))
}

/// A grant: `order_sn, sale_id, user_id, state, reason, create_time`, and whether its order exists.
pub(in crate::store) type GrantColumns = (String, i64, i64, i64, Option<String>, i64, bool);

pub(in crate::store) fn grant(
    (order, sale_id, user_id, state, reason, created_at, ordered): GrantColumns,
) -> Result<Grant, StoreError> {
    Ok(Grant {
        order_sn: order_sn(&order)?,
        sale_id: SaleId(sale_id),
        user_id: UserId(user_id),
        state: GrantState::from_code(state).ok_or_else(|| unreadable("sms_flash_sale_grant.state", state))?,
        reason,
        ordered,
        created_at: Timestamp(created_at),
    })
}

/// An allotment: `sale_id, ware_sku_id, sku_id, undrawn`.
pub(in crate::store) type AllotmentColumns = (i64, i64, i64, i64);

/// The key of an allotment, its SKU and its undrawn units.
pub(in crate::store) fn allotment(
    (sale_id, ware_sku_id, sku_id, undrawn): AllotmentColumns,
) -> ((SaleId, WareSkuId), (SkuId, i64)) {
    ((SaleId(sale_id), WareSkuId(ware_sku_id)), (SkuId(sku_id), undrawn))
}
