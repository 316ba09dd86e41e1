//! The report as one HTML file: no script, no other file, opens without a network.

use super::svg::{Axes, Series, bars, lines, stacked};
use super::{Report, SecondFigures};
use crate::record::Outcome;

const STYLE: &str = "
body{font:15px/1.5 system-ui,sans-serif;max-width:920px;margin:2em auto;padding:0 1em;color:#222}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}
table{border-collapse:collapse;width:100%}td,th{padding:.25em .6em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
.ok{color:#176f2c}.broken{color:#b00020;font-weight:bold}
svg{width:100%;height:auto}svg text{font-size:11px;fill:#555}svg .grid{stroke:#e4e4e4}svg polyline{stroke-width:1.6}
.legend span{margin-right:1.2em}.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}
code{background:#f3f3f3;padding:0 .3em;overflow-wrap:anywhere}";

/// One colour each, in the order of [`Outcome::ALL`].
const COLORS: [&str; Outcome::ALL.len()] = [
    "#2a7f3f", "#2a7f3f", "#6aa84f", "#8ab6d6", "#4878a8", "#a0a0c8", "#7a6fb0", "#d8a93a", "#e07b39", "#999999",
    "#d05090", "#b00020",
];

/// The whole page.
pub fn page(report: &Report) -> String {
    let verdict = if report.ok {
        "<p class=ok>Nothing was oversold, lost, doubled or leaked.</p>"
    } else {
        "<p class=broken>This run FAILED: see below.</p>"
    };
    let rows: String =
        report.rows().iter().map(|(name, value)| format!("<tr><td>{}<td>{}", escape(name), escape(value))).collect();
    let checks: String = report
        .checks
        .iter()
        .map(|check| {
            let (class, word) = if check.ok { ("ok", "ok") } else { ("broken", "BROKEN") };
            format!("<tr><td class={class}>{word}<td>{}<td>{}", escape(&check.name), escape(&check.detail))
        })
        .collect();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>{scenario} {made_at}</title><style>{STYLE}</style>\
         <h1>{scenario}, {mode} mode, {made_at}</h1>{verdict}\
         <p>{machine}<br>commit {commit}<br><code>{command}</code>\
         <h2>Figures</h2><table>{rows}</table>\
         <h2>What the clients were told, held against the store</h2><table>{checks}</table>\
         <h2>Latency over time (from the intended start)</h2>{latency}\
         <h2>Answers per second, by outcome</h2>{rate}\
         <h2>Latencies</h2>{histogram}{stock}</html>\n",
        scenario = escape(&report.scenario),
        made_at = escape(&report.made_at),
        mode = escape(&report.mode),
        machine = escape(&report.machine),
        commit = escape(&report.commit),
        command = escape(&report.command),
        latency = latency(&report.seconds),
        rate = rate(&report.seconds),
        histogram = histogram(report),
        stock = stock(report),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn latency(seconds: &[SecondFigures]) -> String {
    let series = |name: &str, color, value: fn(&SecondFigures) -> f64| Series {
        name: name.to_owned(),
        color,
        points: seconds.iter().enumerate().map(|(second, figures)| (second as f64, value(figures))).collect(),
    };
    let all = [
        series("p50", "#2a7f3f", |second| second.p50_ms),
        series("p99", "#e07b39", |second| second.p99_ms),
        series("longest", "#c9a0a0", |second| second.max_ms),
    ];
    lines(&all, &Axes { x: "second", y: "ms" })
}

fn rate(seconds: &[SecondFigures]) -> String {
    let happened = |outcome: &Outcome| seconds.iter().any(|second| second.by_outcome.contains_key(outcome.name()));
    let series = Outcome::ALL.iter().zip(COLORS).filter(|(outcome, _)| happened(outcome)).map(|(outcome, color)| {
        let count = |second: &SecondFigures| second.by_outcome.get(outcome.name()).copied().unwrap_or(0) as f64;
        let points = seconds.iter().enumerate().map(|(at, second)| (at as f64, count(second))).collect();
        Series { name: outcome.name().to_owned(), color, points }
    });
    stacked(series.collect(), &Axes { x: "second", y: "answers per second" })
}

fn histogram(report: &Report) -> String {
    let name = |us: u64| if us < 1_000 { format!("{us} us") } else { format!("{:.1} ms", us as f64 / 1e3) };
    let steps: Vec<(String, u64)> = report.latency_steps.iter().map(|(us, count)| (name(*us), *count)).collect();
    bars(&steps, &Axes { x: "up to", y: "answers" })
}

fn stock(report: &Report) -> String {
    if report.stock_curve.is_empty() {
        return String::new();
    }
    let points = report.stock_curve.iter().map(|(second, left)| (*second, *left as f64)).collect();
    let series = [Series { name: "units left".into(), color: "#4878a8", points }];
    format!("<h2>Units left of the sale</h2>{}", lines(&series, &Axes { x: "second", y: "units" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_does_not_become_markup() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
