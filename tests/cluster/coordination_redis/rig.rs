//! Servers to test on, and words that the tests share.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actors::domain::{SaleId, UserId};
use actors::ports::coordination::{AcquireBatch, Acquired, Coordination, Permit, SemaphoreContent};
use seckill::coordination::redis::{RedisCoordination, RedisSettings};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::variable;

/// Numbered databases of the shared server.
const DATABASES: u32 = 4096;
const PATIENCE: Duration = Duration::from_secs(10);
pub const PASSWORD: &str = "hush";

/// Limits as in `config/default.toml`.
pub fn settings(url: &str) -> RedisSettings {
    RedisSettings {
        url: url.to_owned(),
        more_urls: Vec::new(),
        connect_timeout: Duration::from_secs(1),
        response_timeout: Duration::from_millis(500),
        pipeline_buffer: 1024,
        token_life: Duration::from_secs(60),
    }
}

pub async fn open(url: &str) -> RedisCoordination {
    RedisCoordination::open(&settings(url)).await.expect("redis opens")
}

/// A database of its own on the shared server; the first is random so that runs at the same time keep apart.
pub fn single_url() -> String {
    let random = u32::try_from(getrandom::u64().expect("random bits") % u64::from(DATABASES)).expect("small");
    format!("{}/{random}", variable("SECKILL_TEST_REDIS_URL"))
}

pub async fn on_single() -> RedisCoordination {
    open(&single_url()).await
}

pub async fn on_cluster() -> RedisCoordination {
    let urls = variable("SECKILL_TEST_REDIS_CLUSTER_URLS");
    let mut urls = urls.split(',').map(str::to_owned);
    let url = urls.next().expect("a first address");
    let more_urls = urls.collect();
    RedisCoordination::open(&RedisSettings { more_urls, ..settings(&url) }).await.expect("the cluster opens")
}

/// A server of the test's own, killed when it is dropped.
pub struct RedisServer {
    folder: TempDir,
    port: u16,
    options: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(options: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { folder, port: free_port(), options, process: None };
        server.start_again().await;
        server
    }

    /// With the same data folder and port.
    pub async fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD, "--port"]);
        command.arg(self.port.to_string()).arg("--dir").arg(self.folder.path()).args(&self.options);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.process = Some(process.expect("redis-server (Debian package redis-server) starts"));
        let deadline = Instant::now() + PATIENCE;
        while self.try_ask::<String>(&redis::cmd("PING")).await.is_err() {
            assert!(Instant::now() < deadline, "redis-server is not ready");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("killed");
            process.wait().expect("gone");
        }
    }

    /// STOP or CONT.
    pub fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args(["-s", name, &process]).status().expect("kill").success());
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        self.url_of("", PASSWORD)
    }

    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}", self.port)
    }

    /// A command beside the adapter.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        self.try_ask(&command).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    async fn try_ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> redis::RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_multiplexed_async_connection().await?;
        command.query_async(&mut connection).await
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Free a moment ago; nobody picks ports of the ephemeral range by number.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|probe| probe.local_addr()).expect("a port").port()
}

/// Three masters of the test's own.
pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10_922), (10_923, 16_383)];

    /// A sale keeps its slot when another master is away, and the cluster hears soon that one is.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        let mut bus_ports = Vec::new();
        for (first, last) in Self::SLOTS {
            let bus_port = free_port().to_string();
            let options = ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"];
            let timing = ["--cluster-node-timeout", "1000", "--cluster-port", &bus_port];
            let node = RedisServer::start_with(&[options, timing].concat()).await;
            node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await;
            nodes.push(node);
            bus_ports.push(bus_port);
        }
        for (number, bus_port) in bus_ports.iter().enumerate().skip(1) {
            let port = nodes[number].port.to_string();
            nodes[0].ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, bus_port]).await;
        }
        let cluster = Self { nodes };
        let deadline = Instant::now() + PATIENCE;
        while !cluster.is_together().await {
            assert!(Instant::now() < deadline, "the cluster does not come together");
            sleep(Duration::from_millis(20)).await;
        }
        cluster
    }

    async fn is_together(&self) -> bool {
        for node in &self.nodes {
            let facts: String = node.ask(&["CLUSTER", "INFO"]).await;
            if !facts.contains("cluster_state:ok") || !facts.contains("cluster_size:3") {
                return false;
            }
        }
        true
    }

    /// The number of the master that has a sale's keys.
    pub async fn master_of(&self, sale_id: SaleId) -> usize {
        let slot: u16 = self.nodes[0].ask(&["CLUSTER", "KEYSLOT", &format!("{{{sale_id}}}")]).await;
        Self::SLOTS.iter().position(|(first, last)| (*first..=*last).contains(&slot)).expect("all slots are served")
    }

    /// A sale on that master.
    pub async fn sale_on(&self, master: usize) -> SaleId {
        loop {
            let sale_id = fresh_sale();
            if self.master_of(sale_id).await == master {
                return sale_id;
            }
        }
    }

    pub async fn open(&self) -> RedisCoordination {
        let more_urls = self.nodes[1..].iter().map(RedisServer::url).collect();
        let settings = RedisSettings { more_urls, ..settings(&self.nodes[0].url()) };
        RedisCoordination::open(&settings).await.expect("the cluster opens")
    }
}

/// Another sale for each test.
pub fn fresh_sale() -> SaleId {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    SaleId(NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn content(sale_id: SaleId, epoch: i64, permits: i64) -> SemaphoreContent {
    SemaphoreContent { sale_id, epoch, permits, holders: Vec::new() }
}

pub fn batch(sale_id: SaleId, epoch: i64, hold_id: u64, users: std::ops::Range<i64>) -> AcquireBatch {
    AcquireBatch { sale_id, epoch, hold_id, per_user_limit: 1, users: users.map(UserId).collect() }
}

/// How many of a batch got a permit; `None` when stale.
pub async fn acquire(coordination: &RedisCoordination, batch: &AcquireBatch) -> Option<usize> {
    match coordination.try_acquire(batch).await.expect("try_acquire") {
        Acquired::Decided(permits) => Some(permits.iter().filter(|permit| **permit == Permit::Acquired).count()),
        Acquired::Stale => None,
    }
}

pub async fn rebuild(coordination: &RedisCoordination, content: &SemaphoreContent) {
    assert!(coordination.rebuild(content).await.expect("rebuild"));
}
