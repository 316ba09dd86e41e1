//! The course's objects, in its field names and order.

use std::collections::BTreeMap;
use std::fmt;

use actors::domain::order::{Order, PayType, Receiver};
use actors::domain::{OrderSn, SkuId};
use actors::order::Confirmation;
use actors::ports::store::{Address, SaleAttribute, Sku};
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::api::json::YuanNumber;

/// Body of confirm: `{"48":3,"49":2}`. A SKU twice is an error, not the last one wins.
#[derive(Debug, utoipa::ToSchema)]
#[schema(value_type = BTreeMap<String, u32>, example = json!({"48": 3, "49": 2}))]
pub struct Wants(pub BTreeMap<i64, u32>);

impl<'de> Deserialize<'de> for Wants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WantsVisitor;

        impl<'de> Visitor<'de> for WantsVisitor {
            type Value = Wants;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of SKU ids and quantities")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Wants, A::Error> {
                let mut wants = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    let sku_id =
                        canonical_id(&key).ok_or_else(|| A::Error::custom(format!("{key:?} is not a SKU id")))?;
                    if wants.insert(sku_id, map.next_value()?).is_some() {
                        return Err(A::Error::custom(format!("SKU {sku_id} appears twice")));
                    }
                }
                Ok(Wants(wants))
            }
        }

        deserializer.deserialize_map(WantsVisitor)
    }
}

/// A positive id in its one canonical form: digits without sign or leading zero.
pub fn canonical_id(text: &str) -> Option<i64> {
    // A sign, a leading zero and zero itself all begin with something else.
    let is_canonical = matches!(text.as_bytes().first(), Some(b'1'..=b'9'));
    if is_canonical { text.parse().ok() } else { None }
}

/// OrderSubmitVO.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderSubmit {
    /// From confirm.
    pub order_token: String,
    /// The total the page showed, in yuan.
    #[schema(value_type = f64)]
    pub total_price: YuanNumber,
    /// 0 online, 1 cash on delivery.
    pub pay_type: i64,
    /// Carrier wish.
    #[serde(default, rename = "delivery_company")]
    pub delivery_company: Option<String>,
    /// The lines.
    pub order_items: Vec<OrderSubmitItem>,
    /// Receiver's name.
    pub name: String,
    /// Receiver's phone.
    pub phone: String,
    /// Post code.
    #[serde(default)]
    pub post_code: Option<String>,
    /// Province.
    pub province: String,
    /// City.
    pub city: String,
    /// District.
    #[serde(default)]
    pub region: Option<String>,
    /// Street, house, floor.
    pub detail_address: String,
    /// Area code; not stored with the order.
    #[serde(default)]
    pub areacode: Option<String>,
    /// 0 or 1; not used.
    #[serde(default)]
    pub default_status: Option<i64>,
}

/// OrderItemVO as submitted. Only SKU and count are read; titles and prices are the server's.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderSubmitItem {
    /// The SKU.
    pub sku_id: i64,
    /// How many.
    pub count: u32,
    /// Not used.
    #[serde(default)]
    pub title: Option<String>,
    /// Not used.
    #[serde(default)]
    pub default_image: Option<String>,
    /// Not used.
    #[serde(default)]
    #[schema(value_type = Option<f64>)]
    pub price: Option<YuanNumber>,
    /// Not used.
    #[serde(default)]
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    pub sku_attr_value: Option<Vec<IgnoredAny>>,
    /// Not used; of any shape.
    #[serde(default, rename = "skuSaleVO")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub sku_sale_vo: IgnoredAny,
}

/// MemberReceiveAddressEntity.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressEntity {
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
    default_status: u8,
}

impl From<Address> for AddressEntity {
    fn from(address: Address) -> Self {
        let Receiver { name, phone, post_code, province, city, region, detail_address } = address.receiver;
        Self {
            id: address.id,
            member_id: address.user_id.0,
            name,
            phone,
            post_code,
            province,
            city,
            region,
            detail_address,
            areacode: address.areacode,
            default_status: u8::from(address.is_default),
        }
    }
}

/// SkuSaleAttrValueEntity.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SaleAttrEntity {
    id: i64,
    sku_id: i64,
    attr_id: i64,
    attr_name: String,
    attr_value: String,
    attr_sort: i64,
}

impl SaleAttrEntity {
    /// One attribute of a SKU.
    pub fn new(sku_id: SkuId, attribute: SaleAttribute) -> Self {
        Self {
            id: attribute.id,
            sku_id: sku_id.0,
            attr_id: attribute.attr_id,
            attr_name: attribute.name,
            attr_value: attribute.value,
            attr_sort: attribute.sort,
        }
    }
}

/// OrderItemVO of the confirm page.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderItemVo {
    sku_id: i64,
    title: String,
    default_image: String,
    #[schema(value_type = f64)]
    price: YuanNumber,
    count: u32,
    sku_attr_value: Vec<SaleAttrEntity>,
    #[serde(rename = "skuSaleVO")]
    sku_sale_vo: Option<()>,
}

impl OrderItemVo {
    fn new(sku: Sku, count: u32) -> Self {
        let sku_id = sku.sku_id;
        Self {
            sku_id: sku_id.0,
            title: sku.title,
            default_image: sku.image,
            price: YuanNumber(sku.price),
            count,
            sku_attr_value: sku.attributes.into_iter().map(|attr| SaleAttrEntity::new(sku_id, attr)).collect(),
            sku_sale_vo: None,
        }
    }
}

/// OrderConfirmVO.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderConfirmVo {
    addresses: Vec<AddressEntity>,
    order_items: Vec<OrderItemVo>,
    bounds: i64,
    order_token: String,
}

impl From<Confirmation> for OrderConfirmVo {
    fn from(confirmation: Confirmation) -> Self {
        Self {
            addresses: confirmation.addresses.into_iter().map(AddressEntity::from).collect(),
            order_items: confirmation.items.into_iter().map(|(sku, count)| OrderItemVo::new(sku, count)).collect(),
            bounds: confirmation.points,
            order_token: confirmation.token,
        }
    }
}

/// OrderEntity. What has no rule here (coupons, freight, bills) is zero or null.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderEntity {
    id: i64,
    member_id: i64,
    order_sn: String,
    coupon_id: Option<i64>,
    create_time: String,
    member_username: String,
    #[schema(value_type = f64)]
    total_amount: YuanNumber,
    #[schema(value_type = f64)]
    pay_amount: YuanNumber,
    #[schema(value_type = f64)]
    freight_amount: YuanNumber,
    #[schema(value_type = f64)]
    promotion_amount: YuanNumber,
    #[schema(value_type = f64)]
    integration_amount: YuanNumber,
    #[schema(value_type = f64)]
    coupon_amount: YuanNumber,
    #[schema(value_type = f64)]
    discount_amount: YuanNumber,
    pay_type: i64,
    source_type: i64,
    status: i64,
    delivery_company: String,
    delivery_sn: Option<String>,
    auto_confirm_day: Option<u32>,
    receiver_name: String,
    receiver_phone: String,
    receiver_post_code: String,
    receiver_province: String,
    receiver_city: String,
    receiver_region: String,
    receiver_detail_address: String,
    confirm_status: i64,
    delete_status: i64,
    payment_time: Option<String>,
    delivery_time: Option<String>,
    receive_time: Option<String>,
    modify_time: String,
}

impl From<&Order> for OrderEntity {
    fn from(order: &Order) -> Self {
        let zero = YuanNumber(actors::domain::Money::ZERO);
        let receiver = order.receiver.clone();
        Self {
            id: order.id,
            member_id: order.user_id.0,
            order_sn: order.order_sn.to_string(),
            coupon_id: None,
            create_time: order.created_at.gmt8(),
            member_username: order.username.clone(),
            total_amount: YuanNumber(order.total_amount),
            pay_amount: YuanNumber(order.pay_amount),
            freight_amount: zero,
            promotion_amount: zero,
            integration_amount: zero,
            coupon_amount: zero,
            discount_amount: zero,
            pay_type: order.pay_type.column(),
            source_type: 0,
            status: order.status.code(),
            delivery_company: order.delivery_company.clone(),
            delivery_sn: order.delivery_sn.clone(),
            auto_confirm_day: order.auto_confirm_days,
            receiver_name: receiver.name,
            receiver_phone: receiver.phone,
            receiver_post_code: receiver.post_code,
            receiver_province: receiver.province,
            receiver_city: receiver.city,
            receiver_region: receiver.region,
            receiver_detail_address: receiver.detail_address,
            confirm_status: i64::from(order.received_at.is_some()),
            delete_status: 0,
            payment_time: order.paid_at.map(|at| at.gmt8()),
            delivery_time: order.shipped_at.map(|at| at.gmt8()),
            receive_time: order.received_at.map(|at| at.gmt8()),
            modify_time: order.modified_at.gmt8(),
        }
    }
}

/// OrderSubmitResponseVO.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderSubmitResponse {
    /// The order number.
    pub order_id: Option<String>,
    /// The order.
    pub order_entity: Option<OrderEntity>,
    /// Null: fine; 1 repeated or stale page, 2 empty list, 3 price changed, 4 stock short or sale failed, 5 could not be
    /// saved, 6 still being made.
    pub code: Option<u8>,
    /// The pay form of an unpaid order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pay_form: Option<String>,
}

impl OrderSubmitResponse {
    /// Only a code.
    pub fn code(code: u8) -> Self {
        Self { code: Some(code), ..Self::default() }
    }

    /// An order, with a code when it is not a new one.
    pub fn order(order: &Order, code: Option<u8>) -> Self {
        Self {
            order_id: Some(order.order_sn.to_string()),
            order_entity: Some(OrderEntity::from(order)),
            code,
            pay_form: None,
        }
    }
}

/// What a winner is told.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Won<'a> {
    /// The order number.
    #[schema(value_type = String)]
    pub order_sn: &'a OrderSn,
}

/// What a buyer is told who has to solve the sale's challenge first.
#[derive(Debug, Serialize)]
pub struct ToVerify {
    /// Where the challenge is.
    pub challenge: String,
    /// What is wrong with the path token.
    pub reason: &'static str,
}

/// From the request's number.
pub fn pay_type(code: i64) -> Option<PayType> {
    PayType::from_code(code)
}
