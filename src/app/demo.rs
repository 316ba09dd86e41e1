//! What a first look needs: members, two SKUs, and an armed flash sale on one of them.

use std::sync::Arc;
use std::time::Duration;

use actors::domain::flash_sale::{ChallengeMode, NewFlashSale};
use actors::domain::{Money, SkuId};
use actors::flash_sale::{FlashSales, SaleFailure};
use actors::ports::store::StoreError;
use anyhow::Context;
use tokio::time::Instant;

use super::durable::DurableStore;

const SKU: SkuId = SkuId(49);
const UNITS: i64 = 100;
const PRICE: Money = Money(499_900);
const WINDOW: Duration = Duration::from_secs(24 * 3600);

/// How long a busy store is asked again for the demo data.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);

/// Loads the demo data and arms a flash sale of 100 units on SKU 49, unless one is open.
pub async fn prepare(store: &DurableStore, sales: &Arc<FlashSales>) -> anyhow::Result<()> {
    load(store).await.context("demo data")?;
    if store.port().open_sales().await?.iter().any(|sale| sale.sku_id == SKU) {
        return Ok(());
    }
    let now = sales.now();
    let sale = NewFlashSale {
        sku_id: SKU,
        price: PRICE,
        count: UNITS,
        per_user_limit: 1,
        starts_at: now,
        ends_at: now.plus(WINDOW),
        challenge: ChallengeMode::default(),
    };
    let sale = sales.create(sale).await.context("demo flash sale")?;
    match sales.arm(sale.id).await {
        Ok(_) => Ok(()),
        // Earlier sales may have sold the shelf empty; the server is fine without another one.
        Err(failure @ (SaleFailure::Rejected(_) | SaleFailure::Conflict(_))) => {
            tracing::warn!(%failure, "no demo flash sale");
            Ok(())
        }
        Err(error) => Err(error).context("arming the demo flash sale"),
    }
}

/// Nodes that start together load it together, and one waits for the other.
async fn load(store: &DurableStore) -> Result<(), StoreError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match store.load_demo().await {
            Err(StoreError::Transient(reason)) if Instant::now() < until => {
                tracing::debug!(reason, "the demo data has to wait");
                tokio::time::sleep(PAUSE).await;
            }
            loaded => return loaded,
        }
    }
}
