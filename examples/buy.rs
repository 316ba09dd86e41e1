//! An order and an attempt at a flash sale: `cargo run --example buy -- http://127.0.0.1:8092`

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

const MOST_TRIES: u32 = 5;

struct Shop {
    http: Client,
    base: String,
    token: String,
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let base = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8092".to_owned());
    let shop = Shop::log_in(base, 14).await?;
    let mut out = std::io::stdout();
    writeln!(out, "order {}", shop.order("48", 1).await?)?;
    writeln!(out, "{}", shop.attempt().await?)?;
    Ok(())
}

impl Shop {
    /// Demo only: a shop has tokens of its own.
    async fn log_in(base: String, user_id: i64) -> anyhow::Result<Self> {
        let http = Client::builder().timeout(Duration::from_secs(20)).build()?;
        let login = http.post(format!("{base}/demo/login")).json(&json!({"userId": user_id})).send().await?;
        let cookie = login.headers().get("set-cookie").context("no demo log-in here")?.to_str()?;
        let value = cookie.strip_prefix("GMALL_TOKEN=").and_then(|rest| rest.split(';').next());
        let token = value.context("another cookie")?.to_owned();
        Ok(Self { http, base, token })
    }

    async fn order(&self, sku_id: &str, quantity: u32) -> anyhow::Result<String> {
        let items = json!([{"sku_id": sku_id, "quantity": quantity}]);
        let checkout =
            body(self.send(Method::POST, "/api/v1/checkouts", Some(&json!({"items": items})), None).await?).await?;
        let order = json!({
            "checkout_token": checkout["checkout_token"], "total_amount": checkout["total_amount"], "items": items,
            "receiver": {"name": "李先锋", "phone": "13888888888", "province": "上海", "city": "上海市",
                         "detail_address": "大江大厦6层"},
        });
        // One key for one wish: however often it is sent, there is one order.
        let key = key(&checkout);
        let made = body(self.send(Method::POST, "/api/v1/orders", Some(&order), Some(&key)).await?).await?;
        Ok(text(&made, "order_sn"))
    }

    async fn attempt(&self) -> anyhow::Result<String> {
        let sales = body(self.send(Method::GET, "/api/v1/flash-sales", None, None).await?).await?;
        let path = format!("/api/v1/flash-sales/{}/attempts", text(&sales["data"][0], "id"));
        let answer = self.send(Method::POST, &path, None, Some("example-attempt")).await?;
        if answer.status() != 202 {
            let problem: Value = answer.json().await?;
            return Ok(format!("not won: {}", text(&problem, "code")));
        }
        let won = body(answer).await?;
        let waiting = format!("/api/v1/attempts/{}?wait=10s", text(&won, "order_sn"));
        let decided = body(self.send(Method::GET, &waiting, None, None).await?).await?;
        Ok(format!("won {}: {}", text(&decided, "order_sn"), text(&decided, "status")))
    }

    /// Sends again while the server says it is busy, never sooner than it asks.
    async fn send(
        &self,
        method: Method,
        path: &str,
        json: Option<&Value>,
        key: Option<&str>,
    ) -> anyhow::Result<Response> {
        for tries in 1.. {
            let mut request =
                self.http.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(&self.token);
            if let Some(json) = json {
                request = request.json(json);
            }
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let answer = request.send().await?;
            let is_busy = [429, 503].contains(&answer.status().as_u16());
            if !is_busy || tries == MOST_TRIES {
                return Ok(answer);
            }
            let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            tokio::time::sleep(Duration::from_secs(wait.unwrap_or(1))).await;
        }
        anyhow::bail!("never tried")
    }
}

async fn body(answer: Response) -> anyhow::Result<Value> {
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status.is_success(), "{status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// The checkout's token is random and used once, which is all a key has to be.
fn key(checkout: &Value) -> String {
    text(checkout, "checkout_token")
}
