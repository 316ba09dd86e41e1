//! A shop and a gateway on one loopback port, and a buyer's browser.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use actors::domain::{Money, OrderSn, Timestamp};
use actors::ports::clock::{Clock, Entropy};
use actors::ports::gateway::{Gateway, PayPage};
use reqwest::{Response, Url};
use seckill::gateway::alipay::{AlipayClient, AlipaySettings, CallLimits};
use seckill::gateway::sandbox::keys::SandboxKeyFiles;
use seckill::gateway::sandbox::ledger::{MemoryLedger, PendingNotification, SandboxLedger};
use seckill::gateway::sandbox::{Sandbox, SandboxSettings, configure, keys, notifier};
use tokio_util::sync::CancellationToken;

/// A clock that stands still until it is moved.
pub struct StillClock(AtomicI64);

impl StillClock {
    /// 2026-01-01 08:00:00 in GMT+8.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_767_225_600_000)))
    }

    pub fn pass(&self, duration: Duration) {
        self.0.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Random bits from a printed seed (SplitMix64); `SEED` in the environment repeats a run.
pub struct Seeded(AtomicU64);

impl Seeded {
    pub fn new() -> Arc<Self> {
        let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_260_101);
        eprintln!("SEED={seed}");
        Arc::new(Self(AtomicU64::new(seed)))
    }
}

impl Entropy for Seeded {
    fn next_u64(&self) -> u64 {
        let mut mixed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// What the shop's notification address received, and what it answers (then `success`).
#[derive(Default)]
pub struct Inbox {
    pub bodies: Mutex<Vec<Vec<u8>>>,
    pub answers: Mutex<VecDeque<(u16, &'static str)>>,
}

impl Inbox {
    pub fn received(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }

    pub fn body(&self, number: usize) -> Vec<u8> {
        self.bodies.lock().unwrap()[number].clone()
    }
}

async fn receive(inbox: web::Data<Inbox>, body: web::Bytes) -> HttpResponse {
    inbox.bodies.lock().unwrap().push(body.to_vec());
    let (status, answer) = inbox.answers.lock().unwrap().pop_front().unwrap_or((200, "success"));
    HttpResponse::build(status.try_into().unwrap()).content_type("text/plain").body(answer)
}

/// A running shop and gateway.
pub struct Stage {
    pub clock: Arc<StillClock>,
    pub sandbox: Arc<Sandbox>,
    pub client: AlipayClient,
    pub inbox: Arc<Inbox>,
    pub base: String,
    pub key_files: SandboxKeyFiles,
    pub stop: CancellationToken,
    server: ServerHandle,
}

impl Stage {
    pub async fn start() -> Self {
        Self::start_with(Arc::new(MemoryLedger::new()), StillClock::new()).await
    }

    pub async fn start_with(ledger: Arc<dyn SandboxLedger>, clock: Arc<StillClock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let key_files = key_files();
        let entropy = Seeded::new();
        let sandbox = Sandbox::new(
            SandboxSettings::default(),
            key_files.load_gateway().unwrap(),
            ledger,
            clock.clone(),
            entropy.clone(),
        );
        let inbox = Arc::new(Inbox::default());
        let (for_server, inbox_for_server) = (sandbox.clone(), inbox.clone());
        let server = HttpServer::new(move || {
            App::new()
                .configure(configure(for_server.clone()))
                .app_data(web::Data::from(inbox_for_server.clone()))
                .route("/notify", web::post().to(receive))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let stop = CancellationToken::new();
        actix_web::rt::spawn(notifier::run(sandbox.clone(), stop.clone()));
        let client = AlipayClient::new(
            settings(&base),
            key_files.load_client().unwrap(),
            CallLimits::default(),
            clock.clone(),
            entropy,
        );
        let client = client.unwrap();
        Self { clock, sandbox, client, inbox, base, key_files, stop, server: handle }
    }

    /// Later than any pause of a notification.
    pub fn far_future(&self) -> Timestamp {
        self.clock.now().plus(Duration::from_secs(30 * 24 * 3600))
    }

    /// Notifications that are not done yet.
    pub async fn due_ever(&self) -> Vec<PendingNotification> {
        self.sandbox.ledger().due(self.far_future(), 100).await.unwrap()
    }

    /// Opens the cashier as a browser does: posts the form that the client made.
    pub async fn open_cashier(&self, page: &PayPage) -> Response {
        let form = PayForm::read(&self.client.pay_form(page).await.unwrap());
        form.post().await
    }

    /// Opens the cashier and takes the token out of its page.
    pub async fn cashier_token(&self, page: &PayPage) -> String {
        let response = self.open_cashier(page).await;
        assert_eq!(response.status(), 200);
        attribute(&response.text().await.unwrap(), r#"name="token" value=""#)
    }

    /// Presses a button of the cashier.
    pub async fn press(&self, button: &str, page: &PayPage, token: &str) -> Response {
        let form = [("out_trade_no", page.order_sn.as_str()), ("token", token)];
        browser().post(format!("{}/sandbox/{button}", self.base)).form(&form).send().await.unwrap()
    }

    /// Opens the cashier and pays.
    pub async fn pay(&self, page: &PayPage) {
        let token = self.cashier_token(page).await;
        assert_eq!(self.press("pay", page, &token).await.status(), 303);
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.server.stop(false).await;
    }
}

/// Keys of all tests: making them takes longer than most tests.
pub fn key_files() -> SandboxKeyFiles {
    static FILES: OnceLock<SandboxKeyFiles> = OnceLock::new();
    FILES.get_or_init(|| keys::generate(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap()).clone()
}

pub fn settings(base: &str) -> AlipaySettings {
    AlipaySettings {
        app_id: "2021000000000001".to_owned(),
        seller_id: "2088000000000001".to_owned(),
        gateway_url: format!("{base}/sandbox/gateway.do"),
        notify_url: format!("{base}/notify"),
        return_url: format!("{base}/orders?from=alipay"),
    }
}

/// A page that can be paid for 30 minutes.
pub fn pay_page(order_sn: &str, fen: i64) -> PayPage {
    PayPage {
        order_sn: OrderSn::parse(order_sn).unwrap(),
        amount: Money(fen),
        subject: "Phone X 8G 白色".to_owned(),
        issued_at: StillClock::new().now(),
        expires_at: StillClock::new().now().plus(Duration::from_secs(30 * 60)),
    }
}

/// The pay form as a browser reads it.
pub struct PayForm {
    pub action: String,
    pub biz_content: String,
}

impl PayForm {
    pub fn read(html: &str) -> Self {
        assert!(html.contains(r#"method="post""#), "{html}");
        let action = attribute(html, r#"action=""#);
        Self { action, biz_content: attribute(html, r#"<input type="hidden" name="biz_content" value=""#) }
    }

    pub async fn post(&self) -> Response {
        browser().post(&self.action).form(&[("biz_content", &self.biz_content)]).send().await.unwrap()
    }

    pub fn parameter(&self, name: &str) -> Option<String> {
        let url = Url::parse(&self.action).unwrap();
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// The value of the attribute that begins behind `before`.
pub fn attribute(html: &str, before: &str) -> String {
    let start = html.find(before).unwrap_or_else(|| panic!("{before} in {html}")) + before.len();
    let end = html[start..].find('"').unwrap();
    let escaped = &html[start..start + end];
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(escaped.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

pub fn browser() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(10))
        .tls_certs_only([])
        .build()
        .unwrap()
}

/// Waits for a state, at most 20 s.
pub async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
