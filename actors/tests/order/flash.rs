//! The orders of winners.

use std::time::Duration;

use actors::domain::events::{RoutingKey, SecKill};
use actors::domain::flash_sale::{GrantState, SaleState};
use actors::domain::order::{OrderStatus, Receiver};
use actors::domain::{OrderSn, SaleId};
use actors::flash_sale::{Attempt, AttemptStatus};
use actors::order::NotifyAnswer;
use actors::ports::coordination::Coordination;
use actors::ports::store::units::EndSale;
use actors::ports::store::{FlashSaleReads, MessageReads, StockReads};
use actors::protocol::bridge::{EffectBatch, Handled};
use futures_util::FutureExt;

use crate::house::*;

const DUE: Duration = Duration::from_secs(6 * 60);

async fn grant_state(house: &House, order_sn: &OrderSn) -> GrantState {
    house.memory.grants(std::slice::from_ref(order_sn)).await.unwrap()[0].state
}

fn won(house_user: actors::domain::UserId, order_sn: &OrderSn, sale_id: SaleId) -> SecKill {
    SecKill { order_token: order_sn.clone(), sku_id: PHONE, num: 1, user_id: house_user, sale_id }
}

#[actix::test]
async fn a_winners_order_is_made_from_the_message_once() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(3).await;
    let order_sn = house.win(sale_id, ALICE).await;
    house.deliver_times(3).await;
    let order = house.order(&order_sn).await;
    assert_eq!((order.user_id, order.username.as_str(), order.sale_id), (ALICE, "user1", Some(sale_id)));
    assert_eq!((order.pay_amount, order.items[0].price, order.items[0].quantity), (SALE_PRICE, SALE_PRICE, 1));
    assert_eq!(order.receiver.name, "home", "the default address");
    assert_eq!(order.pay_before, Some(START.plus(FLASH_TIMEOUT)));
    assert_eq!(order.pay_page_issued_at, None);
    let locks = house.memory.locks_of(&[order_sn]).await.unwrap();
    assert_eq!(locks.len(), 1);
    assert_eq!(house.units(PHONE).await, (5, 3));
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_winner_without_an_address_gets_an_order_without_receiver() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(3).await;
    let order_sn = house.win(sale_id, CAROL).await;
    house.deliver().await;
    assert_eq!(house.order(&order_sn).await.receiver, Receiver::default());
}

#[actix::test]
async fn a_lost_message_is_swept() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(3).await;
    let order_sn = house.win(sale_id, ALICE).await;
    assert_eq!(house.lose_messages().await, [RoutingKey::SecKill]);
    house.sweep.step().await;
    assert!(house.orders.issue_pay_page(ALICE, &order_sn, None).await.is_err(), "too young to be swept");
    house.sweep_and_deliver().await;
    assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingPayment);
    house.assert_at_rest().await;
}

#[actix::test]
async fn message_and_sweep_at_once_make_one_order() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(3).await;
    let order_sn = house.win(sale_id, ALICE).await;
    let item = won(ALICE, &order_sn, sale_id);
    house.pass(Duration::from_secs(31));
    let (first, second, _) = futures_util::join!(
        house.apply(EffectBatch::SecKill(vec![item.clone(), item.clone()])),
        house.apply(EffectBatch::SecKill(vec![item])),
        house.sweep.step(),
    );
    assert_eq!((first, second), (vec![Handled::Done; 2], vec![Handled::Done]));
    house.deliver_times(2).await;
    assert_eq!(house.memory.sale_counts(sale_id).await.unwrap().ordered, 1);
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_message_about_no_grant_is_parked() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(3).await;
    let order_sn = house.win(sale_id, ALICE).await;
    let nobodys = OrderSn::parse("nobody").unwrap();
    let items = vec![won(ALICE, &nobodys, sale_id), won(ALICE, &order_sn, sale_id)];
    let answers = house.apply(EffectBatch::SecKill(items)).await;
    assert!(matches!(answers[..], [Handled::Poison(_), Handled::Done]), "{answers:?}");
    assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingPayment, "the other is made");
    assert!(house.memory.parked(10).await.unwrap().is_empty(), "only a delivery is parked");
}

#[actix::test]
async fn a_forged_message_makes_no_order_for_another_user() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(3).await;
    let order_sn = house.win(sale_id, ALICE).await;
    house.apply(EffectBatch::SecKill(vec![won(BOB, &order_sn, sale_id)])).await;
    assert_eq!(house.order(&order_sn).await.user_id, ALICE, "the grant says whose it is");
}

#[actix::test]
async fn a_sku_that_is_gone_fails_the_grant_and_the_unit_is_for_sale_again() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(1).await;
    let order_sn = house.win(sale_id, ALICE).await;
    house.memory.remove_sku(PHONE);
    house.deliver_times(2).await;
    assert_eq!(grant_state(&house, &order_sn).await, GrantState::Failed);
    let status = house.flash.wait(ALICE, &order_sn, Duration::ZERO).await.unwrap();
    assert!(matches!(status, AttemptStatus::Failed(_)), "{status:?}");
    assert_eq!(house.stored_sale(sale_id).await.remaining(), 1);
    house.assert_at_rest().await;
    // A failed grant does not count against its user: the same one may win again.
    house.flash.refresh_sale(sale_id).await.unwrap();
    house.memory.add_sku(sku(PHONE));
    let again = house.win_soon(sale_id, ALICE).await;
    house.deliver().await;
    assert_eq!(house.status(&again).await, OrderStatus::AwaitingPayment);
    house.assert_at_rest().await;
}

#[actix::test]
async fn an_unpaid_unit_goes_back_into_the_sale_and_is_sold_again() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(1).await;
    let first = house.win(sale_id, ALICE).await;
    house.deliver().await;
    assert_eq!(house.attempt(sale_id, BOB).await, Attempt::SoldOut);
    house.pass(DUE);
    house.deliver_times(2).await;
    assert_eq!(house.status(&first).await, OrderStatus::Closed);
    assert_eq!(grant_state(&house, &first).await, GrantState::Released);
    assert_eq!((house.stored_sale(sale_id).await.remaining(), house.units(PHONE).await), (1, (5, 1)));
    house.flash.refresh_sale(sale_id).await.unwrap();
    // A lapsed grant still counts against its user.
    let second = house.win_soon(sale_id, BOB).await;
    assert_eq!(house.attempt(sale_id, ALICE).await, Attempt::AlreadyWon(first));
    house.deliver().await;
    assert_eq!(house.pay(&second).await, NotifyAnswer::Success);
    house.deliver_times(2).await;
    assert_eq!(house.units(PHONE).await, (4, 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn an_unpaid_unit_of_an_ended_sale_goes_back_to_stock() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(2).await;
    let order_sn = house.win(sale_id, ALICE).await;
    house.deliver().await;
    house.flash.end(sale_id).await.unwrap();
    assert_eq!(house.units(PHONE).await, (5, 1), "the leftover is back, the winner's unit is kept");
    house.pass(DUE);
    house.deliver_times(2).await;
    assert_eq!(house.status(&order_sn).await, OrderStatus::Closed);
    assert_eq!(house.units(PHONE).await, (5, 0));
    house.placed(BOB, &[(PHONE, 5)]).await;
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_grant_of_an_ended_sale_still_becomes_an_order() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(2).await;
    let order_sn = house.win(sale_id, ALICE).await;
    house.writer.commit(EndSale { sale_id }).await.unwrap();
    assert_eq!(house.units(PHONE).await, (5, 1));
    house.deliver_times(2).await;
    assert_eq!(house.status(&order_sn).await, OrderStatus::AwaitingPayment);
    house.pay(&order_sn).await;
    house.deliver_times(2).await;
    assert_eq!(house.units(PHONE).await, (4, 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn a_failed_grant_of_an_ended_sale_gives_its_unit_to_stock() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(2).await;
    house.win(sale_id, ALICE).await;
    house.writer.commit(EndSale { sale_id }).await.unwrap();
    house.memory.remove_sku(PHONE);
    house.deliver_times(2).await;
    assert_eq!(house.units(PHONE).await, (5, 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn the_sweep_ends_a_sale_past_its_window() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(2).await;
    house.pass(Duration::from_secs(3600));
    house.sweep_and_deliver().await;
    assert_eq!(house.stored_sale(sale_id).await.state, SaleState::Ended);
    assert_eq!(house.units(PHONE).await, (5, 0));
    house.assert_at_rest().await;
}

#[actix::test]
async fn waiters_are_told_by_the_hint() {
    let house = House::open(&[5]).await;
    let sale_id = house.sale(1).await;
    let order_sn = house.win(sale_id, ALICE).await;
    let mut hints = house.coordination.hints();
    // Polls of the latch are an hour apart here: only a hint ends the wait early.
    let (flash, number) = (house.flash.clone(), order_sn.clone());
    let waiting = actix::spawn(async move { flash.wait(ALICE, &number, Duration::from_secs(10)).await });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    house.deliver().await;
    assert_eq!(waiting.await.unwrap(), Ok(AttemptStatus::Ordered));
    assert_eq!(hints.recv().now_or_never(), Some(Ok(order_sn)));
}

#[actix::test]
async fn a_batch_of_winners_becomes_orders_together() {
    let house = House::open(&[50]).await;
    let sale_id = house.sale(40).await;
    for user in (1..=40).map(actors::domain::UserId) {
        house.win(sale_id, user).await;
    }
    house.deliver_times(2).await;
    assert_eq!(house.memory.sale_counts(sale_id).await.unwrap().ordered, 40);
    assert_eq!(house.attempt(sale_id, actors::domain::UserId(50)).await, Attempt::SoldOut);
    house.pass(DUE);
    house.deliver_times(2).await;
    assert_eq!(house.units(PHONE).await, (50, 40), "all units are in the sale again");
    assert_eq!(house.stored_sale(sale_id).await.remaining(), 40);
    house.assert_at_rest().await;
}
