//! What is known of the broker: for `/readyz`, for metrics, and for whoever must mend the topology.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actors::domain::events::RoutingKey;
use tokio::time::Instant;

/// One of the two connections. Publishing has its own, because a broker that is short of memory or disk stops reading
/// from connections that publish, and acknowledgements must go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkName {
    /// Outbox → broker.
    Publish,
    /// Broker → dispatchers.
    Consume,
}

impl LinkName {
    /// Its name in metrics, logs and the broker's list of connections.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

/// How a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// The broker cannot be reached.
    #[default]
    Away,
    /// The broker answers and says no: wrong login, missing permission, a queue declared otherwise.
    Refused,
    /// Connected, topology declared, channels open.
    Up,
}

#[derive(Debug, Default)]
struct Known {
    publish: LinkState,
    consume: LinkState,
    is_blocked: bool,
    /// Keys whose last message found no queue.
    unroutable: BTreeSet<RoutingKey>,
    /// Keys whose queue confirms nothing, until when they are not tried again.
    stalled: BTreeMap<RoutingKey, Instant>,
}

/// What is known of the broker now. Cheap to clone; all clones show the same.
#[derive(Clone, Debug, Default)]
pub struct RabbitStatus {
    known: Arc<Mutex<Known>>,
}

impl RabbitStatus {
    /// Both connections are up. When not, the node stays ready: sales go on, effects wait in the outbox.
    pub fn is_connected(&self) -> bool {
        self.known().is_connected()
    }

    /// The topology is declared, and every key that is published leads to a queue.
    pub fn is_verified(&self) -> bool {
        self.known().is_verified()
    }

    /// Whether the node may take work as far as the broker is concerned: all is well, or the broker is away.
    pub fn is_ready(&self) -> bool {
        !self.is_connected() || self.is_verified()
    }

    /// The broker refuses publishing for now, short of memory or disk.
    pub fn is_blocked(&self) -> bool {
        self.known().is_blocked
    }

    /// Keys whose last message found no queue.
    pub fn unroutable(&self) -> Vec<RoutingKey> {
        self.known().unroutable.iter().copied().collect()
    }

    /// Keys whose queue confirms nothing; they are left alone for a while, or everything else would wait with them.
    pub fn stalled(&self) -> Vec<RoutingKey> {
        let mut known = self.known();
        if known.stalled.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        known.stalled.retain(|_, until| *until > now);
        known.measure();
        known.stalled.keys().copied().collect()
    }

    /// A new connection: every key is tried.
    pub(super) fn set_live(&self) {
        let mut known = self.known();
        known.stalled.clear();
        known.measure();
    }

    pub(super) fn set_stalled(&self, key: RoutingKey, until: Instant) {
        let mut known = self.known();
        if known.stalled.insert(key, until).is_none() {
            tracing::error!(key = key.as_str(), "its queue confirms nothing; messages stay here");
        }
        known.measure();
    }

    pub(super) fn set_link(&self, name: LinkName, state: LinkState) {
        let mut known = self.known();
        match name {
            LinkName::Publish => known.publish = state,
            LinkName::Consume => known.consume = state,
        }
        let is_up = if state == LinkState::Up { 1.0 } else { 0.0 };
        metrics::gauge!("seckill_bus_connected", "link" => name.as_str()).set(is_up);
        known.measure();
    }

    pub(super) fn set_blocked(&self, is_blocked: bool) {
        let mut known = self.known();
        if known.is_blocked != is_blocked {
            tracing::warn!(is_blocked, "the broker changed its mind about publishing");
        }
        known.is_blocked = is_blocked;
        known.measure();
    }

    pub(super) fn set_unroutable(&self, key: RoutingKey) {
        metrics::counter!("seckill_bus_unroutable_total", "key" => key.as_str()).increment(1);
        let mut known = self.known();
        if known.unroutable.insert(key) {
            tracing::error!(exchange = key.exchange(), key = key.as_str(), "no queue is bound; messages stay here");
        }
        known.measure();
    }

    pub(super) fn set_routable(&self, keys: impl IntoIterator<Item = RoutingKey>) {
        let mut known = self.known();
        if known.unroutable.is_empty() {
            return;
        }
        for key in keys {
            known.unroutable.remove(&key);
        }
        known.measure();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Flags and a set: nothing can be half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_connected(&self) -> bool {
        self.publish == LinkState::Up && self.consume == LinkState::Up
    }

    fn is_verified(&self) -> bool {
        self.is_connected() && self.unroutable.is_empty()
    }

    fn measure(&self) {
        let alarm = |name: &'static str, is_raised: bool| {
            metrics::gauge!("seckill_bus_alarm", "alarm" => name).set(if is_raised { 1.0 } else { 0.0 });
        };
        let any = |state| self.publish == state || self.consume == state;
        alarm("away", any(LinkState::Away));
        alarm("refused", any(LinkState::Refused));
        alarm("blocked", self.is_blocked);
        alarm("unroutable", !self.unroutable.is_empty());
        alarm("stalled", !self.stalled.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_all_is_well_or_the_broker_is_away() {
        let status = RabbitStatus::default();
        assert!(!status.is_connected() && !status.is_verified() && status.is_ready());
        status.set_link(LinkName::Publish, LinkState::Up);
        assert!(!status.is_connected(), "half of it is not enough");
        status.set_link(LinkName::Consume, LinkState::Refused);
        assert!(!status.is_connected() && status.is_ready(), "a login that is refused later is an outage too");
        status.set_link(LinkName::Consume, LinkState::Up);
        assert!(status.is_verified() && status.is_ready());

        status.set_unroutable(RoutingKey::StockMinus);
        assert!(!status.is_verified() && !status.is_ready());
        status.set_routable([RoutingKey::StockUnlock]);
        assert_eq!(status.unroutable(), [RoutingKey::StockMinus]);
        status.set_link(LinkName::Publish, LinkState::Away);
        assert!(status.is_ready(), "an outage refuses nobody");
        status.set_routable(RoutingKey::ALL);
        assert!(status.unroutable().is_empty());
    }
}
