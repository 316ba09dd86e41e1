//! Many times what the server can do, on ordinary orders over a slowed store; and the same with buyers who insist.
//!
//! First the capacity is found by a closed loop, and what latency is normal at half of it; then the open model offers a
//! multiple. As much must be done as before, what is admitted must not wait long, refusals must be quick, memory must
//! stay flat, and ten seconds later latency must be normal again.

use std::rc::Rc;
use std::time::Duration;

use super::Check;
use super::orders::OrderFlow;
use super::pressure::{Shop, at_most, capacity, enough_done, goodput, memory, offer, recovery};
use crate::generator::{Workload, Wrong};
use crate::measure::Phase;
use crate::record::Outcome;
use crate::target::Target;
use crate::wire::Connection;

/// How it is run.
pub struct Effort {
    /// Offered over capacity.
    pub multiple: f64,
    /// The overload.
    pub lasts: Duration,
    /// Each of the phases before.
    pub before: Duration,
    /// Members who order.
    pub buyers: u64,
    /// Connections while capacity is found.
    pub connections: usize,
    /// Connections of the overload.
    pub crowd: usize,
    /// What buyers do when they are refused.
    pub insistence: Insistence,
}

/// What a buyer does who hears 503.
#[derive(Clone, Copy, Debug, Default)]
pub struct Insistence {
    /// Tries after the first.
    pub retries: u32,
    /// So many of a hundred wait as `Retry-After` says; the others try again at once.
    pub patient_percent: u64,
}

impl Insistence {
    fn is_patient(self, number: u64) -> bool {
        // Spread evenly, so that any hundred in a row have their share.
        (number * 37) % 100 < self.patient_percent
    }
}

struct Insisting {
    flow: Rc<OrderFlow>,
    insistence: Insistence,
}

impl Workload for Insisting {
    async fn arrive(&self, number: u64, connection: &mut Connection) -> anyhow::Result<Outcome> {
        let mut retries_left = self.insistence.retries;
        loop {
            let outcome = self.flow.arrive(number, connection).await?;
            if outcome != Outcome::Busy {
                return Ok(outcome);
            }
            let wait = connection.retry_after_secs().ok_or_else(|| Wrong("a 503 without Retry-After".to_owned()))?;
            if retries_left == 0 {
                return Ok(outcome);
            }
            retries_left -= 1;
            if self.insistence.is_patient(number) {
                tokio::time::sleep(Duration::from_secs(wait)).await;
            }
        }
    }
}

/// The phases as they went, and what must hold.
pub struct Pressed {
    /// The pressure.
    pub phase: Phase,
    /// Orders in the store.
    pub persisted: u64,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Runs it.
///
/// # Errors
/// When the server does not answer.
pub async fn run(target: &Target, effort: &Effort) -> anyhow::Result<Pressed> {
    let shop = Shop::with_buyers(target, effort.buyers, 48).await?;
    let capacity = capacity(target, shop.flow.clone(), effort.connections, effort.before).await;
    let normal = capacity / 2.0;
    let calm = offer(target, "half the capacity", shop.flow.clone(), normal, effort.before, 64).await;
    let calm_p99 = calm.record.latencies.quantile(0.99);

    let rate = capacity * effort.multiple;
    let insisting = Rc::new(Insisting { flow: shop.flow.clone(), insistence: effort.insistence });
    let phase = offer(target, "overload", insisting, rate, effort.lasts, effort.crowd).await;
    let recovered = recovery(target, shop.flow.clone(), normal, calm_p99).await?;

    let (mut checks, persisted) = shop.reconcile(target).await?;
    checks.push(enough_done(rate, goodput(&phase), capacity));
    if effort.insistence.retries == 0 {
        // Otherwise a latency is that of all tries of a buyer.
        let ms = Duration::from_millis;
        checks.push(at_most("p99 of what is admitted", phase.record.accepted.quantile(0.99), ms(500)));
        checks.push(at_most("p99 of refusals", phase.record.refused.quantile(0.99), ms(50)));
    }
    checks.push(recovered);
    checks.extend(memory(&phase));
    Ok(Pressed { phase, persisted, checks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_a_hundred_are_patient() {
        for percent in [0, 1, 50, 100] {
            let insistence = Insistence { retries: 3, patient_percent: percent };
            assert_eq!((500..600).filter(|number| insistence.is_patient(*number)).count() as u64, percent);
        }
    }
}
