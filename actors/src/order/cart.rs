//! The cart of a logged-in buyer.

use super::{COMMIT_LIMIT, Orders};
use crate::domain::reject::{Failure, Reject, Unavailable};
use crate::domain::{SkuId, UserId};
use crate::ports::store::{CartItem, Sku};

/// Most SKUs of one cart.
pub const MAX_CART_LINES: usize = 100;

impl Orders {
    /// A buyer's cart with the catalogue rows of what is in it. A SKU that left the catalogue is left out.
    ///
    /// # Errors
    /// When the carts or the store do not answer.
    pub async fn cart(&self, user_id: UserId) -> Result<Vec<(Sku, u32)>, Failure> {
        let lines = self.cart_lines(user_id).await?;
        let sku_ids: Vec<SkuId> = lines.iter().map(|line| line.sku_id).collect();
        let skus = self.read(self.store.skus(&sku_ids)).await?;
        let row = |line: CartItem| {
            let sku = skus.iter().find(|sku| sku.sku_id == line.sku_id)?;
            Some((sku.clone(), line.quantity))
        };
        Ok(lines.into_iter().filter_map(row).collect())
    }

    /// Sets the quantity of one SKU in the cart.
    ///
    /// # Errors
    /// [`Reject::UnknownSku`], [`Reject::CartFull`].
    pub async fn put_in_cart(&self, user_id: UserId, sku_id: SkuId, quantity: u32) -> Result<(), Failure> {
        let sku = self.read(self.store.skus(&[sku_id])).await?.pop().ok_or(Reject::UnknownSku(sku_id))?;
        let lines = self.cart_lines(user_id).await?;
        if lines.len() >= MAX_CART_LINES && lines.iter().all(|line| line.sku_id != sku_id) {
            return Err(Reject::CartFull(MAX_CART_LINES).into());
        }
        Ok(self.at_carts(COMMIT_LIMIT, self.carts.put(user_id, &sku, quantity)).await?)
    }

    /// Takes one SKU out of the cart; one that is not in it is fine.
    ///
    /// # Errors
    /// When the carts do not answer.
    pub async fn take_out_of_cart(&self, user_id: UserId, sku_id: SkuId) -> Result<(), Failure> {
        Ok(self.remove_from_carts(&[(user_id, sku_id)]).await?)
    }

    /// Takes lines out of carts.
    pub(super) async fn remove_from_carts(&self, lines: &[(UserId, SkuId)]) -> Result<(), Unavailable> {
        self.at_carts(COMMIT_LIMIT, self.carts.remove(lines)).await
    }

    async fn cart_lines(&self, user_id: UserId) -> Result<Vec<CartItem>, Unavailable> {
        self.at_carts(self.settings.request, self.carts.lines(user_id)).await
    }
}
