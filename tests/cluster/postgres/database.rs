//! A schema of its own for every fixture, dropped with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actors::local::clock::{ManualClock, SeededEntropy};
use actors::ports::clock::Clock;
use actors::ports::contract::store::{Fixture, StoreFixture};
use actors::ports::store::StoreRules;
use async_trait::async_trait;
use seckill::store::postgres::{PostgresSettings, PostgresStore, StoreClock};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Postgres};

use crate::stores::sql_fixture;

const VARIABLE: &str = "SECKILL_TEST_DATABASE_URL";

/// Where the test server is.
pub fn server_url() -> String {
    let missing = "names no server: run scripts/test, or `source` what `scripts/services up` writes";
    std::env::var(VARIABLE).unwrap_or_else(|_| panic!("{VARIABLE} {missing}"))
}

fn options() -> PgConnectOptions {
    server_url().parse().unwrap_or_else(|error| panic!("{VARIABLE}: {error}"))
}

/// A connection of the server's owner.
pub async fn owner() -> PgConnection {
    options().connect().await.unwrap_or_else(|error| panic!("{VARIABLE}: {error}"))
}

/// Runs a statement that makes or drops what cannot be named by a parameter.
pub async fn run(connection: &mut PgConnection, statement: String) {
    let shown = statement.clone();
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
}

/// A schema, dropped with this: to the server under test it is as good as a database, and a hundred times cheaper to
/// make and to drop.
pub struct Database {
    schema: String,
}

static NAMES: AtomicU64 = AtomicU64::new(0);

impl Database {
    /// An empty one.
    pub async fn empty() -> Self {
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        let schema = format!("seckill_test_{}_{number}", std::process::id());
        run(&mut owner().await, format!("CREATE SCHEMA {schema}")).await;
        Self { schema }
    }

    /// Its name.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Its address. Commits do not wait for the disk there, which no test is about.
    pub fn url(&self) -> String {
        let server = server_url();
        let more = if server.contains('?') { '&' } else { '?' };
        format!(
            "{server}{more}options[search_path]={}&options[synchronous_commit]=off&application_name={}",
            self.schema, self.schema
        )
    }

    /// How the store is told of it.
    pub fn settings(&self) -> PostgresSettings {
        PostgresSettings {
            writers: 3,
            readers: 3,
            // Long enough to look at who waits, on a machine that is busy.
            lock_timeout: Duration::from_secs(8),
            acquire_timeout: Duration::from_secs(5),
            ..PostgresSettings::new(self.url())
        }
    }

    /// Opens a store on it, migrating it if it is empty.
    pub async fn open(&self, clock: StoreClock, rules: StoreRules) -> PostgresStore {
        self.open_with(&self.settings(), clock, rules).await
    }

    /// The same with other bounds.
    pub async fn open_with(&self, settings: &PostgresSettings, clock: StoreClock, rules: StoreRules) -> PostgresStore {
        let seed = NAMES.fetch_add(1, Ordering::Relaxed);
        let opened = PostgresStore::open(settings, clock, Arc::new(SeededEntropy::new(seed)), rules).await;
        opened.expect("a schema of our own can be opened")
    }

    /// Another connection to it, as another program would have it.
    pub async fn stranger(&self) -> PgConnection {
        self.url().parse::<PgConnectOptions>().expect("an address").connect().await.expect("the server is there")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let statement = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema);
        // A runtime of its own: this one may be ending.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move { run(&mut owner().await, statement).await });
        });
        if dropping.join().is_err() && !std::thread::panicking() {
            panic!("{} could not be dropped", self.schema);
        }
    }
}

/// Makes stores in databases of their own.
pub struct Databases;

/// A store and its database.
pub struct Kept {
    pub store: Arc<PostgresStore>,
    pub clock: Arc<ManualClock>,
    pub database: Database,
    stranger: tokio::sync::Mutex<PgConnection>,
}

impl Kept {
    pub async fn new(clock: Arc<ManualClock>, rules: StoreRules) -> Self {
        let database = Database::empty().await;
        let given: Arc<dyn Clock> = clock.clone();
        let store = Arc::new(database.open(StoreClock::Given(given), rules).await);
        let stranger = tokio::sync::Mutex::new(database.stranger().await);
        Self { store, clock, database, stranger }
    }

    pub async fn execute(&self, statement: Query<'_, Postgres, PgArguments>) {
        let mut stranger = self.stranger.lock().await;
        statement.execute(&mut *stranger).await.expect("the statement is sound");
    }
}

#[async_trait]
impl StoreFixture for Databases {
    async fn fresh(&self, clock: Arc<ManualClock>, rules: StoreRules) -> Box<dyn Fixture> {
        Box::new(Kept::new(clock, rules).await)
    }
}

sql_fixture!(Kept);
