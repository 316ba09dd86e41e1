//! One report a run: JSON for programs, one HTML file with its pictures in it for people, a table for the terminal.

mod html;
mod svg;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::clock;
use crate::measure::Phase;
use crate::processes;
use crate::record::{Latencies, Outcome};
use crate::scenario::Check;

/// Everything about a run.
#[derive(Serialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: String,
    /// RFC 3339, UTC.
    pub made_at: String,
    /// Embedded or cluster.
    pub mode: String,
    /// Of the repository that this tool was built from.
    pub commit: String,
    /// How the tool was called.
    pub command: String,
    /// Where.
    pub machine: String,
    /// Whether nothing was oversold, lost, doubled or leaked, and no answer was wrong.
    pub ok: bool,
    /// The phase, in figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// What was held against the store.
    pub checks: Vec<Check>,
    /// Second by second.
    pub seconds: Vec<SecondFigures>,
    /// Upper bound in microseconds, count.
    pub latency_steps: Vec<(u64, u64)>,
    /// Second and units left.
    pub stock_curve: Vec<(f64, u64)>,
}

/// A phase in figures.
#[derive(Serialize)]
pub struct Figures {
    /// Requests that were due and sent.
    pub offered: u64,
    /// Buyers who got what they came for.
    pub accepted: u64,
    /// All others, by reason.
    pub refused_by_reason: BTreeMap<&'static str, u64>,
    /// Orders that the store has.
    pub persisted: u64,
    /// Seconds.
    pub took_s: f64,
    /// Answers per second.
    pub rate: f64,
    /// Accepted per second.
    pub accepted_rate: f64,
    /// From the intended start to the answer.
    pub latency_ms: LatencyFigures,
    /// The same, accepted ones.
    pub accepted_latency_ms: LatencyFigures,
    /// The same, refused ones.
    pub refused_latency_ms: LatencyFigures,
    /// How late the generator itself sent.
    pub lateness_ms: LatencyFigures,
    /// Connections of the generator.
    pub connections: usize,
    /// Per process.
    pub processes: Vec<ProcessFigures>,
    /// Time that the hypervisor gave to others, per cent.
    pub steal_percent: f64,
    /// The first few wrong or missing answers.
    pub wrong: Vec<String>,
}

/// Milliseconds.
#[derive(Serialize)]
pub struct LatencyFigures {
    count: u64,
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// One process.
#[derive(Serialize)]
pub struct ProcessFigures {
    name: String,
    cpu_s: f64,
    cpu_us_per_request: f64,
    resident_mib_first: f64,
    resident_mib_most: f64,
    resident_mib_last: f64,
}

/// One second.
#[derive(Serialize)]
pub struct SecondFigures {
    by_outcome: BTreeMap<&'static str, u64>,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl LatencyFigures {
    fn of(latencies: &Latencies) -> Self {
        Self {
            count: latencies.len(),
            p50: ms(latencies.quantile(0.5)),
            p99: ms(latencies.quantile(0.99)),
            p999: ms(latencies.quantile(0.999)),
            max: ms(latencies.max()),
        }
    }
}

impl Figures {
    /// Of a phase, with the number of orders that the store has of it.
    pub fn of(phase: &Phase, persisted: u64) -> Self {
        let record = &phase.record;
        let seconds = record.took.as_secs_f64().max(1e-9);
        let refused = Outcome::ALL.into_iter().filter(|outcome| !outcome.is_accepted());
        let mib = |bytes: Option<&u64>| bytes.copied().unwrap_or(0) as f64 / f64::from(1 << 20);
        Self {
            offered: record.counts.total(),
            accepted: record.counts.accepted(),
            refused_by_reason: refused
                .map(|outcome| (outcome.name(), record.counts.of(outcome)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            persisted,
            took_s: seconds,
            rate: phase.rate(),
            accepted_rate: record.counts.accepted() as f64 / seconds,
            latency_ms: LatencyFigures::of(&record.latencies),
            accepted_latency_ms: LatencyFigures::of(&record.accepted),
            refused_latency_ms: LatencyFigures::of(&record.refused),
            lateness_ms: LatencyFigures::of(&record.lateness),
            connections: phase.connections,
            processes: phase
                .processes
                .iter()
                .map(|process| ProcessFigures {
                    name: process.name.clone(),
                    cpu_s: process.cpu.as_secs_f64(),
                    cpu_us_per_request: phase.cpu_per_request(process).as_secs_f64() * 1e6,
                    resident_mib_first: mib(process.resident.first()),
                    resident_mib_most: mib(process.resident.iter().max()),
                    resident_mib_last: mib(process.resident.last()),
                })
                .collect(),
            steal_percent: phase.steal_percent,
            wrong: record.wrong.clone(),
        }
    }
}

impl Report {
    /// Of a run.
    ///
    /// # Errors
    /// When the machine cannot be described.
    pub fn new(
        scenario: &str,
        mode: &str,
        phase: &Phase,
        persisted: u64,
        mut checks: Vec<Check>,
    ) -> anyhow::Result<Self> {
        let wrong = phase.record.counts.of(Outcome::Wrong);
        checks.push(Check {
            name: "no answer is wrong".to_owned(),
            ok: wrong == 0,
            detail: format!("{wrong}; {}", phase.record.wrong.join("; ")).trim_end_matches("; ").to_owned(),
        });
        Ok(Self {
            scenario: scenario.to_owned(),
            made_at: clock::now(),
            mode: mode.to_owned(),
            commit: commit(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            machine: processes::machine()?,
            ok: phase.record.counts.accepted() > 0 && checks.iter().all(|check| check.ok),
            figures: Figures::of(phase, persisted),
            checks,
            seconds: phase.record.seconds.iter().map(SecondFigures::of).collect(),
            latency_steps: phase.record.latencies.steps(),
            stock_curve: phase.stock_curve.clone(),
        })
    }

    /// Writes `NAME.json` and `NAME.html`; answers the latter's path.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let name = format!("{}-{}", self.scenario, self.made_at.replace([':', '-'], ""));
        std::fs::write(folder.join(format!("{name}.json")), serde_json::to_string_pretty(self)?)?;
        let page = folder.join(format!("{name}.html"));
        std::fs::write(&page, html::page(self))?;
        Ok(page)
    }

    /// For the terminal.
    pub fn table(&self) -> String {
        let mut lines = vec![format!("{} ({}), {}, commit {}", self.scenario, self.mode, self.machine, self.commit)];
        lines.extend(self.rows().into_iter().map(|(name, value)| format!("  {name:<34} {value}")));
        for check in &self.checks {
            lines.push(format!("  {} {} [{}]", if check.ok { "ok    " } else { "BROKEN" }, check.name, check.detail));
        }
        lines.push(if self.ok { "result: ok".into() } else { "result: FAILED".into() });
        lines.join("\n")
    }

    /// Name and value of each figure, as the terminal and the page show them.
    fn rows(&self) -> Vec<(String, String)> {
        let f = &self.figures;
        let latency = |l: &LatencyFigures| {
            format!("p50 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2} ms", l.p50, l.p99, l.p999, l.max)
        };
        let mut rows = vec![
            (
                "offered".to_owned(),
                format!("{} in {:.1} s ({:.0}/s), {} connections", f.offered, f.took_s, f.rate, f.connections),
            ),
            ("accepted".to_owned(), format!("{} ({:.0}/s)", f.accepted, f.accepted_rate)),
        ];
        rows.extend(f.refused_by_reason.iter().map(|(reason, count)| (format!("  {reason}"), count.to_string())));
        rows.push(("orders in the store".to_owned(), f.persisted.to_string()));
        rows.push(("latency from the intended start".to_owned(), latency(&f.latency_ms)));
        rows.push(("  accepted".to_owned(), latency(&f.accepted_latency_ms)));
        rows.push(("  refused".to_owned(), latency(&f.refused_latency_ms)));
        rows.push(("  of it, sent late".to_owned(), latency(&f.lateness_ms)));
        for p in &f.processes {
            rows.push((
                format!("CPU and memory, {}", p.name),
                format!(
                    "{:.2} s, {:.1} us a request; {:.0} to {:.0} MiB, at most {:.0}",
                    p.cpu_s, p.cpu_us_per_request, p.resident_mib_first, p.resident_mib_last, p.resident_mib_most
                ),
            ));
        }
        rows.push(("stolen by the hypervisor".to_owned(), format!("{:.1} %", f.steal_percent)));
        rows.extend(f.wrong.iter().map(|text| ("  not as it must be".to_owned(), text.clone())));
        rows
    }
}

impl SecondFigures {
    fn of(second: &crate::record::Second) -> Self {
        let outcomes = Outcome::ALL.into_iter().map(|outcome| (outcome.name(), second.counts.of(outcome)));
        Self {
            by_outcome: outcomes.filter(|(_, count)| *count > 0).collect(),
            p50_ms: ms(second.latencies.quantile(0.5)),
            p99_ms: ms(second.latencies.quantile(0.99)),
            max_ms: ms(second.latencies.max()),
        }
    }
}

/// The commit of the sources, with a mark when they were changed since.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    if changed { format!("{commit} with changes") } else { commit }
}
