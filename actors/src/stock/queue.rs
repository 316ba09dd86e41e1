//! Durable commands of one SKU that wait for their flush, first in first out.

use std::collections::{HashSet, VecDeque};

use crate::domain::OrderSn;
use crate::protocol::stock::{Lock, Resolve};

/// A lock and how often it was decided in vain.
pub struct WaitingLock {
    /// The message.
    pub lock: Lock,
    /// Decisions that the store refused as stale.
    pub decided: u32,
}

enum Command {
    Lock(WaitingLock),
    Resolve(Resolve),
}

/// Which kind is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Locks.
    Locks,
    /// Unlocks or minuses.
    Resolves,
}

/// The queue. Its length is bounded by the permits in the messages.
#[derive(Default)]
pub struct CommandQueue {
    commands: VecDeque<Command>,
}

impl CommandQueue {
    /// Adds a lock at the end.
    pub fn push_lock(&mut self, lock: Lock) {
        self.commands.push_back(Command::Lock(WaitingLock { lock, decided: 0 }));
    }

    /// Adds a resolve at the end.
    pub fn push_resolve(&mut self, resolve: Resolve) {
        self.commands.push_back(Command::Resolve(resolve));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// What the next flush is about. Commands whose callers have gone are dropped from the front unstarted (R27).
    pub fn look_ahead(&mut self) -> Option<Next> {
        while self.commands.front().is_some_and(Command::is_abandoned) {
            self.commands.pop_front();
        }
        self.commands.front().map(|command| match command {
            Command::Lock(_) => Next::Locks,
            Command::Resolve(_) => Next::Resolves,
        })
    }

    /// Takes all locks up to the first command of another kind.
    pub fn take_locks(&mut self) -> Vec<WaitingLock> {
        let mut locks = Vec::new();
        while let Some(Command::Lock(_)) = self.commands.front() {
            if let Some(Command::Lock(waiting)) = self.commands.pop_front() {
                locks.push(waiting);
            }
        }
        locks.retain(|waiting| !waiting.lock.reply.is_abandoned());
        locks
    }

    /// Puts locks back before everything else, in their order.
    pub fn put_back(&mut self, locks: Vec<WaitingLock>) {
        for waiting in locks.into_iter().rev() {
            self.commands.push_front(Command::Lock(waiting));
        }
    }

    /// Takes the resolves at the front that fit one unit: same way, no owner twice, at most `max_owners` owners
    /// (a single longer message goes alone).
    pub fn take_resolves(&mut self, max_owners: usize) -> Vec<Resolve> {
        let mut taken: Vec<Resolve> = Vec::new();
        let mut owners: HashSet<OrderSn> = HashSet::new();
        while let Some(Command::Resolve(next)) = self.commands.front() {
            let fits = taken.first().is_none_or(|first| {
                first.way == next.way
                    && first.lapsed_only == next.lapsed_only
                    && owners.len() + next.order_sns.len() <= max_owners
                    && !next.order_sns.iter().any(|owner| owners.contains(owner))
            });
            if !fits {
                break;
            }
            if let Some(Command::Resolve(next)) = self.commands.pop_front()
                && !next.reply.is_abandoned()
            {
                owners.extend(next.order_sns.iter().cloned());
                taken.push(next);
            }
        }
        taken
    }
}

impl Command {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Lock(waiting) => waiting.lock.reply.is_abandoned(),
            Self::Resolve(resolve) => resolve.reply.is_abandoned(),
        }
    }
}
