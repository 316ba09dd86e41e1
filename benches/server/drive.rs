//! Requests through the server's own service in this process: what callgrind counts.

use std::path::PathBuf;
use std::time::Duration;

use actix_http::Request;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error};
use actors::domain::flash_sale::{ChallengeMode, NewFlashSale};
use actors::domain::{Money, OrderSn, SaleId, SkuId, Timestamp, WareId};
use actors::ports::store::units::AdjustStock;
use anyhow::{Context, ensure};
use futures_util::future::join_all;
use seckill::api::State;
use seckill::app::PublicSide;
use seckill::auth::own_issuer;
use seckill::config::Config;
use seckill::machine::SystemClock;

use super::beside;

/// Buyers; more than are ever driven.
const BUYERS: i64 = 2_048;
const SKU: SkuId = SkuId(48);
/// Won requests, or orders, in flight.
const WAVE: usize = 256;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A bare route.
    Bare,
    /// A logged-in route that does nothing.
    Login,
    /// An attempt at a sale that is sold out.
    Refused,
    /// An attempt that wins, its order made, all in waves.
    Won,
    /// An ordinary order, confirmed and submitted, all in waves.
    Ordered,
}

fn file(config: &Config) -> PathBuf {
    config.data_dir.join("bench-logins")
}

/// Makes the logins.
pub fn prepare(config: &Config) -> anyhow::Result<()> {
    use actors::ports::clock::Clock;
    seckill::secret_file::make_directory(&config.data_dir)?;
    let issuer = own_issuer(config)?;
    let now = SystemClock.now();
    let week = Duration::from_secs(7 * 24 * 3600);
    let tokens: Result<Vec<String>, _> =
        (1..=BUYERS).map(|id| issuer.issue(actors::domain::UserId(id), &format!("user{id}"), now, week)).collect();
    Ok(std::fs::write(file(config), tokens?.join("\n"))?)
}

/// What [`prepare`] has made.
pub fn read_tokens(config: &Config) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file(config)).context("run `prepare` first")?;
    Ok(text.lines().map(|token| format!("GMALL_TOKEN={token}")).collect())
}

/// Sends them. Everything but the requests costs the same for any number of them.
pub async fn drive(public: &PublicSide, kind: Kind, requests: usize, cookies: &[String]) -> anyhow::Result<()> {
    let in_waves = matches!(kind, Kind::Won | Kind::Ordered);
    ensure!(!in_waves || requests < cookies.len(), "each of {BUYERS} buyers wins or orders once");
    let cookie = |at: usize| cookies[at % (cookies.len() - 1)].as_str();
    let state: &State = &public.state;
    let now = state.clock.now();
    for cookie in cookies {
        let token = cookie.split_once('=').map_or("", |(_, token)| token);
        state.auth.verify(token, now).context("run `prepare` again")?;
    }
    let units = if kind == Kind::Won { BUYERS } else { 1 };
    let sale = arm(state, units).await?;
    if kind == Kind::Ordered {
        bring_in(state, BUYERS).await?;
    }
    let app = init_service(public.app()).await;
    if kind == Kind::Refused {
        ensure!(send(&app, attempt(cookies.last().map_or("", String::as_str))).await?.contains("\"code\":0"));
        until(|| async { state.sales.gate(sale).is_some_and(|gate| gate.is_sold_out()) }).await?;
    }
    match kind {
        Kind::Bare => {
            let bare = init_service(App::new().configure(beside::bare)).await;
            let request = || TestRequest::get().uri("/bare").insert_header(("host", "127.0.0.1"));
            repeat(&bare, requests, |at| request().insert_header(("cookie", cookie(at))), "\"code\":1").await
        }
        Kind::Login => {
            let login = init_service(App::new().configure(|config| beside::logged_in(public, config))).await;
            let request = || TestRequest::get().uri("/login").peer_addr(peer()).insert_header(("host", "127.0.0.1"));
            repeat(&login, requests, |at| request().insert_header(("cookie", cookie(at))), "\"code\":1").await
        }
        Kind::Refused => repeat(&app, requests, |at| attempt(cookie(at)), "欢迎再次秒杀").await,
        Kind::Won => win(&app, state, sale, &cookies[..requests]).await,
        Kind::Ordered => order(&app, state, &cookies[..requests]).await,
    }
}

async fn arm(state: &State, units: i64) -> anyhow::Result<SaleId> {
    bring_in(state, units).await?;
    let sale = NewFlashSale {
        sku_id: SKU,
        price: Money(100),
        count: units,
        per_user_limit: 1,
        starts_at: Timestamp(0),
        ends_at: Timestamp(i64::MAX / 2),
        challenge: ChallengeMode::Off,
    };
    let sale = state.sales.create(sale).await?;
    state.sales.arm(sale.id).await?;
    Ok(sale.id)
}

async fn bring_in(state: &State, units: i64) -> anyhow::Result<()> {
    let adjustment = AdjustStock { sku_id: SKU, ware_id: WareId(1), delta: units, reason: "bench".into() };
    state.writer.commit(adjustment).await?;
    Ok(())
}

fn peer() -> std::net::SocketAddr {
    std::net::SocketAddr::from(([127, 0, 0, 1], 4711))
}

fn attempt(cookie: &str) -> TestRequest {
    post(&format!("/miaosha/{SKU}"), cookie)
}

fn post(path: &str, cookie: &str) -> TestRequest {
    TestRequest::post()
        .uri(path)
        .peer_addr(peer())
        .insert_header(("host", "127.0.0.1"))
        .insert_header(("cookie", cookie))
}

async fn send<B: MessageBody>(
    app: &impl Service<Request, Response = ServiceResponse<B>, Error = Error>,
    request: TestRequest,
) -> anyhow::Result<String> {
    let answer = app.call(request.to_request()).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let body = actix_web::body::to_bytes(answer.into_body()).await.map_err(|_| anyhow::anyhow!("no body"))?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

async fn repeat<B: MessageBody>(
    app: &impl Service<Request, Response = ServiceResponse<B>, Error = Error>,
    requests: usize,
    request: impl Fn(usize) -> TestRequest,
    expected: &str,
) -> anyhow::Result<()> {
    for at in 0..requests {
        let body = send(app, request(at)).await?;
        ensure!(body.contains(expected), "{body}");
    }
    Ok(())
}

async fn win<B: MessageBody>(
    app: &impl Service<Request, Response = ServiceResponse<B>, Error = Error>,
    state: &State,
    sale: SaleId,
    cookies: &[String],
) -> anyhow::Result<()> {
    let mut won = 0;
    for wave in cookies.chunks(WAVE) {
        let mut last = None;
        for body in join_all(wave.iter().map(|cookie| send(app, attempt(cookie)))).await {
            last = Some(order_number(&body?)?);
        }
        won += i64::try_from(wave.len())?;
        // Looking for one order costs next to nothing; counting them all costs more than a request.
        let last: Vec<OrderSn> = last.into_iter().collect();
        until(|| async { state.store.unpaid_orders(&last).await.is_ok_and(|found| !found.is_empty()) }).await?;
    }
    until(|| async { state.store.sale_counts(sale).await.is_ok_and(|counts| counts.ordered == won) }).await
}

/// As `loadtest orders` does it, cash on delivery; ends when the goods of all orders have left the stock.
async fn order<B: MessageBody>(
    app: &impl Service<Request, Response = ServiceResponse<B>, Error = Error>,
    state: &State,
    cookies: &[String],
) -> anyhow::Result<()> {
    let on_hand = async || anyhow::Ok(state.store.stock_rows(SKU).await?.iter().map(|row| row.stock).sum::<i64>());
    let before = on_hand().await?;
    for wave in cookies.chunks(WAVE) {
        let orders = wave.iter().map(async |cookie| {
            let page = post("/order/confirm", cookie).set_json(serde_json::json!({ SKU.to_string(): 1 }));
            let page: serde_json::Value = serde_json::from_str(&send(app, page).await?)?;
            let submit = serde_json::json!({
                "orderToken": page["data"]["orderToken"],
                "totalPrice": page["data"]["orderItems"][0]["price"],
                "payType": 1, "orderItems": [{"skuId": SKU.0, "count": 1}],
                "name": "李先锋", "phone": "13888888888", "province": "上海", "city": "上海市",
                "detailAddress": "大江大厦6层",
            });
            let answer = send(app, post("/order/submit", cookie).set_json(submit)).await?;
            ensure!(answer.contains("\"orderSn\""), "{answer}");
            Ok(())
        });
        join_all(orders).await.into_iter().collect::<anyhow::Result<()>>()?;
    }
    let left = before - i64::try_from(cookies.len())?;
    until(|| async { on_hand().await.is_ok_and(|now| now == left) }).await
}

fn order_number(body: &str) -> anyhow::Result<OrderSn> {
    let answer: serde_json::Value = serde_json::from_str(body)?;
    let number = answer["data"]["orderSn"].as_str().filter(|_| answer["code"] == 0);
    OrderSn::parse(number.with_context(|| body.to_owned())?).context("not an order number")
}

async fn until<F: Future<Output = bool>>(reached: impl Fn() -> F) -> anyhow::Result<()> {
    for _ in 0..1_200 {
        if reached().await {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    anyhow::bail!("not reached within a minute")
}
