//! Carts: in the store, or in Redis where a cart service shares them.
//!
//! A cart is a convenience: no stock or money depends on it, and losing one loses nobody's order.

use async_trait::async_trait;

use super::store::{CartItem, Sku};
use crate::domain::{SkuId, UserId};

/// Carts cannot be read or changed now. The outcome of a change is unknown; repeating it is safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("carts: {0}")]
pub struct CartsError(pub String);

/// The carts of all members.
#[async_trait]
pub trait Carts: Send + Sync + 'static {
    /// A member's cart, by SKU.
    async fn lines(&self, user_id: UserId) -> Result<Vec<CartItem>, CartsError>;

    /// Sets the quantity of one line. What else a shared cart keeps in a line stays; a new line carries what the
    /// catalogue says of the SKU.
    async fn put(&self, user_id: UserId, sku: &Sku, quantity: u32) -> Result<(), CartsError>;

    /// Takes lines out of carts; absent ones are fine.
    async fn remove(&self, lines: &[(UserId, SkuId)]) -> Result<(), CartsError>;
}
