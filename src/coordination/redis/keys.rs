//! Names of keys (DESIGN section 7). The keys of a sale share a hash tag, so that a script touches one slot.

use actors::domain::{SaleId, UserId};

/// Channel of the latch's hints. A channel belongs to no slot and no database: every node of a Redis Cluster hands it on.
pub(super) const HINTS: &str = "sec:countdown";

/// The keys of one flash sale.
pub(super) struct SaleKeys {
    pub(super) epoch: String,
    pub(super) semaphore: String,
    pub(super) users: String,
    pub(super) holds: String,
}

impl SaleKeys {
    pub(super) fn of(sale_id: SaleId) -> Self {
        let key = |name| format!("sec:{{{sale_id}}}:{name}");
        Self { epoch: key("epoch"), semaphore: key("semaphore"), users: key("users"), holds: key("holds") }
    }

    /// In the order that the scripts know.
    pub(super) fn all(&self) -> [&str; 4] {
        [&self.epoch, &self.semaphore, &self.users, &self.holds]
    }

    /// Where the holders of an epoch are gathered before they are switched in.
    pub(super) fn staged(&self, epoch: i64) -> String {
        format!("{}.{epoch}", self.users)
    }
}

/// Seen mark of an order token.
pub(super) fn token(token: &str) -> String {
    format!("order:token:{token}")
}

/// A member's cart.
pub(super) fn cart(user_id: UserId) -> String {
    format!("cart:uid:{user_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        let keys = SaleKeys::of(SaleId(7));
        assert_eq!(keys.all(), ["sec:{7}:epoch", "sec:{7}:semaphore", "sec:{7}:users", "sec:{7}:holds"]);
        assert_eq!(keys.staged(3), "sec:{7}:users.3");
        assert_eq!(token("abc"), "order:token:abc");
        assert_eq!(cart(UserId(1)), "cart:uid:1");
    }
}
