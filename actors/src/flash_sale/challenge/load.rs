//! The load switch of one sale: on above one share of use, off after a time below another. Decided from what the node
//! counts anyway.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::domain::Timestamp;

/// When load switches the challenge on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadRule {
    /// Share of use, in percent, from which it is on; 0 is never.
    pub on_percent: u32,
    /// Share of use, in percent, below which it may go off again.
    pub off_percent: u32,
    /// How long the use must stay below that.
    pub off_after: Duration,
}

impl LoadRule {
    /// Load switches nothing on.
    pub const NEVER: Self = Self { on_percent: 0, off_percent: 0, off_after: Duration::ZERO };
}

/// `used` of `limit`, in percent.
pub(super) fn percent(used: usize, limit: usize) -> u32 {
    u32::try_from(used.saturating_mul(100) / limit.max(1)).unwrap_or(u32::MAX)
}

/// One moment: until when it is on. Shared by the worker threads; what two of them write at once differs by nothing that
/// matters.
#[derive(Debug, Default)]
pub(in crate::flash_sale) struct LoadSwitch {
    on_until_ms: AtomicI64,
}

impl LoadSwitch {
    /// Takes the use at `now`, and says whether it is on. In-flight work only grows when somebody arrives, so it is
    /// enough to ask at each arrival.
    pub fn observe(&self, rule: &LoadRule, used_percent: u32, now: Timestamp) -> bool {
        if rule.on_percent == 0 {
            return false;
        }
        let threshold = if self.is_on(rule, now) { rule.off_percent } else { rule.on_percent };
        if used_percent < threshold {
            return self.is_on(rule, now);
        }
        self.on_until_ms.store(now.plus(rule.off_after).0, Ordering::Relaxed);
        true
    }

    /// A moment further away than one pause was set by a clock that has gone back since.
    fn is_on(&self, rule: &LoadRule, now: Timestamp) -> bool {
        let until = Timestamp(self.on_until_ms.load(Ordering::Relaxed));
        now < until && until <= now.plus(rule.off_after)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: LoadRule = LoadRule { on_percent: 80, off_percent: 50, off_after: Duration::from_secs(10) };

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_000_000 + seconds * 1000)
    }

    #[test]
    fn it_goes_on_at_one_share_and_off_after_a_time_below_another() {
        let switch = LoadSwitch::default();
        for (seconds, used, on) in [
            (0, 79, false),
            (1, 80, true),
            (5, 0, true),
            (11, 0, false),
            (12, 79, false),
            (13, 100, true),
            (22, 50, true),
            (31, 49, true),
            (32, 49, false),
            (33, 60, false),
        ] {
            assert_eq!(switch.observe(&RULE, used, at(seconds)), on, "{used} % at {seconds} s");
        }
    }

    #[test]
    fn without_a_share_it_stays_off() {
        let switch = LoadSwitch::default();
        assert!(!switch.observe(&LoadRule::NEVER, 100, at(0)));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_hold_it_on() {
        let switch = LoadSwitch::default();
        assert!(switch.observe(&RULE, 100, at(3600)));
        assert!(!switch.observe(&RULE, 0, at(0)));
        assert!(switch.observe(&RULE, 100, at(1)) && !switch.observe(&RULE, 0, at(20)));
    }

    #[test]
    fn shares_do_not_overflow() {
        assert_eq!((percent(0, 0), percent(1, 3), percent(3, 3)), (0, 33, 100));
        assert_eq!(percent(usize::MAX, 1), u32::MAX);
    }

    proptest! {
        /// On exactly while the last use at or above its threshold is less than the pause ago.
        #[test]
        fn it_follows_the_rule(steps in prop::collection::vec((0_i64..8_000, 0_u32..120), 1..100)) {
            let switch = LoadSwitch::default();
            let (mut now, mut busy_at) = (at(0), None::<Timestamp>);
            for (pause_ms, used) in steps {
                now = Timestamp(now.0 + pause_ms);
                let was_on = busy_at.is_some_and(|busy| now.0 - busy.0 < 10_000);
                if used >= if was_on { 50 } else { 80 } {
                    busy_at = Some(now);
                }
                let on = busy_at.is_some_and(|busy| now.0 - busy.0 < 10_000);
                prop_assert_eq!(switch.observe(&RULE, used, now), on);
            }
        }
    }
}
