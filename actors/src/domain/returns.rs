//! Returns: units that the owner sends back after shipment, one request for each SKU.
//!
//! | from | command | to | follow-up in the same transaction |
//! |---|---|---|---|
//! | 0 pending | approve | 1 returning | – |
//! | 0 pending, 1 returning | reject | 3 rejected | the units may be asked for again |
//! | 1 returning | receive | 2 done | refund of the units, points reversed, stock if wished |
//!
//! All else is refused with the current state and the commands it allows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::{OrderSn, SkuId, UserId};
use super::money::Money;
use super::time::Timestamp;

/// `oms_order_return_apply.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i64)]
pub enum ReturnState {
    /// 待处理: waits for staff.
    Pending = 0,
    /// 退货中: approved, the goods are on their way.
    Returning = 1,
    /// 已完成: the goods are here, the money goes back.
    Done = 2,
    /// 已拒绝
    Rejected = 3,
}

impl ReturnState {
    /// All of them, in code order.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Returning, Self::Done, Self::Rejected];

    /// The course's number.
    pub const fn code(self) -> i64 {
        self as i64
    }

    /// From the course's number.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The name REST v1 uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Returning => "returning",
            Self::Done => "done",
            Self::Rejected => "rejected",
        }
    }

    /// What may be done next.
    pub const fn allowed(self) -> &'static [ReturnCommand] {
        match self {
            Self::Pending => &[ReturnCommand::Approve, ReturnCommand::Reject],
            Self::Returning => &[ReturnCommand::Receive, ReturnCommand::Reject],
            Self::Done | Self::Rejected => &[],
        }
    }

    /// Whether its units count against those bought.
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Rejected)
    }

    /// Whether something is still to be done.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Returning)
    }
}

/// What staff do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReturnCommand {
    /// The goods may be sent.
    Approve,
    /// They may not, or what came is not what was sold.
    Reject,
    /// The goods are here.
    Receive,
}

/// Decides one step; `None` for every pair that the table above does not list.
pub const fn apply(state: ReturnState, command: ReturnCommand) -> Option<ReturnState> {
    match (state, command) {
        (ReturnState::Pending, ReturnCommand::Approve) => Some(ReturnState::Returning),
        (ReturnState::Pending | ReturnState::Returning, ReturnCommand::Reject) => Some(ReturnState::Rejected),
        (ReturnState::Returning, ReturnCommand::Receive) => Some(ReturnState::Done),
        _ => None,
    }
}

/// What the order's history says of a step.
pub fn history_note(return_id: i64, to: ReturnState) -> String {
    let step = match to {
        ReturnState::Pending => "requested",
        ReturnState::Returning => "approved",
        ReturnState::Done => "received",
        ReturnState::Rejected => "rejected",
    };
    format!("return {return_id} {step}")
}

/// What returned units are worth: their price, but never more than is left of the payment.
pub fn worth(price: Money, quantity: u32, refundable: Money) -> Money {
    price.checked_times(quantity).unwrap_or(refundable).min(refundable)
}

/// Whether a received order can no longer be returned.
pub fn is_too_late(received_at: Option<Timestamp>, window: Duration, now: Timestamp) -> bool {
    received_at.is_some_and(|received_at| now > received_at.plus(window))
}

/// One row of `oms_order_return_apply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnApply {
    /// Row id; grows with time.
    pub id: i64,
    /// The order.
    pub order_sn: OrderSn,
    /// Its owner.
    pub user_id: UserId,
    /// The SKU.
    pub sku_id: SkuId,
    /// Its title when it was sold.
    pub title: String,
    /// Unit price it was sold at.
    pub price: Money,
    /// Units to be sent back.
    pub quantity: u32,
    /// Price × quantity; the refund is at most this.
    pub amount: Money,
    /// Why, in a few words.
    pub reason: String,
    /// More of it; may be empty.
    pub description: String,
    /// Where it is.
    pub state: ReturnState,
    /// Asked at.
    pub created_at: Timestamp,
    /// Approved or rejected at.
    pub handled_at: Option<Timestamp>,
    /// What staff said then.
    pub handle_note: String,
    /// The goods were here at.
    pub received_at: Option<Timestamp>,
    /// What staff said then.
    pub receive_note: String,
    /// Whether the units went back to stock.
    pub restocked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_is_what_apply_does() {
        let commands = [ReturnCommand::Approve, ReturnCommand::Reject, ReturnCommand::Receive];
        for state in ReturnState::ALL {
            assert_eq!(ReturnState::from_code(state.code()), Some(state));
            for command in commands {
                assert_eq!(
                    apply(state, command).is_some(),
                    state.allowed().contains(&command),
                    "{state:?} {command:?}"
                );
            }
            assert_eq!(state.is_open(), !state.allowed().is_empty());
        }
    }

    #[test]
    fn units_are_worth_at_most_what_is_left() {
        assert_eq!(worth(Money(100), 3, Money(1000)), Money(300));
        assert_eq!(worth(Money(100), 3, Money(250)), Money(250));
        assert_eq!(worth(Money(i64::MAX), 3, Money(250)), Money(250));
    }

    #[test]
    fn the_window_begins_at_the_receipt() {
        let (received, window) = (Timestamp(1000), Duration::from_millis(50));
        assert!(!is_too_late(None, window, Timestamp(i64::MAX / 2)));
        assert!(!is_too_late(Some(received), window, Timestamp(1050)));
        assert!(is_too_late(Some(received), window, Timestamp(1051)));
    }
}
