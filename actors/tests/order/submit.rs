//! Confirm and submit.

use std::time::Duration;

use actors::domain::WareId;
use actors::domain::events::RoutingKey;
use actors::domain::order::{OrderStatus, PayType};
use actors::domain::reject::{Failure, Reject, Shortage};
use actors::domain::stock::LockState;
use actors::domain::{Money, OrderSn};
use actors::order::Submitted;
use actors::ports::store::units::{AdjustStock, PutCartItem};
use actors::ports::store::{MemberReads, MessageReads, OrderReads, StockReads, StoreError};
use actors::testkit::until;
use futures_util::future::join_all;

use crate::house::*;

fn refusal(result: Result<Submitted, Failure>) -> Reject {
    match result {
        Err(Failure::Rejected(reject)) => reject,
        other => panic!("{other:?}"),
    }
}

async fn waiting_keys(house: &House) -> Vec<RoutingKey> {
    let mut keys: Vec<RoutingKey> =
        house.memory.unpublished(0, 100).await.unwrap().into_iter().map(|row| row.message.key).collect();
    keys.sort();
    keys
}

#[actix::test]
async fn confirm_shows_prices_addresses_and_points() {
    let house = House::open(&[10]).await;
    let page = house.orders.confirm(ALICE, &[(CASE, 2), (PHONE, 3)]).await.unwrap();
    let items: Vec<_> = page.items.iter().map(|(sku, quantity)| (sku.sku_id, sku.price, *quantity)).collect();
    assert_eq!(items, [(CASE, PRICE, 2), (PHONE, PRICE, 3)]);
    let names: Vec<&str> = page.addresses.iter().map(|address| address.receiver.name.as_str()).collect();
    assert_eq!(names, ["home", "first"], "the default one first");
    assert_eq!(page.points, 1000);
    let stranger = house.orders.confirm(CAROL, &[(PHONE, 1)]).await.unwrap();
    assert_eq!((stranger.addresses.len(), stranger.points), (0, 0));
    assert_ne!(page.token, stranger.token);
}

#[actix::test]
async fn confirm_names_the_first_unknown_sku() {
    let house = House::open(&[10]).await;
    let refused = house.orders.confirm(ALICE, &[(PHONE, 1), (NOWHERE, 1)]).await.unwrap_err();
    assert_eq!(refused, Reject::UnknownSku(NOWHERE).into());
}

#[actix::test]
async fn an_order_is_saved_with_its_locks_and_messages() {
    let house = House::open(&[10]).await;
    let placed = house.placed(ALICE, &[(PHONE, 2), (CASE, 1)]).await;
    let order = house.order(&placed.order_sn).await;
    assert!(placed.order_sn.is_own());
    assert_eq!(placed.subject, "title 48 等3件");
    assert_eq!(placed.pay_before, Some(START.plus(TIMEOUT)));
    assert_eq!((order.status, order.pay_amount), (OrderStatus::AwaitingPayment, Money(3 * PRICE.0)));
    assert_eq!((order.username.as_str(), order.receiver.name.as_str()), ("user1", "receiver"));
    assert_eq!(order.items[0].attributes, r#"[{"attrName":"颜色","attrValue":"白色"}]"#);
    assert!(order.pay_page_issued_at.is_some());
    assert_eq!((house.units(PHONE).await, house.units(CASE).await), ((10, 2), (3, 1)));
    assert_eq!(waiting_keys(&house).await, [RoutingKey::OrderCreate, RoutingKey::CartDelete]);
    house.assert_at_rest().await;
}

#[actix::test]
async fn every_refusal_leaves_the_token_usable() {
    let house = House::open(&[2]).await;
    let token = house.token(ALICE).await;
    let good = request(token.clone(), &[(PHONE, 2)]);
    let mut empty = request(token.clone(), &[]);
    empty.total = Money::ZERO;
    assert_eq!(refusal(house.submit(ALICE, empty).await), Reject::EmptyOrder);

    let mut cheaper = good.clone();
    cheaper.total = Money(1);
    assert_eq!(refusal(house.submit(ALICE, cheaper).await), Reject::PriceChanged { now: Money(2 * PRICE.0) });

    let short = request(token.clone(), &[(PHONE, 3), (CASE, 4)]);
    let shortages =
        vec![Shortage { sku_id: PHONE, wanted: 3, available: 2 }, Shortage { sku_id: CASE, wanted: 4, available: 3 }];
    assert_eq!(refusal(house.submit(ALICE, short).await), Reject::StockShort(shortages));

    let unknown = request(token.clone(), &[(NOWHERE, 1)]);
    assert_eq!(refusal(house.submit(ALICE, unknown).await), Reject::UnknownSku(NOWHERE));
    let never_stocked = request(token.clone(), &[(PHONE, 1), (CABLE, 1)]);
    assert_eq!(refusal(house.submit(ALICE, never_stocked).await), Reject::UnknownSku(CABLE));

    assert_eq!(house.units(PHONE).await, (2, 0), "nothing is kept");
    house.place(ALICE, good).await;
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_total_beyond_the_gateways_limit_is_refused() {
    let house = House::open(&[10]).await;
    let huge = request(house.token(ALICE).await, &[(PHONE, 10_001)]);
    assert_eq!(refusal(house.submit(ALICE, huge).await), Reject::AmountOutOfRange);
}

#[actix::test]
async fn invalid_lapsed_and_foreign_tokens_make_nothing() {
    let house = House::open(&[2]).await;
    let token = house.token(ALICE).await;
    for bad in ["", "订单", "AAAA"] {
        let bad = request(bad.into(), &[(PHONE, 1)]);
        assert_eq!(refusal(house.submit(ALICE, bad).await), Reject::TokenInvalid);
    }
    let mine = request(token, &[(PHONE, 1)]);
    assert_eq!(refusal(house.submit(BOB, mine.clone()).await), Reject::TokenInvalid, "foreign");
    house.pass(Duration::from_secs(30 * 60));
    assert_eq!(refusal(house.submit(ALICE, mine).await), Reject::TokenInvalid, "lapsed");
    assert_eq!(house.units(PHONE).await, (2, 0));
}

#[actix::test]
async fn a_repeated_token_is_answered_with_its_order_also_after_it_lapsed() {
    let house = House::open(&[1]).await;
    let mine = request(house.token(ALICE).await, &[(PHONE, 1)]);
    let placed = house.place(ALICE, mine.clone()).await;
    for wait in [0, 60, 40 * 60] {
        house.pass(Duration::from_secs(wait));
        let again = house.submit(ALICE, mine.clone()).await.unwrap();
        assert!(matches!(&again, Submitted::Repeated(order) if order.order_sn == placed.order_sn), "{again:?}");
    }
    assert_eq!(refusal(house.submit(BOB, mine).await), Reject::TokenInvalid);
}

#[actix::test]
async fn a_repeat_is_known_even_when_the_gate_forgot_it_and_the_price_changed() {
    let house = House::open(&[1]).await;
    let mine = request(house.token(ALICE).await, &[(PHONE, 1)]);
    let placed = house.place(ALICE, mine.clone()).await;
    house.memory.set_price(PHONE, Money(5));
    // A node that has not seen the token, as after a restart.
    let mut bodies = vec![mine.clone()];
    bodies.push(actors::order::SubmitRequest { wants: Vec::new(), ..mine });
    for body in bodies {
        let again = house.another_node().submit(&buyer(ALICE), body).await.unwrap();
        assert_eq!(number_of(&again), placed.order_sn);
    }
}

async fn fifty_at_once(units: i64) {
    let house = House::open(&[units]).await;
    let mine = request(house.token(ALICE).await, &[(PHONE, 2)]);
    let submits = (0..50).map(|_| house.submit(ALICE, mine.clone()));
    let answers: Vec<Submitted> = join_all(submits).await.into_iter().map(Result::unwrap).collect();
    let placed = answers.iter().filter(|answer| matches!(answer, Submitted::Placed(_))).count();
    let mut numbers: Vec<OrderSn> = answers.iter().map(number_of).collect();
    numbers.dedup();
    assert_eq!((placed, numbers.len()), (1, 1));
    assert_eq!(house.units(PHONE).await, (units, 2));
    house.assert_at_rest().await;
}

#[actix::test]
async fn fifty_submits_of_one_token_make_one_order() {
    fifty_at_once(1000).await;
}

#[actix::test]
async fn fifty_submits_of_one_token_make_one_order_of_the_last_units() {
    fifty_at_once(2).await;
}

#[actix::test]
async fn two_nodes_with_one_token_make_one_order_of_the_last_units() {
    let house = House::open(&[2]).await;
    let nodes: Vec<_> = (0..6).map(|_| house.another_node()).collect();
    let mine = request(house.token(ALICE).await, &[(PHONE, 2)]);
    let alice = buyer(ALICE);
    let answers = join_all(nodes.iter().map(|node| node.submit(&alice, mine.clone()))).await;
    let mut numbers: Vec<OrderSn> = answers.iter().map(|answer| number_of(answer.as_ref().unwrap())).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 1);
    assert_eq!(house.units(PHONE).await, (2, 2));
    house.assert_at_rest().await;
}

#[actix::test]
async fn many_buyers_get_as_many_orders_as_there_are_units() {
    let house = House::open(&[7, 4]).await;
    let mut requests = Vec::new();
    for user in (1..=40).map(actors::domain::UserId) {
        requests.push((user, request(house.token(user).await, &[(PHONE, 1)])));
    }
    let answers = join_all(requests.into_iter().map(|(user, mine)| house.submit(user, mine))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 11);
    assert_eq!(house.units(PHONE).await, (11, 11));
    house.assert_at_rest().await;
}

#[actix::test]
async fn several_skus_over_several_warehouses_are_one_order() {
    let house = House::open(&[3, 5, 4]).await;
    let placed = house.placed(ALICE, &[(CASE, 3), (PHONE, 9)]).await;
    let locks = house.memory.locks_of(std::slice::from_ref(&placed.order_sn)).await.unwrap();
    let phones: u32 = locks.iter().filter(|lock| lock.line.sku_id == PHONE).map(|lock| lock.line.num).sum();
    assert_eq!((locks.len(), phones), (3, 9), "5 and 4 of the fullest, and the cases");
    assert_eq!(house.pay(&placed.order_sn).await, actors::order::NotifyAnswer::Success);
    house.deliver().await;
    assert_eq!((house.units(PHONE).await, house.units(CASE).await), ((3, 0), (0, 0)));
    house.assert_at_rest().await;
}

#[actix::test]
async fn one_short_sku_keeps_none_of_the_others() {
    let house = House::open(&[5]).await;
    let wants = [(PHONE, 5), (CASE, 4)];
    assert!(matches!(
        refusal(house.submit(ALICE, request(house.token(ALICE).await, &wants)).await),
        Reject::StockShort(_)
    ));
    house.placed(BOB, &[(PHONE, 5), (CASE, 3)]).await;
}

#[actix::test]
async fn cash_on_delivery_is_sold_at_once_and_has_no_timer() {
    let house = House::open(&[5]).await;
    let mut mine = request(house.token(ALICE).await, &[(PHONE, 2)]);
    mine.pay_type = PayType::CashOnDelivery;
    let placed = house.place(ALICE, mine).await;
    let order = house.order(&placed.order_sn).await;
    assert_eq!((order.status, order.pay_page_issued_at), (OrderStatus::AwaitingShipment, None));
    assert_eq!(placed.pay_before, None);
    assert_eq!(waiting_keys(&house).await, [RoutingKey::StockMinus, RoutingKey::CartDelete]);
    house.deliver_times(2).await;
    assert_eq!(house.units(PHONE).await, (3, 0));
    house.pass(Duration::from_secs(3600));
    house.sweep_and_deliver().await;
    assert_eq!(house.status(&placed.order_sn).await, OrderStatus::AwaitingShipment);
    house.assert_at_rest().await;
}

#[actix::test]
async fn ordered_lines_leave_the_cart_and_others_stay() {
    let house = House::open(&[5]).await;
    for (sku_id, quantity) in [(PHONE, 2), (CASE, 1)] {
        house.writer.commit(PutCartItem { user_id: ALICE, sku_id, quantity }).await.unwrap();
    }
    house.placed(ALICE, &[(PHONE, 1)]).await;
    house.deliver_times(2).await;
    let cart = house.memory.cart(ALICE).await.unwrap();
    assert_eq!(cart.iter().map(|item| item.sku_id).collect::<Vec<_>>(), [CASE]);
}

#[actix::test]
async fn a_store_that_is_away_costs_no_unit_and_no_token() {
    let house = House::open(&[2]).await;
    let mine = request(house.token(ALICE).await, &[(PHONE, 2)]);
    house.faults.set_away(true);
    assert!(matches!(house.submit(ALICE, mine.clone()).await, Err(Failure::Unavailable(_))));
    house.faults.set_away(false);
    house.store.fail_commit(StoreError::Failed("disk".into()));
    assert!(matches!(house.submit(ALICE, mine.clone()).await, Err(Failure::Unavailable(_))));
    house.place(ALICE, mine).await;
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_busy_store_is_asked_again() {
    let house = House::open(&[2]).await;
    house.store.fail_commit(StoreError::Transient("busy".into()));
    house.placed(ALICE, &[(PHONE, 2)]).await;
}

#[actix::test]
async fn a_submit_whose_caller_left_is_finished_and_found() {
    let house = House::open(&[2]).await;
    let mine = request(house.token(ALICE).await, &[(PHONE, 2)]);
    house.store.before_commit.shut();
    let (orders, first) = (house.orders.clone(), mine.clone());
    let caller = actix::spawn(async move { orders.submit(&buyer(ALICE), first).await });
    until("the commit waits", || house.store.before_commit.waiting() == 1).await;
    caller.abort();
    house.store.before_commit.open();
    let again = house.submit(ALICE, mine).await.unwrap();
    assert_eq!(house.order(&number_of(&again)).await.items[0].quantity, 2);
    assert_eq!(house.units(PHONE).await, (2, 2));
    house.assert_at_rest().await;
}

#[actix::test]
async fn units_that_another_program_moved_are_found() {
    let house = House::open(&[2, 0]).await;
    house.stock.rows(PHONE).await.unwrap();
    let rows = house.rows(PHONE).await;
    // Past the actor's memory: it learns of it when the commit is refused.
    for (row, delta) in rows.iter().zip([-2, 2]) {
        let adjust = AdjustStock { sku_id: PHONE, ware_id: WareId(row.ware_id.0), delta, reason: "moved".into() };
        actors::ports::store::Store::commit(house.memory.as_ref(), &[adjust.into()]).await.unwrap();
    }
    let placed = house.placed(ALICE, &[(PHONE, 2)]).await;
    let locks = house.memory.locks_of(&[placed.order_sn]).await.unwrap();
    assert_eq!((locks[0].line.ware_sku_id, locks[0].state), (rows[1].id, LockState::Locked));
    assert_eq!(house.memory.orders_of(ALICE, &orders_filter()).await.unwrap().len(), 1);
}

fn orders_filter() -> actors::ports::store::OrderFilter {
    actors::ports::store::OrderFilter { limit: 10, ..Default::default() }
}
