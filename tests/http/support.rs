//! Starts the server and talks to it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::place::{self, Database};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a program until our end of its input closes, then kills it and removes its directory. A shared server is held
/// this way: a `static` is never dropped, but its pipe closes with the test process.
const TETHER: &str =
    r#"d="$1"; shift; "$@" </dev/null & s=$!; echo "pid $s"; cat >/dev/null; kill -9 $s; wait $s; rm -rf "$d""#;

/// Every server of the tests: on free ports, and without rates, which only the tests of limits want.
const SETTINGS: [(&str, &str); 6] = [
    ("server.listen", "127.0.0.1:0"),
    ("server.internal_listen", "127.0.0.1:0"),
    ("server.drain_pause", "0s"),
    ("limits.per_ip", "off"),
    ("limits.per_user", "off"),
    ("limits.seckill_per_user", "off"),
];

/// A running server.
pub struct Server {
    /// `http://127.0.0.1:PORT` of the public listener.
    pub public: String,
    /// The same of the internal one.
    pub internal: String,
    /// Its data.
    pub data_dir: PathBuf,
    /// What opens the internal listener.
    pub service_token: String,
    child: Child,
    log: Arc<Mutex<String>>,
    next_user: AtomicI64,
    _home: Option<TempDir>,
}

/// The command with the settings of the tests and nothing of this process's environment.
pub fn seckill(data_dir: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seckill"));
    add_arguments(&mut command, data_dir, settings);
    command
}

fn add_arguments(command: &mut Command, data_dir: &Path, settings: &[(&str, &str)]) {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.arg("--data-dir").arg(data_dir);
    let place = place::settings(data_dir);
    let place = place.iter().map(|(key, value)| (*key, value.as_str()));
    for (key, value) in SETTINGS.into_iter().chain(place).chain(settings.iter().copied()) {
        command.arg("--set").arg(format!("{key}={value}"));
    }
}

impl Server {
    /// A server of this test alone, stopped when dropped.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut server = Self::start_on(home.path(), settings);
        server._home = Some(home);
        server
    }

    /// A server on a data directory that outlives it.
    pub fn start_on(data_dir: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = seckill(data_dir, settings);
        command.stdin(Stdio::null());
        Self::spawn(command, data_dir.to_owned())
    }

    /// The server in `cell`, started by whoever comes first and killed when the test process ends.
    pub fn shared(cell: &'static OnceLock<Self>, settings: &[(&str, &str)]) -> &'static Self {
        cell.get_or_init(|| {
            let data_dir = tempfile::tempdir().unwrap().keep();
            let mut command = Command::new("sh");
            command.args(["-c", TETHER, "sh"]).arg(&data_dir).arg(env!("CARGO_BIN_EXE_seckill"));
            add_arguments(&mut command, &data_dir, settings);
            command.stdin(Stdio::piped());
            Self::spawn(command, data_dir)
        })
    }

    fn spawn(mut command: Command, data_dir: PathBuf) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        keep_lines(child.stdout.take().unwrap(), &log);
        keep_lines(child.stderr.take().unwrap(), &log);
        let mut server = Self {
            public: String::new(),
            internal: String::new(),
            data_dir,
            service_token: String::new(),
            child,
            log,
            next_user: AtomicI64::new(2),
            _home: None,
        };
        server.read_banner();
        server.service_token = place::service_token(&server.data_dir);
        server
    }

    /// The addresses are printed once the server is ready.
    fn read_banner(&mut self) {
        let started = Instant::now();
        loop {
            let log = self.log();
            let url = |name: &str| {
                let line = log.lines().find_map(|line| line.trim_start().strip_prefix(name))?;
                Some(line.trim().split('/').take(3).collect::<Vec<_>>().join("/"))
            };
            if let (Some(public), Some(internal), true) = (url("buyers "), url("internal "), log.contains("  data ")) {
                (self.public, self.internal) = (public, internal);
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "no start ({ended:?}):\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything that was printed and logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// No part of the server has panicked.
    pub fn assert_no_panic(&self) {
        let log = self.log();
        assert!(!log.contains("panicked at"), "the server panicked:\n{log}");
    }

    /// SIGTERM, and how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Sends a signal. Only for servers that are not shared.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "no end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `--data-dir` and the settings of the tests for another command on the same data.
    pub fn command(&self) -> Command {
        seckill(&self.data_dir, &[])
    }

    /// The database, beside the server.
    pub async fn database(&self) -> Database {
        Database::open(&self.data_dir).await
    }

    /// A demo member that no other test of this server uses.
    pub async fn new_buyer(&self) -> Buyer {
        self.buyer(self.next_user.fetch_add(1, Ordering::Relaxed)).await
    }

    /// A demo member, logged in.
    pub async fn buyer(&self, user: i64) -> Buyer {
        let http = client();
        let login = send(http.post(format!("{}/demo/login", self.public)).json(&json!({"userId": user}))).await;
        assert_eq!(login.status, 200, "{}", login.text);
        let cookie = login.header("set-cookie").split(';').next().unwrap().to_owned();
        let token = cookie.strip_prefix("GMALL_TOKEN=").unwrap().to_owned();
        Buyer { http, base: self.public.clone(), user, token }
    }

    /// The internal listener, with the service token.
    pub fn staff(&self) -> Staff {
        Staff { http: client(), base: self.internal.clone(), token: self.service_token.clone() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keep_lines(stream: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// A client of this test's runtime.
pub fn client() -> Client {
    let policy = reqwest::redirect::Policy::none();
    Client::builder().no_proxy().redirect(policy).timeout(PATIENCE).build().unwrap()
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {} {:?}", self.status, self.text))
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `data` of the course's envelope, which must have code 0.
    pub fn data(&self) -> Value {
        let mut body = self.json();
        assert_eq!((self.status, &body["code"], &body["msg"]), (200, &json!(0), &json!("success")), "{body}");
        body["data"].take()
    }

    /// Status, and the envelope's code and message.
    pub fn said(&self) -> (u16, i64, String) {
        let body = self.json();
        (self.status, body["code"].as_i64().unwrap(), body["msg"].as_str().unwrap().to_owned())
    }

    /// A whole problem document with this status and code.
    pub fn assert_problem(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status, self.header("content-type")), (status, "application/problem+json"), "{body}");
        assert_eq!(body["type"], format!("/problems/{code}"), "{body}");
        assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{body}");
        assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{body}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
        assert!(body["instance"].as_str().is_some_and(|path| path.starts_with('/')), "{body}");
        body
    }
}

/// Sends it and reads the answer.
pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}

/// Bytes as they are on a connection of their own; status and everything that came back.
pub async fn raw(base: &str, bytes: &[u8]) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    // Reset, for the bytes that the server did not want, is an end as well.
    while !is_whole(&answer)
        && matches!(tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap(), Ok(1..))
    {}
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

/// Whether an answer is there to its last byte; one to HEAD never is, and ends with its connection.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

/// Waits for a state.
pub async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !reached().await {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An idempotency key that no other request has.
pub fn fresh_key() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    format!("test-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed))
}

/// A logged-in demo member.
#[derive(Clone)]
pub struct Buyer {
    pub http: Client,
    pub base: String,
    pub user: i64,
    pub token: String,
}

impl Buyer {
    /// A request with the login in the header.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// POST under a key of its own.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).header("idempotency-key", fresh_key()).json(body)).await
    }

    /// POST without a body, under a key of its own.
    pub async fn call(&self, path: &str) -> Answer {
        send(self.request(Method::POST, path).header("idempotency-key", fresh_key())).await
    }

    /// The confirm page of some units of SKU 48.
    pub async fn confirm(&self, wants: Value) -> Value {
        self.post("/order/confirm", &wants).await.data()
    }

    /// A submit of units of one SKU with a fresh token.
    pub async fn submission(&self, sku_id: i64, count: u32, pay_type: u8) -> Value {
        let page = self.confirm(json!({sku_id.to_string(): count})).await;
        submission(page["orderToken"].as_str().unwrap(), sku_id, count, pay_type)
    }

    /// An unpaid order of units of SKU 48: its number and its pay form.
    pub async fn order(&self, count: u32) -> (String, PayForm) {
        let body = self.submission(48, count, 0).await;
        let html = self.post("/order/submit", &body).await.data();
        let form = PayForm::read(html.as_str().unwrap());
        (form.order_sn.clone(), form)
    }

    /// An order as REST v1 shows it.
    pub async fn v1_order(&self, order_sn: &str) -> Value {
        let answer = self.get(&format!("/api/v1/orders/{order_sn}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// Waits until an order has a status.
    pub async fn until_status(&self, order_sn: &str, status: &str) {
        until(status, async || self.v1_order(order_sn).await["status"] == status).await;
    }
}

/// A whole OrderSubmitVO at the demo's price of 10000.
pub fn submission(token: &str, sku_id: i64, count: u32, pay_type: u8) -> Value {
    json!({
        "orderToken": token, "totalPrice": 10000 * count, "payType": pay_type, "delivery_company": "顺丰速运",
        "orderItems": [{
            "skuId": sku_id, "title": "apple", "defaultImage": "https://example.com/a.jpg", "price": 10000,
            "count": count, "skuAttrValue": [], "skuSaleVO": null,
        }],
        "name": "李先锋", "phone": "13888888888", "postCode": "200122", "province": "上海", "city": "上海市",
        "region": "松江区", "detailAddress": "大江大厦6层", "areacode": "12121", "defaultStatus": 1,
    })
}

/// The pay form as a browser reads it.
#[derive(Clone, Debug)]
pub struct PayForm {
    pub action: String,
    pub biz_content: String,
    pub order_sn: String,
}

/// The value of an attribute, from what stands in front of it.
pub fn attribute(html: &str, before: &str) -> String {
    let (_, rest) = html.split_once(before).unwrap_or_else(|| panic!("no {before} in {html}"));
    let value = rest.split_once('"').unwrap().0;
    value.replace("&quot;", "\"").replace("&#34;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

impl PayForm {
    pub fn read(html: &str) -> Self {
        let biz_content = attribute(html, r#"name="biz_content" value=""#);
        let content: Value = serde_json::from_str(&biz_content).unwrap();
        let order_sn = content["out_trade_no"].as_str().unwrap().to_owned();
        Self { action: attribute(html, r#"action=""#), biz_content, order_sn }
    }

    /// Opens the cashier and presses "pay"; where the browser is sent.
    pub async fn pay(&self, http: &Client) -> String {
        let cashier = send(http.post(&self.action).form(&[("biz_content", &self.biz_content)])).await;
        assert_eq!(cashier.status, 200, "{}", cashier.text);
        let token = attribute(&cashier.text, r#"name="token" value=""#);
        let pay = self.action.split("/gateway.do").next().unwrap().to_owned() + "/pay";
        let pressed = send(http.post(pay).form(&[("out_trade_no", self.order_sn.as_str()), ("token", &token)])).await;
        assert_eq!(pressed.status, 303, "{}", pressed.text);
        pressed.header("location").to_owned()
    }
}

/// Another service, or staff.
#[derive(Clone)]
pub struct Staff {
    pub http: Client,
    pub base: String,
    pub token: String,
}

impl Staff {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// Units on hand and locked of a SKU.
    pub async fn stock(&self, sku_id: i64) -> (i64, i64) {
        let body = self.get(&format!("/admin/v1/stock/{sku_id}")).await.json();
        (body["stock"].as_i64().unwrap(), body["locked"].as_i64().unwrap())
    }

    /// A flash sale that begins `starts_in` seconds from now and lasts an hour.
    pub async fn new_sale(&self, sku_id: i64, count: i64, starts_in: i64) -> String {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = chrono::DateTime::from_timestamp(since_1970.as_secs().cast_signed(), 0).unwrap();
        let at = |seconds| (now + chrono::Duration::seconds(seconds)).to_rfc3339();
        let body = json!({
            "sku_id": sku_id.to_string(), "price": "4999.00", "count": count, "per_user_limit": 1,
            "starts_at": at(starts_in), "ends_at": at(starts_in + 3600),
        });
        let answer = self.post("/admin/v1/flash-sales", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// A step in the life of a flash sale.
    pub async fn sale_step(&self, id: &str, verb: &str) -> Answer {
        send(self.request(Method::POST, &format!("/admin/v1/flash-sales/{id}/{verb}"))).await
    }

    pub async fn sale(&self, id: &str) -> Value {
        self.get(&format!("/admin/v1/flash-sales/{id}")).await.json()
    }
}
