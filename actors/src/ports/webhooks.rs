//! Sending to the endpoints of webhooks.

use async_trait::async_trait;

use crate::domain::webhook::TryOutcome;

/// One message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookPost {
    /// Where to.
    pub url: String,
    /// `webhook-id`
    pub message_id: String,
    /// `webhook-timestamp`
    pub seconds: i64,
    /// `webhook-signature`
    pub signatures: String,
    /// JSON.
    pub body: String,
}

/// Reaches endpoints over HTTP.
///
/// A post is made once, in a limited time; no redirect is followed, little of the answer is read, and unless it is
/// allowed by the configuration nothing is sent to an address that is not public
/// ([`is_public`](crate::domain::webhook::is_public)), whatever its name resolves to at that moment.
#[async_trait]
pub trait WebhookSender: Send + Sync + 'static {
    /// Whether a post to this address could be tried at all.
    ///
    /// # Errors
    /// Why not, for who gave the address.
    fn check(&self, url: &str) -> Result<(), String>;
    /// Posts a message.
    async fn post(&self, post: &WebhookPost) -> TryOutcome;
}
