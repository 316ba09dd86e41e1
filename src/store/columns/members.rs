//! Rows of members, addresses and carts.

use actors::domain::events::BoundPlus;
use actors::domain::order::Receiver;
use actors::domain::{Money, SkuId, UserId, points};
use actors::ports::store::{Address, Buyer, CartItem, Member, StoreError};

use crate::store::rows::{count, order_sn};

#[derive(sqlx::FromRow)]
pub(in crate::store) struct MemberColumns {
    id: i64,
    username: String,
    nickname: String,
    mobile: String,
    email: String,
    integration: i64,
    growth: i64,
}

/// A buyer; the columns of a missing address are empty.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct BuyerColumns {
    id: i64,
    username: String,
    name: Option<String>,
    phone: Option<String>,
    post_code: Option<String>,
    province: Option<String>,
    city: Option<String>,
    region: Option<String>,
    detail_address: Option<String>,
}

impl BuyerColumns {
    pub(in crate::store) fn into_buyer(self) -> Buyer {
        let receiver = self.name.map(|name| Receiver {
            name,
            phone: self.phone.unwrap_or_default(),
            post_code: self.post_code.unwrap_or_default(),
            province: self.province.unwrap_or_default(),
            city: self.city.unwrap_or_default(),
            region: self.region.unwrap_or_default(),
            detail_address: self.detail_address.unwrap_or_default(),
        });
        Buyer { user_id: UserId(self.id), username: self.username, receiver }
    }
}

#[derive(sqlx::FromRow)]
pub(in crate::store) struct AddressColumns {
    id: i64,
    member_id: i64,
    name: String,
    phone: String,
    post_code: String,
    province: String,
    city: String,
    region: String,
    detail_address: String,
    areacode: String,
    default_status: bool,
}

impl AddressColumns {
    pub(in crate::store) fn into_address(self) -> Address {
        Address {
            id: self.id,
            user_id: UserId(self.member_id),
            receiver: Receiver {
                name: self.name,
                phone: self.phone,
                post_code: self.post_code,
                province: self.province,
                city: self.city,
                region: self.region,
                detail_address: self.detail_address,
            },
            areacode: self.areacode,
            is_default: self.default_status,
        }
    }
}

impl MemberColumns {
    pub(in crate::store) fn into_member(self) -> Member {
        Member {
            id: UserId(self.id),
            username: self.username,
            nickname: self.nickname,
            mobile: self.mobile,
            email: self.email,
            integration: self.integration,
            growth: self.growth,
        }
    }
}

/// What an order credits: `order_sn, member_id, pay_amount`.
pub(in crate::store) fn missing_credit(
    (order, member_id, pay_amount): (String, i64, i64),
    points_per_yuan: u32,
) -> Result<BoundPlus, StoreError> {
    Ok(points::credit(&order_sn(&order)?, UserId(member_id), Money(pay_amount), points_per_yuan))
}

/// A cart line: `sku_id, quantity`.
pub(in crate::store) fn cart_item((sku_id, quantity): (i64, i64)) -> Result<CartItem, StoreError> {
    Ok(CartItem { sku_id: SkuId(sku_id), quantity: count("oms_cart_item.quantity", quantity)? })
}
