//! What the runs under pressure have in common: a store that is slowed on purpose, its capacity, and what must hold.
//!
//! A fast disk and two cores cannot be offered many times what they can do by a generator on the same two cores. So the
//! store is slowed by a stated delay a commit, and takes few units in one; ordinary orders are limited by nothing else.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::orders::{self, OrderFlow, PayType, PreparedOrders};
use super::{Check, prepare_buyers};
use crate::arrivals::{Schedule, Stage};
use crate::generator::{Pace, Workload};
use crate::measure::{Phase, Plan, measure};
use crate::server::ServerOptions;
use crate::target::Target;

/// Share of the capacity that must still be done under any load.
pub const GOODPUT: f64 = 0.9;

/// How the store is slowed.
#[derive(Clone, Debug)]
pub struct SlowStore {
    /// What every commit takes longer.
    pub delay: Duration,
    /// Most units of one commit.
    pub max_batch: usize,
}

impl SlowStore {
    /// Slows the server that will be started: SQLite by a library that lengthens every flush to disk, PostgreSQL by its
    /// own setting, which a superuser may use and which it bounds to 100 ms.
    ///
    /// # Errors
    /// Without a C compiler, or in cluster mode without the database's address.
    pub fn apply(&self, mode: &str, options: &mut ServerOptions, folder: &Path) -> anyhow::Result<()> {
        options.settings.push(format!("writer.max_batch={}", self.max_batch));
        options.settings.push("limits.per_user=off".to_owned());
        if self.delay.is_zero() {
            return Ok(());
        }
        if mode == "cluster" {
            let url = options.settings.iter_mut().find(|setting| setting.starts_with("database.url="));
            let url = url.context("--set database.url=… is needed to slow the database")?;
            *url = slow_postgres(url, self.delay);
            return Ok(());
        }
        options.preload = Some(slow_disk(folder)?);
        options.environment.push(("SLOW_DISK_US".to_owned(), self.delay.as_micros().to_string()));
        Ok(())
    }
}

fn slow_postgres(url: &str, delay: Duration) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options[commit_delay]={}&options[commit_siblings]=0", delay.as_micros())
}

/// Compiles what slows the disk; answers the library to be loaded before others.
fn slow_disk(folder: &Path) -> anyhow::Result<PathBuf> {
    let library = folder.join("slow_disk.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/slow_disk.c");
    let compiled = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .status()
        .context("cc")?;
    ensure!(compiled.success(), "the slow disk cannot be compiled");
    Ok(library)
}

/// Members who order from a stocked shop.
pub struct Shop {
    /// Their logins.
    pub cookies: Rc<[String]>,
    prepared: PreparedOrders,
    /// What they do.
    pub flow: Rc<OrderFlow>,
}

impl Shop {
    /// Buyers of one SKU, paying cash: nothing is signed, and the store has all the work of the order's life.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn open(target: &Target, cookies: Rc<[String]>, sku: u64) -> anyhow::Result<Self> {
        let first = cookies.first().context("no buyer")?;
        let prepared = orders::prepare(target, first, vec![sku], 10_000_000).await?;
        let flow = Rc::new(OrderFlow::new(cookies.clone(), vec![sku], PayType::Cash, prepared.price.clone()));
        Ok(Self { cookies, prepared, flow })
    }

    /// As [`Self::open`], with so many buyers of its own.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn with_buyers(target: &Target, buyers: u64, sku: u64) -> anyhow::Result<Self> {
        let cookies = prepare_buyers(target, buyers, 64).await?;
        Self::open(target, cookies, sku).await
    }

    /// Holds what was told against the store; answers the checks and how many orders the store has.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn reconcile(&self, target: &Target) -> anyhow::Result<(Vec<Check>, u64)> {
        orders::reconcile(target, &self.prepared, self.flow.clone()).await
    }
}

/// Accepted a second.
pub fn goodput(phase: &Phase) -> f64 {
    phase.record.counts.accepted() as f64 / phase.record.took.as_secs_f64().max(1e-9)
}

/// Orders a second that a closed loop over so many connections gets.
pub async fn capacity(target: &Target, flow: Rc<OrderFlow>, connections: usize, lasts: Duration) -> f64 {
    let plan = Plan { title: "capacity", connections, pace: Pace::Closed(lasts), sale: None };
    let capacity = goodput(&measure(target, plan, flow).await);
    eprintln!("capacity {capacity:.0} orders/s");
    capacity
}

/// A constant rate for a while, over so many connections.
pub async fn offer<W: Workload>(
    target: &Target,
    title: &str,
    workload: Rc<W>,
    rate: f64,
    lasts: Duration,
    connections: usize,
) -> Phase {
    let pace = Pace::Open(Schedule::new(vec![Stage::constant(rate, lasts)]));
    let phase = measure(target, Plan { title, connections, pace, sale: None }, workload).await;
    let (accepted, refused) = (&phase.record.accepted, &phase.record.refused);
    eprintln!(
        "{title}: {:.0}/s offered, {:.0}/s accepted, p99 {:.1?}; {} refused, p99 {:.1?}",
        rate,
        goodput(&phase),
        accepted.quantile(0.99),
        refused.len(),
        refused.quantile(0.99)
    );
    phase
}

/// A duration that must not be longer.
pub fn at_most(name: &str, is: Duration, limit: Duration) -> Check {
    Check { name: format!("{name} ≤ {limit:?}"), ok: is <= limit, detail: format!("{is:.1?}") }
}

/// As much must be done as at capacity.
pub fn enough_done(rate: f64, goodput: f64, capacity: f64) -> Check {
    Check {
        name: format!("as much is done as at capacity (≥ {GOODPUT})"),
        ok: goodput >= GOODPUT * capacity,
        detail: format!("{:.2}: {goodput:.0}/s of {capacity:.0}/s, offered {rate:.0}/s", goodput / capacity),
    }
}

/// A latency that must not be longer than so many times what it was.
pub fn not_slower(name: &str, is: Duration, was: Duration, times: f64) -> Check {
    Check {
        name: format!("{name} ≤ {times} ×"),
        ok: is <= was.mul_f64(times),
        detail: format!("{:.2}: {is:.1?} beside {was:.1?}", is.as_secs_f64() / was.as_secs_f64().max(1e-9)),
    }
}

/// What was refused or went wrong must be none.
pub fn none_refused(name: &str, phase: &Phase) -> Check {
    let counts = &phase.record.counts;
    let others = counts.total() - counts.accepted();
    Check { name: name.to_owned(), ok: others == 0, detail: format!("{others} of {}", counts.total()) }
}

/// Latency is normal again in the tenth second after the pressure.
///
/// # Errors
/// When nothing is answered any more.
pub async fn recovery(target: &Target, flow: Rc<OrderFlow>, rate: f64, calm_p99: Duration) -> anyhow::Result<Check> {
    let after = offer(target, "afterwards", flow, rate, Duration::from_secs(10), 64).await;
    let last = after.record.seconds.last().context("nothing was answered afterwards")?;
    Ok(not_slower("p99 in the tenth second afterwards over p99 before", last.latencies.quantile(0.99), calm_p99, 1.5))
}

/// At most 256 MiB, and flat: the last third needs no more than the middle one, but for a tenth.
pub fn memory(phase: &Phase) -> Vec<Check> {
    phase.processes.first().map(|server| judge_memory(&server.resident)).into_iter().collect()
}

fn judge_memory(resident: &[u64]) -> Check {
    let most = |part: &[u64]| part.iter().copied().max().unwrap_or(0) >> 20;
    let third = resident.len() / 3;
    let (middle, last) = (most(&resident[third..third * 2]), most(&resident[third * 2..]));
    Check {
        name: "memory of the server ≤ 256 MiB and flat".to_owned(),
        ok: most(resident) <= 256 && last <= middle + middle / 10 + 1,
        detail: format!("at most {} MiB, middle third {middle}, last third {last}", most(resident)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_or_is_large_fails() {
        let mib = |values: &[u64]| values.iter().map(|value| value << 20).collect::<Vec<_>>();
        assert!(judge_memory(&mib(&[50, 90, 100, 100, 100, 101])).ok);
        assert!(!judge_memory(&mib(&[50, 90, 100, 120, 140, 160])).ok);
        assert!(!judge_memory(&mib(&[300; 6])).ok);
    }

    #[test]
    fn limits_are_kept_or_not() {
        let ms = Duration::from_millis;
        assert!(at_most("x", ms(5), ms(5)).ok && !at_most("x", ms(6), ms(5)).ok);
        assert!(enough_done(4000.0, 360.0, 400.0).ok && !enough_done(4000.0, 359.0, 400.0).ok);
        assert!(not_slower("x", ms(150), ms(100), 1.5).ok && !not_slower("x", ms(151), ms(100), 1.5).ok);
    }

    #[test]
    fn postgres_is_told_to_wait_before_it_flushes() {
        let slow = |url| slow_postgres(url, Duration::from_millis(50));
        assert_eq!(slow("a/b"), "a/b?options[commit_delay]=50000&options[commit_siblings]=0");
        assert_eq!(slow("a/b?c=d"), "a/b?c=d&options[commit_delay]=50000&options[commit_siblings]=0");
    }
}
