//! The life of a trade in the sandbox: plain code, `apply(trade, command, now)`; the ledgers store what it decides.
//! The semantics are Alipay's: a trade exists from the moment the buyer opens the cashier, not from when we made a form.

use actors::domain::payment::TradeStatus;
use actors::domain::{Money, OrderSn, Timestamp, TradeNo};

/// One trade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The merchant's number, `out_trade_no`.
    pub order_sn: OrderSn,
    /// The sandbox's number.
    pub trade_no: TradeNo,
    /// How much.
    pub amount: Money,
    /// What the cashier shows.
    pub subject: String,
    /// Where notifications go; may be empty.
    pub notify_url: String,
    /// Where the browser goes; may be empty.
    pub return_url: String,
    /// As last stored. What counts is [`Trade::status_at`].
    pub status: TradeStatus,
    /// Pays or leaves once; replaced each time the cashier is opened.
    pub cashier_token: Option<String>,
    /// Cashier first opened.
    pub created_at: Timestamp,
    /// No payment from this moment on.
    pub expires_at: Timestamp,
    /// Paid.
    pub paid_at: Option<Timestamp>,
    /// Closed by the merchant, or refunded in full.
    pub closed_at: Option<Timestamp>,
    /// Money given back, oldest first.
    pub refunds: Vec<Refund>,
}

/// Money given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// `out_request_no`, its identity within the trade.
    pub request_no: String,
    /// How much.
    pub amount: Money,
    /// When.
    pub made_at: Timestamp,
}

impl Trade {
    /// Its state, with an unpaid trade past its time counted as closed.
    pub fn status_at(&self, now: Timestamp) -> TradeStatus {
        match self.status {
            TradeStatus::WaitBuyerPay if now >= self.expires_at => TradeStatus::TradeClosed,
            status => status,
        }
    }

    /// The sum of all refunds.
    pub fn refunded(&self) -> Money {
        Money(self.refunds.iter().map(|refund| refund.amount.0).sum())
    }
}

/// What the buyer's opening of the cashier brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTrade {
    /// The merchant's number.
    pub order_sn: OrderSn,
    /// Used if the trade is new.
    pub trade_no: TradeNo,
    /// How much.
    pub amount: Money,
    /// What the cashier shows.
    pub subject: String,
    /// Where notifications go; may be empty.
    pub notify_url: String,
    /// Where the browser goes; may be empty.
    pub return_url: String,
    /// No payment from this moment on.
    pub expires_at: Timestamp,
    /// For the buttons of the page now shown.
    pub cashier_token: String,
}

/// What is done to a trade. Random values come in with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The buyer opens the cashier.
    Open(Box<OpenTrade>),
    /// The buyer pays.
    Pay {
        /// From the page.
        cashier_token: String,
        /// For the notification it causes.
        notify_id: String,
    },
    /// The buyer goes without paying; the trade stays payable.
    Leave {
        /// From the page.
        cashier_token: String,
    },
    /// The merchant closes an unpaid trade.
    Close,
    /// The merchant gives money back.
    Refund {
        /// Its identity.
        request_no: String,
        /// How much.
        amount: Money,
        /// For the notification it causes.
        notify_id: String,
    },
}

/// Which way money went, seen from the merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The buyer paid.
    In,
    /// The buyer got it back.
    Out,
}

/// One line for the money ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoneyMove {
    /// Which way.
    pub direction: Direction,
    /// The refund's number; the trade's for a payment. UNIQUE per trade and direction.
    pub request_no: String,
    /// How much, above zero.
    pub amount: Money,
}

/// A notification that a step causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNotification {
    /// Its identity, the same on every repeat.
    pub notify_id: String,
    /// The state it tells of.
    pub status: TradeStatus,
    /// The refund it tells of.
    pub refund_request_no: Option<String>,
    /// All refunds so far.
    pub refunded: Money,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The trade afterwards.
    pub trade: Trade,
    /// Money that moved.
    pub money: Option<MoneyMove>,
    /// What the merchant is told.
    pub notification: Option<NewNotification>,
}

impl Step {
    fn only(trade: Trade) -> Self {
        Self { trade, money: None, notification: None }
    }

    /// With money moved; the merchant is told if it gave an address.
    fn moving(trade: Trade, money: MoneyMove, news: NewNotification) -> Self {
        let notification = (!trade.notify_url.is_empty()).then_some(news);
        Self { trade, money: Some(money), notification }
    }
}

/// Why a command did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody opened the cashier yet.
    #[error("trade does not exist")]
    NotExist,
    /// Already paid.
    #[error("trade is paid")]
    HasSuccess,
    /// Closed, or its time is over.
    #[error("trade is closed")]
    HasClosed,
    /// Not possible in its state.
    #[error("not possible in the trade's state")]
    StatusError,
    /// The number was used with another amount.
    #[error("the number was used with another amount")]
    Inconsistent,
    /// More than is left, or not more than zero.
    #[error("refund amount not possible")]
    RefundAmount,
    /// The refund's number was used with another amount.
    #[error("the refund's number was used with another amount")]
    DiscordantRepeat,
    /// The page is not the latest one, or was used.
    #[error("the page is no longer valid")]
    StalePage,
}

impl Refusal {
    /// Alipay's `sub_code`.
    pub const fn sub_code(self) -> &'static str {
        match self {
            Self::NotExist => "ACQ.TRADE_NOT_EXIST",
            Self::HasSuccess => "ACQ.TRADE_HAS_SUCCESS",
            Self::HasClosed => "ACQ.TRADE_HAS_CLOSE",
            Self::StatusError => "ACQ.TRADE_STATUS_ERROR",
            Self::Inconsistent => "ACQ.CONTEXT_INCONSISTENT",
            Self::RefundAmount => "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
            Self::DiscordantRepeat => "ACQ.DISCORDANT_REPEAT_REQUEST",
            Self::StalePage => "ACQ.INVALID_PARAMETER",
        }
    }
}

/// Applies a command.
///
/// # Errors
/// Why nothing was done.
pub fn apply(known: Option<Trade>, command: Command, now: Timestamp) -> Result<Step, Refusal> {
    if let Command::Open(wanted) = command {
        return open(known, *wanted, now);
    }
    let trade = known.ok_or(Refusal::NotExist)?;
    match command {
        Command::Open(wanted) => open(Some(trade), *wanted, now),
        Command::Pay { cashier_token, notify_id } => pay(trade, &cashier_token, notify_id, now),
        Command::Leave { cashier_token } => use_page(trade, &cashier_token, now).map(Step::only),
        Command::Close => close(trade, now),
        Command::Refund { request_no, amount, notify_id } => refund(trade, request_no, amount, notify_id, now),
    }
}

fn open(known: Option<Trade>, wanted: OpenTrade, now: Timestamp) -> Result<Step, Refusal> {
    let cashier_token = Some(wanted.cashier_token);
    let Some(known) = known else {
        if now >= wanted.expires_at {
            return Err(Refusal::HasClosed);
        }
        return Ok(Step::only(Trade {
            order_sn: wanted.order_sn,
            trade_no: wanted.trade_no,
            amount: wanted.amount,
            subject: wanted.subject,
            notify_url: wanted.notify_url,
            return_url: wanted.return_url,
            status: TradeStatus::WaitBuyerPay,
            cashier_token,
            created_at: now,
            expires_at: wanted.expires_at,
            paid_at: None,
            closed_at: None,
            refunds: Vec::new(),
        }));
    };
    still_payable(&known, now)?;
    if known.amount != wanted.amount {
        return Err(Refusal::Inconsistent);
    }
    Ok(Step::only(Trade { cashier_token, ..known }))
}

fn still_payable(trade: &Trade, now: Timestamp) -> Result<(), Refusal> {
    match trade.status_at(now) {
        TradeStatus::WaitBuyerPay => Ok(()),
        TradeStatus::TradeSuccess | TradeStatus::TradeFinished => Err(Refusal::HasSuccess),
        TradeStatus::TradeClosed => Err(Refusal::HasClosed),
    }
}

/// Uses up the page's token.
fn use_page(trade: Trade, cashier_token: &str, now: Timestamp) -> Result<Trade, Refusal> {
    still_payable(&trade, now)?;
    if trade.cashier_token.as_deref() != Some(cashier_token) {
        return Err(Refusal::StalePage);
    }
    Ok(Trade { cashier_token: None, ..trade })
}

fn pay(trade: Trade, cashier_token: &str, notify_id: String, now: Timestamp) -> Result<Step, Refusal> {
    let waiting = use_page(trade, cashier_token, now)?;
    let trade = Trade { status: TradeStatus::TradeSuccess, paid_at: Some(now), ..waiting };
    let request_no = trade.trade_no.as_str().to_owned();
    let money = MoneyMove { direction: Direction::In, request_no, amount: trade.amount };
    let news = NewNotification { notify_id, status: trade.status, refund_request_no: None, refunded: Money::ZERO };
    Ok(Step::moving(trade, money, news))
}

fn close(trade: Trade, now: Timestamp) -> Result<Step, Refusal> {
    still_payable(&trade, now).map_err(|_| Refusal::StatusError)?;
    let status = TradeStatus::TradeClosed;
    Ok(Step::only(Trade { status, cashier_token: None, closed_at: Some(now), ..trade }))
}

fn refund(
    mut trade: Trade,
    request_no: String,
    amount: Money,
    notify_id: String,
    now: Timestamp,
) -> Result<Step, Refusal> {
    if let Some(earlier) = trade.refunds.iter().find(|refund| refund.request_no == request_no) {
        let is_same = earlier.amount == amount;
        return if is_same { Ok(Step::only(trade)) } else { Err(Refusal::DiscordantRepeat) };
    }
    if trade.status != TradeStatus::TradeSuccess {
        return Err(Refusal::StatusError);
    }
    let refunded = trade.refunded().checked_add(amount).ok_or(Refusal::RefundAmount)?;
    if amount <= Money::ZERO || refunded > trade.amount {
        return Err(Refusal::RefundAmount);
    }
    trade.refunds.push(Refund { request_no: request_no.clone(), amount, made_at: now });
    if refunded == trade.amount {
        trade.status = TradeStatus::TradeClosed;
        trade.closed_at = Some(now);
    }
    let refund_request_no = Some(request_no.clone());
    let news = NewNotification { notify_id, status: trade.status, refund_request_no, refunded };
    Ok(Step::moving(trade, MoneyMove { direction: Direction::Out, request_no, amount }, news))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const EXPIRY: Timestamp = Timestamp(2_000_000);

    fn opening(amount: i64) -> Command {
        Command::Open(Box::new(OpenTrade {
            order_sn: OrderSn::parse("SK1").unwrap(),
            trade_no: TradeNo::parse("T1").unwrap(),
            amount: Money(amount),
            subject: "Phone".to_owned(),
            notify_url: "https://shop.example/notify".to_owned(),
            return_url: String::new(),
            expires_at: EXPIRY,
            cashier_token: "page".to_owned(),
        }))
    }

    fn paying(cashier_token: &str) -> Command {
        Command::Pay { cashier_token: cashier_token.to_owned(), notify_id: "n".to_owned() }
    }

    fn refunding(request_no: &str, amount: i64) -> Command {
        Command::Refund { request_no: request_no.to_owned(), amount: Money(amount), notify_id: "n".to_owned() }
    }

    fn opened() -> Trade {
        apply(None, opening(100), NOW).unwrap().trade
    }

    fn paid() -> Trade {
        apply(Some(opened()), paying("page"), NOW).unwrap().trade
    }

    fn refusal(trade: Option<Trade>, command: Command, now: Timestamp) -> Refusal {
        apply(trade, command, now).unwrap_err()
    }

    #[test]
    fn nothing_exists_before_the_cashier_is_opened() {
        for command in [paying("page"), Command::Close, refunding("r", 1)] {
            assert_eq!(refusal(None, command, NOW), Refusal::NotExist);
        }
        assert_eq!(opened().status, TradeStatus::WaitBuyerPay);
    }

    #[test]
    fn a_page_pays_once_and_only_the_latest_one() {
        assert_eq!(refusal(Some(opened()), paying("other"), NOW), Refusal::StalePage);
        assert_eq!(refusal(Some(paid()), paying("page"), NOW), Refusal::HasSuccess);
        let left = apply(Some(opened()), Command::Leave { cashier_token: "page".to_owned() }, NOW).unwrap().trade;
        assert_eq!(left.status, TradeStatus::WaitBuyerPay);
        assert_eq!(refusal(Some(left), paying("page"), NOW), Refusal::StalePage);
    }

    #[test]
    fn who_gave_no_address_is_not_told() {
        let silent = Trade { notify_url: String::new(), ..opened() };
        assert!(apply(Some(opened()), paying("page"), NOW).unwrap().notification.is_some());
        assert_eq!(apply(Some(silent), paying("page"), NOW).unwrap().notification, None);
    }

    #[test]
    fn time_over_is_closed_for_everyone() {
        assert_eq!(refusal(None, opening(100), EXPIRY), Refusal::HasClosed);
        assert_eq!(refusal(Some(opened()), opening(100), EXPIRY), Refusal::HasClosed);
        assert_eq!(refusal(Some(opened()), paying("page"), EXPIRY), Refusal::HasClosed);
        assert_eq!(refusal(Some(opened()), Command::Close, EXPIRY), Refusal::StatusError);
        assert_eq!(opened().status_at(EXPIRY), TradeStatus::TradeClosed);
        assert!(apply(Some(opened()), paying("page"), Timestamp(EXPIRY.0 - 1)).is_ok());
        assert_eq!(paid().status_at(EXPIRY), TradeStatus::TradeSuccess);
    }

    #[test]
    fn a_number_never_gets_another_amount() {
        assert_eq!(refusal(Some(opened()), opening(101), NOW), Refusal::Inconsistent);
    }

    #[test]
    fn close_works_on_an_unpaid_trade_only() {
        let closed = apply(Some(opened()), Command::Close, NOW).unwrap().trade;
        assert_eq!(closed.status, TradeStatus::TradeClosed);
        assert_eq!(refusal(Some(closed.clone()), Command::Close, NOW), Refusal::StatusError);
        assert_eq!(refusal(Some(closed), paying("page"), NOW), Refusal::HasClosed);
        assert_eq!(refusal(Some(paid()), Command::Close, NOW), Refusal::StatusError);
    }

    #[test]
    fn a_refund_is_made_once_per_number() {
        assert_eq!(refusal(Some(opened()), refunding("r", 1), NOW), Refusal::StatusError);
        let once = apply(Some(paid()), refunding("r", 40), NOW).unwrap();
        assert!(once.money.is_some());
        let again = apply(Some(once.trade.clone()), refunding("r", 40), NOW).unwrap();
        assert_eq!((again.money, again.notification, &again.trade), (None, None, &once.trade));
        assert_eq!(refusal(Some(once.trade.clone()), refunding("r", 41), NOW), Refusal::DiscordantRepeat);
        assert_eq!(refusal(Some(once.trade.clone()), refunding("s", 61), NOW), Refusal::RefundAmount);
        assert_eq!(refusal(Some(once.trade.clone()), refunding("s", 0), NOW), Refusal::RefundAmount);
        let whole = apply(Some(once.trade), refunding("s", 60), NOW).unwrap().trade;
        assert_eq!(whole.status, TradeStatus::TradeClosed);
        assert!(apply(Some(whole.clone()), refunding("s", 60), NOW).unwrap().money.is_none());
        assert_eq!(refusal(Some(whole), refunding("t", 1), NOW), Refusal::StatusError);
    }

    proptest! {
        #[test]
        fn never_more_goes_out_than_came_in(
            commands in proptest::collection::vec((0..4_u8, 0..4_u8, -5..120_i64, 0..3_i64), 1..40)
        ) {
            let (mut trade, mut came_in, mut went_out) = (None, 0_i64, 0_i64);
            for (kind, number, amount, later) in commands {
                let command = match kind {
                    0 => opening(100),
                    1 => paying("page"),
                    2 => Command::Close,
                    _ => refunding(&number.to_string(), amount),
                };
                let Ok(step) = apply(trade.clone(), command, Timestamp(NOW.0 + later * 400_000)) else { continue };
                match step.money {
                    Some(MoneyMove { direction: Direction::In, amount, .. }) => came_in += amount.0,
                    Some(MoneyMove { direction: Direction::Out, amount, .. }) => went_out += amount.0,
                    None => {}
                }
                prop_assert!(came_in == 0 || came_in == 100);
                prop_assert!((0..=came_in).contains(&went_out));
                prop_assert_eq!(step.trade.refunded(), Money(went_out));
                prop_assert_eq!(step.trade.paid_at.is_some(), came_in == 100);
                trade = Some(step.trade);
            }
        }
    }
}
