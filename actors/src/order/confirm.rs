//! Confirm: prices, attributes, addresses and points in parallel, and a token for the submit.

use super::Orders;
use crate::domain::reject::{Failure, Reject, Unavailable};
use crate::domain::{Money, SkuId, UserId};
use crate::ports::store::{Address, Sku};

/// What the buyer sees before submitting.
#[derive(Clone, Debug)]
pub struct Confirmation {
    /// The member's addresses, default first.
    pub addresses: Vec<Address>,
    /// What is wanted, at today's price.
    pub items: Vec<(Sku, u32)>,
    /// Spendable points.
    pub points: i64,
    /// To be sent with the submit.
    pub token: String,
}

impl Confirmation {
    /// What an order of it would cost; `None` when no order can be that dear.
    pub fn total(&self) -> Option<Money> {
        let prices = self.items.iter().map(|(sku, quantity)| sku.price.checked_times(*quantity));
        prices.into_iter().try_fold(Money::ZERO, |sum, price| sum.checked_add(price?))
    }
}

impl Orders {
    /// Gathers what the confirm page shows and issues an order token bound to the user.
    ///
    /// # Errors
    /// [`Reject::UnknownSku`] names the first SKU that is not in the catalogue; overloaded when its order would be.
    pub async fn confirm(&self, user_id: UserId, wants: &[(SkuId, u32)]) -> Result<Confirmation, Failure> {
        self.ask_for_room(wants)?;
        let (items, account) = tokio::join!(self.priced(wants), self.read(self.reader.account(user_id)));
        let (items, account) = (items?, account?);
        let expires_at = self.now().plus(self.settings.token_ttl);
        Ok(Confirmation {
            items,
            addresses: account.addresses,
            points: account.points,
            token: self.signer.issue(user_id, expires_at, self.entropy.as_ref()),
        })
    }

    /// Refuses what the writer would refuse in the end, before anything is read for it (R28).
    pub(super) fn ask_for_room(&self, wants: &[(SkuId, u32)]) -> Result<(), Unavailable> {
        let first = wants.iter().map(|(sku_id, _)| *sku_id).min();
        if first.is_none_or(|sku_id| self.writer.has_room_for(sku_id)) { Ok(()) } else { Err(Unavailable::Overloaded) }
    }

    /// The wanted SKUs with their catalogue rows, in the order asked.
    pub(super) async fn priced(&self, wants: &[(SkuId, u32)]) -> Result<Vec<(Sku, u32)>, Failure> {
        let sku_ids: Vec<SkuId> = wants.iter().map(|(sku_id, _)| *sku_id).collect();
        let mut skus = self.read(self.reader.skus(sku_ids)).await?;
        let mut priced = Vec::with_capacity(wants.len());
        for &(sku_id, quantity) in wants {
            let Some(at) = skus.iter().position(|sku| sku.sku_id == sku_id) else {
                return Err(Reject::UnknownSku(sku_id).into());
            };
            priced.push((skus.swap_remove(at), quantity));
        }
        Ok(priced)
    }
}
