//! Rows of refunds and return requests.

use actors::domain::payment::{Refund, RefundChannel};
use actors::domain::returns::{ReturnApply, ReturnState};
use actors::domain::{Money, SkuId, Timestamp, UserId};
use actors::ports::store::StoreError;

use crate::store::rows::{count, order_sn, time, trade_no, unreadable};

/// The head of every query for [`RefundColumns`].
macro_rules! select_refunds {
    () => {
        "SELECT refund_sn, order_sn, trade_no, refund, refund_channel, order_return_id, create_time, confirm_time
         FROM oms_refund_info"
    };
}
pub(in crate::store) use select_refunds;

/// The head of every query for [`ReturnColumns`].
macro_rules! select_returns {
    () => {
        "SELECT id, order_sn, member_id, sku_id, sku_name, sku_price, sku_count, return_amount, reason, description,
                status, create_time, handle_time, handle_note, receive_time, receive_note, restocked
         FROM oms_order_return_apply"
    };
}
pub(in crate::store) use select_returns;

#[derive(sqlx::FromRow)]
pub(in crate::store) struct RefundColumns {
    refund_sn: String,
    order_sn: String,
    trade_no: String,
    refund: i64,
    refund_channel: i64,
    order_return_id: Option<i64>,
    create_time: i64,
    confirm_time: Option<i64>,
}

impl RefundColumns {
    pub(in crate::store) fn into_refund(self) -> Result<Refund, StoreError> {
        let channel = RefundChannel::from_code(self.refund_channel);
        Ok(Refund {
            request_no: self.refund_sn,
            order_sn: order_sn(&self.order_sn)?,
            trade_no: trade_no(&self.trade_no)?,
            amount: Money(self.refund),
            channel: channel.ok_or_else(|| unreadable("refund_channel", self.refund_channel))?,
            return_id: self.order_return_id,
            created_at: Timestamp(self.create_time),
            confirmed_at: time(self.confirm_time),
        })
    }
}

#[derive(sqlx::FromRow)]
pub(in crate::store) struct ReturnColumns {
    id: i64,
    order_sn: String,
    member_id: i64,
    sku_id: i64,
    sku_name: String,
    sku_price: i64,
    sku_count: i64,
    return_amount: i64,
    reason: String,
    description: String,
    status: i64,
    create_time: i64,
    handle_time: Option<i64>,
    handle_note: String,
    receive_time: Option<i64>,
    receive_note: String,
    restocked: i64,
}

impl ReturnColumns {
    pub(in crate::store) fn into_return(self) -> Result<ReturnApply, StoreError> {
        let state = ReturnState::from_code(self.status);
        Ok(ReturnApply {
            id: self.id,
            order_sn: order_sn(&self.order_sn)?,
            user_id: UserId(self.member_id),
            sku_id: SkuId(self.sku_id),
            title: self.sku_name,
            price: Money(self.sku_price),
            quantity: count("oms_order_return_apply.sku_count", self.sku_count)?,
            amount: Money(self.return_amount),
            reason: self.reason,
            description: self.description,
            state: state.ok_or_else(|| unreadable("oms_order_return_apply.status", self.status))?,
            created_at: Timestamp(self.create_time),
            handled_at: time(self.handle_time),
            handle_note: self.handle_note,
            received_at: time(self.receive_time),
            receive_note: self.receive_note,
            restocked: self.restocked != 0,
        })
    }
}
