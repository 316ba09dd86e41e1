//! Publishing to RabbitMQ with confirms, beside the same one by one. Takes SECKILL_TEST_RABBITMQ_URL, the address of a
//! broker without a virtual host, and SECKILL_TEST_RABBITMQ_MANAGEMENT_URL (`scripts/services up FOLDER` writes both).
//!
//! `publish/*`: messages of one order each, one call per message or one per window. `orders/256_a_message`: orders in
//! messages of 256. `consume/*`: received and acknowledged one by one. Read the ratios, not the figures.

use std::sync::Arc;
use std::time::Duration;

use actors::domain::OrderSn;
use actors::domain::events::{Delays, Event, Message, OrderRef, Queue, pack};
use actors::ports::bus::Bus;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use seckill::bus::rabbitmq::{RabbitBus, RabbitSettings};
use seckill::machine::{SystemClock, SystemEntropy};
use tokio::runtime::Runtime;
use tokio::time::Instant;

const DELAYS: Delays = Delays { order_create: Duration::from_secs(60), order_create_flash: Duration::from_secs(60) };
const WINDOWS: [usize; 3] = [1, 64, 256];

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// An empty virtual host with nothing of an earlier run.
async fn fresh(name: &str) -> Arc<RabbitBus> {
    let management = format!("{}/api/vhosts/{name}", variable("SECKILL_TEST_RABBITMQ_MANAGEMENT_URL"));
    let client = reqwest::Client::new();
    client.delete(&management).send().await.expect("the management API answers");
    let made = client.put(&management).send().await.expect("the management API answers");
    assert!(made.status().is_success(), "{}", made.status());
    let url = format!("{}/{name}", variable("SECKILL_TEST_RABBITMQ_URL"));
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    RabbitBus::open(&url, RabbitSettings::new(DELAYS), clock, entropy).await.expect("the broker takes us")
}

fn messages(count: usize, items: usize) -> Vec<Message> {
    let number = |n: usize| OrderSn::parse(&format!("2026010100000000{n:016}")).expect("keeps to the grammar");
    let events: Vec<Event> =
        (0..count * items).map(|n| Event::StockUnlock(OrderRef { order_token: number(n) })).collect();
    let mut next = 0;
    pack(&events, items, || {
        next += 1;
        format!("0190b5a0-0000-7000-8000-{next:012}")
    })
}

/// Publishes all, `window` a call.
async fn publish(bus: &RabbitBus, messages: &[Message], window: usize) {
    for window in messages.chunks(window) {
        assert!(bus.publish(window).await.iter().all(Result::is_ok));
    }
}

async fn drain(bus: &RabbitBus, mut count: usize) {
    while count > 0 {
        for delivery in bus.receive(Queue::StockUnlock, 64).await.expect("the bus is there") {
            bus.ack(&delivery).await.expect("it is fresh");
            count -= 1;
        }
    }
}

fn bus(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let bus = runtime.block_on(fresh("bench"));
    let mut group = criterion.benchmark_group("publish");
    for window in WINDOWS {
        let messages = messages(256, 1);
        group.throughput(Throughput::Elements(256));
        group.bench_function(BenchmarkId::new("window", window), |bencher| {
            bencher.to_async(&runtime).iter_custom(|rounds| timed(&bus, &messages, window, rounds));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("orders");
    let packed = messages(64, 256);
    group.throughput(Throughput::Elements(64 * 256));
    group.bench_function("256_a_message", |bencher| {
        bencher.to_async(&runtime).iter_custom(|rounds| timed(&bus, &packed, 64, rounds));
    });
    group.finish();

    let mut group = criterion.benchmark_group("consume");
    let messages = messages(256, 1);
    group.throughput(Throughput::Elements(256));
    group.bench_function("ack_each", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                publish(&bus, &messages, 256).await;
                let started = Instant::now();
                drain(&bus, messages.len()).await;
                spent += started.elapsed();
            }
            spent
        });
    });
    group.finish();
    runtime.block_on(bus.close(Duration::from_secs(5)));
}

/// The time of publishing alone; what was published is taken out again between the rounds.
async fn timed(bus: &RabbitBus, messages: &[Message], window: usize, rounds: u64) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let started = Instant::now();
        publish(bus, messages, window).await;
        spent += started.elapsed();
        drain(bus, messages.len()).await;
    }
    spent
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(5));
    targets = bus
}
criterion_main!(benches);
