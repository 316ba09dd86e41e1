//! The order: its values, its state machine, and which messages each change sends.
//!
//! | from | command | to | follow-up in the same transaction |
//! |---|---|---|---|
//! | 0 awaiting payment | pay | 1 awaiting shipment | locks become DEDUCTED, points |
//! | 0 awaiting payment | close | 4 closed | locks become RELEASED |
//! | 1 awaiting shipment | ship | 2 shipped | – |
//! | 1 awaiting shipment | refund | 4 closed | locks become RETURNED, points reversed |
//! | 2 shipped | receive | 3 completed | cash on delivery: its payment, points |
//! | 1, 2, 3 | partial refund | the same | a refund, points reversed in proportion |
//! | 2, 3 | return | the same | a return request ([`super::returns`]) |
//!
//! All else is refused with the current status and the commands it allows (DESIGN rule 7). The store applies a
//! decided change by compare-and-set on `from`, so two deciders cannot both win.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::events::{CartDelete, Event, OrderRef};
use super::ids::{OrderSn, SaleId, SkuId, UserId, WareSkuId};
use super::money::Money;
use super::time::Timestamp;

/// `oms_order.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(i64)]
pub enum OrderStatus {
    /// 待付款
    AwaitingPayment = 0,
    /// 待发货
    AwaitingShipment = 1,
    /// 已发货
    Shipped = 2,
    /// 已完成
    Completed = 3,
    /// 已关闭
    Closed = 4,
    /// 无效
    Void = 5,
}

impl OrderStatus {
    /// All of them, in code order.
    pub const ALL: [Self; 6] =
        [Self::AwaitingPayment, Self::AwaitingShipment, Self::Shipped, Self::Completed, Self::Closed, Self::Void];

    /// The course's number.
    pub const fn code(self) -> i64 {
        self as i64
    }

    /// From the course's number; `None` when there is no such status.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// The name REST v1 uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwaitingPayment => "awaiting_payment",
            Self::AwaitingShipment => "awaiting_shipment",
            Self::Shipped => "shipped",
            Self::Completed => "completed",
            Self::Closed => "closed",
            Self::Void => "void",
        }
    }

    /// What may be done next.
    pub const fn allowed(self) -> &'static [OrderCommand] {
        match self {
            Self::AwaitingPayment => &[OrderCommand::Pay, OrderCommand::Close],
            Self::AwaitingShipment => &[OrderCommand::Ship, OrderCommand::Refund, OrderCommand::PartialRefund],
            Self::Shipped => &[OrderCommand::Receive, OrderCommand::Return, OrderCommand::PartialRefund],
            Self::Completed => &[OrderCommand::Return, OrderCommand::PartialRefund],
            Self::Closed | Self::Void => &[],
        }
    }

    /// Whether goods of the order count as sold: locks may be deducted, never released.
    pub const fn is_paid(self) -> bool {
        matches!(self, Self::AwaitingShipment | Self::Shipped | Self::Completed)
    }

    /// Whether the goods are still here, so that they may be sent elsewhere.
    pub const fn may_change_receiver(self) -> bool {
        matches!(self, Self::AwaitingPayment | Self::AwaitingShipment)
    }

    /// Whether the order is over without a sale: locks may be released, never deducted.
    pub const fn is_over_unsold(self) -> bool {
        matches!(self, Self::Closed | Self::Void)
    }
}

/// What can be asked of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderCommand {
    /// Money arrived (0 → 1).
    Pay,
    /// Timeout, or the owner cancels (0 → 4).
    Close,
    /// Handed to the carrier (1 → 2).
    Ship,
    /// The buyer has it (2 → 3).
    Receive,
    /// Full refund before shipment (1 → 4).
    Refund,
    /// Some money goes back and the order stays where it is (1, 2, 3).
    PartialRefund,
    /// The owner wants to send units back (2, 3).
    Return,
}

/// What follows a change, in the same transaction as the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderEffect {
    /// Tell the rest of the house that the order is paid (`order.success`): stock minus and points follow.
    AnnouncePaid,
    /// Free the locked units (`stock.unlock`).
    ReleaseLocks,
    /// Put deducted units back and take the points back.
    ReturnGoods,
}

/// A change of state that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{command:?} is not possible in status {}", status.name())]
pub struct WrongState {
    /// Where the order is.
    pub status: OrderStatus,
    /// What was asked.
    pub command: OrderCommand,
}

/// Decides one change: the next status and what follows it.
///
/// # Errors
/// [`WrongState`] for every pair that the table above does not list.
pub fn apply(status: OrderStatus, command: OrderCommand) -> Result<(OrderStatus, &'static [OrderEffect]), WrongState> {
    match (status, command) {
        (OrderStatus::AwaitingPayment, OrderCommand::Pay) => {
            Ok((OrderStatus::AwaitingShipment, &[OrderEffect::AnnouncePaid]))
        }
        (OrderStatus::AwaitingPayment, OrderCommand::Close) => Ok((OrderStatus::Closed, &[OrderEffect::ReleaseLocks])),
        (OrderStatus::AwaitingShipment, OrderCommand::Ship) => Ok((OrderStatus::Shipped, &[])),
        (OrderStatus::AwaitingShipment, OrderCommand::Refund) => Ok((OrderStatus::Closed, &[OrderEffect::ReturnGoods])),
        (OrderStatus::Shipped, OrderCommand::Receive) => Ok((OrderStatus::Completed, &[])),
        (
            OrderStatus::AwaitingShipment | OrderStatus::Shipped | OrderStatus::Completed,
            OrderCommand::PartialRefund,
        )
        | (OrderStatus::Shipped | OrderStatus::Completed, OrderCommand::Return) => Ok((status, &[])),
        (status, command) => Err(WrongState { status, command }),
    }
}

/// When an unpaid order may be closed by timeout: `pay_before` and the grace for late money (DESIGN rule 10).
pub fn close_due_at(pay_before: Timestamp, grace: Duration) -> Timestamp {
    pay_before.plus(grace)
}

/// When a shipped order is received without its owner's word.
pub fn auto_receive_at(shipped_at: Timestamp, auto_confirm_days: u32) -> Timestamp {
    shipped_at.plus(Duration::from_secs(u64::from(auto_confirm_days) * 24 * 3600))
}

/// How the buyer pays, the request's `payType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(i64)]
pub enum PayType {
    /// 在线支付: through the gateway.
    Online = 0,
    /// 货到付款: made in status 1, no timer, paid at receive.
    CashOnDelivery = 1,
}

impl PayType {
    /// From the request's number.
    pub fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Online),
            1 => Some(Self::CashOnDelivery),
            _ => None,
        }
    }

    /// The status that an order paid this way starts in.
    pub const fn first_status(self) -> OrderStatus {
        match self {
            Self::Online => OrderStatus::AwaitingPayment,
            Self::CashOnDelivery => OrderStatus::AwaitingShipment,
        }
    }

    /// The number of the column `oms_order.pay_type` (1 Alipay, 4 cash on delivery), not the request's (fault 52).
    pub const fn column(self) -> i64 {
        match self {
            Self::Online => 1,
            Self::CashOnDelivery => 4,
        }
    }

    /// From the column's number.
    pub fn from_column(column: i64) -> Option<Self> {
        match column {
            1 => Some(Self::Online),
            4 => Some(Self::CashOnDelivery),
            _ => None,
        }
    }
}

/// Who receives the goods. All empty when a winner has no address yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Name.
    pub name: String,
    /// Phone.
    pub phone: String,
    /// Post code.
    pub post_code: String,
    /// Province.
    pub province: String,
    /// City.
    pub city: String,
    /// District.
    pub region: String,
    /// Street, house, floor.
    pub detail_address: String,
}

/// One line of an order, filled from the catalogue, never from the client (fault 53).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderItem {
    /// The SKU.
    pub sku_id: SkuId,
    /// Its SPU.
    pub spu_id: i64,
    /// Its category.
    pub category_id: i64,
    /// `pms_sku_info.sku_title`.
    pub title: String,
    /// `pms_sku_info.sku_default_img`.
    pub image: String,
    /// Unit price at the moment of the order.
    pub price: Money,
    /// How many.
    pub quantity: u32,
    /// The SKU's sale attributes as the course's JSON text.
    pub attributes: String,
}

/// Units of one stock row that an order holds or wants to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockLine {
    /// The SKU.
    pub sku_id: SkuId,
    /// The stock row.
    pub ware_sku_id: WareSkuId,
    /// Units, at least 1.
    pub num: u32,
}

/// An order about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Its number.
    pub order_sn: OrderSn,
    /// The buyer.
    pub user_id: UserId,
    /// The buyer's name as the token said it.
    pub username: String,
    /// How it is paid; decides the first status.
    pub pay_type: PayType,
    /// Sum of price × quantity.
    pub total_amount: Money,
    /// What the buyer pays.
    pub pay_amount: Money,
    /// `delivery_company` of the request.
    pub delivery_company: String,
    /// Where it goes.
    pub receiver: Receiver,
    /// The lines, at least one.
    pub items: Vec<OrderItem>,
    /// How long it may stay unpaid; `pay_before` is the transaction's time plus this. Not used for cash on delivery.
    pub payment_timeout: Duration,
    /// The flash sale it came from.
    pub sale_id: Option<SaleId>,
    /// Whether a pay page is handed out with the answer: closing then asks the gateway first (DESIGN rule 10).
    pub pay_page_issued: bool,
}

impl NewOrder {
    /// The status it starts in.
    pub fn first_status(&self) -> OrderStatus {
        self.pay_type.first_status()
    }

    /// What its creation announces: the timer or, for cash on delivery, the stock minus; and the cart clean-up of an
    /// ordinary order.
    pub fn creation_events(&self) -> Vec<Event> {
        let order = OrderRef { order_token: self.order_sn.clone() };
        let mut events = vec![match (self.pay_type, self.sale_id) {
            (PayType::CashOnDelivery, _) => Event::StockMinus(order),
            (PayType::Online, Some(_)) => Event::OrderCreateFlash(order),
            (PayType::Online, None) => Event::OrderCreate(order),
        }];
        if self.sale_id.is_none() {
            let sku_ids = self.items.iter().map(|item| item.sku_id).collect();
            events.push(Event::CartDelete(CartDelete { user_id: self.user_id, sku_ids }));
        }
        events
    }
}

/// An order as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Row id.
    pub id: i64,
    /// Number.
    pub order_sn: OrderSn,
    /// Owner.
    pub user_id: UserId,
    /// Owner's name.
    pub username: String,
    /// Status.
    pub status: OrderStatus,
    /// How it is paid.
    pub pay_type: PayType,
    /// Sum of its lines.
    pub total_amount: Money,
    /// What the buyer pays.
    pub pay_amount: Money,
    /// Carrier.
    pub delivery_company: String,
    /// Where it goes.
    pub receiver: Receiver,
    /// Its lines.
    pub items: Vec<OrderItem>,
    /// The flash sale it came from.
    pub sale_id: Option<SaleId>,
    /// Made at.
    pub created_at: Timestamp,
    /// Unpaid orders only: no pay page after this, closing from this plus the grace.
    pub pay_before: Option<Timestamp>,
    /// When a pay page was first handed out.
    pub pay_page_issued_at: Option<Timestamp>,
    /// When the money was applied.
    pub paid_at: Option<Timestamp>,
    /// The carrier's number of the parcel.
    pub delivery_sn: Option<String>,
    /// When it was handed to the carrier.
    pub shipped_at: Option<Timestamp>,
    /// Days after that until it counts as received, `auto_confirm_day`.
    pub auto_confirm_days: Option<u32>,
    /// When its owner had it, or was taken to have it.
    pub received_at: Option<Timestamp>,
    /// Last change.
    pub modified_at: Timestamp,
}

impl Order {
    /// When it counts as received by itself; `None` before it is shipped.
    pub fn auto_receive_at(&self) -> Option<Timestamp> {
        Some(auto_receive_at(self.shipped_at?, self.auto_confirm_days?))
    }

    /// The line of a SKU.
    pub fn item(&self, sku_id: SkuId) -> Option<&OrderItem> {
        self.items.iter().find(|item| item.sku_id == sku_id)
    }
}

/// One row of `oms_order_operate_history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderHistory {
    /// Who: user, system, admin.
    pub operator: Operator,
    /// When.
    pub at: Timestamp,
    /// Status after the change.
    pub status: OrderStatus,
    /// Why.
    pub note: String,
}

/// Who changed an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// The owner.
    User,
    /// A timer, a notification, a sweep.
    System,
    /// Staff.
    Admin,
}

impl Operator {
    /// The text of the column `operate_man`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
            Self::Admin => "admin",
        }
    }

    /// From the column.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::User, Self::System, Self::Admin].into_iter().find(|o| o.as_str() == text)
    }
}

/// What a paid order sends on: the stock minus of its locks and the points of its buyer (course: `order.success` →
/// `stock.minus`, `bound.plus`).
pub fn paid_events(order_sn: &OrderSn, user_id: UserId, pay_amount: Money, points_per_yuan: u32) -> [Event; 2] {
    [
        Event::StockMinus(OrderRef { order_token: order_sn.clone() }),
        points_event(order_sn, user_id, pay_amount, points_per_yuan),
    ]
}

/// The points of an order whose money is there: online when it is paid, on delivery when it is received.
pub fn points_event(order_sn: &OrderSn, user_id: UserId, pay_amount: Money, points_per_yuan: u32) -> Event {
    Event::BoundPlus(super::points::credit(order_sn, user_id, pay_amount, points_per_yuan))
}
