//! What is free in stock rows, and what happens to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use actors::domain::order::LockLine;
use actors::domain::stock::StockRow;
use actors::domain::{OrderSn, SaleId, SkuId, Timestamp, WareSkuId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{AdjustStock, Adjustment};

/// Units free in the rows that a group wants, as the group takes them one after the other.
pub(in crate::store) struct Free(HashMap<WareSkuId, (SkuId, i64)>);

impl Free {
    /// Rows with their SKU and the units free in them.
    pub(in crate::store) fn new(rows: impl IntoIterator<Item = (WareSkuId, SkuId, i64)>) -> Self {
        Self(rows.into_iter().map(|(id, sku_id, free)| (id, (sku_id, free))).collect())
    }

    /// Takes all lines or none; the SKUs of the rows that refuse, ascending.
    pub(in crate::store) fn take(&mut self, lines: &[&LockLine]) -> Result<(), Vec<SkuId>> {
        let mut wanted: BTreeMap<WareSkuId, i64> = BTreeMap::new();
        for line in lines {
            *wanted.entry(line.ware_sku_id).or_default() += i64::from(line.num);
        }
        let refused: BTreeSet<SkuId> =
            lines.iter().filter(|line| !self.has(line, wanted[&line.ware_sku_id])).map(|line| line.sku_id).collect();
        if !refused.is_empty() {
            return Err(refused.into_iter().collect());
        }
        for (id, num) in wanted {
            if let Some((_, free)) = self.0.get_mut(&id) {
                *free -= num;
            }
        }
        Ok(())
    }

    fn has(&self, line: &LockLine, num: i64) -> bool {
        self.0.get(&line.ware_sku_id).is_some_and(|&(sku_id, free)| sku_id == line.sku_id && free >= num)
    }
}

/// What happens to stock rows: units added to those on hand and to the locked ones.
#[derive(Default)]
pub(in crate::store) struct StockChange(BTreeMap<WareSkuId, (i64, i64)>);

impl StockChange {
    /// The locks of these lines.
    pub(in crate::store) fn locking<'l>(lines: impl IntoIterator<Item = &'l LockLine>) -> Self {
        let mut change = Self::default();
        for line in lines {
            change.add(line.ware_sku_id, 0, i64::from(line.num));
        }
        change
    }

    /// Adds to the units on hand and to the locked ones.
    pub(in crate::store) fn add(&mut self, id: WareSkuId, stock: i64, locked: i64) {
        let sum = self.0.entry(id).or_default();
        sum.0 += stock;
        sum.1 += locked;
    }

    /// Rows that change, by ascending id, with the units added on hand and locked.
    pub(in crate::store) fn rows(&self) -> Vec<(WareSkuId, i64, i64)> {
        let changed = self.0.iter().filter(|(_, change)| **change != (0, 0));
        changed.map(|(id, (stock, locked))| (*id, *stock, *locked)).collect()
    }
}

/// A lock row about to be made.
pub(in crate::store) struct NewLock<'u> {
    pub(in crate::store) owner: &'u OrderSn,
    pub(in crate::store) line: LockLine,
    pub(in crate::store) sale_id: Option<SaleId>,
    pub(in crate::store) lease_until: Option<Timestamp>,
    /// Whether it is the one row of another system's owner that the UNIQUE index over such owners sees.
    pub(in crate::store) is_first: bool,
}

/// What an adjustment comes to on the row as it is: `Err` is the answer, `Ok` says to write.
pub(in crate::store) fn judge_adjustment(
    before: StockRow,
    unit: &AdjustStock,
) -> Result<Result<(), Adjustment>, StoreError> {
    let after = before.stock.checked_add(unit.delta).ok_or_else(|| StoreError::Constraint("stock overflows".into()))?;
    if after < before.locked {
        return Ok(Err(Adjustment::BelowLocked(before)));
    }
    Ok(Ok(()))
}
