//! [`TakePayment`], [`IssuePayPage`] and [`SettleRefund`].

use std::time::Duration;

use super::StoreFixture;
use super::values::{cancelling, named, outcome, packed, payment, trade_no};
use super::world::{ALICE, BOB, PAYMENT_TIMEOUT, PHONE, PRICE, World};
use crate::domain::events::RoutingKey;
use crate::domain::order::{Operator, OrderStatus, PayType};
use crate::domain::payment::{PaymentState, PendingRefund, Receipt, refund_request_no};
use crate::domain::{Money, OrderSn};
use crate::ports::store::PaymentRow;
use crate::ports::store::units::{
    CloseOrders, IssuePayPage, OrderClose, PayPageIssue, PaymentTaken, SettleRefund, TakePayment,
};

/// States of an order's payments, oldest first.
async fn payments(world: &World, order_sn: &OrderSn) -> Vec<PaymentState> {
    let rows = world.store.payments_of(order_sn).await.expect("payments are readable");
    rows.into_iter().map(|row| row.state).collect()
}

async fn refunds(world: &World) -> Vec<PendingRefund> {
    world.store.pending_refunds(10).await.expect("refunds are readable")
}

/// The right money pays an unpaid order, also after its deadline, with a payment row, a history row and a message.
pub async fn the_right_money_pays(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.placed(ALICE, 2).await;
    world.clock.advance(PAYMENT_TIMEOUT + Duration::from_secs(5));
    let receipt = world.receipt(&order_sn).await;
    assert_eq!(receipt.amount, Money(2 * PRICE.0));

    let committed = world.commit(vec![payment(receipt.clone()).into()]).await;
    assert_eq!(outcome::<TakePayment>(&committed, 0), PaymentTaken::Applied);
    assert_eq!(packed(&committed.messages), [(RoutingKey::OrderSuccess, 1)]);
    assert_eq!(named(&committed.messages[0]), [order_sn.as_str()]);
    let order = world.order(&order_sn).await;
    assert_eq!(order.status, OrderStatus::AwaitingShipment);
    assert_eq!((order.paid_at, order.modified_at), (Some(world.now()), world.now()));
    let row = PaymentRow {
        order_sn: order_sn.clone(),
        trade_no: receipt.trade_no,
        amount: receipt.amount,
        state: PaymentState::Applied,
        created_at: world.now(),
    };
    assert_eq!(world.store.payments_of(&order_sn).await, Ok(vec![row]));
    let history = world.history(&order_sn).await;
    assert_eq!(history.len(), 1);
    let told = (history[0].operator, history[0].at, history[0].status);
    assert_eq!(told, (Operator::System, world.now(), OrderStatus::AwaitingShipment));
    assert_eq!(world.stock(PHONE).await, (10, 2), "the units are sold by the message");
    world.assert_sound().await;
}

/// A trade that was recorded, however it went and whichever order it names, is a duplicate.
pub async fn a_trade_is_recorded_once(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (paid, closed, odd, fresh) = (
        world.placed(ALICE, 1).await,
        world.placed(ALICE, 1).await,
        world.placed(ALICE, 1).await,
        world.placed(BOB, 1).await,
    );
    world.cancel(&closed).await;
    let mut receipts = [world.receipt(&paid).await, world.receipt(&closed).await, world.receipt(&odd).await];
    receipts[2].amount = Money(1);
    let units = receipts.iter().cloned().map(|receipt| payment(receipt).into());
    let committed = world.commit(units.collect()).await;
    let first = [0, 1, 2].map(|place| outcome::<TakePayment>(&committed, place));
    assert_eq!(first, [PaymentTaken::Applied, PaymentTaken::Refunding, PaymentTaken::Mismatch]);

    let before = world.picture().await;
    for receipt in receipts {
        for order_sn in [&receipt.order_sn, &fresh] {
            for amount in [PRICE, Money(1)] {
                let again = Receipt { order_sn: order_sn.clone(), amount, ..receipt.clone() };
                let committed = world.commit(vec![payment(again).into()]).await;
                assert_eq!(outcome::<TakePayment>(&committed, 0), PaymentTaken::Duplicate);
                assert_eq!(committed.messages, []);
            }
        }
    }
    assert_eq!(world.picture().await, before);
}

/// A wrong amount is recorded and changes nothing, whatever the order's status; the right one still pays.
pub async fn a_wrong_amount_changes_nothing(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (open, closed, paid) = (world.placed(ALICE, 1).await, world.placed(ALICE, 1).await, world.paid(BOB, 1).await);
    world.cancel(&closed).await;
    for (order_sn, amount) in [(&open, 1), (&open, PRICE.0 + 1), (&closed, 1), (&paid, PRICE.0 - 1)] {
        let status = world.status(order_sn).await;
        let trade_no = trade_no(&format!("wrong-{order_sn}-{amount}"));
        let wrong = Receipt { amount: Money(amount), trade_no, ..world.receipt(order_sn).await };
        let committed = world.commit(vec![payment(wrong).into()]).await;
        assert_eq!(outcome::<TakePayment>(&committed, 0), PaymentTaken::Mismatch);
        assert_eq!(committed.messages, []);
        assert_eq!(world.status(order_sn).await, status);
        assert_eq!(payments(&world, order_sn).await.last(), Some(&PaymentState::Mismatch));
    }
    assert_eq!(refunds(&world).await, [], "an operator must look first");
    world.assert_sound().await;
    world.pay(&open).await;
    assert_eq!(payments(&world, &open).await, [PaymentState::Mismatch, PaymentState::Mismatch, PaymentState::Applied]);
    world.assert_sound().await;
}

/// Money that nobody needs, for a closed order, a paid one or one to be paid on delivery, is recorded and refunded once.
pub async fn unneeded_money_is_refunded(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (closed, paid) = (world.placed(ALICE, 1).await, world.paid(BOB, 1).await);
    world.cancel(&closed).await;
    let mut on_delivery = world.placing(ALICE, &world.phones(1).await);
    on_delivery.order.pay_type = PayType::CashOnDelivery;
    let delivered = on_delivery.order.order_sn.clone();
    world.one(on_delivery).await;

    for order_sn in [closed, paid, delivered] {
        world.clock.advance(Duration::from_secs(1));
        let status = world.status(&order_sn).await;
        let late = trade_no(&format!("late-{order_sn}"));
        let receipt = Receipt { trade_no: late.clone(), ..world.receipt(&order_sn).await };
        let committed = world.commit(vec![payment(receipt).into()]).await;
        assert_eq!(outcome::<TakePayment>(&committed, 0), PaymentTaken::Refunding);
        assert_eq!(committed.messages, []);
        assert_eq!(world.status(&order_sn).await, status);
        let pending = PendingRefund {
            request_no: refund_request_no(&late),
            order_sn: order_sn.clone(),
            trade_no: late,
            amount: PRICE,
            created_at: world.now(),
        };
        assert_eq!(refunds(&world).await.last(), Some(&pending), "newest last");
        assert_eq!(payments(&world, &order_sn).await.last(), Some(&PaymentState::Refunding));
        world.assert_sound().await;
    }
    assert_eq!(world.store.pending_refunds(2).await.map(|refunds| refunds.len()), Ok(2));
}

/// A refund is settled once: payment REFUNDED, nothing pending, a history row.
pub async fn a_refund_is_settled_once(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.placed(ALICE, 1).await;
    world.cancel(&order_sn).await;
    world.one(payment(world.receipt(&order_sn).await)).await;
    let request_no = refunds(&world).await.remove(0).request_no;
    let rows = world.history(&order_sn).await.len();
    let settling = SettleRefund { request_no };

    let committed = world.commit(vec![settling.clone().into(), settling.clone().into()]).await;
    assert!(outcome::<SettleRefund>(&committed, 0));
    assert!(!outcome::<SettleRefund>(&committed, 1), "settled by the unit before");
    assert_eq!(payments(&world, &order_sn).await, [PaymentState::Refunded]);
    assert_eq!(refunds(&world).await, []);
    let history = world.history(&order_sn).await;
    assert_eq!((history.len(), history[rows].operator), (rows + 1, Operator::System));
    let before = world.picture().await;
    assert!(!world.one(settling).await);
    assert!(!world.one(SettleRefund { request_no: "late-nothing".into() }).await);
    assert_eq!(world.picture().await, before);
    world.assert_sound().await;
}

/// Money for an order that nobody knows leaves no trace.
pub async fn money_for_no_order_leaves_no_trace(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let receipt = world.receipt(&world.placed(ALICE, 1).await).await;
    let unknown = Receipt { order_sn: world.number(), ..receipt.clone() };
    let before = world.picture().await;
    let committed = world.commit(vec![payment(unknown.clone()).into()]).await;
    assert_eq!(outcome::<TakePayment>(&committed, 0), PaymentTaken::UnknownOrder);
    assert_eq!(world.store.payments_of(&unknown.order_sn).await, Ok(vec![]));
    assert_eq!(world.picture().await, before);
    assert_eq!(world.one(payment(receipt)).await, PaymentTaken::Applied, "the trade is still free");
}

/// Of two trades for one order in one batch the first pays and the second goes back.
pub async fn two_trades_in_one_batch_pay_once(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.placed(ALICE, 1).await;
    let first = world.receipt(&order_sn).await;
    let second = Receipt { trade_no: trade_no("second"), ..first.clone() };
    let units = [&first, &second, &first, &second].map(|receipt| payment(receipt.clone()).into());
    let committed = world.commit(units.into()).await;
    let answers = [0, 1, 2, 3].map(|place| outcome::<TakePayment>(&committed, place));
    let again = PaymentTaken::Duplicate;
    assert_eq!(answers, [PaymentTaken::Applied, PaymentTaken::Refunding, again, again]);
    assert_eq!(packed(&committed.messages), [(RoutingKey::OrderSuccess, 1)]);
    assert_eq!(payments(&world, &order_sn).await, [PaymentState::Applied, PaymentState::Refunding]);
    assert_eq!(refunds(&world).await.len(), 1);
    world.assert_sound().await;
}

/// An order made in a batch can be paid in it, and many payments of one batch are one message.
pub async fn many_payments_in_one_batch(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 100).await;
    let phones = world.phones(1).await;
    let placings: Vec<_> = (0..20).map(|_| world.placing(ALICE, &phones)).collect();
    let receipt = |order_sn: &OrderSn| Receipt {
        order_sn: order_sn.clone(),
        trade_no: trade_no(&format!("trade-{order_sn}")),
        amount: PRICE,
        subject: "order".into(),
        content: "{}".into(),
    };
    let payments: Vec<_> = placings.iter().map(|unit| payment(receipt(&unit.order.order_sn))).collect();
    let order_sns: Vec<String> = placings.iter().map(|unit| unit.order.order_sn.to_string()).collect();
    let mut units: Vec<_> = placings.into_iter().map(Into::into).collect();
    units.extend(payments.into_iter().map(Into::into));

    let committed = world.commit(units).await;
    for place in 20..40 {
        assert_eq!(outcome::<TakePayment>(&committed, place), PaymentTaken::Applied, "{place}");
    }
    let successes: Vec<_> =
        committed.messages.iter().filter(|message| message.key == RoutingKey::OrderSuccess).collect();
    assert_eq!(successes.len(), 1);
    assert_eq!(named(successes[0]), order_sns);
    world.assert_sound().await;
}

/// Paying and closing one order in one batch: the first wins, and the loser's money goes back.
pub async fn paying_and_closing_in_one_batch(fixtures: &dyn StoreFixture) {
    for pays_first in [true, false] {
        let world = World::with_phones(fixtures, 10).await;
        let order_sn = world.placed(ALICE, 1).await;
        let (pay, close) = (payment(world.receipt(&order_sn).await), cancelling(&order_sn));
        let (units, pay_place) = match pays_first {
            true => (vec![pay.into(), close.into()], 0),
            false => (vec![close.into(), pay.into()], 1),
        };
        let committed = world.commit(units).await;
        let answers =
            (outcome::<TakePayment>(&committed, pay_place), outcome::<CloseOrders>(&committed, 1 - pay_place));
        let (wanted, status, key) = match pays_first {
            true => {
                let refused = OrderClose::WrongState(OrderStatus::AwaitingShipment);
                ((PaymentTaken::Applied, vec![refused]), OrderStatus::AwaitingShipment, RoutingKey::OrderSuccess)
            }
            false => {
                ((PaymentTaken::Refunding, vec![OrderClose::Closed]), OrderStatus::Closed, RoutingKey::StockUnlock)
            }
        };
        assert_eq!(answers, wanted);
        assert_eq!(packed(&committed.messages), [(key, 1)]);
        assert_eq!(world.status(&order_sn).await, status);
        assert_eq!(refunds(&world).await.len(), usize::from(!pays_first));
        world.assert_sound().await;
    }
}

/// A pay page is handed out while the order is unpaid and its deadline is not over; the first time is remembered.
pub async fn a_pay_page_is_issued_in_time(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.placed(ALICE, 3).await;
    let pay_before = world.now().plus(PAYMENT_TIMEOUT);
    let issuing = || IssuePayPage { order_sn: order_sn.clone(), asked: None };
    let unpaid =
        async || world.store.unpaid_orders(std::slice::from_ref(&order_sn)).await.map(|mut list| list.remove(0));
    assert_eq!(unpaid().await.map(|order| order.pay_page_issued), Ok(false));

    let first = world.now();
    for _ in 0..2 {
        let issued = PayPageIssue::Issued { pay_before, amount: Money(3 * PRICE.0), at: world.now() };
        assert_eq!(world.one(issuing()).await, issued);
        assert_eq!(world.order(&order_sn).await.pay_page_issued_at, Some(first));
        assert_eq!(unpaid().await.map(|order| order.pay_page_issued), Ok(true));
        world.clock.set(pay_before.0 - 1);
    }
    world.clock.set(pay_before.0);
    assert_eq!(world.one(issuing()).await, PayPageIssue::Lapsed);
    assert_eq!(world.order(&order_sn).await.pay_page_issued_at, Some(first));
}

/// No pay page for an order that is decided, is paid on delivery, or does not exist.
pub async fn a_decided_order_has_no_pay_page(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (closed, paid) = (world.placed(ALICE, 1).await, world.paid(BOB, 1).await);
    world.cancel(&closed).await;
    let issuing = |order_sn: &OrderSn| IssuePayPage { order_sn: order_sn.clone(), asked: None };
    let wrong = PayPageIssue::WrongState;
    assert_eq!(world.one(issuing(&closed)).await, wrong(OrderStatus::Closed));
    assert_eq!(world.one(issuing(&paid)).await, wrong(OrderStatus::AwaitingShipment));
    assert_eq!(world.one(issuing(&world.number())).await, PayPageIssue::Unknown);
    for order_sn in [closed, paid] {
        assert_eq!(world.order(&order_sn).await.pay_page_issued_at, None);
    }
}
