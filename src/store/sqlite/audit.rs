//! Gathering the facts that the invariants judge, in one read snapshot.

use std::time::Duration;

use actors::domain::Timestamp;
use actors::domain::invariants::{Facts, Report, check};
use actors::ports::store::{AuditReads, Store, StoreError, StoreRules};
use async_trait::async_trait;
use sqlx::SqlitePool;

use super::SqliteStore;
use super::connection::{all, store_error};
use crate::store::audit::{gather, judge};

/// An audit reads everything; it may take this long.
const AUDIT_LIMIT: Duration = Duration::from_secs(300);

#[async_trait]
impl AuditReads for SqliteStore {
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

async fn snapshot(pool: &SqlitePool, now: Timestamp, exempt_ms: i64, rules: StoreRules) -> Result<Facts, StoreError> {
    let mut transaction = pool.begin().await.map_err(store_error)?;
    let connection = &mut *transaction;
    let facts = gather!(connection, now, exempt_ms, rules);
    transaction.rollback().await.map_err(store_error)?;
    Ok(facts)
}

async fn judged(pool: &SqlitePool, now: Timestamp, exempt_ms: i64, rules: StoreRules) -> Result<Report, StoreError> {
    let mut transaction = pool.begin().await.map_err(store_error)?;
    let connection = &mut *transaction;
    let report = judge!(connection, now, exempt_ms, rules);
    transaction.rollback().await.map_err(store_error)?;
    Ok(report)
}
