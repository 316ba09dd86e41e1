//! The commands on sales: create, arm, pause, resume, end.

use super::{FlashSales, SaleFailure, desk};
use crate::domain::SaleId;
use crate::domain::flash_sale::{FlashSale, NewFlashSale, SaleState};
use crate::domain::order::LockLine;
use crate::domain::reject::{Reject, Unavailable};
use crate::ports::store::units::{
    ArmSale, CreateSale, EditSale, EndSale, PauseSale, RestockSale, SaleArmed, SaleChange, SaleEdit, SaleRestock,
};

/// Most units of one sale: a reservation is counted in 32 bits.
const MAX_COUNT: i64 = i32::MAX as i64;

impl FlashSales {
    /// Makes a draft. It holds no stock yet.
    ///
    /// # Errors
    /// [`SaleFailure::Invalid`], [`SaleFailure::Rejected`] for a SKU that does not exist, or a fault.
    pub async fn create(&self, sale: NewFlashSale) -> Result<FlashSale, SaleFailure> {
        check(&sale)?;
        let sku_id = sale.sku_id;
        if self.shared.read(self.shared.store.skus(&[sku_id])).await?.is_empty() {
            return Err(Reject::UnknownSku(sku_id).into());
        }
        let sale_id = self.shared.commit(CreateSale { sale }).await.map_err(Unavailable::from)?;
        self.find(sale_id).await
    }

    /// Carves the units out of ordinary stock and writes the permits. Buyers are let in from `starts_at`.
    ///
    /// # Errors
    /// [`SaleFailure::WrongState`] unless it is a draft, [`SaleFailure::Conflict`], [`SaleFailure::Over`],
    /// [`SaleFailure::Rejected`] when the units are not free, or a fault.
    pub async fn arm(&self, sale_id: SaleId) -> Result<FlashSale, SaleFailure> {
        let sale = self.find(sale_id).await?;
        if sale.state != SaleState::Draft {
            return Err(SaleFailure::WrongState(sale.state));
        }
        self.check_armable(&sale).await?;
        let count = u32::try_from(sale.count).map_err(|_| SaleFailure::Invalid("count is out of range"))?;
        let arm = |allotments: Vec<LockLine>| ArmSale { sale_id, allotments };
        let stale = |outcome: &SaleArmed| match outcome {
            SaleArmed::Stale(sku_ids) => sku_ids.clone(),
            _ => Vec::new(),
        };
        match self.stock.commit_reserved(&[(sale.sku_id, count)], arm, stale).await? {
            SaleArmed::Armed(_) => {}
            SaleArmed::WrongState(state) => return Err(wrong_state(state)),
            SaleArmed::Conflict(other) => return Err(SaleFailure::Conflict(other)),
            SaleArmed::Over => return Err(SaleFailure::Over),
            SaleArmed::Stale(_) => return Err(Unavailable::Dependency("the stock changes too fast".into()).into()),
        }
        self.refreshed(sale_id).await
    }

    /// Asked before the reservation, so that a hopeless one does not report a shortage. The unit asks again.
    async fn check_armable(&self, sale: &FlashSale) -> Result<(), SaleFailure> {
        if self.now() >= sale.ends_at {
            return Err(SaleFailure::Over);
        }
        match self.shared.read(self.shared.store.sale_of_sku(sale.sku_id)).await? {
            Some(other) if other.id != sale.id && desk::is_open(&other) => Err(SaleFailure::Conflict(other.id)),
            _ => Ok(()),
        }
    }

    /// Changes a draft, if it still is what the editor saw.
    ///
    /// # Errors
    /// [`SaleFailure::Invalid`], [`SaleFailure::WrongState`] unless it is a draft, [`SaleFailure::Rejected`] with
    /// [`Reject::Changed`], or a fault.
    pub async fn edit(&self, seen: &FlashSale, sale: NewFlashSale) -> Result<FlashSale, SaleFailure> {
        check(&sale)?;
        let unit = EditSale { sale_id: seen.id, seen: seen.terms(), sale };
        match self.shared.commit(unit).await.map_err(Unavailable::from)? {
            SaleEdit::Done => self.find(seen.id).await,
            SaleEdit::Changed => Err(Reject::Changed.into()),
            SaleEdit::WrongState(state) => Err(wrong_state(state)),
        }
    }

    /// Gives an open sale more units out of ordinary stock.
    ///
    /// # Errors
    /// [`SaleFailure::Invalid`], [`SaleFailure::WrongState`] unless it is armed or paused, [`SaleFailure::Rejected`]
    /// when the units are not free, or a fault.
    pub async fn restock(&self, sale_id: SaleId, units: u32) -> Result<FlashSale, SaleFailure> {
        let sale = self.find(sale_id).await?;
        if units == 0 {
            return Err(SaleFailure::Invalid("units must be above zero"));
        }
        if sale.count.saturating_add(i64::from(units)) > MAX_COUNT {
            return Err(SaleFailure::Invalid("count is out of range"));
        }
        if !desk::is_open(&sale) {
            return Err(SaleFailure::WrongState(sale.state));
        }
        let restock = |allotments: Vec<LockLine>| RestockSale { sale_id, allotments };
        let stale = |outcome: &SaleRestock| match outcome {
            SaleRestock::Stale(sku_ids) => sku_ids.clone(),
            _ => Vec::new(),
        };
        match self.stock.commit_reserved(&[(sale.sku_id, units)], restock, stale).await? {
            SaleRestock::Done(_) => {
                self.refreshed(sale_id).await?;
                // The gate takes the units once their permits are set; the store has them now.
                self.find(sale_id).await
            }
            SaleRestock::WrongState(state) => Err(wrong_state(state)),
            SaleRestock::Stale(_) => Err(Unavailable::Dependency("the stock changes too fast".into()).into()),
        }
    }

    /// Lets nobody in for now.
    ///
    /// # Errors
    /// [`SaleFailure::WrongState`] unless it is armed, or a fault.
    pub async fn pause(&self, sale_id: SaleId) -> Result<FlashSale, SaleFailure> {
        self.set_paused(sale_id, true).await
    }

    /// Lets buyers in again.
    ///
    /// # Errors
    /// [`SaleFailure::WrongState`] unless it is paused, or a fault.
    pub async fn resume(&self, sale_id: SaleId) -> Result<FlashSale, SaleFailure> {
        self.set_paused(sale_id, false).await
    }

    async fn set_paused(&self, sale_id: SaleId, paused: bool) -> Result<FlashSale, SaleFailure> {
        match self.shared.commit(PauseSale { sale_id, paused }).await.map_err(Unavailable::from)? {
            SaleChange::Done => self.refreshed(sale_id).await,
            SaleChange::WrongState(state) => Err(wrong_state(state)),
        }
    }

    /// Ends a sale: the gate is closed first, then the leftovers go back to stock before this answers. Ending an ended
    /// sale is fine.
    ///
    /// # Errors
    /// [`SaleFailure::UnknownSale`], or a fault; the sale is then as it was.
    pub async fn end(&self, sale_id: SaleId) -> Result<(), SaleFailure> {
        let known = self.sales.get(sale_id);
        if let Some(known) = &known {
            known.gate.close();
        }
        let ended = self.commit_end(sale_id).await;
        if let (Some(known), Err(_)) = (&known, &ended) {
            known.gate.reopen();
        }
        ended
    }

    async fn commit_end(&self, sale_id: SaleId) -> Result<(), SaleFailure> {
        match self.shared.commit(EndSale { sale_id }).await.map_err(Unavailable::from)? {
            SaleChange::WrongState(state) => return Err(wrong_state(state)),
            SaleChange::Done => {}
        }
        if let Err(unavailable) = self.refresh_sale(sale_id).await {
            // The refresher takes it; until then the gate is closed and the store refuses.
            tracing::warn!(%sale_id, %unavailable, "an ended sale is not refreshed yet");
        }
        Ok(())
    }

    async fn find(&self, sale_id: SaleId) -> Result<FlashSale, SaleFailure> {
        self.shared.read(self.shared.store.sale(sale_id)).await?.ok_or(SaleFailure::UnknownSale)
    }

    async fn refreshed(&self, sale_id: SaleId) -> Result<FlashSale, SaleFailure> {
        let sale = self.find(sale_id).await?;
        self.take(sale.clone()).await;
        // Restoring the permits may have raised the epoch.
        Ok(self.gate(sale_id).map_or(sale, |gate| gate.sale().as_ref().clone()))
    }
}

fn wrong_state(state: Option<SaleState>) -> SaleFailure {
    state.map_or(SaleFailure::UnknownSale, SaleFailure::WrongState)
}

fn check(sale: &NewFlashSale) -> Result<(), SaleFailure> {
    let rules = [
        (sale.price.0 > 0, "price must be above zero"),
        (sale.count > 0, "count must be above zero"),
        (sale.count <= MAX_COUNT, "count is out of range"),
        (sale.per_user_limit > 0, "per_user_limit must be at least 1"),
        (sale.starts_at < sale.ends_at, "starts_at must be before ends_at"),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, broken)) => Err(SaleFailure::Invalid(broken)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flash_sale::ChallengeMode;
    use crate::domain::{Money, SkuId, Timestamp};

    #[test]
    fn a_sale_must_make_sense() {
        let good = NewFlashSale {
            sku_id: SkuId(49),
            price: Money(100),
            count: 1,
            per_user_limit: 1,
            starts_at: Timestamp(0),
            ends_at: Timestamp(1),
            challenge: ChallengeMode::Off,
        };
        assert_eq!(check(&good), Ok(()));
        let bad = [
            NewFlashSale { price: Money(0), ..good.clone() },
            NewFlashSale { count: 0, ..good.clone() },
            NewFlashSale { count: MAX_COUNT + 1, ..good.clone() },
            NewFlashSale { per_user_limit: 0, ..good.clone() },
            NewFlashSale { ends_at: Timestamp(0), ..good.clone() },
        ];
        for sale in bad {
            assert!(matches!(check(&sale), Err(SaleFailure::Invalid(_))), "{sale:?}");
        }
    }
}
