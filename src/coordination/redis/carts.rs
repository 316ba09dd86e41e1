//! Carts in Redis, shared with the course's cart service: hash `cart:uid:<user id>`, field SKU id, value JSON.
//!
//! Of a line only `count` is ours. Its other fields (title, attributes, whether it is ticked) are kept to the letter.
//! A cart has no time to live; what becomes of it when Redis loses it is the same as with that service alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::domain::{SkuId, UserId};
use actors::ports::carts::{Carts, CartsError};
use actors::ports::coordination::CoordinationError;
use actors::ports::store::{CartItem, Sku};
use async_trait::async_trait;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::value::{RawValue, to_raw_value};

use super::keys;
use super::link::Link;
use super::script::PUT_CART_LINE;

/// How often a line is changed anew when somebody else changed it meanwhile.
const TRIES: usize = 5;
/// Carts that are cleaned at the same time.
const AT_ONCE: usize = 32;

/// A line's fields, each as it was written.
type Line = BTreeMap<String, Box<RawValue>>;

/// Carts of the cluster mode.
pub struct RedisCarts {
    link: Arc<Link>,
}

impl RedisCarts {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Takes a line out of a cart that cannot be.
    pub(super) async fn rehearse(&self) -> Result<(), CoordinationError> {
        let nobody = (UserId(0), SkuId(0));
        self.remove(&[nobody]).await.map_err(|error| CoordinationError(error.0))
    }
}

#[async_trait]
impl Carts for RedisCarts {
    async fn lines(&self, user_id: UserId) -> Result<Vec<CartItem>, CartsError> {
        let mut all = redis::cmd("HGETALL");
        all.arg(keys::cart(user_id));
        let lines: Vec<(String, String)> = self.link.ask(&all).await.map_err(away)?;
        let mut items: Vec<CartItem> = lines.iter().filter_map(|(sku_id, line)| item(sku_id, line)).collect();
        items.sort_unstable_by_key(|item| item.sku_id);
        Ok(items)
    }

    async fn put(&self, user_id: UserId, sku: &Sku, quantity: u32) -> Result<(), CartsError> {
        let key = keys::cart(user_id);
        let field = sku.sku_id.to_string();
        let mut read = redis::cmd("HGET");
        read.arg(&key).arg(&field);
        for _ in 0..TRIES {
            let known: Option<String> = self.link.ask(&read).await.map_err(away)?;
            let line = changed(known.as_deref(), sku, quantity).map_err(|error| CartsError(error.to_string()))?;
            let mut call = PUT_CART_LINE.call(&[&key]);
            call.arg(&field);
            call.arg(known.unwrap_or_default());
            call.arg(line);
            if self.link.run(&call).await.map_err(away)? {
                return Ok(());
            }
        }
        Err(CartsError("somebody else keeps changing this line".into()))
    }

    async fn remove(&self, lines: &[(UserId, SkuId)]) -> Result<(), CartsError> {
        let mut by_user: BTreeMap<UserId, Vec<String>> = BTreeMap::new();
        for (user_id, sku_id) in lines {
            // The fields are text: a number would be another one to some clients.
            by_user.entry(*user_id).or_default().push(sku_id.to_string());
        }
        let removing = stream::iter(by_user).map(|(user_id, fields)| async move {
            let mut remove = redis::cmd("HDEL");
            remove.arg(keys::cart(user_id)).arg(fields);
            self.link.ask::<i64>(&remove).await
        });
        removing.buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await.map_err(away)
    }
}

fn away(error: CoordinationError) -> CartsError {
    CartsError(error.0)
}

/// A line that can be read; what others wrote and we do not understand is left out.
fn item(sku_id: &str, line: &str) -> Option<CartItem> {
    let line: Line = serde_json::from_str(line).ok()?;
    let quantity = serde_json::from_str(line.get("count")?.get()).ok()?;
    Some(CartItem { sku_id: SkuId(sku_id.parse().ok()?), quantity })
}

/// The line with another quantity, or a new one.
fn changed(known: Option<&str>, sku: &Sku, quantity: u32) -> Result<String, serde_json::Error> {
    let mut line = match known.and_then(|known| serde_json::from_str(known).ok()) {
        Some(line) => line,
        None => fresh(sku)?,
    };
    line.insert("count".into(), to_raw_value(&quantity)?);
    serde_json::to_string(&line)
}

fn fresh(sku: &Sku) -> Result<Line, serde_json::Error> {
    Ok(Line::from([
        ("skuId".into(), to_raw_value(&sku.sku_id)?),
        ("title".into(), to_raw_value(&sku.title)?),
        ("defaultImage".into(), to_raw_value(&sku.image)?),
        // A number, digit by digit as the catalogue has it.
        ("price".into(), RawValue::from_string(sku.price.to_string())?),
        ("check".into(), to_raw_value(&true)?),
    ]))
}

#[cfg(test)]
mod tests {
    use actors::domain::Money;

    use super::*;

    fn sku() -> Sku {
        Sku {
            sku_id: SkuId(48),
            spu_id: 1,
            category_id: 1,
            brand_id: 1,
            name: "n".into(),
            title: "Phone".into(),
            subtitle: String::new(),
            image: "a.png".into(),
            price: Money(499_900),
            attributes: Vec::new(),
        }
    }

    #[test]
    fn what_others_keep_in_a_line_stays_to_the_letter() {
        let theirs =
            r#"{"check":false,"count":1,"price":4999.000,"sales":[],"skuAttrValue":[{"id":9007199254740993}]}"#;
        let expected =
            r#"{"check":false,"count":7,"price":4999.000,"sales":[],"skuAttrValue":[{"id":9007199254740993}]}"#;
        assert_eq!(changed(Some(theirs), &sku(), 7).unwrap(), expected);
    }

    #[test]
    fn a_new_line_says_what_a_cart_shows() {
        let line = changed(None, &sku(), 2).unwrap();
        let expected = r#"{"check":true,"count":2,"defaultImage":"a.png","price":4999.00,"skuId":48,"title":"Phone"}"#;
        assert_eq!(line, expected);
        assert_eq!(item("48", &line), Some(CartItem { sku_id: SkuId(48), quantity: 2 }));
    }

    #[test]
    fn lines_that_are_not_understood_are_left_out() {
        for (field, line) in [("48", "3"), ("48", "{}"), ("48", r#"{"count":-1}"#), ("x", r#"{"count":1}"#)] {
            assert_eq!(item(field, line), None, "{field} {line}");
        }
    }
}
