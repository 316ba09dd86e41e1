//! Placing orders.

use std::collections::HashMap;

use actors::domain::order::LockLine;
use actors::domain::{OrderSn, Timestamp, UserId};
use actors::ports::store::units::{PlaceOrder, Placement, UnitOutcome, WriteUnit, kept_by};
use actors::ports::store::{KeptRequest, RequestKey, StoreError};

use super::stock::{Free, NewLock, StockChange};
use crate::store::batch::{News, Placed};
use crate::store::columns::pay_before;

/// The orders that tokens made.
pub(in crate::store) type UsedTokens = HashMap<(UserId, String), OrderSn>;

/// A user's key of an operation, in words of its own.
pub(in crate::store) type KeyPlace<'k> = (UserId, &'k str, &'k str);

/// Where a unit keeps its key, if it has one.
pub(in crate::store) fn key_place(unit: &PlaceOrder) -> Option<KeyPlace<'_>> {
    let request = unit.request.as_ref()?;
    Some((unit.order.user_id, request.operation, &request.key))
}

/// What stands under the asked keys, from `place among the asked, digest, subject`.
pub(in crate::store) fn kept_requests<'k>(
    asked: &[KeyPlace<'k>],
    found: Vec<(i64, String, String)>,
) -> HashMap<KeyPlace<'k>, KeptRequest> {
    let kept = |(at, digest, subject): (i64, String, String)| {
        let place = asked.get(usize::try_from(at).ok()?)?;
        Some((*place, KeptRequest { digest, subject }))
    };
    found.into_iter().filter_map(kept).collect()
}

/// The keys that the units of a batch keep, with their subjects ([`kept_by`]).
pub(in crate::store) fn kept_keys<'u>(
    units: &'u [WriteUnit],
    outcomes: &[UnitOutcome],
) -> Vec<(UserId, &'u RequestKey, String)> {
    let kept = units.iter().zip(outcomes).filter_map(|(unit, outcome)| kept_by(unit, outcome));
    kept.map(|(asked, subject)| (asked.user_id, &asked.request, subject)).collect()
}

/// What was made before by what the units of a group carry.
pub(in crate::store) struct Made<'u> {
    /// By their tokens.
    pub(in crate::store) tokens: UsedTokens,
    /// By their keys.
    pub(in crate::store) keys: HashMap<KeyPlace<'u>, KeptRequest>,
}

impl<'u> Made<'u> {
    /// What this unit must not make again.
    fn by(&self, unit: &PlaceOrder) -> Option<Placement> {
        if let Some(kept) = key_place(unit).and_then(|place| self.keys.get(&place)) {
            return Some(Placement::KeyUsed(kept.clone()));
        }
        let order_sn = self.tokens.get(&(unit.order.user_id, unit.token.clone()))?;
        Some(Placement::TokenUsed(order_sn.clone()))
    }

    fn add(&mut self, unit: &'u PlaceOrder) {
        let order_sn = &unit.order.order_sn;
        self.tokens.insert((unit.order.user_id, unit.token.clone()), order_sn.clone());
        if let (Some(place), Some(request)) = (key_place(unit), &unit.request) {
            let kept = KeptRequest { digest: request.digest.clone(), subject: order_sn.to_string() };
            self.keys.insert(place, kept);
        }
    }
}

/// What becomes of the units of a group.
pub(in crate::store) struct Placing<'u> {
    /// One answer per unit.
    pub(in crate::store) answers: Vec<Placement>,
    /// Those to be saved, with their places in the group and in the batch.
    saved: Vec<(usize, Placed<'u, PlaceOrder>)>,
}

/// Decides the units one after the other.
pub(in crate::store) fn decide_placing<'u>(
    units: &[Placed<'u, PlaceOrder>],
    mut made: Made<'u>,
    free: &mut Free,
    at: Timestamp,
) -> Placing<'u> {
    let mut placing = Placing { answers: Vec::with_capacity(units.len()), saved: Vec::with_capacity(units.len()) };
    for (index, &(place, unit)) in units.iter().enumerate() {
        let lines: Vec<&LockLine> = unit.locks.iter().collect();
        let answer = if let Some(before) = made.by(unit) {
            before
        } else if let Err(stale) = free.take(&lines) {
            Placement::Stale(stale)
        } else {
            made.add(unit);
            placing.saved.push((index, (place, unit)));
            Placement::Placed { created_at: at, pay_before: pay_before(&unit.order, at) }
        };
        placing.answers.push(answer);
    }
    placing
}

impl<'u> Placing<'u> {
    /// The units to be saved.
    pub(in crate::store) fn saved(&self) -> impl Iterator<Item = &'u PlaceOrder> {
        self.saved.iter().map(|&(_, (_, unit))| unit)
    }

    /// What their locks do to stock.
    pub(in crate::store) fn stock_change(&self) -> StockChange {
        StockChange::locking(self.saved().flat_map(|unit| &unit.locks))
    }

    /// Their lock rows.
    pub(in crate::store) fn locks(&self) -> Vec<NewLock<'u>> {
        let lock = |unit: &'u PlaceOrder, line: &LockLine| NewLock {
            owner: &unit.order.order_sn,
            line: line.clone(),
            sale_id: None,
            lease_until: None,
            is_first: false,
        };
        self.saved().flat_map(|unit| unit.locks.iter().map(move |line| lock(unit, line))).collect()
    }

    /// The keys that they are made under, with whose they are and the orders.
    pub(in crate::store) fn requests(&self) -> impl Iterator<Item = (UserId, &'u RequestKey, &'u OrderSn)> {
        let request = |unit: &'u PlaceOrder| Some((unit.order.user_id, unit.request.as_ref()?, &unit.order.order_sn));
        self.saved().filter_map(request)
    }

    /// Takes back the units whose token or key made another order meanwhile, on another node.
    pub(in crate::store) fn give_up(
        &mut self,
        units: &[Placed<'u, PlaceOrder>],
        made: &Made<'_>,
    ) -> Result<(), StoreError> {
        let Self { answers, saved } = self;
        for (answer, (_, unit)) in answers.iter_mut().zip(units) {
            if let Some(before) = made.by(unit).filter(|before| !is_of(before, &unit.order.order_sn)) {
                *answer = before;
            }
        }
        let mut given_up = Vec::new();
        saved.retain(|(index, (_, unit))| {
            let stays = matches!(answers[*index], Placement::Placed { .. });
            if !stays {
                given_up.push(&unit.order.order_sn);
            }
            stays
        });
        if given_up.iter().any(|order_sn| answers.iter().any(|answer| is_of(answer, order_sn))) {
            // Without those it would have been placed. When the batch is tried again, what is in their way is known.
            return Err(StoreError::Transient("a unit stands behind one that was made on another node".into()));
        }
        Ok(())
    }

    /// Tells of the saved ones.
    pub(in crate::store) fn announce(&self, news: &mut News) {
        for (_, (place, unit)) in &self.saved {
            news.announce(*place, unit.order.creation_events());
        }
    }
}

/// Whether this is what was made of the order itself.
fn is_of(before: &Placement, order_sn: &OrderSn) -> bool {
    match before {
        Placement::KeyUsed(kept) => kept.subject == order_sn.as_str(),
        Placement::TokenUsed(made) => made == order_sn,
        _ => false,
    }
}
