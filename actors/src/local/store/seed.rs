//! Filling the tables from the outside, as an operator or another program would.

use super::MemoryStore;
use super::stock::empty_row;
use super::tables::PointsEntry;
use crate::domain::stock::{LedgerKind, StockRow};
use crate::domain::{Money, SkuId, WareId, WareSkuId};
use crate::ports::store::{Address, Member, Sku};

impl MemoryStore {
    /// Adds a SKU, or replaces it.
    pub fn add_sku(&self, mut sku: Sku) {
        sku.attributes.sort_by_key(|attribute| (attribute.sort, attribute.id));
        self.tables().skus.insert(sku.sku_id, sku);
    }

    /// Takes a SKU out of the catalogue.
    pub fn remove_sku(&self, sku_id: SkuId) {
        self.tables().skus.remove(&sku_id);
    }

    /// Changes the price of a known SKU.
    pub fn set_price(&self, sku_id: SkuId, price: Money) {
        if let Some(sku) = self.tables().skus.get_mut(&sku_id) {
            sku.price = price;
        }
    }

    /// Adds a warehouse.
    pub fn add_warehouse(&self, ware_id: WareId, name: &str) {
        self.tables().warehouses.insert(ware_id, name.to_owned());
    }

    /// Adds a stock row with its opening ledger row; answers its id.
    pub fn add_stock(&self, sku_id: SkuId, ware_id: WareId, stock: i64) -> WareSkuId {
        let mut tables = self.tables();
        let row = StockRow { stock, ..empty_row(&tables, sku_id, ware_id) };
        tables.stock.insert(row.id, row);
        tables.add_ledger(self.now_ms(), row.id, LedgerKind::Opening, stock, "");
        row.id
    }

    /// Adds a member; an opening balance gets its history row.
    pub fn add_member(&self, member: Member) {
        let mut tables = self.tables();
        if member.integration != 0 {
            let opening = PointsEntry { user_id: member.id, order_sn: None, integration: member.integration };
            tables.points.push(opening);
        }
        tables.members.insert(member.id, member);
    }

    /// Adds an address.
    pub fn add_address(&self, address: Address) {
        self.tables().addresses.push(address);
    }

    /// Sets a stock row past every guard and without a ledger row, as a foreign program would; raises its version.
    pub fn tamper_stock(&self, id: WareSkuId, stock: i64, locked: i64) {
        if let Some(row) = self.tables().stock.get_mut(&id) {
            row.stock = stock;
            row.locked = locked;
            row.version += 1;
        }
    }
}
