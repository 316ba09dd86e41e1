//! Webhooks, from the configuration.

use std::sync::Arc;

use actors::domain::webhook::Schedule;
use actors::ports::store::Store;
use actors::webhook::{WebhookParts, WebhookSettings, Webhooks};
use actors::writer::Writer;
use anyhow::Context;

use crate::config::Config;
use crate::machine::{SystemClock, SystemEntropy};
use crate::webhook::HttpSender;

pub fn build(config: &Config, store: Arc<dyn Store>, writer: Writer) -> anyhow::Result<Arc<Webhooks>> {
    let webhooks = &config.webhooks;
    let sender = HttpSender::new(webhooks.timeout, webhooks.allow_private).context("webhooks: no HTTP client")?;
    let parts = WebhookParts {
        store,
        writer,
        sender: Arc::new(sender),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let settings = WebhookSettings {
        max_endpoints: webhooks.max_endpoints,
        at_once: webhooks.at_once,
        poll_interval: webhooks.poll_interval,
        timeout: webhooks.timeout,
        rotation_overlap: webhooks.rotation_overlap,
        keep: webhooks.keep,
        schedule: Schedule::new(webhooks.retry_pauses.clone()),
    };
    Ok(Webhooks::new(parts, settings))
}
