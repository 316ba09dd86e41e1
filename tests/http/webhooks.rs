//! Webhooks against a receiver of this test: what it hears, how it is signed, and what happens when it behaves badly.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Answer, Buyer, Server, Staff, send, until};

const SETTINGS: &[(&str, &str)] = &[
    ("webhooks.allow_private", "true"),
    ("webhooks.poll_interval", "20ms"),
    ("webhooks.timeout", "500ms"),
    ("webhooks.retry_pauses", r#"["20ms", "20ms", "20ms"]"#),
];

static SHOP: OnceLock<Server> = OnceLock::new();

fn shop() -> &'static Server {
    Server::shared(&SHOP, SETTINGS)
}

/// What the receiver does with a message.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Answers with this status.
    Says(u16),
    /// Reads and never answers.
    Silent,
    /// Answers 200 and goes on without an end.
    Endless,
    /// Reads and closes.
    Dies,
}

/// A message as it arrived.
#[derive(Clone, Debug)]
struct Heard {
    head: String,
    body: String,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        });
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The signatures, each checked to be `v1`, without it.
    fn signatures(&self) -> Vec<&str> {
        let all = self.header("webhook-signature").split(' ');
        all.map(|one| one.strip_prefix("v1,").expect("version 1")).collect()
    }
}

/// What a receiver computes by itself, from the text of the specification.
fn signed(secret: &str, heard: &Heard) -> String {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let (id, timestamp) = (heard.header("webhook-id"), heard.header("webhook-timestamp"));
    let content = format!("{id}.{timestamp}.{}", heard.body);
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), content.as_bytes()))
}

/// A receiver on loopback. Each message meets its manners one after the other, then the last one again and again.
struct Receiver {
    url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    manners: Arc<Mutex<Vec<Manner>>>,
}

impl Receiver {
    async fn start(manners: &[Manner]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let manners = Arc::new(Mutex::new(manners.to_vec()));
        let (hearing, behaving) = (heard.clone(), manners.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, hearing.clone(), behaving.clone()));
            }
        });
        Self { url, heard, manners }
    }

    fn behave(&self, manner: Manner) {
        *self.manners.lock().unwrap() = vec![manner];
    }

    /// What was heard of an order so far.
    fn of(&self, order_sn: &str) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|heard| heard.json()["data"]["order_sn"] == order_sn).cloned().collect()
    }

    async fn until_heard(&self, order_sn: &str, count: usize) -> Vec<Heard> {
        until("the receiver has heard it", async || self.of(order_sn).len() >= count).await;
        self.of(order_sn)
    }
}

async fn serve(mut stream: TcpStream, heard: Arc<Mutex<Vec<Heard>>>, manners: Arc<Mutex<Vec<Manner>>>) {
    let mut bytes = Vec::new();
    let message = loop {
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0_usize) {
            break Heard { head: head.to_owned(), body: body.to_owned() };
        }
    };
    let manner = {
        let mut heard = heard.lock().unwrap();
        let id = message.header("webhook-id").to_owned();
        let tries = heard.iter().filter(|earlier| earlier.header("webhook-id") == id).count();
        heard.push(message);
        let manners = manners.lock().unwrap();
        manners[tries.min(manners.len() - 1)]
    };
    // Whoever is not read to the end may be gone: writing to it fails, and that is fine.
    match manner {
        Manner::Says(status) => {
            let location = "location: http://127.0.0.1:9/elsewhere\r\n";
            let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n{location}connection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
        }
        Manner::Silent => drop(stream.read_buf(&mut bytes).await),
        Manner::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
        Manner::Dies => {}
    }
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn created(staff: &Staff, url: &str, events: &[&str]) -> Answer {
    let made = staff.post("/admin/v1/webhooks", &json!({"url": url, "events": events})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made
}

/// An endpoint at this receiver for this type: its path and its secret.
async fn webhook(staff: &Staff, receiver: &Receiver, events: &[&str]) -> (String, String) {
    let made = created(staff, &receiver.url, events).await;
    let body = made.json();
    (made.header("location").to_owned(), body["secret"].as_str().unwrap().to_owned())
}

async fn placed(buyer: &Buyer) -> String {
    buyer.order(1).await.0
}

/// The delivery of an order in the log of an endpoint.
async fn logged(staff: &Staff, path: &str, order_sn: &str) -> Option<Value> {
    let log = staff.get(&format!("{path}/deliveries?limit=100")).await;
    assert_eq!(log.status, 200, "{}", log.text);
    let log = log.json();
    log["data"].as_array().unwrap().iter().find(|row| row["payload"]["data"]["order_sn"] == order_sn).cloned()
}

/// Waits until the delivery of an order has a status.
async fn settled(staff: &Staff, path: &str, order_sn: &str, status: &str) -> Value {
    until(status, async || logged(staff, path, order_sn).await.is_some_and(|row| row["status"] == status)).await;
    logged(staff, path, order_sn).await.unwrap()
}

async fn removed(staff: &Staff, path: &str) {
    assert_eq!(send(staff.request(Method::DELETE, path)).await.status, 204);
}

#[tokio::test]
async fn messages_are_signed_after_standard_webhooks() {
    let (staff, buyer) = (shop().staff(), shop().new_buyer().await);
    let receiver = Receiver::start(&[Manner::Says(204)]).await;
    let (path, secret) = webhook(&staff, &receiver, &["order.placed", "order.closed"]).await;
    let order_sn = placed(&buyer).await;
    let cancelled = buyer.call(&format!("/api/v1/orders/{order_sn}/cancel")).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    let heard = receiver.until_heard(&order_sn, 2).await;
    for message in &heard {
        assert!(message.head.starts_with("POST /hooks HTTP/1.1"), "{}", message.head);
        assert_eq!(message.header("content-type"), "application/json");
        assert_eq!(message.signatures(), [signed(&secret, message)]);
        let sent_at: u64 = message.header("webhook-timestamp").parse().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(sent_at) < 60, "{sent_at}");
        let body = message.json();
        assert_eq!(keys(&body), BTreeSet::from(["data", "timestamp", "type"]));
        assert_eq!(keys(&body["data"]), BTreeSet::from(["order_sn", "status"]), "nobody is named");
        chrono::DateTime::parse_from_rfc3339(body["timestamp"].as_str().unwrap()).unwrap();
    }
    let mut told: Vec<(String, String)> = heard
        .iter()
        .map(|message| (message.json()["type"].to_string(), message.json()["data"]["status"].to_string()))
        .collect();
    told.sort();
    let quoted = |kind: &str, status: &str| (format!("\"{kind}\""), format!("\"{status}\""));
    assert_eq!(told, [quoted("order.closed", "closed"), quoted("order.placed", "awaiting_payment")]);
    assert_ne!(heard[0].header("webhook-id"), heard[1].header("webhook-id"));

    let row = settled(&staff, &path, &order_sn, "delivered").await;
    assert_eq!((&row["tries"], &row["last_http_status"], &row["last_error"]), (&json!(1), &json!(204), &json!(null)));
    assert_eq!(row["next_try_at"], json!(null));
    for page in [path.as_str(), "/admin/v1/webhooks"] {
        assert!(!staff.get(page).await.text.contains("whsec_"), "a secret is shown once");
    }
    removed(&staff, &path).await;
}

#[tokio::test]
async fn what_fails_is_tried_again_under_the_same_id() {
    let (staff, buyer) = (shop().staff(), shop().new_buyer().await);
    let receiver = Receiver::start(&[Manner::Says(500), Manner::Dies, Manner::Says(200)]).await;
    let (path, secret) = webhook(&staff, &receiver, &["order.placed"]).await;
    let order_sn = placed(&buyer).await;
    let row = settled(&staff, &path, &order_sn, "delivered").await;
    assert_eq!((&row["tries"], &row["last_http_status"], &row["last_error"]), (&json!(3), &json!(200), &json!(null)));
    let heard = receiver.of(&order_sn);
    assert_eq!(heard.len(), 3);
    for message in &heard {
        assert_eq!(message.header("webhook-id"), row["message_id"].as_str().unwrap());
        assert_eq!(message.body, heard[0].body);
        assert_eq!(message.signatures(), [signed(&secret, message)]);
    }
    removed(&staff, &path).await;
}

#[tokio::test]
async fn what_keeps_failing_is_given_up_and_can_be_sent_again() {
    let (staff, buyer) = (shop().staff(), shop().new_buyer().await);
    let receiver = Receiver::start(&[Manner::Says(503)]).await;
    let (path, _) = webhook(&staff, &receiver, &["order.placed"]).await;
    let order_sn = placed(&buyer).await;
    let row = settled(&staff, &path, &order_sn, "failed").await;
    assert_eq!((&row["tries"], &row["last_http_status"]), (&json!(4), &json!(503)), "three pauses, four tries");
    assert_eq!((&row["last_error"], &row["next_try_at"]), (&json!("HTTP status 503"), &json!(null)));
    assert_eq!(receiver.of(&order_sn).len(), 4);

    receiver.behave(Manner::Says(200));
    let again = format!("{path}/deliveries/{}/redeliver", row["id"].as_str().unwrap());
    let due = staff.post(&again, &json!({})).await;
    assert_eq!((due.status, &due.json()["status"]), (202, &json!("pending")), "{}", due.text);
    let row = settled(&staff, &path, &order_sn, "delivered").await;
    let heard = receiver.of(&order_sn);
    assert_eq!((&row["tries"], heard.len()), (&json!(1), 5));
    assert_eq!(heard[4].header("webhook-id"), heard[0].header("webhook-id"));
    staff.post(&format!("{path}/deliveries/4711000/redeliver"), &json!({})).await.assert_problem(404, "not-found");
    removed(&staff, &path).await;
    staff.post(&again, &json!({})).await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn receivers_that_misbehave_cost_a_try() {
    let (staff, buyer) = (shop().staff(), shop().new_buyer().await);
    for (manner, status, error) in [
        (Manner::Silent, json!(null), "no answer in time"),
        (Manner::Dies, json!(null), "connection broken"),
        (Manner::Says(302), json!(302), "HTTP status 302"),
    ] {
        let receiver = Receiver::start(&[manner]).await;
        let (path, _) = webhook(&staff, &receiver, &["order.placed"]).await;
        let order_sn = placed(&buyer).await;
        let row = settled(&staff, &path, &order_sn, "failed").await;
        assert_eq!(row["last_http_status"], status, "{manner:?}");
        assert!(row["last_error"].as_str().unwrap().starts_with(error), "{manner:?}: {row}");
        removed(&staff, &path).await;
    }
    // Nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let path = created(&staff, &url, &["order.placed"]).await.header("location").to_owned();
    let order_sn = placed(&buyer).await;
    let row = settled(&staff, &path, &order_sn, "failed").await;
    assert!(row["last_error"].as_str().unwrap().starts_with("no connection"), "{row}");
    removed(&staff, &path).await;
    shop().assert_no_panic();
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    let (staff, buyer) = (shop().staff(), shop().new_buyer().await);
    let receiver = Receiver::start(&[Manner::Endless]).await;
    let (path, _) = webhook(&staff, &receiver, &["order.placed"]).await;
    let order_sn = placed(&buyer).await;
    let row = settled(&staff, &path, &order_sn, "delivered").await;
    assert_eq!((&row["tries"], &row["last_http_status"]), (&json!(1), &json!(200)));
    removed(&staff, &path).await;
}

#[tokio::test]
async fn a_slow_receiver_holds_up_no_other() {
    let (staff, buyer) = (shop().staff(), shop().new_buyer().await);
    let (slow, quick) = (Receiver::start(&[Manner::Silent]).await, Receiver::start(&[Manner::Says(200)]).await);
    let (slow_path, _) = webhook(&staff, &slow, &["order.placed"]).await;
    let (quick_path, _) = webhook(&staff, &quick, &["order.placed"]).await;
    let order_sn = placed(&buyer).await;
    settled(&staff, &quick_path, &order_sn, "delivered").await;
    let row = logged(&staff, &slow_path, &order_sn).await.unwrap();
    assert_eq!(row["status"], "pending", "{row}");
    removed(&staff, &slow_path).await;
    removed(&staff, &quick_path).await;
}

#[tokio::test]
async fn both_secrets_sign_after_a_rotation() {
    let (staff, buyer) = (shop().staff(), shop().new_buyer().await);
    let receiver = Receiver::start(&[Manner::Says(200)]).await;
    let (path, former) = webhook(&staff, &receiver, &["order.placed"]).await;
    let tag = staff.get(&path).await.header("etag").to_owned();
    let rotated = staff.post(&format!("{path}/rotate-secret"), &json!({})).await;
    assert_eq!((rotated.status, rotated.header("cache-control")), (200, "no-store"), "{}", rotated.text);
    assert_ne!(rotated.header("etag"), tag);
    let body = rotated.json();
    assert!(body["former_secret_until"].is_string(), "{body}");
    let current = body["secret"].as_str().unwrap().to_owned();
    assert_ne!(current, former);
    let order_sn = placed(&buyer).await;
    let message = receiver.until_heard(&order_sn, 1).await.remove(0);
    assert_eq!(message.signatures(), [signed(&current, &message), signed(&former, &message)]);
    removed(&staff, &path).await;
    staff.post(&format!("{path}/rotate-secret"), &json!({})).await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn who_is_gone_is_told_nothing_more() {
    let server = Server::start(SETTINGS);
    let (staff, buyer) = (server.staff(), server.new_buyer().await);
    let receiver = Receiver::start(&[Manner::Says(410)]).await;
    let (path, _) = webhook(&staff, &receiver, &["order.placed"]).await;
    let order_sn = placed(&buyer).await;
    let row = settled(&staff, &path, &order_sn, "failed").await;
    assert_eq!((&row["tries"], &row["last_http_status"]), (&json!(1), &json!(410)));
    let shown = staff.get(&path).await;
    assert_eq!(shown.json()["enabled"], false);
    let again = format!("{path}/deliveries/{}/redeliver", row["id"].as_str().unwrap());
    staff.post(&again, &json!({})).await.assert_problem(409, "wrong-state");
    let unheard = placed(&buyer).await;
    assert_eq!(logged(&staff, &path, &unheard).await, None, "nothing is recorded");

    receiver.behave(Manner::Says(200));
    let edit = staff.request(Method::PATCH, &path).header("if-match", shown.header("etag"));
    assert_eq!(send(edit.json(&json!({"enabled": true}))).await.json()["enabled"], true);
    let order_sn = placed(&buyer).await;
    settled(&staff, &path, &order_sn, "delivered").await;
    assert_eq!((receiver.of(&unheard).len(), receiver.of(&order_sn).len()), (0, 1));
}

#[tokio::test]
async fn staff_keep_endpoints() {
    let server = Server::start(&[("webhooks.max_endpoints", "2")]);
    let staff = server.staff();
    let url = "https://erp.example/hooks";
    let bad = async |body: Value, field: &str| {
        let problem = staff.post("/admin/v1/webhooks", &body).await.assert_problem(400, "validation");
        assert_eq!(problem["field"], field, "{problem}");
    };
    bad(json!({"url": url, "events": []}), "events").await;
    bad(json!({"url": url, "events": ["order.paid", "order.lost"]}), "events[1]").await;
    bad(json!({"url": url, "events": ["order.paid"], "secret": "x"}), "secret").await;
    for inside in [
        "",
        "erp",
        "http://erp.example/",
        "ftp://erp.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://anna:pw@erp.example/",
    ] {
        bad(json!({"url": inside, "events": ["order.paid"]}), "url").await;
    }

    let first = created(&staff, url, &["order.paid"]).await;
    let path = first.header("location").to_owned();
    assert_eq!(first.header("cache-control"), "no-store");
    assert!(first.json()["secret"].as_str().unwrap().starts_with("whsec_"));
    let second = created(&staff, url, &["order.paid", "return.settled"]).await;
    assert_eq!(second.json()["events"], json!(["order.paid", "return.settled"]));
    let third = staff.post("/admin/v1/webhooks", &json!({"url": url, "events": ["order.paid"]})).await;
    third.assert_problem(409, "conflict");

    let page = staff.get("/admin/v1/webhooks?limit=1").await.json();
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&second.json()["id"], &json!(true)));
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = staff.get(&format!("/admin/v1/webhooks?limit=1&cursor={cursor}")).await.json();
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&first.json()["id"], &json!(false)));

    let patch = |tag: &str| staff.request(Method::PATCH, &path).header("if-match", tag);
    let change = json!({"events": ["order.shipped"], "enabled": false});
    send(staff.request(Method::PATCH, &path).json(&change)).await.assert_problem(428, "version-missing");
    send(patch("\"0-0\"").json(&change)).await.assert_problem(412, "version-conflict");
    let tag = first.header("etag");
    send(patch(tag).json(&json!({"url": "https://127.0.0.1/"}))).await.assert_problem(400, "validation");
    let changed = send(patch(tag).json(&change)).await;
    let body = changed.json();
    assert_eq!((changed.status, &body["enabled"], &body["events"]), (200, &json!(false), &json!(["order.shipped"])));
    assert_eq!(body["url"], url, "what is left out stays");
    send(patch(tag).json(&change)).await.assert_problem(412, "version-conflict");
    assert_eq!(staff.get(&path).await.header("etag"), changed.header("etag"));

    removed(&staff, &path).await;
    for (method, sub) in [("GET", ""), ("DELETE", ""), ("GET", "/deliveries"), ("POST", "/rotate-secret")] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        send(staff.request(method, &format!("{path}{sub}"))).await.assert_problem(404, "not-found");
    }
    server.assert_no_panic();
}

#[tokio::test]
async fn the_log_is_read_page_by_page() {
    let server = Server::start(SETTINGS);
    let (staff, buyer) = (server.staff(), server.new_buyer().await);
    let receiver = Receiver::start(&[Manner::Says(200)]).await;
    let (path, _) = webhook(&staff, &receiver, &["order.placed"]).await;
    let mut orders = Vec::new();
    for _ in 0..3 {
        let order_sn = placed(&buyer).await;
        settled(&staff, &path, &order_sn, "delivered").await;
        orders.insert(0, order_sn);
    }
    let mut seen = Vec::new();
    let mut query = "?limit=2&status=delivered".to_owned();
    loop {
        let page = staff.get(&format!("{path}/deliveries{query}")).await.json();
        let rows = page["data"].as_array().unwrap();
        seen.extend(rows.iter().map(|row| row["payload"]["data"]["order_sn"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&status=delivered&cursor={cursor}");
    }
    assert_eq!(seen, orders, "newest first");
    let pending = staff.get(&format!("{path}/deliveries?status=pending")).await.json();
    assert_eq!(pending["data"], json!([]));
    for (query, field) in [("?status=lost", "status"), ("?cursor=x", "cursor"), ("?limit=0", "limit")] {
        let problem = staff.get(&format!("{path}/deliveries{query}")).await.assert_problem(400, "validation");
        assert_eq!(problem["field"], field);
    }
}

#[tokio::test]
async fn no_event_is_lost_by_a_crash() {
    let home = tempfile::tempdir().unwrap();
    // So slow that nothing is sent before the crash.
    let asleep: Vec<_> = SETTINGS.iter().filter(|(key, _)| *key != "webhooks.poll_interval").copied().collect();
    let mut sleeper = asleep.clone();
    sleeper.push(("webhooks.poll_interval", "1m"));
    let mut server = Server::start_on(home.path(), &sleeper);
    let (staff, buyer) = (server.staff(), server.new_buyer().await);
    let receiver = Receiver::start(&[Manner::Says(200)]).await;
    let (path, secret) = webhook(&staff, &receiver, &["order.placed"]).await;
    let order_sn = placed(&buyer).await;
    assert_eq!(logged(&staff, &path, &order_sn).await.unwrap()["tries"], 0, "recorded with the order");
    server.signal("KILL");
    server.wait();
    assert_eq!(receiver.of(&order_sn).len(), 0);

    let server = Server::start_on(home.path(), SETTINGS);
    let message = receiver.until_heard(&order_sn, 1).await.remove(0);
    assert_eq!(message.signatures(), [signed(&secret, &message)]);
    settled(&server.staff(), &path, &order_sn, "delivered").await;
}
