//! Running statements, and what their errors mean.

use std::time::Duration;

use actors::domain::Timestamp;
use actors::ports::store::StoreError;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{FromRow, PgPool, Postgres};

use super::presence::Watched;

/// A read that takes longer is given up. The audit, which reads everything, has its own.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// The index that two nodes meet at when they lock for the same owner at the same time; see [`super::locks`].
const ONE_FIRST_LOCK: &str = "wms_stock_lock_owner";

/// The database's clock, in milliseconds. It moves on within a transaction.
pub(super) const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// A query without rows, with its arguments.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;
/// A query whose rows are `T`, with its arguments.
pub(super) type Select<'q, T> = QueryAs<'q, Postgres, T, PgArguments>;

/// A row type.
pub(super) trait Row: for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, PgRow> + Send + Unpin> Row for T {}

/// The connections that read; the server refuses writes on them.
#[derive(Clone)]
pub(super) struct Readers(pub(super) Watched);

impl Readers {
    /// All rows.
    pub(super) async fn all<T: Row>(&self, select: Select<'_, T>) -> Result<Vec<T>, StoreError> {
        limited(async { select.fetch_all(&mut *self.0.acquire().await?).await.map_err(store_error) }).await
    }

    /// The row, if there is one.
    pub(super) async fn optional<T: Row>(&self, select: Select<'_, T>) -> Result<Option<T>, StoreError> {
        limited(async { select.fetch_optional(&mut *self.0.acquire().await?).await.map_err(store_error) }).await
    }

    /// The database's clock.
    pub(super) async fn now(&self) -> Result<Timestamp, StoreError> {
        let now: Option<(i64,)> = self.optional(sqlx::query_as(NOW)).await?;
        now.map(|(now,)| Timestamp(now)).ok_or_else(|| StoreError::Inconsistent("a clock without an answer".into()))
    }

    /// For several reads in one snapshot.
    pub(super) fn pool(&self) -> &PgPool {
        self.0.pool()
    }

    pub(super) async fn close(&self) {
        self.0.pool().close().await;
    }
}

async fn limited<T>(read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let slow = |_| Err(StoreError::Transient("a read took too long".into()));
    tokio::time::timeout(READ_LIMIT, read).await.unwrap_or_else(slow)
}

/// All rows, within a transaction.
pub(super) async fn all<T: Row>(connection: &mut PgConnection, select: Select<'_, T>) -> Result<Vec<T>, StoreError> {
    select.fetch_all(connection).await.map_err(store_error)
}

/// Rows changed, within a transaction.
pub(super) async fn execute(connection: &mut PgConnection, statement: Statement<'_>) -> Result<usize, StoreError> {
    let done = statement.execute(connection).await.map_err(store_error)?;
    usize::try_from(done.rows_affected()).map_err(|_| StoreError::Inconsistent("row count".into()))
}

/// Whether the connection is no more, or the server says that it is about to be.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(database) => {
            // Connection exceptions; ended by an operator or a restart; idle in a transaction for too long.
            database.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P") || code == "25P03")
        }
        _ => false,
    }
}

/// What a driver's error means for a batch.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    if is_lost(&error) {
        return StoreError::Transient(text);
    }
    match error {
        // Tried again, the batch finds what the other node has made.
        sqlx::Error::Database(database) if database.constraint() == Some(ONE_FIRST_LOCK) => StoreError::Transient(text),
        sqlx::Error::Database(database) => match database.code().as_deref() {
            // Serialization failure, deadlock, lock timeout, a statement that took too long, no room for another
            // connection, a server that was demoted.
            Some("40001" | "40P01" | "55P03" | "57014" | "53300" | "25006") => StoreError::Transient(text),
            // A constraint, or a value that its column cannot hold: one unit is at fault.
            Some(code) if code.starts_with("23") || code.starts_with("22") => StoreError::Constraint(text),
            _ => StoreError::Failed(text),
        },
        sqlx::Error::PoolTimedOut | sqlx::Error::BeginFailed => StoreError::Transient(text),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Inconsistent(text),
        _ => StoreError::Failed(text),
    }
}

/// What a failed COMMIT means: a refusal of the server is not committed, anything else may be.
pub(super) fn commit_error(error: sqlx::Error) -> StoreError {
    if is_lost(&error) {
        return StoreError::Unknown(error.to_string());
    }
    match store_error(error) {
        StoreError::Failed(text) => StoreError::Unknown(text),
        other => other,
    }
}
