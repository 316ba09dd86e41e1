//! What was made under an idempotency key.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::UserId;

/// The key of a request that makes something, and what the request said. Kept in the transaction of what it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// What is asked, e.g. `orders`: a user may use the same key for different things.
    pub operation: &'static str,
    /// The client's key.
    pub key: String,
    /// Digest of the request, to tell another one under the same key.
    pub digest: String,
}

/// A request that made something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRequest {
    /// Digest of the first request.
    pub digest: String,
    /// What it made, e.g. an order number. The first answer follows from it.
    pub subject: String,
}

/// Reading kept requests.
#[async_trait]
pub trait RequestReads {
    /// What this user's key made, if anything.
    async fn kept_request(
        &self,
        user_id: UserId,
        operation: &str,
        key: &str,
    ) -> Result<Option<KeptRequest>, StoreError>;
}
