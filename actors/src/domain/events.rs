//! What travels over the bus: routing keys, and the items of each in the course's field names.
//!
//! A message is `{"messageId","type","version","items":[…]}`; its items are what one transaction decided together
//! (DESIGN rule 8). The only place that names exchanges, keys and queues.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ids::{OrderSn, SaleId, SkuId, UserId};

/// Version of the item formats below.
pub const VERSION: u32 = 1;

/// Exchange of what a broker gave up on.
pub const PARKING_EXCHANGE: &str = "PARKING-EXCHANGE";

/// Queue of what a broker gave up on; its consumer parks it in the store.
pub const PARKING_QUEUE: &str = "PARKING-QUEUE";

/// The queue in which messages wait for so many milliseconds.
pub fn delay_queue(delay_ms: u128) -> String {
    format!("ORDER-TTL-QUEUE.{delay_ms}")
}

/// Every routing key that is ever published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RoutingKey {
    /// An ordinary order waits for its payment timeout.
    #[serde(rename = "order.create")]
    OrderCreate,
    /// A winner's order waits for its payment timeout.
    #[serde(rename = "order.create.flash")]
    OrderCreateFlash,
    /// The timeout is over: close unless paid.
    #[serde(rename = "order.close")]
    OrderClose,
    /// Money was applied.
    #[serde(rename = "order.success")]
    OrderSuccess,
    /// Free the units of a closed order.
    #[serde(rename = "stock.unlock")]
    StockUnlock,
    /// Deduct the units of a paid order.
    #[serde(rename = "stock.minus")]
    StockMinus,
    /// Take ordered lines out of the cart.
    #[serde(rename = "cart.delete")]
    CartDelete,
    /// Credit points.
    #[serde(rename = "bound.plus")]
    BoundPlus,
    /// Make the orders of flash-sale winners.
    #[serde(rename = "sec.kill")]
    SecKill,
}

impl RoutingKey {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OrderCreate,
        Self::OrderCreateFlash,
        Self::OrderClose,
        Self::OrderSuccess,
        Self::StockUnlock,
        Self::StockMinus,
        Self::CartDelete,
        Self::BoundPlus,
        Self::SecKill,
    ];

    /// The key as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrderCreate => "order.create",
            Self::OrderCreateFlash => "order.create.flash",
            Self::OrderClose => "order.close",
            Self::OrderSuccess => "order.success",
            Self::StockUnlock => "stock.unlock",
            Self::StockMinus => "stock.minus",
            Self::CartDelete => "cart.delete",
            Self::BoundPlus => "bound.plus",
            Self::SecKill => "sec.kill",
        }
    }

    /// From text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == text)
    }

    /// The exchange it is published to.
    pub const fn exchange(self) -> &'static str {
        match self {
            Self::OrderCreate | Self::OrderCreateFlash | Self::OrderClose | Self::OrderSuccess => "ORDER-EXCHANGE",
            Self::StockUnlock | Self::StockMinus => "ORDER-STOCK-EXCHANGE",
            Self::CartDelete => "ORDER-CART-EXCHANGE",
            Self::BoundPlus => "ORDER-USER-EXCHANGE",
            Self::SecKill => "SECKILL-ORDER",
        }
    }

    /// The queue whose consumer gets it at last. The two creation keys wait in a TTL queue and arrive as `order.close`.
    pub const fn queue(self) -> Queue {
        match self {
            Self::OrderCreate | Self::OrderCreateFlash | Self::OrderClose => Queue::OrderClose,
            Self::OrderSuccess => Queue::OrderSuccess,
            Self::StockUnlock => Queue::StockUnlock,
            Self::StockMinus => Queue::StockMinus,
            Self::CartDelete => Queue::CartDelete,
            Self::BoundPlus => Queue::BoundPlus,
            Self::SecKill => Queue::SecKill,
        }
    }
}

/// Every queue that has a consumer here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Queue {
    /// ORDER-CLOSE-QUEUE
    OrderClose,
    /// ORDER-SUCCESS-QUEUE
    OrderSuccess,
    /// ORDER-STOCK-QUEUE
    StockUnlock,
    /// ORDER-MINUS-QUEUE
    StockMinus,
    /// GMALL-CART-QUEUE
    CartDelete,
    /// ORDER-BOUND-QUEUE
    BoundPlus,
    /// SECKILL-ORDER-QUEUE
    SecKill,
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::OrderClose,
        Self::OrderSuccess,
        Self::StockUnlock,
        Self::StockMinus,
        Self::CartDelete,
        Self::BoundPlus,
        Self::SecKill,
    ];

    /// The broker's name of the queue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrderClose => "ORDER-CLOSE-QUEUE",
            Self::OrderSuccess => "ORDER-SUCCESS-QUEUE",
            Self::StockUnlock => "ORDER-STOCK-QUEUE",
            Self::StockMinus => "ORDER-MINUS-QUEUE",
            Self::CartDelete => "GMALL-CART-QUEUE",
            Self::BoundPlus => "ORDER-BOUND-QUEUE",
            Self::SecKill => "SECKILL-ORDER-QUEUE",
        }
    }

    /// From the broker's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.as_str() == text)
    }

    /// The key under which its messages arrive.
    pub const fn arrival_key(self) -> RoutingKey {
        match self {
            Self::OrderClose => RoutingKey::OrderClose,
            Self::OrderSuccess => RoutingKey::OrderSuccess,
            Self::StockUnlock => RoutingKey::StockUnlock,
            Self::StockMinus => RoutingKey::StockMinus,
            Self::CartDelete => RoutingKey::CartDelete,
            Self::BoundPlus => RoutingKey::BoundPlus,
            Self::SecKill => RoutingKey::SecKill,
        }
    }
}

/// How long the two creation keys wait before they arrive as `order.close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// `order.create`: payment timeout + close grace.
    pub order_create: Duration,
    /// `order.create.flash`: flash-sale payment timeout + close grace.
    pub order_create_flash: Duration,
}

impl Delays {
    /// The delay of `key`, zero for all but the two creation keys.
    pub fn of(&self, key: RoutingKey) -> Duration {
        match key {
            RoutingKey::OrderCreate => self.order_create,
            RoutingKey::OrderCreateFlash => self.order_create_flash,
            _ => Duration::ZERO,
        }
    }
}

/// Item that names an order; `orderToken` is the order number, as in the course.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderRef {
    /// The order number.
    pub order_token: OrderSn,
}

/// Item of `cart.delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CartDelete {
    /// Whose cart.
    pub user_id: UserId,
    /// Which lines.
    pub sku_ids: Vec<SkuId>,
}

/// Item of `bound.plus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BoundPlus {
    /// Whose points.
    pub user_id: UserId,
    /// Spendable points.
    pub integration: i64,
    /// Growth value.
    pub growth: i64,
    /// The order that earned them; makes the credit once-only.
    pub order_token: OrderSn,
}

/// Item of `sec.kill`: one winner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecKill {
    /// The winner's order number.
    pub order_token: OrderSn,
    /// What was won.
    pub sku_id: SkuId,
    /// How many, always 1.
    pub num: u32,
    /// The winner.
    pub user_id: UserId,
    /// The sale.
    pub sale_id: SaleId,
}

/// One thing that happened, before it is packed with others into a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// See [`RoutingKey::OrderCreate`].
    OrderCreate(OrderRef),
    /// See [`RoutingKey::OrderCreateFlash`].
    OrderCreateFlash(OrderRef),
    /// See [`RoutingKey::OrderClose`].
    OrderClose(OrderRef),
    /// See [`RoutingKey::OrderSuccess`].
    OrderSuccess(OrderRef),
    /// See [`RoutingKey::StockUnlock`].
    StockUnlock(OrderRef),
    /// See [`RoutingKey::StockMinus`].
    StockMinus(OrderRef),
    /// See [`RoutingKey::CartDelete`].
    CartDelete(CartDelete),
    /// See [`RoutingKey::BoundPlus`].
    BoundPlus(BoundPlus),
    /// See [`RoutingKey::SecKill`].
    SecKill(SecKill),
}

impl Event {
    /// The key it is published under.
    pub const fn key(&self) -> RoutingKey {
        match self {
            Self::OrderCreate(_) => RoutingKey::OrderCreate,
            Self::OrderCreateFlash(_) => RoutingKey::OrderCreateFlash,
            Self::OrderClose(_) => RoutingKey::OrderClose,
            Self::OrderSuccess(_) => RoutingKey::OrderSuccess,
            Self::StockUnlock(_) => RoutingKey::StockUnlock,
            Self::StockMinus(_) => RoutingKey::StockMinus,
            Self::CartDelete(_) => RoutingKey::CartDelete,
            Self::BoundPlus(_) => RoutingKey::BoundPlus,
            Self::SecKill(_) => RoutingKey::SecKill,
        }
    }

    fn item_json(&self) -> String {
        let json = match self {
            Self::OrderCreate(item)
            | Self::OrderCreateFlash(item)
            | Self::OrderClose(item)
            | Self::OrderSuccess(item)
            | Self::StockUnlock(item)
            | Self::StockMinus(item) => serde_json::to_string(item),
            Self::CartDelete(item) => serde_json::to_string(item),
            Self::BoundPlus(item) => serde_json::to_string(item),
            Self::SecKill(item) => serde_json::to_string(item),
        };
        json.expect("items are plain structs of numbers and strings")
    }
}

/// A message ready for the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Unique; the broker's `message_id` and the inbox key.
    pub message_id: String,
    /// Where it goes.
    pub key: RoutingKey,
    /// The JSON document.
    pub payload: String,
}

/// Packs what one transaction decided into as few messages as `items_per_message` allows, one key a message, in the
/// order of the keys and of the events within each.
pub fn pack(events: &[Event], items_per_message: usize, mut next_id: impl FnMut() -> String) -> Vec<Message> {
    assert!(items_per_message > 0, "a message holds at least one item");
    let mut messages = Vec::new();
    for key in RoutingKey::ALL {
        let items: Vec<&Event> = events.iter().filter(|event| event.key() == key).collect();
        for chunk in items.chunks(items_per_message) {
            messages.push(message(next_id(), key, chunk));
        }
    }
    messages
}

fn message(message_id: String, key: RoutingKey, events: &[&Event]) -> Message {
    let items: Vec<String> = events.iter().map(|event| event.item_json()).collect();
    let payload = format!(
        r#"{{"messageId":"{message_id}","type":"{}","version":{VERSION},"items":[{}]}}"#,
        key.as_str(),
        items.join(",")
    );
    Message { message_id, key, payload }
}

/// A document under another message id. One that carries it already, or is no JSON object, stays as it is; the latter
/// is parked again when it arrives.
pub fn renamed(payload: &str, message_id: &str) -> String {
    match serde_json::from_str(payload) {
        Ok(serde_json::Value::Object(mut document)) if document.get("messageId") != Some(&message_id.into()) => {
            document.insert("messageId".into(), message_id.into());
            serde_json::Value::Object(document).to_string()
        }
        _ => payload.to_owned(),
    }
}

/// A received message: head, and items still as JSON so that each can be judged alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// Unique id.
    pub message_id: String,
    /// The routing key as text.
    #[serde(rename = "type")]
    pub kind: String,
    /// Format version.
    pub version: u32,
    /// The items, not yet decoded.
    pub items: Vec<Box<RawValue>>,
}

impl Envelope {
    /// Decodes a payload's head.
    ///
    /// # Errors
    /// The reason as text when it is not such a document or of another version.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        let envelope: Self = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        if envelope.version != VERSION {
            return Err(format!("version {} is not understood, expected {VERSION}", envelope.version));
        }
        Ok(envelope)
    }
}
