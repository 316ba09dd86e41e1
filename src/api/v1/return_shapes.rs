//! v1's objects of what happens after the payment.

use actors::domain::Timestamp;
use actors::domain::payment::{PaymentState, Refund, RefundChannel};
use actors::domain::returns::{ReturnApply, ReturnCommand};
use actors::ports::store::PaymentRow;
use serde::Serialize;

use super::shapes::CURRENCY;

/// Money that came for an order.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PaymentV1 {
    trade_no: String,
    amount: String,
    currency: &'static str,
    /// `applied` pays the order, `refunding` and `refunded` came too late or twice, `mismatch` waits for staff.
    status: &'static str,
    created_at: String,
}

impl From<PaymentRow> for PaymentV1 {
    fn from(row: PaymentRow) -> Self {
        Self {
            trade_no: row.trade_no.to_string(),
            amount: row.amount.to_string(),
            currency: CURRENCY,
            status: match row.state {
                PaymentState::Applied => "applied",
                PaymentState::Refunding => "refunding",
                PaymentState::Refunded => "refunded",
                PaymentState::Mismatch => "mismatch",
            },
            created_at: row.created_at.rfc3339(),
        }
    }
}

/// Money that goes back.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RefundV1 {
    /// Its identity at the gateway, `out_request_no`.
    request_no: String,
    trade_no: String,
    amount: String,
    currency: &'static str,
    /// `gateway`, or `remittance` for money that was paid in cash.
    channel: &'static str,
    /// `pending` until the gateway has confirmed it, then `done`.
    status: &'static str,
    /// The return it pays for.
    return_id: Option<String>,
    created_at: String,
    confirmed_at: Option<String>,
}

impl From<Refund> for RefundV1 {
    fn from(refund: Refund) -> Self {
        Self {
            request_no: refund.request_no,
            trade_no: refund.trade_no.to_string(),
            amount: refund.amount.to_string(),
            currency: CURRENCY,
            channel: match refund.channel {
                RefundChannel::Gateway => "gateway",
                RefundChannel::Remittance => "remittance",
            },
            status: if refund.confirmed_at.is_some() { "done" } else { "pending" },
            return_id: refund.return_id.map(|id| id.to_string()),
            created_at: refund.created_at.rfc3339(),
            confirmed_at: refund.confirmed_at.map(Timestamp::rfc3339),
        }
    }
}

/// A return request.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReturnV1 {
    id: String,
    order_sn: String,
    sku_id: String,
    title: String,
    price: String,
    quantity: u32,
    /// Price × quantity. The refund is at most this, and at most what is left of the payment.
    amount: String,
    currency: &'static str,
    reason: String,
    description: String,
    /// `pending`, `returning`, `done` or `rejected`.
    status: &'static str,
    created_at: String,
    /// When it was approved or rejected.
    handled_at: Option<String>,
    handle_note: String,
    /// When the goods were here.
    received_at: Option<String>,
    receive_note: String,
    /// Whether the goods are for sale again.
    restocked: bool,
    /// What staff may do next.
    #[schema(value_type = Vec<String>)]
    allowed: &'static [ReturnCommand],
}

impl From<ReturnApply> for ReturnV1 {
    fn from(row: ReturnApply) -> Self {
        Self {
            id: row.id.to_string(),
            order_sn: row.order_sn.to_string(),
            sku_id: row.sku_id.to_string(),
            title: row.title,
            price: row.price.to_string(),
            quantity: row.quantity,
            amount: row.amount.to_string(),
            currency: CURRENCY,
            reason: row.reason,
            description: row.description,
            status: row.state.name(),
            created_at: row.created_at.rfc3339(),
            handled_at: row.handled_at.map(Timestamp::rfc3339),
            handle_note: row.handle_note,
            received_at: row.received_at.map(Timestamp::rfc3339),
            receive_note: row.receive_note,
            restocked: row.restocked,
            allowed: row.state.allowed(),
        }
    }
}
