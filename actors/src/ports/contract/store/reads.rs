//! Reads that belong to no kind of change, and the cart.

use std::time::Duration;

use super::StoreFixture;
use super::values::{foreign, line_of, member, receiver, sku};
use super::world::{ALICE, BOB, CASE, GRACE, LEASE, NORTH, PHONE, SOUTH, World};
use crate::domain::events::Queue;
use crate::domain::order::{Order, OrderStatus};
use crate::domain::stock::LedgerKind;
use crate::domain::{Money, OrderSn, SkuId, UserId};
use crate::ports::store::units::{AdjustStock, Park, PutCartItem, RemoveCartItems};
use crate::ports::store::{Address, Buyer, CartItem, HistoryCursor, Member, OrderFilter, SaleAttribute, SaleFilter};

const NOBODY: UserId = UserId(77);

/// The store's time is its clock's.
pub async fn the_store_knows_the_time(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    assert_eq!(world.store.now().await, Ok(world.now()));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.store.now().await, Ok(world.now()));
}

/// Where a user asks, another user's order does not exist.
pub async fn the_owner_is_part_of_the_question(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let unit = world.placing(ALICE, &world.phones(1).await);
    let (order_sn, token) = (unit.order.order_sn.clone(), unit.token.clone());
    world.one(unit).await;
    let order = world.order(&order_sn).await;
    let all = OrderFilter { limit: 10, ..OrderFilter::default() };

    assert_eq!(world.store.order_of(ALICE, &order_sn).await, Ok(Some(order.clone())));
    assert_eq!(world.store.order_by_token(ALICE, &token).await, Ok(Some(order.clone())));
    assert_eq!(world.store.orders_of(ALICE, &all).await, Ok(vec![order]));
    for other in [BOB, NOBODY] {
        assert_eq!(world.store.order_of(other, &order_sn).await, Ok(None));
        assert_eq!(world.store.order_by_token(other, &token).await, Ok(None));
        assert_eq!(world.store.orders_of(other, &all).await, Ok(vec![]));
    }
    assert_eq!(world.store.order_of(ALICE, &world.number()).await, Ok(None));
    assert_eq!(world.store.order_by_token(ALICE, "another").await, Ok(None));

    // Many questions at once: each order beside its own owner.
    let bobs = world.placing(BOB, &world.phones(2).await);
    let bobs_sn = bobs.order.order_sn.clone();
    world.one(bobs).await;
    let asked = [(BOB, order_sn.clone()), (ALICE, bobs_sn.clone()), (BOB, bobs_sn.clone()), (NOBODY, world.number())];
    let found = world.store.own_orders(&asked).await.expect("orders are readable");
    assert_eq!(found, [world.order(&bobs_sn).await]);
    let asked = [(BOB, bobs_sn), (ALICE, order_sn)];
    let mut owners: Vec<_> =
        world.store.own_orders(&asked).await.expect("orders are readable").iter().map(|order| order.user_id).collect();
    owners.sort();
    assert_eq!(owners, [ALICE, BOB]);
    assert_eq!(world.store.own_orders(&[]).await, Ok(vec![]));
}

/// A list of orders is newest first, with their items, and of one status when asked.
pub async fn orders_are_listed_newest_first(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 100).await;
    let mut order_sns = Vec::new();
    for num in 1..=4 {
        order_sns.push(world.placed(ALICE, num).await);
        world.placed(BOB, 1).await;
        world.clock.advance(Duration::from_secs(1));
    }
    world.pay(&order_sns[1]).await;
    world.cancel(&order_sns[2]).await;
    let listed = async |status, limit| {
        let orders = world.store.orders_of(ALICE, &OrderFilter { status, before: None, limit }).await;
        orders.expect("orders are readable").into_iter().map(|order| order.order_sn).collect::<Vec<_>>()
    };
    let pick = |places: &[usize]| places.iter().map(|&place| order_sns[place].clone()).collect::<Vec<OrderSn>>();

    assert_eq!(listed(None, 10).await, pick(&[3, 2, 1, 0]));
    assert_eq!(listed(None, 2).await, pick(&[3, 2]));
    assert_eq!(listed(Some(OrderStatus::AwaitingPayment), 10).await, pick(&[3, 0]));
    assert_eq!(listed(Some(OrderStatus::AwaitingShipment), 10).await, pick(&[1]));
    assert_eq!(listed(Some(OrderStatus::Closed), 10).await, pick(&[2]));
    assert_eq!(listed(Some(OrderStatus::Void), 10).await, []);
    let mut counts = world.store.order_counts(ALICE).await.expect("orders are countable");
    counts.retain(|(_, orders)| *orders > 0);
    counts.sort_by_key(|(status, _)| status.code());
    let expected = [(OrderStatus::AwaitingPayment, 2), (OrderStatus::AwaitingShipment, 1), (OrderStatus::Closed, 1)];
    assert_eq!(counts, expected);
    let all = OrderFilter { limit: 10, ..OrderFilter::default() };
    let orders = world.store.orders_of(ALICE, &all).await.expect("orders are readable");
    for order in orders {
        assert_eq!(order, world.order(&order.order_sn).await, "as whole as read alone");
    }
}

/// Page by page every order comes once, though new ones arrive meanwhile and many share a moment.
pub async fn pages_are_stable_under_inserts(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 100).await;
    let mut wanted = Vec::new();
    for at_once in [1, 3, 2, 4] {
        for _ in 0..at_once {
            wanted.push(world.placed(ALICE, 1).await);
        }
        world.clock.advance(Duration::from_millis(1));
    }
    let mut seen: Vec<Order> = Vec::new();
    loop {
        let before = seen.last().map(|order| HistoryCursor { created_at: order.created_at, id: order.id });
        let page = world.store.orders_of(ALICE, &OrderFilter { status: None, before, limit: 3 }).await;
        let page = page.expect("orders are readable");
        if page.is_empty() {
            break;
        }
        seen.extend(page);
        world.placed(ALICE, 1).await;
    }
    let mut order_sns: Vec<OrderSn> = seen.iter().map(|order| order.order_sn.clone()).collect();
    let places: Vec<_> = seen.iter().map(|order| (order.created_at, order.id)).collect();
    assert!(places.is_sorted_by(|newer, older| newer > older), "{places:?}");
    order_sns.sort();
    wanted.sort();
    assert_eq!(order_sns, wanted);
}

/// A member as they are.
pub async fn members_are_read(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let carol = Member { integration: 1000, growth: 7, ..member(UserId(3)) };
    world.fixture.add_member(&carol).await;
    assert_eq!(world.store.member(UserId(3)).await, Ok(Some(carol.clone())));
    assert_eq!(world.store.member(NOBODY).await, Ok(None));
    let mut found = world.store.members(&[UserId(3), NOBODY, ALICE]).await.expect("members are readable");
    found.sort_by_key(|member| member.id);
    assert_eq!(found.iter().map(|member| member.id).collect::<Vec<_>>(), [ALICE, UserId(3)]);
    assert_eq!(world.store.members(&[]).await, Ok(vec![]));
    world.assert_sound().await;
}

/// Addresses: the default one first, then by id. Buyers have the default one; unknown ones are missing.
pub async fn addresses_are_read(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let address = |id, user_id, is_default| Address {
        id,
        user_id,
        receiver: receiver(&format!("receiver {id}")),
        areacode: "110114".into(),
        is_default,
    };
    let carol = UserId(3);
    world.fixture.add_member(&member(carol)).await;
    let rows = [
        address(4, ALICE, false),
        address(2, ALICE, false),
        address(3, ALICE, true),
        address(1, BOB, false),
        address(5, carol, true),
    ];
    for row in &rows {
        world.fixture.add_address(row).await;
    }
    let [fourth, second, third, first, fifth] = rows;
    let receiver_of = |address: &Address| Some(address.receiver.clone());
    let receivers = [(ALICE, receiver_of(&third)), (BOB, None), (carol, receiver_of(&fifth))];
    assert_eq!(world.store.addresses(ALICE).await, Ok(vec![third.clone(), second.clone(), fourth.clone()]));
    assert_eq!(world.store.addresses(BOB).await, Ok(vec![first.clone()]));
    let of_both = world.store.addresses_of(&[BOB, ALICE, NOBODY]).await.expect("addresses are readable");
    let of = |user_id| of_both.iter().filter(move |address| address.user_id == user_id).collect::<Vec<_>>();
    assert_eq!((of_both.len(), of(ALICE), of(BOB)), (4, vec![&third, &second, &fourth], vec![&first]));
    assert_eq!(world.store.addresses_of(&[]).await, Ok(vec![]));
    assert_eq!(world.store.addresses(NOBODY).await, Ok(vec![]));
    let mut buyers = world.store.buyers(&[carol, NOBODY, BOB, ALICE]).await.expect("buyers are readable");
    buyers.sort_by_key(|buyer| buyer.user_id);
    let buyer = |(user_id, receiver)| Buyer { user_id, username: member(user_id).username, receiver };
    assert_eq!(buyers, receivers.map(buyer));
    assert_eq!(world.store.buyers(&[]).await, Ok(vec![]));
}

/// SKUs with their attributes in order; unknown ones are missing. The shelf has the first by id.
pub async fn skus_are_read(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let mut odd = sku(SkuId(7));
    let attribute = |id, sort| SaleAttribute { id, attr_id: id, sort, ..odd.attributes[0].clone() };
    let [last, first, second] = [attribute(71, 2), attribute(72, 1), attribute(73, 1)];
    odd.attributes = vec![last.clone(), second.clone(), first.clone()];
    world.fixture.add_sku(&odd).await;
    odd.attributes = vec![first, second, last];

    let mut found = world.store.skus(&[CASE, SkuId(999), SkuId(7)]).await.expect("the catalogue is readable");
    found.sort_by_key(|sku| sku.sku_id);
    assert_eq!(found, [odd.clone(), sku(CASE)]);
    assert_eq!(world.store.skus(&[]).await, Ok(vec![]));
    assert_eq!(world.store.shelf(10).await, Ok(vec![odd.clone(), sku(PHONE), sku(CASE)]));
    assert_eq!(world.store.shelf(1).await, Ok(vec![odd]));
    world.fixture.set_price(PHONE, Money(1)).await;
    let price = world.store.skus(&[PHONE]).await.map(|skus| skus[0].price);
    assert_eq!(price, Ok(Money(1)));
}

/// Stock rows of a SKU are listed by row id; the locks of several owners at once.
pub async fn stock_is_read(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let (south, north) =
        (world.fixture.add_stock(PHONE, SOUTH, 3).await, world.fixture.add_stock(PHONE, NORTH, 4).await);
    let case = world.fixture.add_stock(CASE, NORTH, 5).await;
    let rows = world.store.stock_rows(PHONE).await.expect("stock is readable");
    let told: Vec<_> = rows.iter().map(|row| (row.id, row.ware_id, row.stock, row.locked)).collect();
    let mut wanted = vec![(south, SOUTH, 3, 0), (north, NORTH, 4, 0)];
    wanted.sort();
    assert_eq!(told, wanted);
    assert_eq!(world.store.stock_rows(SkuId(999)).await, Ok(vec![]));

    let owners = ["one", "two", "three"].map(foreign);
    world.locked(&owners[0], &[line_of(PHONE, north, 1), line_of(CASE, case, 2)]).await;
    world.locked(&owners[1], &[line_of(PHONE, south, 3)]).await;
    let rows = world.store.locks_of(&[owners[0].clone(), owners[2].clone(), owners[1].clone()]).await;
    let mut told: Vec<_> = rows
        .expect("locks are readable")
        .into_iter()
        .map(|row| (row.order_sn, row.line.ware_sku_id, row.line.num))
        .collect();
    told.sort();
    let [one, two, _] = owners;
    let mut wanted = vec![(one.clone(), north, 1), (one, case, 2), (two, south, 3)];
    wanted.sort();
    assert_eq!(told, wanted);
    assert_eq!(world.store.locks_of(&[]).await, Ok(vec![]));
}

/// A cart line has the quantity last set; taken out lines are gone, absent ones do not matter; carts are apart.
pub async fn carts_are_kept(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let put = |user_id, sku_id, quantity| PutCartItem { user_id, sku_id, quantity }.into();
    let take = |lines: &[(UserId, SkuId)]| RemoveCartItems { lines: lines.to_vec() }.into();
    let cart = async |user_id| {
        let lines = world.store.cart(user_id).await.expect("carts are readable");
        lines.into_iter().map(|CartItem { sku_id, quantity }| (sku_id, quantity)).collect::<Vec<_>>()
    };

    let units = vec![put(ALICE, CASE, 1), put(ALICE, PHONE, 2), put(BOB, PHONE, 9), put(ALICE, PHONE, 3)];
    world.commit(units).await;
    assert_eq!((cart(ALICE).await, cart(BOB).await), (vec![(PHONE, 3), (CASE, 1)], vec![(PHONE, 9)]));
    let units = vec![
        take(&[(ALICE, PHONE), (NOBODY, PHONE), (ALICE, SkuId(999))]),
        put(ALICE, PHONE, 5),
        put(BOB, CASE, 1),
        take(&[(BOB, CASE)]),
    ];
    world.commit(units).await;
    assert_eq!((cart(ALICE).await, cart(BOB).await), (vec![(PHONE, 5), (CASE, 1)], vec![(PHONE, 9)]));
    assert_eq!(cart(NOBODY).await, []);
}

/// Facts leave out what changed just now, and nothing else.
pub async fn facts_leave_the_youngest_out(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    world.placed(ALICE, 1).await;
    let other_system = foreign("other-system");
    world.locked(&other_system, &world.phones(1).await).await;
    let told = async |exempt_ms| {
        let facts = world.store.facts(exempt_ms).await.expect("facts can be gathered");
        assert_eq!(facts.now_ms, world.now().0);
        assert_eq!(facts.close_grace_ms, i64::try_from(GRACE.as_millis()).unwrap_or(0));
        assert_eq!((facts.stock.len(), facts.stock[0].locked_rows), (1, 2), "the snapshot is whole");
        let mut owners: Vec<_> = facts.orders.into_iter().map(|order| order.status).collect();
        owners.sort_by_key(|status| status.map(OrderStatus::code));
        owners
    };
    let (order, owner) = (Some(OrderStatus::AwaitingPayment), None);
    assert_eq!(told(0).await, [owner, order]);
    assert_eq!(told(1000).await, [owner], "a fresh order may be in flight, a lease may not");
    world.clock.advance(LEASE);
    assert_eq!(told(1000).await, [order], "a lease that just ended may be");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(told(1000).await, [owner, order]);
}

/// Sales are listed newest first, without drafts unless asked, and a page goes on where the last one ended.
pub async fn sales_are_read_page_by_page(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let first = world.draft_sale(1, 1).await;
    let (second, _) = world.live_sale(1, 1).await;
    let third = world.draft_sale(1, 1).await;
    let page = async |before, with_drafts, limit| {
        let sales = world.store.sales_page(&SaleFilter { before, with_drafts, limit }).await;
        sales.expect("sales are readable").into_iter().map(|sale| sale.id).collect::<Vec<_>>()
    };
    assert_eq!(page(None, true, 10).await, [third, second, first]);
    assert_eq!(page(None, true, 2).await, [third, second]);
    world.draft_sale(1, 1).await;
    assert_eq!(page(Some(second), true, 2).await, [first]);
    assert_eq!(page(None, false, 10).await, [second]);
    assert_eq!(page(Some(second), false, 10).await, []);
}

/// The ledger shows every change of the units on hand, newest first, over all warehouses of the SKU and no other.
pub async fn the_ledger_is_read_page_by_page(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    world.fixture.add_stock(CASE, NORTH, 3).await;
    let order_sn = world.paid(ALICE, 2).await;
    world.resolve(crate::domain::stock::Resolution::Deduct, &order_sn).await;
    world.clock.advance(Duration::from_secs(1));
    world.one(AdjustStock { sku_id: PHONE, ware_id: SOUTH, delta: 5, reason: "a delivery".into() }).await;
    let page = async |before, limit| world.store.ledger(PHONE, before, limit).await.expect("the ledger is readable");
    let rows = page(None, 10).await;
    let told: Vec<_> = rows.iter().map(|row| (row.ware_id, row.kind, row.delta, row.stock_after)).collect();
    assert_eq!(
        told,
        [(SOUTH, LedgerKind::Adjustment, 5, 5), (NORTH, LedgerKind::Sale, -2, 8), (NORTH, LedgerKind::Opening, 10, 10)]
    );
    assert_eq!((rows[0].reason.as_str(), rows[0].at), ("a delivery", world.now()));
    assert!(rows[0].id > rows[1].id && rows[1].id > rows[2].id);
    assert_eq!(page(None, 1).await, rows[..1]);
    assert_eq!(page(Some(rows[0].id), 10).await, rows[1..]);
    assert_eq!(page(Some(rows[2].id), 10).await, []);
}

/// Parked messages go on behind a known one; behind an unknown one there is nothing.
pub async fn parked_messages_are_read_page_by_page(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    for id in ["a", "b", "c"] {
        let park =
            Park { message_id: id.into(), queue: Queue::ALL[0], payload: "{}".into(), reason: "it cannot be".into() };
        world.one(park).await;
    }
    let page = async |behind, limit| {
        let parked = world.store.parked_before(behind, limit).await.expect("parked messages are readable");
        parked.into_iter().map(|parked| parked.message_id).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2).await, ["c", "b"]);
    assert_eq!(page(Some("b"), 2).await, ["a"]);
    assert_eq!(page(Some("a"), 2).await, Vec::<String>::new());
    assert_eq!(page(Some("nobody"), 2).await, Vec::<String>::new());
    assert_eq!(world.store.parked(10).await, world.store.parked_before(None, 10).await);
}

/// A buyer's grants in a sale that count against the limit, oldest first.
pub async fn a_buyers_grants_are_read(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(5, 3).await;
    let mut won = Vec::new();
    for _ in 0..3 {
        won.extend(world.granted(sale, &[ALICE]).await);
        world.clock.advance(Duration::from_secs(1));
    }
    let fail = crate::ports::store::units::FailGrants { grants: vec![(won.remove(1), "why".into())] };
    world.one(fail).await;
    let read = world.store.grants_of(sale.0, ALICE).await.expect("grants are readable");
    assert_eq!(read.iter().map(|grant| grant.order_sn.clone()).collect::<Vec<_>>(), won);
    assert_eq!(world.store.grants_of(sale.0, BOB).await, Ok(vec![]));
}
