//! Orders: confirm, submit, pay, close, ship, receive, return, refund, and the effects that messages have.
//!
//! Each file is one way through the house. They hold no state of their own beyond [`Turns`]: the store decides by
//! compare-and-set, the SKU actors by order of arrival. Dropping any of these futures is safe at every await: before a
//! unit is queued nothing has happened (a reservation frees itself), after that the writer finishes it.

mod cart;
mod close;
mod confirm;
mod effects;
mod flash;
mod fulfil;
mod keyed;
mod pay;
mod receiver;
mod refund;
mod returns;
mod submit;
pub mod token;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::domain::reject::Unavailable;
use crate::domain::{OrderSn, Timestamp, UserId};
use crate::ports::carts::{Carts, CartsError};
use crate::ports::clock::{Clock, Entropy};
use crate::ports::coordination::Coordination;
use crate::ports::gateway::Gateway;
use crate::ports::store::units::Unit;
use crate::ports::store::{Store, StoreError};
use crate::reader::Reader;
use crate::stock::StockDirectory;
use crate::supervise::Turns;
use crate::writer::Writer;

pub use cart::MAX_CART_LINES;
pub use confirm::Confirmation;
pub use fulfil::Shipment;
pub use keyed::{KEY_LIFE, Once};
pub use pay::NotifyAnswer;
pub use refund::RefundWish;
pub use returns::ReturnWish;
pub use submit::{PlacedOrder, SubmitRequest, Submitted};
use token::TokenSigner;

/// Bounds and durations of the order flows.
#[derive(Clone, Copy, Debug)]
pub struct OrderSettings {
    /// `order.payment_timeout`: from creation to `pay_before`.
    pub payment_timeout: Duration,
    /// `flash_sale.payment_timeout`: the same for winners.
    pub flash_payment_timeout: Duration,
    /// `order.token_ttl`: how long a confirm token may be used.
    pub token_ttl: Duration,
    /// How long one request may take (R27).
    pub request: Duration,
    /// How many orders are closed with the gateway's help at the same time.
    pub closing_at_once: usize,
    /// An order whose trade the gateway cannot tell is closed this long after `pay_before` all the same.
    pub close_blind_after: Duration,
    /// `order.close_grace`: closing by timeout starts this long after `pay_before`.
    pub close_grace: Duration,
    /// `order.auto_confirm_days`: a shipped order counts as received after so many days.
    pub auto_confirm_days: u32,
    /// `order.return_days`: how long after its receipt units of an order may be asked back.
    pub return_window: Duration,
}

impl Default for OrderSettings {
    fn default() -> Self {
        Self {
            payment_timeout: Duration::from_secs(30 * 60),
            flash_payment_timeout: Duration::from_secs(5 * 60),
            token_ttl: Duration::from_secs(30 * 60),
            request: Duration::from_secs(2),
            closing_at_once: 16,
            close_blind_after: Duration::from_secs(10 * 60),
            close_grace: Duration::from_secs(60),
            auto_confirm_days: 7,
            return_window: Duration::from_secs(15 * 24 * 3600),
        }
    }
}

/// Longest wait for a commit, queueing included.
const COMMIT_LIMIT: Duration = Duration::from_secs(5);

/// Who buys, as the verified login token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buyer {
    /// The member.
    pub user_id: UserId,
    /// The name in the token.
    pub username: String,
}

/// What the order flows work with.
pub struct Orders {
    store: Arc<dyn Store>,
    reader: Reader,
    writer: Writer,
    stock: Arc<StockDirectory>,
    coordination: Arc<dyn Coordination>,
    carts: Arc<dyn Carts>,
    gateway: Arc<dyn Gateway>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    signer: TokenSigner,
    turns: Turns,
    /// Places for asking the gateway before a close, over all batches.
    closing: Semaphore,
    settings: OrderSettings,
}

/// The collaborators of [`Orders`].
pub struct OrderParts {
    /// The durable store.
    pub store: Arc<dyn Store>,
    /// For what many ask.
    pub reader: Reader,
    /// The only way to write to it.
    pub writer: Writer,
    /// The SKU actors.
    pub stock: Arc<StockDirectory>,
    /// Token gate and latch.
    pub coordination: Arc<dyn Coordination>,
    /// In the store, or shared with a cart service.
    pub carts: Arc<dyn Carts>,
    /// Alipay or the sandbox.
    pub gateway: Arc<dyn Gateway>,
    /// Time of order numbers and token expiry; deadlines of orders are the store's.
    pub clock: Arc<dyn Clock>,
    /// Order numbers and tokens.
    pub entropy: Arc<dyn Entropy>,
    /// `order.token_secret`, shared by the nodes.
    pub token_secret: Vec<u8>,
}

impl Orders {
    /// Puts the parts together.
    pub fn new(parts: OrderParts, settings: OrderSettings) -> Arc<Self> {
        Arc::new(Self {
            store: parts.store,
            reader: parts.reader,
            writer: parts.writer,
            stock: parts.stock,
            coordination: parts.coordination,
            carts: parts.carts,
            gateway: parts.gateway,
            clock: parts.clock,
            entropy: parts.entropy,
            signer: TokenSigner::new(&parts.token_secret),
            turns: Turns::default(),
            closing: Semaphore::new(settings.closing_at_once),
            settings,
        })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn new_order_sn(&self) -> OrderSn {
        OrderSn::generate(self.now(), self.entropy.next_u64())
    }

    /// A read of the store within the request's time.
    async fn read<T>(&self, reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, Unavailable> {
        match tokio::time::timeout(self.settings.request, reading).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                error.log_read();
                Err(Unavailable::Dependency(error.to_string()))
            }
            Err(_) => Err(Unavailable::Dependency("the store did not answer in time".into())),
        }
    }

    /// A call of the carts within `limit`. After an error a change may have happened all the same.
    async fn at_carts<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, CartsError>>,
    ) -> Result<T, Unavailable> {
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::error!(%error, "carts failed");
                Err(Unavailable::Dependency(error.to_string()))
            }
            Err(_) => Err(Unavailable::Dependency("the carts did not answer in time".into())),
        }
    }

    /// Commits one unit, within [`COMMIT_LIMIT`]. After an error it may have happened all the same.
    async fn commit<U: Unit>(&self, unit: U) -> Result<U::Outcome, Unavailable> {
        Ok(self.writer.commit_within(unit, COMMIT_LIMIT).await?)
    }
}
