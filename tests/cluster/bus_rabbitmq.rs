//! The bus on a real RabbitMQ, each test in a virtual host of its own.

mod broker;
mod foreign;
mod links;
mod outage;
mod shop;
mod start;
mod storm;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use actors::domain::events::{BoundPlus, CartDelete, Delays, Event, Message, OrderRef, Queue, RoutingKey, pack};
use actors::domain::{OrderSn, SkuId, UserId};
use actors::ports::bus::{Bus, Delivery};
use actors::ports::contract::bus::{BusFixture, Fixture};
use async_trait::async_trait;
use seckill::bus::rabbitmq::{OpenError, RabbitBus, RabbitSettings};
use seckill::machine::{SystemClock, SystemEntropy};

use broker::Vhost;

const DELAYS: Delays = Delays { order_create: Duration::from_secs(60), order_create_flash: Duration::from_secs(30) };
const LIMIT: Duration = Duration::from_secs(30);

async fn try_open(url: &str, settings: RabbitSettings) -> Result<Arc<RabbitBus>, OpenError> {
    RabbitBus::open(url, settings, Arc::new(SystemClock), Arc::new(SystemEntropy)).await
}

async fn open(vhost: &Vhost, settings: RabbitSettings) -> Arc<RabbitBus> {
    try_open(&vhost.url(), settings).await.expect("the broker takes us")
}

async fn open_usual(vhost: &Vhost) -> Arc<RabbitBus> {
    open(vhost, RabbitSettings::new(DELAYS)).await
}

/// Waits for a state, within the usual limit.
async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    until_within(LIMIT, what, holds).await;
}

async fn until_within(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn receive(bus: &dyn Bus, queue: Queue, limit: usize) -> Vec<Delivery> {
    let received = tokio::time::timeout(LIMIT, bus.receive(queue, limit)).await;
    received.unwrap_or_else(|_| panic!("nothing comes out of {}", queue.as_str())).expect("the bus is there")
}

fn order(name: &str) -> OrderRef {
    OrderRef { order_token: OrderSn::parse(name).expect("a valid order number") }
}

/// A message of one item, about the order `name`, under the id `name`.
fn message(key: RoutingKey, name: &str) -> Message {
    let event = match key {
        RoutingKey::OrderCreate => Event::OrderCreate(order(name)),
        RoutingKey::OrderCreateFlash => Event::OrderCreateFlash(order(name)),
        RoutingKey::StockUnlock => Event::StockUnlock(order(name)),
        RoutingKey::StockMinus => Event::StockMinus(order(name)),
        RoutingKey::CartDelete => Event::CartDelete(CartDelete { user_id: UserId(7), sku_ids: vec![SkuId(48)] }),
        RoutingKey::BoundPlus => {
            let order_token = order(name).order_token;
            Event::BoundPlus(BoundPlus { user_id: UserId(7), integration: 1, growth: 1, order_token })
        }
        other => panic!("no test sends {}", other.as_str()),
    };
    pack(&[event], 1, || name.to_owned()).remove(0)
}

struct RabbitFixtures;

struct RabbitFixture {
    vhost: Vhost,
    settings: RabbitSettings,
    bus: Arc<RabbitBus>,
}

#[async_trait]
impl BusFixture for RabbitFixtures {
    async fn fresh(&self, delays: Delays) -> Box<dyn Fixture> {
        let (vhost, settings) = (Vhost::fresh().await, RabbitSettings::new(delays));
        let bus = open(&vhost, settings).await;
        Box::new(RabbitFixture { vhost, settings, bus })
    }
}

#[async_trait]
impl Fixture for RabbitFixture {
    fn bus(&self) -> Arc<dyn Bus> {
        self.bus.clone()
    }

    async fn restart(&mut self) {
        self.bus = open(&self.vhost, self.settings).await;
    }
}

actors::bus_contract!(RabbitFixtures);
