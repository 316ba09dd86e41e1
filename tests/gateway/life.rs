//! The whole life of a trade, and notifications until they are answered.

use std::sync::Arc;
use std::time::Duration;

use actors::domain::Money;
use actors::domain::payment::TradeStatus;
use actors::ports::clock::Clock;
use actors::ports::gateway::{Gateway, RefundAnswer, TradeClose, TradeQuery};
use reqwest::Url;
use seckill::gateway::alipay::form;
use seckill::gateway::alipay::sign::{VerifyingKey, canonical_notification};
use seckill::gateway::sandbox::ledger::SandboxLedger;
use seckill::gateway::sandbox::sqlite::SqliteLedger;
use seckill::gateway::sandbox::trade::Direction;
use seckill::gateway::sandbox::{Sandbox, SandboxSettings, notifier};
use tokio_util::sync::CancellationToken;

use crate::ledgers::open_store;
use crate::support::{Seeded, Stage, StillClock, pay_page, until};

async fn status(stage: &Stage, order_sn: &actors::domain::OrderSn) -> Option<TradeStatus> {
    match stage.client.query(order_sn).await.unwrap() {
        TradeQuery::NotExist => None,
        TradeQuery::Exists { status, .. } => Some(status),
    }
}

#[actix_web::test]
async fn from_the_pay_form_to_the_refund() {
    let stage = Stage::start().await;
    let page = pay_page("20260101080000000000000000000001", 8888);
    let order_sn = &page.order_sn;

    stage.client.pay_form(&page).await.unwrap();
    assert_eq!(stage.client.query(order_sn).await, Ok(TradeQuery::NotExist), "a form alone makes no trade");
    assert_eq!(stage.client.close(order_sn).await, Ok(TradeClose::Closed), "there is nothing to close");

    let token = stage.cashier_token(&page).await;
    assert_eq!(status(&stage, order_sn).await, Some(TradeStatus::WaitBuyerPay));

    let back = stage.press("pay", &page, &token).await;
    assert_eq!(back.status(), 303);
    let back = Url::parse(back.headers()["location"].to_str().unwrap()).unwrap();
    assert!(back.as_str().starts_with(&format!("{}/orders?from=alipay&", stage.base)), "{back}");

    until("notified", async || stage.inbox.received() == 1).await;
    let notification = stage.client.verify_notification(&stage.inbox.body(0)).unwrap();
    assert_eq!(notification.order_sn, *order_sn);
    assert_eq!((notification.amount, notification.status), (Money(8888), TradeStatus::TradeSuccess));
    assert_eq!((notification.subject.as_str(), notification.is_refund), ("Phone X 8G 白色", false));

    let TradeQuery::Exists { trade_no, status, amount, content } = stage.client.query(order_sn).await.unwrap() else {
        panic!("the trade exists");
    };
    assert_eq!((&trade_no, status, amount), (&notification.trade_no, TradeStatus::TradeSuccess, Money(8888)));
    assert!(content.contains(order_sn.as_str()), "{content}");
    assert_eq!(stage.client.close(order_sn).await, Ok(TradeClose::NotClosable));

    assert_eq!(stage.client.refund_query(&trade_no, "late-1").await, Ok(RefundAnswer::Pending));
    for _ in 0..2 {
        let refund = stage.client.refund(&trade_no, Money(8888), "late-1", "closed before the money came").await;
        assert_eq!(refund, Ok(RefundAnswer::Done));
    }
    assert_eq!(stage.client.refund_query(&trade_no, "late-1").await, Ok(RefundAnswer::Done));
    assert!(stage.client.refund(&trade_no, Money(1), "late-2", "too much").await.is_err());
    let money = stage.sandbox.ledger().money(0, 10).await.unwrap();
    let moves: Vec<_> = money.iter().map(|row| (row.direction, row.amount)).collect();
    assert_eq!(moves, [(Direction::In, Money(8888)), (Direction::Out, Money(8888))]);

    until("notified of the refund", async || stage.inbox.received() == 2).await;
    let notification = stage.client.verify_notification(&stage.inbox.body(1)).unwrap();
    assert_eq!((notification.is_refund, notification.status), (true, TradeStatus::TradeClosed));
    stage.end().await;
}

#[actix_web::test]
async fn the_way_back_is_signed_and_tells_no_state() {
    let stage = Stage::start().await;
    let page = pay_page("20260101080000000000000000000002", 1);
    let token = stage.cashier_token(&page).await;
    let back = stage.press("pay", &page, &token).await;
    let back = Url::parse(back.headers()["location"].to_str().unwrap()).unwrap();
    let mut fields = form::parse(back.query().unwrap().as_bytes()).unwrap();
    assert_eq!(fields.remove(0), ("from".to_owned(), "alipay".to_owned()));
    assert_eq!(form::find(&fields, "trade_status"), None);
    assert_eq!(form::find(&fields, "out_trade_no"), Some(page.order_sn.as_str()));
    let text = canonical_notification(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let public = std::fs::read_to_string(&stage.key_files.alipay.public).unwrap();
    let key = VerifyingKey::list_from_pem(&public).unwrap().remove(0);
    assert!(key.verify(text.as_bytes(), form::find(&fields, "sign").unwrap()));
    stage.end().await;
}

#[actix_web::test]
async fn a_closed_trade_cannot_be_paid() {
    let stage = Stage::start().await;
    let page = pay_page("20260101080000000000000000000003", 100);
    let token = stage.cashier_token(&page).await;
    assert_eq!(stage.client.close(&page.order_sn).await, Ok(TradeClose::Closed));
    assert_eq!(status(&stage, &page.order_sn).await, Some(TradeStatus::TradeClosed));
    assert_eq!(stage.press("pay", &page, &token).await.status(), 409);
    assert_eq!(stage.open_cashier(&page).await.status(), 409);
    assert!(stage.sandbox.ledger().money(0, 10).await.unwrap().is_empty());
    stage.end().await;
}

#[actix_web::test]
async fn nobody_pays_after_time_expire() {
    let stage = Stage::start().await;
    let (late, never) = (pay_page("20260101080000000000000000000004", 1), pay_page("5", 1));
    let token = stage.cashier_token(&late).await;
    stage.clock.pass(Duration::from_secs(30 * 60));
    assert_eq!(stage.press("pay", &late, &token).await.status(), 409);
    assert_eq!(status(&stage, &late.order_sn).await, Some(TradeStatus::TradeClosed));
    assert_eq!(stage.client.close(&late.order_sn).await, Ok(TradeClose::NotClosable));
    assert_eq!(stage.open_cashier(&never).await.status(), 409, "a form kept from before");
    assert_eq!(status(&stage, &never.order_sn).await, None);
    stage.end().await;
}

#[actix_web::test]
async fn partial_refunds_add_up_to_the_whole_and_no_further() {
    let stage = Stage::start().await;
    let page = pay_page("20260101080000000000000000000006", 100);
    stage.pay(&page).await;
    let TradeQuery::Exists { trade_no, .. } = stage.client.query(&page.order_sn).await.unwrap() else {
        panic!("the trade exists");
    };
    let refund = async |number: &str, fen| stage.client.refund(&trade_no, Money(fen), number, "part").await;
    assert_eq!(refund("a", 60).await, Ok(RefundAnswer::Done));
    assert!(refund("b", 41).await.is_err());
    assert!(refund("a", 61).await.is_err(), "the same number with another amount");
    assert_eq!(refund("a", 60).await, Ok(RefundAnswer::Done));
    assert_eq!(refund("b", 40).await, Ok(RefundAnswer::Done));
    assert_eq!(status(&stage, &page.order_sn).await, Some(TradeStatus::TradeClosed));
    assert_eq!(stage.sandbox.ledger().money(0, 10).await.unwrap().len(), 3);
    stage.end().await;
}

#[actix_web::test]
async fn a_notification_is_repeated_until_the_answer_is_exactly_success() {
    let stage = Stage::start().await;
    stage.inbox.answers.lock().unwrap().extend([
        (200, "failure"),
        (200, "success\n"),
        (200, "\"success\""),
        (503, "success"),
        (302, "success"),
    ]);
    stage.pay(&pay_page("20260101080000000000000000000007", 100)).await;
    // The pauses of Alipay's schedule, divided by 60.
    for (sends, pause) in [(1, 4), (2, 10), (3, 10), (4, 60), (5, 120)] {
        until("sent", async || stage.inbox.received() == sends as usize).await;
        until("recorded", async || stage.due_ever().await.iter().any(|due| due.attempts == sends)).await;
        stage.clock.pass(Duration::from_secs(pause) - Duration::from_millis(1));
        let due = stage.sandbox.ledger().due(stage.clock.now(), 9).await.unwrap();
        assert!(due.is_empty(), "too early after {sends} sends");
        stage.clock.pass(Duration::from_millis(1));
        stage.sandbox.wake_notifier();
    }
    until("delivered", async || stage.due_ever().await.is_empty()).await;
    assert_eq!(stage.inbox.received(), 6);
    let ids: Vec<_> =
        (0..6).map(|n| stage.client.verify_notification(&stage.inbox.body(n)).unwrap().notify_id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    stage.end().await;
}

#[actix_web::test]
async fn a_delayed_notification_waits_its_time() {
    let stage = Stage::start().await;
    stage.stop.cancel();
    let settings = SandboxSettings { notify_delay: Duration::from_secs(10), ..SandboxSettings::default() };
    let (keys, books) = (stage.key_files.load_gateway().unwrap(), stage.sandbox.ledger().clone());
    let slow = Sandbox::new(settings, keys, books, stage.clock.clone(), Seeded::new());
    stage.inbox.answers.lock().unwrap().push_back((500, ""));
    stage.pay(&pay_page("20260101080000000000000000000010", 100)).await;
    let stop = CancellationToken::new();
    actix_web::rt::spawn(notifier::run(slow.clone(), stop.clone()));
    stage.clock.pass(Duration::from_millis(9_999));
    slow.wake_notifier();
    assert_eq!(stage.inbox.received(), 0);
    for (pause, sends) in [(1, 1), (4_000, 2)] {
        stage.clock.pass(Duration::from_millis(pause));
        slow.wake_notifier();
        until("sent", async || stage.inbox.received() == sends).await;
        until("recorded", async || stage.due_ever().await.iter().all(|due| due.attempts == 1)).await;
    }
    until("delivered", async || stage.due_ever().await.is_empty()).await;
    stop.cancel();
    stage.end().await;
}

#[actix_web::test]
async fn after_eight_sends_it_is_given_up() {
    let stage = Stage::start().await;
    stage.inbox.answers.lock().unwrap().extend([(500, ""); 8]);
    stage.pay(&pay_page("20260101080000000000000000000008", 100)).await;
    for sends in 1..=7 {
        until("recorded", async || stage.due_ever().await.iter().any(|due| due.attempts == sends)).await;
        stage.clock.pass(Duration::from_secs(15 * 60));
        stage.sandbox.wake_notifier();
    }
    until("given up", async || stage.due_ever().await.is_empty()).await;
    assert_eq!(stage.inbox.received(), 8);
    stage.end().await;
}

#[actix_web::test]
async fn a_pending_notification_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_store(directory.path()).await;
    let stage = Stage::start_with(Arc::new(SqliteLedger::new(store.writer_pool())), StillClock::new()).await;
    stage.inbox.answers.lock().unwrap().push_back((500, ""));
    stage.pay(&pay_page("20260101080000000000000000000009", 100)).await;
    until("recorded", async || stage.due_ever().await.iter().any(|due| due.attempts == 1)).await;
    stage.stop.cancel();
    store.close().await;
    stage.clock.pass(Duration::from_secs(4));
    assert_eq!(stage.inbox.received(), 1);

    let store = open_store(directory.path()).await;
    let books = Arc::new(SqliteLedger::new(store.writer_pool()));
    let keys = stage.key_files.load_gateway().unwrap();
    let again = Sandbox::new(SandboxSettings::default(), keys, books.clone(), stage.clock.clone(), Seeded::new());
    actix_web::rt::spawn(notifier::run(again, CancellationToken::new()));
    until("delivered", async || books.due(stage.far_future(), 9).await.unwrap().is_empty()).await;
    let ids = [0, 1].map(|n| stage.client.verify_notification(&stage.inbox.body(n)).unwrap().notify_id);
    assert_eq!(ids[0], ids[1]);
    stage.end().await;
}
