//! The speed table: each figure beside its reference in the same round, several rounds, medians and ranges. Rates move
//! with the machine; the ratios and the CPU time per request are what to keep.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::arrivals::{Schedule, Stage};
use crate::generator::{Pace, Workload, Wrong};
use crate::measure::{Phase, Plan, measure};
use crate::record::Outcome;
use crate::scenario::orders::{self, OrderFlow, PayType};
use crate::scenario::spike::{self, Spike};
use crate::scenario::{self, Check};
use crate::target::Target;
use crate::wire::Connection;

/// How it is measured.
pub struct Effort {
    /// Rounds.
    pub rounds: usize,
    /// Each measurement of a route.
    pub lasts: Duration,
    /// Connections for routes that refuse.
    pub connections: usize,
    /// Connections for buyers that win.
    pub winners: usize,
    /// Units won in each round, and as many buyers.
    pub units: u64,
}

/// One measurement of one round.
#[derive(Clone, Serialize)]
pub struct Cost {
    /// Per second.
    pub rate: f64,
    /// CPU time of the server and what was named besides, microseconds each.
    pub server_us: f64,
    /// CPU time of the generator, microseconds each.
    pub generator_us: f64,
    /// Milliseconds.
    pub p99_ms: f64,
    /// CPU time of each process, microseconds each; the generator is the last.
    pub processes: Vec<(String, f64)>,
}

/// One round.
#[derive(Serialize)]
pub struct Round {
    bare: Cost,
    logged_in: Cost,
    refused: Cost,
    won: Cost,
    won_at_80_percent: Cost,
    orders: Cost,
    steal_percent: f64,
}

/// Requests of one path with each buyer's cookie in turn.
struct Route {
    path: &'static str,
    cookies: Rc<[String]>,
}

impl Workload for Route {
    async fn arrive(&self, number: u64, connection: &mut Connection) -> anyhow::Result<Outcome> {
        let place = usize::try_from(number)? % self.cookies.len().max(1);
        let answer = connection.get(self.path, self.cookies.get(place).context("no buyer")?).await?;
        match answer.status {
            200 => Ok(Outcome::Shown),
            429 => Ok(Outcome::Limited),
            503 => Ok(Outcome::Busy),
            status => Err(Wrong(format!("{}: {status}", self.path)).into()),
        }
    }
}

/// What so many of a phase's requests cost.
pub fn cost(phase: &Phase, done: u64) -> Cost {
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / done.max(1) as f64;
    let (generator, servers) = match phase.processes.split_last() {
        Some((generator, servers)) => (generator.cpu, servers.iter().map(|process| process.cpu).sum()),
        None => (Duration::ZERO, Duration::ZERO),
    };
    Cost {
        rate: done as f64 / phase.record.took.as_secs_f64().max(1e-9),
        server_us: each(servers),
        generator_us: each(generator),
        p99_ms: phase.record.accepted.quantile(0.99).as_secs_f64() * 1e3,
        processes: phase.processes.iter().map(|process| (process.name.clone(), each(process.cpu))).collect(),
    }
}

/// Runs all rounds; answers them and what was held against the store.
///
/// # Errors
/// When an answer is not as it must be.
pub async fn measure_all(target: &Target, bare: &str, effort: &Effort) -> anyhow::Result<(Vec<Round>, Vec<Check>)> {
    let cookies = scenario::prepare_buyers(target, effort.units, effort.connections).await?;
    let (mut rounds, mut checks) = (Vec::new(), Vec::new());
    for number in 1..=effort.rounds {
        eprintln!("round {number} of {}", effort.rounds);
        rounds.push(round(target, bare, effort, &cookies, &mut checks).await?);
    }
    checks.push(scenario::audit(target).await?);
    Ok((rounds, checks))
}

async fn round(
    target: &Target,
    bare: &str,
    effort: &Effort,
    cookies: &Rc<[String]>,
    checks: &mut Vec<Check>,
) -> anyhow::Result<Round> {
    let mut steal: f64 = 0.0;
    let mut costs = Vec::new();
    for path in ["/bare", "/login"] {
        let route = Rc::new(Route { path, cookies: cookies.clone() });
        let plan = Plan { title: path, connections: effort.connections, pace: Pace::Closed(effort.lasts), sale: None };
        let phase = measure(&target.beside(bare), plan, route).await;
        steal = steal.max(phase.steal_percent);
        costs.push(all_answered(&phase, Outcome::Shown)?);
    }
    let refused = refused(target, effort, cookies).await?;
    let (won, full_rate) = won(target, effort, cookies, None, checks).await?;
    let at_80_percent = 0.8 * full_rate;
    let (calm, _) = won_calmly(target, effort, cookies, at_80_percent, checks).await?;
    let orders = ordered(target, effort, cookies, checks).await?;
    let [bare, logged_in]: [Cost; 2] = costs.try_into().map_err(|_| anyhow::anyhow!("two references"))?;
    Ok(Round { bare, logged_in, refused, won, won_at_80_percent: calm, orders, steal_percent: steal })
}

fn all_answered(phase: &Phase, outcome: Outcome) -> anyhow::Result<Cost> {
    let record = &phase.record;
    let others = record.counts.total() - record.counts.of(outcome);
    ensure!(others == 0, "{others} answers are not {}: {}", outcome.name(), record.wrong.join("; "));
    Ok(cost(phase, record.counts.total()))
}

/// Attempts at a sale that is sold out, by buyers who have not won.
///
/// # Errors
/// When an answer is not as it must be.
pub async fn refused(target: &Target, effort: &Effort, cookies: &Rc<[String]>) -> anyhow::Result<Cost> {
    let sale = spike::prepare(target, 49, 1).await?;
    let losers: Rc<[String]> = cookies.iter().skip(1).cloned().collect::<Vec<_>>().into();
    let mut winner = Connection::new(&target.public);
    winner.post("/miaosha/49", cookies.first().context("no buyer")?, "").await?;
    // The node hears of the sell-out from the store, twice a second.
    for _ in 0..100 {
        let answer = winner.post("/miaosha/49", losers.first().context("no second buyer")?, "").await?;
        if answer.text().contains("欢迎再次秒杀") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let plan = Plan { title: "refused", connections: effort.connections, pace: Pace::Closed(effort.lasts), sale: None };
    let phase = measure(target, plan, Rc::new(Spike::new(49, losers))).await;
    target.admin.end(&sale.id).await?;
    all_answered(&phase, Outcome::SoldOut)
}

async fn won_calmly(
    target: &Target,
    effort: &Effort,
    cookies: &Rc<[String]>,
    rate: f64,
    checks: &mut Vec<Check>,
) -> anyhow::Result<(Cost, f64)> {
    let lasts = Duration::from_secs_f64(effort.units as f64 / rate);
    let schedule = Schedule::new(vec![Stage::constant(rate, lasts)]);
    won(target, effort, cookies, Some(schedule), checks).await
}

/// Everybody wins. The CPU time is counted until the last order is in the store; the second value is the rate of that.
///
/// # Errors
/// When an answer is not as it must be.
pub async fn won(
    target: &Target,
    effort: &Effort,
    cookies: &Rc<[String]>,
    schedule: Option<Schedule>,
    checks: &mut Vec<Check>,
) -> anyhow::Result<(Cost, f64)> {
    let sale = spike::prepare(target, 48, effort.units).await?;
    let mut workload = Spike::new(48, cookies.clone());
    let pace = match schedule {
        Some(schedule) => Pace::Open(schedule),
        None => {
            workload = workload.until_won(effort.units);
            Pace::Closed(Duration::from_secs(120))
        }
    };
    let workload = Rc::new(workload);
    let before = (target.usage(), tokio::time::Instant::now());
    let plan = Plan { title: "won", connections: effort.winners, pace, sale: None };
    let phase = measure(target, plan, workload.clone()).await;
    spike::wait_for_orders(target, &sale.id).await?;
    let (after, took) = (target.usage(), before.1.elapsed());
    let wins = phase.record.counts.of(Outcome::Won);
    let rate = wins as f64 / took.as_secs_f64();
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / wins.max(1) as f64;
    let mut won = Cost { rate, ..cost(&phase, wins) };
    for ((process, before), after) in won.processes.iter_mut().zip(&before.0).zip(&after) {
        process.1 = each(after.cpu.saturating_sub(before.cpu));
    }
    won.server_us = won.processes.iter().take(after.len()).map(|process| process.1).sum();
    let (found, _) = spike::reconcile(target, &sale, workload).await?;
    checks.extend(found.into_iter().filter(|check| !check.ok));
    Ok((won, rate))
}

/// Orders of one SKU, confirmed and submitted as fast as they are answered.
///
/// # Errors
/// When an answer is not as it must be.
pub async fn ordered(
    target: &Target,
    effort: &Effort,
    cookies: &Rc<[String]>,
    checks: &mut Vec<Check>,
) -> anyhow::Result<Cost> {
    let first = cookies.first().context("no buyer")?;
    let prepared = orders::prepare(target, first, vec![48], 10_000_000).await?;
    let flow = Rc::new(OrderFlow::new(cookies.clone(), vec![48], PayType::Cash, prepared.price.clone()));
    let plan = Plan { title: "orders", connections: effort.winners, pace: Pace::Closed(effort.lasts), sale: None };
    let phase = measure(target, plan, flow.clone()).await;
    let (found, _) = orders::reconcile(target, &prepared, flow).await?;
    checks.extend(found.into_iter().filter(|check| !check.ok));
    Ok(cost(&phase, phase.record.counts.of(Outcome::Ordered)))
}

/// Median and range.
fn spread(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (values.first(), values.last()) else { return "–".to_owned() };
    let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    let median = f64::midpoint(below, above);
    format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
}

/// Rows of a Markdown table: what, target in this mode, measured.
pub fn markdown(rounds: &[Round], mode: &str) -> String {
    let target = |embedded, cluster| if mode == "cluster" { cluster } else { embedded };
    let over_bare = |of: fn(&Round) -> &Cost| rounds.iter().map(move |r| of(r).server_us / r.bare.server_us);
    let us = |of: fn(&Round) -> &Cost| spread(rounds.iter().map(move |r| of(r).server_us), 1);
    let rate = |of: fn(&Round) -> &Cost| spread(rounds.iter().map(move |r| of(r).rate), 0);
    let rows = [
        ("bare route: server CPU, µs; requests/s", "reference", format!("{}; {}", us(|r| &r.bare), rate(|r| &r.bare))),
        ("generator CPU on it, µs", "≤ 20", spread(rounds.iter().map(|r| r.bare.generator_us), 1)),
        ("refused request, server CPU over bare", "≤ 1.2", spread(over_bare(|r| &r.refused), 2)),
        ("logged-in route, server CPU over bare", "≤ 1.2", spread(over_bare(|r| &r.logged_in), 2)),
        (
            "won request with durable order, CPU of all processes over bare",
            target("≤ 2.5", "≤ 4.5"),
            spread(over_bare(|r| &r.won), 2),
        ),
        ("the same, µs; per second", "–", format!("{}; {}", us(|r| &r.won), rate(|r| &r.won))),
        (
            "won requests/s with durable orders over the bare route's rate",
            target("≥ 0.45", "≥ 0.25"),
            spread(rounds.iter().map(|r| r.won.rate / r.bare.rate), 2),
        ),
        (
            "p99 of won requests at 80 % of that rate, ms",
            target("≤ 25", "≤ 50"),
            spread(rounds.iter().map(|r| r.won_at_80_percent.p99_ms), 1),
        ),
        ("ordinary confirm + submit, orders/s; CPU µs", "–", format!("{}; {}", rate(|r| &r.orders), us(|r| &r.orders))),
        ("stolen by the hypervisor, %", "–", spread(rounds.iter().map(|r| r.steal_percent), 1)),
    ];
    let lines = rows.into_iter().map(|(what, target, measured)| format!("| {what} | {target} | {measured} |\n"));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_and_the_range() {
        assert_eq!(spread([3.0, 1.0, 2.0].into_iter(), 1), "2.0 (1.0–3.0)");
        assert_eq!(spread([4.0, 1.0, 3.0, 2.0].into_iter(), 1), "2.5 (1.0–4.0)");
        assert_eq!(spread(std::iter::empty(), 1), "–");
    }
}
