//! Opening the file, the two pools, running statements, and what their errors mean.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use actors::ports::store::StoreError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::query::{Query, QueryAs};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, FromRow, Sqlite, SqlitePool};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Connections that read.
const READERS: u32 = 4;
/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for a free connection.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(2);
/// A read that takes longer is given up. The audit, which reads everything, has its own.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// Rows that a connection's thread may be ahead of whoever reads them.
const ROW_BUFFER: usize = 512;

/// The write-ahead log is moved into the file every so many pages (16 MiB): inner pages that every batch changes are
/// then written once for many batches. (Four times as many: fewer commits wait for it, but each so long that p99 of won
/// requests doubles.)
const CHECKPOINT_PAGES: &str = "4000";
/// The writer's page cache, 32 MiB: the inner pages of every index fit, so a random key costs one page read.
const WRITER_CACHE: &str = "-32768";

/// Why a database file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made or its mode cannot be set.
    #[error("database file {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A newer binary has migrated the file.
    #[error(
        "the database has schema {found}, this binary knows up to {known}: start the newer binary, or restore a backup"
    )]
    NewerSchema {
        /// Newest migration in the file.
        found: i64,
        /// Newest migration in this binary.
        known: i64,
    },
    /// A migration failed or was altered.
    #[error("migrating the database: {0}")]
    Migration(#[from] MigrateError),
    /// SQLite refused.
    #[error("opening the database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Opens writer and readers, migrating in between.
pub(super) async fn open(path: &Path) -> Result<(SqlitePool, Readers), OpenError> {
    make_private(path).map_err(|source| OpenError::File { path: path.display().to_string(), source })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .row_buffer_size(ROW_BUFFER)
        .statement_cache_capacity(128)
        .disable_statement_logging();
    let writer = pool(1)
        .connect_with(
            options
                .clone()
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
                .pragma("cache_size", WRITER_CACHE)
                .pragma("temp_store", "MEMORY"),
        )
        .await?;
    migrate(&writer).await?;
    let readers = pool(READERS).connect_with(options.read_only(true).pragma("query_only", "ON")).await?;
    Ok((writer, Readers(readers)))
}

/// Connections are never pinged, aged or dropped while idle: they are local and cannot break.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_LIMIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// The file and, by inheritance, its `-wal` and `-shm` are the owner's alone.
fn make_private(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
}

async fn migrate(writer: &SqlitePool) -> Result<(), OpenError> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    if let Some(found) = newest_applied(writer).await?.filter(|&found| found > known) {
        return Err(OpenError::NewerSchema { found, known });
    }
    Ok(MIGRATIONS.run(writer).await?)
}

async fn newest_applied(writer: &SqlitePool) -> Result<Option<i64>, sqlx::Error> {
    let table: Option<i64> = sqlx::query_scalar("SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations'")
        .fetch_optional(writer)
        .await?;
    if table.is_none() {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(writer).await
}

/// Moves the write-ahead log into the file.
pub(super) async fn checkpoint(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await.map(drop)
}

/// A query without rows, with its arguments.
pub(super) type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;
/// A query whose rows are `T`, with its arguments.
pub(super) type Select<'q, T> = QueryAs<'q, Sqlite, T, SqliteArguments>;

/// A row type.
pub(super) trait Row: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin> Row for T {}

/// The pool of read-only connections.
#[derive(Clone)]
pub(super) struct Readers(SqlitePool);

impl Readers {
    /// All rows.
    pub(super) async fn all<T: Row>(&self, select: Select<'_, T>) -> Result<Vec<T>, StoreError> {
        limited(select.fetch_all(&self.0)).await
    }

    /// The row, if there is one.
    pub(super) async fn optional<T: Row>(&self, select: Select<'_, T>) -> Result<Option<T>, StoreError> {
        limited(select.fetch_optional(&self.0)).await
    }

    /// A connection for several reads in one snapshot.
    pub(super) fn pool(&self) -> &SqlitePool {
        &self.0
    }

    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

async fn limited<T>(read: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(READ_LIMIT, read).await {
        Ok(result) => result.map_err(store_error),
        Err(_) => Err(StoreError::Transient("a read took too long".into())),
    }
}

/// All rows, within a transaction.
pub(super) async fn all<T: Row>(
    connection: &mut SqliteConnection,
    select: Select<'_, T>,
) -> Result<Vec<T>, StoreError> {
    select.fetch_all(connection).await.map_err(store_error)
}

/// Rows changed, within a transaction.
pub(super) async fn execute(connection: &mut SqliteConnection, statement: Statement<'_>) -> Result<usize, StoreError> {
    let done = statement.execute(connection).await.map_err(store_error)?;
    usize::try_from(done.rows_affected()).map_err(|_| StoreError::Inconsistent("row count".into()))
}

/// SQLite's primary result codes that mean something to the writer.
mod code {
    pub const BUSY: i64 = 5;
    pub const LOCKED: i64 = 6;
    pub const CONSTRAINT: i64 = 19;
}

/// What a driver's error means for a batch.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    match error {
        sqlx::Error::Database(database) => {
            let extended = database.code().and_then(|code| code.parse::<i64>().ok()).unwrap_or(0);
            match extended & 0xff {
                code::BUSY | code::LOCKED => StoreError::Transient(text),
                code::CONSTRAINT => StoreError::Constraint(text),
                _ => StoreError::Failed(text),
            }
        }
        sqlx::Error::PoolTimedOut => StoreError::Transient(text),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Inconsistent(text),
        _ => StoreError::Failed(text),
    }
}

/// What a failed COMMIT means: busy is not committed, anything else may be.
pub(super) fn commit_error(error: sqlx::Error) -> StoreError {
    match store_error(error) {
        StoreError::Failed(text) => StoreError::Unknown(text),
        other => other,
    }
}
