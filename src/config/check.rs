//! Rules that a type cannot say: ranges, and what must go together.

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::time::Duration;

use reqwest::Url;

use super::{Config, Mode};

/// A broken rule.
pub(super) struct Problem {
    /// The key that is to be changed.
    pub key: &'static str,
    /// What it must be.
    pub rule: String,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Secrets shorter than this are refused in cluster mode and warned of in embedded mode.
const SECRET_BYTES: usize = 16;
/// Public keys for logins (R29: an absent kid tries them all).
const MAX_PUBLIC_KEYS: usize = 4;

/// Every broken rule.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut checks = Checks::default();
    check_mode(config, &mut checks);
    check_server(config, &mut checks);
    check_store(config, &mut checks);
    check_auth(config, &mut checks);
    check_order(config, &mut checks);
    check_challenge(config, &mut checks);
    check_alipay(config, &mut checks);
    check_limits(config, &mut checks);
    checks.problems
}

/// What is allowed but deserves a word.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |applies: bool, text: &str| {
        if applies {
            warnings.push(text.to_owned());
        }
    };
    let short = |secret: &str| !secret.is_empty() && secret.len() < SECRET_BYTES;
    warn(short(config.internal.token.expose()), "internal.token: shorter than 16 bytes");
    warn(short(config.order.token_secret.expose()), "order.token_secret: shorter than 16 bytes");
    warn(
        !config.server.internal_listen.ip().is_loopback(),
        "server.internal_listen: not on loopback; keep it away from the internet",
    );
    warn(
        config.demo_enabled() && !config.server.listen.ip().is_loopback(),
        "demo.enabled: anybody who reaches the public listener may log in as anybody",
    );
    warn(
        !config.uses_sandbox() && config.alipay.notify_url.is_empty(),
        "alipay.notify_url: empty, so payments are only seen when an order is about to be closed",
    );
    warn(
        config.uses_sandbox() && !config.demo_enabled(),
        "alipay.gateway_url: empty, so payments go to the sandbox and no money moves",
    );
    warnings
}

#[derive(Default)]
struct Checks {
    problems: Vec<Problem>,
}

impl Checks {
    fn require(&mut self, key: &'static str, holds: bool, rule: impl Into<String>) {
        if !holds {
            self.problems.push(Problem { key, rule: rule.into() });
        }
    }

    fn range<T: PartialOrd + Debug>(&mut self, key: &'static str, value: T, range: RangeInclusive<T>) {
        let rule = format!("{value:?} is out of range, {:?} to {:?} is allowed", range.start(), range.end());
        self.require(key, range.contains(&value), rule);
    }
}

fn check_mode(config: &Config, checks: &mut Checks) {
    let urls = [
        ("database.url", config.database.url.expose(), &["postgres://", "postgresql://"][..]),
        ("redis.url", config.redis.url.expose(), &["redis://"][..]),
        ("rabbitmq.url", config.rabbitmq.url.expose(), &["amqp://", "amqps://"][..]),
    ];
    match config.mode {
        Mode::Embedded => {
            let database = config.database.url.expose();
            let is_file = database.strip_prefix("sqlite:").is_some_and(|path| {
                let path = path.trim_start_matches('/');
                !path.is_empty() && !path.starts_with(':') && !path.contains('?')
            });
            checks.require(
                "database.url",
                database.is_empty() || is_file,
                "must be empty or sqlite:PATH in embedded mode",
            );
            for (key, url, _) in &urls[1..] {
                checks.require(key, url.is_empty(), "must be empty in embedded mode, which does not use it");
            }
            let more = &config.redis.more_urls;
            checks.require("redis.more_urls", more.is_empty(), "must be empty in embedded mode, which does not use it");
        }
        Mode::Cluster => {
            for (key, url, schemes) in urls {
                let fits = schemes.iter().any(|scheme| url.starts_with(scheme));
                checks.require(key, fits, format!("must start with {} in cluster mode", schemes.join(" or ")));
            }
            let more_fit = config.redis.more_urls.iter().all(|url| url.expose().starts_with("redis://"));
            checks.require("redis.more_urls", more_fit, "each must start with redis:// in cluster mode");
            for (key, secret) in
                [("internal.token", &config.internal.token), ("order.token_secret", &config.order.token_secret)]
            {
                let long = secret.expose().len() >= SECRET_BYTES;
                checks.require(key, long, "must be set in cluster mode, to 16 bytes or more");
            }
            // The own key is a file of one data directory: the other nodes would not know its signatures.
            let shared_login = !config.auth.public_keys.is_empty() || config.demo_enabled();
            checks.require(
                "auth.public_keys",
                shared_login,
                "must name a file in cluster mode, where nodes share logins",
            );
        }
    }
    checks.require("data_dir", !config.data_dir.as_os_str().is_empty(), "must not be empty");
}

fn check_server(config: &Config, checks: &mut Checks) {
    let server = &config.server;
    let same = server.listen == server.internal_listen && server.listen.port() != 0;
    checks.require("server.internal_listen", !same, "must differ from server.listen");
    checks.range("server.workers", server.workers, 0..=1024);
    checks.range("server.max_connections", server.max_connections, 1..=1_000_000);
    checks.range("server.backlog", server.backlog, 1..=65_535);
    checks.range("server.max_body_bytes", server.max_body_bytes, 1024..=16 * 1024 * 1024);
    checks.range("server.keep_alive", server.keep_alive, MILLISECOND..=HOUR);
    checks.range("server.head_timeout", server.head_timeout, MILLISECOND..=MINUTE);
    checks.range("server.body_timeout", server.body_timeout, MILLISECOND..=10 * MINUTE);
    checks.range("server.disconnect_timeout", server.disconnect_timeout, MILLISECOND..=MINUTE);
    checks.range("server.request_timeout", server.request_timeout, MILLISECOND..=10 * MINUTE);
    checks.range("server.long_poll_timeout", server.long_poll_timeout, MILLISECOND..=10 * MINUTE);
    // The latch reads its waiters every half a second: a shorter wait may see nothing.
    checks.range("server.stream_heartbeat", server.stream_heartbeat, SECOND..=MINUTE);
    checks.range("server.stream_lifetime", server.stream_lifetime, SECOND..=HOUR);
    checks.require(
        "server.stream_lifetime",
        server.stream_lifetime >= server.stream_heartbeat,
        "must not be shorter than server.stream_heartbeat",
    );
    checks.range("server.drain_pause", server.drain_pause, Duration::ZERO..=MINUTE);
    checks.range("server.stop_timeout", server.stop_timeout, MILLISECOND..=10 * MINUTE);
    checks.require(
        "server.stop_timeout",
        server.stop_timeout > server.drain_pause,
        "must be longer than server.drain_pause, which is a part of it",
    );
    checks.require(
        "server.stream_heartbeat",
        server.stream_heartbeat < server.stop_timeout,
        "must be shorter than server.stop_timeout: a stopping server waits so long for a stream",
    );
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.filter);
    checks.require("log.filter", filter.is_ok(), "must be filter directives such as \"info,sqlx=warn\"");
}

fn check_store(config: &Config, checks: &mut Checks) {
    checks.range("writer.queue", config.writer.queue, 1..=1_000_000);
    checks.range("writer.max_batch", config.writer.max_batch, 1..=1024);
    checks.range("writer.max_wait", config.writer.max_wait, MILLISECOND..=MINUTE);
    checks.range("writer.retries", config.writer.retries, 0..=100);
    checks.range("redis.connect_timeout", config.redis.connect_timeout, 10 * MILLISECOND..=10 * SECOND);
    checks.range("redis.response_timeout", config.redis.response_timeout, 10 * MILLISECOND..=10 * SECOND);
    checks.range("redis.pipeline_buffer", config.redis.pipeline_buffer, 1..=65_536);
    let rabbitmq = &config.rabbitmq;
    checks.range("rabbitmq.prefetch", rabbitmq.prefetch, 1..=2000);
    checks.range("rabbitmq.connect_timeout", rabbitmq.connect_timeout, 100 * MILLISECOND..=MINUTE);
    // The relay gives up after ten seconds.
    checks.range("rabbitmq.confirm_timeout", rabbitmq.confirm_timeout, 100 * MILLISECOND..=9000 * MILLISECOND);
    checks.range("rabbitmq.heartbeat", rabbitmq.heartbeat, 1000 * MILLISECOND..=10 * MINUTE);
    checks.range("rabbitmq.reconnect_max", rabbitmq.reconnect_max, 100 * MILLISECOND..=MINUTE);
    checks.range("rabbitmq.repair_pause", rabbitmq.repair_pause, 100 * MILLISECOND..=10 * MINUTE);
    checks.range("stock.foreign_lease", config.stock.foreign_lease, MILLISECOND..=30 * DAY);
    checks.range("stock.queue", config.stock.queue, 1..=1_000_000);
    checks.range("stock.max_actors", config.stock.max_actors, 1..=10_000_000);
    checks.range("stock.idle_stop", config.stock.idle_stop, MILLISECOND..=DAY);
    checks.range("bus.items_per_message", config.bus.items_per_message, 1..=1024);
    checks.range("bus.relay_queue", config.bus.relay_queue, 1..=100_000);
    let retention = &config.retention;
    checks.range("retention.published", retention.published, MINUTE..=3650 * DAY);
    checks.range("retention.seen", retention.seen, DAY..=3650 * DAY);
    checks.range("retention.replayed", retention.replayed, MINUTE..=3650 * DAY);
}

fn check_auth(config: &Config, checks: &mut Checks) {
    let auth = &config.auth;
    let keys = auth.public_keys.len();
    checks.require(
        "auth.public_keys",
        keys <= MAX_PUBLIC_KEYS,
        format!("{keys} files, at most {MAX_PUBLIC_KEYS} are allowed"),
    );
    checks.require(
        "auth.public_keys",
        keys > 0 || auth.own_key,
        "must name a file when auth.own_key is false, or nobody could log in",
    );
    checks.require(
        "auth.cookie",
        is_http_token(&auth.cookie),
        "must be a cookie name: letters, digits and -_.!#$%&'*+^`|~",
    );
    checks.range("auth.max_lifetime", auth.max_lifetime, Duration::ZERO..=3650 * DAY);
    checks.range("auth.leeway", auth.leeway, Duration::ZERO..=10 * MINUTE);
    checks.range("auth.remembered_tokens", auth.remembered_tokens, 2..=10_000_000);
    checks.require(
        "auth.own_key",
        auth.own_key || !config.demo_enabled(),
        "must be true while demo.enabled is, because the demo login signs with it",
    );
    let sendable = config.internal.token.expose().bytes().all(|b| b.is_ascii_graphic());
    checks.require("internal.token", sendable, "must be printable ASCII without spaces");
}

fn check_order(config: &Config, checks: &mut Checks) {
    let order = &config.order;
    checks.range("order.payment_timeout", order.payment_timeout, MILLISECOND..=15 * DAY);
    checks.range("order.close_grace", order.close_grace, Duration::ZERO..=HOUR);
    checks.range("order.token_ttl", order.token_ttl, MILLISECOND..=DAY);
    checks.range("order.auto_confirm_days", order.auto_confirm_days, 1..=365);
    checks.range("order.return_days", order.return_days, 0..=3650);
    checks.range("order.points_per_yuan", order.points_per_yuan, 0..=1_000_000);
    checks.range("order.close_concurrency", order.close_concurrency, 1..=1024);
    checks.range("order.close_give_up", order.close_give_up, Duration::ZERO..=DAY);
    checks.range("order.sweep_interval", order.sweep_interval, 10 * MILLISECOND..=HOUR);

    let sale = &config.flash_sale;
    checks.range("flash_sale.payment_timeout", sale.payment_timeout, MILLISECOND..=15 * DAY);
    checks.range("flash_sale.per_user_limit", sale.per_user_limit, 1..=1000);
    checks.range("flash_sale.refresh_interval", sale.refresh_interval, 10 * MILLISECOND..=MINUTE);
    checks.range("flash_sale.reconcile_interval", sale.reconcile_interval, 10 * MILLISECOND..=MINUTE);
    checks.range("flash_sale.queue", sale.queue, 1..=1_000_000);
    checks.range("flash_sale.max_batch", sale.max_batch, 1..=1024);
    checks.range("flash_sale.max_waiters", sale.max_waiters, 1..=1_000_000);
    checks.range("flash_sale.max_waiters_per_user", sale.max_waiters_per_user, 1..=10_000);
}

fn check_challenge(config: &Config, checks: &mut Checks) {
    let challenge = &config.challenge;
    // A browser needs minutes for more bits, and no phone is done in time.
    checks.range("challenge.difficulty_bits", challenge.difficulty_bits, 0..=28);
    checks.range("challenge.solve_within", challenge.solve_within, SECOND..=HOUR);
    checks.range("challenge.token_life", challenge.token_life, SECOND..=HOUR);
    checks.range("challenge.spent_tokens", challenge.spent_tokens, 1..=100_000_000);
    checks.range("challenge.load_on_percent", challenge.load_on_percent, 0..=100);
    checks.range("challenge.load_off_percent", challenge.load_off_percent, 1..=100);
    checks.range("challenge.load_off_after", challenge.load_off_after, SECOND..=HOUR);
    checks.require(
        "challenge.load_off_percent",
        challenge.load_on_percent == 0 || challenge.load_off_percent <= challenge.load_on_percent,
        "must not be above challenge.load_on_percent",
    );
}

fn check_alipay(config: &Config, checks: &mut Checks) {
    let alipay = &config.alipay;
    for (key, url) in [
        ("alipay.gateway_url", &alipay.gateway_url),
        ("alipay.notify_url", &alipay.notify_url),
        ("alipay.return_url", &alipay.return_url),
    ] {
        let is_web = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        checks.require(key, url.is_empty() || is_web, "must be an http or https address");
    }
    if !config.uses_sandbox() {
        checks.require(
            "alipay.gateway_url",
            is_encrypted_or_loopback(&alipay.gateway_url),
            "must be https; plain http is allowed on loopback only",
        );
        for (key, is_set) in [
            ("alipay.app_id", !alipay.app_id.is_empty()),
            ("alipay.seller_id", !alipay.seller_id.is_empty()),
            ("alipay.merchant_private_key", !alipay.merchant_private_key.as_os_str().is_empty()),
            ("alipay.alipay_public_key", !alipay.alipay_public_key.as_os_str().is_empty()),
        ] {
            checks.require(key, is_set, "must be set when alipay.gateway_url is");
        }
    }
    checks.range("alipay.connect_timeout", alipay.connect_timeout, MILLISECOND..=MINUTE);
    checks.range("alipay.timeout", alipay.timeout, MILLISECOND..=MINUTE);
    checks.range("alipay.tries", alipay.tries, 1..=10);
    checks.range("sandbox.notify_delay", config.sandbox.notify_delay, Duration::ZERO..=HOUR);
    checks.range("sandbox.notify_retry", config.sandbox.notify_retry, MILLISECOND..=HOUR);
}

fn check_limits(config: &Config, checks: &mut Checks) {
    let limits = &config.limits;
    checks.range("limits.max_quantity", limits.max_quantity, 1..=1_000_000);
    checks.range("limits.max_lines", limits.max_lines, 1..=1000);
    checks.range("limits.max_in_flight", limits.max_in_flight, 1..=1_000_000);
    checks.range("limits.max_tracked_keys", limits.max_tracked_keys, 2..=100_000_000);
    let rooted = config.admission.exempt_paths.iter().all(|path| path.starts_with('/'));
    checks.require("admission.exempt_paths", rooted, "every path must start with /");
    checks.range("admission.retry_after", config.admission.retry_after, Duration::from_secs(1)..=HOUR);
}

fn is_encrypted_or_loopback(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    if url.scheme() == "https" {
        return true;
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_http_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
