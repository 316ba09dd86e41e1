//! One batch, one transaction: carries out the groups of [`crate::store::plan`] and gathers what the writer needs to know.

use actors::domain::Timestamp;
use actors::domain::events::Message;
use actors::ports::clock::Entropy;
use actors::ports::store::units::{UnitOutcome, WriteUnit};
use actors::ports::store::{Committed, StoreError, StoreRules};
use sqlx::sqlite::SqliteConnection;

use super::connection::{self, Row, Select, Statement, commit_error, store_error};
use super::script::{Asked, Put, Script};
use super::{
    SqliteStore, deliveries, flash_orders, fulfilment, grants, inbox, locks, members, messages, orders, outbox,
    payments, refunds, requests, returns, sale_life, stock, webhooks,
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
    /// Writes that wait for the next read, or the end.
    pub(super) script: Script,
}

impl<'c> Transaction<'c> {
    fn begun(connection: &'c mut SqliteConnection, store: &SqliteStore) -> Self {
        let (news, script) = (News::default(), Script::default());
        Self { connection, at: store.clock.now(), rules: store.rules, news, script }
    }

    /// Whether a return request is safe to decide on: nobody else writes, so each is.
    #[expect(clippy::unused_self, reason = "the other database has to look")]
    pub(super) fn has_locked_return(&self, _return_id: i64) -> bool {
        true
    }

    /// All rows of a query.
    pub(super) async fn all<T: Row>(&mut self, select: Select<'_, T>) -> Result<Vec<T>, StoreError> {
        self.run_script().await?;
        self.all_before_writes(select).await
    }

    /// All rows of a query that looks at nothing that waits to be written.
    pub(super) async fn all_before_writes<T: Row>(&mut self, select: Select<'_, T>) -> Result<Vec<T>, StoreError> {
        connection::all(self.connection, select).await
    }

    /// All rows of queries about these rows.
    pub(super) async fn all_about<T, R: Row>(
        &mut self,
        asked: &Asked,
        rows: &[T],
        put: impl Fn(&mut Put<'_>, &T),
    ) -> Result<Vec<R>, StoreError> {
        let mut found = Vec::new();
        for select in asked.about(rows, put) {
            found.append(&mut self.all(select).await?);
        }
        Ok(found)
    }

    /// The row of a query, if there is one.
    pub(super) async fn optional<T: Row>(&mut self, select: Select<'_, T>) -> Result<Option<T>, StoreError> {
        Ok(self.all(select).await?.pop())
    }

    /// Rows changed by a statement.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<usize, StoreError> {
        self.run_script().await?;
        connection::execute(self.connection, statement).await
    }

    /// Carries out what waits; how many rows that changed.
    pub(super) async fn run_script(&mut self) -> Result<usize, StoreError> {
        if self.script.is_empty() {
            return Ok(0);
        }
        std::mem::take(&mut self.script).run(self.connection).await
    }

    /// Writes the outbox.
    fn write_outbox(&mut self, entropy: &dyn Entropy) -> Vec<Message> {
        let messages = self.news.take_messages(self.rules.items_per_message, self.at, entropy);
        outbox::insert(self, &messages);
        messages
    }
}

/// Commits a batch. Runs in a task of its own.
pub(super) async fn commit(store: &SqliteStore, units: &[WriteUnit]) -> Result<Committed, StoreError> {
    let mut transaction = store.writer.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
    let mut running = Transaction::begun(&mut transaction, store);
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
    deliveries::record(tx, units, &outcomes, entropy).await?;
    let messages = tx.write_outbox(entropy);
    tx.run_script().await?;
    Ok((outcomes, messages))
}
