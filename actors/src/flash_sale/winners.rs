//! Who is known to have won as often as the limit allows, so that repeats do not reach the store each time.
//!
//! A cache: bounded, and forgotten whenever grants of the sale are released.

use std::sync::atomic::{AtomicI64, Ordering};

use dashmap::DashMap;

use crate::domain::flash_sale::FlashSale;
use crate::domain::{OrderSn, UserId};

/// Buyers at the limit; the order number once it is known.
pub(super) struct Winners {
    first_wins: DashMap<UserId, Option<OrderSn>>,
    most: usize,
    /// `granted + released` of the sale when all its holders were read; both only grow.
    complete_at: AtomicI64,
}

const NEVER: i64 = -1;

impl Winners {
    pub(super) fn new(most: usize) -> Self {
        Self { first_wins: DashMap::new(), most, complete_at: AtomicI64::new(NEVER) }
    }

    pub(super) fn contains(&self, user_id: UserId) -> bool {
        self.first_wins.contains_key(&user_id)
    }

    pub(super) fn first(&self, user_id: UserId) -> Option<OrderSn> {
        self.first_wins.get(&user_id)?.clone()
    }

    /// A buyer is at the limit; this was the first order number. When the cache is full the buyer is not remembered.
    pub(super) fn won(&self, user_id: UserId, first: OrderSn) {
        if self.first_wins.len() < self.most {
            self.first_wins.insert(user_id, Some(first));
        }
    }

    /// Buyers at the limit, without their numbers; what is known of them already is kept.
    pub(super) fn know(&self, users: impl IntoIterator<Item = UserId>) {
        let room = self.most.saturating_sub(self.first_wins.len());
        for user_id in users.into_iter().take(room) {
            self.first_wins.entry(user_id).or_insert(None);
        }
    }

    pub(super) fn clear(&self) {
        self.first_wins.clear();
        self.complete_at.store(NEVER, Ordering::Release);
    }

    /// Whether grants were given or released since all holders were read.
    pub(super) fn lag_behind(&self, sale: &FlashSale) -> bool {
        self.complete_at.load(Ordering::Acquire) != sale.granted + sale.released
    }

    pub(super) fn are_complete_for(&self, sale: &FlashSale) {
        self.complete_at.store(sale.granted + sale.released, Ordering::Release);
    }
}
