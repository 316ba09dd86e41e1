//! What two nodes do to the same paid orders at the same time. Every test ends with all invariants.

use actors::domain::invariants::check;
use actors::domain::order::OrderStatus;
use actors::domain::returns::{ReturnCommand, ReturnState};
use actors::domain::stock::{LockState, Resolution};
use actors::domain::{Money, OrderSn};
use actors::ports::contract::store::values::{
    credit, handling, receiving, refunding, refunding_part, returning, shipping,
};
use actors::ports::contract::store::world::{ALICE, BOB, CASE, NORTH, PHONE, PRICE, World, line};
use actors::ports::store::units::{
    AddPoints, OrderReceive, OrderRefund, OrderShip, ResolveLocks, ReturnHandling, ReturnRequest,
};
use futures_util::future::{join, join_all};

use super::nodes::{Node, two_nodes};

const ORDERS: usize = 30;

async fn stocked() -> (World, [Node; 2]) {
    let (world, nodes) = two_nodes().await;
    world.fixture.add_stock(PHONE, NORTH, 1000).await;
    world.fixture.add_stock(CASE, NORTH, 1000).await;
    (world, nodes)
}

async fn assert_at_rest(world: &World) {
    assert_eq!(check(&world.facts().await).broken(), [""; 0]);
}

async fn deduct(node: &Node, order_sns: &[OrderSn]) {
    for sku_id in [PHONE, CASE] {
        let order_sns = order_sns.to_vec();
        node.commit(ResolveLocks { sku_id, way: Resolution::Deduct, order_sns, lapsed_only: false }).await;
    }
}

fn crediting(order_sn: &OrderSn, units: i64) -> AddPoints {
    AddPoints { credits: vec![credit(order_sn, ALICE, units * PRICE.whole_yuan())] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_either_shipped_or_refunded() {
    let (world, nodes) = stocked().await;
    let mut orders = Vec::new();
    for _ in 0..ORDERS {
        orders.push(world.paid(ALICE, 2).await);
    }
    // The deduction and the credit of each are under way as well.
    let race = |n: usize, order_sn: &OrderSn| {
        let (here, there) = (&nodes[n % 2], &nodes[(n + 1) % 2]);
        let order_sn = order_sn.clone();
        async move {
            let settled = join(deduct(there, std::slice::from_ref(&order_sn)), here.commit(crediting(&order_sn, 2)));
            let decided = join(here.commit(shipping(&order_sn)), there.commit(refunding(&order_sn)));
            join(decided, settled).await.0
        }
    };
    let answers = join_all(orders.iter().enumerate().map(|(n, order_sn)| race(n, order_sn))).await;
    for (order_sn, answer) in orders.iter().zip(answers) {
        match (world.status(order_sn).await, answer) {
            (OrderStatus::Shipped, (OrderShip::Shipped, OrderRefund::WrongState(OrderStatus::Shipped))) => {
                assert_eq!(world.locks(order_sn).await, [(LockState::Deducted, 2)]);
            }
            (OrderStatus::Closed, (OrderShip::WrongState(OrderStatus::Closed), OrderRefund::Given(Some(_)))) => {
                assert_eq!(world.locks(order_sn).await, [(LockState::Returned, 2)]);
            }
            other => panic!("{order_sn}: {other:?}"),
        }
    }
    assert_at_rest(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_given_back_than_was_paid() {
    let (world, nodes) = stocked().await;
    let order_sn = world.completed(ALICE, 2).await;
    // 30 parts of 7 yuan fit into 200 yuan 28 times. Both nodes are asked for each, as when an answer was lost.
    let part = Money(700);
    let ask = |node: usize, n: usize| nodes[node].commit(refunding_part(&order_sn, &format!("part-{n}"), part));
    let answers = join_all((0..30).map(|n| join(ask(0, n), ask(1, n)))).await;
    let mut given = 0;
    for (n, answers) in answers.iter().enumerate() {
        match answers {
            (OrderRefund::Given(Some(one)), OrderRefund::Repeated(other))
            | (OrderRefund::Repeated(one), OrderRefund::Given(Some(other))) => {
                assert_eq!(one, other, "part-{n}");
                given += 1;
            }
            (OrderRefund::TooMuch { .. }, OrderRefund::TooMuch { .. }) => {}
            other => panic!("part-{n}: {other:?}"),
        }
    }
    assert_eq!(given, 2 * PRICE.0 / part.0);
    assert_eq!(world.store.refunds_of(&order_sn).await.expect("refunds are readable").len(), 28);
    assert_at_rest(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_is_asked_for_and_handled_once() {
    let (world, nodes) = stocked().await;
    let order_sn = world.shipped(ALICE, 3).await;
    world.one(crediting(&order_sn, 3)).await;
    for round in 1..=3 {
        let ask = |n: usize| nodes[n].commit(returning(&order_sn, ALICE, 1));
        let mut asked = join_all((0..8).map(|n| ask(n % 2))).await;
        asked.sort_by_key(|answer| matches!(answer, ReturnRequest::Repeated(_)));
        let ReturnRequest::Requested(id) = asked[0] else { panic!("{asked:?}") };
        assert!(asked[1..].iter().all(|answer| *answer == ReturnRequest::Repeated(id)), "{asked:?}");

        // The receipt of the order and a refund of a part come in between.
        let step = |n: usize, command| nodes[n].commit(handling(id, command));
        join(step(0, ReturnCommand::Approve), step(1, ReturnCommand::Approve)).await;
        let handled = join(step(0, ReturnCommand::Receive), step(1, ReturnCommand::Receive));
        let part = refunding_part(&order_sn, &format!("part-{round}"), Money(150));
        let between = join(nodes[0].commit(part), nodes[1].commit(receiving(&order_sn)));
        let ((here, there), (_, received)) = join(handled, between).await;
        let done = [&here, &there]
            .into_iter()
            .filter(|answer| matches!(answer, ReturnHandling::Handled { refund: Some(_), .. }));
        assert_eq!(done.count(), 1, "{here:?} {there:?}");
        assert!([&here, &there].contains(&&ReturnHandling::WrongState(ReturnState::Done)), "{here:?} {there:?}");
        let expected =
            if round == 1 { OrderReceive::Received } else { OrderReceive::WrongState(OrderStatus::Completed) };
        assert_eq!(received, [expected]);
    }
    assert_eq!(world.stock(PHONE).await, (1000, 0));
    assert_at_rest(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cash_is_taken_once() {
    let (world, nodes) = stocked().await;
    let mut orders = Vec::new();
    for _ in 0..ORDERS {
        orders.push(world.shipped_for_cash(BOB, 1).await);
    }
    let race =
        orders.iter().map(|order_sn| join(nodes[0].commit(receiving(order_sn)), nodes[1].commit(receiving(order_sn))));
    for (order_sn, (here, there)) in orders.iter().zip(join_all(race).await) {
        let received = here.iter().chain(&there).filter(|answer| **answer == OrderReceive::Received).count();
        assert_eq!(received, 1, "{order_sn}: {here:?} {there:?}");
        assert_eq!(world.store.payments_of(order_sn).await.expect("payments are readable").len(), 1);
    }
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_over_the_same_rows_in_crossed_order_all_go_through() {
    let (world, nodes) = stocked().await;
    let (phone, case) = (world.row(PHONE).await, world.row(CASE).await);
    let mut orders = Vec::new();
    for n in 0..ORDERS {
        let mut lines = vec![line(&phone, 1), line(&case, 1)];
        if n % 2 == 1 {
            lines.reverse();
        }
        let unit = world.placing(if n % 3 == 0 { ALICE } else { BOB }, &lines);
        let order_sn = unit.order.order_sn.clone();
        world.one(unit).await;
        world.pay(&order_sn).await;
        orders.push(order_sn);
    }
    let race = |n: usize| {
        let (here, there) = (&nodes[n % 2], &nodes[(n + 1) % 2]);
        let (refunded, behind) = (&orders[n], &orders[n..]);
        let placed = world.placing(ALICE, &[line(&case, 1), line(&phone, 1)]);
        async move {
            let others = join(deduct(there, behind), there.commit(placed));
            join(here.commit(refunding(refunded)), others).await.0
        }
    };
    let answers = join_all((0..orders.len()).map(race)).await;
    assert!(answers.iter().all(|answer| matches!(answer, OrderRefund::Given(Some(_)))), "{answers:?}");
    for order_sn in &orders {
        let locks = world.locks(order_sn).await;
        assert!(locks.iter().all(|(state, _)| *state == LockState::Returned), "{order_sn}: {locks:?}");
    }
    let sold = i64::try_from(orders.len()).expect("small");
    assert_eq!(world.stock(PHONE).await, (1000, sold), "only the new orders hold units");
    world.assert_sound().await;
}
