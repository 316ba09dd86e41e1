//! Types of single values: secrets, rates, durations, networks.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// Text that must not be seen: no Debug, no Display, hidden when serialised, wiped when dropped (R30).
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Callers hand it to what needs it and never to a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { "<hidden>" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor).map(Self::new)
    }
}

/// Takes a string and nothing else. Spells out the other types because serde's own message would quote the value.
struct SecretVisitor;

impl Visitor<'_> for SecretVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<String, E> {
        Err(must_be_text())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<String, E> {
        Err(must_be_text())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<String, E> {
        Err(must_be_text())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<String, E> {
        Err(must_be_text())
    }
}

fn must_be_text<E: de::Error>() -> E {
    E::custom("must be a string, in quotes")
}

/// A URL that may hold a password. As [`Secret`], but serialised with scheme, host and path.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(Secret);

impl SecretUrl {
    /// The whole URL, password included.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The URL without user, password, query and fragment.
    pub fn redacted(&self) -> String {
        let text = self.expose();
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.starts_with("sqlite:") || text.is_empty() {
                text.to_owned()
            } else {
                "<hidden>".to_owned()
            };
        };
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let address = &rest[..end];
        let after_user = address.rfind('@').map_or(0, |at| at + 1);
        format!("{scheme}://{}", &address[after_user..])
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted())
    }
}

/// On, off, or decided from the rest of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toggle {
    /// `true`
    On,
    /// `false`
    Off,
    /// `"auto"`
    Auto,
}

impl Serialize for Toggle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::On => serializer.serialize_bool(true),
            Self::Off => serializer.serialize_bool(false),
            Self::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for Toggle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Flag(bool),
            Text(String),
        }
        let wrong = || de::Error::custom("must be true, false or \"auto\"");
        match Spelling::deserialize(deserializer).map_err(|_| wrong())? {
            Spelling::Flag(true) => Ok(Self::On),
            Spelling::Flag(false) => Ok(Self::Off),
            Spelling::Text(text) => match text.as_str() {
                "true" => Ok(Self::On),
                "false" => Ok(Self::Off),
                "auto" => Ok(Self::Auto),
                _ => Err(wrong()),
            },
        }
    }
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// No limit.
    Off,
    /// `count` in each `period`, and at most `burst` at once.
    Limited {
        /// How many.
        count: u32,
        /// In what time: a second, a minute or an hour.
        period: Duration,
        /// How many at once.
        burst: u32,
    },
}

const RATE_FORM: &str = "must be a rate such as \"20/s\", \"100/m burst 20\" or \"off\", with counts of 1 to 1000000";
const PERIODS: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 3600)];
const MAX_COUNT: u32 = 1_000_000;

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let (rate, burst) = match text.split_once(" burst ") {
            Some((rate, burst)) => (rate, Some(parse_count(burst)?)),
            None => (text, None),
        };
        let (count, unit) = rate.split_once('/').ok_or(RATE_FORM)?;
        let count = parse_count(count)?;
        let seconds = PERIODS.iter().find(|(name, _)| *name == unit).ok_or(RATE_FORM)?.1;
        Ok(Self::Limited { count, period: Duration::from_secs(seconds), burst: burst.unwrap_or(count) })
    }
}

fn parse_count(text: &str) -> Result<u32, &'static str> {
    let only_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let count = only_digits.then(|| text.parse().ok()).flatten().ok_or(RATE_FORM)?;
    if (1..=MAX_COUNT).contains(&count) { Ok(count) } else { Err(RATE_FORM) }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Limited { count, period, burst } = self else { return f.write_str("off") };
        let unit = PERIODS.iter().find(|(_, seconds)| *seconds == period.as_secs()).map_or("s", |(name, _)| name);
        write!(f, "{count}/{unit}")?;
        if burst == count { Ok(()) } else { write!(f, " burst {burst}") }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Durations as text: `"30m"`.
pub(super) mod duration {
    use super::*;

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| de::Error::custom(format!("must be a duration such as \"30m\" or \"500ms\": {error}")))
    }
}

/// A list of durations: `["5s", "5m"]`.
pub(super) mod durations {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct One(#[serde(with = "duration")] Duration);

    pub fn serialize<S: Serializer>(durations: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(durations.iter().map(|duration| One(*duration)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        Ok(Vec::<One>::deserialize(deserializer)?.into_iter().map(|One(duration)| duration).collect())
    }
}

/// An address or a network: `"10.0.0.0/8"`, `"::1"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: u128,
    /// Bits that count, of the 128 of an IPv6 address; an IPv4 one is its mapped form.
    prefix_bits: u32,
    is_v4: bool,
}

const V4_OFFSET: u32 = 96;

impl Network {
    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.base ^ bits(address)) & mask(self.prefix_bits) == 0
    }
}

/// Whether one of them contains the address.
pub fn networks_contain(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn mask(prefix_bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - prefix_bits).unwrap_or(0)
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be an address or a network such as \"10.0.0.0/8\"";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().map_err(|_| FORM)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| FORM)?;
        let (width, offset) = if address.is_ipv4() { (32, V4_OFFSET) } else { (128, 0) };
        let prefix = prefix.unwrap_or(width);
        if prefix > width {
            return Err(FORM);
        }
        let prefix_bits = prefix + offset;
        Ok(Self { base: bits(address) & mask(prefix_bits), prefix_bits, is_v4: address.is_ipv4() })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.base);
        match address.to_ipv4_mapped().filter(|_| self.is_v4) {
            Some(v4) => write!(f, "{v4}/{}", self.prefix_bits - V4_OFFSET),
            None => write!(f, "{address}/{}", self.prefix_bits),
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_back_as_written() {
        for text in ["20/s", "100/m", "1/h burst 7", "20/s burst 40", "off"] {
            assert_eq!(text.parse::<Rate>().expect(text).to_string(), text);
        }
        for bad in
            ["", "20", "0/s", "-1/s", "20/d", "+2/s", "20/s burst 0", "1000001/s", "99999999999/s", "20 /s", "Off"]
        {
            assert_eq!(bad.parse::<Rate>(), Err(RATE_FORM), "{bad:?}");
        }
    }

    #[test]
    fn networks_contain_what_they_should() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::/0", "2001:db8::1", true),
        ];
        for (network, address, expected) in cases {
            let parsed: Network = network.parse().expect(network);
            assert_eq!(parsed.contains(address.parse().expect(address)), expected, "{network} {address}");
        }
        assert_eq!("10.1.2.3/8".parse::<Network>().map(|n| n.to_string()), Ok("10.0.0.0/8".to_owned()));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "host", "10.0.0.0/x"] {
            assert!(bad.parse::<Network>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn urls_are_shown_without_what_is_secret_in_them() {
        let shown = |text: &str| SecretUrl(Secret::new(text.to_owned())).redacted();
        assert_eq!(shown("postgres://shop:p%40ss@db:5432/shop?sslkey=x"), "postgres://db:5432/shop");
        assert_eq!(shown("redis://:p@ss@cache/0#pw"), "redis://cache/0");
        assert_eq!(shown("sqlite:data/a.db"), "sqlite:data/a.db");
        assert_eq!(shown("hunter2"), "<hidden>");
        assert_eq!(shown(""), "");
    }
}
