//! Webhooks: the endpoints that staff keep, and the deliverer that sends what was recorded for them.
//!
//! What is told is recorded by the store in the transaction that it tells of ([`crate::ports::store::told`]); what
//! follows a try is decided in [`crate::domain::webhook`]. Here is only what lies between: claim, send, settle.

mod deliverer;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::reject::Unavailable;
use crate::domain::webhook::{Delivery, Endpoint, EventSet, Schedule, SigningSecret};
use crate::ports::clock::{Clock, Entropy};
use crate::ports::store::units::{
    CreateWebhook, DeleteWebhook, EditWebhook, Redeliver, Redelivery, RotateWebhook, Unit, WebhookCreation, WebhookEdit,
};
use crate::ports::store::{Store, StoreError};
use crate::ports::webhooks::WebhookSender;
use crate::writer::Writer;

pub use deliverer::Delivering;

/// Longest wait for a commit or a read.
const STORE_LIMIT: Duration = Duration::from_secs(5);

/// Bounds and durations of webhooks.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// `webhooks.max_endpoints`
    pub max_endpoints: usize,
    /// `webhooks.at_once`: deliveries of one endpoint that are sent at the same time.
    pub at_once: usize,
    /// `webhooks.poll_interval`: how often the deliverer looks for what is due.
    pub poll_interval: Duration,
    /// `webhooks.timeout`: longest time of a try.
    pub timeout: Duration,
    /// `webhooks.rotation_overlap`: how long a former secret signs on.
    pub rotation_overlap: Duration,
    /// `webhooks.keep`: how long deliveries are kept.
    pub keep: Duration,
    /// `webhooks.retry_pauses`
    pub schedule: Schedule,
}

/// Why a wish of staff was not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookFailure {
    /// No such endpoint, or no such delivery of it.
    #[error("no such webhook")]
    Unknown,
    /// The address cannot be used.
    #[error("{0}")]
    BadUrl(String),
    /// There are as many endpoints as there may be.
    #[error("there are {0} webhooks, and no more may be made")]
    TooMany(usize),
    /// Somebody changed the endpoint meanwhile.
    #[error("it was changed meanwhile")]
    Changed,
    /// The endpoint is disabled.
    #[error("the webhook is disabled")]
    Disabled,
    /// Nothing is known.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<StoreError> for WebhookFailure {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Unavailable::Dependency(error.to_string()))
    }
}

/// What an endpoint shall be.
#[derive(Clone, Debug)]
pub struct WebhookWish {
    /// Where to.
    pub url: String,
    /// Of what.
    pub events: EventSet,
    /// Whether it is told anything.
    pub is_enabled: bool,
}

/// The collaborators of [`Webhooks`].
pub struct WebhookParts {
    /// The durable store.
    pub store: Arc<dyn Store>,
    /// The only way to write to it.
    pub writer: Writer,
    /// Reaches the endpoints.
    pub sender: Arc<dyn WebhookSender>,
    /// `webhook-timestamp`, and until when a former secret signs.
    pub clock: Arc<dyn Clock>,
    /// Secrets, and how much longer a pause is.
    pub entropy: Arc<dyn Entropy>,
}

/// Keeps endpoints.
pub struct Webhooks {
    parts: WebhookParts,
    settings: WebhookSettings,
}

impl Webhooks {
    /// Puts the parts together.
    pub fn new(parts: WebhookParts, settings: WebhookSettings) -> Arc<Self> {
        Arc::new(Self { parts, settings })
    }

    /// Makes an endpoint. Its secret is in the answer, which is for its owner.
    ///
    /// # Errors
    /// [`WebhookFailure::BadUrl`], [`WebhookFailure::TooMany`].
    pub async fn create(&self, url: String, events: EventSet) -> Result<Endpoint, WebhookFailure> {
        self.check(&url)?;
        let most = self.settings.max_endpoints;
        let unit = CreateWebhook { url, events, secret: self.new_secret(), most };
        match self.commit(unit).await? {
            WebhookCreation::Created(id) => self.endpoint(id).await,
            WebhookCreation::TooMany => Err(WebhookFailure::TooMany(most)),
        }
    }

    /// Changes an endpoint that is still what the editor saw.
    ///
    /// # Errors
    /// [`WebhookFailure::BadUrl`], [`WebhookFailure::Changed`], [`WebhookFailure::Unknown`].
    pub async fn edit(&self, seen: &Endpoint, wish: WebhookWish) -> Result<Endpoint, WebhookFailure> {
        self.check(&wish.url)?;
        let WebhookWish { url, events, is_enabled } = wish;
        let unit = EditWebhook { endpoint_id: seen.id, seen: seen.version, url, events, is_enabled };
        match self.commit(unit).await? {
            WebhookEdit::Done => self.endpoint(seen.id).await,
            WebhookEdit::Changed => Err(WebhookFailure::Changed),
            WebhookEdit::Unknown => Err(WebhookFailure::Unknown),
        }
    }

    /// Takes an endpoint away; what waits for it is not sent any more.
    ///
    /// # Errors
    /// [`WebhookFailure::Unknown`].
    pub async fn delete(&self, endpoint_id: i64) -> Result<(), WebhookFailure> {
        let is_gone = self.commit(DeleteWebhook { endpoint_id }).await?;
        if is_gone { Ok(()) } else { Err(WebhookFailure::Unknown) }
    }

    /// Gives an endpoint another secret, which is in the answer; the one it had signs on for
    /// [`WebhookSettings::rotation_overlap`].
    ///
    /// # Errors
    /// [`WebhookFailure::Unknown`].
    pub async fn rotate(&self, endpoint_id: i64) -> Result<Endpoint, WebhookFailure> {
        let unit = RotateWebhook { endpoint_id, secret: self.new_secret(), overlap: self.settings.rotation_overlap };
        if !self.commit(unit).await? {
            return Err(WebhookFailure::Unknown);
        }
        self.endpoint(endpoint_id).await
    }

    /// Has a delivery sent again, whatever became of it, under its message id.
    ///
    /// # Errors
    /// [`WebhookFailure::Disabled`], [`WebhookFailure::Unknown`].
    pub async fn redeliver(&self, endpoint_id: i64, delivery_id: i64) -> Result<Delivery, WebhookFailure> {
        match self.commit(Redeliver { endpoint_id, delivery_id }).await? {
            Redelivery::Due => {}
            Redelivery::Disabled => return Err(WebhookFailure::Disabled),
            Redelivery::Unknown => return Err(WebhookFailure::Unknown),
        }
        let delivery = self.read(self.parts.store.delivery(endpoint_id, delivery_id)).await?;
        delivery.ok_or(WebhookFailure::Unknown)
    }

    fn check(&self, url: &str) -> Result<(), WebhookFailure> {
        self.parts.sender.check(url).map_err(WebhookFailure::BadUrl)
    }

    fn new_secret(&self) -> SigningSecret {
        let mut key = [0_u8; 32];
        for part in key.chunks_exact_mut(8) {
            part.copy_from_slice(&self.parts.entropy.next_u64().to_le_bytes());
        }
        SigningSecret::from_key(&key)
    }

    async fn endpoint(&self, id: i64) -> Result<Endpoint, WebhookFailure> {
        self.read(self.parts.store.webhook(id)).await?.ok_or(WebhookFailure::Unknown)
    }

    async fn commit<U: Unit>(&self, unit: U) -> Result<U::Outcome, Unavailable> {
        Ok(self.parts.writer.commit_within(unit, STORE_LIMIT).await?)
    }

    async fn read<T>(&self, reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let reading = tokio::time::timeout(STORE_LIMIT, reading);
        reading.await.map_err(|_| StoreError::Transient("a read took too long".into()))?
    }
}
