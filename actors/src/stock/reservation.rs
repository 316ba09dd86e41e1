//! Units promised in memory, on their way to the writer.

use crate::domain::order::LockLine;
use crate::ports::store::units::Unit;
use crate::protocol::stock::Promise;
use crate::writer::{Queued, WriteError, Writer};

/// Units of one or more SKUs, kept by their actors. Dropped before [`Reservation::queue`], it gives them back.
#[derive(Debug)]
pub struct Reservation {
    lines: Vec<LockLine>,
    promises: Vec<Promise>,
}

impl Reservation {
    pub(super) fn new(promises: Vec<Promise>) -> Self {
        let lines = promises.iter().flat_map(|promise| promise.lines().iter().cloned()).collect();
        Self { lines, promises }
    }

    /// The rows and units, by ascending SKU id.
    pub fn lines(&self) -> &[LockLine] {
        &self.lines
    }

    /// Hands the units over to the writer as part of `unit`, which must carry exactly [`Reservation::lines`]: the
    /// writer settles what [`crate::ports::store::units::reserved`] finds in the unit, whatever becomes of it.
    ///
    /// # Errors
    /// When the unit is not taken; the units are given back then.
    pub fn queue<U: Unit>(self, writer: &Writer, unit: U) -> Result<Queued<U>, WriteError> {
        let queued = writer.queue(unit)?;
        self.promises.into_iter().for_each(Promise::hand_over);
        Ok(queued)
    }
}
