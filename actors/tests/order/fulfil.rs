//! Shipping, receipt, refunds and returns.

use std::time::Duration;

use actors::domain::order::{Operator, OrderStatus, PayType};
use actors::domain::payment::{PaymentState, Refund, RefundChannel};
use actors::domain::reject::{Failure, Reject, Unavailable};
use actors::domain::returns::{ReturnCommand, ReturnState};
use actors::domain::stock::LockState;
use actors::domain::{Money, OrderSn, SkuId};
use actors::order::{NotifyAnswer, RefundWish};
use actors::ports::store::{FulfilmentReads, MemberReads, OrderReads, StockReads};
use futures_util::future::join_all;

use crate::house::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn refunds(house: &House, order_sn: &OrderSn) -> Vec<Refund> {
    house.memory.refunds_of(order_sn).await.unwrap()
}

/// Spendable points that Alice earned.
async fn earned(house: &House) -> i64 {
    house.memory.member(ALICE).await.unwrap().unwrap().integration - 1000
}

fn part(fen: i64, reference: &str) -> RefundWish {
    RefundWish::Part { amount: Money(fen), reference: reference.into() }
}

/// Asks back, approves and takes the goods.
async fn give_back(house: &House, order_sn: &OrderSn, sku_id: SkuId, quantity: u32, restock: bool) {
    let (row, is_new) = house.orders.request_return(ALICE, order_sn, wish(sku_id, quantity), None).await.unwrap();
    assert!(is_new);
    house.orders.handle_return(row.id, ReturnCommand::Approve, false, "send it".into()).await.unwrap();
    let row = house.orders.handle_return(row.id, ReturnCommand::Receive, restock, "here".into()).await.unwrap();
    assert_eq!((row.state, row.restocked), (ReturnState::Done, restock));
}

fn wrong_state(status: OrderStatus) -> Failure {
    Reject::WrongState(status).into()
}

#[actix::test]
async fn an_order_goes_all_the_way() {
    let house = House::open(&[6, 4]).await;
    let order_sn = house.paid(ALICE, &[(PHONE, 2), (CASE, 1)]).await;
    house.orders.ship(&order_sn, shipment()).await.unwrap();
    let order = house.order(&order_sn).await;
    assert_eq!((order.status, order.delivery_sn.as_deref()), (OrderStatus::Shipped, Some("SF1")));
    assert_eq!(order.auto_receive_at(), Some(house.now().plus(7 * DAY)));
    house.orders.receive(ALICE, &order_sn, None).await.unwrap();
    assert_eq!(house.status(&order_sn).await, OrderStatus::Completed);
    let steps: Vec<_> =
        house.memory.order_history(&order_sn).await.unwrap().iter().map(|row| (row.operator, row.status)).collect();
    assert_eq!(
        steps,
        [
            (Operator::System, OrderStatus::AwaitingShipment),
            (Operator::Admin, OrderStatus::Shipped),
            (Operator::User, OrderStatus::Completed),
        ]
    );
    house.assert_at_rest().await;
}

#[actix::test]
async fn every_step_is_refused_out_of_its_turn() {
    let house = House::open(&[20]).await;
    let unpaid = house.placed(ALICE, &[(PHONE, 1)]).await.order_sn;
    let closed = house.placed(ALICE, &[(PHONE, 1)]).await.order_sn;
    house.orders.cancel(ALICE, &closed, None).await.unwrap();
    let paid = house.paid(ALICE, &[(PHONE, 1)]).await;
    let shipped = house.shipped(ALICE, &[(PHONE, 1)]).await;
    let done = house.completed(ALICE, &[(PHONE, 1)]).await;
    let orders = &house.orders;
    for order_sn in [&unpaid, &closed, &paid, &shipped, &done] {
        let status = house.status(order_sn).await;
        let refused = Err(wrong_state(status));
        if status != OrderStatus::AwaitingShipment {
            assert_eq!(orders.ship(order_sn, shipment()).await, refused);
            assert_eq!(orders.refund_order(order_sn, RefundWish::Whole, "x".into()).await, Err(wrong_state(status)));
        }
        if status != OrderStatus::Shipped {
            assert_eq!(orders.receive(ALICE, order_sn, None).await, refused);
        }
        if status != OrderStatus::AwaitingPayment {
            assert_eq!(orders.close_by_staff(order_sn, "x").await, refused);
        }
        if !matches!(status, OrderStatus::Shipped | OrderStatus::Completed) {
            let asked = orders.request_return(ALICE, order_sn, wish(PHONE, 1), None).await;
            assert_eq!(asked, Err(wrong_state(status)));
        }
        if !status.is_paid() {
            assert_eq!(orders.refund_order(order_sn, part(1, "a"), "x".into()).await, Err(wrong_state(status)));
        }
    }
    let nobody = Err(Failure::Rejected(Reject::UnknownOrder));
    assert_eq!(orders.receive(BOB, &shipped, None).await, nobody);
    assert_eq!(orders.request_return(BOB, &done, wish(PHONE, 1), None).await, Err(Reject::UnknownOrder.into()));
    let absent = OrderSn::parse("20260101000000000000000000000000").unwrap();
    assert_eq!(orders.ship(&absent, shipment()).await, nobody);
    assert_eq!(orders.close_by_staff(&absent, "x").await, nobody);
    orders.close_by_staff(&unpaid, "out of sale").await.unwrap();
    let told = house.memory.order_history(&unpaid).await.unwrap().pop().unwrap();
    assert_eq!((told.operator, told.note.as_str()), (Operator::Admin, "out of sale"));
    house.deliver().await;
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_forgotten_parcel_is_received_by_time() {
    let house = House::open(&[6]).await;
    let order_sn = house.shipped(ALICE, &[(PHONE, 1)]).await;
    house.pass(7 * DAY - Duration::from_secs(32));
    house.sweep_and_deliver().await;
    assert_eq!(house.status(&order_sn).await, OrderStatus::Shipped);
    house.sweep_and_deliver().await;
    assert_eq!(house.status(&order_sn).await, OrderStatus::Completed);
    let told = house.memory.order_history(&order_sn).await.unwrap().pop().unwrap();
    assert_eq!(told.operator, Operator::System);
    house.assert_at_rest().await;
}

#[actix::test]
async fn cash_is_paid_at_the_door() {
    let house = House::open(&[6]).await;
    let mut mine = request(house.token(ALICE).await, &[(PHONE, 2)]);
    mine.pay_type = PayType::CashOnDelivery;
    let order_sn = house.place(ALICE, mine).await.order_sn;
    house.deliver().await;
    house.orders.ship(&order_sn, shipment()).await.unwrap();
    let early = house.orders.request_return(ALICE, &order_sn, wish(PHONE, 1), None).await;
    assert_eq!(early, Err(wrong_state(OrderStatus::Shipped)));
    assert_eq!(earned(&house).await, 0);
    house.orders.receive(ALICE, &order_sn, None).await.unwrap();
    house.deliver().await;
    assert_eq!(earned(&house).await, 20_000);
    give_back(&house, &order_sn, PHONE, 1, true).await;
    assert_eq!(earned(&house).await, 10_000);
    let row = refunds(&house, &order_sn).await.remove(0);
    assert_eq!((row.amount, row.channel, row.confirmed_at.is_some()), (PRICE, RefundChannel::Remittance, true));
    assert_eq!(house.gateway.all_calls(), 0, "no gateway has anything to do with cash");
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_refund_before_shipment_undoes_the_sale() {
    let house = House::open(&[6, 4]).await;
    let order_sn = house.paid(ALICE, &[(PHONE, 7), (CASE, 1)]).await;
    assert_eq!((house.units(PHONE).await, earned(&house).await), ((3, 0), 80_000));
    let refund = house.orders.refund_order(&order_sn, RefundWish::Whole, "asked".into()).await.unwrap();
    assert_eq!(refund.map(|refund| refund.amount), Some(Money(8 * PRICE.0)));
    assert_eq!(house.status(&order_sn).await, OrderStatus::Closed);
    assert_eq!((house.units(PHONE).await, house.units(CASE).await, earned(&house).await), ((10, 0), (3, 0), 0));
    assert!(refunds(&house, &order_sn).await[0].confirmed_at.is_some(), "the gateway answered at once");
    house.assert_at_rest().await;
    // What came back is for sale again.
    house.placed(BOB, &[(PHONE, 10)]).await;
}

#[actix::test]
async fn a_refund_overtakes_the_messages_of_its_payment() {
    let house = House::open(&[6, 4]).await;
    let order_sn = house.placed(ALICE, &[(PHONE, 7)]).await.order_sn;
    assert_eq!(house.pay(&order_sn).await, NotifyAnswer::Success);
    house.orders.refund_order(&order_sn, RefundWish::Whole, "asked".into()).await.unwrap();
    assert_eq!(house.units(PHONE).await, (10, 0));
    house.deliver_times(2).await;
    assert_eq!((house.units(PHONE).await, earned(&house).await), ((10, 0), 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_slow_gateway_is_asked_until_it_confirms() {
    let house = House::open(&[6]).await;
    let order_sn = house.paid(ALICE, &[(PHONE, 1)]).await;
    house.gateway.set_down(true);
    house.orders.refund_order(&order_sn, RefundWish::Whole, "asked".into()).await.unwrap();
    assert_eq!(house.status(&order_sn).await, OrderStatus::Closed);
    house.sweep_and_deliver().await;
    assert_eq!(refunds(&house, &order_sn).await[0].confirmed_at, None);
    house.gateway.set_down(false);
    house.gateway.set_refunds_slow(true);
    house.sweep_and_deliver().await;
    assert_eq!(refunds(&house, &order_sn).await[0].confirmed_at, None);
    house.gateway.finish_refunds();
    house.sweep_and_deliver().await;
    assert_eq!(refunds(&house, &order_sn).await[0].confirmed_at, Some(house.now()));
    assert_eq!(house.gateway.refunds().len(), 1, "one request number");
    house.assert_at_rest().await;
}

#[actix::test]
async fn parts_are_named_by_their_reference() {
    let house = House::open(&[6]).await;
    let order_sn = house.completed(ALICE, &[(PHONE, 1)]).await;
    let orders = &house.orders;
    let first = orders.refund_order(&order_sn, part(2_500, "scratch"), "x".into()).await.unwrap().unwrap();
    let again = orders.refund_order(&order_sn, part(2_500, "scratch"), "x".into()).await.unwrap().unwrap();
    assert_eq!(first.request_no, again.request_no);
    let other = orders.refund_order(&order_sn, part(2_501, "scratch"), "x".into()).await;
    assert_eq!(other, Err(Reject::ReferenceUsed(Money(2_500)).into()));
    let more = orders.refund_order(&order_sn, part(PRICE.0, "rest"), "x".into()).await;
    assert_eq!(more, Err(Reject::RefundTooLarge { refundable: Money(PRICE.0 - 2_500) }.into()));
    orders.refund_order(&order_sn, part(PRICE.0 - 2_500, "rest"), "x".into()).await.unwrap();
    let back: Vec<i64> = house.gateway.refunds().iter().map(|(_, amount)| amount.0).collect();
    assert_eq!(back.iter().sum::<i64>(), PRICE.0);
    assert_eq!((house.status(&order_sn).await, earned(&house).await), (OrderStatus::Completed, 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn goods_come_back_piece_by_piece() {
    let house = House::open(&[6, 4]).await;
    let order_sn = house.completed(ALICE, &[(PHONE, 7), (CASE, 1)]).await;
    give_back(&house, &order_sn, PHONE, 5, true).await;
    assert_eq!((house.units(PHONE).await, earned(&house).await), ((8, 0), 30_000));
    give_back(&house, &order_sn, CASE, 1, false).await;
    assert_eq!(house.units(CASE).await, (2, 0), "a broken case stays off the shelf");
    let too_many = house.orders.request_return(ALICE, &order_sn, wish(PHONE, 3), None).await;
    assert_eq!(too_many, Err(Reject::TooManyReturned { returnable: 2 }.into()));
    give_back(&house, &order_sn, PHONE, 2, true).await;
    assert_eq!((house.units(PHONE).await, earned(&house).await), ((10, 0), 0));
    assert_eq!(house.status(&order_sn).await, OrderStatus::Completed);
    let amounts: Vec<i64> = refunds(&house, &order_sn).await.iter().map(|refund| refund.amount.0 / PRICE.0).collect();
    assert_eq!(amounts.iter().sum::<i64>(), 8);
    assert!(refunds(&house, &order_sn).await.iter().all(|refund| refund.confirmed_at.is_some()));
    let locks = house.memory.locks_of(std::slice::from_ref(&order_sn)).await.unwrap();
    assert!(locks.iter().all(|lock| lock.state == LockState::Deducted), "{locks:?}");
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_return_is_asked_for_in_time() {
    let house = House::open(&[6]).await;
    let order_sn = house.completed(ALICE, &[(PHONE, 1)]).await;
    let unknown = house.orders.request_return(ALICE, &order_sn, wish(CASE, 1), None).await;
    assert_eq!(unknown, Err(Reject::NotInOrder(CASE).into()));
    house.pass(15 * DAY + Duration::from_millis(1));
    let late = house.orders.request_return(ALICE, &order_sn, wish(PHONE, 1), None).await;
    assert_eq!(late, Err(Reject::ReturnTooLate.into()));
}

#[actix::test]
async fn a_return_is_handled_in_its_order() {
    let house = House::open(&[6]).await;
    let order_sn = house.completed(ALICE, &[(PHONE, 2)]).await;
    let (row, _) = house.orders.request_return(ALICE, &order_sn, wish(PHONE, 1), None).await.unwrap();
    let (same, is_new) = house.orders.request_return(ALICE, &order_sn, wish(PHONE, 1), None).await.unwrap();
    assert_eq!((same.id, is_new), (row.id, false));
    let other = house.orders.request_return(ALICE, &order_sn, wish(PHONE, 2), None).await;
    assert_eq!(other, Err(Reject::ReturnOpen(row.id).into()));
    let step = async |command| house.orders.handle_return(row.id, command, false, String::new()).await;
    let refused = |state| Err(Failure::Rejected(Reject::WrongReturnState(state)));
    assert_eq!(step(ReturnCommand::Receive).await, refused(ReturnState::Pending));
    assert_eq!(step(ReturnCommand::Reject).await.unwrap().state, ReturnState::Rejected);
    for command in [ReturnCommand::Approve, ReturnCommand::Reject, ReturnCommand::Receive] {
        assert_eq!(step(command).await, refused(ReturnState::Rejected));
    }
    let absent = house.orders.handle_return(row.id + 1, ReturnCommand::Approve, false, String::new()).await;
    assert_eq!(absent, Err(Reject::UnknownReturn.into()));
    assert!(refunds(&house, &order_sn).await.is_empty());
}

#[actix::test]
async fn restocking_waits_for_the_books() {
    let house = House::open(&[6]).await;
    let order_sn = house.placed(ALICE, &[(PHONE, 1)]).await.order_sn;
    house.pay(&order_sn).await;
    house.orders.ship(&order_sn, shipment()).await.unwrap();
    let (row, _) = house.orders.request_return(ALICE, &order_sn, wish(PHONE, 1), None).await.unwrap();
    house.orders.handle_return(row.id, ReturnCommand::Approve, false, String::new()).await.unwrap();
    let early = house.orders.handle_return(row.id, ReturnCommand::Receive, true, String::new()).await;
    assert!(matches!(early, Err(Failure::Unavailable(Unavailable::Dependency(_)))), "{early:?}");
    house.deliver().await;
    house.orders.handle_return(row.id, ReturnCommand::Receive, true, String::new()).await.unwrap();
    assert_eq!((house.units(PHONE).await, earned(&house).await), ((6, 0), 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_winners_order_follows_the_same_cycle() {
    let house = House::open(&[6, 4]).await;
    let sale_id = house.sale(3).await;
    let (kept, refunded) = (house.win(sale_id, ALICE).await, house.win(sale_id, BOB).await);
    house.deliver().await;
    for (user, order_sn) in [(ALICE, &kept), (BOB, &refunded)] {
        house.orders.issue_pay_page(user, order_sn, None).await.unwrap();
        assert_eq!(house.pay(order_sn).await, NotifyAnswer::Success);
    }
    house.deliver().await;
    assert_eq!(house.units(PHONE).await, (8, 1));
    house.orders.refund_order(&refunded, RefundWish::Whole, "asked".into()).await.unwrap();
    assert_eq!(house.units(PHONE).await, (9, 1), "to ordinary stock, the sale keeps its one");
    house.orders.ship(&kept, shipment()).await.unwrap();
    house.orders.receive(ALICE, &kept, None).await.unwrap();
    house.flash.end(sale_id).await.unwrap();
    give_back(&house, &kept, PHONE, 1, true).await;
    assert_eq!(house.units(PHONE).await, (10, 0));
    let sale = house.stored_sale(sale_id).await;
    assert_eq!((sale.granted, sale.released), (2, 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn shipping_and_refunding_at_once_one_wins() {
    for seed in 0..20 {
        let house = House::open_seeded(&[6], seed).await;
        let order_sn = house.paid(ALICE, &[(PHONE, 1)]).await;
        let (shipped, refunded) = tokio::join!(
            house.orders.ship(&order_sn, shipment()),
            house.orders.refund_order(&order_sn, RefundWish::Whole, "asked".into()),
        );
        assert!(shipped.is_ok() != refunded.is_ok(), "{shipped:?} {refunded:?}");
        house.assert_at_rest().await;
    }
}

#[actix::test]
async fn many_refunds_at_once_never_exceed_the_payment() {
    let house = House::open(&[6]).await;
    let order_sn = house.completed(ALICE, &[(PHONE, 1)]).await;
    let asked = (0..10).map(|number| {
        let wish = part(PRICE.0 / 4, &format!("r{number}"));
        house.orders.refund_order(&order_sn, wish, "x".into())
    });
    let given = join_all(asked).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(given, 4);
    let back: i64 = house.gateway.refunds().iter().map(|(_, amount)| amount.0).sum();
    assert_eq!(back, PRICE.0);
    let payments = house.memory.payments_of(&order_sn).await.unwrap();
    assert_eq!(payments.iter().map(|payment| payment.state).collect::<Vec<_>>(), [PaymentState::Applied]);
    house.assert_at_rest().await;
}
