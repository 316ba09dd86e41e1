//! Where a caller stands with a rate, as the `RateLimit` fields say it (draft-ietf-httpapi-ratelimit-headers).

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A caller and one rate, after a request was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which rate.
    pub name: &'static str,
    /// Requests of a whole burst.
    pub quota: u32,
    /// Seconds in which a burst comes back.
    pub window_secs: u64,
    /// Requests that are left now.
    pub remaining: u32,
    /// Seconds until there are more: all of them, or one when none is left.
    pub reset_secs: u64,
}

impl Standing {
    /// Writes both fields.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Self { name, quota, window_secs, remaining, reset_secs } = self;
        let mut insert = |field, text: String| {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(field, value);
            }
        };
        insert(POLICY, format!("\"{name}\";q={quota};w={window_secs}"));
        insert(LIMIT, format!("\"{name}\";r={remaining};t={reset_secs}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_structured_items() {
        let mut headers = HeaderMap::new();
        Standing { name: "user", quota: 40, window_secs: 2, remaining: 39, reset_secs: 1 }.write(&mut headers);
        assert_eq!(headers.get(POLICY).unwrap(), r#""user";q=40;w=2"#);
        assert_eq!(headers.get(LIMIT).unwrap(), r#""user";r=39;t=1"#);
    }
}
