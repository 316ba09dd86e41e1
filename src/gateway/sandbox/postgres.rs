//! The sandbox's books in PostgreSQL (`migrations/postgres/0008_sandbox.sql`), shared by all nodes.

use actors::domain::{OrderSn, Timestamp, TradeNo};
use async_trait::async_trait;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres, Transaction};

use super::ledger::{Delivery, LedgerError, MoneyRow, PendingNotification, SandboxLedger, direction_text};
use super::sql::{self, MoneyColumns, NotificationColumns, RefundColumns, TradeColumns, sql_ledger, unavailable};
use super::trade::{self, Command, Step, Trade};
use crate::gateway::alipay::notify::status_text;

/// The books in the database of the cluster mode.
#[derive(Clone, Debug)]
pub struct PostgresLedger {
    pool: PgPool,
}

impl PostgresLedger {
    /// On a migrated database. The pool needs an acquire timeout, and its sessions limits of their own.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

sql_ledger!(PostgresLedger, PgConnection, begin);

/// Keeps the order number to this transaction, whether it has a trade yet or not: a row that is still to be made cannot
/// be locked. What is read next is what whoever held it before has committed.
async fn begin<'c>(
    connection: &'c mut PgConnection,
    order_sn: &OrderSn,
) -> Result<Transaction<'c, Postgres>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('sandbox ' || $1, 0))")
        .bind(order_sn.as_str())
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}
