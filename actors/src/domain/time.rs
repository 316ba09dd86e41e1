//! Time as the store keeps it: UTC milliseconds. Nothing in here reads a clock.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, FixedOffset, Timelike, Utc};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// `self + duration`, saturating at the ends of the range.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// `self - duration`, saturating at the ends of the range.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with milliseconds, as REST v1 answers: `2026-01-01T00:00:00.000Z`.
    pub fn rfc3339(self) -> String {
        self.utc().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    /// `yyyy-MM-dd HH:mm:ss` in GMT+8, as the course's entities and Alipay want it.
    pub fn gmt8(self) -> String {
        self.in_gmt8().format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// `yyyyMMddHHmmssSSS` in GMT+8, the head of an order number: every winner has one, so no format string is read.
    pub fn compact_gmt8(self) -> String {
        let at = self.in_gmt8();
        let date = i64::from(at.year()) * 10_000 + i64::from(at.month() * 100 + at.day());
        let time = at.hour() * 10_000_000 + at.minute() * 100_000 + at.second() * 1_000 + at.timestamp_subsec_millis();
        format!("{date:08}{time:09}")
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    fn in_gmt8(self) -> DateTime<FixedOffset> {
        const GMT8: FixedOffset = FixedOffset::east_opt(8 * 3600).expect("8 h is a valid offset");
        self.utc().with_timezone(&GMT8)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
