//! Pay pages, notifications, late and double money.

use std::time::Duration;

use actors::domain::events::{BoundPlus, OrderRef, RoutingKey};
use actors::domain::order::OrderStatus;
use actors::domain::payment::{PaymentState, TradeStatus};
use actors::domain::reject::{Failure, Reject};
use actors::domain::stock::LockState;
use actors::domain::{Money, OrderSn};
use actors::order::NotifyAnswer;
use actors::ports::store::{MemberReads, OrderReads, StockReads};
use actors::protocol::bridge::{EffectBatch, Handled};
use actors::testkit::GatewayFault;
use futures_util::future::join_all;

use crate::house::*;

async fn payments(house: &House, order_sn: &OrderSn) -> Vec<PaymentState> {
    house.memory.payments_of(order_sn).await.unwrap().into_iter().map(|payment| payment.state).collect()
}

async fn points(house: &House) -> (i64, i64) {
    let member = house.memory.member(ALICE).await.unwrap().unwrap();
    (member.integration, member.growth)
}

async fn pending_refunds(house: &House) -> usize {
    house.memory.pending_refunds(100).await.unwrap().len()
}

/// An unpaid order of two phones.
async fn unpaid(house: &House) -> OrderSn {
    house.placed(ALICE, &[(PHONE, 2)]).await.order_sn
}

/// An order that was closed unpaid while the buyer stood at the cashier of a trade the gateway knows nothing of.
async fn closed(house: &House) -> OrderSn {
    let order_sn = unpaid(house).await;
    house.orders.cancel(ALICE, &order_sn, None).await.unwrap();
    house.deliver().await;
    order_sn
}

#[actix::test]
async fn points_whose_message_was_lost_come_by_the_sweep_once() {
    for lost in [RoutingKey::OrderSuccess, RoutingKey::BoundPlus] {
        let house = House::open(&[5]).await;
        let order_sn = unpaid(&house).await;
        house.deliver().await;
        house.pay(&order_sn).await;
        house.deliver_but(lost).await;
        assert_eq!(points(&house).await, (1000, 0), "{lost:?} is lost");
        for _ in 0..2 {
            house.sweep_and_deliver().await;
            assert_eq!(points(&house).await, (1000 + 20_000, 20_000), "{lost:?}");
        }
        let late = BoundPlus { user_id: ALICE, integration: 20_000, growth: 20_000, order_token: order_sn };
        assert_eq!(house.apply(EffectBatch::BoundPlus(vec![late])).await, [Handled::Done]);
        assert_eq!(points(&house).await, (1000 + 20_000, 20_000), "the message comes after all");
        assert_eq!(house.units(PHONE).await, (3, 0));
        house.assert_at_rest().await;
    }
}

#[actix::test]
async fn money_deducts_the_units_and_credits_the_points_once() {
    let house = House::open(&[5]).await;
    let order_sn = unpaid(&house).await;
    assert_eq!(house.pay(&order_sn).await, NotifyAnswer::Success);
    let order = house.order(&order_sn).await;
    assert_eq!((order.status, order.paid_at), (OrderStatus::AwaitingShipment, Some(START)));
    assert_eq!(house.units(PHONE).await, (5, 2), "the goods follow by message");
    house.deliver_times(3).await;
    assert_eq!(house.units(PHONE).await, (3, 0));
    let locks = house.memory.locks_of(std::slice::from_ref(&order_sn)).await.unwrap();
    assert!(locks.iter().all(|lock| lock.state == LockState::Deducted));
    assert_eq!(points(&house).await, (1000 + 20_000, 20_000));
    assert_eq!(payments(&house, &order_sn).await, [PaymentState::Applied]);
    house.assert_at_rest().await;
}

#[actix::test]
async fn duplicates_change_nothing() {
    let house = House::open(&[5]).await;
    let order_sn = unpaid(&house).await;
    let body = house.gateway.pay(&order_sn, Money(2 * PRICE.0)).unwrap();
    let sixteen = join_all((0..16).map(|_| house.orders.take_notification(&body))).await;
    assert_eq!(sixteen, [NotifyAnswer::Success; 16]);
    house.deliver_times(2).await;
    assert_eq!(house.orders.take_notification(&body).await, NotifyAnswer::Success);
    house.deliver_times(2).await;
    assert_eq!(payments(&house, &order_sn).await, [PaymentState::Applied]);
    assert_eq!((house.units(PHONE).await, points(&house).await.1), ((3, 0), 20_000));
    assert_eq!(house.gateway.calls("refund"), 0);
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_wrong_amount_is_recorded_and_changes_nothing() {
    let house = House::open(&[5]).await;
    let order_sn = unpaid(&house).await;
    let body = house.gateway.pay(&order_sn, Money(1)).unwrap();
    for _ in 0..2 {
        assert_eq!(house.orders.take_notification(&body).await, NotifyAnswer::Success);
    }
    assert_eq!(payments(&house, &order_sn).await, [PaymentState::Mismatch]);
    assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingPayment);
    assert_eq!(house.gateway.calls("refund"), 0, "an operator must look");
    house.assert_sound().await;
}

#[actix::test]
async fn an_order_whose_money_is_wrong_is_closed_in_its_time() {
    for notified in [true, false] {
        let house = House::open(&[5]).await;
        let order_sn = unpaid(&house).await;
        let body = house.gateway.pay(&order_sn, Money(1)).unwrap();
        if notified {
            house.orders.take_notification(&body).await;
        }
        house.pass(TIMEOUT + GRACE);
        house.deliver().await;
        assert_eq!(house.status(&order_sn).await, OrderStatus::Closed, "notified: {notified}");
        assert_eq!(payments(&house, &order_sn).await, [PaymentState::Mismatch]);
        assert_eq!(house.units(PHONE).await, (5, 0));
        house.assert_at_rest().await;
    }
}

#[actix::test]
async fn forged_and_foreign_notifications_fail() {
    let house = House::open(&[5]).await;
    let order_sn = unpaid(&house).await;
    for body in ["forged", "", "\u{fffd}"] {
        assert_eq!(house.orders.take_notification(body.as_bytes()).await, NotifyAnswer::Failure);
    }
    assert_eq!(house.orders.take_notification(&[0xff]).await, NotifyAnswer::Failure);
    let nobodys = OrderSn::parse("nobody").unwrap();
    let body = house.gateway.pay(&nobodys, PRICE).unwrap();
    assert_eq!(house.orders.take_notification(&body).await, NotifyAnswer::Failure);
    assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingPayment);
    assert_eq!(house.gateway.calls("refund"), 0);
}

#[actix::test]
async fn notifications_that_tell_of_no_payment_apply_none() {
    let house = House::open(&[5]).await;
    let order_sn = unpaid(&house).await;
    let amount = Money(2 * PRICE.0);
    for (status, is_refund) in
        [(TradeStatus::WaitBuyerPay, false), (TradeStatus::TradeSuccess, true), (TradeStatus::TradeClosed, true)]
    {
        let body = house.gateway.notify(&order_sn, status, amount, is_refund);
        assert_eq!(house.orders.take_notification(&body).await, NotifyAnswer::Success);
        assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingPayment, "{status:?}");
    }
    assert!(payments(&house, &order_sn).await.is_empty());
}

#[actix::test]
async fn a_trade_that_the_gateway_closed_closes_the_unpaid_order_only() {
    let house = House::open(&[5]).await;
    let (open, paid) = (unpaid(&house).await, house.placed(BOB, &[(PHONE, 1)]).await.order_sn);
    house.pay(&paid).await;
    for order_sn in [&open, &paid] {
        let body = house.gateway.notify(order_sn, TradeStatus::TradeClosed, Money::ZERO, false);
        for _ in 0..2 {
            assert_eq!(house.orders.take_notification(&body).await, NotifyAnswer::Success);
        }
    }
    house.deliver_times(2).await;
    assert_eq!(house.status(&open).await, OrderStatus::Closed);
    assert_eq!(house.status(&paid).await, OrderStatus::AwaitingShipment);
    assert_eq!(house.units(PHONE).await, (4, 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn late_money_is_given_back_once_under_a_fixed_number() {
    let house = House::open(&[5]).await;
    let order_sn = closed(&house).await;
    let amount = Money(2 * PRICE.0);
    let body = house.gateway.pay_with_another_trade(&order_sn, amount);
    for _ in 0..3 {
        assert_eq!(house.orders.take_notification(&body).await, NotifyAnswer::Success);
        house.sweep_and_deliver().await;
    }
    assert_eq!(house.gateway.refunds(), [("late-T000001".to_owned(), amount)]);
    assert_eq!(house.gateway.calls("refund"), 1);
    assert_eq!(payments(&house, &order_sn).await, [PaymentState::Refunded]);
    assert_eq!(house.status(&order_sn).await, OrderStatus::Closed);
    assert_eq!((house.units(PHONE).await, points(&house).await), ((5, 0), (1000, 0)));
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_second_payment_is_given_back_and_the_first_stays() {
    let house = House::open(&[5]).await;
    let order_sn = unpaid(&house).await;
    let amount = Money(2 * PRICE.0);
    house.pay(&order_sn).await;
    let second = house.gateway.pay_with_another_trade(&order_sn, amount);
    let answers = join_all((0..4).map(|_| house.orders.take_notification(&second))).await;
    assert_eq!(answers, [NotifyAnswer::Success; 4]);
    house.deliver_times(2).await;
    assert_eq!(payments(&house, &order_sn).await, [PaymentState::Applied, PaymentState::Refunded]);
    assert_eq!(house.gateway.refunds().len(), 1);
    assert_eq!(house.gateway.taken().0 - amount.0, amount.0);
    assert_eq!(house.units(PHONE).await, (3, 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn two_trades_at_once_pay_once() {
    let house = House::open(&[5]).await;
    let order_sn = unpaid(&house).await;
    let amount = Money(2 * PRICE.0);
    let bodies: Vec<_> = (0..5).map(|_| house.gateway.pay_with_another_trade(&order_sn, amount)).collect();
    join_all(bodies.iter().map(|body| house.orders.take_notification(body))).await;
    house.deliver_times(2).await;
    let states = payments(&house, &order_sn).await;
    assert_eq!(states.iter().filter(|state| **state == PaymentState::Applied).count(), 1);
    assert_eq!(states.iter().filter(|state| **state == PaymentState::Refunded).count(), 4);
    assert_eq!(house.gateway.refunds().len(), 4);
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_pending_refund_is_asked_for_until_it_is_confirmed() {
    let house = House::open(&[5]).await;
    let order_sn = closed(&house).await;
    house.gateway.set_refunds_slow(true);
    let body = house.gateway.pay_with_another_trade(&order_sn, Money(2 * PRICE.0));
    assert_eq!(house.orders.take_notification(&body).await, NotifyAnswer::Success);
    assert_eq!(house.gateway.calls("refund_query"), 1);
    house.sweep_and_deliver().await;
    assert_eq!(payments(&house, &order_sn).await, [PaymentState::Refunding]);
    house.gateway.finish_refunds();
    house.sweep_and_deliver().await;
    assert_eq!(payments(&house, &order_sn).await, [PaymentState::Refunded]);
    assert_eq!((house.gateway.refunds().len(), pending_refunds(&house).await), (1, 0));
    let calls = house.gateway.calls("refund");
    house.sweep_and_deliver().await;
    assert_eq!(house.gateway.calls("refund"), calls, "a settled refund is not asked for again");
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_refund_is_left_to_the_sweep_while_the_gateway_is_down() {
    let house = House::open(&[5]).await;
    let order_sn = closed(&house).await;
    let body = house.gateway.pay_with_another_trade(&order_sn, Money(2 * PRICE.0));
    house.gateway.set_down(true);
    assert_eq!(house.orders.take_notification(&body).await, NotifyAnswer::Success, "it is recorded");
    house.sweep_and_deliver().await;
    assert_eq!((pending_refunds(&house).await, house.gateway.refunds().len()), (1, 0));
    house.gateway.set_down(false);
    // The answer gets lost once: asked again under the same number, the money moves once.
    house.gateway.fail(GatewayFault::After);
    house.sweep_and_deliver().await;
    assert_eq!((pending_refunds(&house).await, house.gateway.refunds().len()), (1, 1));
    house.sweep_and_deliver().await;
    assert_eq!((pending_refunds(&house).await, house.gateway.refunds().len()), (0, 1));
    assert_eq!(payments(&house, &order_sn).await, [PaymentState::Refunded]);
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_store_that_is_away_makes_the_gateway_send_again() {
    let house = House::open(&[5]).await;
    let order_sn = unpaid(&house).await;
    let body = house.gateway.pay(&order_sn, Money(2 * PRICE.0)).unwrap();
    house.faults.set_away(true);
    assert_eq!(house.orders.take_notification(&body).await, NotifyAnswer::Later);
    let closed = house.gateway.notify(&order_sn, TradeStatus::TradeClosed, Money::ZERO, false);
    assert_eq!(house.orders.take_notification(&closed).await, NotifyAnswer::Later);
    house.faults.set_away(false);
    assert_eq!(house.orders.take_notification(&body).await, NotifyAnswer::Success);
    house.deliver().await;
    house.assert_at_rest().await;
}

#[actix::test]
async fn messages_about_money_that_were_lost_are_swept() {
    let house = House::open(&[5]).await;
    let order_sn = unpaid(&house).await;
    house.pay(&order_sn).await;
    // The announcement goes out, what follows it is lost.
    house.apply(EffectBatch::OrderSuccess("m".into(), vec![OrderRef { order_token: order_sn.clone() }])).await;
    house.lose_messages().await;
    house.sweep_and_deliver().await;
    assert_eq!(house.units(PHONE).await, (3, 0));
}

#[actix::test]
async fn points_named_twice_in_a_batch_are_credited_once() {
    let house = House::open(&[5]).await;
    let order_sn = unpaid(&house).await;
    house.pay(&order_sn).await;
    house.deliver().await;
    let foreign =
        BoundPlus { user_id: ALICE, integration: 7, growth: 7, order_token: OrderSn::parse("elsewhere").unwrap() };
    let stolen = BoundPlus { user_id: BOB, order_token: order_sn, ..foreign.clone() };
    let batch = vec![foreign.clone(), foreign, stolen];
    assert_eq!(house.apply(EffectBatch::BoundPlus(batch)).await, [Handled::Done, Handled::Done, Handled::Done]);
    assert_eq!(points(&house).await, (1000 + 20_000 + 7, 20_000 + 7));
    assert_eq!(house.memory.member(BOB).await.unwrap().unwrap().integration, 0);
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_pay_page_is_for_the_owner_while_there_is_time() {
    let house = House::open(&[5]).await;
    let mut mine = request(house.token(ALICE).await, &[(PHONE, 2)]);
    mine.with_pay_page = false;
    let order_sn = house.place(ALICE, mine).await.order_sn;
    assert_eq!(house.order(&order_sn).await.pay_page_issued_at, None);
    assert_eq!(house.orders.issue_pay_page(BOB, &order_sn, None).await, Err(Reject::UnknownOrder.into()));
    let page = house.orders.issue_pay_page(ALICE, &order_sn, None).await.unwrap();
    assert_eq!(page, format!("<form>{order_sn} 20000.00 title 48 等2件 {}</form>", START.0));
    house.pass(MINUTE);
    assert!(house.orders.issue_pay_page(ALICE, &order_sn, None).await.is_ok(), "as often as wanted");
    assert_eq!(house.order(&order_sn).await.pay_page_issued_at, Some(START));
    house.gateway.set_down(true);
    assert!(matches!(house.orders.issue_pay_page(ALICE, &order_sn, None).await, Err(Failure::Unavailable(_))));
    house.gateway.set_down(false);
    house.pass(TIMEOUT - MINUTE);
    assert_eq!(house.orders.issue_pay_page(ALICE, &order_sn, None).await, Err(Reject::PaymentLapsed.into()));
    house.pass(Duration::from_secs(30));
    assert_eq!(house.pay(&order_sn).await, NotifyAnswer::Success, "money within the grace is applied");
    let refused = house.orders.issue_pay_page(ALICE, &order_sn, None).await;
    assert_eq!(refused, Err(Reject::WrongState(OrderStatus::AwaitingShipment).into()));
}
