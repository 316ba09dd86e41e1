//! The broker is frozen, out of memory, half dead and killed, with an instance of the test's own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::domain::events::{Delays, Message, Queue, RoutingKey};
use actors::ports::bus::{Bus, BusError};
use seckill::bus::rabbitmq::{RabbitBus, RabbitSettings};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::broker::{Broker, Vhost};
use super::{message, open, receive, until};

/// Longer than the broker needs to come back.
const DELAY: Duration = Duration::from_secs(40);
const AWAY: Duration = Duration::from_secs(4);

/// Private services, taken down when dropped.
struct Services {
    folder: PathBuf,
}

impl Services {
    async fn up() -> Self {
        let folder = std::env::temp_dir().join(format!("seckill-outage-{}", std::process::id()));
        let services = Self { folder };
        services.call(&["up"], &[]).await;
        services
    }

    async fn call(&self, before: &[&str], after: &[&str]) {
        let mut command = script(&self.folder, before, after);
        let status = tokio::task::spawn_blocking(move || command.status()).await.expect("it runs");
        assert!(status.expect("scripts/services is there").success(), "scripts/services {before:?} {after:?}");
    }

    fn broker(&self) -> Broker {
        let env = std::fs::read_to_string(self.folder.join("env")).expect("FOLDER/env");
        let value = |name: &str| {
            let line = env.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")));
            line.and_then(|line| line.strip_suffix('\'')).expect("a value").to_owned()
        };
        Broker { amqp: value("SECKILL_TEST_RABBITMQ_URL"), management: value("SECKILL_TEST_RABBITMQ_MANAGEMENT_URL") }
    }

    /// Sets how much memory the broker may use before it blocks who publishes.
    async fn allow_memory(&self, share: &str) {
        self.control(&["set_vm_memory_high_watermark", share]).await;
    }

    /// `rabbitmqctl` on the node.
    async fn control(&self, arguments: &[&str]) {
        let state = std::fs::read_to_string(self.folder.join("state.json")).expect("FOLDER/state.json");
        let state: Value = serde_json::from_str(&state).expect("JSON");
        let rabbit = &state["rabbitmq"];
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl");
        command
            .args(["--quiet", "-n", &format!("seckill-{}@localhost", rabbit["port"])])
            .args(arguments)
            .env("HOME", self.folder.join("rabbitmq"))
            .env("ERL_EPMD_PORT", rabbit["epmd_port"].to_string())
            .stdout(Stdio::null());
        let status = tokio::task::spawn_blocking(move || command.status()).await.expect("it runs");
        assert!(status.expect("rabbitmqctl is there").success(), "rabbitmqctl");
    }
}

fn script(folder: &Path, before: &[&str], after: &[&str]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/services"));
    command.args(before).arg(folder).args(after).stdout(Stdio::null());
    command
}

impl Drop for Services {
    fn drop(&mut self) {
        // A second failure says nothing that the first did not.
        let _ = script(&self.folder, &["down"], &[]).status();
    }
}

fn settings() -> RabbitSettings {
    RabbitSettings {
        confirm_timeout: Duration::from_secs(2),
        heartbeat: Duration::from_secs(2),
        ..RabbitSettings::new(Delays { order_create: DELAY, order_create_flash: DELAY })
    }
}

/// Publishes one message after the other, as the relay does: again until the bus says yes. Answers how many there were
/// and how often the bus said no.
async fn publish_until(bus: &dyn Bus, stop: &Mutex<bool>) -> (usize, usize) {
    let (mut number, mut refusals) = (0, 0);
    while !*stop.lock().expect("no panic") {
        let batch: Vec<Message> =
            (number..number + 5).map(|n| message(RoutingKey::StockUnlock, &format!("m{n}"))).collect();
        let mut open: Vec<Message> = batch;
        number += 5;
        while !open.is_empty() {
            let asked = Instant::now();
            let answers = bus.publish(&open).await;
            assert!(asked.elapsed() < Duration::from_secs(4), "an answer soon: {:?}", asked.elapsed());
            let mut answers = answers.into_iter();
            open.retain(|_| answers.next().is_some_and(|answer| answer.is_err()));
            refusals += open.len();
            sleep(Duration::from_millis(10)).await;
        }
    }
    (number, refusals)
}

/// Receives and acknowledges for ever; keeps what came.
async fn consume(bus: Arc<RabbitBus>, queue: Queue, seen: Arc<Mutex<BTreeSet<String>>>) {
    loop {
        let Ok(deliveries) = bus.receive(queue, 64).await else { continue };
        for delivery in deliveries {
            // One that could not be acknowledged comes again.
            let _ = bus.ack(&delivery).await;
            seen.lock().expect("no panic").insert(delivery.message_id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_frozen_blocked_stalled_and_killed_and_nothing_is_lost() {
    let services = Services::up().await;
    let vhost = Vhost::on(services.broker()).await;
    let bus = open(&vhost, settings()).await;
    frozen(&services, &bus).await;
    blocked(&services, &bus).await;
    stalled(&services, &vhost, &bus).await;
    // Last, because a broker killed within seconds of its queues' declaration loses these queues.
    killed(&services, &bus).await;
    bus.close(Duration::from_secs(5)).await;
}

async fn killed(services: &Services, bus: &Arc<RabbitBus>) {
    let (seen, stop) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(Mutex::new(false)));
    let consumer = tokio::spawn(consume(bus.clone(), Queue::StockUnlock, seen.clone()));
    let publisher = tokio::spawn({
        let (bus, stop) = (bus.clone(), stop.clone());
        async move { publish_until(bus.as_ref(), &stop).await }
    });
    let delayed = Instant::now();
    assert_eq!(bus.publish(&[message(RoutingKey::OrderCreate, "delayed")]).await, [Ok(())]);
    until("messages flow", async || seen.lock().unwrap().len() > 50).await;

    services.call(&["signal"], &["rabbitmq", "KILL"]).await;
    let status = bus.status();
    until("the bus knows", async || !status.is_connected()).await;
    assert!(status.is_ready(), "a broker that is away makes no node unready");
    sleep(AWAY).await;
    assert!(bus.receive(Queue::SecKill, 1).await.is_err());
    services.call(&["start"], &["rabbitmq"]).await;
    until("the bus is back", async || status.is_connected() && status.is_verified()).await;
    assert!(delayed.elapsed() < DELAY, "the delay must outlast the outage to show anything: {:?}", delayed.elapsed());

    let before = seen.lock().unwrap().len();
    until("messages flow again", async || seen.lock().unwrap().len() > before + 50).await;
    *stop.lock().unwrap() = true;
    let (published, refusals) = publisher.await.expect("no panic");
    assert!(refusals > 0, "the outage was felt");
    let all: BTreeSet<String> = (0..published).map(|n| format!("m{n}")).collect();
    until("everything arrived", async || seen.lock().unwrap().is_superset(&all)).await;
    consumer.abort();

    let late = receive(bus.as_ref(), Queue::OrderClose, 1).await.remove(0);
    let waited = delayed.elapsed();
    assert_eq!(late.message_id, "delayed");
    assert!((DELAY..DELAY + Duration::from_secs(5)).contains(&waited), "{waited:?}");
    bus.ack(&late).await.expect("it is fresh");
    eprintln!("killed: {published} messages, {refusals} refused tries, the delayed one after {waited:?}");
}

/// It takes connections and bytes and says nothing.
async fn frozen(services: &Services, bus: &Arc<RabbitBus>) {
    let status = bus.status();
    services.call(&["signal"], &["rabbitmq", "STOP"]).await;
    let one = [message(RoutingKey::StockMinus, "frozen")];
    let asked = Instant::now();
    assert!(bus.publish(&one).await[0].is_err());
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    until("silence is noticed", async || !status.is_connected()).await;
    assert!(status.is_ready());
    services.call(&["signal"], &["rabbitmq", "CONT"]).await;
    until("the bus is back", async || status.is_connected() && status.is_verified()).await;
    until("it can be published", async || bus.publish(&one).await[0].is_ok()).await;
    assert_eq!(receive(bus.as_ref(), Queue::StockMinus, 8).await[0].message_id, "frozen");
}

/// One queue hangs and confirms nothing, as one without a majority; the others go on.
async fn stalled(services: &Services, vhost: &Vhost, bus: &Arc<RabbitBus>) {
    let process = format!("'{}_ORDER-MINUS-QUEUE'", vhost.name);
    services.control(&["eval", &format!("sys:suspend({process}).")]).await;
    let status = bus.status();
    let mixed: Vec<Message> = (0..40)
        .map(|n| {
            message(if n % 2 == 0 { RoutingKey::StockMinus } else { RoutingKey::StockUnlock }, &format!("stalled-{n}"))
        })
        .collect();
    let only_unlocks = |answers: &[Result<(), BusError>]| {
        let is_unlock = |message: &Message| message.key == RoutingKey::StockUnlock;
        mixed.iter().zip(answers).all(|(message, answer)| answer.is_ok() == is_unlock(message))
    };
    let answers = bus.publish(&mixed).await;
    assert!(only_unlocks(&answers), "{answers:?}");
    assert_eq!(status.stalled(), [RoutingKey::StockMinus]);
    let asked = Instant::now();
    let answers = bus.publish(&mixed).await;
    assert!(only_unlocks(&answers) && asked.elapsed() < Duration::from_secs(1), "{:?} {answers:?}", asked.elapsed());

    services.control(&["eval", &format!("sys:resume({process}).")]).await;
    until("the queue takes messages again", async || bus.publish(&mixed).await.iter().all(Result::is_ok)).await;
    assert!(status.stalled().is_empty() && status.is_verified());
}

/// It blocks who publishes; who consumes goes on.
async fn blocked(services: &Services, bus: &Arc<RabbitBus>) {
    let status = bus.status();
    until("it can be published", async || bus.publish(&[message(RoutingKey::CartDelete, "cart")]).await[0].is_ok())
        .await;
    services.allow_memory("0.00000001").await;
    let one = [message(RoutingKey::StockUnlock, "blocked")];
    until("the broker blocks", async || bus.publish(&one).await[0].is_err() && status.is_blocked()).await;
    let asked = Instant::now();
    assert!(bus.publish(&one).await[0].is_err());
    assert!(asked.elapsed() < Duration::from_millis(500), "at once: {:?}", asked.elapsed());
    let cart = receive(bus.as_ref(), Queue::CartDelete, 1).await.remove(0);
    bus.ack(&cart).await.expect("acknowledgements go on");
    services.allow_memory("0.4").await;
    until("the broker takes it again", async || !status.is_blocked() && bus.publish(&one).await[0].is_ok()).await;
    let found = timeout(Duration::from_secs(10), bus.receive(Queue::StockUnlock, 64)).await.expect("in time");
    assert!(found.expect("the bus is there").iter().any(|delivery| delivery.message_id == "blocked"));
}
