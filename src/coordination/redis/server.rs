//! Which server there is, how it is reached, and what is wrong with it.

use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError};
use tokio::time::timeout;

use super::RedisSettings;

/// Oldest major version that is supported.
const OLDEST: u32 = 7;
/// A connection whose bytes are not acknowledged for so long is given up, else a cut cable is noticed after minutes.
const UNACKNOWLEDGED: Duration = Duration::from_secs(2);
/// An idle connection is probed this often.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Redis cannot be used. Each message begins with the setting to look at and holds no password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not an address of a Redis server.
    #[error("{setting}: not a usable Redis address: {reason}")]
    Url {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers there, or in another language.
    #[error("redis.url: {address} does not answer: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The user or the password is wrong, or the user may not do what is needed.
    #[error("redis.url: {address} refuses what is needed: {reason}")]
    Refused {
        /// Host and port.
        address: String,
        /// What the server says.
        reason: String,
    },
    /// Too old.
    #[error("redis.url: {address} is Redis {found}; {OLDEST}.0 or later is needed")]
    Version {
        /// Host and port.
        address: String,
        /// Its version.
        found: String,
    },
    /// Further addresses beside a single server.
    #[error("redis.more_urls: must be empty, {address} is not a node of a Redis Cluster")]
    NotCluster {
        /// Host and port.
        address: String,
    },
}

/// A server that answered, and its companions if it is one node of a cluster.
pub(super) struct Server {
    /// The addresses that were given, the one that answered first.
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) is_cluster: bool,
}

impl Server {
    /// Asks the addresses in turn until one answers; what it says of itself decides how it is used.
    pub(super) async fn find(settings: &RedisSettings) -> Result<Self, OpenError> {
        let mut nodes = vec![node("redis.url", &settings.url)?];
        for url in &settings.more_urls {
            nodes.push(node("redis.more_urls", url)?);
        }
        let mut first_error = None;
        for at in 0..nodes.len() {
            match facts(&nodes[at], settings).await {
                Ok(facts) => {
                    nodes.rotate_left(at);
                    return Self::checked(nodes, &facts);
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or(OpenError::Url { setting: "redis.url", reason: "empty".into() }))
    }

    /// Host and port of the one that answered.
    pub(super) fn address(&self) -> String {
        self.nodes[0].addr().to_string()
    }

    fn checked(nodes: Vec<ConnectionInfo>, facts: &str) -> Result<Self, OpenError> {
        let address = nodes[0].addr().to_string();
        let found = fact(facts, "redis_version").unwrap_or("of an unknown version");
        let major = found.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < OLDEST) {
            return Err(OpenError::Version { address, found: found.to_owned() });
        }
        let is_cluster = fact(facts, "cluster_enabled") == Some("1");
        if !is_cluster && nodes.len() > 1 {
            return Err(OpenError::NotCluster { address });
        }
        if fact(facts, "maxmemory") != Some("0") && fact(facts, "maxmemory_policy") != Some("noeviction") {
            // No oversell comes of it, but each key that goes is a sale that pauses while it is rebuilt.
            tracing::warn!(%address, "redis.url: this server evicts keys; maxmemory-policy noeviction is better");
        }
        Ok(Self { nodes, is_cluster })
    }
}

pub(super) fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(UNACKNOWLEDGED)
}

/// Words for an error of the client while opening.
pub(super) fn open_error(node: &ConnectionInfo, error: &RedisError) -> OpenError {
    let address = node.addr().to_string();
    let reason = error.to_string();
    let is_refusal = error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
    match (is_refusal, error.kind()) {
        (true, _) => OpenError::Refused { address, reason },
        (false, ErrorKind::InvalidClientConfig) => OpenError::Url { setting: "redis.url", reason },
        (false, _) => OpenError::Unreachable { address, reason },
    }
}

fn node(setting: &'static str, url: &str) -> Result<ConnectionInfo, OpenError> {
    if url.starts_with("rediss://") {
        let reason = "TLS is not built in; let a proxy beside the server carry it".into();
        return Err(OpenError::Url { setting, reason });
    }
    let info = url.into_connection_info();
    let info = info.map_err(|error| OpenError::Url { setting, reason: error.to_string() })?;
    Ok(info.set_tcp_settings(tcp_settings()))
}

async fn facts(node: &ConnectionInfo, settings: &RedisSettings) -> Result<String, OpenError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.response_timeout));
    let asked = async {
        let mut connection = Client::open(node.clone())?.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("INFO").query_async::<String>(&mut connection).await
    };
    let limit = settings.connect_timeout + 2 * settings.response_timeout;
    match timeout(limit, asked).await {
        Ok(answer) => answer.map_err(|error| open_error(node, &error)),
        Err(_) => Err(OpenError::Unreachable {
            address: node.addr().to_string(),
            reason: format!("nothing within {limit:?}"),
        }),
    }
}

/// A line `name:value` of INFO.
fn fact<'a>(facts: &'a str, name: &str) -> Option<&'a str> {
    facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINGLE: &str = "# Server\r\nredis_version:7.0.15\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n# Cluster\r\ncluster_enabled:0\r\n";

    fn nodes(urls: &[&str]) -> Vec<ConnectionInfo> {
        urls.iter().map(|url| node("redis.url", url).unwrap()).collect()
    }

    #[test]
    fn what_the_server_says_decides_how_it_is_used() {
        let one = nodes(&["redis://cache:6379"]);
        assert!(!Server::checked(one.clone(), SINGLE).unwrap().is_cluster);
        let cluster = SINGLE.replace("cluster_enabled:0", "cluster_enabled:1");
        assert!(Server::checked(one.clone(), &cluster).unwrap().is_cluster);

        let two = nodes(&["redis://cache:6379", "redis://other:6379"]);
        assert!(Server::checked(two.clone(), &cluster).unwrap().is_cluster);
        let error = Server::checked(two, SINGLE).err().unwrap().to_string();
        assert_eq!(error, "redis.more_urls: must be empty, cache:6379 is not a node of a Redis Cluster");

        let old = SINGLE.replace("7.0.15", "6.2.14");
        let error = Server::checked(one.clone(), &old).err().unwrap().to_string();
        assert_eq!(error, "redis.url: cache:6379 is Redis 6.2.14; 7.0 or later is needed");
        assert!(matches!(Server::checked(one, "hello"), Err(OpenError::Version { .. })));
    }

    #[test]
    fn addresses_that_cannot_be_used_name_their_setting() {
        for (setting, url) in [("redis.url", ""), ("redis.more_urls", "http://cache"), ("redis.url", "rediss://cache")]
        {
            let error = node(setting, url).err().unwrap().to_string();
            assert!(error.starts_with(&format!("{setting}: not a usable Redis address: ")), "{error}");
        }
    }
}
