//! Gathering the facts that the invariants judge, in one read snapshot.

use std::time::Duration;

use actors::domain::Timestamp;
use actors::domain::invariants::Facts;
use actors::ports::store::{AuditReads, Store, StoreError, StoreRules};
use async_trait::async_trait;
use sqlx::PgPool;

use super::PostgresStore;
use super::connection::{all, execute, store_error};
use crate::store::audit::gather;

/// An audit reads everything; it may take this long.
const AUDIT_LIMIT: Duration = Duration::from_secs(300);

/// All its statements see the same moment, and hinder nobody.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

#[async_trait]
impl AuditReads for PostgresStore {
    async fn facts(&self, exempt_ms: i64) -> Result<Facts, StoreError> {
        let now = self.now().await?;
        let (pool, rules) = (self.readers.pool().clone(), self.rules);
        // A task of its own: a transaction that its caller drops would stay open on the connection.
        let task = tokio::spawn(async move { snapshot(&pool, now, exempt_ms, rules).await });
        let finished = tokio::time::timeout(AUDIT_LIMIT, task).await;
        let joined = finished.map_err(|_| StoreError::Transient("the audit took too long".into()))?;
        joined.map_err(|error| StoreError::Failed(format!("the audit task ended: {error}")))?
    }
}

async fn snapshot(pool: &PgPool, now: Timestamp, exempt_ms: i64, rules: StoreRules) -> Result<Facts, StoreError> {
    let mut transaction = pool.begin_with(SNAPSHOT).await.map_err(store_error)?;
    let connection = &mut *transaction;
    let audit_limit = format!("{}s", AUDIT_LIMIT.as_secs());
    execute(connection, sqlx::query("SELECT set_config('statement_timeout', $1, TRUE)").bind(&audit_limit)).await?;
    let facts = gather!(connection, now, exempt_ms, rules);
    transaction.rollback().await.map_err(store_error)?;
    Ok(facts)
}
