//! The contract of the sandbox's books, for every edition of them.

use actors::domain::payment::TradeStatus;
use actors::domain::{Money, OrderSn, Timestamp, TradeNo};
use seckill::gateway::sandbox::ledger::{Delivery, LedgerError, SandboxLedger};
use seckill::gateway::sandbox::trade::{Command, Direction, OpenTrade, Refusal};

/// When the tests begin.
pub const NOW: Timestamp = Timestamp(1_767_225_600_000);

pub fn sn(text: &str) -> OrderSn {
    OrderSn::parse(text).unwrap()
}

pub fn opening(order_sn: &OrderSn, token: &str) -> Command {
    Command::Open(Box::new(OpenTrade {
        order_sn: order_sn.clone(),
        trade_no: TradeNo::parse(&format!("T-{order_sn}")).unwrap(),
        amount: Money(100),
        subject: "Phone X 白色".to_owned(),
        notify_url: "http://127.0.0.1:1/notify".to_owned(),
        return_url: String::new(),
        expires_at: Timestamp(NOW.0 + 60_000),
        cashier_token: token.to_owned(),
    }))
}

pub fn paying(token: &str, notify_id: &str) -> Command {
    Command::Pay { cashier_token: token.to_owned(), notify_id: notify_id.to_owned() }
}

fn refunding(request_no: &str, fen: i64, notify_id: &str) -> Command {
    Command::Refund { request_no: request_no.to_owned(), amount: Money(fen), notify_id: notify_id.to_owned() }
}

pub async fn keeps_the_contract(books: &dyn SandboxLedger) {
    let (one, two) = (sn("1"), sn("2"));
    assert_eq!(books.find(&one).await, Ok(None));
    assert_eq!(books.apply(&one, Command::Close, NOW).await, Err(LedgerError::Refused(Refusal::NotExist)));

    for (order_sn, token) in [(&two, "b"), (&one, "a"), (&one, "a2")] {
        let opened = books.apply(order_sn, opening(order_sn, token), NOW).await.unwrap().trade;
        assert_eq!(books.find(order_sn).await, Ok(Some(opened)));
    }
    assert_eq!(books.apply(&one, paying("a", "n"), NOW).await, Err(LedgerError::Refused(Refusal::StalePage)));
    assert!(books.money(0, 9).await.unwrap().is_empty());
    assert!(books.due(NOW, 9).await.unwrap().is_empty());

    let paid = books.apply(&one, paying("a2", "n1"), NOW).await.unwrap().trade;
    assert_eq!((paid.status, paid.paid_at), (TradeStatus::TradeSuccess, Some(NOW)));
    let part = books.apply(&one, refunding("r1", 40, "n2"), Timestamp(NOW.0 + 1)).await.unwrap();
    assert!(part.money.is_some());
    assert!(books.apply(&one, refunding("r1", 40, "n3"), NOW).await.unwrap().money.is_none());
    let whole = books.apply(&one, refunding("r2", 60, "n4"), Timestamp(NOW.0 + 2)).await.unwrap().trade;
    assert_eq!(books.find(&one).await, Ok(Some(whole.clone())));
    assert_eq!((whole.status, whole.refunds.len()), (TradeStatus::TradeClosed, 2));

    let money = books.money(0, 9).await.unwrap();
    let lines: Vec<_> = money.iter().map(|row| (row.direction, row.request_no.as_str(), row.amount.0)).collect();
    assert_eq!(lines, [(Direction::In, "T-1", 100), (Direction::Out, "r1", 40), (Direction::Out, "r2", 60)]);
    assert_eq!(books.money(money[0].id, 1).await.unwrap(), money[1..2]);

    assert_eq!(books.order_of(&TradeNo::parse("T-2").unwrap()).await, Ok(Some(two.clone())));
    assert_eq!(books.order_of(&TradeNo::parse("T-3").unwrap()).await, Ok(None));
    let listed = |trades: Vec<seckill::gateway::sandbox::trade::Trade>| -> Vec<_> {
        trades.into_iter().map(|trade| (trade.order_sn.to_string(), trade.refunds.len())).collect()
    };
    assert_eq!(listed(books.list(None, 9).await.unwrap()), [("1".to_owned(), 2), ("2".to_owned(), 0)]);
    assert_eq!(listed(books.list(Some(&one), 9).await.unwrap()), [("2".to_owned(), 0)]);
    notifications_wait_their_turn(books).await;
}

async fn notifications_wait_their_turn(books: &dyn SandboxLedger) {
    let ids = async |at: i64, limit| -> Vec<_> {
        let due = books.due(Timestamp(NOW.0 + at), limit).await.unwrap();
        due.into_iter().map(|due| (due.news.notify_id, due.attempts)).collect()
    };
    let id = |text: &str, attempts| (text.to_owned(), attempts);
    assert_eq!(ids(-1, 9).await, []);
    assert_eq!(ids(0, 9).await, [id("n1", 0)]);
    assert_eq!(ids(2, 9).await, [id("n1", 0), id("n2", 0), id("n4", 0)]);
    assert_eq!(ids(2, 2).await, [id("n1", 0), id("n2", 0)]);
    books.tried("n1", Delivery::RetryAt(Timestamp(NOW.0 + 50))).await.unwrap();
    books.tried("n2", Delivery::Delivered).await.unwrap();
    books.tried("n4", Delivery::GivenUp).await.unwrap();
    assert_eq!(ids(49, 9).await, []);
    assert_eq!(ids(50, 9).await, [id("n1", 1)]);
    let told = &books.due(Timestamp(NOW.0 + 50), 9).await.unwrap()[0];
    assert_eq!((told.news.status, told.news.refunded, told.created_at), (TradeStatus::TradeSuccess, Money(0), NOW));
    assert_eq!(told.trade.order_sn, sn("1"));
}

/// Sixteen callers pay one trade at once, and then give it back at once; callers of both handles.
pub async fn sixteen_at_once_move_the_money_once(handles: [&dyn SandboxLedger; 2]) {
    let order_sn = sn("1");
    handles[0].apply(&order_sn, opening(&order_sn, "a"), NOW).await.unwrap();
    let pays = (0..16).map(|n| handles[n % 2].apply(&order_sn, paying("a", &format!("p{n}")), NOW));
    let paid = futures_util::future::join_all(pays).await;
    assert_eq!(paid.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{paid:?}");
    assert!(paid.iter().all(|outcome| !matches!(outcome, Err(LedgerError::Unavailable(_)))), "{paid:?}");

    let refunds = (0..16).map(|n| {
        let command = refunding(if n % 2 == 0 { "r" } else { "s" }, 60, &format!("r{n}"));
        handles[n % 2].apply(&order_sn, command, NOW)
    });
    let refunded = futures_util::future::join_all(refunds).await;
    let moved = refunded.iter().flatten().filter(|step| step.money.is_some()).count();
    assert_eq!(moved, 1, "the second number would give back more than was paid: {refunded:?}");
    assert_eq!(handles[1].money(0, 99).await.unwrap().len(), 2);
}
