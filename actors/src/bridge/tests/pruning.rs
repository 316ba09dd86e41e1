//! Forgetting spent messages.

use std::time::Duration;

use tokio::time::advance;

use super::rig::{House, unlock};
use crate::bridge::{PRUNED_AT_ONCE, PruneSettings, Pruner};
use crate::ports::store::MessageReads;
use crate::ports::store::units::MarkPublished;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(start_paused = true)]
async fn everything_that_is_old_enough_goes_in_one_step() {
    let house = House::new();
    let many = 2 * PRUNED_AT_ONCE + 1;
    let ids: Vec<String> = (0..many).map(|number| format!("message {number}")).collect();
    for id in &ids {
        house.write_outbox(&unlock(id, &["order-1"])).await;
    }
    house.writer.commit(MarkPublished { message_ids: ids[1..].to_vec() }).await.unwrap();
    let settings = PruneSettings { published: DAY, seen: 30 * DAY, replayed: 2 * DAY };
    let pruner = Pruner::new(house.writer.clone(), settings);
    assert_eq!(pruner.step().await, Ok(0));
    advance(DAY).await;
    assert_eq!(pruner.step().await, Ok(many - 1), "published rows");
    assert_eq!(house.unpublished().await.len(), 1, "what is not published waits");
    advance(DAY).await;
    assert_eq!(pruner.step().await, Ok(many), "the parked messages that they came from");
    assert_eq!(house.store.parked(1).await, Ok(vec![]));
    assert_eq!(pruner.step().await, Ok(0));
}
