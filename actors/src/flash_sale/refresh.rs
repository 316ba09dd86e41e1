//! Keeps gates, permits and clock in step with the store, and ends sales whose window is over.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix::ArbiterHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::sales::KnownSale;
use super::{FlashSales, desk};
use crate::domain::flash_sale::{FlashSale, SalePhase};
use crate::domain::reject::Unavailable;
use crate::domain::{SaleId, Timestamp};
use crate::protocol::flash_sale::Reconcile;

/// Runs the refresher until the sales stop or are dropped.
pub(super) fn spawn(sales: &Arc<FlashSales>, arbiter: &ArbiterHandle) {
    let settings = &sales.shared.settings;
    let (every, reconcile_every) = (settings.refresh_every, settings.reconcile_every);
    let sales = Arc::downgrade(sales);
    arbiter.spawn(run(sales, every, reconcile_every));
}

async fn run(sales: Weak<FlashSales>, every: Duration, reconcile_every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut reconciled_at = Instant::now();
    loop {
        ticks.tick().await;
        let Some(sales) = sales.upgrade().filter(|sales| sales.check_running().is_ok()) else { return };
        if let Err(unavailable) = sales.refresh().await {
            metrics::counter!("seckill_flash_sale_refresh_failed_total").increment(1);
            tracing::warn!(%unavailable, "flash sales are not refreshed");
            continue;
        }
        if reconciled_at.elapsed() >= reconcile_every {
            reconciled_at = Instant::now();
            sales.reconcile_live();
        }
    }
}

impl FlashSales {
    async fn refresh(&self) -> Result<(), Unavailable> {
        let now = self.shared.read(self.shared.clock.sync(self.shared.store.as_ref())).await?;
        let open = self.shared.read(self.shared.store.open_sales()).await?;
        self.take_news_of_ended(&open).await?;
        for sale in open {
            let is_over = now >= sale.ends_at;
            let sale_id = sale.id;
            self.take(sale).await;
            if is_over {
                self.finish(sale_id).await;
            }
        }
        self.learn_winners().await?;
        let settings = &self.shared.settings;
        self.sales.forget(settings.ended_gates, now.minus(settings.ended_gate_life));
        Ok(())
    }

    /// Sales that were open here and are not in the store: another node ended them.
    async fn take_news_of_ended(&self, open: &[FlashSale]) -> Result<(), Unavailable> {
        let open: HashSet<SaleId> = open.iter().map(|sale| sale.id).collect();
        let sales = self.sales.all();
        for sale in sales.iter().filter(|sale| !sale.is_retired() && !open.contains(&sale.gate.sale_id())) {
            self.refresh_sale(sale.gate.sale_id()).await?;
        }
        Ok(())
    }

    /// The window is over: the leftovers go back to stock. Every node may try; ending twice is ending once.
    async fn finish(&self, sale_id: SaleId) {
        match self.end(sale_id).await {
            Ok(()) => tracing::info!(%sale_id, "the window is over, the sale is ended"),
            Err(failure) => tracing::warn!(%sale_id, %failure, "a sale past its window is not ended yet"),
        }
    }

    /// Reads who is at the limit in sold-out sales, so that repeats of winners are told from other refused buyers,
    /// whichever node they won at. Once for each sell-out.
    async fn learn_winners(&self) -> Result<(), Unavailable> {
        for known in self.sales.all().iter().filter(|known| !known.is_retired() && known.gate.is_sold_out()) {
            let sale = known.gate.sale();
            if !known.gate.winners().lag_behind(&sale) {
                continue;
            }
            let holders = self.shared.read(self.shared.store.holders(sale.id)).await?;
            let at_limit = holders.into_iter().filter(|(_, held)| *held >= sale.per_user_limit);
            known.gate.winners().know(at_limit.map(|(user_id, _)| user_id));
            known.gate.winners().are_complete_for(&sale);
        }
        Ok(())
    }

    fn reconcile_live(&self) {
        let now = self.now();
        for known in self.sales.all().iter().filter(|known| is_live(known, now)) {
            // Bounded: at most one a period, and several that wait are one.
            if self.tell(known, Reconcile { reply: None }).is_err() {
                return;
            }
        }
    }
}

fn is_live(known: &KnownSale, now: Timestamp) -> bool {
    let sale = known.gate.sale();
    !known.is_retired() && desk::is_open(&sale) && sale.phase(now) == SalePhase::Live
}
