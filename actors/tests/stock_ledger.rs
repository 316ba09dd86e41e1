//! The stock ledger against a naive model, in any order of events.

use std::collections::BTreeMap;

use actors::domain::order::LockLine;
use actors::domain::stock::{StockLedger, StockRow};
use actors::domain::{SkuId, Timestamp, WareId, WareSkuId};
use actors::protocol::stock::{SkuNews, settled};
use actors::testkit::{Dice, for_seeds};

const SKU: SkuId = SkuId(48);
const NOW: Timestamp = Timestamp(0);

fn row(ware: i64, stock: i64) -> StockRow {
    StockRow { id: WareSkuId(100 + ware), sku_id: SKU, ware_id: WareId(ware), stock, locked: 0, version: 1 }
}

/// The store, the ledger, and what travels between them.
struct World {
    dice: Dice,
    store: BTreeMap<WareSkuId, StockRow>,
    ledger: StockLedger,
    /// What a ledger should know: the newest version it was shown, and what it promised.
    known: BTreeMap<WareSkuId, StockRow>,
    pending: BTreeMap<WareSkuId, i64>,
    promises: Vec<Vec<LockLine>>,
    news: Vec<SkuNews>,
    old_rows: Vec<StockRow>,
    foreign_writers: bool,
}

impl World {
    fn new(seed: u64, foreign_writers: bool) -> Self {
        let dice = Dice::new(seed);
        let rows: Vec<StockRow> =
            (0..=i64::from(dice.one_in(2)) * 3).map(|ware| row(ware, dice.below(40) as i64)).collect();
        let by_id: BTreeMap<WareSkuId, StockRow> = rows.iter().map(|row| (row.id, *row)).collect();
        Self {
            ledger: StockLedger::new(SKU, rows.clone(), NOW),
            store: by_id.clone(),
            known: by_id,
            pending: BTreeMap::new(),
            promises: Vec::new(),
            news: Vec::new(),
            old_rows: rows,
            foreign_writers,
            dice,
        }
    }

    fn free_of(&self, id: WareSkuId) -> i64 {
        let row = self.known[&id];
        (row.stock - row.locked - self.pending.get(&id).copied().unwrap_or(0)).max(0)
    }

    fn step(&mut self) {
        match self.dice.below(8) {
            0..=2 => self.reserve(),
            3 => self.abandon(),
            4 => self.commit(),
            5 => self.deliver(),
            6 => self.show_old_row(),
            _ if self.foreign_writers => self.change_behind_the_back(),
            _ => self.reload(),
        }
    }

    fn reserve(&mut self) {
        let wanted = 1 + self.dice.below(12) as i64;
        let free: BTreeMap<WareSkuId, i64> = self.known.keys().map(|id| (*id, self.free_of(*id))).collect();
        let total: i64 = free.values().sum();
        match self.ledger.reserve(wanted as u32) {
            Err(short) => {
                assert_eq!(short.available, total, "the true figure");
                assert!(total < wanted, "refused although {total} were free");
            }
            Ok(lines) => {
                assert!(total >= wanted, "promised more than was free");
                assert_eq!(lines.iter().map(|line| i64::from(line.num)).sum::<i64>(), wanted);
                let one_has_enough = free.values().any(|free| *free >= wanted);
                assert_eq!(lines.len() == 1, one_has_enough, "split only when no single warehouse has enough");
                for line in &lines {
                    assert!(line.num > 0 && i64::from(line.num) <= free[&line.ware_sku_id]);
                    *self.pending.entry(line.ware_sku_id).or_default() += i64::from(line.num);
                }
                self.promises.push(lines);
            }
        }
    }

    fn take_promise(&mut self) -> Option<Vec<LockLine>> {
        (!self.promises.is_empty()).then(|| self.promises.swap_remove(self.dice.below(self.promises.len())))
    }

    fn settle(&mut self, lines: &[(WareSkuId, i64)]) {
        assert_eq!(self.ledger.settle(lines), 0, "these units were promised");
        for (id, num) in lines {
            *self.pending.get_mut(id).expect("was promised") -= num;
        }
    }

    fn abandon(&mut self) {
        if let Some(lines) = self.take_promise() {
            self.settle(&settled(&lines));
        }
    }

    /// The store takes a promise if its guard allows; the news of it travels.
    fn commit(&mut self) {
        let Some(lines) = self.take_promise() else { return };
        let fits = lines.iter().all(|line| self.store[&line.ware_sku_id].available() >= i64::from(line.num));
        assert!(fits || self.foreign_writers, "alone with the store, a promise always fits");
        let mut rows = Vec::new();
        for line in lines.iter().filter(|_| fits) {
            let row = self.store.get_mut(&line.ware_sku_id).expect("known row");
            row.locked += i64::from(line.num);
            row.version += 1;
            rows.push(*row);
        }
        self.old_rows.extend(&rows);
        self.news.push(SkuNews { rows, settled: settled(&lines) });
    }

    fn deliver(&mut self) {
        if self.news.is_empty() {
            return;
        }
        let SkuNews { rows, settled } = self.news.swap_remove(self.dice.below(self.news.len()));
        for row in rows {
            self.observe(row);
            if self.dice.one_in(3) {
                self.observe(row);
            }
        }
        self.settle(&settled);
    }

    fn observe(&mut self, row: StockRow) {
        self.ledger.observe(row);
        let known = self.known.get_mut(&row.id).expect("known row");
        if row.version > known.version {
            *known = row;
        }
    }

    /// A late or repeated read.
    fn show_old_row(&mut self) {
        let row = self.old_rows[self.dice.below(self.old_rows.len())];
        self.observe(row);
    }

    fn change_behind_the_back(&mut self) {
        let index = self.dice.below(self.store.len());
        let row = self.store.values_mut().nth(index).expect("a row");
        row.stock = row.locked + self.dice.below(40) as i64;
        row.version += 1;
        let row = *row;
        self.old_rows.push(row);
    }

    fn reload(&mut self) {
        let rows: Vec<StockRow> = self.store.values().copied().collect();
        self.ledger.reload(&rows, NOW);
        self.known = self.store.clone();
    }

    fn check(&self) {
        let mut rows: Vec<StockRow> = self.ledger.rows().copied().collect();
        rows.sort_by_key(|row| row.id);
        assert_eq!(rows, self.known.values().copied().collect::<Vec<_>>());
        assert_eq!(self.ledger.pending(), self.pending.values().sum::<i64>());
        assert_eq!(self.ledger.free(), self.known.keys().map(|id| self.free_of(*id)).sum::<i64>());
        assert!(self.ledger.conceivable() >= self.ledger.free());
    }
}

#[test]
fn follows_the_naive_model_in_any_order() {
    for foreign_writers in [false, true] {
        for_seeds(200, |seed| {
            let mut world = World::new(seed, foreign_writers);
            for _ in 0..300 {
                world.step();
                world.check();
            }
        });
    }
}

#[test]
fn when_all_is_told_it_agrees_with_the_store() {
    for_seeds(100, |seed| {
        let mut world = World::new(seed, false);
        for _ in 0..200 {
            world.step();
        }
        while !world.promises.is_empty() {
            world.commit();
        }
        while !world.news.is_empty() {
            world.deliver();
        }
        world.check();
        assert_eq!(world.ledger.pending(), 0);
        assert_eq!(world.ledger.free(), world.store.values().map(StockRow::available).sum::<i64>());
    });
}

#[test]
fn units_of_an_earlier_ledger_settle_to_nothing() {
    let mut ledger = StockLedger::new(SKU, vec![row(1, 10)], NOW);
    assert_eq!(ledger.settle(&[(WareSkuId(101), 3), (WareSkuId(999), 2)]), 5);
    assert_eq!((ledger.pending(), ledger.free()), (0, 10));
}

#[test]
fn a_row_that_another_node_emptied_hides_no_other() {
    let mut ledger = StockLedger::new(SKU, vec![row(1, 5), row(2, 4)], NOW);
    ledger.reserve(5).expect("five are free");
    ledger.observe(StockRow { stock: 0, version: 2, ..row(1, 0) });
    assert_eq!(ledger.free(), 4);
    assert_eq!(ledger.reserve(4).expect("four are free")[0].ware_sku_id, WareSkuId(102));
}
