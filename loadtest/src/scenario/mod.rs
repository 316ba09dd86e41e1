//! What can be run, each with its preparation before the measured phase and its reconciliation after it.

pub mod growth;
pub mod hot_sku;
pub mod idle;
pub mod orders;
pub mod overload;
pub mod pressure;
pub mod spike;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::ensure;

use crate::buyers::{self, ShowLogins};
use crate::generator::{self, Pace};
use crate::target::Target;

/// What the client was told, held against what the store says.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Check {
    /// What must hold.
    pub name: String,
    /// Whether it does.
    pub ok: bool,
    /// The figures.
    pub detail: String,
}

impl Check {
    /// Two figures that must be the same.
    pub fn same<T: PartialEq + std::fmt::Display>(name: &str, told: T, stored: T) -> Self {
        Self { name: name.to_owned(), ok: told == stored, detail: format!("{told}, {stored}") }
    }

    /// No such thing may be; the first few that are.
    pub fn none(name: &str, found: &[String]) -> Self {
        let shown = found.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
        let detail = if found.is_empty() { "none".to_owned() } else { format!("{}: {shown}", found.len()) };
        Self { name: name.to_owned(), ok: found.is_empty(), detail }
    }
}

/// Rows younger than this are exempt from the audit, because a live server may be about to change them.
const AUDIT_EXEMPT: Duration = Duration::from_secs(31);

/// Waits until nothing is exempt, then has the server audit every invariant.
///
/// # Errors
/// When the server does not answer.
pub async fn audit(target: &Target) -> anyhow::Result<Check> {
    eprintln!("waiting {AUDIT_EXEMPT:?}: the audit exempts what is younger");
    tokio::time::sleep(AUDIT_EXEMPT).await;
    Ok(judge(&target.admin.audit().await?).0)
}

/// What an audit's report says, and how many facts it looked at.
fn judge(report: &serde_json::Value) -> (Check, u64) {
    let invariants = report["invariants"].as_array().map(Vec::as_slice).unwrap_or_default();
    let broken: Vec<String> = invariants
        .iter()
        .filter(|invariant| invariant["ok"] != true)
        .map(|invariant| format!("{} {}", invariant["id"], invariant["broken"]))
        .collect();
    let checked: u64 = invariants.iter().filter_map(|invariant| invariant["checked"].as_u64()).sum();
    let mut check = Check::none("every invariant holds in the store (audit)", &broken);
    check.ok &= report["ok"] == true && !invariants.is_empty();
    if check.ok {
        check.detail = format!("{} invariants, {checked} facts", invariants.len());
    }
    (check, checked)
}

/// Signs logins and shows each to the server once; answers the cookies.
///
/// # Errors
/// When a login is not accepted.
pub async fn prepare_buyers(target: &Target, count: u64, connections: usize) -> anyhow::Result<Rc<[String]>> {
    eprintln!("signing {count} logins");
    let cookies: Rc<[String]> = buyers::sign(&target.data_dir, count)?.into();
    let logins = Rc::new(ShowLogins { cookies: cookies.clone(), shown: Cell::new(0) });
    let pace = Pace::Closed(Duration::from_secs(600));
    let record = generator::run("logins", &target.public, connections.min(64), pace, logins).await;
    ensure!(record.wrong.is_empty(), "logins: {}", record.wrong.join("; "));
    eprintln!(
        "{} logins verified in {:.1?}, {:.0} a second (the cold figure: one signature each)",
        record.counts.total(),
        record.took,
        record.counts.total() as f64 / record.took.as_secs_f64()
    );
    Ok(cookies)
}

/// The text between two markers.
fn between<'a>(text: &'a [u8], before: &[u8], until: u8) -> Option<&'a str> {
    let start = text.windows(before.len()).position(|window| window == before)? + before.len();
    let rest = text.get(start..)?;
    std::str::from_utf8(rest.get(..rest.iter().position(|byte| *byte == until)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_markers_is_found() {
        assert_eq!(between(br#"{"a":"x","b":"y"}"#, br#""b":""#, b'"'), Some("y"));
        assert_eq!(between(b"{}", b"\"b\":\"", b'"'), None);
        assert_eq!(between(b"\"b\":\"open", b"\"b\":\"", b'"'), None);
    }

    #[test]
    fn figures_that_differ_fail() {
        assert!(Check::same("x", 1, 1).ok && !Check::same("x", 1, 2).ok);
        assert!(Check::none("x", &[]).ok && !Check::none("x", &["y".into()]).ok);
    }
}
