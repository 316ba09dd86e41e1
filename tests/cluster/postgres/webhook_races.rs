//! What two nodes do to the same webhooks at the same time.

use std::collections::BTreeSet;
use std::time::Duration;

use actors::domain::webhook::{Delivery, DeliveryState, EventSet, NextStep, SigningSecret};
use actors::ports::contract::store::world::{ALICE, NORTH, PHONE, World};
use actors::ports::store::DeliverySearch;
use actors::ports::store::units::{
    ClaimDeliveries, CreateWebhook, DeleteWebhook, SettleDelivery, WebhookCreation, WriteUnit,
};
use futures_util::future::{join, join_all};

use super::nodes::{Node, two_nodes};

const ORDERS: usize = 200;

fn creating() -> CreateWebhook {
    let secret = SigningSecret::from_key(&[1; 32]);
    CreateWebhook { url: "https://shop.example/hooks".into(), events: EventSet::ALL, secret, most: 9 }
}

async fn endpoint(node: &Node) -> i64 {
    match node.commit(creating()).await {
        WebhookCreation::Created(id) => id,
        WebhookCreation::TooMany => panic!("there is room for an endpoint"),
    }
}

async fn placed(world: &World, count: usize) {
    let lines = world.phones(1).await;
    let units: Vec<WriteUnit> = (0..count).map(|_| world.placing(ALICE, &lines).into()).collect();
    world.commit(units).await;
}

/// Claims until nothing is due, and settles what it got.
async fn work_off(node: &Node, endpoint_id: i64) -> Vec<Delivery> {
    let mut all = Vec::new();
    loop {
        let claim = ClaimDeliveries { endpoint_id, limit: 7, lease: Duration::from_secs(3600) };
        let claimed = node.commit(claim).await;
        if claimed.is_empty() {
            return all;
        }
        let settling = |row: &Delivery| SettleDelivery {
            delivery_id: row.id,
            claim: row.claim,
            status: Some(200),
            error: String::new(),
            next: NextStep::Delivered,
        };
        let settled = join_all(claimed.iter().map(|row| node.commit(settling(row)))).await;
        assert!(settled.into_iter().all(|is_settled| is_settled));
        all.extend(claimed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_claimed_by_one_node() {
    let (world, nodes) = two_nodes().await;
    world.fixture.add_stock(PHONE, NORTH, 1000).await;
    let id = endpoint(&nodes[0]).await;
    placed(&world, ORDERS).await;
    let (here, there) = join(work_off(&nodes[0], id), work_off(&nodes[1], id)).await;
    let ids: BTreeSet<i64> = here.iter().chain(&there).map(|row| row.id).collect();
    assert_eq!((here.len() + there.len(), ids.len()), (ORDERS, ORDERS), "each once");
    let search = DeliverySearch { state: Some(DeliveryState::Delivered), before: None, limit: 1000 };
    assert_eq!(world.store.deliveries(id, &search).await.expect("readable").len(), ORDERS);
}

/// An endpoint that one node makes counts at once on the other, and no longer once it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_of_one_node_is_told_by_the_other() {
    let (world, nodes) = two_nodes().await;
    world.fixture.add_stock(PHONE, NORTH, 1000).await;
    let all = DeliverySearch { limit: 1000, ..DeliverySearch::default() };
    let id = endpoint(&nodes[0]).await;
    let unit = world.placing(ALICE, &world.phones(1).await);
    nodes[1].commit(unit).await;
    assert_eq!(world.store.deliveries(id, &all).await.expect("readable").len(), 1);
    assert!(nodes[0].commit(DeleteWebhook { endpoint_id: id }).await);
    let unit = world.placing(ALICE, &world.phones(1).await);
    nodes[1].commit(unit).await;
    assert_eq!(world.store.deliveries(id, &all).await.expect("readable").len(), 1);
}
