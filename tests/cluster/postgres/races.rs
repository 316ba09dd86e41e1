//! What two nodes do to the same rows at the same time. Every test ends with all invariants.

use actors::domain::order::OrderStatus;
use actors::domain::stock::{LockState, Resolution};
use actors::domain::{OrderSn, UserId};
use actors::ports::contract::store::values::{cancelling, credit, flash_order, foreign, line, payment, request};
use actors::ports::contract::store::world::{ALICE, BOB, CASE, LEASE, NORTH, PHONE, SOUTH, World};
use actors::ports::store::units::{
    AddPoints, CommitGrants, EndSale, FlashOrder, GrantBatch, GrantOutcome, LockResolved, LockStock, MakeFlashOrders,
    OrderClose, PaymentTaken, PlaceOrder, Placement, ResolveLocks, SaleChange, StockLock, StockLocks,
};
use actors::ports::store::{RequestKey, RequestReads, StockReads};
use futures_util::future::{join, join_all};

use super::nodes::two_nodes;

async fn stocked(world: &World, units: i64) {
    for (sku_id, ware_id) in [(PHONE, NORTH), (CASE, NORTH)] {
        world.fixture.add_stock(sku_id, ware_id, units).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_submits_of_one_token_make_one_order() {
    let (world, nodes) = two_nodes().await;
    stocked(&world, 100).await;
    // The nodes draw on different rows, so that nothing but the token keeps them apart.
    let (phone, case) = (world.row(PHONE).await, world.row(CASE).await);
    let submit = |n: usize| PlaceOrder {
        token: "one-token".into(),
        ..world.placing(ALICE, &[line(if n.is_multiple_of(2) { &phone } else { &case }, 1)])
    };
    let answers = join_all((0..50).map(|n| nodes[n % 2].commit(submit(n)))).await;
    let placed = answers.iter().filter(|answer| matches!(answer, Placement::Placed { .. })).count();
    let used: Vec<_> = answers.iter().filter(|answer| matches!(answer, Placement::TokenUsed(_))).collect();
    assert_eq!((placed, used.len()), (1, 49), "{answers:?}");
    assert!(used.windows(2).all(|two| two[0] == two[1]), "all hear of the same order: {used:?}");
    world.assert_sound().await;
}

fn keyed(key: &str, unit: PlaceOrder) -> PlaceOrder {
    PlaceOrder { request: Some(RequestKey { operation: "orders", key: key.into(), digest: "digest".into() }), ..unit }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_submits_under_one_key_make_one_order() {
    let (world, nodes) = two_nodes().await;
    stocked(&world, 100).await;
    let (phone, case) = (world.row(PHONE).await, world.row(CASE).await);
    let submit =
        |n: usize| keyed("k", world.placing(ALICE, &[line(if n.is_multiple_of(2) { &phone } else { &case }, 1)]));
    let answers = join_all((0..50).map(|n| nodes[n % 2].commit(submit(n)))).await;
    let placed = answers.iter().filter(|answer| matches!(answer, Placement::Placed { .. })).count();
    let used: Vec<_> = answers.iter().filter(|answer| matches!(answer, Placement::KeyUsed(_))).collect();
    assert_eq!((placed, used.len()), (1, 49), "{answers:?}");
    assert!(used.windows(2).all(|two| two[0] == two[1]), "all hear of the same order: {used:?}");
    assert_eq!(world.stock(PHONE).await.1 + world.stock(CASE).await.1, 1);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_token_was_used_elsewhere_stays_free() {
    let (world, nodes) = two_nodes().await;
    stocked(&world, 100).await;
    let (phone, case) = (world.row(PHONE).await, world.row(CASE).await);
    let submit = |n: usize| {
        let order = world.placing(ALICE, &[line(if n.is_multiple_of(2) { &phone } else { &case }, 1)]);
        keyed(&format!("k{n}"), PlaceOrder { token: format!("token-{}", n / 2), ..order })
    };
    let answers = join_all((0..40).map(|n| nodes[n % 2].commit(submit(n)))).await;
    for (n, answer) in answers.iter().enumerate() {
        let kept = nodes[0].store.kept_request(ALICE, "orders", &format!("k{n}")).await.expect("readable");
        assert_eq!(kept.is_some(), matches!(answer, Placement::Placed { .. }), "k{n}: {answer:?}");
    }
    let placed = answers.iter().filter(|answer| matches!(answer, Placement::Placed { .. })).count();
    assert_eq!(placed, 20, "{answers:?}");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_over_the_same_rows_in_crossed_order_all_go_through() {
    let (world, nodes) = two_nodes().await;
    stocked(&world, 200).await;
    world.fixture.add_stock(PHONE, SOUTH, 200).await;
    let phones = nodes[0].store.stock_rows(PHONE).await.expect("readable");
    let case = world.row(CASE).await;
    let order = |n: usize| {
        let mut lines = vec![line(&phones[0], 1), line(&case, 1), line(&phones[1], 1)];
        if n % 2 == 1 {
            lines.reverse();
        }
        world.placing(UserId(i64::try_from(n).expect("small")), &lines)
    };
    let answers = join_all((0..200).map(|n| nodes[n % 2].commit(order(n)))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Placement::Placed { .. })), "{answers:?}");
    assert_eq!(world.stock(CASE).await, (200, 200));
    let more = join(nodes[0].commit(order(200)), nodes[1].commit(order(201))).await;
    assert!(matches!(more, (Placement::Stale(_), Placement::Stale(_))), "not one unit is left: {more:?}");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_either_paid_or_closed() {
    let (world, nodes) = two_nodes().await;
    stocked(&world, 100).await;
    let mut orders = Vec::new();
    for n in 0..40 {
        orders.push(world.placed(UserId(1 + n % 2), 1).await);
    }
    let mut receipts = Vec::new();
    for order_sn in &orders {
        receipts.push(world.receipt(order_sn).await);
    }
    let race = |n: usize| {
        let (pays, closes) = (&nodes[n % 2], &nodes[(n + 1) % 2]);
        let (order_sn, receipt) = (&orders[n], receipts[n].clone());
        async move { join(pays.commit(payment(receipt)), closes.commit(cancelling(order_sn))).await }
    };
    let answers = join_all((0..orders.len()).map(race)).await;
    for (order_sn, (paid, closed)) in orders.iter().zip(&answers) {
        match world.status(order_sn).await {
            OrderStatus::Closed => {
                assert_eq!((paid, &closed[..]), (&PaymentTaken::Refunding, &[OrderClose::Closed][..]))
            }
            OrderStatus::AwaitingShipment => assert_eq!(
                (paid, &closed[..]),
                (&PaymentTaken::Applied, &[OrderClose::WrongState(OrderStatus::AwaitingShipment)][..])
            ),
            other => panic!("{order_sn} is {other:?}"),
        }
    }
    settle_both_ways(&world, &nodes, &orders).await;
    let credit_twice = orders.iter().map(|order_sn| {
        let unit = || AddPoints { credits: vec![credit(order_sn, ALICE, 7), credit(order_sn, BOB, 7)] };
        join(nodes[0].commit(unit()), nodes[1].commit(unit()))
    });
    for (order_sn, (here, there)) in orders.iter().zip(join_all(credit_twice).await) {
        let credited = here.iter().chain(&there).filter(|now| **now).count();
        let earned = world.status(order_sn).await == OrderStatus::AwaitingShipment;
        assert_eq!(credited, usize::from(earned), "{order_sn}: {here:?} {there:?}");
    }
}

/// Both nodes ask for both resolutions of every order: the status decides which happens, once.
async fn settle_both_ways(world: &World, nodes: &[super::nodes::Node; 2], orders: &[OrderSn]) {
    let resolve = |n: usize, way| {
        let unit = ResolveLocks { sku_id: PHONE, way, order_sns: orders.to_vec(), lapsed_only: false };
        nodes[n].commit(unit)
    };
    let (one, two) = join(
        join(resolve(0, Resolution::Deduct), resolve(1, Resolution::Release)),
        join(resolve(1, Resolution::Deduct), resolve(0, Resolution::Release)),
    )
    .await;
    for (n, order_sn) in orders.iter().enumerate() {
        let answers = [&one.0[n], &one.1[n], &two.0[n], &two.1[n]];
        let now = answers.iter().filter(|answer| matches!(answer, LockResolved::Now(1))).count();
        assert_eq!(now, 1, "{order_sn}: {answers:?}");
        let wanted = match world.status(order_sn).await {
            OrderStatus::Closed => LockState::Released,
            _ => LockState::Deducted,
        };
        assert_eq!(world.locks(order_sn).await, [(wanted, 1)]);
    }
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_lock_is_unlocked_or_deducted() {
    let (world, nodes) = two_nodes().await;
    stocked(&world, 60).await;
    let row = world.row(PHONE).await;
    let owners: Vec<OrderSn> = (0..60).map(|n| foreign(&format!("other-{n}"))).collect();
    // Both nodes are asked for each lock, as when an answer was lost.
    let lock = |n: usize, owner: &OrderSn| {
        let unit = LockStock { requests: vec![request(owner, &[line(&row, 1)])], lease: LEASE };
        nodes[n].commit(unit)
    };
    let answers = join_all(owners.iter().map(|owner| join(lock(0, owner), lock(1, owner)))).await;
    for (owner, answers) in owners.iter().zip(answers) {
        let mut answers = [answers.0, answers.1].map(|answer| match answer {
            StockLocks::Done(locks) => locks[0] == StockLock::Locked,
            // Every unit was locked by then.
            StockLocks::Stale(_) => false,
        });
        answers.sort_unstable();
        assert_eq!(answers, [false, true], "{owner}");
    }
    assert_eq!(world.row(PHONE).await.locked, 60);
    let resolve = |n: usize, way, owner: &OrderSn| {
        let unit = ResolveLocks { sku_id: PHONE, way, order_sns: vec![owner.clone()], lapsed_only: false };
        nodes[n].commit(unit)
    };
    let both =
        owners.iter().map(|owner| join(resolve(0, Resolution::Deduct, owner), resolve(1, Resolution::Release, owner)));
    let mut deducted = 0;
    for (deduct, release) in join_all(both).await {
        match (&deduct[0], &release[0]) {
            (LockResolved::Now(1), LockResolved::Before(LockState::Deducted)) => deducted += 1,
            (LockResolved::Before(LockState::Released), LockResolved::Now(1)) => {}
            other => panic!("{other:?}"),
        }
    }
    let row = world.row(PHONE).await;
    assert_eq!((row.stock, row.locked), (60 - deducted, 0));
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_owner_locks_once_whatever_it_asks_for() {
    let (world, nodes) = two_nodes().await;
    stocked(&world, 100).await;
    let rows = [world.row(PHONE).await, world.row(CASE).await];
    let owners: Vec<OrderSn> = (0..100).map(|n| foreign(&format!("other-{n}"))).collect();
    let lock = |n: usize, owner: &OrderSn| {
        let lines = [line(&rows[n], 1)];
        nodes[n].commit(LockStock { requests: vec![request(owner, &lines)], lease: LEASE })
    };
    // The nodes are asked in opposite orders.
    let here = join_all(owners.iter().map(|owner| lock(0, owner)));
    let there = join_all(owners.iter().rev().map(|owner| lock(1, owner)));
    let (here, mut there) = join(here, there).await;
    there.reverse();
    for (owner, (here, there)) in owners.iter().zip(here.iter().zip(&there)) {
        let locked = |answer: &StockLocks| *answer == StockLocks::Done(vec![StockLock::Locked]);
        assert!(locked(here) != locked(there), "{owner}: {here:?} {there:?}");
        assert_eq!(world.locks(owner).await, [(LockState::Locked, 1)], "{owner}");
    }
    assert_eq!(world.stock(PHONE).await.1 + world.stock(CASE).await.1, 100);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_gives_exactly_its_units_one_to_each_user() {
    let (world, nodes) = two_nodes().await;
    stocked(&world, 100).await;
    let (sale_id, epoch) = world.live_sale(50, 1).await;
    // Every user asks both nodes.
    let grant = async |n: usize, users: std::ops::Range<i64>| {
        let winners = users.map(|user| (UserId(user), world.number())).collect::<Vec<_>>();
        let answer = nodes[n].commit(CommitGrants { sale_id, epoch, winners: winners.clone() }).await;
        (winners, answer)
    };
    let asked = (0..12).flat_map(|part| [(0, part * 10..part * 10 + 10), (1, 110 - part * 10..120 - part * 10)]);
    let answers = join_all(asked.map(|(n, users)| grant(n, users))).await;
    let mut won: Vec<(UserId, OrderSn)> = Vec::new();
    for (winners, answer) in answers {
        let GrantBatch::Decided(outcomes) = answer else { panic!("{answer:?}") };
        let granted = winners.into_iter().zip(outcomes).filter(|(_, outcome)| *outcome == GrantOutcome::Granted);
        won.extend(granted.map(|(winner, _)| winner));
    }
    assert_eq!(won.len(), 50);
    let mut users: Vec<UserId> = won.iter().map(|(user_id, _)| *user_id).collect();
    users.sort_unstable();
    users.dedup();
    assert_eq!(users.len(), 50, "nobody won twice");

    // The message reaches both nodes, and somebody ends the sale meanwhile.
    let make = |n: usize| {
        let orders = won.iter().map(|(user_id, order_sn)| flash_order(sale_id, order_sn, *user_id)).collect();
        nodes[n].commit(MakeFlashOrders { orders })
    };
    let ((here, there), ended) = join(join(make(0), make(1)), nodes[1].commit(EndSale { sale_id })).await;
    assert_eq!(ended, SaleChange::Done);
    for (here, there) in here.iter().zip(&there) {
        let mut both = [here, there].map(|made| *made == FlashOrder::Made);
        both.sort_unstable();
        assert_eq!(both, [false, true], "{here:?} {there:?}");
    }
    world.assert_sound().await;
}
