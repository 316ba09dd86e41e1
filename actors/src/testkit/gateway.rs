//! A payment gateway with trades, a money ledger and a script of failures.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::Gate;
use crate::domain::payment::TradeStatus;
use crate::domain::{Money, OrderSn, TradeNo};
use crate::ports::gateway::{
    Gateway, GatewayError, Notification, NotifyError, PayPage, RefundAnswer, TradeClose, TradeQuery,
};

/// How one call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayFault {
    /// Nothing happened.
    Before,
    /// It happened, but the answer was lost.
    After,
}

#[derive(Clone, Debug)]
struct Trade {
    trade_no: TradeNo,
    status: TradeStatus,
    amount: Money,
}

#[derive(Clone, Debug)]
struct Refund {
    trade_no: TradeNo,
    amount: Money,
    is_done: bool,
}

#[derive(Default)]
struct Books {
    trades: BTreeMap<OrderSn, Trade>,
    taken: BTreeMap<TradeNo, Money>,
    refunds: BTreeMap<String, Refund>,
    notifications: BTreeMap<String, Notification>,
    next_number: u64,
    is_down: bool,
    refunds_are_slow: bool,
    faults: VecDeque<GatewayFault>,
    armed: Option<(usize, GatewayFault)>,
    since_armed: usize,
    calls: BTreeMap<&'static str, usize>,
}

/// The gateway. The body of a notification is its id: what was never sent does not verify.
#[derive(Default)]
pub struct FakeGateway {
    books: Mutex<Books>,
    /// Before a query.
    pub before_query: Gate,
    /// Before a close.
    pub before_close: Gate,
}

impl FakeGateway {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buyer opens the cashier: a trade exists and waits.
    pub fn open_cashier(&self, order_sn: &OrderSn, amount: Money) {
        let mut books = self.books();
        let trade_no = books.trade_no();
        let trade = Trade { trade_no, status: TradeStatus::WaitBuyerPay, amount };
        books.trades.entry(order_sn.clone()).or_insert(trade);
    }

    /// The buyer pays at the cashier, if the trade is still open there. The body of the notification.
    pub fn pay(&self, order_sn: &OrderSn, amount: Money) -> Option<Vec<u8>> {
        self.open_cashier(order_sn, amount);
        let mut books = self.books();
        let trade = books.trades.get_mut(order_sn).filter(|trade| trade.status == TradeStatus::WaitBuyerPay)?;
        (trade.status, trade.amount) = (TradeStatus::TradeSuccess, amount);
        let trade_no = trade.trade_no.clone();
        books.taken.insert(trade_no.clone(), amount);
        Some(books.notify(order_sn, trade_no, TradeStatus::TradeSuccess, amount, false))
    }

    /// Money under a trade of its own, whatever the order's other trade is. The body of the notification.
    pub fn pay_with_another_trade(&self, order_sn: &OrderSn, amount: Money) -> Vec<u8> {
        let mut books = self.books();
        let trade_no = books.trade_no();
        books.taken.insert(trade_no.clone(), amount);
        books.notify(order_sn, trade_no, TradeStatus::TradeSuccess, amount, false)
    }

    /// A notification about an order as it may come at any time. Its body.
    pub fn notify(&self, order_sn: &OrderSn, status: TradeStatus, amount: Money, is_refund: bool) -> Vec<u8> {
        let mut books = self.books();
        let trade_no = match books.trades.get(order_sn) {
            Some(trade) => trade.trade_no.clone(),
            None => books.trade_no(),
        };
        books.notify(order_sn, trade_no, status, amount, is_refund)
    }

    /// Whether every call fails.
    pub fn set_down(&self, is_down: bool) {
        self.books().is_down = is_down;
    }

    /// Whether refunds stay pending until [`Self::finish_refunds`].
    pub fn set_refunds_slow(&self, are_slow: bool) {
        self.books().refunds_are_slow = are_slow;
    }

    /// Pending refunds are done now.
    pub fn finish_refunds(&self) {
        self.books().refunds.values_mut().for_each(|refund| refund.is_done = true);
    }

    /// The next call that is not spoken for yet goes wrong.
    pub fn fail(&self, fault: GatewayFault) {
        self.books().faults.push_back(fault);
    }

    /// Counts from 1 again; the call of this number, if any, goes wrong.
    pub fn arm(&self, fails: Option<(usize, GatewayFault)>) {
        let mut books = self.books();
        (books.armed, books.since_armed) = (fails, 0);
    }

    /// How often any call was made.
    pub fn all_calls(&self) -> usize {
        self.books().calls.values().sum()
    }

    /// State of the trade of an order.
    pub fn status(&self, order_sn: &OrderSn) -> Option<TradeStatus> {
        self.books().trades.get(order_sn).map(|trade| trade.status)
    }

    /// How often a call was made.
    pub fn calls(&self, name: &str) -> usize {
        self.books().calls.get(name).copied().unwrap_or(0)
    }

    /// All money ever taken.
    pub fn taken(&self) -> Money {
        Money(self.books().taken.values().map(|amount| amount.0).sum())
    }

    /// What was given back: request number and amount.
    pub fn refunds(&self) -> Vec<(String, Money)> {
        self.books().refunds.iter().map(|(request_no, refund)| (request_no.clone(), refund.amount)).collect()
    }

    /// Counts a call; the fault it meets.
    fn call(&self, name: &'static str) -> Result<Option<GatewayError>, GatewayError> {
        let mut books = self.books();
        *books.calls.entry(name).or_default() += 1;
        if books.is_down {
            return Err(GatewayError("down".into()));
        }
        books.since_armed += 1;
        let number = books.since_armed;
        let armed = books.armed.filter(|(fails, _)| *fails == number).map(|(_, fault)| fault);
        match armed.or_else(|| books.faults.pop_front()) {
            None => Ok(None),
            Some(GatewayFault::Before) => Err(GatewayError("not reached".into())),
            Some(GatewayFault::After) => Ok(Some(GatewayError("answer lost".into()))),
        }
    }
}

impl Books {
    fn trade_no(&mut self) -> TradeNo {
        self.next_number += 1;
        TradeNo::parse(&format!("T{:06}", self.next_number)).expect("printable")
    }

    fn notify(
        &mut self,
        order_sn: &OrderSn,
        trade_no: TradeNo,
        status: TradeStatus,
        amount: Money,
        is_refund: bool,
    ) -> Vec<u8> {
        let notify_id = format!("N{}", self.notifications.len());
        let notification = Notification {
            notify_id: notify_id.clone(),
            order_sn: order_sn.clone(),
            trade_no,
            status,
            amount,
            subject: "subject".into(),
            is_refund,
            content: notify_id.clone(),
        };
        self.notifications.insert(notify_id.clone(), notification);
        notify_id.into_bytes()
    }

    fn query(&self, order_sn: &OrderSn) -> TradeQuery {
        match self.trades.get(order_sn) {
            None => TradeQuery::NotExist,
            Some(trade) => TradeQuery::Exists {
                trade_no: trade.trade_no.clone(),
                status: trade.status,
                amount: trade.amount,
                content: "queried".into(),
            },
        }
    }

    fn close(&mut self, order_sn: &OrderSn) -> TradeClose {
        match self.trades.get_mut(order_sn) {
            Some(trade) if trade.status.is_paid() => TradeClose::NotClosable,
            Some(trade) => {
                trade.status = TradeStatus::TradeClosed;
                TradeClose::Closed
            }
            None => TradeClose::Closed,
        }
    }

    fn refund(&mut self, trade_no: &TradeNo, amount: Money, request_no: &str) -> Result<RefundAnswer, GatewayError> {
        let is_done = !self.refunds_are_slow;
        let refund = Refund { trade_no: trade_no.clone(), amount, is_done };
        let refund = self.refunds.entry(request_no.to_owned()).or_insert(refund).clone();
        if refund.amount != amount || refund.trade_no != *trade_no {
            return Err(GatewayError("the request number stands for another refund".into()));
        }
        let given_back: i64 =
            self.refunds.values().filter(|refund| refund.trade_no == *trade_no).map(|refund| refund.amount.0).sum();
        assert!(
            self.taken.get(trade_no).is_some_and(|taken| taken.0 >= given_back),
            "{trade_no}: {given_back} given back of {:?}",
            self.taken.get(trade_no)
        );
        Ok(if refund.is_done { RefundAnswer::Done } else { RefundAnswer::Pending })
    }
}

fn answer<T>(value: T, lost: Option<GatewayError>) -> Result<T, GatewayError> {
    lost.map_or(Ok(value), Err)
}

#[async_trait]
impl Gateway for FakeGateway {
    async fn pay_form(&self, page: &PayPage) -> Result<String, GatewayError> {
        let lost = self.call("pay_form")?;
        answer(format!("<form>{} {} {} {}</form>", page.order_sn, page.amount, page.subject, page.issued_at.0), lost)
    }

    async fn query(&self, order_sn: &OrderSn) -> Result<TradeQuery, GatewayError> {
        self.before_query.pass().await;
        let lost = self.call("query")?;
        answer(self.books().query(order_sn), lost)
    }

    async fn close(&self, order_sn: &OrderSn) -> Result<TradeClose, GatewayError> {
        self.before_close.pass().await;
        let lost = self.call("close")?;
        answer(self.books().close(order_sn), lost)
    }

    async fn refund(
        &self,
        trade_no: &TradeNo,
        amount: Money,
        request_no: &str,
        _reason: &str,
    ) -> Result<RefundAnswer, GatewayError> {
        let lost = self.call("refund")?;
        let refunded = self.books().refund(trade_no, amount, request_no)?;
        answer(refunded, lost)
    }

    async fn refund_query(&self, _trade_no: &TradeNo, request_no: &str) -> Result<RefundAnswer, GatewayError> {
        let lost = self.call("refund_query")?;
        let is_done = self.books().refunds.get(request_no).is_some_and(|refund| refund.is_done);
        answer(if is_done { RefundAnswer::Done } else { RefundAnswer::Pending }, lost)
    }

    fn verify_notification(&self, body: &[u8]) -> Result<Notification, NotifyError> {
        let notify_id = std::str::from_utf8(body).map_err(|error| NotifyError::Malformed(error.to_string()))?;
        self.books().notifications.get(notify_id).cloned().ok_or(NotifyError::BadSignature)
    }
}
