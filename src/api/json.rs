//! Values as the two surfaces write them: the course's numbers and GMT+8 times, v1's strings and RFC 3339.

use actors::domain::Money;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Yuan as a JSON number, exactly: `10000`, `88.80`. Never through a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct YuanNumber(pub Money);

impl Serialize for YuanNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = if self.0.0 % 100 == 0 { self.0.whole_yuan().to_string() } else { self.0.to_string() };
        let raw = RawValue::from_string(text).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Yuan from a JSON number or string with at most two decimals, read from the digits as they were sent.
impl<'de> Deserialize<'de> for YuanNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get().trim_matches('"');
        Money::parse(text)
            .map(Self)
            .ok_or_else(|| D::Error::custom("expected an amount in yuan, 0 to 999999999, at most two decimals"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_their_digits() {
        let read = |text: &str| serde_json::from_str::<YuanNumber>(text).map(|amount| amount.0).ok();
        assert_eq!(read("50000"), Some(Money(5_000_000)));
        assert_eq!(read("\"88.80\""), Some(Money(8880)));
        assert_eq!(read("0.1"), Some(Money(10)));
        for bad in ["-1", "1e3", "1.234", "null", "true", "{}", "\"\"", "NaN", "99999999999", "[1]"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let write = |fen| serde_json::to_string(&YuanNumber(Money(fen))).ok();
        assert_eq!(write(1_000_000), Some("10000".into()));
        assert_eq!(write(8880), Some("88.80".into()));
    }
}
