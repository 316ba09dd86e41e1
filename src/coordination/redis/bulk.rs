//! Large transfers, on connections of their own so that the hot path does not wait behind them.

use std::time::Duration;

use actors::domain::UserId;
use actors::ports::coordination::CoordinationError;
use deadpool_redis::{PoolConfig, Runtime, Timeouts, cluster};
use redis::{Pipeline, RedisError};
use tokio::time::timeout;

use super::RedisSettings;
use super::server::{OpenError, Server};

/// Connections; several sales may be rebuilt together.
const CONNECTIONS: usize = 4;
/// Holders in one transfer, and how long one may take.
const CHUNK: usize = 2000;
const CHUNK_LIMIT: Duration = Duration::from_secs(2);
/// What was staged and never switched in goes by itself.
const STAGED_SECONDS: i64 = 60;

/// A pool of connections.
pub(super) enum Bulk {
    Single(deadpool_redis::Pool),
    Cluster(cluster::Pool),
}

impl Bulk {
    /// Connects to nothing yet.
    pub(super) fn new(server: &Server, settings: &RedisSettings) -> Result<Self, OpenError> {
        let misfit = |reason: String| OpenError::Url { setting: "redis.url", reason };
        let timeouts = Timeouts {
            wait: Some(settings.response_timeout),
            create: Some(settings.connect_timeout),
            recycle: Some(settings.response_timeout),
        };
        let config = PoolConfig { max_size: CONNECTIONS, timeouts, ..PoolConfig::default() };
        if server.is_cluster {
            let manager = cluster::Manager::new(server.nodes.clone(), false).map_err(|e| misfit(e.to_string()))?;
            let pool = cluster::Pool::builder(manager).config(config).runtime(Runtime::Tokio1).build();
            return pool.map(Self::Cluster).map_err(|error| misfit(error.to_string()));
        }
        let manager = deadpool_redis::Manager::new_with_config(
            server.nodes[0].clone(),
            redis::AsyncConnectionConfig::new()
                .set_connection_timeout(Some(settings.connect_timeout))
                .set_response_timeout(Some(CHUNK_LIMIT)),
        )
        .map_err(|error| misfit(error.to_string()))?;
        let pool = deadpool_redis::Pool::builder(manager).config(config).runtime(Runtime::Tokio1).build();
        pool.map(Self::Single).map_err(|error| misfit(error.to_string()))
    }

    /// Writes the counts of holders to a hash that does not serve yet.
    pub(super) async fn stage(&self, key: &str, holders: &[(UserId, u32)]) -> Result<(), CoordinationError> {
        let mut fresh = redis::pipe();
        fresh.unlink(key).ignore();
        self.send(&fresh).await?;
        for chunk in holders.chunks(CHUNK) {
            let counts: Vec<(i64, u32)> = chunk.iter().map(|(user_id, held)| (user_id.0, *held)).collect();
            let mut transfer = redis::pipe();
            transfer.hset_multiple(key, &counts).ignore().expire(key, STAGED_SECONDS).ignore();
            self.send(&transfer).await?;
        }
        Ok(())
    }

    async fn send(&self, pipeline: &Pipeline) -> Result<(), CoordinationError> {
        match timeout(CHUNK_LIMIT, self.exec(pipeline)).await {
            Ok(sent) => sent,
            Err(_) => Err(CoordinationError(format!("redis did not answer within {CHUNK_LIMIT:?}"))),
        }
    }

    async fn exec(&self, pipeline: &Pipeline) -> Result<(), CoordinationError> {
        let failed = |error: RedisError| CoordinationError(error.to_string());
        match self {
            Self::Single(pool) => {
                let mut connection = pool.get().await.map_err(|error| CoordinationError(error.to_string()))?;
                pipeline.exec_async(&mut connection).await.map_err(failed)
            }
            Self::Cluster(pool) => {
                let mut connection = pool.get().await.map_err(|error| CoordinationError(error.to_string()))?;
                pipeline.exec_async(&mut connection).await.map_err(failed)
            }
        }
    }
}
