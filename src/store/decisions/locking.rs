//! Locking for other systems.

use std::collections::HashSet;

use actors::domain::order::LockLine;
use actors::domain::{OrderSn, Timestamp};
use actors::ports::store::units::{LockRequest, LockStock, StockLock, StockLocks};

use super::stock::{Free, NewLock};
use crate::store::batch::Placed;

/// What becomes of the units of a group.
pub(in crate::store) struct Locking<'u> {
    /// One answer per unit.
    pub(in crate::store) answers: Vec<StockLocks>,
    /// The lock rows to be made.
    pub(in crate::store) locks: Vec<NewLock<'u>>,
}

/// Decides the units one after the other. `owners` have lock rows already.
pub(in crate::store) fn decide_locking<'u>(
    units: &[Placed<'u, LockStock>],
    mut owners: HashSet<OrderSn>,
    free: &mut Free,
    at: Timestamp,
) -> Locking<'u> {
    let mut locking = Locking { answers: Vec::with_capacity(units.len()), locks: Vec::new() };
    for &(_, unit) in units {
        let new: Vec<&LockRequest> =
            unit.requests.iter().filter(|request| !owners.contains(&request.order_sn)).collect();
        let lines: Vec<&LockLine> = new.iter().flat_map(|request| &request.lines).collect();
        if let Err(stale) = free.take(&lines) {
            locking.answers.push(StockLocks::Stale(stale));
            continue;
        }
        locking.locks.extend(new.iter().flat_map(|request| lock_rows(request, at.plus(unit.lease))));
        let locked: HashSet<&OrderSn> = new.iter().map(|request| &request.order_sn).collect();
        let answer = |owner| if locked.contains(owner) { StockLock::Locked } else { StockLock::Exists };
        locking.answers.push(StockLocks::Done(unit.requests.iter().map(|request| answer(&request.order_sn)).collect()));
        owners.extend(locked.into_iter().cloned());
    }
    locking
}

/// The lock rows of a request.
pub(in crate::store) fn lock_rows(request: &LockRequest, lease_until: Timestamp) -> impl Iterator<Item = NewLock<'_>> {
    let lock = move |(place, line): (usize, &LockLine)| NewLock {
        owner: &request.order_sn,
        line: line.clone(),
        sale_id: None,
        lease_until: Some(lease_until),
        is_first: place == 0,
    };
    request.lines.iter().enumerate().map(lock)
}
