//! Orders under an idempotency key.

use std::rc::Rc;
use std::time::Duration;

use actors::domain::order::{Order, OrderStatus, Receiver};
use actors::domain::reject::{Failure, Reject};
use actors::domain::returns::ReturnCommand;
use actors::domain::{Money, OrderSn};
use actors::order::{KEY_LIFE, Once, RefundWish, SubmitRequest};
use actors::ports::store::{FulfilmentReads, OrderFilter, OrderReads, RequestKey};
use actors::testkit::{StoreFault, until};

use crate::house::*;

fn key(digest: &str) -> RequestKey {
    RequestKey { operation: "orders", key: "k".into(), digest: digest.into() }
}

async fn wish(house: &House) -> SubmitRequest {
    let page = house.orders.confirm(ALICE, &[(PHONE, 1)]).await.unwrap();
    SubmitRequest { with_pay_page: false, ..request(page.token, &[(PHONE, 1)]) }
}

async fn create(house: &House, digest: &str, wish: &SubmitRequest) -> Result<Once<Order>, Failure> {
    house.orders.create(&buyer(ALICE), key(digest), wish.clone()).await
}

async fn orders_of_alice(house: &House) -> usize {
    let all = OrderFilter { limit: 10, ..OrderFilter::default() };
    house.memory.orders_of(ALICE, &all).await.unwrap().len()
}

#[actix::test]
async fn the_first_answer_stays_whatever_becomes_of_the_order() {
    let house = House::open(&[10]).await;
    let wish = wish(&house).await;
    let first = create(&house, "d", &wish).await.unwrap();
    assert!(!first.is_replayed);
    house.clock.advance(Duration::from_secs(5));
    let elsewhere = Receiver { name: "elsewhere".into(), ..Receiver::default() };
    house.orders.set_receiver(ALICE, &first.value.order_sn, elsewhere, None).await.unwrap();
    house.orders.cancel(ALICE, &first.value.order_sn, None).await.unwrap();
    assert_eq!(house.order(&first.value.order_sn).await.status, OrderStatus::Closed);
    let again = create(&house, "d", &wish).await.unwrap();
    assert_eq!(again, Once { is_replayed: true, ..first });
    assert_eq!(create(&house, "other", &wish).await, Err(Reject::KeyReused.into()));
    assert_eq!(orders_of_alice(&house).await, 1);
}

#[actix::test]
async fn a_received_order_is_still_answered_as_it_was_made() {
    let house = House::open(&[10]).await;
    let wish = wish(&house).await;
    let first = create(&house, "d", &wish).await.unwrap();
    let order_sn = &first.value.order_sn;
    house.orders.issue_pay_page(ALICE, order_sn, None).await.unwrap();
    house.clock.advance(Duration::from_secs(5));
    house.pay(order_sn).await;
    house.deliver().await;
    house.orders.ship(order_sn, shipment()).await.unwrap();
    house.orders.receive(ALICE, order_sn, None).await.unwrap();
    assert_eq!(house.order(order_sn).await.status, OrderStatus::Completed);
    let again = create(&house, "d", &wish).await.unwrap();
    assert_eq!(again, Once { is_replayed: true, ..first });
}

#[actix::test]
async fn a_key_at_work_refuses_its_repeats() {
    let house = House::open(&[10]).await;
    let wish = wish(&house).await;
    house.store.before_commit.shut();
    let (orders, asked) = (house.orders.clone(), wish.clone());
    let running = actix::spawn(async move { orders.create(&buyer(ALICE), key("d"), asked).await });
    until("it waits for its commit", || house.store.before_commit.waiting() == 1).await;
    assert_eq!(create(&house, "d", &wish).await, Err(Reject::KeyInProgress.into()));
    house.store.before_commit.open();
    let made = running.await.unwrap().unwrap();
    assert_eq!(create(&house, "d", &wish).await.unwrap().value, made.value);
}

/// Every call of the store fails once, before or after it happened; the caller tries again, and there is one order.
#[actix::test]
async fn a_lost_answer_is_made_good_by_the_same_request() {
    for fault in [StoreFault::Before, StoreFault::After] {
        let mut number = 0;
        loop {
            number += 1;
            let house = House::open(&[10]).await;
            let wish = wish(&house).await;
            house.faults.arm(Some((number, fault)));
            let first = create(&house, "d", &wish).await;
            let calls = house.faults.calls().len();
            house.faults.arm(None);
            let again = create(&house, "d", &wish).await.unwrap();
            assert_eq!(orders_of_alice(&house).await, 1, "{fault:?} of call {number}");
            if let Ok(first) = first {
                assert_eq!(first.value, again.value, "{fault:?} of call {number}");
            }
            if number > calls {
                break;
            }
        }
        assert!(number > 4, "{number}");
    }
}

#[actix::test]
async fn a_key_is_good_for_a_day() {
    let house = House::open(&[10]).await;
    let wish = wish(&house).await;
    let first = create(&house, "d", &wish).await.unwrap();
    house.clock.advance(KEY_LIFE - Duration::from_millis(1));
    assert_eq!(house.orders.forget_old_keys().await, Ok(0));
    assert_eq!(create(&house, "d", &wish).await.unwrap().value, first.value);
    house.clock.advance(Duration::from_millis(1));
    assert_eq!(house.orders.forget_old_keys().await, Ok(1));
    let late = create(&house, "d", &wish).await;
    assert_eq!(late, Err(Reject::TokenUsed(first.value.order_sn).into()), "the token still makes one order");
}

#[actix::test]
async fn a_cart_holds_what_was_put_last() {
    let house = House::open(&[10]).await;
    let refused = house.orders.put_in_cart(ALICE, NOWHERE, 1).await;
    assert_eq!(refused, Err(Reject::UnknownSku(NOWHERE).into()));
    house.orders.put_in_cart(ALICE, PHONE, 2).await.unwrap();
    house.orders.put_in_cart(ALICE, PHONE, 3).await.unwrap();
    let cart = house.orders.cart(ALICE).await.unwrap();
    assert_eq!(cart.iter().map(|(sku, quantity)| (sku.sku_id, *quantity)).collect::<Vec<_>>(), [(PHONE, 3)]);
    for _ in 0..2 {
        house.orders.take_out_of_cart(ALICE, PHONE).await.unwrap();
    }
    assert!(house.orders.cart(ALICE).await.unwrap().is_empty());
}

/// One of the calls that a key makes once, as text: what it answered, and whether that was said before.
async fn ask(house: &House, call: &str, order_sn: &OrderSn, key: &str) -> Result<(String, bool), Failure> {
    let key = key.to_owned();
    Ok(match call {
        "cancel" => {
            let order = house.orders.cancel_once(ALICE, order_sn, Some(key)).await?;
            (format!("{:?}", order.value), order.is_replayed)
        }
        "receive" => {
            let order = house.orders.receive_once(ALICE, order_sn, Some(key)).await?;
            (format!("{:?}", order.value), order.is_replayed)
        }
        "payments" => {
            let form = house.orders.issue_pay_page_once(ALICE, order_sn, key).await?;
            (form.value, form.is_replayed)
        }
        "returns" => {
            let row = house.orders.request_return_once(ALICE, order_sn, crate::house::wish(PHONE, 1), key).await?;
            (format!("{:?}", row.value), row.is_replayed)
        }
        other => panic!("no such call: {other}"),
    })
}

const CALLS: [&str; 4] = ["cancel", "receive", "payments", "returns"];

/// An order that `call` may be made of.
async fn order_for(house: &House, call: &str) -> OrderSn {
    match call {
        "receive" => house.shipped(ALICE, &[(PHONE, 2)]).await,
        "returns" => house.completed(ALICE, &[(PHONE, 2)]).await,
        _ => house.placed(ALICE, &[(PHONE, 2)]).await.order_sn,
    }
}

/// What else may happen to the order afterwards.
async fn go_on(house: &House, call: &str, order_sn: &OrderSn) {
    house.clock.advance(Duration::from_secs(5));
    match call {
        "receive" => {
            let part = RefundWish::Part { amount: Money(1), reference: "r".into() };
            house.orders.refund_order(order_sn, part, "scratched".into()).await.unwrap();
        }
        "payments" => {
            house.pay(order_sn).await;
            house.deliver().await;
        }
        "returns" => {
            let row = house.memory.returns_of(order_sn).await.unwrap().remove(0);
            house.orders.handle_return(row.id, ReturnCommand::Approve, false, "send it".into()).await.unwrap();
            house.orders.handle_return(row.id, ReturnCommand::Receive, true, "here".into()).await.unwrap();
        }
        _ => house.deliver().await,
    }
}

#[actix::test]
async fn a_keyed_change_is_answered_as_the_first_time() {
    for call in CALLS {
        let house = House::open(&[10]).await;
        let order_sn = order_for(&house, call).await;
        let (first, is_replayed) = ask(&house, call, &order_sn, "k").await.unwrap();
        assert!(!is_replayed, "{call}");
        go_on(&house, call, &order_sn).await;
        assert_eq!(ask(&house, call, &order_sn, "k").await, Ok((first, true)), "{call}");
        let another = order_for(&house, call).await;
        assert_eq!(ask(&house, call, &another, "k").await, Err(Reject::KeyReused.into()), "{call}");
    }
}

#[actix::test]
async fn a_keyed_change_at_work_refuses_its_repeats() {
    for call in CALLS {
        let house = Rc::new(House::open(&[10]).await);
        let order_sn = order_for(&house, call).await;
        house.store.before_commit.shut();
        let (other, number) = (house.clone(), order_sn.clone());
        let running = actix::spawn(async move { ask(&other, call, &number, "k").await });
        until("it waits for its commit", || house.store.before_commit.waiting() == 1).await;
        assert_eq!(ask(&house, call, &order_sn, "k").await, Err(Reject::KeyInProgress.into()), "{call}");
        house.store.before_commit.open();
        let (first, _) = running.await.unwrap().unwrap();
        assert_eq!(ask(&house, call, &order_sn, "k").await, Ok((first, true)), "{call}");
    }
}

/// Every call of the store fails once, before or after it happened; the caller tries again and hears of success.
#[actix::test]
async fn a_lost_answer_to_a_change_is_made_good_by_the_same_request() {
    for call in CALLS {
        for fault in [StoreFault::Before, StoreFault::After] {
            let mut number = 0;
            loop {
                number += 1;
                let house = House::open(&[10]).await;
                let order_sn = order_for(&house, call).await;
                house.faults.arm(Some((number, fault)));
                let first = ask(&house, call, &order_sn, "k").await;
                let calls = house.faults.calls().len();
                house.faults.arm(None);
                let again = ask(&house, call, &order_sn, "k").await;
                let (again, is_replayed) =
                    again.unwrap_or_else(|e| panic!("{call}, {fault:?} of call {number}: {e:?}"));
                if let Ok((first, _)) = first {
                    assert_eq!((first, is_replayed), (again, true), "{call}, {fault:?} of call {number}");
                }
                if number > calls {
                    break;
                }
            }
            assert!(number > 2, "{call}: {number}");
        }
    }
}

#[actix::test]
async fn a_refused_change_leaves_its_key_free() {
    let house = House::open(&[10]).await;
    let order_sn = house.placed(ALICE, &[(PHONE, 1)]).await.order_sn;
    let wrong = Err(Reject::WrongState(OrderStatus::AwaitingPayment).into());
    assert_eq!(ask(&house, "receive", &order_sn, "k").await, wrong);
    house.pay(&order_sn).await;
    house.deliver().await;
    house.orders.ship(&order_sn, shipment()).await.unwrap();
    assert!(ask(&house, "receive", &order_sn, "k").await.is_ok());
}

/// The same key may stand for different things, and for each user for his own.
#[actix::test]
async fn a_key_is_of_one_user_and_one_call() {
    let house = House::open(&[10]).await;
    let (mine, theirs) = (order_for(&house, "payments").await, house.placed(BOB, &[(PHONE, 1)]).await.order_sn);
    assert!(ask(&house, "payments", &mine, "k").await.is_ok());
    assert!(house.orders.issue_pay_page_once(BOB, &theirs, "k".into()).await.is_ok());
    assert!(ask(&house, "cancel", &mine, "k").await.is_ok());
    assert_eq!(house.status(&mine).await, OrderStatus::Closed);
}
