//! Runs under pressure: overload, retry storm, hot SKU, idle connections. Each starts a server of its own.

use std::time::Duration;

use clap::Args;

use super::{LoadArguments, finish, with_audit};
use crate::report::Report;
use crate::scenario::overload::{self, Insistence, Pressed};
use crate::scenario::pressure::SlowStore;
use crate::scenario::{hot_sku, idle};
use crate::target::Target;

/// What all of them share.
#[derive(Args)]
pub struct Common {
    #[command(flatten)]
    load: LoadArguments,
    /// Members who order
    #[arg(long, default_value_t = 1_000)]
    buyers: u64,
    /// Each phase before the pressure: capacity, normal latency
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    before: Duration,
    /// Connections of the crowd
    #[arg(long, default_value_t = 4_000)]
    crowd: usize,
}

/// How the store is slowed.
#[derive(Args)]
struct SlowArguments {
    /// What every commit takes longer; in cluster mode at most 100 ms, and the database's user must be a superuser
    #[arg(long, default_value = "50ms", value_parser = humantime::parse_duration)]
    disk_delay: Duration,
    /// Most changes in one commit
    #[arg(long, default_value_t = 20)]
    max_batch: usize,
}

#[derive(Args)]
pub struct OverloadArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    slow: SlowArguments,
    /// Offered over capacity
    #[arg(long, default_value_t = 10.0)]
    multiple: f64,
}

#[derive(Args)]
pub struct StormArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    slow: SlowArguments,
    /// Buyers over capacity; those who are refused come again and again
    #[arg(long, default_value_t = 2.5)]
    multiple: f64,
    /// Tries of a refused buyer after the first
    #[arg(long, default_value_t = 3)]
    retries: u32,
    /// Of a hundred buyers, how many wait as Retry-After says; the others try again at once
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100))]
    patient: u64,
}

#[derive(Args)]
pub struct HotSkuArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    slow: SlowArguments,
    /// Offered to the hot SKU over capacity
    #[arg(long, default_value_t = 5.0)]
    multiple: f64,
}

#[derive(Args)]
pub struct IdleArguments {
    #[command(flatten)]
    common: Common,
    /// Orders a second beside the crowd
    #[arg(long, default_value_t = 200.0)]
    orders: f64,
}

async fn start(common: &Common, slow: Option<&SlowArguments>) -> anyhow::Result<Target> {
    let target = &common.load.target;
    let mut options = target.server_options();
    let folder = tempfile::tempdir()?;
    let slow = slow.map(|slow| SlowStore { delay: slow.disk_delay, max_batch: slow.max_batch });
    match slow {
        Some(slow) => {
            slow.apply(&target.mode, &mut options, folder.path())?;
            eprintln!("every commit takes {:?} longer and has at most {} changes", slow.delay, slow.max_batch);
        }
        None => options.settings.push("limits.per_user=off".to_owned()),
    }
    Target::start(&options, &target.processes).await
}

async fn report(name: &str, common: &Common, target: Target, pressed: Pressed) -> anyhow::Result<bool> {
    let checks = with_audit(&target, &common.load, pressed.checks).await?;
    let report = Report::new(name, &common.load.target.mode, &pressed.phase, pressed.persisted, checks)?;
    finish(&common.load, target, report).await
}

fn effort(common: &Common, slow: &SlowArguments, multiple: f64, insistence: Insistence) -> overload::Effort {
    overload::Effort {
        multiple,
        lasts: common.load.hold,
        before: common.before,
        buyers: common.buyers,
        connections: closed_connections(slow),
        crowd: common.crowd,
        insistence,
    }
}

/// Enough to fill each commit and the next, and few enough to be let in, which three batches always are.
fn closed_connections(slow: &SlowArguments) -> usize {
    (5 * slow.max_batch / 2).clamp(16, 256)
}

pub async fn run_overload(arguments: OverloadArguments) -> anyhow::Result<bool> {
    let OverloadArguments { common, slow, multiple } = arguments;
    let target = start(&common, Some(&slow)).await?;
    let pressed = overload::run(&target, &effort(&common, &slow, multiple, Insistence::default())).await?;
    report("overload", &common, target, pressed).await
}

pub async fn run_storm(arguments: StormArguments) -> anyhow::Result<bool> {
    let StormArguments { common, slow, multiple, retries, patient } = arguments;
    let target = start(&common, Some(&slow)).await?;
    let insistence = Insistence { retries, patient_percent: patient };
    let pressed = overload::run(&target, &effort(&common, &slow, multiple, insistence)).await?;
    report("retry-storm", &common, target, pressed).await
}

pub async fn run_hot_sku(arguments: HotSkuArguments) -> anyhow::Result<bool> {
    let HotSkuArguments { common, slow, multiple } = arguments;
    let target = start(&common, Some(&slow)).await?;
    let effort = hot_sku::Effort {
        multiple,
        lasts: common.load.hold,
        before: common.before,
        buyers: common.buyers,
        connections: closed_connections(&slow),
        crowd: common.crowd,
    };
    let pressed = hot_sku::run(&target, &effort).await?;
    report("hot-sku", &common, target, pressed).await
}

pub async fn run_idle(arguments: IdleArguments) -> anyhow::Result<bool> {
    let IdleArguments { common, orders } = arguments;
    let target = start(&common, None).await?;
    let effort = idle::Effort {
        crowd: common.crowd,
        rate: orders,
        lasts: common.load.hold,
        before: common.before,
        buyers: common.buyers,
    };
    let pressed = idle::run(&target, &effort).await?;
    report("idle", &common, target, pressed).await
}
