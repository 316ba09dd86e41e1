//! The payment gateway: the configured one, or the sandbox in this server. Both are reached by the same client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use actors::ports::gateway::Gateway;
use anyhow::Context;

use crate::config::Config;
use crate::gateway::alipay::{AlipayClient, AlipayKeys, AlipaySettings, CallLimits};
use crate::gateway::sandbox::{self, Sandbox, SandboxSettings};
use crate::machine::{SystemClock, SystemEntropy};
use crate::secret_file;

use super::durable::DurableStore;

/// The client, and the simulated other side when there is one.
pub struct Payment {
    pub gateway: Arc<dyn Gateway>,
    pub sandbox: Option<Arc<Sandbox>>,
    /// Where pay forms lead; the pages' security policy must allow it.
    pub gateway_url: String,
}

impl Payment {
    /// Builds the client of `alipay.gateway_url`, or of the sandbox when that is empty.
    pub fn new(config: &Config, public: SocketAddr, store: &DurableStore) -> anyhow::Result<Self> {
        let (settings, keys, sandbox) = if config.uses_sandbox() {
            let files = sandbox::keys::generate(&config.data_dir).context("sandbox keys")?;
            let merchant = merchant(config);
            let settings = own_settings(config, &merchant, public);
            let gateway_keys = files.load_gateway().context("sandbox keys")?;
            let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
            let sandbox = Sandbox::new(merchant, gateway_keys, store.sandbox_ledger(), clock, entropy);
            (settings, files.load_client().context("sandbox keys")?, Some(sandbox))
        } else {
            (configured(config), configured_keys(config)?, None)
        };
        let gateway_url = settings.gateway_url.clone();
        let alipay = &config.alipay;
        let limits = CallLimits { connect: alipay.connect_timeout, total: alipay.timeout, tries: alipay.tries };
        let client = AlipayClient::new(settings, keys, limits, Arc::new(SystemClock), Arc::new(SystemEntropy))?;
        Ok(Self { gateway: Arc::new(client), sandbox, gateway_url })
    }
}

/// The sandbox's one merchant: the configured ids, or its own.
fn merchant(config: &Config) -> SandboxSettings {
    let default = SandboxSettings::default();
    let or = |configured: &str, default: String| if configured.is_empty() { default } else { configured.to_owned() };
    SandboxSettings {
        app_id: or(&config.alipay.app_id, default.app_id),
        seller_id: or(&config.alipay.seller_id, default.seller_id),
        notify_delay: config.sandbox.notify_delay,
        notify_retry: config.sandbox.notify_retry,
    }
}

fn own_settings(config: &Config, merchant: &SandboxSettings, public: SocketAddr) -> AlipaySettings {
    // A wildcard listener is reached on loopback.
    let host = if public.ip().is_unspecified() { format!("127.0.0.1:{}", public.port()) } else { public.to_string() };
    let url = |configured: &str, path: &str| {
        if configured.is_empty() { format!("http://{host}{path}") } else { configured.to_owned() }
    };
    AlipaySettings {
        app_id: merchant.app_id.clone(),
        seller_id: merchant.seller_id.clone(),
        gateway_url: format!("http://{host}/sandbox/gateway.do"),
        notify_url: url(&config.alipay.notify_url, "/order/pay/alipay/success"),
        return_url: url(&config.alipay.return_url, "/pay/return"),
    }
}

fn configured(config: &Config) -> AlipaySettings {
    let alipay = &config.alipay;
    AlipaySettings {
        app_id: alipay.app_id.clone(),
        seller_id: alipay.seller_id.clone(),
        gateway_url: alipay.gateway_url.clone(),
        notify_url: alipay.notify_url.clone(),
        return_url: alipay.return_url.clone(),
    }
}

fn configured_keys(config: &Config) -> anyhow::Result<AlipayKeys> {
    let read_public = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("alipay.alipay_public_key: {}", path.display()))
    };
    let private = secret_file::read(&config.alipay.merchant_private_key).context("alipay.merchant_private_key")?;
    Ok(AlipayKeys::from_pem(private.expose(), &read_public(&config.alipay.alipay_public_key)?)?)
}
