//! The orders of flash-sale winners, made from the message or by the sweep.

use std::collections::HashMap;

use super::Orders;
use super::submit::order_item;
use crate::domain::events::SecKill;
use crate::domain::flash_sale::{FlashSale, Grant, GrantState};
use crate::domain::order::{NewOrder, PayType, Receiver};
use crate::domain::reject::Unavailable;
use crate::domain::{OrderSn, SaleId, SkuId, UserId};
use crate::ports::store::Sku;
use crate::ports::store::units::{FailGrants, FlashOrder, MakeFlashOrders};
use crate::protocol::bridge::Handled;

/// What the orders of a batch of winners are filled from.
struct Material {
    sales: HashMap<SaleId, FlashSale>,
    skus: HashMap<SkuId, Sku>,
    usernames: HashMap<UserId, String>,
    receivers: HashMap<UserId, Receiver>,
}

impl Orders {
    /// Makes the orders of winners that have none yet and tells their waiters. One answer per item.
    pub(super) async fn make_flash_orders(&self, items: &[SecKill]) -> Vec<Handled> {
        match self.try_make_flash_orders(items).await {
            Ok(handled) => handled,
            Err(error) => vec![Handled::Retry(error.to_string()); items.len()],
        }
    }

    async fn try_make_flash_orders(&self, items: &[SecKill]) -> Result<Vec<Handled>, Unavailable> {
        let order_sns: Vec<OrderSn> = items.iter().map(|item| item.order_token.clone()).collect();
        let grants = self.read(self.store.grants(&order_sns)).await?;
        let open: Vec<&Grant> =
            grants.iter().filter(|grant| grant.state == GrantState::Granted && !grant.ordered).collect();
        let material = self.material(&open).await?;

        let (mut orders, mut failed) = (Vec::new(), Vec::new());
        for grant in open {
            match self.flash_order(grant, &material) {
                Ok(order) => orders.push(order),
                Err(reason) => failed.push((grant.order_sn.clone(), reason)),
            }
        }
        if !failed.is_empty() {
            tracing::error!(grants = failed.len(), "winners' orders cannot be made");
            self.commit(FailGrants { grants: failed }).await?;
        }
        let without_unit = self.commit_flash_orders(orders).await?;

        // A hint for the waiters; they look in the store by themselves when it is lost.
        let hint = self.coordination.count_down(&order_sns);
        if !matches!(tokio::time::timeout(self.settings.request, hint).await, Ok(Ok(()))) {
            tracing::debug!("latch hint lost");
        }
        Ok(items.iter().map(|item| answer(item, &grants, &without_unit)).collect())
    }

    async fn commit_flash_orders(&self, orders: Vec<NewOrder>) -> Result<Vec<OrderSn>, Unavailable> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let order_sns: Vec<OrderSn> = orders.iter().map(|order| order.order_sn.clone()).collect();
        let outcomes = self.commit(MakeFlashOrders { orders }).await?;
        let short = order_sns.into_iter().zip(outcomes).filter(|(_, outcome)| *outcome == FlashOrder::NoUnit);
        Ok(short.map(|(order_sn, _)| order_sn).collect())
    }

    async fn material(&self, grants: &[&Grant]) -> Result<Material, Unavailable> {
        let user_ids: Vec<UserId> = grants.iter().map(|grant| grant.user_id).collect();
        let mut sales = HashMap::new();
        for grant in grants {
            if sales.contains_key(&grant.sale_id) {
                continue;
            }
            if let Some(sale) = self.read(self.store.sale(grant.sale_id)).await? {
                sales.insert(sale.id, sale);
            }
        }
        let sku_ids: Vec<SkuId> = sales.values().map(|sale| sale.sku_id).collect();
        let (skus, members, addresses) = tokio::join!(
            self.read(self.store.skus(&sku_ids)),
            self.read(self.store.members(&user_ids)),
            self.read(self.store.default_addresses(&user_ids)),
        );
        Ok(Material {
            sales,
            skus: skus?.into_iter().map(|sku| (sku.sku_id, sku)).collect(),
            usernames: members?.into_iter().map(|member| (member.id, member.username)).collect(),
            receivers: addresses?.into_iter().map(|address| (address.user_id, address.receiver)).collect(),
        })
    }

    fn flash_order(&self, grant: &Grant, material: &Material) -> Result<NewOrder, String> {
        let sale = material.sales.get(&grant.sale_id).ok_or("the sale does not exist")?;
        let sku = material.skus.get(&sale.sku_id).ok_or("the SKU is no longer in the catalogue")?;
        let mut item = order_item(sku.clone(), 1);
        item.price = sale.price;
        Ok(NewOrder {
            order_sn: grant.order_sn.clone(),
            user_id: grant.user_id,
            username: material.usernames.get(&grant.user_id).cloned().unwrap_or_default(),
            pay_type: PayType::Online,
            total_amount: sale.price,
            pay_amount: sale.price,
            delivery_company: String::new(),
            receiver: material.receivers.get(&grant.user_id).cloned().unwrap_or_default(),
            items: vec![item],
            payment_timeout: self.settings.flash_payment_timeout,
            sale_id: Some(sale.id),
            pay_page_issued: false,
        })
    }
}

fn answer(item: &SecKill, grants: &[Grant], without_unit: &[OrderSn]) -> Handled {
    if without_unit.contains(&item.order_token) {
        return Handled::Retry("no undrawn unit of the sale is there yet".into());
    }
    if grants.iter().any(|grant| grant.order_sn == item.order_token) {
        return Handled::Done;
    }
    Handled::Poison("no such grant".into())
}
