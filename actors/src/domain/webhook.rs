//! Webhooks: what other systems are told, how it is signed, and when a try follows a try.
//!
//! | from | what came back | to |
//! |---|---|---|
//! | pending | 2xx | delivered |
//! | pending | 410 | failed, and the endpoint is disabled |
//! | pending | anything else, or nothing | pending until the next pause is over; failed after the last |
//! | any | staff want it sent again | pending, all tries anew, under the same message id |
//!
//! A claim counts as a try before anything is sent, and its number is what the outcome is recorded under: of two senders
//! only the later is believed, and one that dies has used its try. The form is that of Standard Webhooks 1.0
//! (standardwebhooks.com): `webhook-id`, `webhook-timestamp`, `webhook-signature`.

mod address;
mod signing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::ids::OrderSn;
use super::order::OrderStatus;
use super::returns::ReturnState;
use super::time::Timestamp;

pub use address::is_public;
pub use signing::{SigningSecret, signature};

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventType {
    /// An order was made, a winner's too.
    OrderPlaced = 0,
    /// The gateway's money for it arrived.
    OrderPaid = 1,
    /// It was handed to the carrier.
    OrderShipped = 2,
    /// Its buyer has it; one to be paid on delivery is paid by this.
    OrderCompleted = 3,
    /// It was closed: unpaid, or refunded whole.
    OrderClosed = 4,
    /// Money of it is back with its buyer, all or a part.
    OrderRefunded = 5,
    /// Its buyer wants to send units back.
    ReturnRequested = 6,
    /// The goods came back, or the request was rejected.
    ReturnSettled = 7,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::OrderPlaced,
        Self::OrderPaid,
        Self::OrderShipped,
        Self::OrderCompleted,
        Self::OrderClosed,
        Self::OrderRefunded,
        Self::ReturnRequested,
        Self::ReturnSettled,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrderPlaced => "order.placed",
            Self::OrderPaid => "order.paid",
            Self::OrderShipped => "order.shipped",
            Self::OrderCompleted => "order.completed",
            Self::OrderClosed => "order.closed",
            Self::OrderRefunded => "order.refunded",
            Self::ReturnRequested => "return.requested",
            Self::ReturnSettled => "return.settled",
        }
    }

    /// From the name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A set of event types, as the bits of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventSet(i64);

impl EventSet {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self((1 << EventType::ALL.len()) - 1);

    /// From the column; bits that mean nothing here are left out.
    pub const fn from_bits(bits: i64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// For the column.
    pub const fn bits(self) -> i64 {
        self.0
    }

    /// Whether it has this one.
    pub const fn contains(self, kind: EventType) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether it has none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Its members.
    pub fn iter(self) -> impl Iterator<Item = EventType> {
        EventType::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<EventType> for EventSet {
    fn from_iter<I: IntoIterator<Item = EventType>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | 1 << kind as u8))
    }
}

/// One thing that happened, before anybody is told. It names the order and where it is now, and nobody: who needs more
/// asks for the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// What.
    pub kind: EventType,
    /// To which order.
    pub order_sn: OrderSn,
    /// The status after it: the order's, or the return request's.
    pub status: &'static str,
    /// Which return request.
    pub return_id: Option<i64>,
}

impl Happening {
    /// Something that happened to an order.
    pub fn order(kind: EventType, order_sn: &OrderSn, status: OrderStatus) -> Self {
        Self { kind, order_sn: order_sn.clone(), status: status.name(), return_id: None }
    }

    /// Something that happened to a return request.
    pub fn of_return(kind: EventType, order_sn: &OrderSn, return_id: i64, state: ReturnState) -> Self {
        Self { kind, order_sn: order_sn.clone(), status: state.name(), return_id: Some(return_id) }
    }

    /// The body of its message.
    pub fn body(&self, at: Timestamp) -> String {
        let Self { kind, order_sn, status, return_id } = self;
        let (kind, at, order_sn) = (kind.as_str(), at.rfc3339(), order_sn.as_str());
        let return_id = return_id.map(|id| format!(r#""return_id":"{id}","#)).unwrap_or_default();
        format!(
            r#"{{"type":"{kind}","timestamp":"{at}","data":{{"order_sn":"{order_sn}",{return_id}"status":"{status}"}}}}"#
        )
    }
}

/// Whom staff want told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Row id.
    pub id: i64,
    /// Where to.
    pub url: String,
    /// Of what.
    pub events: EventSet,
    /// Whether anything is recorded for it and sent.
    pub is_enabled: bool,
    /// What signs.
    pub secret: SigningSecret,
    /// What signed before, and until when it goes on.
    pub former: Option<(SigningSecret, Timestamp)>,
    /// Grows by one with every change.
    pub version: i64,
    /// Made at.
    pub created_at: Timestamp,
    /// Last changed at.
    pub modified_at: Timestamp,
}

impl Endpoint {
    /// The secrets that sign now, the current one first.
    pub fn signing_secrets(&self, now: Timestamp) -> impl Iterator<Item = &SigningSecret> {
        let former = self.former.as_ref().filter(|(_, until)| now < *until).map(|(secret, _)| secret);
        std::iter::once(&self.secret).chain(former)
    }

    /// The value of `webhook-signature`: one signature of each secret that signs now.
    pub fn signatures(&self, message_id: &str, now: Timestamp, body: &str) -> String {
        let signed = self.signing_secrets(now).map(|secret| signature(secret, message_id, seconds(now), body));
        signed.collect::<Vec<_>>().join(" ")
    }
}

/// The value of `webhook-timestamp`: whole seconds since 1970.
pub const fn seconds(now: Timestamp) -> i64 {
    now.0.div_euclid(1000)
}

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i64)]
pub enum DeliveryState {
    /// Waits for its next try.
    Pending = 0,
    /// Answered with 2xx.
    Delivered = 1,
    /// Given up.
    Failed = 2,
}

impl DeliveryState {
    /// All of them, in code order.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    /// The column's number.
    pub const fn code(self) -> i64 {
        self as i64
    }

    /// From the column's number.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The name the API uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// One message for one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Row id; grows with time.
    pub id: i64,
    /// Whom it is for.
    pub endpoint_id: i64,
    /// `webhook-id`: the same in every try and for every endpoint.
    pub message_id: String,
    /// What it tells.
    pub kind: EventType,
    /// What is sent.
    pub body: String,
    /// Where it is.
    pub state: DeliveryState,
    /// Tries so far, since it was last asked for.
    pub tries: u32,
    /// Number of its last claim, over all tries.
    pub claim: i64,
    /// When it is tried next, or, while it is being tried, when that is given up for lost.
    pub due_at: Timestamp,
    /// HTTP status of the last try.
    pub last_status: Option<u16>,
    /// Why the last try failed; empty when it did not.
    pub last_error: String,
    /// When the last try ended.
    pub tried_at: Option<Timestamp>,
    /// When it happened.
    pub created_at: Timestamp,
}

/// What came of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TryOutcome {
    /// The status of an answer.
    Answered(u16),
    /// Why there was none.
    Unanswered(String),
}

/// What follows a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// It arrived.
    Delivered,
    /// Try again after this.
    RetryAfter(Duration),
    /// That was the last try.
    GiveUp,
    /// The endpoint wants nothing any more.
    Gone,
}

/// The pauses between the tries of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Schedule {
    /// A schedule of one try more than there are pauses.
    pub fn new(pauses: Vec<Duration>) -> Self {
        Self(pauses)
    }

    /// What follows the try of this number, counted from 1. A pause is lengthened by up to a fifth, as `random` says,
    /// so that what failed together does not come again together.
    pub fn judge(&self, tries: u32, outcome: &TryOutcome, random: u64) -> NextStep {
        match outcome {
            TryOutcome::Answered(200..=299) => NextStep::Delivered,
            TryOutcome::Answered(410) => NextStep::Gone,
            _ => self.pause_after(tries, random).map_or(NextStep::GiveUp, NextStep::RetryAfter),
        }
    }

    fn pause_after(&self, tries: u32, random: u64) -> Option<Duration> {
        let place = usize::try_from(tries.checked_sub(1)?).ok()?;
        let pause = *self.0.get(place)?;
        let most = u64::try_from(pause.as_millis() / 5).unwrap_or(u64::MAX - 1);
        Some(pause.saturating_add(Duration::from_millis(random % (most + 1))))
    }
}
