//! What is on its way to a consumer, and the units that its arrival becomes.

use super::super::values::{flash_order, items, timing_out};
use super::super::world::{CASE, PHONE};
use crate::domain::OrderSn;
use crate::domain::events::{BoundPlus, Message, OrderRef, RoutingKey, SecKill};
use crate::domain::stock::Resolution;
use crate::ports::store::units::{AddPoints, AnnouncePaid, MakeFlashOrders, ResolveLocks, WriteUnit};

/// One item of one message.
#[derive(Clone, Debug)]
pub(super) enum Parcel {
    /// The timer of an order.
    Close(OrderSn),
    /// An order is paid.
    Success(OrderSn),
    /// Units of an order are due.
    Resolve(Resolution, OrderSn),
    /// Points are due.
    Points(BoundPlus),
    /// An order is to be made.
    Win(SecKill),
}

impl Parcel {
    /// Whether a sweep finds what it was about when it is lost.
    pub(super) fn has_a_net(&self) -> bool {
        matches!(self, Self::Close(_) | Self::Resolve(..) | Self::Win(_))
    }

    /// What its arrival becomes.
    pub(super) fn units(&self) -> Vec<WriteUnit> {
        match self {
            Self::Close(order_sn) => vec![timing_out(std::slice::from_ref(order_sn)).into()],
            Self::Success(order_sn) => {
                let message_id = format!("success-{order_sn}");
                vec![AnnouncePaid { message_id, order_sns: vec![order_sn.clone()] }.into()]
            }
            Self::Resolve(way, order_sn) => resolving(*way, std::slice::from_ref(order_sn), false),
            Self::Points(credit) => vec![AddPoints { credits: vec![credit.clone()] }.into()],
            Self::Win(won) => {
                let orders = vec![flash_order(won.sale_id, &won.order_token, won.user_id)];
                vec![MakeFlashOrders { orders: orders.into() }.into()]
            }
        }
    }
}

/// Resolves what these owners hold, on every SKU.
pub(super) fn resolving(way: Resolution, order_sns: &[OrderSn], lapsed_only: bool) -> Vec<WriteUnit> {
    let unit = |sku_id| ResolveLocks { sku_id, way, order_sns: order_sns.to_vec(), lapsed_only };
    [PHONE, CASE].map(|sku_id| unit(sku_id).into()).into()
}

/// The items of a message.
pub(super) fn parcels(message: &Message) -> Vec<Parcel> {
    items(message).into_iter().filter_map(|item| parcel(message.key, item)).collect()
}

fn parcel(key: RoutingKey, item: serde_json::Value) -> Option<Parcel> {
    let number = |item| read::<OrderRef>(item).order_token;
    Some(match key {
        RoutingKey::OrderCreate | RoutingKey::OrderCreateFlash | RoutingKey::OrderClose => Parcel::Close(number(item)),
        RoutingKey::OrderSuccess => Parcel::Success(number(item)),
        RoutingKey::StockUnlock => Parcel::Resolve(Resolution::Release, number(item)),
        RoutingKey::StockMinus => Parcel::Resolve(Resolution::Deduct, number(item)),
        RoutingKey::BoundPlus => Parcel::Points(read(item)),
        RoutingKey::SecKill => Parcel::Win(read(item)),
        RoutingKey::CartDelete => return None,
    })
}

fn read<T: serde::de::DeserializeOwned>(item: serde_json::Value) -> T {
    serde_json::from_value(item).expect("an item in its format")
}
