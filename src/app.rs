//! Wiring: the only place that knows every concrete type. Builds the inside over the adapters of the mode, puts HTTP
//! around it, and takes both down in order.

mod banner;
mod cluster;
mod demo;
mod durable;
mod http;
mod inside;
mod payment;
mod upkeep;
mod webhooks;

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::web::Data;
use actors::bridge::Pruner;
use anyhow::Context;
use async_trait::async_trait;

use crate::api::audit_json;
use crate::auth::{Authenticator, ServiceToken, own_issuer};
use crate::cli::Application;
use crate::config::Config;
use crate::limits::{Admission, Limits};
use crate::machine::{SystemClock, SystemEntropy};
use crate::shutdown::{self, Readiness, StopPlan};
use crate::telemetry::Metrics;
use crate::{api, gateway, web};
use durable::DurableStore;
use inside::Inside;
use payment::Payment;

/// Rows younger than this are not audited: a live server may be about to change them (DESIGN rule 16).
const AUDIT_EXEMPT_MS: i64 = 30_000;

/// The seckill server.
pub struct Seckill;

pub use http::PublicSide;

#[async_trait(?Send)]
impl Application for Seckill {
    async fn serve(&self, config: Config) -> anyhow::Result<()> {
        serve_with(config, |_| Ok(())).await
    }

    async fn migrate(&self, config: &Config) -> anyhow::Result<()> {
        DurableStore::open(config).await?.close().await;
        Ok(())
    }

    async fn audit(&self, config: &Config, json: bool) -> anyhow::Result<bool> {
        audit(config, json).await
    }

    async fn demo_load(&self, config: &Config) -> anyhow::Result<()> {
        let store = DurableStore::open(config).await?;
        store.load_demo().await?;
        store.close().await;
        Ok(())
    }
}

/// Serves until the process is told to stop. `started` is called once everything runs, before the server says it is
/// ready; benches put something of their own beside it there.
///
/// # Errors
/// When it cannot start.
pub async fn serve_with(config: Config, started: impl FnOnce(&PublicSide) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let stop = shutdown::on_signal()?;
    let metrics = Metrics::install()?;
    let backlog = config.server.backlog;
    let public = http::listen(&config.server.listen.to_string(), backlog).context("server.listen")?;
    let internal =
        http::listen(&config.server.internal_listen.to_string(), backlog).context("server.internal_listen")?;
    let public_address = public.local_addr()?;

    let store = DurableStore::open(&config).await?;
    let payment = Payment::new(&config, public_address, &store)?;
    let inside = Inside::start(&config, store.port(), payment.gateway.clone()).await?;
    let readiness = inside.readiness();
    let limits = Arc::new(Limits::new(&config.limits));
    let house = House {
        config: &config,
        store: &store,
        inside: &inside,
        payment: &payment,
        metrics: &metrics,
        limits: &limits,
        readiness: &readiness,
    };
    let servers = match house.open_doors(public, internal, started).await {
        Ok(servers) => servers,
        Err(error) => {
            // Connections must not outlive the runtime.
            inside.stop().await;
            store.close().await;
            return Err(error);
        }
    };
    let forgetting = stop.clone();
    let mut helpers =
        vec![tokio::spawn(async move { limits.run(forgetting).await }), tokio::spawn(metrics.run_upkeep(stop.clone()))];
    let pruner = Pruner::new(inside.writer.clone(), upkeep::prune_settings(&config.retention));
    helpers.push(tokio::spawn(upkeep::forget_what_is_old(inside.orders.clone(), pruner, stop.clone())));
    if let Some(sandbox) = payment.sandbox {
        helpers.push(tokio::spawn(gateway::sandbox::notifier::run(sandbox, stop.clone())));
    }
    readiness.set_ready();
    banner::print(&config, public_address, servers.internal_address)?;

    stop.cancelled().await;
    let mut plan = StopPlan::new(config.server.stop_timeout);
    plan.become_unready(&readiness, config.server.drain_pause).await;
    plan.stage("http", plan.remaining(), servers.stop()).await;
    plan.stage("actors", plan.remaining(), inside.stop()).await;
    plan.stage("helpers", plan.remaining(), futures_util::future::join_all(helpers)).await;
    plan.stage("store", plan.remaining(), store.close()).await;
    tracing::info!(unfinished = ?plan.unfinished(), "stopped");
    Ok(())
}

/// Everything that was started before the listeners.
struct House<'h> {
    config: &'h Config,
    store: &'h DurableStore,
    inside: &'h Inside,
    payment: &'h Payment,
    metrics: &'h Metrics,
    limits: &'h Arc<Limits>,
    readiness: &'h Readiness,
}

impl House<'_> {
    /// Loads the demo data and starts both listeners.
    async fn open_doors(
        &self,
        public: TcpListener,
        internal: TcpListener,
        started: impl FnOnce(&PublicSide) -> anyhow::Result<()>,
    ) -> anyhow::Result<http::Servers> {
        let Self { config, .. } = *self;
        if config.demo_enabled() {
            // Before anybody is let in, so that nobody else arms a sale on the same SKU meanwhile.
            demo::prepare(self.store, &self.inside.sales).await?;
        }
        let admission = Admission::new(config.limits.max_in_flight);
        let public_side = PublicSide {
            state: Data::new(self.state(&admission)?),
            guard: api::guard(config, self.limits.clone(), admission),
            site: Data::new(web::Site::new(&self.payment.gateway_url)?),
            sandbox: self.payment.sandbox.clone(),
            body_bytes: config.server.max_body_bytes,
        };
        let servers = http::start(config, http::Parts { public, internal, public_side: public_side.clone() })?;
        started(&public_side)?;
        Ok(servers)
    }

    fn state(&self, admission: &Admission) -> anyhow::Result<api::State> {
        let Self { config, inside, .. } = *self;
        let metrics = self.metrics.clone();
        Ok(api::State {
            orders: inside.orders.clone(),
            sales: inside.sales.clone(),
            stock: inside.stock.clone(),
            store: inside.store.clone(),
            reader: inside.reader.clone(),
            writer: inside.writer.clone(),
            replayer: inside.replayer(),
            webhooks: inside.webhooks.clone(),
            clock: Arc::new(SystemClock),
            auth: Arc::new(Authenticator::load(config)?),
            limits: self.limits.clone(),
            admission: admission.clone(),
            service_token: ServiceToken::load(config, &SystemEntropy)?,
            rules: api::InputRules { max_quantity: config.limits.max_quantity, max_lines: config.limits.max_lines },
            body_timeout: config.server.body_timeout,
            read_timeout: config.server.request_timeout,
            long_poll: config.server.long_poll_timeout,
            stream_heartbeat: config.server.stream_heartbeat,
            stream_lifetime: config.server.stream_lifetime,
            foreign_lease: config.stock.foreign_lease,
            per_user_limit: config.flash_sale.per_user_limit,
            challenge: config.flash_sale.challenge,
            demo: if config.demo_enabled() { Some(own_issuer(config)?) } else { None },
            cookie_name: config.auth.cookie.clone(),
            readiness: self.readiness.clone(),
            metrics: Box::new(move || metrics.render()),
        })
    }
}

async fn audit(config: &Config, json: bool) -> anyhow::Result<bool> {
    use std::io::Write;

    let store = DurableStore::open_existing(config).await?;
    let report = store.port().audit(AUDIT_EXEMPT_MS).await?;
    store.close().await;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{:#}", audit_json(&report))?;
    } else {
        for finding in &report.invariants {
            let verdict = if finding.is_ok() { "ok" } else { "BROKEN" };
            writeln!(out, "{:<4} {verdict:<7} {} checked", finding.id, finding.checked)?;
            for sentence in &finding.broken {
                writeln!(out, "       {sentence}")?;
            }
        }
    }
    Ok(report.is_ok())
}
