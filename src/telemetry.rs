//! Logs and metrics. Neither ever holds a token, a secret or a whole payload.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging to standard error, so that standard output stays for what a command prints.
///
/// # Errors
/// When the filter cannot be read, or logging was started before.
pub fn start_logging(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter).context("log.filter")?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Pretty => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging: {error}"))
}

/// The metrics of this process, in Prometheus' text form.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// How often what histograms have gathered is put into their buckets; their memory grows in between.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Buckets of histograms in seconds: from a look-up in memory to a long poll.
const SECONDS: [f64; 15] =
    [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Buckets of histograms of counts: batches hold 1 to 1,024.
const COUNTS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

impl Metrics {
    /// Makes this process record metrics. Histograms named `…_seconds` measure time, all others count.
    ///
    /// # Errors
    /// When metrics were installed before.
    pub fn install() -> anyhow::Result<Self> {
        let recorder = recorder()?;
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| anyhow::anyhow!("metrics: {error}"))?;
        Ok(Self { handle })
    }

    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Keeps the memory of histograms bounded until the server stops. Spawn it once.
    pub async fn run_upkeep(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_some() {
            self.handle.run_upkeep();
        }
    }
}

fn recorder() -> anyhow::Result<PrometheusRecorder> {
    let builder = PrometheusBuilder::new()
        .set_buckets(&COUNTS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS))
        .context("metrics buckets")?;
    Ok(builder.build_recorder())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_with_buckets_for_their_kind() {
        let recorder = recorder().unwrap();
        let metrics = Metrics { handle: recorder.handle() };
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("seckill_limited_total", "limit" => "per_ip").increment(3);
            metrics::histogram!("seckill_writer_commit_seconds").record(0.002);
            metrics::histogram!("seckill_writer_batch_units").record(300.0);
        });
        let text = metrics.render();
        for line in [
            "seckill_limited_total{limit=\"per_ip\"} 3",
            "seckill_writer_commit_seconds_bucket{le=\"0.001\"} 0",
            "seckill_writer_commit_seconds_bucket{le=\"0.0025\"} 1",
            "seckill_writer_batch_units_bucket{le=\"256\"} 0",
            "seckill_writer_batch_units_bucket{le=\"512\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        let log = Log { format: LogFormat::Json, filter: "seckill=loud".to_owned() };
        assert!(format!("{:#}", start_logging(&log).unwrap_err()).contains("log.filter"));
    }
}
