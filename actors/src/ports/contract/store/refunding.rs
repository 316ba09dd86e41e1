//! [`RefundOrder`], and how points and stock follow it.

use super::StoreFixture;
use super::values::{credit, outcome, payment, refunding, refunding_part, shipping, trade_no};
use super::world::{ALICE, BOB, NORTH, PHONE, PRICE, SOUTH, World, line};
use crate::domain::invariants::check;
use crate::domain::order::{Operator, OrderStatus, PayType};
use crate::domain::payment::{PaymentState, Receipt, Refund, RefundChannel, whole_request_no};
use crate::domain::stock::{LockState, Resolution};
use crate::domain::{Money, OrderSn};
use crate::ports::store::units::{
    AddPoints, LockResolved, OrderReceive, OrderRefund, OrderShip, PaymentTaken, RefundOrder, ResolveLocks,
    SettleRefund, SettledRefund, ShipOrder, TakePayment,
};

async fn refunds(world: &World, order_sn: &OrderSn) -> Vec<Refund> {
    world.store.refunds_of(order_sn).await.expect("refunds are readable")
}

/// The refund of a whole order: closed, units back on the shelf with their locks RETURNED, points taken back, and one
/// pending refund under the fixed number.
pub async fn a_whole_order_is_refunded_before_shipment(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.paid(ALICE, 3).await;
    world.resolve(Resolution::Deduct, &order_sn).await;
    assert_eq!(world.one(AddPoints { credits: vec![credit(&order_sn, ALICE, 300)] }).await, [true]);
    assert_eq!((world.stock(PHONE).await, world.points(ALICE).await), ((7, 0), (300, 300)));

    let committed = world.commit(vec![refunding(&order_sn).into()]).await;
    let refund = Refund {
        request_no: whole_request_no(&order_sn),
        order_sn: order_sn.clone(),
        trade_no: world.receipt(&order_sn).await.trade_no,
        amount: Money(3 * PRICE.0),
        channel: RefundChannel::Gateway,
        return_id: None,
        created_at: world.now(),
        confirmed_at: None,
    };
    assert_eq!(outcome::<RefundOrder>(&committed, 0), OrderRefund::Given(Some(refund.clone())));
    assert_eq!(committed.messages, []);
    assert_eq!(world.status(&order_sn).await, OrderStatus::Closed);
    assert_eq!(world.locks(&order_sn).await, [(LockState::Returned, 3)]);
    assert_eq!((world.stock(PHONE).await, world.points(ALICE).await), ((10, 0), (0, 0)));
    assert_eq!(refunds(&world, &order_sn).await, std::slice::from_ref(&refund));
    assert_eq!(world.store.pending_refunds(10).await, Ok(refund.pending().into_iter().collect()));
    let told = world.history(&order_sn).await.pop().expect("a history row");
    assert_eq!((told.operator, told.status), (Operator::Admin, OrderStatus::Closed));
    assert_eq!(check(&world.facts().await).broken(), [""; 0]);

    let before = world.picture().await;
    assert_eq!(world.one(refunding(&order_sn)).await, OrderRefund::Repeated(refund));
    assert_eq!(world.one(shipping(&order_sn)).await, OrderShip::WrongState(OrderStatus::Closed));
    assert_eq!(world.picture().await, before);
}

/// A confirmed refund of an applied payment leaves the payment as it is; it is settled once.
pub async fn a_confirmed_refund_leaves_its_payment_applied(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.paid(ALICE, 1).await;
    world.one(refunding(&order_sn)).await;
    let settle = SettleRefund { request_no: whole_request_no(&order_sn) };
    let settled = SettledRefund { order_sn: order_sn.clone(), status: OrderStatus::Closed };
    assert_eq!(world.one(settle.clone()).await, Some(settled));
    assert_eq!(refunds(&world, &order_sn).await[0].confirmed_at, Some(world.now()));
    assert_eq!(world.store.pending_refunds(10).await, Ok(Vec::new()));
    let payments = world.store.payments_of(&order_sn).await.expect("payments are readable");
    assert_eq!(payments.iter().map(|payment| payment.state).collect::<Vec<_>>(), [PaymentState::Applied]);
    let told = world.history(&order_sn).await.pop().expect("a history row");
    assert_eq!((told.operator, told.note.as_str()), (Operator::System, "refund confirmed"));
    assert_eq!(world.one(settle).await, None);
    world.assert_sound().await;
}

/// Units that have not left the shelf yet are unlocked; the late message to deduct them finds them resolved.
pub async fn a_refund_before_the_units_left_unlocks_them(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    world.fixture.add_stock(PHONE, NORTH, 2).await;
    world.fixture.add_stock(PHONE, SOUTH, 3).await;
    let rows = world.store.stock_rows(PHONE).await.expect("stock is readable");
    let unit = world.placing(ALICE, &[line(&rows[0], 2), line(&rows[1], 1)]);
    let order_sn = unit.order.order_sn.clone();
    world.one(unit).await;
    world.pay(&order_sn).await;
    let late =
        ResolveLocks { sku_id: PHONE, way: Resolution::Deduct, order_sns: vec![order_sn.clone()], lapsed_only: false };
    let committed = world.commit(vec![refunding(&order_sn).into(), late.into()]).await;
    assert_eq!(committed.stock.len(), 2, "both rows are told of");
    assert_eq!(outcome::<ResolveLocks>(&committed, 1), [LockResolved::Before(LockState::Returned)]);
    assert_eq!(world.locks(&order_sn).await, [(LockState::Returned, 2), (LockState::Returned, 1)]);
    let rows = world.store.stock_rows(PHONE).await.expect("stock is readable");
    assert_eq!(rows.iter().map(|row| (row.stock, row.locked)).collect::<Vec<_>>(), [(2, 0), (3, 0)]);
    // The credit was on its way as well.
    assert_eq!(world.one(AddPoints { credits: vec![credit(&order_sn, ALICE, 300)] }).await, [false]);
    assert_eq!(check(&world.facts().await).broken(), [""; 0]);
}

/// Partial refunds leave the order where it is, take their share of the points, and end when the payment does.
pub async fn parts_are_refunded_up_to_the_payment(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.completed(ALICE, 2).await;
    let parts = [("a", 5_050, 149), ("b", 50, 149), ("c", 14_900, 0)];
    for (reference, fen, points) in parts {
        let unit = refunding_part(&order_sn, reference, Money(fen));
        match world.one(unit.clone()).await {
            OrderRefund::Given(Some(refund)) => assert_eq!(refund.amount, Money(fen)),
            other => panic!("{reference}: {other:?}"),
        }
        assert_eq!(world.status(&order_sn).await, OrderStatus::Completed);
        assert_eq!(world.points(ALICE).await, (points, points), "after {reference}");
        let before = world.picture().await;
        assert!(matches!(world.one(unit).await, OrderRefund::Repeated(_)));
        assert_eq!(world.picture().await, before);
        assert_eq!(check(&world.facts().await).broken(), [""; 0]);
    }
    let more = world.one(refunding_part(&order_sn, "d", Money(1))).await;
    assert_eq!(more, OrderRefund::TooMuch { refundable: Money::ZERO });
    assert_eq!(refunds(&world, &order_sn).await.len(), 3);
    assert_eq!(world.stock(PHONE).await, (8, 0), "money goes back, not the goods");
}

/// What was given back before is not given back again when the rest of the order is refunded.
pub async fn a_whole_refund_gives_back_the_rest(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (some, all) = (world.paid(ALICE, 1).await, world.paid(BOB, 1).await);
    for order_sn in [&some, &all] {
        world.resolve(Resolution::Deduct, order_sn).await;
    }
    let refused = world.one(refunding_part(&some, "x", Money(PRICE.0 + 1))).await;
    assert_eq!(refused, OrderRefund::TooMuch { refundable: PRICE });
    let refused = world.one(refunding_part(&some, "x", Money::ZERO)).await;
    assert_eq!(refused, OrderRefund::TooMuch { refundable: PRICE });
    let units = vec![
        refunding_part(&some, "a", Money(1_000)).into(),
        refunding_part(&all, "a", PRICE).into(),
        refunding(&some).into(),
        refunding(&all).into(),
    ];
    let committed = world.commit(units).await;
    match outcome::<RefundOrder>(&committed, 2) {
        OrderRefund::Given(Some(refund)) => assert_eq!(refund.amount, Money(PRICE.0 - 1_000)),
        other => panic!("{other:?}"),
    }
    assert_eq!(outcome::<RefundOrder>(&committed, 3), OrderRefund::Given(None));
    assert_eq!(world.status(&all).await, OrderStatus::Closed);
    assert_eq!(world.stock(PHONE).await, (10, 0));
    assert_eq!(check(&world.facts().await).broken(), [""; 0]);
}

/// Where the order is elsewhere in its life nothing is given back.
pub async fn a_refund_needs_a_paid_order(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (open, closed) = (world.placed(ALICE, 1).await, world.placed(ALICE, 1).await);
    world.cancel(&closed).await;
    let shipped = world.shipped(BOB, 1).await;
    let done = world.completed(BOB, 1).await;
    let before = world.picture().await;
    for (order_sn, status) in [(&open, OrderStatus::AwaitingPayment), (&closed, OrderStatus::Closed)] {
        assert_eq!(world.one(refunding(order_sn)).await, OrderRefund::WrongState(status));
        assert_eq!(world.one(refunding_part(order_sn, "a", Money(1))).await, OrderRefund::WrongState(status));
    }
    for (order_sn, status) in [(&shipped, OrderStatus::Shipped), (&done, OrderStatus::Completed)] {
        assert_eq!(world.one(refunding(order_sn)).await, OrderRefund::WrongState(status));
    }
    let nobody = world.number();
    assert_eq!(world.one(refunding(&nobody)).await, OrderRefund::Unknown);
    assert_eq!(world.picture().await, before);
}

/// Shipping and refunding are transitions of one row: whichever comes first wins.
pub async fn shipping_and_refunding_in_one_batch(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (first, second) = (world.paid(ALICE, 1).await, world.paid(BOB, 1).await);
    let units =
        vec![shipping(&first).into(), refunding(&first).into(), refunding(&second).into(), shipping(&second).into()];
    let committed = world.commit(units).await;
    assert_eq!(outcome::<ShipOrder>(&committed, 0), OrderShip::Shipped);
    assert_eq!(outcome::<RefundOrder>(&committed, 1), OrderRefund::WrongState(OrderStatus::Shipped));
    assert!(matches!(outcome::<RefundOrder>(&committed, 2), OrderRefund::Given(Some(_))));
    assert_eq!(outcome::<ShipOrder>(&committed, 3), OrderShip::WrongState(OrderStatus::Closed));
    world.assert_sound().await;
}

/// Points that were on their way when money went back arrive without its share.
pub async fn late_points_come_without_what_was_refunded(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.shipped(ALICE, 2).await;
    world.one(refunding_part(&order_sn, "a", Money(5_050))).await;
    assert_eq!(world.points(ALICE).await, (0, 0));
    assert_eq!(world.one(AddPoints { credits: vec![credit(&order_sn, ALICE, 200)] }).await, [true]);
    assert_eq!(world.points(ALICE).await, (149, 149));
    assert_eq!(check(&world.facts().await).broken(), [""; 0]);
}

/// Cash: nothing to give back before the receipt; after it a remittance that is confirmed at once, no gateway is asked.
pub async fn cash_goes_back_by_hand(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let mut unit = world.placing(ALICE, &world.phones(1).await);
    unit.order.pay_type = PayType::CashOnDelivery;
    let unpaid = unit.order.order_sn.clone();
    world.one(unit).await;
    world.resolve(Resolution::Deduct, &unpaid).await;
    let part = refunding_part(&unpaid, "a", Money(1));
    assert_eq!(world.one(part).await, OrderRefund::TooMuch { refundable: Money::ZERO });
    assert_eq!(world.one(refunding(&unpaid)).await, OrderRefund::Given(None));
    assert_eq!((world.status(&unpaid).await, world.stock(PHONE).await), (OrderStatus::Closed, (10, 0)));

    let paid = world.shipped_for_cash(BOB, 1).await;
    assert_eq!(world.one(super::values::receiving(&paid)).await, [OrderReceive::Received]);
    match world.one(refunding_part(&paid, "a", Money(500))).await {
        OrderRefund::Given(Some(refund)) => {
            assert_eq!((refund.channel, refund.confirmed_at), (RefundChannel::Remittance, Some(world.now())));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.store.pending_refunds(10).await, Ok(Vec::new()));
    world.assert_sound().await;
}

/// A unit of a flash sale goes to ordinary stock when its order is refunded, whether the sale still runs or is over; the
/// sale has sold it.
pub async fn a_winners_unit_goes_to_ordinary_stock(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(3, 1).await;
    let won = world.won(sale, &[ALICE, BOB]).await;
    for order_sn in &won {
        let receipt = world.receipt(order_sn).await;
        assert_eq!(world.one(payment(receipt)).await, PaymentTaken::Applied);
    }
    world.resolve(Resolution::Deduct, &won[0]).await;
    assert_eq!(world.stock(PHONE).await, (9, 2));
    for order_sn in &won {
        assert!(matches!(world.one(refunding(order_sn)).await, OrderRefund::Given(Some(_))));
        assert_eq!(world.locks(order_sn).await, [(LockState::Returned, 1)]);
        world.assert_sound().await;
    }
    assert_eq!(world.stock(PHONE).await, (10, 1), "one unit is left to the sale");
    let sold = world.sale(sale.0).await;
    assert_eq!((sold.granted, sold.released), (2, 0));
    assert_eq!(check(&world.facts().await).broken(), [""; 0]);
}

/// Money that comes again after a refund is late money: it goes back on its own.
pub async fn late_money_after_a_refund_goes_back_on_its_own(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.paid(ALICE, 1).await;
    let again = Receipt { trade_no: trade_no("again"), ..world.receipt(&order_sn).await };
    let committed = world.commit(vec![refunding(&order_sn).into(), payment(again).into()]).await;
    assert_eq!(outcome::<TakePayment>(&committed, 1), PaymentTaken::Refunding);
    assert_eq!(refunds(&world, &order_sn).await.len(), 2);
    world.assert_sound().await;
    for refund in refunds(&world, &order_sn).await {
        assert!(world.one(SettleRefund { request_no: refund.request_no }).await.is_some());
    }
    let payments = world.store.payments_of(&order_sn).await.expect("payments are readable");
    let states: Vec<_> = payments.iter().map(|payment| payment.state).collect();
    assert_eq!(states, [PaymentState::Applied, PaymentState::Refunded]);
    world.assert_sound().await;
}
