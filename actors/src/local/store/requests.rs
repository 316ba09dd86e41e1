//! Keys of requests.

use super::Batch;
use super::tables::Tables;
use crate::domain::UserId;
use crate::ports::store::units::{KeepRequest, PruneRequests};
use crate::ports::store::{KeptRequest, RequestKey, StoreError};

/// Where the request of a user is kept.
pub(super) fn place_of(user_id: UserId, request: &RequestKey) -> (UserId, String, String) {
    (user_id, request.operation.to_owned(), request.key.clone())
}

/// Keeps a request with what it made.
pub(super) fn keep(tables: &mut Tables, batch: &Batch, user_id: UserId, request: &RequestKey, subject: &str) {
    let kept = KeptRequest { digest: request.digest.clone(), subject: subject.to_owned() };
    tables.requests.insert(place_of(user_id, request), (kept, batch.at));
}

/// Keeps the key that a unit was asked for under; one that is kept already refuses the unit.
pub(super) fn keep_new(
    tables: &mut Tables,
    batch: &Batch,
    asked: &KeepRequest,
    subject: &str,
) -> Result<(), StoreError> {
    let KeepRequest { user_id, request } = asked;
    if tables.requests.contains_key(&place_of(*user_id, request)) {
        return Err(StoreError::Constraint(format!("key {} of {user_id} is kept already", request.key)));
    }
    keep(tables, batch, *user_id, request, subject);
    Ok(())
}

pub(super) fn prune(tables: &mut Tables, batch: &Batch, unit: &PruneRequests) -> usize {
    let until = batch.at.minus(unit.older_than);
    let mut old: Vec<_> = tables.requests.iter().filter(|(_, (_, at))| *at <= until).collect();
    old.sort_by_key(|(_, (_, at))| *at);
    let old: Vec<_> = old.into_iter().take(unit.limit).map(|(place, _)| place.clone()).collect();
    for place in &old {
        tables.requests.remove(place);
    }
    old.len()
}
