//! What the parts of the flash sale share: the ports, each call with its limit.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::FlashSaleSettings;
use super::clock::StoreClock;
use crate::domain::flash_sale::FlashSale;
use crate::domain::reject::Unavailable;
use crate::domain::{OrderSn, SaleId};
use crate::ports::clock::Entropy;
use crate::ports::coordination::{Coordination, CoordinationError, SemaphoreContent};
use crate::ports::store::units::Unit;
use crate::ports::store::{Store, StoreError};
use crate::writer::{WriteError, Writer};

pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) coordination: Arc<dyn Coordination>,
    pub(super) writer: Writer,
    pub(super) clock: StoreClock,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) settings: FlashSaleSettings,
}

impl Shared {
    /// Reads the store, within `store_timeout`.
    pub(super) async fn read<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, Unavailable> {
        match timeout(self.settings.store_timeout, read).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Unavailable::Dependency(error.to_string())),
            Err(_) => Err(Unavailable::Dependency("the store did not answer in time".into())),
        }
    }

    /// Asks the coordination, within `coordination_timeout`. A call that timed out may have had its effect.
    pub(super) async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, CoordinationError>>,
    ) -> Result<T, Unavailable> {
        within(self.settings.coordination_timeout, call).await
    }

    /// Replaces the permits of a sale, within `rebuild_timeout`.
    pub(super) async fn rebuild(&self, content: &SemaphoreContent) -> Result<bool, Unavailable> {
        within(self.settings.rebuild_timeout, self.coordination.rebuild(content)).await
    }

    /// Commits a unit, within `commit_timeout`; after that its outcome is unknown.
    pub(super) async fn commit<U: Unit>(&self, unit: U) -> Result<U::Outcome, WriteError> {
        self.writer.commit_within(unit, self.settings.commit_timeout).await
    }

    /// The sale as it is in the store.
    pub(super) async fn sale(&self, sale_id: SaleId) -> Result<FlashSale, Unavailable> {
        let sale = self.read(self.store.sale(sale_id)).await?;
        sale.ok_or_else(|| Unavailable::Dependency(format!("flash sale {sale_id} is gone")))
    }

    pub(super) fn order_sn(&self, number: u64) -> OrderSn {
        OrderSn::generate(self.clock.now(), number)
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, CoordinationError>>,
) -> Result<T, Unavailable> {
    match timeout(limit, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Unavailable::Dependency(error.to_string())),
        Err(_) => Err(Unavailable::Dependency("the coordination did not answer in time".into())),
    }
}
