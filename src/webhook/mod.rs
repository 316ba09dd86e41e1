//! The sender of webhooks over HTTP. Tested by a receiver in the tests of the whole server, `tests/http/webhooks.rs`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use actors::domain::webhook::{TryOutcome, is_public};
use actors::ports::webhooks::{WebhookPost, WebhookSender};
use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

/// Longest address, in characters; the column holds no more.
const MAX_URL: usize = 2000;
/// What is read of an answer, in bytes, so that its connection can serve again. A longer one is cut off.
const ANSWER_BYTES: usize = 16 * 1024;
/// Longest wait for a connection, within the time of the whole try.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Idle connections to one endpoint.
const IDLE_CONNECTIONS: usize = 4;

const NOT_PUBLIC: &str = "the address is not public";

/// The webhook port over HTTP.
pub struct HttpSender {
    http: Client,
    allow_private: bool,
}

impl HttpSender {
    /// A sender whose tries take at most `timeout`. With `allow_private` it also sends to addresses that are not public,
    /// and without encryption.
    ///
    /// # Errors
    /// When there is no TLS on this machine.
    pub fn new(timeout: Duration, allow_private: bool) -> reqwest::Result<Self> {
        let builder = || {
            let limits = Client::builder().connect_timeout(CONNECT_WAIT.min(timeout)).timeout(timeout);
            let limits = limits.pool_max_idle_per_host(IDLE_CONNECTIONS).user_agent("seckill-webhook");
            limits.redirect(redirect::Policy::none()).no_proxy().dns_resolver(Resolver { allow_private })
        };
        // Without root certificates on the machine nobody can be reached by https, and every try says so.
        let http = builder().build().or_else(|_| builder().tls_certs_only([]).build())?;
        Ok(Self { http, allow_private })
    }

    fn parse(&self, text: &str) -> Result<Url, String> {
        if text.chars().count() > MAX_URL {
            return Err(format!("must be at most {MAX_URL} characters long"));
        }
        let url = Url::parse(text).map_err(|error| format!("is not an address: {error}"))?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private => {}
            _ => return Err("must begin with https://".into()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not carry a user or a password".into());
        }
        let host = url.host_str().unwrap_or_default();
        // A name is judged by what it resolves to, when it does.
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) if !self.allow_private && !is_public(address) => Err(NOT_PUBLIC.into()),
            _ => Ok(url),
        }
    }

    async fn try_once(&self, post: &WebhookPost) -> Result<u16, String> {
        let url = self.parse(&post.url)?;
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &post.message_id)
            .header("webhook-timestamp", post.seconds)
            .header("webhook-signature", &post.signatures)
            .body(post.body.clone());
        let mut response = request.send().await.map_err(|error| describe(&error))?;
        let status = response.status().as_u16();
        let mut left = ANSWER_BYTES;
        // The status is what counts, so an answer that breaks off is as good as a whole one.
        while let Ok(Some(chunk)) = response.chunk().await {
            match left.checked_sub(chunk.len()) {
                Some(less) => left = less,
                None => break,
            }
        }
        Ok(status)
    }
}

#[async_trait]
impl WebhookSender for HttpSender {
    fn check(&self, url: &str) -> Result<(), String> {
        self.parse(url).map(drop)
    }

    async fn post(&self, post: &WebhookPost) -> TryOutcome {
        self.try_once(post).await.map_or_else(TryOutcome::Unanswered, TryOutcome::Answered)
    }
}

/// The machine's resolver, of whose answers only those count that may be sent to: the connection is made to one of these
/// very addresses, so a name that says something else the next moment gains nothing.
struct Resolver {
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let fit: Vec<SocketAddr> = found.filter(|found| allow_private || is_public(found.ip())).collect();
            if fit.is_empty() {
                return Err(NOT_PUBLIC.into());
            }
            Ok(Box::new(fit.into_iter()) as Addrs)
        })
    }
}

/// What is told of a failure: its kind and its innermost cause, without the address.
fn describe(error: &reqwest::Error) -> String {
    let kind = match () {
        () if error.is_timeout() => return "no answer in time".into(),
        () if error.is_connect() => "no connection",
        () => "connection broken",
    };
    let mut source: &dyn std::error::Error = error;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    if std::ptr::addr_eq(source, error) { kind.to_owned() } else { format!("{kind}: {source}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(allow_private: bool) -> HttpSender {
        HttpSender::new(Duration::from_secs(5), allow_private).expect("an HTTP client")
    }

    fn post(url: &str) -> WebhookPost {
        WebhookPost {
            url: url.into(),
            message_id: "msg_1".into(),
            seconds: 0,
            signatures: "v1,x".into(),
            body: "{}".into(),
        }
    }

    #[test]
    fn addresses_are_checked() {
        let strict = sender(false);
        for good in ["https://shop.example/hooks", "https://shop.example:8443/?a=b", "https://1.1.1.1/"] {
            assert_eq!(strict.check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "hooks",
            "ftp://shop.example/",
            "http://shop.example/",
            "https://",
            "https://anna:pw@shop.example/",
            "https://127.0.0.1/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest",
            "https://192.168.1.1/",
        ] {
            assert!(strict.check(bad).is_err(), "{bad}");
        }
        assert!(strict.check(&format!("https://shop.example/{}", "a".repeat(MAX_URL))).is_err());
        let open = sender(true);
        assert_eq!(open.check("http://127.0.0.1:9/"), Ok(()));
        assert!(open.check("file:///etc/passwd").is_err());
    }

    /// `localhost` is a name, so only the resolver can refuse it.
    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_where_it_is_resolved() {
        let strict = sender(false);
        let name = "https://localhost:9/";
        assert_eq!(strict.check(name), Ok(()), "a name says nothing yet");
        let refused = strict.post(&post(name)).await;
        assert_eq!(refused, TryOutcome::Unanswered(format!("no connection: {NOT_PUBLIC}")));
        let refused = strict.post(&post("https://127.0.0.1:9/")).await;
        assert_eq!(refused, TryOutcome::Unanswered(NOT_PUBLIC.into()));
    }
}
