//! Money: a 64-bit count of fen in both databases, `rust_decimal` at the API, never a float (DESIGN rule 14).

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// An amount in fen (1/100 yuan).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(pub i64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount a single payment can have, Alipay's 100 000 000 yuan.
    pub const MAX_PAYMENT: Self = Self(10_000_000_000);

    /// From yuan. `None` when it has more than two decimals or does not fit.
    pub fn from_yuan(yuan: Decimal) -> Option<Self> {
        let fen = yuan.checked_mul(Decimal::ONE_HUNDRED)?;
        if !fen.fract().is_zero() {
            return None;
        }
        i64::try_from(fen.trunc()).ok().map(Self)
    }

    /// Parses the strict grammar `^\d{1,9}(\.\d{1,2})?$` (S6): no sign, exponent or surrounding space.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |part: &str, max: usize| (1..=max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 9) || !digits(cents, 2) {
            return None;
        }
        let scale = if cents.len() == 1 { 10 } else { 1 };
        Some(Self(whole.parse::<i64>().ok()? * 100 + cents.parse::<i64>().ok()? * scale))
    }

    /// In yuan with two decimals.
    pub fn yuan(self) -> Decimal {
        Decimal::new(self.0, 2)
    }

    /// Whole yuan, rounded down; the base of points.
    pub fn whole_yuan(self) -> i64 {
        self.0 / 100
    }

    /// `self + other`, `None` on overflow.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// `self × quantity`, `None` on overflow.
    pub fn checked_times(self, quantity: u32) -> Option<Self> {
        self.0.checked_mul(i64::from(quantity)).map(Self)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:02}", self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "¥{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_strict() {
        assert_eq!(Money::parse("88.8"), Some(Money(8880)));
        assert_eq!(Money::parse("0.01"), Some(Money(1)));
        assert_eq!(Money::parse("10000"), Some(Money(1_000_000)));
        for bad in ["", "-0", "+1", "1e2", "NaN", "1.", ".5", "1.234", " 1", "1 ", "1234567890", "１"] {
            assert_eq!(Money::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn yuan_round_trips_and_refuses_a_third_decimal() {
        assert_eq!(Money::from_yuan(Decimal::new(88_800, 3)), Some(Money(8880)));
        assert_eq!(Money::from_yuan(Decimal::new(88_801, 3)), None);
        assert_eq!(Money::from_yuan(Decimal::MAX), None);
        assert_eq!(Money(8880).to_string(), "88.80");
        assert_eq!(Money(-5).to_string(), "-0.05");
    }
}
