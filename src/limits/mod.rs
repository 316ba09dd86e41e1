//! Limits of requests: rates per address and user, attempts per sale, requests in work (R26, R28, R29).
//!
//! 429 is the client's own rate, 503 is our capacity. Rates are per node. Memory is bounded: each limit remembers
//! `limits.max_tracked_keys`, and forgets what was unseen for longest.

mod admission;
mod client_ip;
mod keyed;
mod middleware;
mod standing;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actors::domain::{SaleId, UserId};
use foldhash::quality::RandomState;
use tokio_util::sync::CancellationToken;

pub use admission::{Admission, Permit};
pub use client_ip::{IpKey, client_ip};
pub use keyed::{Counted, KeyedLimiter};
pub use middleware::{Guard, Refusal, RefusalBody, note_standing, release_permit};
pub use standing::Standing;

use crate::config;
use crate::generations::Generations;

/// The client's own rate is exceeded: 429 with `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Seconds, at least 1.
    pub retry_after_secs: u64,
}

/// All rates of a node. Shared by all workers.
pub struct Limits {
    per_ip: KeyedLimiter<IpKey>,
    per_user: KeyedLimiter<UserId>,
    seckill_per_user: KeyedLimiter<UserId>,
    attempts: Generations<(UserId, SaleId), AtomicU32, RandomState>,
    attempts_per_sale: u32,
    configured: config::Limits,
}

/// Waiting does not help who has used up the attempts of a sale; this keeps such a client away for long.
const ATTEMPTS_RETRY_AFTER_SECS: u64 = 3600;

impl Limits {
    /// From the configuration.
    pub fn new(config: &config::Limits) -> Self {
        let keys = config.max_tracked_keys;
        Self {
            per_ip: KeyedLimiter::new(config.per_ip, keys),
            per_user: KeyedLimiter::new(config.per_user, keys),
            seckill_per_user: KeyedLimiter::new(config.seckill_per_user, keys),
            attempts: Generations::new(keys, RandomState::default()),
            attempts_per_sale: config.attempts_per_sale,
            configured: config.clone(),
        }
    }

    /// The limits as they are configured.
    pub fn configured(&self) -> &config::Limits {
        &self.configured
    }

    /// Counts a request of an address.
    pub fn count_address(&self, address: IpAddr) -> Counted {
        noted("per_ip", self.per_ip.count(&IpKey::of(address)))
    }

    /// Counts a request of a user.
    pub fn count_user(&self, user_id: UserId) -> Counted {
        noted("per_user", self.per_user.count(&user_id))
    }

    /// Counts an attempt of a user at any flash sale.
    pub fn count_seckill(&self, user_id: UserId) -> Counted {
        noted("seckill_per_user", self.seckill_per_user.count(&user_id))
    }

    /// Counts an attempt of a user at one flash sale.
    ///
    /// # Errors
    /// [`Limited`] once `limits.attempts_per_sale` are used up.
    pub fn count_attempt(&self, user_id: UserId, sale_id: SaleId) -> Result<(), Limited> {
        if self.attempts_per_sale == 0 {
            return Ok(());
        }
        let used = self.attempts.get_or_insert(
            &(user_id, sale_id),
            || AtomicU32::new(0),
            |used| used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| self.one_more(used)),
        );
        used.map(drop).map_err(|_| {
            note_limited("attempts_per_sale");
            Limited { retry_after_secs: ATTEMPTS_RETRY_AFTER_SECS }
        })
    }

    fn one_more(&self, used: u32) -> Option<u32> {
        (used < self.attempts_per_sale).then_some(used + 1)
    }

    /// Forgets addresses and users that have their whole burst again. Attempts are kept, they have no rate.
    pub fn forget_idle(&self) {
        self.per_ip.forget_idle();
        self.per_user.forget_idle();
        self.seckill_per_user.forget_idle();
        let tracked = [
            ("per_ip", self.per_ip.len()),
            ("per_user", self.per_user.len()),
            ("seckill_per_user", self.seckill_per_user.len()),
            ("attempts_per_sale", self.attempts.len()),
        ];
        for (limit, keys) in tracked {
            metrics::gauge!("seckill_limit_tracked_keys", "limit" => limit).set(keys as f64);
        }
    }

    /// Calls [`Self::forget_idle`] now and then until the server stops.
    pub async fn run(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(FORGET_INTERVAL)).await.is_some() {
            self.forget_idle();
        }
    }
}

const FORGET_INTERVAL: Duration = Duration::from_secs(10);

fn noted(limit: &'static str, counted: Counted) -> Counted {
    if counted.outcome().is_err() {
        note_limited(limit);
    }
    counted
}

fn note_limited(limit: &'static str) {
    metrics::counter!("seckill_limited_total", "limit" => limit).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn limits(change: impl FnOnce(&mut config::Limits)) -> Limits {
        let mut config = Config::defaults().limits;
        change(&mut config);
        Limits::new(&config)
    }

    #[test]
    fn each_limit_counts_for_itself() {
        let limits = limits(|config| {
            config.per_ip = "1/h".parse().unwrap();
            config.per_user = "1/h".parse().unwrap();
            config.seckill_per_user = "1/h".parse().unwrap();
        });
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(limits.count_address(address).outcome(), Ok(()));
        assert_eq!(limits.count_user(UserId(1)).outcome(), Ok(()));
        assert_eq!(limits.count_seckill(UserId(1)).outcome(), Ok(()));
        assert!(
            limits
                .count_address(address)
                .outcome()
                .is_err_and(|limited| (3590..=3600).contains(&limited.retry_after_secs))
        );
        assert!(limits.count_user(UserId(1)).outcome().is_err() && limits.count_seckill(UserId(1)).outcome().is_err());
        assert_eq!(limits.count_user(UserId(2)).outcome(), Ok(()), "another user has a rate of its own");
    }

    #[test]
    fn attempts_are_counted_per_user_and_sale() {
        let limits = limits(|config| config.attempts_per_sale = 2);
        let attempt = |user, sale| limits.count_attempt(UserId(user), SaleId(sale));
        assert_eq!((attempt(1, 1), attempt(1, 1)), (Ok(()), Ok(())));
        assert_eq!(attempt(1, 1), Err(Limited { retry_after_secs: ATTEMPTS_RETRY_AFTER_SECS }));
        limits.forget_idle();
        limits.forget_idle();
        assert!(attempt(1, 1).is_err(), "time does not give attempts back");
        assert_eq!((attempt(2, 1), attempt(1, 2)), (Ok(()), Ok(())));
    }

    #[test]
    fn zero_attempts_means_any_number() {
        let limits = limits(|config| config.attempts_per_sale = 0);
        for _ in 0..1000 {
            assert_eq!(limits.count_attempt(UserId(1), SaleId(1)), Ok(()));
        }
        assert!(limits.attempts.is_empty(), "nothing is remembered for nothing");
    }

    #[test]
    fn parallel_attempts_do_not_slip_through() {
        let limits = limits(|config| config.attempts_per_sale = 100);
        let allowed = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if limits.count_attempt(UserId(1), SaleId(1)).is_ok() {
                            allowed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(allowed.into_inner(), 100);
    }
}
