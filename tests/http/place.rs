//! What a server stands on in a test. Embedded mode: its data directory. Cluster mode (`SECKILL_TEST_MODE=cluster`, with
//! the addresses of the servers in `SECKILL_TEST_*`, as `scripts/test` sets them): besides, a PostgreSQL database, a
//! numbered Redis database and a RabbitMQ virtual host that belong to the data directory and to nobody else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use reqwest::{Client, Method};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use crate::support::PATIENCE;

/// Redis databases below this number belong to the tests of the adapters.
const FIRST_REDIS_DATABASE: u32 = 2048;

/// The token of the internal listener of every server in cluster mode.
const SERVICE_TOKEN: &str = "service-token-of-the-tests";

/// Whether the servers of this run are nodes of a cluster.
pub fn is_cluster() -> bool {
    std::env::var("SECKILL_TEST_MODE").is_ok_and(|mode| mode == "cluster")
}

#[derive(Clone)]
struct Place {
    name: String,
    redis_database: u32,
}

static PLACES: Mutex<Option<HashMap<PathBuf, Place>>> = Mutex::new(None);
static NEXT: AtomicU32 = AtomicU32::new(0);

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: scripts/test starts the servers and sets it"))
}

/// Settings of a server on this data directory, in the order of their strength; its place is made when it is new.
pub fn settings(data_dir: &Path) -> Vec<(&'static str, String)> {
    if !is_cluster() {
        return Vec::new();
    }
    let place = place_of(data_dir);
    vec![
        ("mode", "cluster".to_owned()),
        ("database.url", database_options(&place.name).to_url_lossy().to_string()),
        ("redis.url", format!("{}/{}", variable("SECKILL_TEST_REDIS_URL"), place.redis_database)),
        ("rabbitmq.url", format!("{}/{}", variable("SECKILL_TEST_RABBITMQ_URL"), place.name)),
        ("internal.token", SERVICE_TOKEN.to_owned()),
        ("order.token_secret", "order-token-secret-of-the-tests".to_owned()),
        ("auth.public_keys", format!("[{:?}]", public_key())),
        ("demo.enabled", "true".to_owned()),
    ]
}

/// A key that nobody signs with: nodes must have one, and the tests log in with the server's own.
fn public_key() -> &'static Path {
    static KEY: OnceLock<PathBuf> = OnceLock::new();
    KEY.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("seckill-test-key-{}", std::process::id()));
        seckill::keys::generate_rsa_pem(&directory, "login").unwrap().public
    })
}

/// What opens the internal listener of the server on this data directory.
pub fn service_token(data_dir: &Path) -> String {
    if is_cluster() {
        return SERVICE_TOKEN.to_owned();
    }
    std::fs::read_to_string(data_dir.join("service-token")).unwrap().trim().to_owned()
}

fn place_of(data_dir: &Path) -> Place {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let places = places.get_or_insert_default();
    places.entry(data_dir.to_owned()).or_insert_with(|| on_own_thread(make(None))).clone()
}

/// A copy of everything durable, for another data directory. No server may run on the first.
pub fn copy(from: &Path, to: &Path) {
    let entries = std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap());
    for entry in entries.filter(|entry| entry.path().is_file()) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    if is_cluster() {
        let source = place_of(from);
        let copied = on_own_thread(make(Some(source.name)));
        PLACES.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(to.to_owned(), copied);
    }
}

async fn make(template: Option<String>) -> Place {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("seckill_test_http_{}_{number}", std::process::id());
    let template = template.unwrap_or_else(|| "template1".to_owned());
    administer(format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
    let vhost = format!("{}/api/vhosts/{name}", variable("SECKILL_TEST_RABBITMQ_MANAGEMENT_URL"));
    let made = Client::builder().no_proxy().build().unwrap().request(Method::PUT, vhost).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.status());
    let redis_database = FIRST_REDIS_DATABASE + number;
    let client = redis::Client::open(format!("{}/{redis_database}", variable("SECKILL_TEST_REDIS_URL"))).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHDB").exec_async(&mut connection).await.unwrap();
    Place { name, redis_database }
}

async fn administer(sql: String) {
    let options: PgConnectOptions = variable("SECKILL_TEST_DATABASE_URL").parse().unwrap();
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn database_options(name: &str) -> PgConnectOptions {
    let options: PgConnectOptions = variable("SECKILL_TEST_DATABASE_URL").parse().unwrap();
    options.database(name)
}

/// Runs it to its end from a function that is not async, inside of a runtime or not.
fn on_own_thread<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
        scope.spawn(run).join().unwrap()
    })
}

/// A value in a statement.
#[derive(Clone)]
pub enum Value {
    Number(Option<i64>),
    Text(Option<String>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

/// The database of a server, beside it. Statements are written once, with `?` for their values.
pub enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

macro_rules! bound {
    ($query:expr, $values:expr) => {
        $values.into_iter().fold($query, |query, value| match value {
            Value::Number(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
        })
    };
}

impl Database {
    pub async fn open(data_dir: &Path) -> Self {
        if is_cluster() {
            let options = database_options(&place_of(data_dir).name);
            return Self::Postgres(PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap());
        }
        let options = SqliteConnectOptions::new().filename(data_dir.join("seckill.db")).busy_timeout(PATIENCE);
        Self::Sqlite(SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap())
    }

    /// Carries out a statement.
    pub async fn execute<const N: usize>(&self, sql: &str, values: [Value; N]) {
        match self {
            Self::Sqlite(pool) => {
                bound!(sqlx::query(AssertSqlSafe(sql.to_owned())), values).execute(pool).await.map(drop)
            }
            Self::Postgres(pool) => {
                bound!(sqlx::query(AssertSqlSafe(numbered(sql))), values).execute(pool).await.map(drop)
            }
        }
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// The one number that a query answers.
    pub async fn number<const N: usize>(&self, sql: &str, values: [Value; N]) -> i64 {
        match self {
            Self::Sqlite(pool) => {
                let row = bound!(sqlx::query(AssertSqlSafe(sql.to_owned())), values).fetch_one(pool).await;
                row.map(|row| row.get::<i64, _>(0))
            }
            Self::Postgres(pool) => {
                // A sum of bigint is numeric there.
                let sql = format!("SELECT ({})::bigint", numbered(sql));
                bound!(sqlx::query(AssertSqlSafe(sql)), values).fetch_one(pool).await.map(|row| row.get::<i64, _>(0))
            }
        }
        .unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    /// Something that changes whenever anybody else commits a change.
    pub async fn version(&self) -> String {
        match self {
            Self::Sqlite(pool) => {
                let version: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(pool).await.unwrap();
                version.to_string()
            }
            Self::Postgres(pool) => {
                let tables: Vec<String> =
                    sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
                        .fetch_all(pool)
                        .await
                        .unwrap();
                let of_table =
                    |table| format!("SELECT count(*) AS n, sum(hashtextextended(t::text, 0)) AS h FROM {table} AS t");
                let all: Vec<String> = tables.iter().map(of_table).collect();
                let sql =
                    format!("SELECT sum(n)::text || ' ' || sum(h)::text FROM ({}) AS tables", all.join(" UNION ALL "));
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.unwrap()
            }
        }
    }

    /// Lets nobody else save an order until the guard is released.
    pub async fn block_orders(&self) -> Blocker {
        match self {
            Self::Sqlite(pool) => {
                let mut connection = pool.acquire().await.unwrap();
                sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.unwrap();
                Blocker::Sqlite(connection)
            }
            Self::Postgres(pool) => {
                let mut connection = pool.acquire().await.unwrap();
                sqlx::raw_sql("BEGIN; LOCK TABLE oms_order IN EXCLUSIVE MODE").execute(&mut *connection).await.unwrap();
                Blocker::Postgres(connection)
            }
        }
    }

    pub async fn close(self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// An open transaction that is in the way.
pub enum Blocker {
    Sqlite(sqlx::pool::PoolConnection<sqlx::Sqlite>),
    Postgres(sqlx::pool::PoolConnection<sqlx::Postgres>),
}

impl Blocker {
    pub async fn release(self) {
        match self {
            Self::Sqlite(mut connection) => sqlx::query("ROLLBACK").execute(&mut *connection).await.map(drop),
            Self::Postgres(mut connection) => sqlx::query("ROLLBACK").execute(&mut *connection).await.map(drop),
        }
        .unwrap();
    }
}

/// Statements that the schema's rules would refuse, on a database that no server uses: foreign keys, checks and triggers
/// are out of force for them.
pub async fn execute_without_rules(data_dir: &Path, sql: &'static str) {
    const NO_RULES: &str = "SET session_replication_role = replica;
        DO $$ DECLARE rule record; BEGIN
            FOR rule IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint
                        WHERE contype = 'c' AND connamespace = 'public'::regnamespace LOOP
                EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', rule.owner, rule.conname);
            END LOOP;
        END $$;";
    let done = if is_cluster() {
        let mut connection = database_options(&place_of(data_dir).name).connect().await.unwrap();
        sqlx::raw_sql(NO_RULES).execute(&mut connection).await.unwrap();
        let done = sqlx::raw_sql(sql).execute(&mut connection).await.map(drop);
        connection.close().await.unwrap();
        done
    } else {
        let options = SqliteConnectOptions::new().filename(data_dir.join("seckill.db")).foreign_keys(false);
        let mut connection = options.connect().await.unwrap();
        sqlx::query("PRAGMA ignore_check_constraints = ON").execute(&mut connection).await.unwrap();
        let done = sqlx::raw_sql(sql).execute(&mut connection).await.map(drop);
        connection.close().await.unwrap();
        done
    };
    done.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// `?` as PostgreSQL has it: `$1`, `$2`, …
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (index, part) in parts.enumerate() {
        text += &format!("${}{part}", index + 1);
    }
    text
}
