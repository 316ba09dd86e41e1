//! Identifiers. Each is its own type, so an order number can never stand where a trade number is meant.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

numeric_id!(
    /// A sellable item, `pms_sku_info.sku_id`.
    SkuId
);
numeric_id!(
    /// A buyer, `ums_member.id`.
    UserId
);
numeric_id!(
    /// A warehouse, `wms_ware_info.id`.
    WareId
);
numeric_id!(
    /// One stock row: one SKU in one warehouse, `wms_ware_sku.id`.
    WareSkuId
);
numeric_id!(
    /// A flash sale, `sms_flash_sale.id`.
    SaleId
);

/// An order number. Ours are 32 digits: `yyyyMMddHHmmssSSS` in GMT+8 and 15 random ones; other systems that lock
/// stock here bring their own, 1 to 64 characters of `[A-Za-z0-9_-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderSn(Arc<str>);

impl OrderSn {
    /// Longest accepted order number, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Checks the grammar `[A-Za-z0-9_-]{1,64}`; `None` when it does not match.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (1..=Self::MAX_LEN).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        valid.then(|| Self(text.into()))
    }

    /// Makes one of our own numbers from the store's time and 64 random bits.
    pub fn generate(now: Timestamp, random: u64) -> Self {
        let digits = format!("{}{:015}", now.compact_gmt8(), random % 1_000_000_000_000_000);
        Self(digits.into())
    }

    /// Whether this is one of our own numbers and was made from these random bits.
    pub fn is_made_from(&self, random: u64) -> bool {
        self.is_own() && self.0.ends_with(&format!("{:015}", random % 1_000_000_000_000_000))
    }

    /// Whether it has the shape of our own numbers: 32 digits.
    pub fn is_own(&self) -> bool {
        self.0.len() == 32 && self.0.bytes().all(|b| b.is_ascii_digit())
    }

    /// The number as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderSn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OrderSn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderSn({})", self.0)
    }
}

impl Serialize for OrderSn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for OrderSn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("order number must match [A-Za-z0-9_-]{1,64}"))
    }
}

/// The payment gateway's number of a trade, or for cash one made from the order's
/// ([`cash_trade_no`](super::payment::cash_trade_no)). Never an order's number: the type keeps the two apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TradeNo(String);

impl TradeNo {
    /// Checks for 1 to 64 printable ASCII characters; `None` otherwise.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        valid.then(|| Self(text.to_owned()))
    }

    /// The number as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TradeNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_numbers_are_32_digits_with_the_time_in_front() {
        let sn = OrderSn::generate(Timestamp(1_767_225_600_123), u64::MAX);
        assert!(sn.is_own(), "{sn}");
        assert!(sn.as_str().starts_with("20260101080000123"), "{sn}");
    }

    #[test]
    fn foreign_numbers_keep_to_the_grammar() {
        assert!(OrderSn::parse("9c131d74-a95a-49bb-bb32-7fcdae2188f2").is_some());
        for bad in ["", "a b", "a'b", "订单", &"x".repeat(65)] {
            assert_eq!(OrderSn::parse(bad), None, "{bad:?}");
        }
    }
}
