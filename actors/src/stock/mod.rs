//! Stock: one actor per SKU decides in memory, the store writer commits, the database guards (DESIGN rule 2).
//!
//! - [`actor`]: the thin shell around [`crate::domain::stock::StockLedger`]; when it reads the store again
//! - [`queue`]: durable commands that wait for their flush, in order
//! - [`directory`]: SKU → actor; starts, forgets and rebuilds actors; the handle the rest of the house holds
//! - [`reservation`]: units promised in memory over several SKUs, until a unit takes them to the writer
//! - [`durable`]: lock, unlock and minus

pub mod actor;
pub mod directory;
pub mod durable;
mod flush;
pub mod queue;
pub mod reservation;

use std::sync::Arc;
use std::time::Duration;

pub use directory::StockDirectory;
pub use reservation::Reservation;

use crate::ports::clock::Clock;
use crate::ports::store::Store;
use crate::writer::Writer;

/// Bounds and times of the stock actors.
#[derive(Clone, Copy, Debug)]
pub struct StockSettings {
    /// Unanswered messages of one actor; more are refused with [`crate::domain::reject::Unavailable::Overloaded`].
    pub mailbox: usize,
    /// Most actors at a time; a SKU beyond is refused the same way until others are idle.
    pub max_actors: usize,
    /// Most owners of one flush.
    pub max_flush: usize,
    /// A shortage seen on rows older than this is not believed before they are read again (R23).
    pub refusal_age: Duration,
    /// Longest wait for an answer from memory or a read (R27).
    pub request: Duration,
    /// Longest wait for an answer from a commit, queueing included.
    pub commit: Duration,
    /// Longest read of one actor.
    pub read: Duration,
    /// An actor nobody used for this long (at most twice as long) ends.
    pub idle: Duration,
    /// The same for a SKU without stock rows.
    pub unknown_idle: Duration,
    /// How often a decision is taken again after the store refused it as stale.
    pub decisions: u32,
}

impl Default for StockSettings {
    fn default() -> Self {
        Self {
            mailbox: 1024,
            max_actors: 100_000,
            max_flush: 1024,
            refusal_age: Duration::from_millis(500),
            request: Duration::from_secs(2),
            commit: Duration::from_secs(5),
            read: Duration::from_secs(1),
            idle: Duration::from_secs(60),
            unknown_idle: Duration::from_secs(1),
            decisions: 5,
        }
    }
}

/// What every actor of a directory uses.
pub(crate) struct Tools {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: StockSettings,
}
