//! What every actor needs around it: a bound on its mailbox, a reply that cannot be forgotten, and threads to run on.
//!
//! An actix mailbox bounds nothing: `send` on a full one stores a clone of the sender, and a fresh clone may always
//! push once. So whoever asks an actor takes a [`Permit`] first. The permit travels in the message and lives until the
//! message is answered, wherever it waits: in the mailbox, in the actor's own lists, or behind a commit. With it
//! `do_send` is bounded by the limit of the [`Admission`].

mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

pub use turns::{Turn, Turns};

const CLOSED: usize = 1 << (usize::BITS - 1);

/// Counts the messages of one actor that are not answered yet, up to a limit, and closes for good.
#[derive(Debug)]
pub struct Admission {
    /// Messages in flight, and the bit [`CLOSED`].
    state: AtomicUsize,
    limit: usize,
}

/// Why no message may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many messages as allowed are in flight: overload, answer at once.
    Full,
    /// The actor is gone or going: ask the directory for its successor.
    Closed,
}

impl Admission {
    /// An open one for at most `limit` messages in flight.
    pub fn new(limit: usize) -> Arc<Self> {
        assert!(limit < CLOSED, "the limit leaves room for the closed bit");
        Arc::new(Self { state: AtomicUsize::new(0), limit })
    }

    /// Takes a place; it is given back when the permit is dropped.
    ///
    /// # Errors
    /// [`Refused`], without waiting.
    pub fn try_enter(self: &Arc<Self>) -> Result<Permit, Refused> {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            if state & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            if state >= self.limit {
                return Err(Refused::Full);
            }
            match self.state.compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(Permit(Arc::clone(self))),
                Err(now) => state = now,
            }
        }
    }

    /// Closes if nothing is in flight, in one step: whoever enters first keeps the actor alive.
    pub fn close_if_idle(&self) -> bool {
        self.state.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Closes; what is in flight stays so until answered.
    pub fn close(&self) {
        self.state.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Messages in flight.
    pub fn in_flight(&self) -> usize {
        self.state.load(Ordering::Acquire) & !CLOSED
    }
}

/// A place in an actor's queue, given back on drop.
#[derive(Debug)]
pub struct Permit(Arc<Admission>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.state.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The answering end of a message: a oneshot and the place the message takes. Dropped unanswered, as a panic of the
/// actor does with everything it holds, it tells the caller so at once.
#[derive(Debug)]
pub struct Reply<T> {
    sender: oneshot::Sender<T>,
    _permit: Permit,
}

impl<T> Reply<T> {
    /// Makes the two ends.
    pub fn new(permit: Permit) -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, _permit: permit }, receiver)
    }

    /// Answers. An answer nobody waits for is dropped, so what must not get lost undoes itself on drop.
    pub fn send(self, answer: T) {
        let _ = self.sender.send(answer);
    }

    /// Whether the caller has gone: work that has not begun need not begin (R27).
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Threads for actors, made once: making and dropping arbiters again and again leaks memory in actix.
#[derive(Debug)]
pub struct Arbiters(Vec<actix::Arbiter>);

impl Arbiters {
    /// Starts `count` threads. Must be called inside an actix `System`.
    pub fn start(count: usize) -> Self {
        Self((0..count).map(|_| actix::Arbiter::new()).collect())
    }

    /// Handles to start actors with.
    pub fn handles(&self) -> Vec<actix::ArbiterHandle> {
        self.0.iter().map(actix::Arbiter::handle).collect()
    }

    /// Stops the threads and waits for their end, which blocks: call it last, after the actors were stopped.
    pub fn stop(self) {
        for arbiter in &self.0 {
            arbiter.stop();
        }
        for arbiter in self.0 {
            if arbiter.join().is_err() {
                tracing::error!("an actor thread ended with a panic");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_refused_until_a_permit_is_dropped() {
        let admission = Admission::new(2);
        let first = admission.try_enter().unwrap();
        let _second = admission.try_enter().unwrap();
        assert_eq!(admission.try_enter().unwrap_err(), Refused::Full);
        drop(first);
        assert!(admission.try_enter().is_ok());
    }

    #[test]
    fn closes_only_when_idle_and_stays_closed() {
        let admission = Admission::new(2);
        let permit = admission.try_enter().unwrap();
        assert!(!admission.close_if_idle());
        drop(permit);
        assert!(admission.close_if_idle());
        assert_eq!(admission.try_enter().unwrap_err(), Refused::Closed);
        assert!(!admission.close_if_idle(), "closed once");
    }

    #[test]
    fn permits_outlive_a_close() {
        let admission = Admission::new(2);
        let permit = admission.try_enter().unwrap();
        admission.close();
        assert_eq!(admission.in_flight(), 1);
        drop(permit);
        assert_eq!(admission.in_flight(), 0);
        assert_eq!(admission.try_enter().unwrap_err(), Refused::Closed);
    }

    #[test]
    fn many_threads_never_exceed_the_limit() {
        let admission = Admission::new(3);
        let most = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if let Ok(permit) = admission.try_enter() {
                            most.fetch_max(admission.in_flight(), Ordering::Relaxed);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert!(most.load(Ordering::Relaxed) <= 3);
        assert_eq!(admission.in_flight(), 0);
    }

    #[test]
    fn a_dropped_reply_is_noticed_and_frees_its_place() {
        let admission = Admission::new(1);
        let (reply, mut answer) = Reply::<u32>::new(admission.try_enter().unwrap());
        drop(reply);
        assert!(answer.try_recv().is_err());
        assert_eq!(admission.in_flight(), 0);
    }
}
