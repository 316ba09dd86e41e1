//! One batch, one transaction: carries out the groups of [`crate::store::plan`] and gathers what the writer needs to know.

use actors::domain::Timestamp;
use actors::domain::events::Message;
use actors::ports::clock::Entropy;
use actors::ports::store::units::{UnitOutcome, WriteUnit};
use actors::ports::store::{Committed, StoreError, StoreRules};
use sqlx::sqlite::SqliteConnection;

use super::connection::{self, Row, Select, Statement, commit_error, store_error};
use super::{
    SqliteStore, flash_orders, fulfilment, grants, inbox, locks, members, messages, orders, outbox, payments, refunds,
    requests, returns, sale_life, stock,
};
use crate::store::batch::{News, Placed, carry_out_group};
use crate::store::plan;

/// A running transaction.
pub(super) struct Transaction<'c> {
    connection: &'c mut SqliteConnection,
    /// Its time, by the store's clock.
    pub(super) at: Timestamp,
    pub(super) rules: StoreRules,
    /// What it will tell once it is committed.
    pub(super) news: News,
}

impl Transaction<'_> {
    /// Whether a return request is safe to decide on: nobody else writes, so each is.
    #[expect(clippy::unused_self, reason = "the other database has to look")]
    pub(super) fn has_locked_return(&self, _return_id: i64) -> bool {
        true
    }

    /// All rows of a query.
    pub(super) async fn all<T: Row>(&mut self, select: Select<'_, T>) -> Result<Vec<T>, StoreError> {
        connection::all(self.connection, select).await
    }

    /// The row of a query, if there is one.
    pub(super) async fn optional<T: Row>(&mut self, select: Select<'_, T>) -> Result<Option<T>, StoreError> {
        Ok(self.all(select).await?.pop())
    }

    /// Rows changed by a statement.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<usize, StoreError> {
        connection::execute(self.connection, statement).await
    }

    /// Writes the outbox.
    async fn write_outbox(&mut self, entropy: &dyn Entropy) -> Result<Vec<Message>, StoreError> {
        let messages = self.news.take_messages(self.rules.items_per_message, self.at, entropy);
        outbox::insert(self, &messages).await?;
        Ok(messages)
    }
}

/// Commits a batch. Runs in a task of its own.
pub(super) async fn commit(store: &SqliteStore, units: &[WriteUnit]) -> Result<Committed, StoreError> {
    let mut transaction = store.writer.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
    let mut running =
        Transaction { connection: &mut transaction, at: store.clock.now(), rules: store.rules, news: News::default() };
    match carry_out(&mut running, units, store.entropy.as_ref()).await {
        Ok((outcomes, messages)) => {
            let Transaction { at, news, .. } = running;
            transaction.commit().await.map_err(commit_error)?;
            Ok(Committed { at, outcomes, stock: news.into_stock(), messages })
        }
        Err(error) => {
            // The answer is the first error; a rollback that fails leaves the connection to be rolled back on reuse.
            if let Err(error) = transaction.rollback().await {
                tracing::warn!(%error, "rolling back");
            }
            Err(error)
        }
    }
}

async fn carry_out(
    tx: &mut Transaction<'_>,
    units: &[WriteUnit],
    entropy: &dyn Entropy,
) -> Result<(Vec<UnitOutcome>, Vec<Message>), StoreError> {
    let mut outcomes: Vec<Option<UnitOutcome>> = units.iter().map(|_| None).collect();
    for group in plan::plan(units) {
        carry_out_group!(tx, units, group, outcomes);
    }
    let answered: Option<Vec<UnitOutcome>> = outcomes.into_iter().collect();
    let outcomes = answered.ok_or_else(|| StoreError::Inconsistent("a unit has no outcome".into()))?;
    requests::keep_asked(tx, units, &outcomes).await?;
    let messages = tx.write_outbox(entropy).await?;
    Ok((outcomes, messages))
}
