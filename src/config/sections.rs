//! One struct per section. `config/default.toml` says what each key means to an operator; the comments here are short.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use actors::domain::flash_sale::ChallengeMode;
use serde::{Deserialize, Serialize};

use super::values::{self, Network, Rate, Secret, SecretUrl, Toggle};

/// The whole configuration.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Embedded or cluster.
    pub mode: Mode,
    /// Directory of what embedded mode makes.
    pub data_dir: PathBuf,
    /// HTTP.
    pub server: Server,
    /// Logging.
    pub log: Log,
    /// The store's connections.
    pub database: Database,
    /// The store writer.
    pub writer: Writer,
    /// Redis.
    pub redis: Redis,
    /// RabbitMQ.
    pub rabbitmq: Rabbitmq,
    /// Login.
    pub auth: Auth,
    /// The internal listener's login.
    pub internal: Internal,
    /// Orders.
    pub order: Order,
    /// Flash sales.
    pub flash_sale: FlashSale,
    /// The admission challenge.
    pub challenge: Challenge,
    /// The payment gateway.
    pub alipay: Alipay,
    /// Stock actors.
    pub stock: Stock,
    /// Limits of requests and orders.
    pub limits: Limits,
    /// Bounded admission.
    pub admission: Admission,
    /// Messages.
    pub bus: Bus,
    /// How long what is done with is kept.
    pub retention: Retention,
    /// Demo data and login.
    pub demo: Demo,
    /// The payment sandbox.
    pub sandbox: Sandbox,
}

/// What the server stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// SQLite and this process.
    Embedded,
    /// PostgreSQL, Redis and RabbitMQ.
    Cluster,
}

/// `[server]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Public listener.
    pub listen: SocketAddr,
    /// Internal listener.
    pub internal_listen: SocketAddr,
    /// Worker threads; 0 is one per core.
    pub workers: usize,
    /// Connections per worker.
    pub max_connections: usize,
    /// Backlog of the listening sockets.
    pub backlog: u32,
    /// Largest request body, bytes.
    pub max_body_bytes: usize,
    /// Idle time of a connection.
    #[serde(with = "values::duration")]
    pub keep_alive: Duration,
    /// Time for a request's head.
    #[serde(with = "values::duration")]
    pub head_timeout: Duration,
    /// Time for a request's body.
    #[serde(with = "values::duration")]
    pub body_timeout: Duration,
    /// Time for the client to close.
    #[serde(with = "values::duration")]
    pub disconnect_timeout: Duration,
    /// Deadline of an ordinary request (R27).
    #[serde(with = "values::duration")]
    pub request_timeout: Duration,
    /// Longest long poll.
    #[serde(with = "values::duration")]
    pub long_poll_timeout: Duration,
    /// Longest silence of a stream of events.
    #[serde(with = "values::duration")]
    pub stream_heartbeat: Duration,
    /// Longest life of a stream of events.
    #[serde(with = "values::duration")]
    pub stream_lifetime: Duration,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<Network>,
    /// Not ready before the listeners close (R31).
    #[serde(with = "values::duration")]
    pub drain_pause: Duration,
    /// Whole time of a graceful stop (R31).
    #[serde(with = "values::duration")]
    pub stop_timeout: Duration,
}

/// `[log]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// For people or machines.
    pub format: LogFormat,
    /// Filter directives of tracing-subscriber.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// `[database]`
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Where; see [`Config::database_path`] for embedded mode.
    pub url: SecretUrl,
}

/// `[writer]`, the settings of `actors::writer`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writer {
    /// Units that may wait.
    pub queue: usize,
    /// Units in one transaction.
    pub max_batch: usize,
    /// Longest wait of a unit.
    #[serde(with = "values::duration")]
    pub max_wait: Duration,
    /// Tries after the first.
    pub retries: u32,
}

/// `[redis]`
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Where.
    pub url: SecretUrl,
    /// Further nodes of a Redis Cluster.
    pub more_urls: Vec<SecretUrl>,
    /// Time to connect.
    #[serde(with = "values::duration")]
    pub connect_timeout: Duration,
    /// Time for an answer.
    #[serde(with = "values::duration")]
    pub response_timeout: Duration,
    /// Commands that may wait for the connection.
    pub pipeline_buffer: usize,
}

/// `[rabbitmq]`
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rabbitmq {
    /// Where.
    pub url: SecretUrl,
    /// Unacknowledged messages per consumer.
    pub prefetch: u16,
    /// At start, until the broker counts as away.
    #[serde(with = "values::duration")]
    pub connect_timeout: Duration,
    /// Longest wait for confirms.
    #[serde(with = "values::duration")]
    pub confirm_timeout: Duration,
    /// Silence of twice this is an end.
    #[serde(with = "values::duration")]
    pub heartbeat: Duration,
    /// Longest pause between two attempts to connect.
    #[serde(with = "values::duration")]
    pub reconnect_max: Duration,
    /// Before a damaged topology is declared again.
    #[serde(with = "values::duration")]
    pub repair_pause: Duration,
}

/// `[auth]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// PEM files with public keys.
    pub public_keys: Vec<PathBuf>,
    /// Whether the server's own key is accepted too.
    pub own_key: bool,
    /// Name of the login cookie.
    pub cookie: String,
    /// Required `iss`, when not empty.
    pub issuer: String,
    /// Required `aud`, when not empty.
    pub audience: String,
    /// Longest `exp - iat`; zero is not checked.
    #[serde(with = "values::duration")]
    pub max_lifetime: Duration,
    /// Tolerance for clocks.
    #[serde(with = "values::duration")]
    pub leeway: Duration,
    /// Bound of the remembered tokens.
    pub remembered_tokens: usize,
}

/// `[internal]`
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Internal {
    /// Service token; empty is the file under `data_dir`.
    pub token: Secret,
}

/// `[order]`
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Time to pay.
    #[serde(with = "values::duration")]
    pub payment_timeout: Duration,
    /// From the end of that to closing.
    #[serde(with = "values::duration")]
    pub close_grace: Duration,
    /// Life of an order token.
    #[serde(with = "values::duration")]
    pub token_ttl: Duration,
    /// HMAC secret of order tokens; empty is the file under `data_dir`.
    pub token_secret: Secret,
    /// Days from shipment until an order counts as received.
    pub auto_confirm_days: u32,
    /// Days from the receipt during which units may be asked back.
    pub return_days: u32,
    /// Points per whole yuan.
    pub points_per_yuan: u32,
    /// Orders closed at the same time.
    pub close_concurrency: usize,
    /// How long closing asks an unsure gateway.
    #[serde(with = "values::duration")]
    pub close_give_up: Duration,
    /// Between two sweeps.
    #[serde(with = "values::duration")]
    pub sweep_interval: Duration,
}

/// `[flash_sale]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlashSale {
    /// Time to pay a won order.
    #[serde(with = "values::duration")]
    pub payment_timeout: Duration,
    /// Units per user, where a new sale does not say.
    pub per_user_limit: u32,
    /// When a proof of work is asked for, where a new sale does not say.
    pub challenge: ChallengeMode,
    /// Between two looks at the store's remaining.
    #[serde(with = "values::duration")]
    pub refresh_interval: Duration,
    /// Between two corrections of the permits.
    #[serde(with = "values::duration")]
    pub reconcile_interval: Duration,
    /// Attempts that may wait.
    pub queue: usize,
    /// Attempts decided together.
    pub max_batch: usize,
    /// Buyers that may wait for their order.
    pub max_waiters: usize,
    /// The same for one buyer.
    pub max_waiters_per_user: usize,
}

/// `[challenge]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// Zero bits of a solution's hash.
    pub difficulty_bits: u8,
    /// Time to solve.
    #[serde(with = "values::duration")]
    pub solve_within: Duration,
    /// Life of a path token.
    #[serde(with = "values::duration")]
    pub token_life: Duration,
    /// Used tokens that are remembered.
    pub spent_tokens: usize,
    /// Share of use that switches it on, in percent; 0 is never.
    pub load_on_percent: u32,
    /// Share of use below which it may go off again, in percent.
    pub load_off_percent: u32,
    /// How long the use must stay below that.
    #[serde(with = "values::duration")]
    pub load_off_after: Duration,
}

/// `[alipay]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alipay {
    /// Application id.
    pub app_id: String,
    /// Seller id.
    pub seller_id: String,
    /// PEM path of our private key.
    pub merchant_private_key: PathBuf,
    /// PEM path of Alipay's public key.
    pub alipay_public_key: PathBuf,
    /// Gateway; empty is the sandbox.
    pub gateway_url: String,
    /// Where notifications go.
    pub notify_url: String,
    /// Where the browser goes.
    pub return_url: String,
    /// Time to connect.
    #[serde(with = "values::duration")]
    pub connect_timeout: Duration,
    /// Time for a call.
    #[serde(with = "values::duration")]
    pub timeout: Duration,
    /// Tries of a call.
    pub tries: u32,
}

/// `[stock]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stock {
    /// Lease of a foreign lock.
    #[serde(with = "values::duration")]
    pub foreign_lease: Duration,
    /// Requests that may wait at one SKU.
    pub queue: usize,
    /// SKUs with an actor at the same time.
    pub max_actors: usize,
    /// When an idle actor ends.
    #[serde(with = "values::duration")]
    pub idle_stop: Duration,
}

/// `[limits]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Per client address.
    pub per_ip: Rate,
    /// Per user.
    pub per_user: Rate,
    /// Per user, attempts only.
    pub seckill_per_user: Rate,
    /// Per user and sale, in total; 0 is any number.
    pub attempts_per_sale: u32,
    /// Units of one SKU in an order.
    pub max_quantity: u32,
    /// SKUs in an order.
    pub max_lines: usize,
    /// Requests in work on this node.
    pub max_in_flight: usize,
    /// Keys that each limit remembers.
    pub max_tracked_keys: usize,
}

/// `[admission]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// Paths that are never refused early.
    pub exempt_paths: Vec<String>,
    /// Retry-After of a refusal.
    #[serde(with = "values::duration")]
    pub retry_after: Duration,
}

/// `[bus]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// Items of one message.
    pub items_per_message: usize,
    /// Batches that may wait for the relay.
    pub relay_queue: usize,
}

/// `[retention]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Outbox rows, from when they were published.
    #[serde(with = "values::duration")]
    pub published: Duration,
    /// Inbox rows.
    #[serde(with = "values::duration")]
    pub seen: Duration,
    /// Parked messages, from when they were replayed.
    #[serde(with = "values::duration")]
    pub replayed: Duration,
}

/// `[demo]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    /// See [`Config::demo_enabled`].
    pub enabled: Toggle,
}

/// `[sandbox]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// From payment to notification.
    #[serde(with = "values::duration")]
    pub notify_delay: Duration,
    /// First pause between notifications.
    #[serde(with = "values::duration")]
    pub notify_retry: Duration,
}
