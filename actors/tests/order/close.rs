//! Closing by timeout and by the owner, and its races with money.

use std::time::Duration;

use actors::domain::events::RoutingKey;
use actors::domain::order::{Operator, OrderStatus, PayType};
use actors::domain::payment::{PaymentState, TradeStatus};
use actors::domain::reject::{Failure, Reject};
use actors::domain::stock::LockState;
use actors::domain::{Money, OrderSn};
use actors::order::NotifyAnswer;
use actors::ports::store::{FulfilmentReads, OrderReads, StockReads};
use actors::protocol::bridge::{EffectBatch, Handled};
use actors::testkit::{GatewayFault, until};

use crate::house::*;

const DUE: Duration = Duration::from_secs(31 * 60);
const AMOUNT: Money = Money(2 * PRICE.0);

/// An order of two phones with its pay page handed out.
async fn with_page(house: &House) -> OrderSn {
    house.placed(ALICE, &[(PHONE, 2)]).await.order_sn
}

async fn without_page(house: &House) -> OrderSn {
    let mut mine = request(house.token(ALICE).await, &[(PHONE, 2)]);
    mine.with_pay_page = false;
    house.place(ALICE, mine).await.order_sn
}

async fn assert_closed_and_freed(house: &House, order_sn: &OrderSn) {
    assert_eq!(house.status(order_sn).await, OrderStatus::Closed);
    house.deliver_times(2).await;
    assert_eq!(house.units(PHONE).await, (5, 0));
    let locks = house.memory.locks_of(std::slice::from_ref(order_sn)).await.unwrap();
    assert!(locks.iter().all(|lock| lock.state == LockState::Released));
    house.assert_at_rest().await;
}

async fn history(house: &House, order_sn: &OrderSn) -> Vec<(Operator, OrderStatus)> {
    let rows = house.memory.order_history(order_sn).await.unwrap();
    rows.into_iter().map(|row| (row.operator, row.status)).collect()
}

#[actix::test]
async fn before_it_is_due_nothing_happens() {
    let house = House::open(&[5]).await;
    let orders = [with_page(&house).await, without_page(&house).await];
    house.gateway.open_cashier(&orders[0], AMOUNT);
    house.pass(DUE - Duration::from_millis(1));
    let answers = house.close_due(&[&orders[0], &orders[1]]).await;
    assert_eq!(answers, [Handled::Done, Handled::Done]);
    for order_sn in &orders {
        assert_eq!(house.status(order_sn).await, OrderStatus::AwaitingPayment);
    }
    assert_eq!(house.gateway.calls("query") + house.gateway.calls("close"), 0, "the buyer may still pay");
    assert_eq!(house.pay(&orders[0]).await, NotifyAnswer::Success);
}

#[actix::test]
async fn the_timer_closes_at_the_deadline_and_its_grace() {
    let house = House::open(&[5]).await;
    let order_sn = without_page(&house).await;
    house.deliver().await;
    house.pass(DUE - Duration::from_millis(1));
    house.deliver().await;
    assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingPayment);
    house.pass(Duration::from_millis(1));
    house.deliver_times(3).await;
    assert_eq!(house.gateway.calls("query"), 0, "no pay page, no question");
    assert_eq!(history(&house, &order_sn).await, [(Operator::System, OrderStatus::Closed)]);
    assert_closed_and_freed(&house, &order_sn).await;
}

#[actix::test]
async fn a_lost_timer_is_swept() {
    let house = House::open(&[5]).await;
    let order_sn = without_page(&house).await;
    house.pass(DUE);
    assert!(house.lose_messages().await.contains(&RoutingKey::OrderCreate));
    house.sweep.step().await;
    assert_eq!(house.status(&order_sn).await, OrderStatus::Closed);
    assert_eq!(house.lose_messages().await, [RoutingKey::StockUnlock]);
    house.sweep_and_deliver().await;
    assert_closed_and_freed(&house, &order_sn).await;
}

#[actix::test]
async fn a_page_nobody_opened_is_no_trade() {
    let house = House::open(&[5]).await;
    let order_sn = with_page(&house).await;
    house.pass(DUE);
    house.deliver().await;
    assert_eq!((house.gateway.calls("query"), house.gateway.calls("close")), (1, 0));
    assert_closed_and_freed(&house, &order_sn).await;
}

#[actix::test]
async fn a_waiting_trade_is_closed_first() {
    let house = House::open(&[5]).await;
    let order_sn = with_page(&house).await;
    house.gateway.open_cashier(&order_sn, AMOUNT);
    house.pass(DUE);
    house.deliver().await;
    assert_eq!(house.gateway.status(&order_sn), Some(TradeStatus::TradeClosed));
    assert!(house.gateway.pay(&order_sn, AMOUNT).is_none());
    assert_closed_and_freed(&house, &order_sn).await;
}

#[actix::test]
async fn money_found_at_the_gateway_is_applied() {
    let house = House::open(&[5]).await;
    let order_sn = with_page(&house).await;
    let lost = house.gateway.pay(&order_sn, AMOUNT).unwrap();
    house.pass(DUE);
    house.deliver_times(2).await;
    assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingShipment);
    assert_eq!(house.units(PHONE).await, (3, 0));
    assert_eq!(house.orders.take_notification(&lost).await, NotifyAnswer::Success, "it comes at last");
    house.deliver().await;
    assert_eq!(house.gateway.refunds().len(), 0);
    house.assert_at_rest().await;
}

#[actix::test]
async fn money_between_query_and_close_is_applied() {
    let house = House::open(&[5]).await;
    let order_sn = with_page(&house).await;
    house.gateway.open_cashier(&order_sn, AMOUNT);
    house.pass(DUE);
    house.gateway.before_close.shut();
    let orders = house.orders.clone();
    let item = actors::domain::events::OrderRef { order_token: order_sn.clone() };
    let closing = actix::spawn(async move {
        actors::protocol::bridge::Effects::apply(orders.as_ref(), EffectBatch::OrderClose(vec![item])).await
    });
    until("the close waits", || house.gateway.before_close.waiting() == 1).await;
    house.gateway.pay(&order_sn, AMOUNT).unwrap();
    house.gateway.before_close.open();
    assert_eq!(closing.await.unwrap(), [Handled::Done]);
    assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingShipment);
    house.deliver().await;
    house.assert_at_rest().await;
}

#[actix::test]
async fn an_unknown_trade_is_asked_for_again_and_closed_blind_at_last() {
    let house = House::open(&[5]).await;
    let order_sn = with_page(&house).await;
    house.gateway.open_cashier(&order_sn, AMOUNT);
    house.gateway.set_down(true);
    house.pass(DUE);
    house.deliver().await;
    for _ in 0..17 {
        house.sweep_and_deliver().await;
        assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingPayment);
    }
    let asked = house.gateway.calls("query");
    assert_eq!(asked, 18);
    house.pass(MINUTE);
    house.sweep_and_deliver().await;
    assert_closed_and_freed(&house, &order_sn).await;
    // The buyer was at the cashier all the time.
    house.gateway.set_down(false);
    let late = house.gateway.pay(&order_sn, AMOUNT).unwrap();
    assert_eq!(house.orders.take_notification(&late).await, NotifyAnswer::Success);
    assert_eq!(house.gateway.refunds().len(), 1);
    house.assert_at_rest().await;
}

#[actix::test]
async fn an_unknown_close_is_asked_for_again() {
    for fault in [GatewayFault::Before, GatewayFault::After] {
        let house = House::open(&[5]).await;
        let order_sn = with_page(&house).await;
        house.gateway.open_cashier(&order_sn, AMOUNT);
        house.pass(DUE);
        house.lose_messages().await;
        house.gateway.before_close.shut();
        let orders = house.orders.clone();
        let item = actors::domain::events::OrderRef { order_token: order_sn.clone() };
        let closing = actix::spawn(async move {
            actors::protocol::bridge::Effects::apply(orders.as_ref(), EffectBatch::OrderClose(vec![item])).await
        });
        until("the close waits", || house.gateway.before_close.waiting() == 1).await;
        house.gateway.fail(fault);
        house.gateway.before_close.open();
        assert_eq!(closing.await.unwrap(), [Handled::Done], "left to the sweep");
        assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingPayment);
        house.sweep_and_deliver().await;
        assert_closed_and_freed(&house, &order_sn).await;
    }
}

#[actix::test]
async fn one_slow_answer_holds_up_no_other_order() {
    let house = House::open(&[5]).await;
    let (slow, plain) = (with_page(&house).await, without_page(&house).await);
    house.pass(DUE);
    house.lose_messages().await;
    house.gateway.before_query.shut();
    let orders = house.orders.clone();
    let items: Vec<_> =
        [&slow, &plain].map(|order_sn| actors::domain::events::OrderRef { order_token: order_sn.clone() }).into();
    let closing = actix::spawn(async move {
        actors::protocol::bridge::Effects::apply(orders.as_ref(), EffectBatch::OrderClose(items)).await
    });
    until("the query waits", || house.gateway.before_query.waiting() == 1).await;
    assert_eq!(house.status(&plain).await, OrderStatus::Closed);
    assert_eq!(house.status(&slow).await, OrderStatus::AwaitingPayment);
    house.gateway.before_query.open();
    closing.await.unwrap();
    assert_eq!(house.status(&slow).await, OrderStatus::Closed);
}

#[actix::test]
async fn the_gateway_is_asked_for_sixteen_orders_at_once_over_all_batches() {
    let house = House::open(&[100]).await;
    let mut numbers = Vec::new();
    for _ in 0..40 {
        numbers.push(house.placed(BOB, &[(PHONE, 1)]).await.order_sn);
    }
    house.pass(DUE);
    house.lose_messages().await;
    house.gateway.before_query.shut();
    let batches: Vec<_> = numbers
        .chunks(20)
        .map(|batch| {
            let orders = house.orders.clone();
            let refs = batch.iter().map(|number| actors::domain::events::OrderRef { order_token: number.clone() });
            let batch = EffectBatch::OrderClose(refs.collect());
            actix::spawn(async move { actors::protocol::bridge::Effects::apply(orders.as_ref(), batch).await })
        })
        .collect();
    let mut passed = 0;
    while passed < 40 {
        let waiting = (40 - passed).min(16);
        until("the places are taken", || house.gateway.before_query.waiting() >= waiting).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(house.gateway.before_query.waiting() <= 16);
        house.gateway.before_query.step();
        passed += 1;
        until("one passed", || house.gateway.before_query.passed() == passed).await;
    }
    for batch in batches {
        batch.await.unwrap();
    }
    house.deliver().await;
    assert_eq!(house.units(PHONE).await, (100, 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn an_order_named_twice_is_asked_for_once() {
    let house = House::open(&[5]).await;
    let order_sn = with_page(&house).await;
    house.pass(DUE);
    let answers = house.close_due(&[&order_sn, &order_sn, &order_sn]).await;
    assert_eq!(answers, [Handled::Done, Handled::Done, Handled::Done]);
    assert_eq!(house.gateway.calls("query"), 1);
    assert_closed_and_freed(&house, &order_sn).await;
}

/// Money and close meet in the writer: whichever is committed first wins, and the other gives way.
async fn race(pay_first: bool) {
    let house = House::open(&[5]).await;
    let order_sn = without_page(&house).await;
    let body = house.gateway.pay(&order_sn, AMOUNT).unwrap();
    house.pass(DUE);
    house.lose_messages().await;
    house.store.before_commit.shut();
    let orders = house.orders.clone();
    let item = actors::domain::events::OrderRef { order_token: order_sn.clone() };
    let close = async move {
        actors::protocol::bridge::Effects::apply(orders.as_ref(), EffectBatch::OrderClose(vec![item])).await
    };
    let orders = house.orders.clone();
    let pay = async move { orders.take_notification(&body).await };
    let (closed, paid) = if pay_first {
        let paid = actix::spawn(pay);
        until("the money waits", || house.store.before_commit.waiting() == 1).await;
        let closed = actix::spawn(close);
        until("the close queues", || house.writer.waiting() == 1).await;
        (closed, paid)
    } else {
        let closed = actix::spawn(close);
        until("the close waits", || house.store.before_commit.waiting() == 1).await;
        let paid = actix::spawn(pay);
        until("the money queues", || house.writer.waiting() == 1).await;
        (closed, paid)
    };
    house.store.before_commit.open();
    assert_eq!(closed.await.unwrap(), [Handled::Done]);
    assert_eq!(paid.await.unwrap(), NotifyAnswer::Success);
    house.deliver_times(2).await;
    let state = house.memory.payments_of(&order_sn).await.unwrap()[0].state;
    let seen = (house.status(&order_sn).await, state, house.units(PHONE).await, house.gateway.refunds().len());
    match pay_first {
        true => assert_eq!(seen, (OrderStatus::AwaitingShipment, PaymentState::Applied, (3, 0), 0)),
        false => assert_eq!(seen, (OrderStatus::Closed, PaymentState::Refunded, (5, 0), 1)),
    }
    house.assert_at_rest().await;
}

#[actix::test]
async fn money_before_the_close_pays() {
    race(true).await;
}

#[actix::test]
async fn money_after_the_close_is_given_back() {
    race(false).await;
}

#[actix::test]
async fn the_owner_cancels() {
    let house = House::open(&[5]).await;
    let order_sn = with_page(&house).await;
    house.gateway.open_cashier(&order_sn, AMOUNT);
    house.orders.cancel(ALICE, &order_sn, None).await.unwrap();
    assert_eq!(house.gateway.status(&order_sn), Some(TradeStatus::TradeClosed));
    assert_eq!(history(&house, &order_sn).await, [(Operator::User, OrderStatus::Closed)]);
    let again = house.orders.cancel(ALICE, &order_sn, None).await;
    assert_eq!(again, Err(Reject::WrongState(OrderStatus::Closed).into()));
    assert_closed_and_freed(&house, &order_sn).await;
}

#[actix::test]
async fn nobody_else_cancels() {
    let house = House::open(&[5]).await;
    let order_sn = with_page(&house).await;
    assert_eq!(house.orders.cancel(BOB, &order_sn, None).await, Err(Reject::UnknownOrder.into()));
    let nobodys = OrderSn::parse("nobody").unwrap();
    assert_eq!(house.orders.cancel(ALICE, &nobodys, None).await, Err(Reject::UnknownOrder.into()));
    assert_eq!(house.gateway.calls("query"), 0);
    assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingPayment);
}

#[actix::test]
async fn a_paid_order_is_cancelled_by_a_refund_of_all_of_it() {
    for delivered in [false, true] {
        let house = House::open(&[5]).await;
        let order_sn = with_page(&house).await;
        house.pay(&order_sn).await;
        if delivered {
            house.deliver().await;
        }
        assert_eq!(house.orders.cancel(BOB, &order_sn, None).await, Err(Reject::UnknownOrder.into()));
        house.orders.cancel(ALICE, &order_sn, None).await.unwrap();
        house.deliver().await;
        assert_eq!((house.status(&order_sn).await, house.units(PHONE).await), (OrderStatus::Closed, (5, 0)));
        let refunds = house.memory.refunds_of(&order_sn).await.unwrap();
        assert_eq!(refunds.iter().map(|refund| refund.amount).collect::<Vec<_>>(), [AMOUNT]);
        let told = house.memory.order_history(&order_sn).await.unwrap();
        assert!(told.iter().any(|row| (row.operator, row.status) == (Operator::User, OrderStatus::Closed)), "{told:?}");
        let again = house.orders.cancel(ALICE, &order_sn, None).await;
        assert_eq!(again, Err(Reject::WrongState(OrderStatus::Closed).into()));
        house.assert_at_rest().await;
    }
}

#[actix::test]
async fn an_order_for_cash_is_cancelled_without_money() {
    let house = House::open(&[5]).await;
    let mut mine = request(house.token(ALICE).await, &[(PHONE, 2)]);
    mine.pay_type = PayType::CashOnDelivery;
    let order_sn = house.place(ALICE, mine).await.order_sn;
    house.deliver().await;
    house.orders.cancel(ALICE, &order_sn, None).await.unwrap();
    assert_eq!((house.status(&order_sn).await, house.units(PHONE).await), (OrderStatus::Closed, (5, 0)));
    assert!(house.memory.refunds_of(&order_sn).await.unwrap().is_empty());
    house.assert_at_rest().await;
}

#[actix::test]
async fn an_order_on_its_way_is_not_cancelled() {
    let house = House::open(&[5]).await;
    let shipped = house.shipped(ALICE, &[(PHONE, 1)]).await;
    let refused = Err(Reject::WrongState(OrderStatus::Shipped).into());
    assert_eq!(house.orders.cancel(ALICE, &shipped, None).await, refused);
    house.assert_at_rest().await;
}

#[actix::test]
async fn an_order_paid_at_the_gateway_is_paid_instead_of_cancelled() {
    let house = House::open(&[5]).await;
    let order_sn = with_page(&house).await;
    house.gateway.pay(&order_sn, AMOUNT).unwrap();
    let refused = Err(Reject::WrongState(OrderStatus::AwaitingShipment).into());
    assert_eq!(house.orders.cancel(ALICE, &order_sn, None).await, refused);
    house.deliver().await;
    assert_eq!(house.units(PHONE).await, (3, 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_cancel_that_the_gateway_cannot_answer_is_tried_again() {
    let house = House::open(&[5]).await;
    let order_sn = with_page(&house).await;
    house.gateway.set_down(true);
    assert!(matches!(house.orders.cancel(ALICE, &order_sn, None).await, Err(Failure::Unavailable(_))));
    assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingPayment);
    house.gateway.set_down(false);
    house.orders.cancel(ALICE, &order_sn, None).await.unwrap();
    assert_closed_and_freed(&house, &order_sn).await;
}

#[actix::test]
async fn stock_messages_of_others_are_refused_by_the_status() {
    let house = House::open(&[5]).await;
    let (open, paid) = (with_page(&house).await, house.placed(BOB, &[(PHONE, 1)]).await.order_sn);
    house.pay(&paid).await;
    let items = |number: &OrderSn| vec![actors::domain::events::OrderRef { order_token: number.clone() }];
    for order_sn in [&open, &paid] {
        assert_eq!(house.apply(EffectBatch::StockUnlock(items(order_sn))).await, [Handled::Done]);
    }
    assert_eq!(house.apply(EffectBatch::StockMinus(items(&open))).await, [Handled::Done]);
    assert_eq!(house.units(PHONE).await, (5, 3), "nothing changed");
    house.deliver().await;
    assert_eq!(house.units(PHONE).await, (4, 2));
    house.assert_at_rest().await;
}
