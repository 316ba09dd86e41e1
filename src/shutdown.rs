//! A graceful stop in a fixed order and a fixed time (R31). Nothing here is needed for safety: what is cut off is done
//! again or found by the sweep after the next start.
//!
//! Order: not ready → pause, so that the load balancer notices → stop accepting → finish requests and deliveries →
//! flush the relay → close the store. The caller names the stages; [`StopPlan`] keeps the time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Exit status after a second signal, as a shell reports SIGINT.
const EXIT_IMPATIENT: i32 = 130;

/// What `/readyz` says. Starts as not ready; cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness {
    ready: Arc<AtomicBool>,
    also: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl Readiness {
    /// One that says yes only while `condition` holds as well.
    pub fn while_also(condition: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { ready: Arc::default(), also: Some(Arc::new(condition)) }
    }

    /// Says yes from now on.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Says no from now on.
    pub fn set_unready(&self) {
        self.ready.store(false, Ordering::Release);
    }

    /// What to answer.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.also.as_ref().is_none_or(|holds| holds())
    }
}

/// Listens for SIGTERM and SIGINT: the first cancels the token, a second ends the process at once with status 130.
/// Must be called inside a tokio runtime.
///
/// # Errors
/// When the operating system refuses the handlers.
pub fn on_signal() -> anyhow::Result<CancellationToken> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
        interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
    };
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        let name = signals.next().await;
        tracing::info!(signal = name, "stopping; a second signal stops at once");
        cancelled.cancel();
        let name = signals.next().await;
        tracing::warn!(signal = name, "stopped at once");
        std::process::exit(EXIT_IMPATIENT);
    });
    Ok(stop)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The stages of a stop, within one total time.
pub struct StopPlan {
    ends_at: Instant,
    unfinished: Vec<&'static str>,
}

impl StopPlan {
    /// Starts the clock.
    pub fn new(total: Duration) -> Self {
        Self { ends_at: Instant::now() + total, unfinished: Vec::new() }
    }

    /// First stage: not ready, then wait for the load balancer to notice.
    pub async fn become_unready(&mut self, readiness: &Readiness, drain_pause: Duration) {
        readiness.set_unready();
        tokio::time::sleep(drain_pause.min(self.remaining())).await;
    }

    /// Runs a stage for at most `limit`, and never beyond the total. `None` when it was cut off.
    pub async fn stage<T>(&mut self, name: &'static str, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let started = Instant::now();
        let result = tokio::time::timeout(limit.min(self.remaining()), work).await.ok();
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if result.is_some() {
            tracing::info!(stage = name, took_ms, "stopped");
        } else {
            tracing::warn!(stage = name, took_ms, "cut off");
            self.unfinished.push(name);
        }
        result
    }

    /// Time left of the total.
    pub fn remaining(&self) -> Duration {
        self.ends_at.saturating_duration_since(Instant::now())
    }

    /// Stages that were cut off.
    pub fn unfinished(&self) -> &[&'static str] {
        &self.unfinished
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn a_condition_can_say_no_and_never_yes() {
        let holds = Arc::new(AtomicBool::new(true));
        let seen = holds.clone();
        let readiness = Readiness::while_also(move || seen.load(Ordering::Acquire));
        assert!(!readiness.is_ready());
        readiness.set_ready();
        assert!(readiness.is_ready());
        holds.store(false, Ordering::Release);
        assert!(!readiness.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn stages_share_one_total_time() {
        let started = Instant::now();
        let readiness = Readiness::default();
        readiness.set_ready();
        let mut plan = StopPlan::new(Duration::from_secs(20));

        plan.become_unready(&readiness, Duration::from_secs(1)).await;
        assert!(!readiness.is_ready());
        assert_eq!(started.elapsed(), Duration::from_secs(1));

        assert_eq!(plan.stage("accept", Duration::from_secs(1), ready(7)).await, Some(7));
        assert_eq!(plan.stage("requests", Duration::from_secs(10), pending::<()>()).await, None);
        assert_eq!(started.elapsed(), Duration::from_secs(11));
        assert_eq!(plan.stage("relay", Duration::from_secs(15), pending::<()>()).await, None);
        assert_eq!(started.elapsed(), Duration::from_secs(20), "the total counts, not the sum of the limits");
        assert_eq!(plan.stage("store", Duration::from_secs(5), ready(())).await, Some(()), "ready work is still done");
        assert_eq!(plan.unfinished(), ["requests", "relay"]);
    }
}
