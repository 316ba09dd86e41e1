//! Outbox → bus.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::rig::{House, NoteBus, unlock};
use crate::bridge::relay::{Outlet, Relay, RelaySettings, Sent, step};
use crate::domain::events::Message;
use crate::local::clock::SeededEntropy;
use crate::ports::bus::Bus;

const SETTINGS: RelaySettings = RelaySettings {
    capacity: 1024,
    batch: 256,
    timeout: Duration::from_secs(10),
    backoff_min: Duration::from_millis(100),
    backoff_max: Duration::from_secs(30),
    unhinted_age: Duration::from_secs(1),
};

struct Line {
    house: House,
    bus: Arc<NoteBus>,
    relay: Relay,
    outlet: Outlet,
}

impl Line {
    async fn new(settings: RelaySettings) -> Self {
        let house = House::new();
        let bus = Arc::new(NoteBus::default());
        let relay = Relay::new(settings, Arc::new(SeededEntropy::new(1)));
        let outlet = Outlet::new(house.store.clone(), house.writer.clone(), bus.clone(), settings);
        let mut line = Self { house, bus, relay, outlet };
        line.run().await;
        line
    }

    /// Steps until there is nothing to do right now.
    async fn run(&mut self) {
        while step(&mut self.relay, &self.outlet).await.unwrap() {}
    }

    async fn unpublished(&self) -> Vec<String> {
        self.house.unpublished().await.into_iter().map(|row| row.message.message_id).collect()
    }
}

fn messages(prefix: &str, count: usize) -> Vec<Message> {
    (0..count).map(|n| unlock(&format!("{prefix}{n}"), &["o"])).collect()
}

#[tokio::test(start_paused = true)]
async fn hinted_rows_are_published_together_and_marked() {
    let mut line = Line::new(SETTINGS).await;
    let message = unlock("m", &["o"]);
    line.house.write_outbox(&message).await;
    assert_eq!(line.unpublished().await, ["m"]);
    let hint = line.house.outbox.as_mut().unwrap().recv().await.unwrap();
    assert_eq!(hint, [message]);
    line.relay.hint(hint.clone(), Instant::now());
    line.relay.hint(hint, Instant::now());
    line.run().await;
    assert_eq!(line.bus.published(), ["m"], "a repeated hint is one message");
    assert!(line.unpublished().await.is_empty());
    assert!(line.relay.is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_what_the_bus_took_is_marked() {
    let mut line = Line::new(SETTINGS).await;
    let rows = [unlock("good", &["o"]), unlock("unroutable", &["o"])];
    for row in &rows {
        line.house.write_outbox(row).await;
    }
    line.relay.hint(rows.to_vec(), Instant::now());
    line.run().await;
    assert_eq!(line.bus.published(), ["good"]);
    assert_eq!(line.unpublished().await, ["unroutable"]);
    assert_eq!(line.relay.len(), 1, "it will be tried again");
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_away_is_tried_with_growing_pauses() {
    let mut line = Line::new(SETTINGS).await;
    line.bus.is_away.store(true, Ordering::SeqCst);
    line.relay.hint(messages("m", 1), Instant::now());
    let mut tried = Vec::new();
    for _ in 0..14 {
        line.run().await;
        let due = line.relay.next_due().expect("it waits");
        tried.push(due - Instant::now());
        sleep_until(due).await;
    }
    assert!(tried.iter().all(|pause| (SETTINGS.backoff_min..=SETTINGS.backoff_max).contains(pause)), "{tried:?}");
    assert_eq!(tried[0], SETTINGS.backoff_min);
    assert!(tried[6] > Duration::from_secs(3), "{tried:?}");
    assert!(tried[13] >= SETTINGS.backoff_max / 2, "{tried:?}");

    line.bus.is_away.store(false, Ordering::SeqCst);
    line.run().await;
    assert_eq!(line.bus.published(), ["m0"]);
    assert!(line.relay.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rows_whose_hint_was_lost_are_read_when_told_so() {
    let mut line = Line::new(SETTINGS).await;
    for row in messages("m", 3) {
        line.house.write_outbox(&row).await;
    }
    sleep(Duration::from_secs(2)).await;
    line.run().await;
    assert!(line.bus.published().is_empty(), "nobody told");
    line.relay.hint(Vec::new(), Instant::now());
    line.run().await;
    assert_eq!(line.bus.published(), ["m0", "m1", "m2"]);
    assert!(line.unpublished().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rows_of_an_earlier_process_are_published_at_start_even_if_it_published_them() {
    let line = Line::new(SETTINGS).await;
    let row = unlock("m", &["o"]);
    line.house.write_outbox(&row).await;
    // The earlier process ended between publish and mark.
    assert_eq!(line.bus.publish(&[row]).await, [Ok(())]);
    sleep(Duration::from_secs(2)).await;
    let mut next = Line { relay: Relay::new(SETTINGS, Arc::new(SeededEntropy::new(2))), ..line };
    next.run().await;
    assert_eq!(next.bus.published(), ["m", "m"], "twice, never not at all");
    assert!(next.unpublished().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_the_rest_follows_from_the_outbox() {
    let settings = RelaySettings { capacity: 8, batch: 4, ..SETTINGS };
    let mut line = Line::new(settings).await;
    let rows = messages("m", 50);
    for row in &rows {
        line.house.write_outbox(row).await;
    }
    line.bus.is_away.store(true, Ordering::SeqCst);
    line.relay.hint(rows, Instant::now());
    assert_eq!(line.relay.len(), 8);
    line.run().await;
    assert_eq!(line.relay.len(), 8);

    line.bus.is_away.store(false, Ordering::SeqCst);
    while let Some(due) = line.relay.next_due() {
        sleep_until(due.max(Instant::now() + Duration::from_secs(1))).await;
        line.run().await;
        assert!(line.relay.len() <= 8);
    }
    assert_eq!(line.bus.published().len(), 50, "each once");
    assert!(line.unpublished().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn messages_that_never_go_do_not_hide_those_behind_them() {
    let settings = RelaySettings { capacity: 16, batch: 4, ..SETTINGS };
    let mut line = Line::new(settings).await;
    for row in messages("unroutable", 6).iter().chain(&messages("m", 10)) {
        line.house.write_outbox(row).await;
    }
    sleep(Duration::from_secs(2)).await;
    line.relay.hint(Vec::new(), Instant::now());
    line.run().await;
    assert_eq!(line.bus.published().len(), 10);
    assert_eq!(line.unpublished().await.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_mark_failed_is_not_published_again() {
    let mut line = Line::new(SETTINGS).await;
    let row = unlock("m", &["o"]);
    line.house.write_outbox(&row).await;
    line.relay.hint(vec![row], Instant::now());
    let batch = line.relay.take(Instant::now());
    line.relay.settle(batch, &[Sent::Unmarked], Instant::now());
    sleep_until(line.relay.next_due().unwrap()).await;
    line.run().await;
    assert!(line.bus.published().is_empty(), "the bus has it already");
    assert!(line.unpublished().await.is_empty(), "only the mark was missing");
}
