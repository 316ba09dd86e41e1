//! A store with a past beside an empty one: the same load on both in turn, so that each figure has its reference in the
//! same round. Two servers run; the one that is not measured is idle.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::time::Instant;

use super::orders::{self, OrderFlow, PayType};
use super::{AUDIT_EXEMPT, Check, prepare_buyers};
use crate::generator::Pace;
use crate::measure::{Plan, measure};
use crate::processes;
use crate::record::Outcome;
use crate::table::{self, Cost};
use crate::target::Target;

/// How it is measured.
pub struct Effort {
    /// Rounds, seconds, connections, units.
    pub each: table::Effort,
    /// SKUs of the filled store, numbered from 100.
    pub skus: u64,
}

/// One store in one round.
#[derive(Serialize)]
pub struct Figures {
    refused: Cost,
    won: Cost,
    orders: Cost,
}

/// One round.
#[derive(Serialize)]
pub struct Round {
    empty: Figures,
    filled: Figures,
    /// Orders over all SKUs of the filled store.
    orders_over_skus: Cost,
}

/// What the filled store costs by itself.
#[derive(Serialize)]
pub struct Growth {
    /// SKUs that had an actor.
    pub skus: u64,
    /// Seconds from the start to ready, on the filled store.
    pub ready_s: Option<f64>,
    /// The same on the empty one.
    pub ready_empty_s: Option<f64>,
    /// Resident memory of the server after its start, MiB.
    pub resident_at_start_mib: f64,
    /// After every SKU was ordered once, over before, by SKU, KiB. What else grew with it is in it.
    pub resident_by_sku_kib: f64,
    /// After all rounds, MiB.
    pub resident_mib: f64,
    /// Seconds that the audit of the whole store took.
    pub audit_s: f64,
    /// The most that the server needed while it ran, over before, MiB.
    pub audit_mib: f64,
    /// Facts that it looked at.
    pub audit_facts: u64,
    /// All rounds.
    pub rounds: Vec<Round>,
}

/// Runs it; answers the figures and what must hold.
///
/// # Errors
/// When an answer is not as it must be.
pub async fn run(empty: &Target, filled: &Target, effort: &Effort) -> anyhow::Result<(Growth, Vec<Check>)> {
    let at_start = resident(filled);
    let many = effort.each.units;
    let empty_cookies = prepare_buyers(empty, many, effort.each.connections).await?;
    let cookies = prepare_buyers(filled, many, effort.each.connections).await?;
    let mut checks = Vec::new();

    // First one SKU, so that what any order needs is there before SKUs are counted.
    table::ordered(filled, &effort.each, &cookies, &mut checks).await?;
    let before = resident(filled);
    over_skus(filled, effort, &cookies, Pace::Closed(Duration::from_secs(120)), true, &mut checks).await?;
    let by_sku = resident(filled).saturating_sub(before) as f64 / effort.skus.max(1) as f64;

    let mut rounds = Vec::new();
    for number in 1..=effort.each.rounds {
        eprintln!("round {number} of {}", effort.each.rounds);
        rounds.push(Round {
            empty: figures(empty, effort, &empty_cookies, &mut checks).await?,
            filled: figures(filled, effort, &cookies, &mut checks).await?,
            orders_over_skus: over_skus(filled, effort, &cookies, Pace::Closed(effort.each.lasts), false, &mut checks)
                .await?,
        });
    }
    let at_end = resident(filled);
    let audit = audit(filled).await?;
    checks.push(audit.check);
    let growth = Growth {
        skus: effort.skus,
        ready_s: filled.ready_after.map(|ready| ready.as_secs_f64()),
        ready_empty_s: empty.ready_after.map(|ready| ready.as_secs_f64()),
        resident_at_start_mib: mib(at_start),
        resident_by_sku_kib: by_sku / 1024.0,
        resident_mib: mib(at_end),
        audit_s: audit.took.as_secs_f64(),
        audit_mib: mib(audit.most.saturating_sub(at_end)),
        audit_facts: audit.facts,
        rounds,
    };
    Ok((growth, checks))
}

async fn figures(
    target: &Target,
    effort: &Effort,
    cookies: &Rc<[String]>,
    checks: &mut Vec<Check>,
) -> anyhow::Result<Figures> {
    Ok(Figures {
        refused: table::refused(target, &effort.each, cookies).await?,
        won: table::won(target, &effort.each, cookies, None, checks).await?.0,
        orders: table::ordered(target, &effort.each, cookies, checks).await?,
    })
}

/// Orders over all SKUs in turn. The stock of so many is left to the audit.
async fn over_skus(
    target: &Target,
    effort: &Effort,
    cookies: &Rc<[String]>,
    pace: Pace,
    once: bool,
    checks: &mut Vec<Check>,
) -> anyhow::Result<Cost> {
    let skus: Vec<u64> = (100..100 + effort.skus).collect();
    let first = cookies.first().context("no buyer")?;
    let price = orders::price_of(target, first, 100).await?;
    let mut flow = OrderFlow::new(cookies.clone(), skus, PayType::Cash, price);
    if once {
        flow = flow.until_placed(effort.skus);
    }
    let flow = Rc::new(flow);
    let plan = Plan { title: "orders over all SKUs", connections: effort.each.winners, pace, sale: None };
    let phase = measure(target, plan, flow.clone()).await;
    let (found, ..) = orders::reconcile_orders(target, &flow).await?;
    checks.extend(found.into_iter().filter(|check| !check.ok));
    Ok(table::cost(&phase, phase.record.counts.of(Outcome::Ordered)))
}

struct Audited {
    check: Check,
    took: Duration,
    most: u64,
    facts: u64,
}

/// The audit of the whole store while its server's memory is watched.
async fn audit(target: &Target) -> anyhow::Result<Audited> {
    eprintln!("waiting {AUDIT_EXEMPT:?}: the audit exempts what is younger");
    tokio::time::sleep(AUDIT_EXEMPT).await;
    let started = Instant::now();
    let mut most = resident(target);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let mut report = std::pin::pin!(target.admin.audit());
    let report = loop {
        tokio::select! {
            report = &mut report => break report?,
            _ = tick.tick() => most = most.max(resident(target)),
        }
    };
    let took = started.elapsed();
    let (check, facts) = super::judge(&report);
    Ok(Audited { check, took, most, facts })
}

/// Of the server alone.
fn resident(target: &Target) -> u64 {
    target.processes.first().map_or(0, |server| processes::usage(server.pid).resident)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
