//! Committing grants.

use std::collections::{BTreeMap, HashMap};

use actors::domain::events::{Event, SecKill};
use actors::domain::flash_sale::{FlashSale, SalePhase};
use actors::domain::{OrderSn, SaleId, Timestamp, UserId};
use actors::ports::store::units::{CommitGrants, GrantBatch, GrantOutcome};

use crate::store::batch::{News, Placed};

/// Grants of one user in one sale that count against the limit: ordinal and order number, oldest first.
pub(in crate::store) type HeldGrants = HashMap<(SaleId, UserId), Vec<(u32, OrderSn)>>;

/// A grant row about to be made.
pub(in crate::store) struct NewGrant<'u> {
    pub(in crate::store) order_sn: &'u OrderSn,
    pub(in crate::store) sale_id: SaleId,
    pub(in crate::store) user_id: UserId,
    pub(in crate::store) ordinal: u32,
}

/// What becomes of the units of a group.
#[derive(Default)]
pub(in crate::store) struct Granting<'u> {
    /// One answer per unit.
    pub(in crate::store) answers: Vec<GrantBatch>,
    /// The grant rows to be made.
    pub(in crate::store) rows: Vec<NewGrant<'u>>,
    /// How many of them each sale gives.
    pub(in crate::store) granted: BTreeMap<SaleId, i64>,
}

/// Decides the units one after the other.
pub(in crate::store) fn decide_grants<'u>(
    units: &[Placed<'u, CommitGrants>],
    mut sales: HashMap<SaleId, FlashSale>,
    mut held: HeldGrants,
    at: Timestamp,
    news: &mut News,
) -> Granting<'u> {
    let mut granting = Granting::default();
    for &(place, unit) in units {
        let answer = match sales.get_mut(&unit.sale_id).filter(|sale| sale.phase(at) == SalePhase::Live) {
            None => GrantBatch::NotLive,
            Some(sale) if sale.epoch != unit.epoch => GrantBatch::OtherEpoch,
            Some(sale) => granting.decide((place, unit), sale, &mut held, news),
        };
        granting.answers.push(answer);
    }
    granting
}

impl<'u> Granting<'u> {
    fn decide(
        &mut self,
        (place, unit): Placed<'u, CommitGrants>,
        sale: &mut FlashSale,
        held: &mut HeldGrants,
        news: &mut News,
    ) -> GrantBatch {
        let mut decided = Vec::with_capacity(unit.winners.len());
        for (user_id, order_sn) in &unit.winners {
            let of_user = held.entry((sale.id, *user_id)).or_default();
            let outcome = decide(sale, of_user);
            if outcome == GrantOutcome::Granted {
                let ordinal = free_ordinal(of_user);
                of_user.push((ordinal, order_sn.clone()));
                self.rows.push(NewGrant { order_sn, sale_id: sale.id, user_id: *user_id, ordinal });
                sale.granted += 1;
                *self.granted.entry(sale.id).or_default() += 1;
                news.announce(place, [won(sale, *user_id, order_sn)]);
            }
            decided.push(outcome);
        }
        GrantBatch::Decided(decided)
    }
}

fn decide(sale: &FlashSale, of_user: &[(u32, OrderSn)]) -> GrantOutcome {
    let at_limit = u32::try_from(of_user.len()).is_ok_and(|grants| grants >= sale.per_user_limit);
    match of_user.first().filter(|_| at_limit) {
        Some((_, first)) => GrantOutcome::LimitReached(first.clone()),
        None if sale.remaining() <= 0 => GrantOutcome::SoldOut,
        None => GrantOutcome::Granted,
    }
}

/// The smallest ordinal that no grant of the user has; UNIQUE keeps two nodes from taking the same one.
fn free_ordinal(of_user: &[(u32, OrderSn)]) -> u32 {
    (1..).find(|ordinal| of_user.iter().all(|(taken, _)| taken != ordinal)).unwrap_or(u32::MAX)
}

fn won(sale: &FlashSale, user_id: UserId, order_sn: &OrderSn) -> Event {
    Event::SecKill(SecKill { order_token: order_sn.clone(), sku_id: sale.sku_id, num: 1, user_id, sale_id: sale.id })
}
