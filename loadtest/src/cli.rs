//! The command line.

mod pressure;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::arrivals::Schedule;
use crate::generator::Pace;
use crate::measure::{Plan, measure};
use crate::processes;
use crate::report::{self, Report};
use crate::scenario::growth;
use crate::scenario::orders::{self, OrderFlow, PayType};
use crate::scenario::spike::{self, Spike};
use crate::scenario::{self, Check};
use crate::server::ServerOptions;
use crate::table::{self, Effort};
use crate::target::{Target, TargetArguments};
use pressure::{HotSkuArguments, IdleArguments, OverloadArguments, StormArguments};

/// Load tests of the seckill server.
#[derive(Parser)]
#[command(name = "loadtest", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a server, run a spike of a minute, print the table, write the report, stop the server
    Quick(SpikeArguments),
    /// Buyers at one flash sale
    Spike(SpikeArguments),
    /// Ordinary orders: confirm and submit
    Orders(OrderArguments),
    /// Many times the capacity on ordinary orders, over a slowed store
    Overload(OverloadArguments),
    /// More than the capacity, and who is refused tries again at once or as Retry-After says
    RetryStorm(StormArguments),
    /// One SKU at many times the capacity while another sells
    HotSku(HotSkuArguments),
    /// Thousands of idle and slow connections while others buy
    Idle(IdleArguments),
    /// The speed table, against the bench's server (`cargo build --release --example bench_server`)
    Table(TableArguments),
    /// A store with a past (`bench_server fill`) beside an empty one
    Growth(GrowthArguments),
}

#[derive(Args)]
struct TableArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Each measurement of a route
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    lasts: Duration,
    /// Connections for routes that refuse
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Connections for buyers that win
    #[arg(long, default_value_t = 512)]
    winners: usize,
    /// Units won in each round, and as many buyers
    #[arg(long, default_value_t = 40_000)]
    units: u64,
    /// Folder of the figures
    #[arg(long, default_value = "target/loadtest")]
    reports: PathBuf,
}

#[derive(Args)]
struct GrowthArguments {
    #[command(flatten)]
    effort: TableArguments,
    /// Data directory of the filled store
    #[arg(long)]
    filled: PathBuf,
    /// Setting of the filled store's server alone, KEY=VALUE; may be repeated
    #[arg(long = "filled-set")]
    filled_settings: Vec<String>,
    /// Setting of the empty store's server alone, KEY=VALUE; may be repeated
    #[arg(long = "empty-set")]
    empty_settings: Vec<String>,
    /// SKUs of the filled store, numbered from 100
    #[arg(long, default_value_t = 10_000)]
    skus: u64,
}

#[derive(Args)]
struct LoadArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Arrivals per second, whether or not the server keeps up; 0: as fast as it answers
    #[arg(long, default_value_t = 5_000.0)]
    rate: f64,
    /// Time in which the rate rises from nothing
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    ramp: Duration,
    /// Time at the full rate
    #[arg(long, default_value = "50s", value_parser = humantime::parse_duration)]
    hold: Duration,
    /// Connections, each with one request in flight
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Folder of the reports
    #[arg(long, default_value = "target/loadtest")]
    reports: PathBuf,
    /// Do not wait for the audit of every invariant afterwards
    #[arg(long)]
    no_audit: bool,
}

#[derive(Args)]
struct SpikeArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// SKU of the sale
    #[arg(long, default_value_t = 49)]
    sku: u64,
    /// Units for sale
    #[arg(long, default_value_t = 10_000)]
    units: u64,
    /// Buyers, each of whom may win one; they come again and again
    #[arg(long, default_value_t = 12_000)]
    buyers: u64,
    /// End as soon as everything is sold
    #[arg(long)]
    until_sold: bool,
}

#[derive(Args)]
struct OrderArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// SKUs, ordered in turn
    #[arg(long, value_delimiter = ',', default_value = "48,49")]
    skus: Vec<u64>,
    /// Members who order
    #[arg(long, default_value_t = 1_000)]
    buyers: u64,
    /// How orders are paid
    #[arg(long, value_enum, default_value_t = PayType::Cash)]
    pay_type: PayType,
}

impl TableArguments {
    /// Limits on, and never reached: what is measured includes them.
    fn server_options(&self) -> ServerOptions {
        let mut options = self.target.server_options();
        options.settings.extend(
            ["per_ip=1000000/s", "per_user=1000000/s", "seckill_per_user=1000000/s", "attempts_per_sale=1000000000"]
                .map(|limit| format!("limits.{limit}")),
        );
        options
    }

    fn effort(&self) -> Effort {
        Effort {
            rounds: self.rounds,
            lasts: self.lasts,
            connections: self.connections,
            winners: self.winners,
            units: self.units,
        }
    }
}

impl LoadArguments {
    fn pace(&self) -> Pace {
        match self.rate > 0.0 {
            true => Pace::Open(Schedule::ramp_and_hold(self.rate, self.ramp, self.hold)),
            false => Pace::Closed(self.ramp + self.hold),
        }
    }
}

/// Runs it; answers whether all was well.
///
/// # Errors
/// When it cannot be run.
pub async fn run(cli: Cli) -> anyhow::Result<bool> {
    match cli.command {
        Command::Quick(arguments) => run_spike("quick", arguments).await,
        Command::Spike(arguments) => run_spike("spike", arguments).await,
        Command::Orders(arguments) => run_orders(arguments).await,
        Command::Overload(arguments) => pressure::run_overload(arguments).await,
        Command::RetryStorm(arguments) => pressure::run_storm(arguments).await,
        Command::HotSku(arguments) => pressure::run_hot_sku(arguments).await,
        Command::Idle(arguments) => pressure::run_idle(arguments).await,
        Command::Table(arguments) => run_table(arguments).await,
        Command::Growth(arguments) => run_growth(arguments).await,
    }
}

async fn run_spike(name: &str, arguments: SpikeArguments) -> anyhow::Result<bool> {
    let load = &arguments.load;
    let target = open(load).await?;
    let cookies = scenario::prepare_buyers(&target, arguments.buyers, load.connections).await?;
    let sale = spike::prepare(&target, arguments.sku, arguments.units).await?;
    let mut workload = Spike::new(arguments.sku, cookies);
    if arguments.until_sold {
        workload = workload.until_won(arguments.units.min(arguments.buyers));
    }
    let workload = Rc::new(workload);
    let plan = Plan { title: name, connections: load.connections, pace: load.pace(), sale: Some(&sale.id) };
    let phase = measure(&target, plan, workload.clone()).await;
    let (checks, persisted) = spike::reconcile(&target, &sale, workload).await?;
    let checks = with_audit(&target, load, checks).await?;
    finish(load, target, Report::new(name, &load.target.mode, &phase, persisted, checks)?).await
}

async fn run_orders(arguments: OrderArguments) -> anyhow::Result<bool> {
    let load = &arguments.load;
    let target = open(load).await?;
    let cookies = scenario::prepare_buyers(&target, arguments.buyers, load.connections).await?;
    let first = cookies.first().map(String::as_str).unwrap_or_default();
    let prepared = orders::prepare(&target, first, arguments.skus.clone(), 10_000_000).await?;
    let flow = OrderFlow::new(cookies.clone(), arguments.skus.clone(), arguments.pay_type, prepared.price.clone());
    let flow = Rc::new(flow);
    let plan = Plan { title: "orders", connections: load.connections, pace: load.pace(), sale: None };
    let phase = measure(&target, plan, flow.clone()).await;
    let (checks, persisted) = orders::reconcile(&target, &prepared, flow).await?;
    let checks = with_audit(&target, load, checks).await?;
    finish(load, target, Report::new("orders", &load.target.mode, &phase, persisted, checks)?).await
}

async fn run_table(arguments: TableArguments) -> anyhow::Result<bool> {
    let mut options = arguments.server_options();
    options.with_bare = true;
    let target = Target::start(&options, &arguments.target.processes).await?;
    let bare = target.bare.clone().context("no listener of references")?;
    let (rounds, checks) = table::measure_all(&target, &bare, &arguments.effort()).await?;
    target.close().await?;
    let ok = all_hold(&checks);
    println!("{}, {} mode, commit {}\n", processes::machine()?, arguments.target.mode, report::commit());
    println!("| what | target | median (range) of {} rounds |\n|---|---|---|", rounds.len());
    print!("{}", table::markdown(&rounds, &arguments.target.mode));
    std::fs::create_dir_all(&arguments.reports)?;
    std::fs::write(arguments.reports.join("table.json"), serde_json::to_string_pretty(&rounds)?)?;
    Ok(ok)
}

async fn run_growth(arguments: GrowthArguments) -> anyhow::Result<bool> {
    let common = &arguments.effort;
    let mut empty = common.server_options();
    // So that all SKUs of the filled store stay in memory.
    empty.settings.push("stock.idle_stop=1h".to_owned());
    let mut filled = ServerOptions { data_dir: Some(arguments.filled.clone()), ..empty.clone() };
    empty.settings.extend(arguments.empty_settings.iter().cloned());
    filled.settings.extend(arguments.filled_settings.iter().cloned());
    let empty = Target::start(&empty, &common.target.processes).await?;
    let filled = Target::start(&filled, &common.target.processes).await?;
    let effort = growth::Effort { each: common.effort(), skus: arguments.skus };
    let (growth, checks) = growth::run(&empty, &filled, &effort).await?;
    empty.close().await?;
    filled.close().await?;
    let text = serde_json::to_string_pretty(&growth)?;
    println!("{text}");
    std::fs::create_dir_all(&common.reports)?;
    std::fs::write(common.reports.join("growth.json"), text)?;
    Ok(all_hold(&checks))
}

fn all_hold(checks: &[Check]) -> bool {
    for check in checks.iter().filter(|check| !check.ok) {
        eprintln!("BROKEN {} [{}]", check.name, check.detail);
    }
    checks.iter().all(|check| check.ok)
}

async fn open(load: &LoadArguments) -> anyhow::Result<Target> {
    let target = Target::open(&load.target).await?;
    if let Some(ready_after) = target.ready_after {
        eprintln!("the server was ready after {ready_after:.2?}");
    }
    Ok(target)
}

async fn with_audit(target: &Target, load: &LoadArguments, mut checks: Vec<Check>) -> anyhow::Result<Vec<Check>> {
    if !load.no_audit {
        checks.push(scenario::audit(target).await?);
    }
    Ok(checks)
}

async fn finish(load: &LoadArguments, target: Target, report: Report) -> anyhow::Result<bool> {
    target.close().await?;
    println!("{}", report.table());
    println!("report: {}", report.write(&load.reports)?.display());
    Ok(report.ok)
}
