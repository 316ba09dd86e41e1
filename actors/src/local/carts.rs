//! Carts in the durable store.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{SkuId, UserId};
use crate::ports::carts::{Carts, CartsError};
use crate::ports::store::units::{PutCartItem, RemoveCartItems, Unit};
use crate::ports::store::{CartItem, Sku, Store};
use crate::writer::Writer;

/// Carts of the embedded mode.
pub struct StoreCarts {
    store: Arc<dyn Store>,
    writer: Writer,
}

impl StoreCarts {
    /// Carts that are read from `store` and changed through `writer`.
    pub fn new(store: Arc<dyn Store>, writer: Writer) -> Self {
        Self { store, writer }
    }

    async fn commit<U: Unit>(&self, unit: U) -> Result<(), CartsError> {
        self.writer.commit(unit).await.map(drop).map_err(|error| CartsError(error.to_string()))
    }
}

#[async_trait]
impl Carts for StoreCarts {
    async fn lines(&self, user_id: UserId) -> Result<Vec<CartItem>, CartsError> {
        self.store.cart(user_id).await.map_err(|error| CartsError(error.to_string()))
    }

    async fn put(&self, user_id: UserId, sku: &Sku, quantity: u32) -> Result<(), CartsError> {
        self.commit(PutCartItem { user_id, sku_id: sku.sku_id, quantity }).await
    }

    async fn remove(&self, lines: &[(UserId, SkuId)]) -> Result<(), CartsError> {
        if lines.is_empty() {
            return Ok(());
        }
        self.commit(RemoveCartItems { lines: lines.to_vec() }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::tests::rig::House;

    async fn carts() -> StoreCarts {
        let house = House::new();
        StoreCarts::new(house.store.clone(), house.writer.clone())
    }

    crate::carts_contract!(carts());
}
