//! The hot path: one connection that every thread shares, each call within a limit.
//!
//! Commands of all callers travel on one socket as they come, so nobody waits for a turn; the buffer in front of it is
//! bounded. A lost connection is made again in the background, for ever. A call meanwhile waits for it, but not longer
//! than the limit of any call; once the server has been away for that long, calls are refused at once, until a probe
//! is answered again. Nothing is sent twice from here: an error means that the outcome is unknown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture, ServerErrorKind, Value};
use tokio::time::{Instant, sleep, timeout};

use actors::ports::coordination::CoordinationError;

use super::RedisSettings;
use super::script::ScriptCall;
use super::server::{OpenError, Server, open_error, tcp_settings};

/// First pause between two attempts to connect, doubled up to the longest. Jitter may double each once more.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// A pause of the cluster client before it asks again, and how often it does within the limit of the call.
const CLUSTER_RETRIES: u32 = 5;
const CLUSTER_PAUSE_MS: (u64, u64) = (10, 100);
/// Pause between two probes of a server that is away.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// A shared connection to a single server or to a cluster.
#[derive(Clone)]
pub(super) enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// The shared connection and its limit.
pub(super) struct Link {
    connection: Connection,
    limit: Duration,
    health: Arc<Health>,
}

impl Link {
    /// Connects. The server has answered a moment ago, so a failure here is worth telling.
    pub(super) async fn open(server: &Server, settings: &RedisSettings) -> Result<Self, OpenError> {
        let opening = async {
            match server.is_cluster {
                true => cluster(server, settings).await.map(Connection::Cluster),
                false => single(server, settings).await.map(Connection::Single),
            }
        };
        let limit = settings.connect_timeout + settings.response_timeout;
        let connection = match timeout(limit, opening).await {
            Ok(opened) => opened.map_err(|error| open_error(&server.nodes[0], &error))?,
            Err(_) => {
                let reason = format!("no connection within {limit:?}");
                return Err(OpenError::Unreachable { address: server.address(), reason });
            }
        };
        Ok(Self { connection, limit: settings.response_timeout, health: Arc::default() })
    }

    /// Runs a script; one that the server does not know is sent in full.
    pub(super) async fn run<T: FromRedisValue>(&self, call: &ScriptCall) -> Result<T, CoordinationError> {
        self.within_limit(async |connection| match call.by_hash().query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call.in_full().query_async(connection).await
            }
            answer => answer,
        })
        .await
    }

    /// Sends a command.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CoordinationError> {
        self.within_limit(async |connection| command.query_async(connection).await).await
    }

    async fn within_limit<T>(
        &self,
        call: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, CoordinationError> {
        if self.health.away_for().is_some_and(|away| away >= self.limit) {
            return Err(CoordinationError("redis is away".into()));
        }
        let mut connection = self.connection.clone();
        let error = match timeout(self.limit, call(&mut connection)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if is_answer(&error) => return Err(CoordinationError(error.to_string())),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("redis did not answer within {:?}", self.limit),
        };
        self.look_after();
        Err(CoordinationError(error))
    }

    /// Probes until the server answers. A cluster has no such state: one node of it may be away and the others well.
    fn look_after(&self) {
        if matches!(self.connection, Connection::Cluster(_)) || !self.health.note_away() {
            return;
        }
        let (health, limit) = (Arc::downgrade(&self.health), self.limit);
        let mut connection = self.connection.clone();
        tokio::spawn(async move {
            // Ends with the link.
            while let Some(health) = health.upgrade() {
                let ping = redis::cmd("PING");
                if matches!(timeout(limit, ping.query_async::<String>(&mut connection)).await, Ok(Ok(_))) {
                    return health.note_well();
                }
                drop(health);
                sleep(PROBE_PAUSE).await;
            }
        });
    }
}

/// Whether the server itself said no, so that it is there.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType)
}

async fn single(server: &Server, settings: &RedisSettings) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.response_timeout))
        .set_pipeline_buffer_size(settings.pipeline_buffer)
        .set_number_of_retries(usize::MAX)
        .set_min_delay(FIRST_PAUSE)
        .set_max_delay(LONGEST_PAUSE);
    Client::open(server.nodes[0].clone())?.get_connection_manager_with_config(config).await
}

async fn cluster(server: &Server, settings: &RedisSettings) -> Result<ClusterConnection, RedisError> {
    let client = ClusterClientBuilder::new(server.nodes.clone())
        .tcp_settings(tcp_settings())
        .connection_timeout(settings.connect_timeout)
        .response_timeout(settings.response_timeout)
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(CLUSTER_PAUSE_MS.0)
        .max_retry_wait(CLUSTER_PAUSE_MS.1)
        .connection_concurrency_limit(settings.pipeline_buffer)
        .build()?;
    client.get_async_connection().await
}

/// Since when the server is away.
#[derive(Default)]
struct Health {
    away_since: Mutex<Option<Instant>>,
}

impl Health {
    fn away_for(&self) -> Option<Duration> {
        self.away_since.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }

    /// `true` for the first who notes it.
    fn note_away(&self) -> bool {
        let mut since = self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = since.is_none();
        since.get_or_insert_with(Instant::now);
        if is_news {
            metrics::counter!("seckill_redis_away_total").increment(1);
            tracing::warn!("redis is away");
        }
        is_news
    }

    fn note_well(&self) {
        let mut since = self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = since.take() {
            tracing::info!(away_ms = since.elapsed().as_millis(), "redis answers again");
        }
    }
}
