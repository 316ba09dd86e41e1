//! Applies items with a deadline and without fear of panics, and finds the item that spoils a batch.
//!
//! A batch that still fails is halved until the bad item is alone (DESIGN rule 8): at once when applying it panics;
//! when it times out, or when every item of it is refused, not before the last try, because then the store or a
//! neighbour is more likely at fault than an item.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join};
use tokio::time::timeout;

use super::decode::part_id;
use crate::protocol::bridge::{EffectBatch, Effects, Handled};

/// Items that belong together, and where each stood in its message.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    whole: EffectBatch,
    indexes: Vec<usize>,
}

impl Batch {
    /// A batch whose n-th item stood at `indexes[n]` of its message.
    pub(super) fn new(whole: EffectBatch, indexes: Vec<usize>) -> Self {
        assert_eq!(whole.len(), indexes.len(), "every item stood somewhere");
        Self { whole, indexes }
    }

    /// A batch that did not come in a message.
    pub(super) fn loose(whole: EffectBatch) -> Self {
        let indexes = (0..whole.len()).collect();
        Self { whole, indexes }
    }

    /// How many items.
    pub(super) fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Where the item at `position` stood in its message.
    pub(super) fn index(&self, position: usize) -> usize {
        self.indexes[position]
    }

    /// Some of the items; `None` when they can only be applied one by one.
    ///
    /// Sending on a paid order is once-only by the message's id. The items that could be decoded are the same at
    /// every arrival of the message, so all of them together go under `<id>`: recorded means that all are sent on.
    /// Any other set differs from try to try, so its items go alone, each under `<id>#<index>`. An item that goes both
    /// ways (the whole was recorded, but its answer was lost) is sent on twice; stock minus and points are idempotent
    /// by order. None is left out: no id is ever recorded that stands for an item not sent on.
    fn part(&self, positions: &[usize]) -> Option<EffectBatch> {
        let part = self.whole.select(positions);
        match part {
            EffectBatch::OrderSuccess(id, items) if positions.len() < self.len() => {
                let [position] = positions else { return None };
                Some(EffectBatch::OrderSuccess(part_id(&id, self.index(*position)), items))
            }
            part => Some(part),
        }
    }
}

/// How often the items will be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Try {
    /// Soon again.
    More,
    /// Not again: what fails is parked.
    Last,
    /// Later, by the next sweep.
    Sweep,
}

impl Try {
    fn halves_after_timeout(self) -> bool {
        self != Self::More
    }

    fn halves_after_refusal(self) -> bool {
        self == Self::Last
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("applying it panicked")]
    Panicked,
    #[error("applying it took too long")]
    TimedOut,
    #[error("applying it gave another number of answers than items")]
    Miscounted,
}

/// Applies batches.
#[derive(Clone)]
pub(super) struct Applier {
    effects: Arc<dyn Effects>,
    deadline: Duration,
}

impl Applier {
    /// Every single call may take `deadline`.
    pub(super) fn new(effects: Arc<dyn Effects>, deadline: Duration) -> Self {
        Self { effects, deadline }
    }

    /// Applies the items at these positions; one answer for each, in no order. Takes at most `deadline` times one
    /// more than the number of halvings, because the halves are applied side by side.
    pub(super) fn apply<'a>(
        &'a self,
        batch: &'a Batch,
        positions: Vec<usize>,
        this_try: Try,
    ) -> BoxFuture<'a, Vec<(usize, Handled)>> {
        async move {
            if positions.is_empty() {
                return Vec::new();
            }
            let Some(part) = batch.part(&positions) else { return self.halve(batch, positions, this_try).await };
            let can_halve = positions.len() > 1;
            let answers = match self.once(part, positions.len()).await {
                Ok(answers) if can_halve && this_try.halves_after_refusal() && all_refused(&answers) => {
                    return self.halve(batch, positions, this_try).await;
                }
                Ok(answers) => answers,
                Err(fault) if can_halve && (fault != Fault::TimedOut || this_try.halves_after_timeout()) => {
                    return self.halve(batch, positions, this_try).await;
                }
                Err(fault) => vec![Handled::Retry(fault.to_string()); positions.len()],
            };
            positions.into_iter().zip(answers).collect()
        }
        .boxed()
    }

    async fn halve(&self, batch: &Batch, mut positions: Vec<usize>, this_try: Try) -> Vec<(usize, Handled)> {
        let second = positions.split_off(positions.len() / 2);
        let (mut answers, others) =
            join(self.apply(batch, positions, this_try), self.apply(batch, second, this_try)).await;
        answers.extend(others);
        answers
    }

    async fn once(&self, part: EffectBatch, items: usize) -> Result<Vec<Handled>, Fault> {
        let fault = match AssertUnwindSafe(timeout(self.deadline, self.effects.apply(part))).catch_unwind().await {
            Ok(Ok(answers)) if answers.len() == items => return Ok(answers),
            Ok(Ok(_)) => Fault::Miscounted,
            Ok(Err(_)) => Fault::TimedOut,
            Err(_) => Fault::Panicked,
        };
        metrics::counter!("seckill_effect_faults_total").increment(1);
        tracing::error!(items, %fault, "effects were not applied");
        Err(fault)
    }
}

fn all_refused(answers: &[Handled]) -> bool {
    answers.iter().all(|answer| matches!(answer, Handled::Retry(_)))
}
