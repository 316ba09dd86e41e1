//! The sandbox's books in SQLite (`migrations/sqlite/0008_sandbox.sql`).

use actors::domain::{OrderSn, Timestamp, TradeNo};
use async_trait::async_trait;
use sqlx::{Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::ledger::{Delivery, LedgerError, MoneyRow, PendingNotification, SandboxLedger, direction_text};
use super::sql::{self, MoneyColumns, NotificationColumns, RefundColumns, TradeColumns, sql_ledger, unavailable};
use super::trade::{self, Command, Step, Trade};
use crate::gateway::alipay::notify::status_text;

/// The books in the database of the embedded mode.
#[derive(Clone, Debug)]
pub struct SqliteLedger {
    pool: SqlitePool,
}

impl SqliteLedger {
    /// On a migrated database. The pool needs a busy timeout (others write there too) and an acquire timeout.
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

sql_ledger!(SqliteLedger, SqliteConnection, begin);

/// IMMEDIATE: the decision is made on what no other writer can change any more.
async fn begin<'c>(
    connection: &'c mut SqliteConnection,
    _order_sn: &OrderSn,
) -> Result<Transaction<'c, Sqlite>, sqlx::Error> {
    connection.begin_with("BEGIN IMMEDIATE").await
}
