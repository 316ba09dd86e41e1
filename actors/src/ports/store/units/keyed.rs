//! Units asked for under an idempotency key: the key is kept in the transaction of what they do.

use super::{OrderClose, OrderReceive, OrderRefund, PayPageIssue, ReturnRequest, UnitOutcome, WriteUnit};
use crate::domain::UserId;
use crate::ports::store::RequestKey;

/// Whose key a unit is asked for under. A unit that is refused keeps nothing and leaves the key free. A key that is kept
/// already makes the unit one that a constraint refuses: whoever asks looks for the key first, and again after an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepRequest {
    /// The user.
    pub user_id: UserId,
    /// The key, and what was asked.
    pub request: RequestKey,
}

/// The key that a unit with this outcome keeps, with the subject that the first answer follows from: the order's number,
/// for a pay page also its time, for a return request its id, and whether it was asked for before. `None` for a unit
/// without a key, or one that did nothing.
pub fn kept_by<'u>(unit: &'u WriteUnit, outcome: &UnitOutcome) -> Option<(&'u KeepRequest, String)> {
    let (asked, subject) = match (unit, outcome) {
        (WriteUnit::CloseOrders(unit), UnitOutcome::CloseOrders(outcome)) => match outcome.as_slice() {
            [OrderClose::Closed] => (&unit.asked, unit.order_sns.first()?.to_string()),
            _ => return None,
        },
        (WriteUnit::ReceiveOrders(unit), UnitOutcome::ReceiveOrders(outcome)) => match outcome.as_slice() {
            [OrderReceive::Received] => (&unit.asked, unit.order_sns.first()?.to_string()),
            _ => return None,
        },
        (WriteUnit::RefundOrder(unit), UnitOutcome::RefundOrder(OrderRefund::Given(_) | OrderRefund::Repeated(_))) => {
            (&unit.asked, unit.order_sn.to_string())
        }
        (WriteUnit::IssuePayPage(unit), UnitOutcome::IssuePayPage(PayPageIssue::Issued { at, .. })) => {
            (&unit.asked, format!("{} {}", unit.order_sn, at.0))
        }
        (WriteUnit::RequestReturn(unit), UnitOutcome::RequestReturn(ReturnRequest::Requested(id))) => {
            (&unit.asked, id.to_string())
        }
        (WriteUnit::RequestReturn(unit), UnitOutcome::RequestReturn(ReturnRequest::Repeated(id))) => {
            (&unit.asked, format!("{id} again"))
        }
        _ => return None,
    };
    Some((asked.as_ref()?, subject))
}
