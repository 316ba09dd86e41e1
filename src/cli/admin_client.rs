//! The thin client of the running server's internal listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::auth::ServiceToken;
use crate::config::{Config, Secret};
use crate::secret_file;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// `end` answers after the leftovers are back in stock.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Items of one page, the most that the API gives.
const PAGE_ITEMS: usize = 100;

/// Calls the internal listener with the service token.
pub struct AdminClient {
    http: Client,
    base: String,
    token: Secret,
}

/// One page of a list.
pub struct Page {
    /// Its items.
    pub items: Vec<Value>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

impl AdminClient {
    /// For the server that this configuration describes.
    ///
    /// # Errors
    /// Without a service token: the server has not run with this `data_dir` yet.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let token = match config.internal.token.is_empty() {
            false => config.internal.token.clone(),
            true => secret_file::read(&ServiceToken::path(config))
                .context("no service token; the server makes it at its first start, or set internal.token")?,
        };
        // The token goes to our own listener only: through no proxy, and nowhere a redirect points to.
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self { http, base: format!("http://{}", reachable(config.server.internal_listen)), token })
    }

    /// POST of a JSON body.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses; the message holds its reason.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.http.post(self.url(path)).json(body)).await
    }

    /// One page of a list.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn list(&self, path: &str, cursor: Option<&str>) -> anyhow::Result<Page> {
        let mut url = reqwest::Url::parse(&self.url(path))?;
        url.query_pairs_mut().append_pair("limit", &PAGE_ITEMS.to_string());
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        let mut answer = self.send(self.http.get(url)).await?;
        let next_cursor = answer["next_cursor"].as_str().map(str::to_owned);
        match answer["data"].take() {
            Value::Array(items) => Ok(Page { items, next_cursor }),
            _ => bail!("{path} answered without a list"),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let answer = request.bearer_auth(self.token.expose()).send().await;
        let answer = answer.with_context(|| format!("no server at {}", self.base))?;
        let status = answer.status();
        let text = answer.text().await.context("the answer broke off")?;
        if status.is_success() {
            return if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text).context("not JSON") };
        }
        bail!("{}", reason(status, &text))
    }
}

/// What a refusal says: title, detail and code of a problem document, or the status alone.
fn reason(status: StatusCode, text: &str) -> String {
    if status == StatusCode::UNAUTHORIZED {
        return "the server does not accept this service token".to_owned();
    }
    let problem: Value = serde_json::from_str(text).unwrap_or_default();
    let parts = ["title", "detail", "code"].iter().filter_map(|name| problem[name].as_str());
    let said = parts.collect::<Vec<_>>().join(": ");
    if said.is_empty() { format!("the server answered {status}") } else { format!("{said} ({status})") }
}

/// A listener on every address is reached on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(v6) if v6.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
    use serde_json::json;

    use super::*;

    async fn answer(request: HttpRequest, calls: web::Data<Mutex<Vec<String>>>, body: String) -> HttpResponse {
        let token = request.headers().get("authorization").map_or("", |value| value.to_str().unwrap());
        calls.lock().unwrap().push(format!("{} {} {body}", request.method(), request.uri()));
        match (token, request.path()) {
            ("Bearer right", "/list") if request.query_string().contains("cursor=a%26b") => {
                HttpResponse::Ok().json(json!({"data": [2], "next_cursor": null, "has_more": false}))
            }
            ("Bearer right", "/list") => {
                HttpResponse::Ok().json(json!({"data": [1], "next_cursor": "a&b", "has_more": true}))
            }
            ("Bearer right", "/sale") => HttpResponse::Created().json(json!({"id": "7"})),
            ("Bearer right", "/away") => HttpResponse::Found().insert_header(("location", "/sale")).finish(),
            ("Bearer right", _) => HttpResponse::Conflict()
                .json(json!({"title": "Not possible", "detail": "the sale has ended", "code": "wrong-state"})),
            _ => HttpResponse::Unauthorized().finish(),
        }
    }

    #[actix_web::test]
    async fn it_speaks_the_admin_api_and_tells_reasons() {
        let calls = web::Data::new(Mutex::new(Vec::<String>::new()));
        let shared = calls.clone();
        let server = HttpServer::new(move || App::new().app_data(shared.clone()).default_service(web::to(answer)))
            .workers(1)
            .bind("127.0.0.1:0")
            .unwrap();
        let mut config = Config::defaults();
        config.server.internal_listen = server.addrs()[0];
        config.internal.token = Secret::new("right".to_owned());
        let running = server.run();
        let handle = running.handle();
        actix_web::rt::spawn(running);

        let client = AdminClient::new(&config).unwrap();
        assert_eq!(client.post("/sale", &json!({"count": 1})).await.unwrap(), json!({"id": "7"}));
        let first = client.list("/list", None).await.unwrap();
        assert_eq!((first.items, first.next_cursor.as_deref()), (vec![json!(1)], Some("a&b")));
        let second = client.list("/list", Some("a&b")).await.unwrap();
        assert_eq!((second.items, second.next_cursor), (vec![json!(2)], None));
        assert_eq!(
            *calls.lock().unwrap(),
            ["POST /sale {\"count\":1}", "GET /list?limit=100 ", "GET /list?limit=100&cursor=a%26b "]
        );

        let refused = client.post("/other", &json!({})).await.unwrap_err().to_string();
        assert_eq!(refused, "Not possible: the sale has ended: wrong-state (409 Conflict)");
        assert!(client.post("/away", &json!({})).await.unwrap_err().to_string().contains("302"), "not followed");
        config.internal.token = Secret::new("wrong".to_owned());
        let wrong = AdminClient::new(&config).unwrap().post("/sale", &json!({})).await.unwrap_err();
        assert!(wrong.to_string().contains("service token"), "{wrong}");

        handle.stop(false).await;
    }

    #[actix_web::test]
    async fn a_server_that_is_away_is_named() {
        let mut config = Config::defaults();
        // Port 1 (tcpmux) has no listener on any machine that builds this.
        config.server.internal_listen = "127.0.0.1:1".parse().unwrap();
        config.internal.token = Secret::new("right".to_owned());
        let away = AdminClient::new(&config).unwrap().post("/sale", &json!({})).await.unwrap_err();
        assert!(away.to_string().contains("no server at http://127.0.0.1:1"), "{away}");
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        for (listen, expected) in
            [("0.0.0.0:8093", "127.0.0.1:8093"), ("[::]:8093", "[::1]:8093"), ("10.0.0.7:1", "10.0.0.7:1")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn without_a_service_token_it_says_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let mut config = Config::defaults();
        config.data_dir = home.path().to_owned();
        let error = format!("{:#}", AdminClient::new(&config).err().unwrap());
        assert!(error.contains("internal.token"), "{error}");
    }
}
