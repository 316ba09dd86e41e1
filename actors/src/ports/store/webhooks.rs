//! Reading endpoints and deliveries of webhooks, and what a batch of units tells them.

use async_trait::async_trait;

use super::StoreError;
use super::units::{
    HandleReturn, OrderClose, OrderReceive, OrderRefund, OrderShip, PaymentTaken, Placement, ReceiveOrders,
    RefundOrder, ReturnHandling, ReturnRequest, UnitOutcome, WriteUnit,
};
use crate::domain::order::OrderStatus;
use crate::domain::payment::{Refund, RefundScope};
use crate::domain::returns::{ReturnCommand, ReturnState};
use crate::domain::webhook::{Delivery, DeliveryState, Endpoint, EventSet, EventType, Happening};
use crate::domain::{OrderSn, Timestamp};
use crate::ports::clock::{Entropy, message_id};
use crate::ports::store::units::FlashOrder;

/// Which deliveries of an endpoint staff look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliverySearch {
    /// Only in this state.
    pub state: Option<DeliveryState>,
    /// Only rows before this id.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// Reading webhooks.
#[async_trait]
pub trait WebhookReads {
    /// All endpoints, newest first. There are few.
    async fn webhooks(&self) -> Result<Vec<Endpoint>, StoreError>;
    /// One endpoint.
    async fn webhook(&self, endpoint_id: i64) -> Result<Option<Endpoint>, StoreError>;
    /// Enabled endpoints with a delivery that is due, by id.
    async fn due_webhooks(&self) -> Result<Vec<i64>, StoreError>;
    /// The deliveries of an endpoint, newest first.
    async fn deliveries(&self, endpoint_id: i64, search: &DeliverySearch) -> Result<Vec<Delivery>, StoreError>;
    /// One delivery of an endpoint.
    async fn delivery(&self, endpoint_id: i64, delivery_id: i64) -> Result<Option<Delivery>, StoreError>;
}

/// A message that a batch tells, before it is known to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `webhook-id`
    pub message_id: String,
    /// What it tells.
    pub kind: EventType,
    /// What is sent.
    pub body: String,
}

/// Whether a unit may tell anything: batches without one never look for endpoints.
pub const fn may_tell(unit: &WriteUnit) -> bool {
    matches!(
        unit,
        WriteUnit::PlaceOrder(_)
            | WriteUnit::MakeFlashOrders(_)
            | WriteUnit::TakePayment(_)
            | WriteUnit::CloseOrders(_)
            | WriteUnit::ShipOrder(_)
            | WriteUnit::ReceiveOrders(_)
            | WriteUnit::RefundOrder(_)
            | WriteUnit::SettleRefund(_)
            | WriteUnit::RequestReturn(_)
            | WriteUnit::HandleReturn(_)
    )
}

/// Whether a unit may change what endpoints want.
pub const fn changes_endpoints(unit: &WriteUnit) -> bool {
    matches!(
        unit,
        WriteUnit::CreateWebhook(_)
            | WriteUnit::EditWebhook(_)
            | WriteUnit::DeleteWebhook(_)
            | WriteUnit::SettleDelivery(_)
    )
}

/// The messages of a committed batch, of the types that somebody wants: what its outcomes say happened, in the order of
/// its units.
pub fn told(
    (units, outcomes): (&[WriteUnit], &[UnitOutcome]),
    wanted: EventSet,
    at: Timestamp,
    entropy: &dyn Entropy,
) -> Vec<Told> {
    let happenings = units.iter().zip(outcomes).flat_map(|(unit, outcome)| happened(unit, outcome));
    let wanted = happenings.filter(|happening| wanted.contains(happening.kind));
    let told = |happening: Happening| Told {
        message_id: format!("msg_{}", message_id(at, entropy)),
        kind: happening.kind,
        body: happening.body(at),
    };
    wanted.map(told).collect()
}

/// What a unit's outcome says happened.
pub fn happened(unit: &WriteUnit, outcome: &UnitOutcome) -> Vec<Happening> {
    use EventType::{OrderClosed, OrderCompleted, OrderPaid, OrderPlaced, OrderShipped, ReturnRequested};

    let one = |kind, order_sn: &OrderSn, status| vec![Happening::order(kind, order_sn, status)];
    match (unit, outcome) {
        (WriteUnit::PlaceOrder(unit), UnitOutcome::PlaceOrder(Placement::Placed { .. })) => {
            one(OrderPlaced, &unit.order.order_sn, unit.order.first_status())
        }
        (WriteUnit::MakeFlashOrders(unit), UnitOutcome::MakeFlashOrders(made)) => {
            let made = unit.orders.iter().zip(made).filter(|(_, made)| **made == FlashOrder::Made);
            made.map(|(order, _)| Happening::order(OrderPlaced, &order.order_sn, order.first_status())).collect()
        }
        (WriteUnit::TakePayment(unit), UnitOutcome::TakePayment(PaymentTaken::Applied)) => {
            one(OrderPaid, &unit.receipt.order_sn, OrderStatus::AwaitingShipment)
        }
        (WriteUnit::CloseOrders(unit), UnitOutcome::CloseOrders(closed)) => {
            let closed = unit.order_sns.iter().zip(closed).filter(|(_, closed)| **closed == OrderClose::Closed);
            closed.map(|(order_sn, _)| Happening::order(OrderClosed, order_sn, OrderStatus::Closed)).collect()
        }
        (WriteUnit::ShipOrder(unit), UnitOutcome::ShipOrder(OrderShip::Shipped)) => {
            one(OrderShipped, &unit.order_sn, OrderStatus::Shipped)
        }
        (WriteUnit::ReceiveOrders(unit), UnitOutcome::ReceiveOrders(received)) => received_of(unit, received)
            .map(|order_sn| Happening::order(OrderCompleted, order_sn, OrderStatus::Completed))
            .collect(),
        (WriteUnit::RefundOrder(unit), UnitOutcome::RefundOrder(OrderRefund::Given(refund))) => {
            refunded(unit, refund.as_ref())
        }
        (WriteUnit::SettleRefund(_), UnitOutcome::SettleRefund(Some(settled))) => {
            one(EventType::OrderRefunded, &settled.order_sn, settled.status)
        }
        (WriteUnit::RequestReturn(unit), UnitOutcome::RequestReturn(ReturnRequest::Requested(id))) => {
            vec![Happening::of_return(ReturnRequested, &unit.order_sn, *id, ReturnState::Pending)]
        }
        (WriteUnit::HandleReturn(unit), UnitOutcome::HandleReturn(ReturnHandling::Handled { order_sn, refund })) => {
            handled(unit, order_sn, refund.as_ref())
        }
        _ => Vec::new(),
    }
}

fn received_of<'u>(unit: &'u ReceiveOrders, received: &'u [OrderReceive]) -> impl Iterator<Item = &'u OrderSn> {
    let done = unit.order_sns.iter().zip(received).filter(|(_, received)| **received == OrderReceive::Received);
    done.map(|(order_sn, _)| order_sn)
}

fn refunded(unit: &RefundOrder, refund: Option<&Refund>) -> Vec<Happening> {
    let closed = Happening::order(EventType::OrderClosed, &unit.order_sn, OrderStatus::Closed);
    let closed = (unit.scope == RefundScope::Whole).then_some(closed);
    closed.into_iter().chain(refund.and_then(given_by_hand)).collect()
}

/// The gateway's refunds are told when it confirms them. Cash goes back by hand and at once; it was taken at the
/// receipt, and a completed order stays completed.
fn given_by_hand(refund: &Refund) -> Option<Happening> {
    refund.confirmed_at?;
    Some(Happening::order(EventType::OrderRefunded, &refund.order_sn, OrderStatus::Completed))
}

fn handled(unit: &HandleReturn, order_sn: &OrderSn, refund: Option<&Refund>) -> Vec<Happening> {
    let state = match unit.command {
        ReturnCommand::Approve => return Vec::new(),
        ReturnCommand::Reject => ReturnState::Rejected,
        ReturnCommand::Receive => ReturnState::Done,
    };
    let settled = Happening::of_return(EventType::ReturnSettled, order_sn, unit.return_id, state);
    std::iter::once(settled).chain(refund.and_then(given_by_hand)).collect()
}
