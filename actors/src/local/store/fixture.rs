//! The memory store under the contract suite.

use std::sync::Arc;

use async_trait::async_trait;

use super::MemoryStore;
use crate::domain::{Money, SkuId, WareId, WareSkuId};
use crate::local::clock::{ManualClock, SeededEntropy};
use crate::ports::contract::store::{Fixture, StoreFixture};
use crate::ports::store::{Address, Member, Sku, Store, StoreRules};

/// Makes memory stores for the contract suite.
pub struct MemoryFixtures;

#[async_trait]
impl StoreFixture for MemoryFixtures {
    async fn fresh(&self, clock: Arc<ManualClock>, rules: StoreRules) -> Box<dyn Fixture> {
        Box::new(Arc::new(MemoryStore::new(clock, Arc::new(SeededEntropy::new(1)), rules)))
    }
}

#[async_trait]
impl Fixture for Arc<MemoryStore> {
    fn store(&self) -> Arc<dyn Store> {
        self.clone()
    }

    async fn add_sku(&self, sku: &Sku) {
        MemoryStore::add_sku(self, sku.clone());
    }

    async fn set_price(&self, sku_id: SkuId, price: Money) {
        MemoryStore::set_price(self, sku_id, price);
    }

    async fn add_warehouse(&self, ware_id: WareId, name: &str) {
        MemoryStore::add_warehouse(self, ware_id, name);
    }

    async fn add_stock(&self, sku_id: SkuId, ware_id: WareId, stock: i64) -> WareSkuId {
        MemoryStore::add_stock(self, sku_id, ware_id, stock)
    }

    async fn add_member(&self, member: &Member) {
        MemoryStore::add_member(self, member.clone());
    }

    async fn add_address(&self, address: &Address) {
        MemoryStore::add_address(self, address.clone());
    }

    async fn tamper_stock(&self, id: WareSkuId, stock: i64, locked: i64) {
        MemoryStore::tamper_stock(self, id, stock, locked);
    }
}
