//! Keys of requests.

use super::Batch;
use super::tables::Tables;
use crate::domain::UserId;
use crate::ports::store::units::PruneRequests;
use crate::ports::store::{KeptRequest, RequestKey};

/// Where the request of a user is kept.
pub(super) fn place_of(user_id: UserId, request: &RequestKey) -> (UserId, String, String) {
    (user_id, request.operation.to_owned(), request.key.clone())
}

/// Keeps a request with what it made.
pub(super) fn keep(tables: &mut Tables, batch: &Batch, user_id: UserId, request: &RequestKey, subject: &str) {
    let kept = KeptRequest { digest: request.digest.clone(), subject: subject.to_owned() };
    tables.requests.insert(place_of(user_id, request), (kept, batch.at));
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
