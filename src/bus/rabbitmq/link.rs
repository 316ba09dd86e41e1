//! One connection, and who keeps it alive: connects, declares the topology, opens the channels, watches, and when it
//! breaks drops it whole and builds another, for ever.
//!
//! The client's own recovery is not used: it gives up after a number of tries, and what waits for it may wait for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actors::ports::bus::BusError;
use actors::ports::clock::{Clock, Entropy, message_id};
use async_trait::async_trait;
use lapin::protocol::AMQPError;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, ErrorKind};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::status::{LinkName, LinkState, RabbitStatus};
use super::{RabbitSettings, delay_log, topology};

/// How often a connection is looked at. The client's events are not listened to: they queue without a bound and do not
/// tell of every end.
const LOOK: Duration = Duration::from_millis(50);
/// Longest wait for an attempt to connect by the keeper, who has nothing else to do. Each attempt given up leaves a
/// thread of the client waiting for the peer, so they are few while a frozen broker takes connections and says nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait for the memory of delay queues; shorter than the first connect may take.
const RETIRING: Duration = Duration::from_secs(3);
const GOODBYE: Duration = Duration::from_secs(2);
const BACKOFF_MIN: Duration = Duration::from_millis(200);

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The broker answers and says no; trying again changes nothing before somebody acts.
    Refused(String),
    /// It cannot be reached, or not now.
    Away(String),
}

/// Reply codes that no repetition changes: access refused, precondition failed, not allowed, not implemented.
const REFUSALS: [u16; 4] = [403, 406, 530, 540];
const NOT_FOUND: u16 = 404;

fn protocol_error(error: &lapin::Error) -> Option<&AMQPError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error),
        _ => None,
    }
}

/// Whether the broker does not know what was named.
pub(super) fn is_not_found(error: &lapin::Error) -> bool {
    protocol_error(error).is_some_and(|error| error.get_id() == NOT_FOUND)
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        let is_refused = protocol_error(&error).is_some_and(|error| REFUSALS.contains(&error.get_id()));
        let is_no_broker = matches!(error.kind(), ErrorKind::InvalidProtocolVersion(_) | ErrorKind::ParsingError(_));
        match is_refused || is_no_broker {
            true => Self::Refused(error.to_string()),
            false => Self::Away(error.to_string()),
        }
    }
}

/// An open connection.
pub(super) struct Line {
    pub(super) connection: Connection,
    /// Set by whoever notices first, at the latest by the keeper's next look.
    gone: CancellationToken,
}

impl Line {
    fn new(connection: Connection) -> Self {
        Self { connection, gone: CancellationToken::new() }
    }

    /// It is lost, or something on it ended that cannot be mended alone: it is to be built again.
    pub(super) fn give_up(&self) {
        self.gone.cancel();
    }

    pub(super) fn is_open(&self) -> bool {
        !self.gone.is_cancelled() && self.connection.status().connected()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Resolves once it is lost.
    pub(super) async fn lost(&self) {
        self.gone.cancelled().await;
    }

    /// Whether something can be published through it.
    pub(super) fn check(&self) -> Result<(), BusError> {
        if !self.is_open() {
            return Err(BusError("the connection to the broker is lost".into()));
        }
        if self.is_blocked() {
            return Err(BusError("the broker is short of memory or disk and takes nothing".into()));
        }
        Ok(())
    }

    /// Resolves once nothing can be published through it, with the reason.
    pub(super) async fn interrupted(&self) -> BusError {
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            sleep(LOOK).await;
        }
    }
}

/// What a connection is for.
#[async_trait]
pub(super) trait Link: Send + Sync + 'static {
    /// Which of the two.
    fn name(&self) -> LinkName;

    /// Opens its channels on a new connection and offers them.
    async fn open(&self, line: &Arc<Line>) -> lapin::Result<()>;

    /// Offers nothing any more.
    fn close(&self);
}

/// Keeps connections alive.
pub(super) struct Keeper {
    pub(super) uri: AMQPUri,
    pub(super) settings: RabbitSettings,
    pub(super) status: RabbitStatus,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    /// Other delay queues were retired; once a process.
    pub(super) has_retired: AtomicBool,
    pub(super) stop: CancellationToken,
}

impl Keeper {
    /// One attempt, at most `limit` long.
    pub(super) async fn establish(&self, link: &dyn Link, limit: Duration) -> Result<Arc<Line>, Failure> {
        let established = match timeout(limit, self.attempt(link)).await {
            Ok(established) => established,
            Err(_) => Err(Failure::Away(format!("no answer within {limit:?}"))),
        };
        let state = match &established {
            Ok(_) => LinkState::Up,
            Err(Failure::Refused(_)) => LinkState::Refused,
            Err(Failure::Away(_)) => LinkState::Away,
        };
        if state != LinkState::Up {
            link.close();
        }
        self.status.set_link(link.name(), state);
        established
    }

    async fn attempt(&self, link: &dyn Link) -> Result<Arc<Line>, Failure> {
        let name = format!("seckill {}", link.name().as_str());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = Connection::connect_uri(self.uri.clone(), properties).await?;
        topology::declare(&connection, &self.settings.delays).await?;
        if link.name() == LinkName::Publish && !self.has_retired.load(Ordering::Acquire) {
            self.retire(&connection).await;
        }
        let line = Arc::new(Line::new(connection));
        link.open(&line).await?;
        if link.name() == LinkName::Publish {
            self.status.set_routable(actors::domain::events::RoutingKey::ALL);
        }
        Ok(line)
    }

    /// Other delay queues stay bound when this fails: messages then wait in both, and the second arrival finds its work
    /// done. So nothing else waits for it, and the next connection tries again.
    async fn retire(&self, connection: &Connection) {
        let marker = message_id(self.clock.now(), self.entropy.as_ref());
        match timeout(RETIRING, delay_log::retire_others(connection, &self.settings.delays, &marker)).await {
            Ok(Ok(())) => self.has_retired.store(true, Ordering::Release),
            Ok(Err(error)) => tracing::warn!(%error, "delay queues of other timeouts were not unbound"),
            Err(_) => tracing::warn!("delay queues of other timeouts were not unbound in time"),
        }
    }

    /// Keeps the connection of `link` until stopped, beginning with one that is there already.
    pub(super) async fn run(self: Arc<Self>, link: Arc<dyn Link>, mut line: Option<Arc<Line>>) {
        let mut failures = 0;
        loop {
            if let Some(line) = line.take() {
                self.hold(link.as_ref(), &line).await;
                line.give_up();
                link.close();
                self.status.set_link(link.name(), LinkState::Away);
                farewell(&line).await;
                failures = 0;
            }
            let pause = self.backoff(failures);
            if self.stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
            let attempt = self.establish(link.as_ref(), PATIENCE);
            match self.stop.run_until_cancelled(attempt).await {
                Some(Ok(established)) => {
                    metrics::counter!("seckill_bus_reconnects_total", "link" => link.name().as_str()).increment(1);
                    tracing::info!(link = link.name().as_str(), "connected to the broker");
                    line = Some(established);
                }
                Some(Err(failure)) => {
                    failures += 1;
                    tracing::warn!(link = link.name().as_str(), failures, ?failure, "no connection to the broker");
                }
                None => return link.close(),
            }
        }
    }

    /// Watches a connection until it is lost or the bus stops.
    async fn hold(&self, link: &dyn Link, line: &Line) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_publishing = link.name() == LinkName::Publish;
        let mut unroutable_since = None;
        while line.is_open() {
            if self.stop.run_until_cancelled(looks.tick()).await.is_none() {
                return;
            }
            if !is_publishing {
                continue;
            }
            self.status.set_blocked(line.is_blocked());
            if self.status.unroutable().is_empty() {
                unroutable_since = None;
                continue;
            }
            let since = *unroutable_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.settings.repair_pause {
                unroutable_since = None;
                self.repair(line).await;
            }
        }
        if is_publishing {
            self.status.set_blocked(false);
        }
        tracing::warn!(link = link.name().as_str(), "the connection to the broker is lost");
    }

    /// Somebody removed a binding: declares all again, as after a reconnect.
    async fn repair(&self, line: &Line) {
        let declared =
            timeout(self.settings.connect_timeout, topology::declare(&line.connection, &self.settings.delays));
        match declared.await {
            Ok(Ok(())) => {
                tracing::warn!("the topology was not whole and is declared again");
                self.status.set_routable(actors::domain::events::RoutingKey::ALL);
            }
            Ok(Err(error)) => tracing::error!(%error, "the topology is not whole and cannot be declared"),
            Err(_) => line.give_up(),
        }
    }

    /// Doubles up to the longest pause, the upper half of it random, so that nodes do not come back together.
    fn backoff(&self, failures: u32) -> Duration {
        let doubled = BACKOFF_MIN.saturating_mul(1 << failures.min(20)).min(self.settings.reconnect_max);
        let share = (self.entropy.next_u64() >> 40) as u32;
        doubled / 2 + doubled / 2 * share / (1 << 24)
    }
}

/// Unanswered deliveries go back when the connection ends; a broker that does not hear it finds out by itself.
async fn farewell(line: &Line) {
    if line.connection.status().connected() {
        // Refused or late, it is dropped next.
        let _ = timeout(GOODBYE, line.connection.close(200, "bye".into())).await;
    }
}
