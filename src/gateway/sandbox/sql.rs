//! The sandbox's books in a database: what both editions have in common. The statements are those that both databases
//! understand; an edition differs in how its transaction keeps a trade to itself.

use actors::domain::{Money, OrderSn, Timestamp, TradeNo};

use super::ledger::{Delivery, LedgerError, MoneyRow, PendingNotification, direction_text};
use super::trade::{Direction, NewNotification, Refund, Trade};
use crate::gateway::alipay::notify::parse_status;

pub(super) const FIND: &str = "SELECT * FROM sandbox_trade WHERE out_trade_no = $1";
pub(super) const REFUNDS: &str = "SELECT request_no, amount, create_time FROM sandbox_money
     WHERE out_trade_no = $1 AND direction = 'OUT' ORDER BY id";
pub(super) const ORDER_OF: &str = "SELECT out_trade_no FROM sandbox_trade WHERE trade_no = $1";
pub(super) const LIST: &str = "SELECT * FROM sandbox_trade WHERE out_trade_no > $1 ORDER BY out_trade_no LIMIT $2";
pub(super) const MONEY: &str = "SELECT * FROM sandbox_money WHERE id > $1 ORDER BY id LIMIT $2";
pub(super) const DUE: &str =
    "SELECT * FROM sandbox_notification WHERE next_try_time <= $1 ORDER BY next_try_time LIMIT $2";
pub(super) const TRIED: &str =
    "UPDATE sandbox_notification SET attempts = attempts + 1, delivered = $1, next_try_time = $2
     WHERE notify_id = $3";
pub(super) const WRITE_TRADE: &str =
    "INSERT INTO sandbox_trade (out_trade_no, trade_no, total_amount, subject, notify_url, return_url, status,
                                cashier_token, create_time, expire_time, pay_time, close_time)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
     ON CONFLICT (out_trade_no) DO UPDATE SET status = excluded.status, cashier_token = excluded.cashier_token,
                                              pay_time = excluded.pay_time, close_time = excluded.close_time";
pub(super) const WRITE_MONEY: &str =
    "INSERT INTO sandbox_money (out_trade_no, direction, request_no, amount, create_time) VALUES ($1, $2, $3, $4, $5)";
pub(super) const WRITE_NOTIFICATION: &str =
    "INSERT INTO sandbox_notification (notify_id, out_trade_no, trade_status, refund_request_no, refunded,
                                       create_time, next_try_time)
     VALUES ($1, $2, $3, $4, $5, $6, $6)";

/// The books over a pool of connections. `$begin` starts the transaction of an order number's command on a connection:
/// until it ends, nobody else decides on that number.
macro_rules! sql_ledger {
    ($ledger:ty, $connection:ty, $begin:path) => {
        impl $ledger {
            /// Runs `work` in a task of its own, so a caller that goes away cannot leave a transaction open (DESIGN
            /// rule 13). Callers wait for it, so there are never more tasks than callers.
            async fn in_a_task<T: Send + 'static>(
                work: impl Future<Output = Result<T, LedgerError>> + Send + 'static,
            ) -> Result<T, LedgerError> {
                tokio::spawn(work).await.map_err(|error| LedgerError::Unavailable(error.to_string()))?
            }
        }

        #[async_trait]
        impl SandboxLedger for $ledger {
            async fn apply(&self, order_sn: &OrderSn, command: Command, now: Timestamp) -> Result<Step, LedgerError> {
                let (pool, order_sn) = (self.pool.clone(), order_sn.clone());
                Self::in_a_task(async move {
                    let mut connection = pool.acquire().await.map_err(unavailable)?;
                    let mut transaction = $begin(&mut connection, &order_sn).await.map_err(unavailable)?;
                    let known = find(&mut transaction, &order_sn).await?;
                    let step = trade::apply(known, command, now)?;
                    write_step(&mut transaction, &step, now).await.map_err(unavailable)?;
                    transaction.commit().await.map_err(unavailable)?;
                    Ok(step)
                })
                .await
            }

            async fn find(&self, order_sn: &OrderSn) -> Result<Option<Trade>, LedgerError> {
                let mut connection = self.pool.acquire().await.map_err(unavailable)?;
                find(&mut connection, order_sn).await
            }

            async fn order_of(&self, trade_no: &TradeNo) -> Result<Option<OrderSn>, LedgerError> {
                let select = sqlx::query_as(sql::ORDER_OF).bind(trade_no.as_str());
                let row: Option<(String,)> = select.fetch_optional(&self.pool).await.map_err(unavailable)?;
                row.map(|(text,)| sql::order_sn(&text)).transpose()
            }

            async fn list(&self, after: Option<&OrderSn>, limit: u32) -> Result<Vec<Trade>, LedgerError> {
                let mut connection = self.pool.acquire().await.map_err(unavailable)?;
                let select = sqlx::query_as(sql::LIST).bind(after.map_or("", OrderSn::as_str)).bind(i64::from(limit));
                let rows: Vec<TradeColumns> = select.fetch_all(&mut *connection).await.map_err(unavailable)?;
                let mut trades = Vec::with_capacity(rows.len());
                for row in rows {
                    trades.push(with_refunds(&mut connection, row).await?);
                }
                Ok(trades)
            }

            async fn money(&self, after_id: i64, limit: u32) -> Result<Vec<MoneyRow>, LedgerError> {
                let select = sqlx::query_as(sql::MONEY).bind(after_id).bind(i64::from(limit));
                let rows: Vec<MoneyColumns> = select.fetch_all(&self.pool).await.map_err(unavailable)?;
                rows.into_iter().map(MoneyColumns::into_row).collect()
            }

            async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<PendingNotification>, LedgerError> {
                let mut connection = self.pool.acquire().await.map_err(unavailable)?;
                let select = sqlx::query_as(sql::DUE).bind(now.0).bind(i64::from(limit));
                let rows: Vec<NotificationColumns> = select.fetch_all(&mut *connection).await.map_err(unavailable)?;
                let mut due = Vec::with_capacity(rows.len());
                for row in rows {
                    let trade = find(&mut connection, &row.order_sn()?).await?;
                    due.push(row.into_pending(trade.ok_or_else(|| sql::broken("out_trade_no"))?)?);
                }
                Ok(due)
            }

            async fn tried(&self, notify_id: &str, delivery: Delivery) -> Result<(), LedgerError> {
                let (pool, notify_id) = (self.pool.clone(), notify_id.to_owned());
                let (delivered, next_try_at) = sql::outcome_columns(delivery);
                Self::in_a_task(async move {
                    let update = sqlx::query(sql::TRIED).bind(delivered).bind(next_try_at).bind(notify_id);
                    update.execute(&pool).await.map_err(unavailable).map(drop)
                })
                .await
            }
        }

        async fn find(connection: &mut $connection, order_sn: &OrderSn) -> Result<Option<Trade>, LedgerError> {
            let select = sqlx::query_as(sql::FIND).bind(order_sn.as_str());
            let row: Option<TradeColumns> = select.fetch_optional(&mut *connection).await.map_err(unavailable)?;
            match row {
                Some(row) => with_refunds(connection, row).await.map(Some),
                None => Ok(None),
            }
        }

        async fn with_refunds(connection: &mut $connection, row: TradeColumns) -> Result<Trade, LedgerError> {
            let mut trade = row.into_trade()?;
            let select = sqlx::query_as(sql::REFUNDS).bind(trade.order_sn.as_str());
            let rows: Vec<RefundColumns> = select.fetch_all(connection).await.map_err(unavailable)?;
            trade.refunds = rows.into_iter().map(sql::refund).collect();
            Ok(trade)
        }

        async fn write_step(connection: &mut $connection, step: &Step, now: Timestamp) -> Result<(), sqlx::Error> {
            let trade = &step.trade;
            sqlx::query(sql::WRITE_TRADE)
                .bind(trade.order_sn.as_str())
                .bind(trade.trade_no.as_str())
                .bind(trade.amount.0)
                .bind(&trade.subject)
                .bind(&trade.notify_url)
                .bind(&trade.return_url)
                .bind(status_text(trade.status))
                .bind(&trade.cashier_token)
                .bind(trade.created_at.0)
                .bind(trade.expires_at.0)
                .bind(trade.paid_at.map(|at| at.0))
                .bind(trade.closed_at.map(|at| at.0))
                .execute(&mut *connection)
                .await?;
            if let Some(money) = &step.money {
                sqlx::query(sql::WRITE_MONEY)
                    .bind(trade.order_sn.as_str())
                    .bind(direction_text(money.direction))
                    .bind(&money.request_no)
                    .bind(money.amount.0)
                    .bind(now.0)
                    .execute(&mut *connection)
                    .await?;
            }
            let Some(news) = &step.notification else { return Ok(()) };
            sqlx::query(sql::WRITE_NOTIFICATION)
                .bind(&news.notify_id)
                .bind(trade.order_sn.as_str())
                .bind(status_text(news.status))
                .bind(&news.refund_request_no)
                .bind(news.refunded.0)
                .bind(now.0)
                .execute(connection)
                .await?;
            Ok(())
        }
    };
}
pub(super) use sql_ledger;

/// A row of `sandbox_trade`.
#[derive(sqlx::FromRow)]
pub(super) struct TradeColumns {
    out_trade_no: String,
    trade_no: String,
    total_amount: i64,
    subject: String,
    notify_url: String,
    return_url: String,
    status: String,
    cashier_token: Option<String>,
    create_time: i64,
    expire_time: i64,
    pay_time: Option<i64>,
    close_time: Option<i64>,
}

impl TradeColumns {
    /// The trade, without its refunds.
    pub(super) fn into_trade(self) -> Result<Trade, LedgerError> {
        Ok(Trade {
            order_sn: order_sn(&self.out_trade_no)?,
            trade_no: TradeNo::parse(&self.trade_no).ok_or_else(|| broken("trade_no"))?,
            amount: Money(self.total_amount),
            subject: self.subject,
            notify_url: self.notify_url,
            return_url: self.return_url,
            status: parse_status(&self.status).ok_or_else(|| broken("status"))?,
            cashier_token: self.cashier_token,
            created_at: Timestamp(self.create_time),
            expires_at: Timestamp(self.expire_time),
            paid_at: self.pay_time.map(Timestamp),
            closed_at: self.close_time.map(Timestamp),
            refunds: Vec::new(),
        })
    }
}

/// `request_no, amount, create_time` of money given back.
pub(super) type RefundColumns = (String, i64, i64);

pub(super) fn refund((request_no, amount, made_at): RefundColumns) -> Refund {
    Refund { request_no, amount: Money(amount), made_at: Timestamp(made_at) }
}

/// A row of `sandbox_money`.
#[derive(sqlx::FromRow)]
pub(super) struct MoneyColumns {
    id: i64,
    out_trade_no: String,
    direction: String,
    request_no: String,
    amount: i64,
    create_time: i64,
}

impl MoneyColumns {
    pub(super) fn into_row(self) -> Result<MoneyRow, LedgerError> {
        let is_in = self.direction == direction_text(Direction::In);
        Ok(MoneyRow {
            id: self.id,
            order_sn: order_sn(&self.out_trade_no)?,
            direction: if is_in { Direction::In } else { Direction::Out },
            request_no: self.request_no,
            amount: Money(self.amount),
            made_at: Timestamp(self.create_time),
        })
    }
}

/// A row of `sandbox_notification`.
#[derive(sqlx::FromRow)]
pub(super) struct NotificationColumns {
    notify_id: String,
    out_trade_no: String,
    trade_status: String,
    refund_request_no: Option<String>,
    refunded: i64,
    create_time: i64,
    attempts: i64,
}

impl NotificationColumns {
    /// Whose it is.
    pub(super) fn order_sn(&self) -> Result<OrderSn, LedgerError> {
        order_sn(&self.out_trade_no)
    }

    pub(super) fn into_pending(self, trade: Trade) -> Result<PendingNotification, LedgerError> {
        let news = NewNotification {
            notify_id: self.notify_id,
            status: parse_status(&self.trade_status).ok_or_else(|| broken("trade_status"))?,
            refund_request_no: self.refund_request_no,
            refunded: Money(self.refunded),
        };
        let attempts = u32::try_from(self.attempts).map_err(|_| broken("attempts"))?;
        Ok(PendingNotification { news, created_at: Timestamp(self.create_time), attempts, trade })
    }
}

/// `delivered, next_try_time`
pub(super) fn outcome_columns(delivery: Delivery) -> (i64, Option<i64>) {
    match delivery {
        Delivery::Delivered => (1, None),
        Delivery::RetryAt(at) => (0, Some(at.0)),
        Delivery::GivenUp => (0, None),
    }
}

pub(super) fn order_sn(text: &str) -> Result<OrderSn, LedgerError> {
    OrderSn::parse(text).ok_or_else(|| broken("out_trade_no"))
}

#[expect(clippy::needless_pass_by_value, reason = "a function for map_err")]
pub(super) fn unavailable(error: sqlx::Error) -> LedgerError {
    LedgerError::Unavailable(error.to_string())
}

pub(super) fn broken(name: &str) -> LedgerError {
    LedgerError::Unavailable(format!("column {name} holds what was never written there"))
}
