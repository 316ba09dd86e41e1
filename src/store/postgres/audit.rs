//! Gathering the facts that the invariants judge, in one read snapshot.

use std::time::Duration;

use actors::domain::Timestamp;
use actors::domain::invariants::{Facts, Report, check};
use actors::ports::store::{AuditReads, Store, StoreError, StoreRules};
use async_trait::async_trait;
use sqlx::{PgPool, Postgres, Transaction};

use super::PostgresStore;
use super::connection::{all, execute, store_error};
use super::open::PLANS;
use crate::store::audit::{gather, judge};

/// An audit reads everything; it may take this long.
const AUDIT_LIMIT: Duration = Duration::from_secs(300);

/// All its statements see the same moment, and hinder nobody.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Who reads everything is not to find row by row: as the server plans by itself, until the transaction ends.
const SERVERS_PLANS: &str = "SELECT set_config(name, boot_val, TRUE) FROM pg_catalog.pg_settings WHERE name = ANY($1)";

#[async_trait]
impl AuditReads for PostgresStore {
    async fn facts(&self, exempt_ms: i64) -> Result<Facts, StoreError> {
        let now = self.now().await?;
        let (pool, rules) = (self.readers.pool().clone(), self.rules);
        bounded(async move { snapshot(&pool, now, exempt_ms, rules).await }).await
    }

    async fn audit(&self, exempt_ms: i64) -> Result<Report, StoreError> {
        let now = self.now().await?;
        let (pool, rules) = (self.readers.pool().clone(), self.rules);
        bounded(async move { judged(&pool, now, exempt_ms, rules).await }).await
    }
}

/// In a task of its own: a transaction that its caller drops would stay open on the connection.
async fn bounded<T: Send + 'static>(
    audit: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let finished = tokio::time::timeout(AUDIT_LIMIT, tokio::spawn(audit)).await;
    let joined = finished.map_err(|_| StoreError::Transient("the audit took too long".into()))?;
    joined.map_err(|error| StoreError::Failed(format!("the audit task ended: {error}")))?
}

async fn snapshot(pool: &PgPool, now: Timestamp, exempt_ms: i64, rules: StoreRules) -> Result<Facts, StoreError> {
    let mut transaction = begin(pool).await?;
    let connection = &mut *transaction;
    let facts = gather!(connection, now, exempt_ms, rules);
    transaction.rollback().await.map_err(store_error)?;
    Ok(facts)
}

async fn judged(pool: &PgPool, now: Timestamp, exempt_ms: i64, rules: StoreRules) -> Result<Report, StoreError> {
    let mut transaction = begin(pool).await?;
    let connection = &mut *transaction;
    let report = judge!(connection, now, exempt_ms, rules);
    transaction.rollback().await.map_err(store_error)?;
    Ok(report)
}

async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, StoreError> {
    let mut transaction = pool.begin_with(SNAPSHOT).await.map_err(store_error)?;
    let audit_limit = format!("{}s", AUDIT_LIMIT.as_secs());
    let limit = sqlx::query("SELECT set_config('statement_timeout', $1, TRUE)").bind(&audit_limit);
    execute(&mut transaction, limit).await?;
    execute(&mut transaction, sqlx::query(SERVERS_PLANS).bind(PLANS.map(|(setting, _)| setting))).await?;
    Ok(transaction)
}
