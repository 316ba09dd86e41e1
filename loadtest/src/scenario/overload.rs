//! Ten times what the server can do, on ordinary orders, with a slowed disk.
//!
//! First the capacity is found by a closed loop; then the open model offers a multiple of it. Refusals must be quick,
//! what is admitted must not wait long, as much must be done as before, memory must stay flat.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::orders::{self, OrderFlow, PayType};
use super::{Check, prepare_buyers};
use crate::arrivals::{Schedule, Stage};
use crate::generator::Pace;
use crate::measure::{Phase, Plan, measure};
use crate::target::Target;

/// How it is run.
pub struct Effort {
    /// Offered over capacity.
    pub multiple: f64,
    /// The overload.
    pub lasts: Duration,
    /// Members who order.
    pub buyers: u64,
    /// Connections while capacity is found.
    pub connections: usize,
}

/// The phases as they went, and what must hold.
pub struct Overload {
    /// Capacity found.
    pub capacity: f64,
    /// The overload.
    pub phase: Phase,
    /// Orders in the store.
    pub persisted: u64,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Compiles what slows the disk; answers the library to be loaded before others, and its setting.
///
/// # Errors
/// Without a C compiler.
pub fn slow_disk(delay: Duration) -> anyhow::Result<(PathBuf, (String, String))> {
    let library = std::env::temp_dir().join(format!("slow_disk-{}.so", std::process::id()));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/slow_disk.c");
    let compiled = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .status()
        .context("cc")?;
    ensure!(compiled.success(), "the slow disk cannot be compiled");
    Ok((library, ("SLOW_DISK_US".to_owned(), delay.as_micros().to_string())))
}

/// Runs it.
///
/// # Errors
/// When the server does not answer.
pub async fn run(target: &Target, effort: &Effort) -> anyhow::Result<Overload> {
    let cookies = prepare_buyers(target, effort.buyers, effort.connections).await?;
    let first = cookies.first().context("no buyer")?;
    let prepared = orders::prepare(target, first, vec![48], 10_000_000).await?;
    let flow = Rc::new(OrderFlow::new(cookies, vec![48], PayType::Cash, prepared.price.clone()));
    let plan = |title, connections, pace| Plan { title, connections, pace, sale: None };

    let closed = Pace::Closed(Duration::from_secs(10));
    let found = measure(target, plan("capacity", effort.connections, closed), flow.clone()).await;
    let capacity = found.record.counts.accepted() as f64 / found.record.took.as_secs_f64();
    let calm_p99 = found.record.accepted.quantile(0.99);
    eprintln!("capacity {capacity:.0} orders/s, p99 {calm_p99:.1?}");

    let rate = capacity * effort.multiple;
    let pace = Pace::Open(Schedule::new(vec![Stage::constant(rate, effort.lasts)]));
    let phase = measure(target, plan("overload", 4_000, pace), flow.clone()).await;
    let goodput = phase.record.counts.accepted() as f64 / phase.record.took.as_secs_f64();

    let pace = Pace::Open(Schedule::new(vec![Stage::constant(capacity / 2.0, Duration::from_secs(10))]));
    let after = measure(target, plan("afterwards", effort.connections, pace), flow.clone()).await;
    let last = after.record.seconds.last().context("nothing was answered afterwards")?;
    let recovered = last.latencies.quantile(0.5);

    let (mut checks, persisted) = orders::reconcile(target, &prepared, flow).await?;
    let at_most = |name: &str, is: Duration, limit: Duration| Check {
        name: format!("{name} ≤ {limit:?}"),
        ok: is <= limit,
        detail: format!("{is:.1?}"),
    };
    let ms = Duration::from_millis;
    checks.push(Check {
        name: format!("as much is done at {rate:.0}/s as at capacity (≥ 0.9)"),
        ok: goodput >= 0.9 * capacity,
        detail: format!("{goodput:.0}/s of {capacity:.0}/s = {:.2}", goodput / capacity),
    });
    checks.push(at_most("p99 of what is admitted", phase.record.accepted.quantile(0.99), ms(500)));
    checks.push(at_most("p99 of refusals", phase.record.refused.quantile(0.99), ms(50)));
    checks.push(at_most("p50 ten seconds later, at half the capacity", recovered, calm_p99));
    if let Some(server) = phase.processes.first() {
        checks.push(memory(&server.resident));
    }
    Ok(Overload { capacity, phase, persisted, checks })
}

/// At most 256 MiB, and flat: the last third needs no more than the middle one, but for a tenth.
fn memory(resident: &[u64]) -> Check {
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
        assert!(memory(&mib(&[50, 90, 100, 100, 100, 101])).ok);
        assert!(!memory(&mib(&[50, 90, 100, 120, 140, 160])).ok);
        assert!(!memory(&mib(&[300; 6])).ok);
    }
}
