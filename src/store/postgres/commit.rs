//! One batch, one transaction: locks what it needs, carries out the groups of [`crate::store::plan`] and gathers what
//! the writer needs to know.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use actors::domain::events::Message;
use actors::domain::stock::StockRow;
use actors::domain::webhook::EventSet;
use actors::domain::{SaleId, Timestamp, WareSkuId};
use actors::ports::clock::Entropy;
use actors::ports::store::units::{UnitOutcome, WriteUnit};
use actors::ports::store::{Committed, StoreError, StoreRules};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Postgres};

use super::connection::{self, Row, Select, Statement, commit_error, store_error};
use super::rows::{StockColumns, stock_row};
use super::{
    PostgresStore, StoreClock, deliveries, flash_orders, fulfilment, grants, inbox, lock_order, locks, members,
    messages, orders, outbox, payments, refunds, requests, returns, sale_life, stock, webhooks,
};
use crate::store::batch::{News, Placed, carry_out_group};
use crate::store::plan;

/// Longest time from BEGIN to COMMIT. A server that answers keeps to its own limits, which are shorter.
const WORK_LIMIT: Duration = Duration::from_secs(20);
/// Longest COMMIT or ROLLBACK.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Whatever the server's default isolation is: the locks are what makes reading and then writing safe, and a
/// statement must see what was committed while it waited for them.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// What a batch asks the database when its rows are locked.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// The database's clock, as [`super::connection::NOW`] has it.
    now: Timestamp,
    /// The event types that an enabled webhook wants.
    wanted: EventSet,
}

impl Moment {
    /// Of the two columns of `moment!`.
    pub(super) fn of(now: i64, wanted: i64) -> Self {
        Self { now: Timestamp(now), wanted: EventSet::from_bits(wanted) }
    }
}

/// The columns of a [`Moment`].
macro_rules! moment {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint,
         coalesce((SELECT bit_or(events) FROM webhook_endpoint WHERE enabled = 1), 0)"
    };
}
pub(super) use moment;

/// A running transaction.
pub(super) struct Transaction<'c> {
    connection: &'c mut PgConnection,
    /// Its time, by the store's clock.
    pub(super) at: Timestamp,
    pub(super) rules: StoreRules,
    /// What it will tell once it is committed.
    pub(super) news: News,
    /// The stock rows that it has locked, as they are now.
    pub(super) stock: BTreeMap<WareSkuId, StockRow>,
    /// The sales that it has locked.
    pub(super) sales: HashSet<SaleId>,
    /// The return requests whose orders it has locked.
    pub(super) returns: HashSet<i64>,
    /// The event types that an enabled webhook wants.
    pub(super) wanted: EventSet,
}

impl<'c> Transaction<'c> {
    pub(super) fn new(connection: &'c mut PgConnection, rules: StoreRules) -> Self {
        Self {
            connection,
            at: Timestamp(0),
            rules,
            news: News::default(),
            stock: BTreeMap::new(),
            sales: HashSet::new(),
            returns: HashSet::new(),
            wanted: EventSet::NONE,
        }
    }

    /// Whether the request was there when the orders were locked. One that was not, nobody who asks can have heard of.
    pub(super) fn has_locked_return(&self, return_id: i64) -> bool {
        self.returns.contains(&return_id)
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

    /// The moment, for a batch whose locks did not tell it. Read after locking: whoever had to wait for a row is later
    /// than whoever held it.
    async fn moment(&mut self) -> Result<Moment, StoreError> {
        let read: Option<(i64, i64)> = self.optional(sqlx::query_as(concat!("SELECT ", moment!()))).await?;
        let (now, wanted) = read.ok_or_else(|| StoreError::Inconsistent("a clock without an answer".into()))?;
        Ok(Moment::of(now, wanted))
    }

    /// Notes stock rows as they are after a change.
    pub(super) fn stock_changed(&mut self, rows: Vec<StockColumns>) {
        self.stock.extend(rows.iter().copied().map(stock_row).map(|row| (row.id, row)));
        self.news.stock_changed(rows);
    }

    /// Writes the outbox.
    async fn write_outbox(&mut self, entropy: &dyn Entropy) -> Result<Vec<Message>, StoreError> {
        let messages = self.news.take_messages(self.rules.items_per_message, self.at, entropy);
        outbox::insert(self, &messages).await?;
        Ok(messages)
    }
}

/// Why a transaction did not commit, and what that says of its connection.
struct Failure {
    error: StoreError,
    /// Whether it had begun.
    begun: bool,
    /// Whether its connection is fit for another.
    sound: bool,
}

/// Commits a batch. Runs in a task of its own.
pub(super) async fn commit(store: &PostgresStore, units: &[WriteUnit]) -> Result<Committed, StoreError> {
    // After a restart of the server every pooled connection is a dead one: each is found out once, here.
    let mut tries_left = store.writers.pool().options().get_max_connections();
    loop {
        let mut connection = store.writers.acquire().await?;
        let failure = match transact(&mut connection, store, units).await {
            Ok(committed) => return Ok(committed),
            Err(failure) => failure,
        };
        if !failure.sound {
            drop(connection.detach());
        }
        if failure.begun || tries_left == 0 {
            return Err(failure.error);
        }
        tries_left -= 1;
    }
}

async fn transact(
    connection: &mut PoolConnection<Postgres>,
    store: &PostgresStore,
    units: &[WriteUnit],
) -> Result<Committed, Failure> {
    // Dropping a BEGIN half-way would leave its transaction open; such a connection is not used again.
    let begun = within(END_LIMIT, async { connection.begin_with(BEGIN).await.map_err(store_error) }).await;
    let mut transaction = begun.map_err(|error| Failure { error, begun: false, sound: false })?;
    let mut running = Transaction::new(&mut transaction, store.rules);
    let work = carry_out(&mut running, units, &store.clock, store.entropy.as_ref());
    let worked = within(WORK_LIMIT, work).await;
    let Transaction { at, news, .. } = running;
    match worked {
        Ok((outcomes, messages)) => {
            let committed = match tokio::time::timeout(END_LIMIT, transaction.commit()).await {
                Ok(committed) => committed.map_err(commit_error),
                Err(_) => Err(StoreError::Unknown("COMMIT is not answered".into())),
            };
            committed.map_err(|error| Failure { error, begun: true, sound: false })?;
            Ok(Committed { at, outcomes, stock: news.into_stock(), messages })
        }
        Err(error) => {
            // The answer is the first error. A transaction whose rollback fails ends with its connection.
            let rollback = async { transaction.rollback().await.map_err(store_error) };
            let sound = within(END_LIMIT, rollback).await.is_ok();
            Err(Failure { error, begun: true, sound })
        }
    }
}

/// Gives up what takes too long; its connection is then in an unknown state.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Transient("the database takes too long".into())),
    }
}

async fn carry_out(
    tx: &mut Transaction<'_>,
    units: &[WriteUnit],
    clock: &StoreClock,
    entropy: &dyn Entropy,
) -> Result<(Vec<UnitOutcome>, Vec<Message>), StoreError> {
    let told = lock_order::lock(tx, units).await?;
    let moment = match told {
        Some(moment) => moment,
        None => tx.moment().await?,
    };
    tx.wanted = moment.wanted;
    tx.at = match clock {
        StoreClock::Given(clock) => clock.now(),
        StoreClock::Database => moment.now,
    };
    let mut outcomes: Vec<Option<UnitOutcome>> = units.iter().map(|_| None).collect();
    for group in plan::plan(units) {
        carry_out_group!(tx, units, group, outcomes);
    }
    let answered: Option<Vec<UnitOutcome>> = outcomes.into_iter().collect();
    let outcomes = answered.ok_or_else(|| StoreError::Inconsistent("a unit has no outcome".into()))?;
    requests::keep_asked(tx, units, &outcomes).await?;
    deliveries::record(tx, units, &outcomes, entropy).await?;
    let messages = tx.write_outbox(entropy).await?;
    Ok((outcomes, messages))
}
