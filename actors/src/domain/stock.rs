//! The stock ledger of one SKU: what its actor knows and decides from.
//!
//! The store is the truth; the ledger holds the last known rows and, beside them, what is being committed right now.
//! A unit is free when it is neither locked in the row nor pending here. Rows carry the store's version, so news can
//! arrive in any order.

use std::time::Duration;

use super::ids::{SkuId, WareId, WareSkuId};
use super::order::LockLine;
use super::time::Timestamp;

/// One stock row as the store holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockRow {
    /// Row id.
    pub id: WareSkuId,
    /// The SKU.
    pub sku_id: SkuId,
    /// The warehouse.
    pub ware_id: WareId,
    /// Units on hand, locked ones included.
    pub stock: i64,
    /// Units promised to orders, foreign locks and armed flash sales.
    pub locked: i64,
    /// Raised by every change of the row.
    pub version: i64,
}

impl StockRow {
    /// Units that may still be promised.
    pub const fn available(&self) -> i64 {
        self.stock - self.locked
    }
}

/// State of one lock row, `wms_stock_lock.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i64)]
pub enum LockState {
    /// Promised, not resolved.
    Locked = 0,
    /// Sold.
    Deducted = 1,
    /// Given back.
    Released = 2,
    /// Sold, then refunded before shipment and put back.
    Returned = 3,
}

impl LockState {
    /// From the column.
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::Locked, Self::Deducted, Self::Released, Self::Returned].into_iter().find(|s| *s as i64 == code)
    }
}

/// Why the units on hand changed, `wms_stock_ledger.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LedgerKind {
    /// The first count.
    Opening,
    /// Changed by staff.
    Adjustment,
    /// Sold.
    Sale,
    /// Sold, then put back.
    Return,
}

impl LedgerKind {
    /// The text of the column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Adjustment => "adjust",
            Self::Sale => "sale",
            Self::Return => "return",
        }
    }

    /// From the column.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Opening, Self::Adjustment, Self::Sale, Self::Return].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The two ways to resolve a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// Paid: stock and locked fall.
    Deduct,
    /// Closed: locked falls, or the unit goes back to its running flash sale.
    Release,
}

impl Resolution {
    /// The state a lock ends in.
    pub const fn target(self) -> LockState {
        match self {
            Self::Deduct => LockState::Deducted,
            Self::Release => LockState::Released,
        }
    }
}

/// Not enough free units for a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Units free over all warehouses.
    pub available: i64,
}

/// What the actor of one SKU knows.
#[derive(Clone, Debug)]
pub struct StockLedger {
    sku_id: SkuId,
    rows: Vec<LedgerRow>,
    loaded_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct LedgerRow {
    row: StockRow,
    pending: i64,
}

impl LedgerRow {
    /// Never below zero: a row that another node emptied must not hide the units of its neighbours.
    fn free(&self) -> i64 {
        (self.row.available() - self.pending).max(0)
    }
}

impl StockLedger {
    /// A ledger over the rows read at `now`.
    pub fn new(sku_id: SkuId, rows: Vec<StockRow>, now: Timestamp) -> Self {
        let mut ledger = Self { sku_id, rows: Vec::with_capacity(rows.len()), loaded_at: now };
        ledger.reload(&rows, now);
        ledger
    }

    /// Whether the SKU has any stock row.
    pub fn is_known(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Units free over all warehouses.
    pub fn free(&self) -> i64 {
        self.rows.iter().map(LedgerRow::free).sum()
    }

    /// Units that would be free if everything being committed were given up. A wish beyond this is refused for
    /// certain; one below it is only undecided.
    pub fn conceivable(&self) -> i64 {
        self.rows.iter().map(|known| known.row.available().max(0)).sum()
    }

    /// Units being committed.
    pub fn pending(&self) -> i64 {
        self.rows.iter().map(|known| known.pending).sum()
    }

    /// The last known rows.
    pub fn rows(&self) -> impl Iterator<Item = &StockRow> {
        self.rows.iter().map(|known| &known.row)
    }

    /// Whether the rows are older than `age` and a refusal should look at the store first (R23).
    pub fn is_older_than(&self, age: Duration, now: Timestamp) -> bool {
        now.since(self.loaded_at) >= age
    }

    /// Promises `num` units in memory, from one warehouse if one has enough, else split from the fullest down.
    ///
    /// # Errors
    /// [`Short`] with the units that are free; nothing is promised then.
    pub fn reserve(&mut self, num: u32) -> Result<Vec<LockLine>, Short> {
        assert!(num > 0, "a reservation takes at least one unit");
        let wanted = i64::from(num);
        let free = self.free();
        if free < wanted {
            return Err(Short { available: free });
        }
        let lines = match self.rows.iter_mut().find(|known| known.free() >= wanted) {
            Some(known) => vec![promise(known, wanted)],
            None => self.split(wanted),
        };
        debug_assert_eq!(lines.iter().map(|line| i64::from(line.num)).sum::<i64>(), wanted);
        self.assert_sound();
        Ok(lines)
    }

    fn split(&mut self, wanted: i64) -> Vec<LockLine> {
        let mut fullest: Vec<&mut LedgerRow> = self.rows.iter_mut().filter(|known| known.free() > 0).collect();
        fullest.sort_by_key(|known| (-known.free(), known.row.id));
        let mut missing = wanted;
        let mut lines = Vec::with_capacity(fullest.len());
        for known in fullest {
            let take = known.free().min(missing);
            lines.push(promise(known, take));
            missing -= take;
            if missing == 0 {
                break;
            }
        }
        assert_eq!(missing, 0, "the free units were counted before");
        lines
    }

    /// Ends promises: their units are in the store's rows by now, or were given up.
    ///
    /// Returns the units this ledger never promised: those of a ledger that was rebuilt since. They change nothing,
    /// or let a later promise count as settled too early, which the store's guard then refuses.
    pub fn settle(&mut self, lines: &[(WareSkuId, i64)]) -> i64 {
        let mut foreign = 0;
        for &(id, num) in lines {
            let Some(known) = self.rows.iter_mut().find(|known| known.row.id == id) else {
                foreign += num;
                continue;
            };
            let ours = num.min(known.pending);
            known.pending -= ours;
            foreign += num - ours;
        }
        self.assert_sound();
        foreign
    }

    /// Takes news of a row; older versions than the known one are ignored.
    pub fn observe(&mut self, row: StockRow) {
        assert_eq!(row.sku_id, self.sku_id, "news of another SKU");
        match self.rows.iter_mut().find(|known| known.row.id == row.id) {
            Some(known) if row.version >= known.row.version => known.row = row,
            Some(_) => {}
            None => self.rows.push(LedgerRow { row, pending: 0 }),
        }
    }

    /// Takes a fresh read of all rows. What is being committed stays pending.
    pub fn reload(&mut self, rows: &[StockRow], now: Timestamp) {
        for row in rows {
            self.observe(*row);
        }
        self.loaded_at = now;
    }

    fn assert_sound(&self) {
        for known in &self.rows {
            assert!(known.pending >= 0, "fewer than no units promised on {:?}", known.row.id);
        }
    }
}

fn promise(known: &mut LedgerRow, units: i64) -> LockLine {
    known.pending += units;
    let num = u32::try_from(units).expect("a promise is part of a u32 quantity");
    LockLine { sku_id: known.row.sku_id, ware_sku_id: known.row.id, num }
}
