//! What has to be cleared away now and then.

use std::sync::Arc;
use std::time::Duration;

use actors::bridge::{PruneSettings, Pruner};
use actors::order::Orders;
use tokio_util::sync::CancellationToken;

use crate::config::Retention;

const EVERY: Duration = Duration::from_secs(60);

/// How long spent messages are kept.
pub fn prune_settings(retention: &Retention) -> PruneSettings {
    PruneSettings { published: retention.published, seen: retention.seen, replayed: retention.replayed }
}

/// Forgets idempotency keys that are no longer good, and messages that are done with, until told to stop.
pub async fn forget_what_is_old(orders: Arc<Orders>, pruner: Pruner, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            biased;
            // What is left is found again.
            () = stop.cancelled() => return,
            () = forget(&orders, &pruner) => {}
        }
    }
}

async fn forget(orders: &Orders, pruner: &Pruner) {
    match orders.forget_old_keys().await {
        Ok(0) => {}
        Ok(forgotten) => tracing::debug!(forgotten, "old idempotency keys"),
        Err(unavailable) => tracing::warn!(%unavailable, "old idempotency keys stay for now"),
    }
    match pruner.step().await {
        Ok(0) => {}
        Ok(forgotten) => tracing::debug!(forgotten, "spent messages"),
        Err(unavailable) => tracing::warn!(%unavailable, "spent messages stay for now"),
    }
}
