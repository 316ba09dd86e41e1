//! Two nodes on one database: each with its own connections and its own store writers.

use std::sync::{Arc, Mutex};

use actors::local::clock::{ManualClock, SeededEntropy};
use actors::ports::clock::Clock;
use actors::ports::contract::store::world::{RULES, World};
use actors::ports::contract::store::{Fixture, StoreFixture};
use actors::ports::store::units::Unit;
use actors::ports::store::{Store, StoreRules};
use actors::protocol::stock::{SkuNews, StockNews};
use actors::writer::{self, Listeners, Writer, WriterSettings};
use async_trait::async_trait;
use seckill::store::postgres::{PostgresSettings, PostgresStore, StoreClock};
use tokio::sync::mpsc;

use super::database::Kept;

/// Makes a schema and remembers where it is.
#[derive(Default)]
struct Noted(Mutex<Option<PostgresSettings>>);

#[async_trait]
impl StoreFixture for Noted {
    async fn fresh(&self, clock: Arc<ManualClock>, rules: StoreRules) -> Box<dyn Fixture> {
        let kept = Kept::new(clock, rules).await;
        *self.0.lock().expect("no panic") = Some(kept.database.settings());
        Box::new(kept)
    }
}

/// Nobody listens.
struct Deaf;

impl StockNews for Deaf {
    fn tell(&self, _: actors::domain::SkuId, _: SkuNews) {}
}

/// A node: a store of its own, and a writer on it.
pub struct Node {
    pub store: Arc<PostgresStore>,
    pub writer: Writer,
    _outbox: mpsc::Receiver<Vec<actors::domain::events::Message>>,
}

impl Node {
    async fn start(settings: &PostgresSettings, clock: Arc<ManualClock>, seed: u64) -> Self {
        let clock: Arc<dyn Clock> = clock;
        let entropy = Arc::new(SeededEntropy::new(seed));
        let store = PostgresStore::open(settings, StoreClock::Given(clock), entropy, RULES).await.expect("it opens");
        let store = Arc::new(store);
        let (writer, task) = writer::channel(WriterSettings::default());
        let (outbox, _outbox) = mpsc::channel(1);
        let writes: Arc<dyn Store> = store.clone();
        tokio::spawn(task.run(writes, Listeners { stock: Arc::new(Deaf), outbox }));
        Self { store, writer, _outbox }
    }

    /// Commits a unit, with whatever else waits.
    pub async fn commit<U: Unit>(&self, unit: U) -> U::Outcome {
        self.writer.commit(unit).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A filled world, and where its database is.
pub async fn world() -> (World, PostgresSettings) {
    let noted = Noted::default();
    let world = World::new(&noted).await;
    let settings = noted.0.lock().expect("no panic").clone().expect("made just now");
    (world, settings)
}

/// A filled world and two nodes beside the store that it was filled through.
pub async fn two_nodes() -> (World, [Node; 2]) {
    let (world, settings) = world().await;
    let nodes = [
        Node::start(&settings, world.clock.clone(), 1001).await,
        Node::start(&settings, world.clock.clone(), 1002).await,
    ];
    (world, nodes)
}
