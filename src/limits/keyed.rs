//! A rate per key: governor's GCRA on a bounded map.
//!
//! Keys are hashed by foldhash: a user's id is signed, of an address what one customer has is one key, the seed is random
//! and the map is bounded, so whoever could find keys that fall together would gain little.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foldhash::quality::RandomState;
use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::{Limited, Standing};
use crate::config::Rate;
use crate::generations::Generations;

type Limiter<K, C> = RateLimiter<K, BoundedStates<K>, C, StateInformationMiddleware>;

/// One rate for each key. `Rate::Off` lets everything through and remembers nothing.
pub struct KeyedLimiter<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    active: Option<Active<K, C>>,
}

struct Active<K: Hash + Eq + Clone, C: Clock> {
    limiter: Limiter<K, C>,
    states: Arc<Generations<K, InMemoryState, RandomState>>,
    /// After this long unseen a key has its whole burst again, so forgetting it changes nothing.
    recovery: Duration,
    burst: u32,
    last_rotation: Mutex<C::Instant>,
}

impl<K: Hash + Eq + Clone> KeyedLimiter<K> {
    /// A rate that remembers at most `max_keys` keys.
    pub fn new(rate: Rate, max_keys: usize) -> Self {
        Self::with_clock(rate, max_keys, DefaultClock::default())
    }
}

impl<K: Hash + Eq + Clone, C: Clock> KeyedLimiter<K, C> {
    fn with_clock(rate: Rate, max_keys: usize, clock: C) -> Self {
        Self { active: quota(rate).map(|quota| Active::new(quota, max_keys, clock)) }
    }

    /// Counts one of a key.
    pub fn count(&self, key: &K) -> Counted {
        let Some(active) = &self.active else { return Counted { outcome: Ok(()), left: None } };
        let left = |remaining| Some(Left { burst: active.burst, recovery: active.recovery, remaining });
        match active.limiter.check_key(key) {
            Ok(state) => Counted { outcome: Ok(()), left: left(state.remaining_burst_capacity()) },
            Err(not_until) => {
                let retry_after_secs = whole_seconds(not_until.wait_time_from(active.limiter.clock().now()));
                Counted { outcome: Err(Limited { retry_after_secs }), left: left(0) }
            }
        }
    }

    /// Drops keys that have their whole burst again. Call it every few seconds; it does something when it is time to.
    pub fn forget_idle(&self) {
        let Some(active) = &self.active else { return };
        let now = active.limiter.clock().now();
        let mut last = active.last_rotation.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if Duration::from(now.duration_since(*last)) >= active.recovery {
            *last = now;
            active.states.rotate();
        }
    }

    /// Keys remembered now.
    pub fn len(&self) -> usize {
        self.active.as_ref().map_or(0, |active| active.states.len())
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How one was counted. Where that leaves the key is worked out only for who asks: most answers do not say it.
#[must_use = "whether it is within the rate stands in its outcome"]
pub struct Counted {
    outcome: Result<(), Limited>,
    /// `None` while the rate is off.
    left: Option<Left>,
}

#[derive(Clone, Copy)]
struct Left {
    burst: u32,
    recovery: Duration,
    remaining: u32,
}

impl Counted {
    /// Whether it is within the rate.
    ///
    /// # Errors
    /// [`Limited`] with the seconds until the next one is allowed, rounded up.
    pub fn outcome(&self) -> Result<(), Limited> {
        self.outcome
    }

    /// Where the key stands with this rate, which is called `name`; `None` while it is off.
    pub fn standing(&self, name: &'static str) -> Option<Standing> {
        let Left { burst, recovery, remaining } = self.left?;
        let reset_secs = match self.outcome {
            Ok(()) => {
                let used = burst.saturating_sub(remaining);
                whole_seconds(recovery.mul_f64(f64::from(used) / f64::from(burst.max(1))))
            }
            Err(limited) => limited.retry_after_secs,
        };
        Some(Standing { name, quota: burst, window_secs: whole_seconds(recovery), remaining, reset_secs })
    }
}

impl<K: Hash + Eq + Clone, C: Clock> Active<K, C> {
    fn new(quota: Quota, max_keys: usize, clock: C) -> Self {
        let states = Arc::new(Generations::new(max_keys, RandomState::default()));
        let last_rotation = Mutex::new(clock.now());
        let limiter = RateLimiter::new(quota, BoundedStates(Arc::clone(&states)), clock);
        let (recovery, burst) = (quota.burst_size_replenished_in(), quota.burst_size().get());
        Self { limiter, states, recovery, burst, last_rotation }
    }
}

/// Rounded up, at least 1.
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

fn quota(rate: Rate) -> Option<Quota> {
    let Rate::Limited { count, period, burst } = rate else { return None };
    // Counts of 1 to 1,000,000 (checked where a rate is read) leave at least a microsecond between two.
    let one_per = period.checked_div(count)?;
    Some(Quota::with_period(one_per)?.allow_burst(NonZeroU32::new(burst)?))
}

/// Where governor keeps when each key may come again.
struct BoundedStates<K>(Arc<Generations<K, InMemoryState, RandomState>>);

impl<K: Hash + Eq + Clone> StateStore for BoundedStates<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.get_or_insert(key, InMemoryState::default, |state| state.measure_and_replace(&NotKeyed::NonKey, decide))
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(rate: &str, max_keys: usize) -> (KeyedLimiter<u64, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        // Governor counts from its start; a moment later nothing is at its zero.
        clock.advance(Duration::from_secs(1));
        (KeyedLimiter::with_clock(rate.parse().unwrap(), max_keys, clock.clone()), clock)
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (limiter, clock) = limiter("2/s burst 4", 100);
        for _ in 0..4 {
            assert_eq!(limiter.count(&1).outcome(), Ok(()));
        }
        assert_eq!(limiter.count(&1).outcome(), Err(Limited { retry_after_secs: 1 }));
        clock.advance(Duration::from_millis(499));
        assert!(limiter.count(&1).outcome().is_err());
        clock.advance(Duration::from_millis(1));
        assert_eq!(limiter.count(&1).outcome(), Ok(()));
        assert!(limiter.count(&1).outcome().is_err());
        assert_eq!(limiter.count(&2).outcome(), Ok(()));
    }

    #[test]
    fn the_wait_is_rounded_up_and_true() {
        let (limiter, clock) = limiter("2/m burst 1", 100);
        assert_eq!(limiter.count(&1).outcome(), Ok(()));
        clock.advance(Duration::from_millis(500));
        assert_eq!(limiter.count(&1).outcome(), Err(Limited { retry_after_secs: 30 }));
        clock.advance(Duration::from_secs(30));
        assert_eq!(limiter.count(&1).outcome(), Ok(()));
    }

    #[test]
    fn many_keys_stay_within_the_bound() {
        let (limiter, _) = limiter("1/h", 1_000);
        for key in 0..100_000 {
            assert_eq!(limiter.count(&key).outcome(), Ok(()));
        }
        assert!(limiter.len() <= 1_000, "{}", limiter.len());
        assert!(limiter.count(&99_999).outcome().is_err(), "the last ones are remembered");
    }

    #[test]
    fn forgetting_gives_nobody_a_new_burst_early() {
        let (limiter, clock) = limiter("1/s burst 10", 1_000);
        for _ in 0..10 {
            assert_eq!(limiter.count(&1).outcome(), Ok(()));
        }
        for second in 0..9 {
            limiter.forget_idle();
            clock.advance(Duration::from_millis(999));
            limiter.forget_idle();
            clock.advance(Duration::from_millis(1));
            assert_eq!(limiter.count(&1).outcome(), Ok(()), "second {second}");
            assert!(limiter.count(&1).outcome().is_err(), "second {second}");
        }
        for _ in 0..2 {
            clock.advance(Duration::from_secs(10));
            limiter.forget_idle();
        }
        assert!(limiter.is_empty(), "idle keys do not stay");
    }

    #[test]
    fn off_is_off() {
        let (limiter, _) = limiter("off", 10);
        for _ in 0..10_000 {
            assert_eq!(limiter.count(&1).outcome(), Ok(()));
        }
        assert!(limiter.is_empty());
    }
}
