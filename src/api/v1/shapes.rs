//! v1's objects.

use actors::domain::flash_sale::{ChallengeMode, FlashSale, SalePhase};
use actors::domain::order::{Order, OrderCommand, OrderHistory, OrderStatus, PayType, Receiver};
use actors::domain::{Money, Timestamp};
use actors::ports::store::{SaleCounts, Sku};
use serde::Serialize;

/// The only currency.
pub const CURRENCY: &str = "CNY";

/// A page of a list.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// To be sent as `cursor` for the next page.
    pub next_cursor: Option<String>,
    /// Whether there is one.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// A list that is always whole.
    pub fn whole(data: Vec<T>) -> Self {
        Self { data, next_cursor: None, has_more: false }
    }
}

/// An order.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OrderV1 {
    order_sn: String,
    status: &'static str,
    total_amount: String,
    pay_amount: String,
    /// Always 0.00: freight, promotions and coupons are not offered.
    freight_amount: String,
    /// Always 0.00.
    promotion_amount: String,
    /// Always 0.00.
    coupon_amount: String,
    currency: &'static str,
    pay_type: &'static str,
    items: Vec<OrderItemV1>,
    receiver: ReceiverV1,
    flash_sale_id: Option<String>,
    created_at: String,
    pay_before: Option<String>,
    paid_at: Option<String>,
    delivery_company: String,
    /// The carrier's number of the parcel.
    delivery_sn: Option<String>,
    shipped_at: Option<String>,
    /// When a shipped order counts as received by itself.
    auto_receive_at: Option<String>,
    received_at: Option<String>,
    updated_at: String,
    /// What may be done next.
    #[schema(value_type = Vec<String>)]
    allowed: &'static [OrderCommand],
}

/// A line of an order.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OrderItemV1 {
    sku_id: String,
    title: String,
    image: String,
    price: String,
    quantity: u32,
}

/// Who receives it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReceiverV1 {
    name: String,
    phone: String,
    post_code: String,
    province: String,
    city: String,
    region: String,
    detail_address: String,
}

impl From<Receiver> for ReceiverV1 {
    fn from(receiver: Receiver) -> Self {
        let Receiver { name, phone, post_code, province, city, region, detail_address } = receiver;
        Self { name, phone, post_code, province, city, region, detail_address }
    }
}

impl OrderV1 {
    /// The version of an order: what changes it changes one of these.
    pub fn tag(order: &Order) -> String {
        format!("{}-{}", order.modified_at.0, order.status.code())
    }
}

impl From<Order> for OrderV1 {
    fn from(order: Order) -> Self {
        let auto_receive_at = order.auto_receive_at().filter(|_| order.status == OrderStatus::Shipped);
        let nothing = || Money::ZERO.to_string();
        let items = order.items.into_iter().map(|item| OrderItemV1 {
            sku_id: item.sku_id.to_string(),
            title: item.title,
            image: item.image,
            price: item.price.to_string(),
            quantity: item.quantity,
        });
        Self {
            order_sn: order.order_sn.to_string(),
            status: order.status.name(),
            total_amount: order.total_amount.to_string(),
            pay_amount: order.pay_amount.to_string(),
            freight_amount: nothing(),
            promotion_amount: nothing(),
            coupon_amount: nothing(),
            currency: CURRENCY,
            pay_type: match order.pay_type {
                PayType::Online => "online",
                PayType::CashOnDelivery => "cash_on_delivery",
            },
            items: items.collect(),
            receiver: order.receiver.into(),
            flash_sale_id: order.sale_id.map(|id| id.to_string()),
            created_at: order.created_at.rfc3339(),
            pay_before: order.pay_before.map(Timestamp::rfc3339),
            paid_at: order.paid_at.map(Timestamp::rfc3339),
            delivery_company: order.delivery_company,
            delivery_sn: order.delivery_sn,
            shipped_at: order.shipped_at.map(Timestamp::rfc3339),
            auto_receive_at: auto_receive_at.map(Timestamp::rfc3339),
            received_at: order.received_at.map(Timestamp::rfc3339),
            updated_at: order.modified_at.rfc3339(),
            allowed: order.status.allowed(),
        }
    }
}

/// A step in an order's life.
#[derive(Serialize, utoipa::ToSchema)]
pub struct HistoryV1 {
    status: &'static str,
    operator: &'static str,
    note: String,
    at: String,
}

impl From<OrderHistory> for HistoryV1 {
    fn from(row: OrderHistory) -> Self {
        Self { status: row.status.name(), operator: row.operator.as_str(), note: row.note, at: row.at.rfc3339() }
    }
}

/// A SKU on the shelf.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SkuV1 {
    sku_id: String,
    title: String,
    image: String,
    price: String,
    currency: &'static str,
    attributes: Vec<AttributeV1>,
}

/// A sale attribute.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AttributeV1 {
    name: String,
    value: String,
}

impl From<Sku> for SkuV1 {
    fn from(sku: Sku) -> Self {
        let attributes = sku.attributes.into_iter().map(|a| AttributeV1 { name: a.name, value: a.value });
        Self {
            sku_id: sku.sku_id.to_string(),
            title: sku.title,
            image: sku.image,
            price: sku.price.to_string(),
            currency: CURRENCY,
            attributes: attributes.collect(),
        }
    }
}

/// A flash sale as every buyer sees it: no exact counts.
#[derive(Serialize, utoipa::ToSchema)]
pub struct FlashSaleV1 {
    id: String,
    sku_id: String,
    title: String,
    image: String,
    price: String,
    original_price: String,
    currency: &'static str,
    count: i64,
    per_user_limit: u32,
    #[schema(value_type = String)]
    state: SalePhase,
    starts_at: String,
    ends_at: String,
    /// When an attempt needs a proof of work: off, load or always.
    #[schema(value_type = String)]
    challenge: ChallengeMode,
    sold_out: bool,
}

impl FlashSaleV1 {
    /// A sale with its SKU's catalogue row.
    pub fn new(sale: &FlashSale, sku: Option<&Sku>, now: Timestamp) -> Self {
        Self {
            id: sale.id.to_string(),
            sku_id: sale.sku_id.to_string(),
            title: sku.map(|sku| sku.title.clone()).unwrap_or_default(),
            image: sku.map(|sku| sku.image.clone()).unwrap_or_default(),
            price: sale.price.to_string(),
            original_price: sku.map_or(Money::ZERO, |sku| sku.price).to_string(),
            currency: CURRENCY,
            count: sale.count,
            per_user_limit: sale.per_user_limit,
            state: sale.phase(now),
            starts_at: sale.starts_at.rfc3339(),
            ends_at: sale.ends_at.rfc3339(),
            challenge: sale.challenge,
            sold_out: sale.remaining() <= 0,
        }
    }
}

/// A flash sale as staff see it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AdminSaleV1 {
    id: String,
    sku_id: String,
    #[schema(value_type = String)]
    state: SalePhase,
    price: String,
    currency: &'static str,
    count: i64,
    per_user_limit: u32,
    granted: i64,
    ordered: i64,
    paid: i64,
    released: i64,
    remaining: i64,
    epoch: i64,
    starts_at: String,
    ends_at: String,
    /// When an attempt needs a proof of work: off, load or always.
    #[schema(value_type = String)]
    challenge: ChallengeMode,
}

impl AdminSaleV1 {
    /// A sale with its counts.
    pub fn new(sale: &FlashSale, counts: SaleCounts, now: Timestamp) -> Self {
        Self {
            id: sale.id.to_string(),
            sku_id: sale.sku_id.to_string(),
            state: sale.phase(now),
            price: sale.price.to_string(),
            currency: CURRENCY,
            count: sale.count,
            per_user_limit: sale.per_user_limit,
            granted: sale.granted,
            ordered: counts.ordered,
            paid: counts.paid,
            released: sale.released,
            remaining: sale.remaining(),
            epoch: sale.epoch,
            starts_at: sale.starts_at.rfc3339(),
            ends_at: sale.ends_at.rfc3339(),
            challenge: sale.challenge,
        }
    }
}
