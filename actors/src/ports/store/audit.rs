//! Gathering the facts that the invariants judge.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::invariants::{Facts, Report, check};

/// Gathering facts.
#[async_trait]
pub trait AuditReads {
    /// The facts of the whole store, read in one snapshot. Rows younger than `exempt_ms` are left out where a live
    /// server may be about to change them (DESIGN rule 16).
    async fn facts(&self, exempt_ms: i64) -> Result<Facts, StoreError>;

    /// What every invariant finds in these facts. A durable store judges its orders while it reads them, so that the
    /// audit of a million needs no more memory than that of a thousand.
    async fn audit(&self, exempt_ms: i64) -> Result<Report, StoreError> {
        Ok(check(&self.facts(exempt_ms).await?))
    }
}
