//! One SKU at many times the capacity while another sells at a tenth of it: the other must not notice.

use std::time::Duration;

use super::overload::Pressed;
use super::pressure::{Shop, at_most, capacity, enough_done, goodput, memory, none_refused, not_slower, offer};
use crate::target::Target;

/// How it is run.
pub struct Effort {
    /// Offered to the hot SKU over capacity.
    pub multiple: f64,
    /// The pressure.
    pub lasts: Duration,
    /// Finding the capacity.
    pub before: Duration,
    /// Members who order.
    pub buyers: u64,
    /// Connections while capacity is found.
    pub connections: usize,
    /// Connections of the hot SKU's buyers.
    pub crowd: usize,
}

/// Connections of the other SKU's buyers.
const OTHERS: usize = 64;

/// Runs it.
///
/// # Errors
/// When the server does not answer.
pub async fn run(target: &Target, effort: &Effort) -> anyhow::Result<Pressed> {
    let hot = Shop::with_buyers(target, effort.buyers, 48).await?;
    let other = Shop::open(target, hot.cookies.clone(), 49).await?;
    let capacity = capacity(target, hot.flow.clone(), effort.connections, effort.before).await;
    let sells = capacity / 10.0;
    let alone = offer(target, "the other SKU alone", other.flow.clone(), sells, effort.lasts, OTHERS).await;

    let rate = capacity * effort.multiple;
    let (crowded, beside) = tokio::join!(
        offer(target, "hot SKU", hot.flow.clone(), rate, effort.lasts, effort.crowd),
        offer(target, "the other SKU beside it", other.flow.clone(), sells, effort.lasts, OTHERS),
    );
    let (mut checks, persisted) = hot.reconcile(target).await?;
    let (others, persisted_others) = other.reconcile(target).await?;
    checks.extend(others);
    checks.push(not_slower(
        "p99 of the other SKU over its p99 alone",
        beside.record.accepted.quantile(0.99),
        alone.record.accepted.quantile(0.99),
        1.5,
    ));
    checks.push(none_refused("no buyer of the other SKU is refused", &beside));
    checks.push(enough_done(rate + sells, goodput(&crowded) + goodput(&beside), capacity));
    let ms = Duration::from_millis;
    checks.push(at_most("p99 of what is admitted at the hot SKU", crowded.record.accepted.quantile(0.99), ms(500)));
    checks.push(at_most("p99 of refusals", crowded.record.refused.quantile(0.99), ms(50)));
    checks.extend(memory(&crowded));
    Ok(Pressed { phase: crowded, persisted: persisted + persisted_others, checks })
}
