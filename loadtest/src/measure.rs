//! A measured phase: the generator at work, every process watched, the stock curve drawn.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::generator::{self, Pace, Workload};
use crate::processes::{self, Steal, Usage};
use crate::record::Record;
use crate::target::Target;

/// What one process used during a phase.
#[derive(Clone, Debug)]
pub struct ProcessCost {
    /// For people.
    pub name: String,
    /// User and system CPU time.
    pub cpu: Duration,
    /// Resident memory, bytes, once a second.
    pub resident: Vec<u64>,
}

/// A phase as it went.
pub struct Phase {
    /// What the generator wrote down.
    pub record: Record,
    /// The server and what was named besides; last of all the generator itself.
    pub processes: Vec<ProcessCost>,
    /// Second and units left of the sale.
    pub stock_curve: Vec<(f64, u64)>,
    /// Time that the hypervisor gave to others, per cent.
    pub steal_percent: f64,
    /// Connections of the generator.
    pub connections: usize,
}

#[derive(Default)]
struct Samples {
    resident: Vec<Vec<u64>>,
    stock: Vec<(f64, u64)>,
}

/// What is measured, and how hard.
pub struct Plan<'a> {
    /// For the progress bar.
    pub title: &'a str,
    /// Connections, each with one request in flight.
    pub connections: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// The sale whose units are drawn.
    pub sale: Option<&'a str>,
}

/// Runs a workload and watches.
pub async fn measure<W: Workload>(target: &Target, plan: Plan<'_>, workload: Rc<W>) -> Phase {
    let samples = Arc::new(Mutex::new(Samples::default()));
    let sampler = tokio::spawn(sample(target, plan.sale, samples.clone()));
    let (steal, before, own_before) = (Steal::now(), target.usage(), processes::own_usage());
    let record = generator::run(plan.title, &target.public, plan.connections, plan.pace, workload).await;
    let (after, own_after) = (target.usage(), processes::own_usage());
    let steal_percent = Steal::now().percent_since(&steal);
    sampler.abort();

    let samples = std::mem::take(&mut *samples.lock().unwrap_or_else(PoisonError::into_inner));
    let names = target.processes.iter().map(|process| process.name.clone()).chain(["generator".to_owned()]);
    let uses = before.into_iter().zip(after).chain([(own_before, own_after)]);
    let mut processes: Vec<ProcessCost> = names
        .zip(uses)
        .map(|(name, (before, after)): (_, (Usage, Usage))| ProcessCost {
            name,
            cpu: after.cpu.saturating_sub(before.cpu),
            resident: vec![before.resident, after.resident],
        })
        .collect();
    for (process, seen) in processes.iter_mut().zip(samples.resident) {
        process.resident.splice(1..1, seen);
    }
    Phase { record, processes, stock_curve: samples.stock, steal_percent, connections: plan.connections }
}

/// Once a second until it is aborted.
fn sample(
    target: &Target,
    sale: Option<&str>,
    samples: Arc<Mutex<Samples>>,
) -> impl Future<Output = ()> + Send + 'static {
    let (admin, sale) = (target.admin.clone(), sale.map(str::to_owned));
    let pids: Vec<u32> = target.processes.iter().map(|process| process.pid).chain([std::process::id()]).collect();
    async move {
        let started = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut next_look = started;
        loop {
            tick.tick().await;
            let resident: Vec<u64> = pids.iter().map(|pid| processes::usage(*pid).resident).collect();
            let asked = Instant::now();
            let left = match &sale {
                Some(sale) if asked >= next_look => {
                    let left = admin.sale(sale).await.ok().map(|counts| counts.remaining);
                    // The server counts the sale's orders for it: that may take a twentieth of the time.
                    next_look = asked + 20 * asked.elapsed();
                    left
                }
                _ => None,
            };
            let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.resident.resize(pids.len(), Vec::new());
            for (seen, resident) in samples.resident.iter_mut().zip(resident) {
                seen.push(resident);
            }
            samples.stock.extend(left.map(|left| (started.elapsed().as_secs_f64(), left)));
        }
    }
}

impl Phase {
    /// CPU time of a process per request.
    pub fn cpu_per_request(&self, process: &ProcessCost) -> Duration {
        let requests = u32::try_from(self.record.counts.total()).unwrap_or(u32::MAX);
        process.cpu.checked_div(requests).unwrap_or_default()
    }

    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.record.counts.total() as f64 / self.record.took.as_secs_f64().max(1e-9)
    }
}
