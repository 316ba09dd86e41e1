//! The wall clock, for the date of a report; everything measured uses the monotonic one.

/// RFC 3339, UTC, whole seconds.
#[expect(clippy::disallowed_methods, reason = "this is the only place of the tool that asks for it")]
pub fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}
