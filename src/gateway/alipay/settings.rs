//! Who we are, where the gateway is, and the keys of both sides.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;

use super::sign::{SigningKey, VerifyingKey};

/// Who we are at the gateway and where it is (`alipay.*` of the configuration).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlipaySettings {
    /// Our app, at most 32 characters.
    pub app_id: String,
    /// Our seller account; notifications for another one are refused.
    pub seller_id: String,
    /// Absolute, https; plain http only on loopback.
    pub gateway_url: String,
    /// Where notifications go: absolute, without a query, at most 256 characters. Empty: payments are only seen when an
    /// order is about to be closed.
    pub notify_url: String,
    /// Where the buyer's browser goes after paying; display only, may be empty.
    pub return_url: String,
}

/// What is wrong with [`AlipaySettings`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("alipay.{key}: {problem}")]
pub struct SettingsError {
    /// The key of the configuration.
    pub key: &'static str,
    /// What is wrong, and what is wanted.
    pub problem: String,
}

impl AlipaySettings {
    /// Checks every value.
    ///
    /// # Errors
    /// The first one that is wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        check_id("app_id", &self.app_id)?;
        check_id("seller_id", &self.seller_id)?;
        let gateway = check_url("gateway_url", &self.gateway_url)?;
        if gateway.scheme() == "http" && !is_loopback(&gateway) {
            return Err(wrong("gateway_url", "plain http is for loopback only: use https"));
        }
        if gateway.query().is_some() {
            return Err(wrong("gateway_url", "must have no query"));
        }
        if !self.notify_url.is_empty() && check_url("notify_url", &self.notify_url)?.query().is_some() {
            return Err(wrong("notify_url", "must have no query"));
        }
        if self.return_url.is_empty() { Ok(()) } else { check_url("return_url", &self.return_url).map(drop) }
    }
}

/// Our private key and the gateway's public ones.
#[derive(Debug)]
pub struct AlipayKeys {
    /// Signs our requests.
    pub merchant: SigningKey,
    /// Any of these may sign answers and notifications; two during the gateway's rotation.
    pub alipay: Vec<VerifyingKey>,
}

impl AlipayKeys {
    /// From the PEM texts: ours PKCS#8 or PKCS#1, the gateway's SPKI, one or two of them.
    ///
    /// # Errors
    /// When a text is no such key or has fewer than 2048 bits.
    pub fn from_pem(merchant_private_key: &str, alipay_public_key: &str) -> Result<Self, SettingsError> {
        Ok(Self {
            merchant: SigningKey::from_pem(merchant_private_key)
                .map_err(|error| wrong("merchant_private_key", error.to_string()))?,
            alipay: VerifyingKey::list_from_pem(alipay_public_key)
                .map_err(|error| wrong("alipay_public_key", error.to_string()))?,
        })
    }
}

/// Limits of one call (R22). The whole call, all tries and pauses included, ends within `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// To connect.
    pub connect: Duration,
    /// For everything.
    pub total: Duration,
    /// Tries with the same request.
    pub tries: u32,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), total: Duration::from_secs(5), tries: 3 }
    }
}

fn check_id(key: &'static str, value: &str) -> Result<(), SettingsError> {
    let valid = (1..=32).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    valid.then_some(()).ok_or_else(|| wrong(key, "1 to 32 letters and digits wanted"))
}

fn check_url(key: &'static str, value: &str) -> Result<Url, SettingsError> {
    if value.len() > 256 {
        return Err(wrong(key, "longer than 256 characters"));
    }
    let url = Url::parse(value).map_err(|error| wrong(key, format!("not an absolute URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong(key, "an absolute http or https URL wanted"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(wrong(key, "must have no user, password or fragment"));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A [`SettingsError`].
pub(super) fn wrong(key: &'static str, problem: impl Into<String>) -> SettingsError {
    SettingsError { key, problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> AlipaySettings {
        AlipaySettings {
            app_id: "2021000000000001".to_owned(),
            seller_id: "2088000000000001".to_owned(),
            gateway_url: "https://openapi.alipay.example/gateway.do".to_owned(),
            notify_url: "https://shop.example/order/pay/alipay/success".to_owned(),
            return_url: "https://shop.example/orders?from=alipay".to_owned(),
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for url in [
            "http://127.0.0.1:8092/sandbox/gateway.do",
            "http://[::1]:1/g",
            "http://localhost/g",
            "https://a.example/g",
        ] {
            assert_eq!(AlipaySettings { gateway_url: url.to_owned(), ..settings() }.check(), Ok(()), "{url}");
        }
        for url in
            ["http://a.example/g", "http://127.0.0.1.a.example/g", "http://localhost.a.example/g", "http://10.0.0.1/g"]
        {
            let error = AlipaySettings { gateway_url: url.to_owned(), ..settings() }.check().unwrap_err();
            assert_eq!(error.key, "gateway_url", "{url}");
        }
    }

    #[test]
    fn every_setting_is_checked() {
        assert_eq!(settings().check(), Ok(()));
        let silent = AlipaySettings { notify_url: String::new(), return_url: String::new(), ..settings() };
        assert_eq!(silent.check(), Ok(()));
        let long = format!("https://shop.example/{}", "x".repeat(256));
        for (key, broken) in [
            ("app_id", AlipaySettings { app_id: String::new(), ..settings() }),
            ("app_id", AlipaySettings { app_id: "a b".to_owned(), ..settings() }),
            ("seller_id", AlipaySettings { seller_id: "2".repeat(33), ..settings() }),
            ("gateway_url", AlipaySettings { gateway_url: "ftp://a.example".to_owned(), ..settings() }),
            ("gateway_url", AlipaySettings { gateway_url: "https://u:p@a.example/g".to_owned(), ..settings() }),
            ("gateway_url", AlipaySettings { gateway_url: "https://a.example/g?x=1".to_owned(), ..settings() }),
            ("notify_url", AlipaySettings { notify_url: "/order/pay".to_owned(), ..settings() }),
            ("notify_url", AlipaySettings { notify_url: "https://a.example/n?x=1".to_owned(), ..settings() }),
            ("notify_url", AlipaySettings { notify_url: long, ..settings() }),
            ("return_url", AlipaySettings { return_url: "javascript:alert(1)".to_owned(), ..settings() }),
        ] {
            assert_eq!(broken.check().unwrap_err().key, key, "{broken:?}");
        }
    }
}
