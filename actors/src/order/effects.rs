//! What arrivals do: one match from batch to flow.

use std::collections::HashSet;

use async_trait::async_trait;

use super::Orders;
use crate::domain::events::{BoundPlus, CartDelete, OrderRef};
use crate::domain::payment::PendingRefund;
use crate::domain::reject::Unavailable;
use crate::domain::stock::Resolution;
use crate::domain::{OrderSn, SaleId};
use crate::ports::store::units::{AddPoints, AnnouncePaid, EndSale, LockResolved};
use crate::protocol::bridge::{EffectBatch, Effects, Handled};

#[async_trait]
impl Effects for Orders {
    async fn apply(&self, batch: EffectBatch) -> Vec<Handled> {
        match batch {
            EffectBatch::OrderClose(items) => {
                let result = self.close_due(&order_sns(&items)).await;
                all(items.len(), result)
            }
            EffectBatch::OrderSuccess(message_id, items) => {
                let result = self.announce_paid(message_id, order_sns(&items)).await;
                all(items.len(), result)
            }
            EffectBatch::StockUnlock(items) => self.resolve(Resolution::Release, &items, false).await,
            EffectBatch::StockMinus(items) => self.resolve(Resolution::Deduct, &items, false).await,
            EffectBatch::CartDelete(items) => {
                let count = items.len();
                all(count, self.clean_carts(items).await)
            }
            EffectBatch::BoundPlus(items) => {
                let count = items.len();
                all(count, self.add_points(items).await)
            }
            EffectBatch::SecKill(items) => self.make_flash_orders(&items).await,
            EffectBatch::ReleaseLapsed(items) => self.resolve(Resolution::Release, &items, true).await,
            EffectBatch::AutoReceive(items) => {
                let result = self.receive_due(order_sns(&items)).await;
                all(items.len(), result)
            }
            EffectBatch::EndSales(sale_ids) => self.end_sales(&sale_ids).await,
            EffectBatch::Refunds(refunds) => self.refunds(&refunds).await,
        }
    }
}

impl Orders {
    async fn announce_paid(&self, message_id: String, order_sns: Vec<OrderSn>) -> Result<(), Unavailable> {
        self.commit(AnnouncePaid { message_id, order_sns }).await?;
        Ok(())
    }

    async fn clean_carts(&self, items: Vec<CartDelete>) -> Result<(), Unavailable> {
        let lines: Vec<_> = items
            .into_iter()
            .flat_map(|item| item.sku_ids.into_iter().map(move |sku_id| (item.user_id, sku_id)))
            .collect();
        self.remove_from_carts(&lines).await
    }

    async fn add_points(&self, mut credits: Vec<BoundPlus>) -> Result<(), Unavailable> {
        let mut seen = HashSet::new();
        credits.retain(|credit| seen.insert(credit.order_token.clone()));
        self.commit(AddPoints { credits }).await?;
        Ok(())
    }

    /// Sales past their window: their gates refuse by the window already, so only the leftovers must go back.
    async fn end_sales(&self, sale_ids: &[SaleId]) -> Vec<Handled> {
        let mut handled = Vec::with_capacity(sale_ids.len());
        for &sale_id in sale_ids {
            handled.push(match self.commit(EndSale { sale_id }).await {
                Ok(_) => Handled::Done,
                Err(error) => Handled::Retry(error.to_string()),
            });
        }
        handled
    }

    async fn refunds(&self, refunds: &[PendingRefund]) -> Vec<Handled> {
        let mut handled = Vec::with_capacity(refunds.len());
        for refund in refunds {
            handled.push(self.refund(refund).await.map_or_else(Handled::Retry, |()| Handled::Done));
        }
        handled
    }

    async fn resolve(&self, way: Resolution, items: &[OrderRef], lapsed_only: bool) -> Vec<Handled> {
        let owners = order_sns(items);
        let answers = self.stock.resolve(way, &owners, lapsed_only).await;
        owners.iter().zip(answers).map(|(owner, answer)| resolved(owner, way, answer)).collect()
    }
}

fn resolved(owner: &OrderSn, way: Resolution, answer: Result<Vec<LockResolved>, Unavailable>) -> Handled {
    let resolved = match answer {
        Ok(resolved) => resolved,
        Err(error) => return Handled::Retry(error.to_string()),
    };
    for lock in resolved {
        if let LockResolved::Refused(status) = lock {
            metrics::counter!("seckill_stock_messages_refused_total").increment(1);
            tracing::warn!(order_sn = %owner, ?way, status = status.name(), "stock message refused");
        }
    }
    Handled::Done
}

fn order_sns(items: &[OrderRef]) -> Vec<OrderSn> {
    items.iter().map(|item| item.order_token.clone()).collect()
}

fn all(count: usize, result: Result<(), Unavailable>) -> Vec<Handled> {
    let answer = match result {
        Ok(()) => Handled::Done,
        Err(error) => Handled::Retry(error.to_string()),
    };
    vec![answer; count]
}
