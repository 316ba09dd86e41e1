//! Forgetting messages that nobody needs any more.

use std::time::Duration;

use crate::domain::reject::Unavailable;
use crate::ports::store::units::{PruneMessages, SpentMessages};
use crate::writer::Writer;

/// Rows forgotten in one transaction: few, because buyers' changes wait behind it.
pub const PRUNED_AT_ONCE: usize = 256;
/// Transactions for one kind of message in one step; the rest waits for the next.
const MOST_ROUNDS: usize = 400;
/// Longest wait for one of them.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long spent messages are kept.
#[derive(Clone, Copy, Debug)]
pub struct PruneSettings {
    /// `retention.published`
    pub published: Duration,
    /// `retention.seen`
    pub seen: Duration,
    /// `retention.replayed`
    pub replayed: Duration,
}

/// Forgets spent messages through the store writer.
#[derive(Clone)]
pub struct Pruner {
    writer: Writer,
    settings: PruneSettings,
}

impl Pruner {
    /// A pruner through this writer.
    pub fn new(writer: Writer, settings: PruneSettings) -> Self {
        Self { writer, settings }
    }

    /// Forgets what is old enough, of each kind at most [`PRUNED_AT_ONCE`] rows in each of a bounded number of
    /// transactions; how many rows.
    ///
    /// # Errors
    /// When the store cannot be written now; the next step goes on.
    pub async fn step(&self) -> Result<usize, Unavailable> {
        let PruneSettings { published, seen, replayed } = self.settings;
        Ok(self.prune(SpentMessages::Published, published).await?
            + self.prune(SpentMessages::Seen, seen).await?
            + self.prune(SpentMessages::Replayed, replayed).await?)
    }

    async fn prune(&self, which: SpentMessages, older_than: Duration) -> Result<usize, Unavailable> {
        let mut forgotten = 0;
        for _ in 0..MOST_ROUNDS {
            let round = PruneMessages { which, older_than, limit: PRUNED_AT_ONCE };
            let now = self.writer.commit_within(round, COMMIT_TIMEOUT).await?;
            forgotten += now;
            if now < PRUNED_AT_ONCE {
                break;
            }
        }
        Ok(forgotten)
    }
}
