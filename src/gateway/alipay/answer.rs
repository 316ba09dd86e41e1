//! Synchronous answers: `{"<method>_response":{…},"sign":"…"}`. The signature covers the bytes of the response object
//! exactly as received, so they are taken raw and verified before any field is read.

use std::fmt;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::sign::VerifyingKey;

/// What a verified answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A signed 10000; the raw response object.
    Success(String),
    /// A signed 40004: a business refusal with its `sub_code`.
    Refused(String),
}

/// The outcome is not known: neither a signed success nor a signed business refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What was received instead; for logs.
    pub reason: String,
    /// Whether asking again soon may help.
    pub try_again: bool,
}

impl Unknown {
    /// Asking again soon may help.
    pub fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), try_again: true }
    }

    /// Asking again would give the same.
    pub fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), try_again: false }
    }
}

/// The name of the response object of a method: dots become underscores.
pub fn response_name(method: &str) -> String {
    format!("{}_response", method.replace('.', "_"))
}

/// Verifies and reads an answer to `method`.
///
/// # Errors
/// [`Unknown`] for everything that is not a signed 10000 or a signed 40004.
pub fn read(body: &[u8], method: &str, keys: &[VerifyingKey]) -> Result<Answer, Unknown> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|error| not_an_answer(&error))?;
    let Some(content) = envelope.object(&response_name(method)) else {
        let error = envelope.object("error_response").unwrap_or("no response object");
        return Err(Unknown::lasting(format!("gateway error: {}", excerpt(error))));
    };
    let signature: String = envelope
        .object("sign")
        .and_then(|raw| serde_json::from_str(raw).ok())
        .ok_or_else(|| Unknown::lasting("the answer is not signed"))?;
    if !keys.iter().any(|key| key.verify(content.as_bytes(), &signature)) {
        return Err(Unknown::lasting("the answer's signature does not verify"));
    }
    judge(content)
}

#[derive(Deserialize)]
struct Head {
    code: String,
    #[serde(default)]
    sub_code: String,
}

fn judge(content: &str) -> Result<Answer, Unknown> {
    let head: Head =
        serde_json::from_str(content).map_err(|error| Unknown::lasting(format!("not a response: {error}")))?;
    match (head.code.as_str(), head.sub_code.as_str()) {
        ("10000", _) => Ok(Answer::Success(content.to_owned())),
        ("20000", _) | (_, "ACQ.SYSTEM_ERROR" | "aop.ACQ.SYSTEM_ERROR") => Err(Unknown::passing(excerpt(content))),
        ("40004", sub_code) if sub_code.starts_with("ACQ.") => Ok(Answer::Refused(sub_code.to_owned())),
        _ => Err(Unknown::lasting(excerpt(content))),
    }
}

/// Half an answer or an error page may be a passing fault; whole JSON of another shape is not.
fn not_an_answer(error: &serde_json::Error) -> Unknown {
    Unknown { reason: format!("not an answer: {error}"), try_again: !error.is_data() }
}

fn excerpt(text: &str) -> String {
    text.chars().take(300).collect()
}

/// The members of the outer object, values as raw text. A name twice is refused: two readers could take another one each.
struct Envelope<'a>(Vec<(String, &'a RawValue)>);

impl Envelope<'_> {
    fn object(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.get())
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, &'de RawValue)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            if members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("a member twice"));
            }
            members.push((name, value));
        }
        Ok(Envelope(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::alipay::sign::SigningKey;

    const METHOD: &str = "alipay.trade.query";

    fn keys() -> (SigningKey, Vec<VerifyingKey>) {
        let directory = tempfile::tempdir().unwrap();
        let files = crate::keys::generate_rsa_pem(directory.path(), "alipay").unwrap();
        let private = std::fs::read_to_string(files.private).unwrap();
        let public = std::fs::read_to_string(files.public).unwrap();
        (SigningKey::from_pem(&private).unwrap(), VerifyingKey::list_from_pem(&public).unwrap())
    }

    #[test]
    fn the_raw_bytes_are_what_counts() {
        let (key, keys) = keys();
        let signed_over = |content: &str, sent: &str| {
            let body =
                format!(r#" {{ "alipay_trade_query_response" : {sent} , "sign":"{}"}}"#, key.sign(content).unwrap());
            read(body.as_bytes(), METHOD, &keys)
        };
        for content in [
            r#"{"code":"10000","msg":"Success","subject":"a } \" { 白色 \u767d"}"#,
            "{ \"code\" : \"10000\",\n\t\"total_amount\": \"88.88\" }",
            r#"{"code":"10000","deep":{"sign":"AAAA","a":[{},"}"]}}"#,
        ] {
            assert_eq!(signed_over(content, content), Ok(Answer::Success(content.to_owned())));
        }
        let compact = r#"{"code":"10000","total_amount":"88.88"}"#;
        let spaced = r#"{"code":"10000", "total_amount":"88.88"}"#;
        assert!(signed_over(compact, spaced).is_err(), "the same JSON in other bytes");
    }

    #[test]
    fn only_signed_known_answers_conclude() {
        let (key, keys) = keys();
        let read = |body: &str| read(body.as_bytes(), METHOD, &keys);
        let signed = |content: &str| {
            read(&format!(r#"{{"alipay_trade_query_response":{content},"sign":"{}"}}"#, key.sign(content).unwrap()))
        };
        let refused = r#"{"code":"40004","msg":"Business Failed","sub_code":"ACQ.TRADE_NOT_EXIST"}"#;
        assert_eq!(signed(refused), Ok(Answer::Refused("ACQ.TRADE_NOT_EXIST".to_owned())));
        assert!(signed(r#"{"code":"20000","sub_code":"isp.unknow-error"}"#).unwrap_err().try_again);
        assert!(signed(r#"{"code":"40004","sub_code":"ACQ.SYSTEM_ERROR"}"#).unwrap_err().try_again);
        assert!(!signed(r#"{"code":"40004"}"#).unwrap_err().try_again);
        assert!(!signed(r#"{"code":"40002","sub_code":"isv.invalid-app-id"}"#).unwrap_err().try_again);
        assert!(!signed(r#"{"code":10000}"#).unwrap_err().try_again);

        let success = r#"{"code":"10000"}"#;
        let sign = key.sign(success).unwrap();
        let twice = format!(
            r#"{{"alipay_trade_query_response":{success},"alipay_trade_query_response":{refused},"sign":"{sign}"}}"#
        );
        let other_method = format!(r#"{{"alipay_trade_close_response":{success},"sign":"{sign}"}}"#);
        let error = format!(r#"{{"error_response":{success},"sign":"{sign}"}}"#);
        let unsigned = format!(r#"{{"alipay_trade_query_response":{success}}}"#);
        let not_text = format!(r#"{{"alipay_trade_query_response":{success},"sign":1}}"#);
        for body in [&twice, &other_method, &error, &unsigned, &not_text, "", "[]", "<html>", "{", "null"] {
            assert!(read(body).is_err(), "{body}");
        }
    }
}
