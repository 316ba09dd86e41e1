//! The latch of a node: lets the owners of grants wait for their orders (R18).
//!
//! The hint is not truth: it only makes the latch look at once. All waiters are read again in one query every
//! `poll_every`, so a lost hint costs that long and no more. One read is in flight at a time; what falls due meanwhile
//! goes into the next.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use futures_util::stream;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::shared::Shared;
use crate::domain::flash_sale::{Grant, GrantState};
use crate::domain::reject::Unavailable;
use crate::domain::{OrderSn, UserId};
use crate::protocol::flash_sale::{AttemptStatus, CloseLatch, Leave, Wait};

/// What a user may know of a grant.
pub(super) fn status_of(grant: Option<&Grant>, user_id: UserId) -> AttemptStatus {
    let Some(grant) = grant.filter(|grant| grant.user_id == user_id) else { return AttemptStatus::Unknown };
    match grant.state {
        _ if grant.ordered => AttemptStatus::Ordered,
        GrantState::Granted => AttemptStatus::Pending,
        GrantState::Failed | GrantState::Released => AttemptStatus::Failed(grant.reason.clone().unwrap_or_default()),
    }
}

/// Handle to the latch: takes a place, waits, gives the place back.
pub(super) struct Latch {
    actor: Addr<LatchActor>,
    places: Arc<Places>,
    next_waiter: AtomicU64,
}

impl Latch {
    pub(super) fn start(arbiter: &ArbiterHandle, shared: Arc<Shared>) -> Self {
        let places = Arc::new(Places::new(shared.settings.waiters, shared.settings.waiters_per_user));
        let theirs = places.clone();
        let actor = LatchActor::start_in_arbiter(arbiter, move |_| LatchActor::new(shared, theirs));
        Self { actor, places, next_waiter: AtomicU64::new(0) }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.actor.connected()
    }

    pub(super) fn close(&self) {
        self.actor.do_send(CloseLatch); // Once per process.
    }

    /// Waits at most `at_most` for a decided grant. `Pending` is only said to its owner.
    pub(super) async fn wait(
        &self,
        user_id: UserId,
        order_sn: &OrderSn,
        at_most: Duration,
    ) -> Result<AttemptStatus, Unavailable> {
        let (waiting, mut status) = self.register(user_id, order_sn)?;
        let decided = status.wait_for(|status| !matches!(status, None | Some(AttemptStatus::Pending)));
        let decided = timeout(at_most, decided).await.map(|seen| seen.map(|status| status.clone()));
        drop(waiting);
        match decided {
            Ok(Ok(status)) => status,
            Ok(Err(_)) => return Err(Unavailable::Stopping),
            Err(_) => status.borrow().clone(),
        }
        .ok_or_else(|| Unavailable::Dependency("the grant could not be read in time".into()))
    }

    fn register(
        &self,
        user_id: UserId,
        order_sn: &OrderSn,
    ) -> Result<(Waiting, watch::Receiver<Option<AttemptStatus>>), Unavailable> {
        if !self.places.take(user_id) {
            return Err(Unavailable::Overloaded);
        }
        let waiter = self.next_waiter.fetch_add(1, Ordering::Relaxed);
        let (sender, status) = watch::channel(None);
        // Bounded by the places: each Wait holds one until its Leave is handled.
        self.actor.do_send(Wait { waiter, user_id, order_sn: order_sn.clone(), status: sender });
        let leave = Leave { waiter, user_id, order_sn: order_sn.clone() };
        Ok((Waiting { actor: self.actor.clone(), leave: Some(leave) }, status))
    }
}

/// Sends the [`Leave`] of one waiter, also when its future is dropped.
struct Waiting {
    actor: Addr<LatchActor>,
    leave: Option<Leave>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.actor.do_send(leave); // One for each Wait, so bounded like it.
        }
    }
}

/// The waiting places of the node, and of each user.
struct Places {
    most: usize,
    most_per_user: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    by_user: HashMap<UserId, usize>,
}

impl Places {
    fn new(most: usize, most_per_user: usize) -> Self {
        Self { most, most_per_user, taken: Mutex::default() }
    }

    fn take(&self, user_id: UserId) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = taken.by_user.get(&user_id).copied().unwrap_or(0);
        if taken.total >= self.most || of_user >= self.most_per_user {
            return false;
        }
        taken.total += 1;
        taken.by_user.insert(user_id, of_user + 1);
        true
    }

    fn give_back(&self, user_id: UserId) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_user) = taken.by_user.get_mut(&user_id) else { return };
        *of_user -= 1;
        if *of_user == 0 {
            taken.by_user.remove(&user_id);
        }
        taken.total -= 1;
    }
}

struct Waiter {
    id: u64,
    user_id: UserId,
    status: watch::Sender<Option<AttemptStatus>>,
}

impl Waiter {
    /// Tells what is known; `true` while there is more to come.
    fn tell(&self, grant: Option<&Grant>) -> bool {
        let status = status_of(grant, self.user_id);
        let is_pending = status == AttemptStatus::Pending;
        self.status.send_if_modified(|known| {
            let is_news = known.as_ref() != Some(&status);
            *known = Some(status);
            is_news
        });
        is_pending
    }
}

/// The actor: who waits for which order.
pub(super) struct LatchActor {
    shared: Arc<Shared>,
    places: Arc<Places>,
    waiters: HashMap<OrderSn, Vec<Waiter>>,
    due: HashSet<OrderSn>,
    is_reading: bool,
}

impl LatchActor {
    fn new(shared: Arc<Shared>, places: Arc<Places>) -> Self {
        Self { shared, places, waiters: HashMap::new(), due: HashSet::new(), is_reading: false }
    }

    fn look_at_all(&mut self, ctx: &mut Context<Self>) {
        self.due.extend(self.waiters.keys().cloned());
        self.look(ctx);
    }

    /// Reads what is due, unless a read is in flight.
    fn look(&mut self, ctx: &mut Context<Self>) {
        self.due.retain(|order_sn| self.waiters.contains_key(order_sn));
        if self.is_reading || self.due.is_empty() {
            return;
        }
        self.is_reading = true;
        let asked: Vec<OrderSn> = self.due.drain().collect();
        let shared = self.shared.clone();
        let read = async move {
            let grants = shared.read(shared.store.grants(&asked)).await;
            (asked, grants)
        };
        ctx.spawn(read.into_actor(self).map(|(asked, grants), actor, ctx| {
            actor.is_reading = false;
            match grants {
                Ok(grants) => actor.tell(&asked, grants),
                // The next round looks again.
                Err(unavailable) => tracing::warn!(%unavailable, "grants of waiters could not be read"),
            }
            actor.look(ctx);
        }));
    }

    fn tell(&mut self, asked: &[OrderSn], grants: Vec<Grant>) {
        let grants: HashMap<OrderSn, Grant> = grants.into_iter().map(|grant| (grant.order_sn.clone(), grant)).collect();
        for order_sn in asked {
            let Some(waiters) = self.waiters.get_mut(order_sn) else { continue };
            waiters.retain(|waiter| waiter.tell(grants.get(order_sn)));
            if waiters.is_empty() {
                self.waiters.remove(order_sn);
            }
        }
    }
}

impl Actor for LatchActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.add_stream(hints(self.shared.coordination.hints()));
        ctx.run_interval(self.shared.settings.poll_every, |actor, ctx| actor.look_at_all(ctx));
    }
}

/// Hints in batches; `None` when some were missed.
fn hints(receiver: broadcast::Receiver<OrderSn>) -> impl futures_util::Stream<Item = Option<Vec<OrderSn>>> {
    const MOST: usize = 1024;
    stream::unfold(receiver, |mut receiver| async move {
        let mut hints = match receiver.recv().await {
            Ok(hint) => vec![hint],
            Err(RecvError::Lagged(_)) => return Some((None, receiver)),
            Err(RecvError::Closed) => return None,
        };
        while hints.len() < MOST
            && let Ok(hint) = receiver.try_recv()
        {
            hints.push(hint);
        }
        Some((Some(hints), receiver))
    })
}

impl StreamHandler<Option<Vec<OrderSn>>> for LatchActor {
    fn handle(&mut self, hints: Option<Vec<OrderSn>>, ctx: &mut Context<Self>) {
        let Some(hints) = hints else { return self.look_at_all(ctx) };
        self.due.extend(hints.into_iter().filter(|order_sn| self.waiters.contains_key(order_sn)));
        self.look(ctx);
    }

    /// Without hints the latch still looks by itself.
    fn finished(&mut self, _: &mut Context<Self>) {}
}

impl Handler<Wait> for LatchActor {
    type Result = ();

    fn handle(&mut self, wait: Wait, ctx: &mut Context<Self>) {
        let waiter = Waiter { id: wait.waiter, user_id: wait.user_id, status: wait.status };
        self.waiters.entry(wait.order_sn.clone()).or_default().push(waiter);
        self.due.insert(wait.order_sn);
        self.look(ctx);
    }
}

impl Handler<Leave> for LatchActor {
    type Result = ();

    fn handle(&mut self, leave: Leave, _: &mut Context<Self>) {
        self.places.give_back(leave.user_id);
        let Some(waiters) = self.waiters.get_mut(&leave.order_sn) else { return };
        waiters.retain(|waiter| waiter.id != leave.waiter);
        if waiters.is_empty() {
            self.waiters.remove(&leave.order_sn);
        }
    }
}

impl Handler<CloseLatch> for LatchActor {
    type Result = ();

    fn handle(&mut self, _: CloseLatch, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SaleId, Timestamp};

    fn grant(state: GrantState, ordered: bool) -> Grant {
        Grant {
            order_sn: OrderSn::parse("n").unwrap(),
            sale_id: SaleId(1),
            user_id: UserId(1),
            state,
            reason: Some("why".into()),
            ordered,
            created_at: Timestamp(0),
        }
    }

    #[test]
    fn only_the_owner_learns_anything() {
        let granted = grant(GrantState::Granted, false);
        assert_eq!(status_of(Some(&granted), UserId(1)), AttemptStatus::Pending);
        assert_eq!(status_of(Some(&granted), UserId(2)), AttemptStatus::Unknown);
        assert_eq!(status_of(None, UserId(1)), AttemptStatus::Unknown);
    }

    #[test]
    fn an_order_row_is_ordered_whatever_came_after() {
        for state in [GrantState::Granted, GrantState::Released] {
            assert_eq!(status_of(Some(&grant(state, true)), UserId(1)), AttemptStatus::Ordered);
        }
        let failed = status_of(Some(&grant(GrantState::Failed, false)), UserId(1));
        assert_eq!(failed, AttemptStatus::Failed("why".into()));
    }

    #[test]
    fn places_are_bounded_for_the_node_and_for_each_user() {
        let places = Places::new(3, 2);
        let (one, two) = (UserId(1), UserId(2));
        assert!(places.take(one) && places.take(one));
        assert!(!places.take(one), "two per user");
        assert!(places.take(two));
        assert!(!places.take(two), "three on the node");
        places.give_back(one);
        assert!(places.take(two));
        assert!(!places.take(one));
    }
}
