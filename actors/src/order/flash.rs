//! The orders of flash-sale winners, made from the message or by the sweep.
//!
//! The message says who won what, and the store makes an order only where its grant says the same; so nothing is read
//! to believe it. Only for items that the store does not believe are the grants looked at.

use std::collections::{HashMap, HashSet};

use super::Orders;
use super::submit::order_item;
use crate::domain::events::SecKill;
use crate::domain::flash_sale::{Grant, GrantState};
use crate::domain::order::{NewOrder, OrderItem, PayType};
use crate::domain::reject::Unavailable;
use crate::domain::{OrderSn, SaleId, UserId};
use crate::ports::store::units::{FailGrants, FlashOrder, MakeFlashOrders};
use crate::ports::store::{Buyer, Sku};
use crate::protocol::bridge::Handled;

/// Who won in which sale, under which number.
struct Win<'a> {
    order_sn: &'a OrderSn,
    sale_id: SaleId,
    user_id: UserId,
}

impl<'a> From<&'a SecKill> for Win<'a> {
    fn from(item: &'a SecKill) -> Self {
        Self { order_sn: &item.order_token, sale_id: item.sale_id, user_id: item.user_id }
    }
}

impl<'a> From<&'a Grant> for Win<'a> {
    fn from(grant: &'a Grant) -> Self {
        Self { order_sn: &grant.order_sn, sale_id: grant.sale_id, user_id: grant.user_id }
    }
}

/// What became of a win: the store's word, or why no order of it can be written.
type Made = Result<FlashOrder, &'static str>;

/// What the orders of a batch of winners are filled from.
#[derive(Default)]
struct Material {
    /// The one item of a sale's orders, at the sale's price.
    items: HashMap<SaleId, Result<OrderItem, &'static str>>,
    buyers: HashMap<UserId, Buyer>,
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
        let wins: Vec<Win<'_>> = items.iter().map(Win::from).collect();
        let made = self.make(&wins).await?;
        let doubtful: Vec<OrderSn> =
            wins.iter().zip(&made).filter(|(_, made)| is_doubtful(made)).map(|(win, _)| win.order_sn.clone()).collect();
        let settled = if doubtful.is_empty() { HashMap::new() } else { self.settle_by_grants(&doubtful).await? };

        // A hint for the waiters; they look in the store by themselves when it is lost.
        let order_sns: Vec<OrderSn> = wins.iter().map(|win| win.order_sn.clone()).collect();
        let hint = self.coordination.count_down(&order_sns);
        if !matches!(tokio::time::timeout(self.settings.request, hint).await, Ok(Ok(()))) {
            tracing::debug!("latch hint lost");
        }
        let answer = |(win, made): (&Win<'_>, Made)| match made {
            Ok(outcome) if !is_doubtful(&made) => handled(outcome),
            _ => settled.get(win.order_sn).cloned().unwrap_or_else(|| Handled::Poison("no such grant".into())),
        };
        Ok(wins.iter().zip(made).map(answer).collect())
    }

    /// What the grants of these numbers say: orders of open ones are made of what they say, and those of which none can
    /// be written fail. A number without grant has no answer.
    async fn settle_by_grants(&self, order_sns: &[OrderSn]) -> Result<HashMap<OrderSn, Handled>, Unavailable> {
        let grants = self.read(self.store.grants(order_sns)).await?;
        let is_open = |grant: &&Grant| grant.state == GrantState::Granted && !grant.ordered;
        let wins: Vec<Win<'_>> = grants.iter().filter(is_open).map(Win::from).collect();
        let made = self.make(&wins).await?;

        let mut settled: HashMap<OrderSn, Handled> =
            grants.iter().map(|grant| (grant.order_sn.clone(), Handled::Done)).collect();
        let mut failed = Vec::new();
        for (win, made) in wins.iter().zip(made) {
            match made {
                Ok(made) => drop(settled.insert(win.order_sn.clone(), handled(made))),
                Err(reason) => failed.push((win.order_sn.clone(), reason.to_owned())),
            }
        }
        if !failed.is_empty() {
            tracing::error!(grants = failed.len(), "winners' orders cannot be made");
            self.commit(FailGrants { grants: failed }).await?;
        }
        Ok(settled)
    }

    /// What became of each win.
    async fn make(&self, wins: &[Win<'_>]) -> Result<Vec<Made>, Unavailable> {
        let material = self.material(wins).await?;
        let filled: Vec<Result<NewOrder, &'static str>> =
            wins.iter().map(|win| self.flash_order(win, &material)).collect();
        let reasons: Vec<Option<&'static str>> = filled.iter().map(|order| order.as_ref().err().copied()).collect();
        let orders: Vec<NewOrder> = filled.into_iter().flatten().collect();
        let mut outcomes = match orders.is_empty() {
            true => Vec::new(),
            false => self.commit(MakeFlashOrders { orders: orders.into() }).await?,
        }
        .into_iter();
        let mut made = Vec::with_capacity(wins.len());
        for reason in reasons {
            made.push(match reason {
                Some(reason) => Err(reason),
                None => Ok(outcomes.next().ok_or_else(|| Unavailable::Dependency("an order has no outcome".into()))?),
            });
        }
        Ok(made)
    }

    async fn material(&self, wins: &[Win<'_>]) -> Result<Material, Unavailable> {
        if wins.is_empty() {
            return Ok(Material::default());
        }
        let sale_ids: HashSet<SaleId> = wins.iter().map(|win| win.sale_id).collect();
        let mut sales = Vec::new();
        for sale_id in sale_ids {
            sales.extend(self.read(self.store.sale(sale_id)).await?);
        }
        let user_ids: Vec<UserId> = wins.iter().map(|win| win.user_id).collect();
        let sku_ids: Vec<_> = sales.iter().map(|sale| sale.sku_id).collect();
        let (skus, buyers) =
            tokio::join!(self.read(self.store.skus(&sku_ids)), self.read(self.store.buyers(&user_ids)));
        let skus: HashMap<_, Sku> = skus?.into_iter().map(|sku| (sku.sku_id, sku)).collect();
        let item = |sku: &Sku, price| OrderItem { price, ..order_item(sku.clone(), 1) };
        let items = sales.iter().map(|sale| {
            let sku = skus.get(&sale.sku_id).ok_or("the SKU is no longer in the catalogue");
            (sale.id, sku.map(|sku| item(sku, sale.price)))
        });
        let buyers = buyers?.into_iter().map(|buyer| (buyer.user_id, buyer));
        Ok(Material { items: items.collect(), buyers: buyers.collect() })
    }

    fn flash_order(&self, win: &Win<'_>, material: &Material) -> Result<NewOrder, &'static str> {
        let item = material.items.get(&win.sale_id).ok_or("the sale does not exist")?.clone()?;
        let buyer = material.buyers.get(&win.user_id);
        Ok(NewOrder {
            order_sn: win.order_sn.clone(),
            user_id: win.user_id,
            username: buyer.map(|buyer| buyer.username.clone()).unwrap_or_default(),
            pay_type: PayType::Online,
            total_amount: item.price,
            pay_amount: item.price,
            delivery_company: String::new(),
            receiver: buyer.and_then(|buyer| buyer.receiver.clone()).unwrap_or_default(),
            items: vec![item],
            payment_timeout: self.settings.flash_payment_timeout,
            sale_id: Some(win.sale_id),
            pay_page_issued: false,
        })
    }
}

/// Whether the grant has to say what to do.
fn is_doubtful(made: &Made) -> bool {
    matches!(made, Err(_) | Ok(FlashOrder::NotGranted))
}

fn handled(made: FlashOrder) -> Handled {
    match made {
        FlashOrder::NoUnit => Handled::Retry("no undrawn unit of the sale is there yet".into()),
        FlashOrder::Made | FlashOrder::Exists | FlashOrder::NotGranted => Handled::Done,
    }
}
