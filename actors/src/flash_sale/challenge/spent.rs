//! The path tokens that were used on this node: bounded, and forgotten when they could not be used any more.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::domain::Timestamp;

/// Whether a token may be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spending {
    /// For the first time.
    First,
    /// For the same attempt as before (its `Idempotency-Key`).
    Again,
    /// Not: another attempt used it.
    Refused,
}

#[derive(Clone, Copy, Debug)]
enum Use {
    /// By an attempt; the number of its key, if it has one.
    By(Option<u64>),
    /// Given back: the server could not serve the attempt.
    GivenBack,
}

/// Used tokens by their id. Beyond its bound it forgets the oldest: a buyer kept out is worse than a token used twice,
/// which wins nobody more than the sale's limit.
pub(super) struct SpentTokens {
    uses: HashMap<u64, Use>,
    /// Oldest first, with the moment from which each may be forgotten.
    order: VecDeque<(Timestamp, u64)>,
    most: usize,
    kept_for: Duration,
}

impl SpentTokens {
    /// Remembers `most` tokens, each for `kept_for` after its first use.
    pub fn new(most: usize, kept_for: Duration) -> Self {
        Self { uses: HashMap::new(), order: VecDeque::new(), most: most.max(1), kept_for }
    }

    /// Uses the token for an attempt.
    pub fn spend(&mut self, id: u64, number: Option<u64>, now: Timestamp) -> Spending {
        self.forget(now);
        match self.uses.get_mut(&id) {
            Some(Use::By(before)) if number.is_some() && *before == number => return Spending::Again,
            Some(Use::By(_)) => return Spending::Refused,
            Some(given_back) => {
                *given_back = Use::By(number);
                return Spending::First;
            }
            None => {}
        }
        if self.order.len() == self.most {
            self.forget_oldest();
        }
        self.uses.insert(id, Use::By(number));
        self.order.push_back((now.plus(self.kept_for), id));
        Spending::First
    }

    /// The attempt could not be served: the token may be used again.
    pub fn give_back(&mut self, id: u64) {
        if let Some(known) = self.uses.get_mut(&id) {
            *known = Use::GivenBack;
        }
    }

    fn forget(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.uses.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Dice, for_seeds};

    const MINUTE: Duration = Duration::from_secs(60);
    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn a_token_is_used_once() {
        let mut spent = SpentTokens::new(10, MINUTE);
        assert_eq!(spent.spend(1, None, NOW), Spending::First);
        assert_eq!(spent.spend(1, None, NOW), Spending::Refused);
        assert_eq!(spent.spend(1, Some(5), NOW), Spending::Refused);
        assert_eq!(spent.spend(2, None, NOW), Spending::First);
    }

    #[test]
    fn the_same_attempt_may_show_it_again() {
        let mut spent = SpentTokens::new(10, MINUTE);
        assert_eq!(spent.spend(1, Some(5), NOW), Spending::First);
        assert_eq!(spent.spend(1, Some(5), NOW), Spending::Again);
        assert_eq!(spent.spend(1, Some(6), NOW), Spending::Refused);
        assert_eq!(spent.spend(1, None, NOW), Spending::Refused);
    }

    #[test]
    fn what_is_given_back_may_be_used_once_more() {
        let mut spent = SpentTokens::new(10, MINUTE);
        spent.spend(1, None, NOW);
        spent.give_back(1);
        spent.give_back(99);
        assert_eq!(spent.spend(1, Some(6), NOW), Spending::First);
        assert_eq!(spent.spend(1, None, NOW), Spending::Refused);
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_bound() {
        let mut spent = SpentTokens::new(2, MINUTE);
        for id in [1, 2, 3] {
            spent.spend(id, None, NOW);
        }
        assert_eq!((spent.uses.len(), spent.order.len()), (2, 2));
        assert_eq!(spent.spend(3, None, NOW), Spending::Refused);
        assert_eq!(spent.spend(1, None, NOW), Spending::First);
    }

    /// Against the plain rule, for random lives that stay within the bound.
    #[test]
    fn it_keeps_the_rule_whatever_happens() {
        for_seeds(50, |seed| {
            let dice = Dice::new(seed);
            let mut spent = SpentTokens::new(1_000, MINUTE);
            let mut model: HashMap<u64, (Timestamp, Option<Option<u64>>)> = HashMap::new();
            let mut now = NOW;
            for step in 0..500 {
                let id = dice.below(20) as u64;
                let number = (!dice.one_in(3)).then(|| dice.below(3) as u64);
                if dice.one_in(5) {
                    now = now.plus(Duration::from_secs(dice.below(40) as u64));
                }
                model.retain(|_, (until, _)| *until > now);
                if dice.one_in(6) {
                    // The bounded memory forgets at its next use.
                    spent.give_back(id);
                    if let Some((_, by)) = model.get_mut(&id) {
                        *by = None;
                    }
                    continue;
                }
                let expected = match model.get(&id) {
                    Some((_, Some(by))) if number.is_some() && *by == number => Spending::Again,
                    Some((_, Some(_))) => Spending::Refused,
                    _ => Spending::First,
                };
                if expected == Spending::First {
                    let until = model.get(&id).map_or(now.plus(MINUTE), |(until, _)| *until);
                    model.insert(id, (until, Some(number)));
                }
                assert_eq!(spent.spend(id, number, now), expected, "seed {seed}, step {step}");
                assert_eq!(spent.uses.len(), spent.order.len());
            }
        });
    }
}
