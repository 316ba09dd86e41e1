//! Endpoints of webhooks, and their deliveries.
//!
//! What other units tell ([`crate::ports::store::happened`]) is recorded in their transaction, at its end: one pending
//! delivery, due at once, for each message and each endpoint that is then enabled and wants its type.

use std::time::Duration;

use crate::domain::webhook::{Delivery, EventSet, NextStep, SigningSecret};

/// Makes an enabled endpoint.
#[derive(Clone, Debug)]
pub struct CreateWebhook {
    /// Where to.
    pub url: String,
    /// Of what.
    pub events: EventSet,
    /// What signs.
    pub secret: SigningSecret,
    /// How many endpoints there may be. Nodes that make one at the same moment may pass it by one each.
    pub most: usize,
}

/// Outcome of [`CreateWebhook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookCreation {
    /// Made; its id, which no other endpoint ever had.
    Created(i64),
    /// There are as many as there may be.
    TooMany,
}

/// Changes an endpoint, if it still is what the editor saw.
#[derive(Clone, Debug)]
pub struct EditWebhook {
    /// Which.
    pub endpoint_id: i64,
    /// The version that the editor saw.
    pub seen: i64,
    /// Where to.
    pub url: String,
    /// Of what.
    pub events: EventSet,
    /// Whether it is told anything. What waits is kept and goes on when it is enabled again.
    pub is_enabled: bool,
}

/// Outcome of [`EditWebhook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookEdit {
    /// It is so now.
    Done,
    /// It is not what the editor saw any more.
    Changed,
    /// No such endpoint.
    Unknown,
}

/// Takes an endpoint away; `false` when there is none. Its deliveries are never tried again and go with
/// [`PruneDeliveries`].
#[derive(Clone, Debug)]
pub struct DeleteWebhook {
    /// Which.
    pub endpoint_id: i64,
}

/// Gives an endpoint another secret; the one it had signs on for a while. `false` when there is no such endpoint.
#[derive(Clone, Debug)]
pub struct RotateWebhook {
    /// Which.
    pub endpoint_id: i64,
    /// The new secret.
    pub secret: SigningSecret,
    /// How long the former one signs on.
    pub overlap: Duration,
}

/// Takes due deliveries of an enabled endpoint to be tried, the longest due first, and counts the try. Nobody else gets
/// them before the lease is over; then whoever took them has used the try. Deliveries that another transaction is
/// taking at the moment are left to it.
#[derive(Clone, Debug)]
pub struct ClaimDeliveries {
    /// Whose.
    pub endpoint_id: i64,
    /// At most so many.
    pub limit: usize,
    /// How long they are this caller's.
    pub lease: Duration,
}

/// Records what came of a try. `false`, and nothing is done, unless the delivery is pending under this claim.
///
/// [`NextStep::Gone`] also disables the endpoint.
#[derive(Clone, Debug)]
pub struct SettleDelivery {
    /// Which.
    pub delivery_id: i64,
    /// [`Delivery::claim`] as it was taken.
    pub claim: i64,
    /// HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// Why it failed; empty when it did not.
    pub error: String,
    /// What follows.
    pub next: NextStep,
}

/// Has a delivery tried anew, whatever became of it: pending, due now, no tries so far. Who is trying it at the moment
/// is not heard.
#[derive(Clone, Debug)]
pub struct Redeliver {
    /// Whose.
    pub endpoint_id: i64,
    /// Which.
    pub delivery_id: i64,
}

/// Outcome of [`Redeliver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// It is due.
    Due,
    /// The endpoint is disabled.
    Disabled,
    /// No such endpoint, or no such delivery of it.
    Unknown,
}

/// Forgets deliveries made longer ago than this, the oldest first: all but those that an enabled endpoint still waits
/// for. Answers how many.
#[derive(Clone, Debug)]
pub struct PruneDeliveries {
    /// How long they are kept.
    pub older_than: Duration,
    /// At most so many.
    pub limit: usize,
}

/// Outcome of [`ClaimDeliveries`].
pub type ClaimedDeliveries = Vec<Delivery>;
