//! A simulated Alipay in the same binary, for demos, tests and load tests. It has its own keys and its own books, is
//! reached over HTTP by the ordinary client, verifies our signatures, signs its answers and notifications, and shows a
//! cashier page on which the buyer pays with one click. No real money anywhere.
//!
//! - [`trade`]: the life of a trade, plain code
//! - [`ledger`], [`sqlite`]: the books
//! - [`api`]: `/sandbox/gateway.do`; [`cashier`]: the page and its buttons
//! - [`message`], [`notifier`]: notifications, repeated on Alipay's schedule until the answer is `success`
//! - [`keys`]: the two key pairs; [`forge`]: forged notifications for tests
//!
//! Not simulated: login, partial payments, bills, and the notification of a trade that timed out unpaid.

pub mod api;
pub mod cashier;
pub mod forge;
pub mod keys;
pub mod ledger;
pub mod message;
pub mod notifier;
pub mod postgres;
mod sql;
pub mod sqlite;
pub mod trade;

use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use actors::domain::{Timestamp, TradeNo};
use actors::ports::clock::{Clock, Entropy};
use tokio::sync::Notify;

use self::keys::SandboxKeys;
use self::ledger::{LedgerError, SandboxLedger};
use crate::gateway::alipay::form;
use crate::gateway::alipay::sign::{Signer, VerifyingKey};

/// Longest wait for the books.
const LEDGER_WAIT: Duration = Duration::from_secs(5);

/// The one merchant of the sandbox, and how fast time goes for its notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSettings {
    /// The merchant's app; requests of another one are refused.
    pub app_id: String,
    /// The merchant's account.
    pub seller_id: String,
    /// From an event to the first send of its notification (`sandbox.notify_delay`).
    pub notify_delay: Duration,
    /// The pause before the second send (`sandbox.notify_retry`). Alipay's is 4 min; the later ones keep their proportion
    /// to it, so 4 s makes the whole schedule 60 times faster.
    pub notify_retry: Duration,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            app_id: "2021000000000001".to_owned(),
            seller_id: "2088000000000001".to_owned(),
            notify_delay: Duration::ZERO,
            notify_retry: Duration::from_secs(4),
        }
    }
}

/// The simulated gateway.
pub struct Sandbox {
    settings: SandboxSettings,
    merchant_key: VerifyingKey,
    signer: Signer,
    ledger: Arc<dyn SandboxLedger>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Told when a notification was written.
    news: Notify,
}

impl Sandbox {
    /// A gateway over these books. [`configure`] puts it on a listener, [`notifier::run`] sends its notifications.
    pub fn new(
        settings: SandboxSettings,
        keys: SandboxKeys,
        ledger: Arc<dyn SandboxLedger>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Arc<Self> {
        let (merchant_key, signer) = (keys.merchant, Signer::new(keys.alipay));
        Arc::new(Self { settings, merchant_key, signer, ledger, clock, entropy, news: Notify::new() })
    }

    /// Its books.
    pub fn ledger(&self) -> &Arc<dyn SandboxLedger> {
        &self.ledger
    }

    /// Has the notifier look at the books now, not at its next regular look.
    pub fn wake_notifier(&self) {
        self.news.notify_one();
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// 28 digits like Alipay's: the day and 20 random ones.
    fn new_trade_no(&self, now: Timestamp) -> TradeNo {
        let random = |limit: u64| self.entropy.next_u64() % limit;
        let digits =
            format!("{}{:010}{:010}", &now.compact_gmt8()[..8], random(10_000_000_000), random(10_000_000_000));
        TradeNo::parse(&digits).expect("28 digits are a trade number")
    }

    /// 128 random bits in hexadecimal.
    fn new_id(&self) -> String {
        format!("{:016x}{:016x}", self.entropy.next_u64(), self.entropy.next_u64())
    }
}

/// Adds the routes under `/sandbox` to a listener:
/// `GET|POST /sandbox/gateway.do`, `POST /sandbox/pay`, `POST /sandbox/cancel`, `GET /sandbox/cashier.css`.
pub fn configure(sandbox: Arc<Sandbox>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        let scope = web::scope("/sandbox")
            .app_data(web::Data::from(sandbox))
            .app_data(web::PayloadConfig::new(form::MAX_BYTES))
            .route("/gateway.do", web::get().to(api::gateway))
            .route("/gateway.do", web::post().to(api::gateway))
            .route("/pay", web::post().to(cashier::pay))
            .route("/cancel", web::post().to(cashier::cancel))
            .route("/cashier.css", web::get().to(cashier::style));
        config.service(scope);
    }
}

/// A call of the books with a limit.
async fn limited<T>(call: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
    let outcome = tokio::time::timeout(LEDGER_WAIT, call).await;
    outcome.unwrap_or_else(|_| Err(LedgerError::Unavailable("no answer in time".to_owned())))
}
