//! On whose behalf a unit waits, and whose turn it is when more waits than fits into one batch.

use std::collections::{HashMap, VecDeque};

use crate::domain::{SkuId, UserId};
use crate::ports::store::units::WriteUnit;

/// On whose behalf a unit waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The house finishes what it accepted: payments, messages, closing, sales, staff. Never refused for its delay.
    House,
    /// Buyers of this SKU; an order of several counts for its first.
    Sku(SkuId),
    /// This buyer's cart.
    Buyer(UserId),
}

impl Lane {
    /// Where a unit belongs.
    pub fn of(unit: &WriteUnit) -> Self {
        let line = match unit {
            WriteUnit::PlaceOrder(unit) => unit.locks.first(),
            WriteUnit::LockStock(unit) => unit.requests.iter().flat_map(|request| &request.lines).next(),
            WriteUnit::PutCartItem(unit) => return Self::Buyer(unit.user_id),
            _ => None,
        };
        line.map_or(Self::House, |line| Self::Sku(line.sku_id))
    }
}

/// Takes the next batch. When everything fits, that is everything; otherwise the house comes first, with up to half of
/// the batch, and the other lanes take turns, one unit each. What is taken, and what stays, keeps the order in which
/// it came: first come, first served within a lane.
pub fn take<T>(waiting: &mut VecDeque<T>, most: usize, lane_of: impl Fn(&T) -> Lane) -> Vec<T> {
    if waiting.len() <= most {
        return waiting.drain(..).collect();
    }
    let mut ahead: HashMap<Lane, usize> = HashMap::new();
    let mut turns: Vec<(usize, usize)> = Vec::with_capacity(waiting.len());
    for (at, item) in waiting.iter().enumerate() {
        let lane = lane_of(item);
        let ahead = ahead.entry(lane).or_default();
        let turn = if lane == Lane::House && *ahead < most.div_ceil(2) { 0 } else { *ahead };
        *ahead += 1;
        turns.push((turn, at));
    }
    let (_, last, _) = turns.select_nth_unstable(most - 1);
    let last = *last;
    let mut is_taken = vec![false; turns.len()];
    for (_, at) in turns.into_iter().filter(|turn| *turn <= last) {
        is_taken[at] = true;
    }
    let mut taken = Vec::with_capacity(most);
    for (item, is_taken) in std::mem::take(waiting).into_iter().zip(is_taken) {
        if is_taken { taken.push(item) } else { waiting.push_back(item) }
    }
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Item = (Lane, u32);

    fn sku(id: i64) -> Lane {
        Lane::Sku(SkuId(id))
    }

    fn line(lanes: &[Lane]) -> VecDeque<Item> {
        lanes.iter().copied().zip(0..).collect()
    }

    fn numbers(items: &[Item]) -> Vec<u32> {
        items.iter().map(|item| item.1).collect()
    }

    #[test]
    fn what_fits_is_taken_as_it_came() {
        let mut waiting = line(&[sku(1), sku(1), Lane::House, sku(2)]);
        assert_eq!(numbers(&take(&mut waiting, 4, |item| item.0)), [0, 1, 2, 3]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_late_lane_has_its_turn_before_the_crowd_of_another() {
        let mut waiting = line(&[sku(1), sku(1), sku(1), sku(1), sku(2), sku(3)]);
        assert_eq!(numbers(&take(&mut waiting, 3, |item| item.0)), [0, 4, 5]);
        assert_eq!(numbers(&take(&mut waiting, 3, |item| item.0)), [1, 2, 3]);
    }

    #[test]
    fn the_house_comes_first_with_half_and_fills_what_is_left() {
        let house = Lane::House;
        let mut waiting = line(&[sku(1), sku(1), sku(1), house, house, house, house]);
        assert_eq!(numbers(&take(&mut waiting, 4, |item| item.0)), [0, 1, 3, 4]);
        let mut waiting = line(&[house, house, house, house, house, sku(1)]);
        assert_eq!(numbers(&take(&mut waiting, 5, |item| item.0)), [0, 1, 2, 3, 5]);
    }

    fn lanes() -> impl Strategy<Value = Vec<Lane>> {
        let lane = prop_oneof![
            1 => Just(Lane::House),
            4 => (1..6_i64).prop_map(sku),
            1 => (1..4_i64).prop_map(|id| Lane::Buyer(UserId(id))),
        ];
        prop::collection::vec(lane, 0..200)
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_each_lane_keeps_its_order(lanes in lanes(), most in 1..40_usize) {
            let mut waiting = line(&lanes);
            let mut served: Vec<Item> = Vec::new();
            while !waiting.is_empty() {
                let before = waiting.len();
                let batch = take(&mut waiting, most, |item| item.0);
                prop_assert_eq!(batch.len(), before.min(most));
                prop_assert!(batch.is_sorted_by_key(|item| item.1), "a batch keeps the order of arrival");
                served.extend(batch);
            }
            prop_assert_eq!(served.len(), lanes.len());
            for lane in &lanes {
                let of_lane: Vec<u32> = served.iter().filter(|item| item.0 == *lane).map(|item| item.1).collect();
                prop_assert!(of_lane.is_sorted(), "first come, first served in {lane:?}");
            }
        }

        #[test]
        fn no_lane_takes_two_more_than_one_that_still_waits(lanes in lanes(), most in 1..40_usize) {
            let mut waiting = line(&lanes);
            let batch = take(&mut waiting, most, |item| item.0);
            let taken = |lane: Lane| batch.iter().filter(|item| item.0 == lane).count();
            for (lane, _) in &waiting {
                for (other, _) in batch.iter().filter(|item| item.0 != Lane::House) {
                    prop_assert!(taken(*other) <= taken(*lane) + 1, "{other:?} over {lane:?}");
                }
            }
        }
    }
}
