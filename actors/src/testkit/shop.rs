//! A small shop: a memory store behind a [`StepStore`], a writer, a stock directory and a clock moved by hand.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::StepStore;
use crate::domain::events::Message;
use crate::domain::stock::StockRow;
use crate::domain::{OrderSn, SkuId, WareId, WareSkuId};
use crate::local::clock::{ManualClock, SeededEntropy};
use crate::local::store::MemoryStore;
use crate::ports::store::{StockReads, StoreRules};
use crate::stock::{StockDirectory, StockSettings};
use crate::writer::{self, Listeners, Writer, WriterSettings};

/// Everything a test of stock needs. Must be opened inside an actix `System`.
pub struct Shop {
    /// The clock of store and actors.
    pub clock: Arc<ManualClock>,
    /// The store itself.
    pub memory: Arc<MemoryStore>,
    /// The store as writer and actors see it.
    pub store: Arc<StepStore>,
    /// The writer.
    pub writer: Writer,
    /// The stock actors.
    pub stock: Arc<StockDirectory>,
    /// What the relay would hear.
    pub outbox: mpsc::Receiver<Vec<Message>>,
}

impl Shop {
    /// An empty shop; its actors run on the caller's thread.
    pub fn open(stock: StockSettings, writer: WriterSettings) -> Self {
        Self::open_on(stock, writer, vec![actix::Arbiter::current()])
    }

    /// An empty shop whose actors run on these threads.
    pub fn open_on(
        stock_settings: StockSettings,
        writer_settings: WriterSettings,
        arbiters: Vec<actix::ArbiterHandle>,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(1_767_225_600_000));
        let rules = StoreRules { items_per_message: 256, points_per_yuan: 1, close_grace: Duration::from_secs(60) };
        let memory = Arc::new(MemoryStore::new(clock.clone(), Arc::new(SeededEntropy::new(1)), rules));
        let store = StepStore::new(memory.clone());
        let (writer, task) = writer::channel(writer_settings);
        let stock = StockDirectory::new(store.clone(), writer.clone(), clock.clone(), stock_settings, arbiters);
        let (outbox_sender, outbox) = mpsc::channel(1024);
        actix::spawn(task.run(store.clone(), Listeners { stock: stock.clone(), outbox: outbox_sender }));
        Self { clock, memory, store, writer, stock, outbox }
    }

    /// Adds stock rows of a SKU, one per number, in warehouses 1, 2, …
    pub fn add_stock(&self, sku_id: SkuId, units: &[i64]) -> Vec<WareSkuId> {
        (1..).zip(units).map(|(ware, units)| self.memory.add_stock(sku_id, WareId(ware), *units)).collect()
    }

    /// The rows of a SKU as the store has them, past every gate.
    pub async fn stored_rows(&self, sku_id: SkuId) -> Vec<StockRow> {
        self.memory.stock_rows(sku_id).await.expect("the memory store answers")
    }

    /// A foreign order number.
    pub fn owner(number: usize) -> OrderSn {
        OrderSn::parse(&format!("foreign-{number}")).expect("keeps to the grammar")
    }
}
