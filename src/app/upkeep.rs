//! What has to be cleared away now and then.

use std::sync::Arc;
use std::time::Duration;

use actors::order::Orders;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(600);

/// Forgets idempotency keys that are no longer good, until told to stop.
pub async fn forget_old_keys(orders: Arc<Orders>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match orders.forget_old_keys().await {
            Ok(0) => {}
            Ok(forgotten) => tracing::debug!(forgotten, "old idempotency keys"),
            Err(unavailable) => tracing::warn!(%unavailable, "old idempotency keys stay for now"),
        }
    }
}
