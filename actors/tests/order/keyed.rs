//! Orders under an idempotency key.

use std::time::Duration;

use actors::domain::order::{OrderStatus, Receiver};
use actors::domain::reject::{Failure, Reject};
use actors::order::{Created, KEY_LIFE, SubmitRequest};
use actors::ports::store::{OrderFilter, OrderReads, RequestKey};
use actors::testkit::{StoreFault, until};

use crate::house::*;

fn key(digest: &str) -> RequestKey {
    RequestKey { operation: "orders", key: "k".into(), digest: digest.into() }
}

async fn wish(house: &House) -> SubmitRequest {
    let page = house.orders.confirm(ALICE, &[(PHONE, 1)]).await.unwrap();
    SubmitRequest { with_pay_page: false, ..request(page.token, &[(PHONE, 1)]) }
}

async fn create(house: &House, digest: &str, wish: &SubmitRequest) -> Result<Created, Failure> {
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
    house.orders.set_receiver(ALICE, &first.order.order_sn, elsewhere, None).await.unwrap();
    house.orders.cancel(ALICE, &first.order.order_sn).await.unwrap();
    assert_eq!(house.order(&first.order.order_sn).await.status, OrderStatus::Closed);
    let again = create(&house, "d", &wish).await.unwrap();
    assert_eq!(again, Created { is_replayed: true, ..first });
    assert_eq!(create(&house, "other", &wish).await, Err(Reject::KeyReused.into()));
    assert_eq!(orders_of_alice(&house).await, 1);
}

#[actix::test]
async fn a_received_order_is_still_answered_as_it_was_made() {
    let house = House::open(&[10]).await;
    let wish = wish(&house).await;
    let first = create(&house, "d", &wish).await.unwrap();
    let order_sn = &first.order.order_sn;
    house.orders.issue_pay_page(ALICE, order_sn).await.unwrap();
    house.clock.advance(Duration::from_secs(5));
    house.pay(order_sn).await;
    house.deliver().await;
    house.orders.ship(order_sn, shipment()).await.unwrap();
    house.orders.receive(ALICE, order_sn).await.unwrap();
    assert_eq!(house.order(order_sn).await.status, OrderStatus::Completed);
    let again = create(&house, "d", &wish).await.unwrap();
    assert_eq!(again, Created { is_replayed: true, ..first });
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
    assert_eq!(create(&house, "d", &wish).await.unwrap().order, made.order);
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
                assert_eq!(first.order, again.order, "{fault:?} of call {number}");
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
    assert_eq!(create(&house, "d", &wish).await.unwrap().order, first.order);
    house.clock.advance(Duration::from_millis(1));
    assert_eq!(house.orders.forget_old_keys().await, Ok(1));
    let late = create(&house, "d", &wish).await;
    assert_eq!(late, Err(Reject::TokenUsed(first.order.order_sn).into()), "the token still makes one order");
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
