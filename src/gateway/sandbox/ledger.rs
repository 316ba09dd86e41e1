//! The sandbox's books, and an in-memory edition of them for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actors::domain::{Money, OrderSn, Timestamp, TradeNo};
use async_trait::async_trait;

use super::trade::{self, Command, Direction, NewNotification, Refusal, Step, Trade};

/// Why the books gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The command is not possible; nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database did not answer or the books are full; the outcome is unknown.
    #[error("sandbox ledger: {0}")]
    Unavailable(String),
}

/// One line of the money ledger, which only grows. The second source of truth beside the orders (I8, I9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoneyRow {
    /// Ascending.
    pub id: i64,
    /// Whose.
    pub order_sn: OrderSn,
    /// Which way.
    pub direction: Direction,
    /// The refund's number, or the trade's.
    pub request_no: String,
    /// How much.
    pub amount: Money,
    /// When.
    pub made_at: Timestamp,
}

/// A notification that was not answered with `success` yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingNotification {
    /// What it tells.
    pub news: NewNotification,
    /// When that happened.
    pub created_at: Timestamp,
    /// Sends so far.
    pub attempts: u32,
    /// The trade it tells of, as it is now.
    pub trade: Trade,
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Answered with `success`: done.
    Delivered,
    /// Not: again at this time.
    RetryAt(Timestamp),
    /// Not, and it was the last time.
    GivenUp,
}

/// The sandbox's books. Each call is one transaction.
#[async_trait]
pub trait SandboxLedger: Send + Sync + 'static {
    /// Reads the trade, applies the command and writes what it decides, at once or not at all.
    async fn apply(&self, order_sn: &OrderSn, command: Command, now: Timestamp) -> Result<Step, LedgerError>;
    /// The trade of the merchant's number.
    async fn find(&self, order_sn: &OrderSn) -> Result<Option<Trade>, LedgerError>;
    /// The merchant's number of a trade.
    async fn order_of(&self, trade_no: &TradeNo) -> Result<Option<OrderSn>, LedgerError>;
    /// Trades by ascending merchant's number, behind `after`.
    async fn list(&self, after: Option<&OrderSn>, limit: u32) -> Result<Vec<Trade>, LedgerError>;
    /// Money lines behind `after_id`.
    async fn money(&self, after_id: i64, limit: u32) -> Result<Vec<MoneyRow>, LedgerError>;
    /// Notifications to send now, longest due first.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<PendingNotification>, LedgerError>;
    /// Records a send.
    async fn tried(&self, notify_id: &str, delivery: Delivery) -> Result<(), LedgerError>;
}

/// The books in memory, for tests. Holds at most 100,000 trades.
#[derive(Debug, Default)]
pub struct MemoryLedger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    trades: BTreeMap<OrderSn, Trade>,
    money: Vec<MoneyRow>,
    notifications: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    order_sn: OrderSn,
    news: NewNotification,
    created_at: Timestamp,
    attempts: u32,
    next_try_at: Option<Timestamp>,
}

const MOST_TRADES: usize = 100_000;

impl MemoryLedger {
    /// Empty books.
    pub fn new() -> Self {
        Self::default()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SandboxLedger for MemoryLedger {
    async fn apply(&self, order_sn: &OrderSn, command: Command, now: Timestamp) -> Result<Step, LedgerError> {
        let mut books = self.books();
        let known = books.trades.get(order_sn).cloned();
        if known.is_none() && books.trades.len() >= MOST_TRADES {
            return Err(LedgerError::Unavailable("full".to_owned()));
        }
        let step = trade::apply(known, command, now)?;
        books.write(&step, now);
        Ok(step)
    }

    async fn find(&self, order_sn: &OrderSn) -> Result<Option<Trade>, LedgerError> {
        Ok(self.books().trades.get(order_sn).cloned())
    }

    async fn order_of(&self, trade_no: &TradeNo) -> Result<Option<OrderSn>, LedgerError> {
        let books = self.books();
        Ok(books.trades.values().find(|trade| trade.trade_no == *trade_no).map(|trade| trade.order_sn.clone()))
    }

    async fn list(&self, after: Option<&OrderSn>, limit: u32) -> Result<Vec<Trade>, LedgerError> {
        let books = self.books();
        let behind = books.trades.values().filter(|trade| after.is_none_or(|after| trade.order_sn > *after));
        Ok(behind.take(limit as usize).cloned().collect())
    }

    async fn money(&self, after_id: i64, limit: u32) -> Result<Vec<MoneyRow>, LedgerError> {
        let books = self.books();
        Ok(books.money.iter().filter(|row| row.id > after_id).take(limit as usize).cloned().collect())
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<PendingNotification>, LedgerError> {
        let books = self.books();
        let is_due = |kept: &&Kept| kept.next_try_at.is_some_and(|at| at <= now);
        let mut due: Vec<_> = books.notifications.iter().filter(is_due).collect();
        due.sort_by_key(|kept| kept.next_try_at);
        let with_trade = |kept: &Kept| {
            let trade = books.trades.get(&kept.order_sn)?.clone();
            let Kept { news, created_at, attempts, .. } = kept;
            Some(PendingNotification { news: news.clone(), created_at: *created_at, attempts: *attempts, trade })
        };
        Ok(due.into_iter().take(limit as usize).filter_map(with_trade).collect())
    }

    async fn tried(&self, notify_id: &str, delivery: Delivery) -> Result<(), LedgerError> {
        let mut books = self.books();
        if let Some(kept) = books.notifications.iter_mut().find(|kept| kept.news.notify_id == notify_id) {
            kept.attempts += 1;
            kept.next_try_at = match delivery {
                Delivery::RetryAt(at) => Some(at),
                Delivery::Delivered | Delivery::GivenUp => None,
            };
        }
        Ok(())
    }
}

impl Books {
    fn write(&mut self, step: &Step, now: Timestamp) {
        let order_sn = &step.trade.order_sn;
        self.trades.insert(order_sn.clone(), step.trade.clone());
        if let Some(moved) = &step.money {
            self.money.push(MoneyRow {
                id: i64::try_from(self.money.len()).unwrap_or(i64::MAX) + 1,
                order_sn: order_sn.clone(),
                direction: moved.direction,
                request_no: moved.request_no.clone(),
                amount: moved.amount,
                made_at: now,
            });
        }
        if let Some(news) = &step.notification {
            let (order_sn, news) = (order_sn.clone(), news.clone());
            self.notifications.push(Kept { order_sn, news, created_at: now, attempts: 0, next_try_at: Some(now) });
        }
    }
}

/// The text of a direction in the books.
pub const fn direction_text(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "IN",
        Direction::Out => "OUT",
    }
}
