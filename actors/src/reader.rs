//! The store reader: what many requests ask at the same time is one query, as with the writer.
//!
//! A read answers those who asked before it began, so each sees whatever was committed before its question; nothing is
//! kept for the next. What comes while a read runs is the next read: a lone question is asked at once, and under load a
//! question costs a share of a trip to the database instead of a trip.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::domain::order::Order;
use crate::domain::{OrderSn, SkuId, UserId};
use crate::ports::store::{Address, Sku, Store, StoreError};

/// Questions of a kind that may wait; more are refused with [`StoreError::Transient`].
const QUEUE: usize = 8192;
/// A read that takes longer no longer holds up the next: on a connection that died, say. So there are at most as many
/// reads at once as this fits into the longest one.
const PATIENCE: Duration = Duration::from_millis(250);
/// Questions that one read answers at most.
const MOST_AT_ONCE: usize = 256;

/// What a member brings to a checkout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Spendable points; none for an unknown member.
    pub points: i64,
    /// The addresses, the default one first, then by id.
    pub addresses: Vec<Address>,
}

/// Handle to the reader; cheap to clone.
#[derive(Clone)]
pub struct Reader {
    skus: Asking<SkuId, Sku>,
    accounts: Asking<UserId, Account>,
    orders: Asking<(UserId, OrderSn), Order>,
}

impl Reader {
    /// Starts its tasks; they end with the last handle. A read that takes longer than `limit` is given up (R27).
    pub fn start(store: Arc<dyn Store>, limit: Duration) -> Self {
        let (of_skus, of_accounts, of_orders) = (store.clone(), store.clone(), store);
        Self {
            skus: Asking::start(limit, move |sku_ids| {
                let store = of_skus.clone();
                async move { Ok(store.skus(&sku_ids).await?.into_iter().map(|sku| (sku.sku_id, sku)).collect()) }
            }),
            accounts: Asking::start(limit, move |user_ids| {
                let store = of_accounts.clone();
                async move { accounts(store.as_ref(), &user_ids).await }
            }),
            orders: Asking::start(limit, move |asked| {
                let store = of_orders.clone();
                async move {
                    let orders = store.own_orders(&asked).await?;
                    Ok(orders.into_iter().map(|order| ((order.user_id, order.order_sn.clone()), order)).collect())
                }
            }),
        }
    }

    /// These SKUs, in the order asked; unknown ones are missing from the answer.
    ///
    /// # Errors
    /// [`StoreError`], also when too many wait.
    pub async fn skus(&self, sku_ids: Vec<SkuId>) -> Result<Vec<Sku>, StoreError> {
        self.skus.ask(sku_ids).await
    }

    /// A member's account; an unknown member has an empty one.
    ///
    /// # Errors
    /// As [`Self::skus`].
    pub async fn account(&self, user_id: UserId) -> Result<Account, StoreError> {
        Ok(self.accounts.ask(vec![user_id]).await?.pop().unwrap_or_default())
    }

    /// An order with its items, if this user owns it.
    ///
    /// # Errors
    /// As [`Self::skus`].
    pub async fn order_of(&self, user_id: UserId, order_sn: &OrderSn) -> Result<Option<Order>, StoreError> {
        Ok(self.orders.ask(vec![(user_id, order_sn.clone())]).await?.pop())
    }
}

async fn accounts(store: &dyn Store, user_ids: &[UserId]) -> Result<BTreeMap<UserId, Account>, StoreError> {
    let (members, addresses) = tokio::try_join!(store.members(user_ids), store.addresses_of(user_ids))?;
    let mut accounts: BTreeMap<UserId, Account> = BTreeMap::new();
    for member in members {
        accounts.entry(member.id).or_default().points = member.integration;
    }
    for address in addresses {
        accounts.entry(address.user_id).or_default().addresses.push(address);
    }
    Ok(accounts)
}

/// A question about some keys, and who waits for its answer.
struct Question<K, V> {
    keys: Vec<K>,
    reply: oneshot::Sender<Result<Vec<V>, StoreError>>,
}

/// Where questions of a kind are put.
struct Asking<K, V>(mpsc::Sender<Question<K, V>>);

impl<K, V> Clone for Asking<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Ord + Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static> Asking<K, V> {
    /// Starts the task that answers them by `read`. Reads have tasks of their own: one that panics fails those it is for,
    /// and one that is slow holds up the next for no longer than [`PATIENCE`].
    fn start<R>(limit: Duration, read: impl Fn(Vec<K>) -> R + Send + Sync + 'static) -> Self
    where
        R: Future<Output = Result<BTreeMap<K, V>, StoreError>> + Send + 'static,
    {
        let (sender, mut questions) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut waiting = Vec::new();
            while questions.recv_many(&mut waiting, MOST_AT_ONCE).await > 0 {
                waiting.retain(|question: &Question<K, V>| !question.reply.is_closed());
                let waiting = std::mem::take(&mut waiting);
                let keys: BTreeSet<K> = waiting.iter().flat_map(|question| &question.keys).cloned().collect();
                let reading = (!keys.is_empty()).then(|| read(keys.into_iter().collect()));
                // Whoever waits hears of it; here it only matters when the next may begin.
                let _ = tokio::time::timeout(PATIENCE, tokio::spawn(answer(waiting, limit, reading))).await;
            }
        });
        Self(sender)
    }

    /// What was found, in the order of the keys.
    async fn ask(&self, keys: Vec<K>) -> Result<Vec<V>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.try_send(Question { keys, reply });
        sent.map_err(|_| StoreError::Transient("too many reads wait".into()))?;
        answer.await.map_err(|_| StoreError::Failed("the read ended early, or the reader has stopped".into()))?
    }
}

/// Answers everybody; without a read, that nothing was found.
async fn answer<K: Ord, V: Clone>(
    waiting: Vec<Question<K, V>>,
    limit: Duration,
    reading: Option<impl Future<Output = Result<BTreeMap<K, V>, StoreError>>>,
) {
    let found = match reading {
        None => Ok(BTreeMap::new()),
        Some(reading) => tokio::time::timeout(limit, reading)
            .await
            .unwrap_or_else(|_| Err(StoreError::Transient("a read took too long".into()))),
    };
    for Question { keys, reply } in waiting {
        let of_these = |found: &BTreeMap<K, V>| keys.iter().filter_map(|key| found.get(key)).cloned().collect();
        // Whoever went away meanwhile needs no answer.
        let _ = reply.send(found.as_ref().map(of_these).map_err(StoreError::clone));
    }
}
