//! Every field of every endpoint sent wrong: the answer names it, nothing is written, nothing panics.

use std::sync::OnceLock;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::place::Database;
use crate::support::{Answer, Buyer, Server, Staff, client, raw, send, submission};
use crate::wrong_values::{Endpoint, Field, endpoints};

static SHOP: OnceLock<Server> = OnceLock::new();

fn shop() -> &'static Server {
    Server::shared(&SHOP, &[])
}

/// Asks, and sees whether anything was written meanwhile.
struct Prober {
    buyer: Buyer,
    staff: Staff,
    database: Database,
    version: String,
}

impl Prober {
    async fn new() -> Self {
        let (buyer, staff) = (shop().new_buyer().await, shop().staff());
        let database = shop().database().await;
        let version = database.version().await;
        Self { buyer, staff, database, version }
    }

    fn request(&self, internal: bool, method: Method, path: &str) -> RequestBuilder {
        if internal { self.staff.request(method, path) } else { self.buyer.request(method, path) }
    }

    /// With the headers that some of them want.
    fn request_to(&self, endpoint: &Endpoint) -> RequestBuilder {
        let request = self.request(endpoint.internal, endpoint.method.clone(), endpoint.path);
        request.header("idempotency-key", "bad-input").header("if-match", "*")
    }

    async fn post(&mut self, endpoint: &Endpoint, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request_to(endpoint);
        let answer = send(request.header("content-type", "application/json").body(body)).await;
        self.assert_nothing_written(endpoint.path).await;
        answer
    }

    async fn assert_nothing_written(&mut self, what: &str) {
        let now = self.database.version().await;
        assert_eq!(now, self.version, "{what} was written to the database");
    }
}

/// What an answer says is wrong.
fn complaint(answer: &Answer) -> String {
    let body = answer.json();
    let said = if body["detail"].is_string() { &body["detail"] } else { &body["msg"] };
    said.as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

fn with(base: &Value, pointer: &str, value: &str) -> String {
    let long = format!("\"{}\"", "x".repeat(10_000));
    let mut body = base.clone();
    *body.pointer_mut(pointer).unwrap() = json!("@@");
    body.to_string().replace("\"@@\"", if value == "LONG" { &long } else { value })
}

fn without(base: &Value, pointer: &str) -> Option<String> {
    let mut body = base.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut()?.remove(name)?;
    Some(body.to_string())
}

fn assert_names(answer: &Answer, name: &str, sent: &str) {
    let sent: String = sent.chars().take(300).collect();
    assert_eq!(answer.status, 400, "{name} in {sent}: {}", answer.text);
    let said = complaint(answer);
    assert!(said.contains(name), "{said:?} does not name {name}: {sent}");
}

#[tokio::test]
async fn every_field_sent_wrong_is_named() {
    let mut prober = Prober::new().await;
    let mut sent = 0;
    for endpoint in endpoints() {
        let base = prober.post(&endpoint, endpoint.base.to_string()).await;
        assert!([200, 400, 404, 409].contains(&base.status), "{}: {}", endpoint.path, base.text);
        for Field(pointer, required, wrong) in endpoint.fields {
            let mut segments = pointer.split('/').filter(|part| !part.parse::<usize>().is_ok_and(|index| index <= 10));
            let name = segments.next_back().unwrap_or("0");
            let name = if *pointer == "/orderItems/0" { "orderItems[0]" } else { name };
            for value in wrong.iter().copied().flatten().filter(|value| *required || **value != "null") {
                let body = with(&endpoint.base, pointer, value);
                assert_names(&prober.post(&endpoint, body.clone()).await, name, &body);
                sent += 1;
            }
            let Some(body) = without(&endpoint.base, pointer) else { continue };
            let answer = prober.post(&endpoint, body.clone()).await;
            if !required {
                assert_eq!((answer.status, &answer.text), (base.status, &base.text), "{pointer} may be left out");
            } else if endpoint.path != "/order/confirm" {
                assert_names(&answer, name, &body);
            }
        }
    }
    assert!(sent > 500, "{sent}");
    shop().assert_no_panic();
}

#[tokio::test]
async fn unknown_and_doubled_fields_are_named() {
    let mut prober = Prober::new().await;
    for endpoint in endpoints().into_iter().filter(|endpoint| endpoint.path != "/order/confirm") {
        let text = endpoint.base.to_string();
        let (open, rest) = text.split_at(text.find('{').unwrap() + 1);
        let body = format!("{open}\"surprise\":1,{rest}");
        assert_names(&prober.post(&endpoint, body.clone()).await, "surprise", &body);
        let first = rest.split('"').nth(1).unwrap();
        let body = format!("{open}\"{first}\":1,{rest}");
        assert_names(&prober.post(&endpoint, body.clone()).await, first, &body);
    }
}

#[tokio::test]
async fn whole_bodies_sent_wrong_are_refused() {
    let mut prober = Prober::new().await;
    let deep = 10_000;
    let long_list: Vec<_> = (1..=1000).map(|id| json!({"skuId": id, "count": 1})).collect();
    let long_locks: Vec<_> = (1..=1000).map(|id| json!({"skuId": id, "num": 1, "orderToken": "bad-input"})).collect();
    let long_items: Vec<_> = (1..=1000).map(|id: i32| json!({"sku_id": id.to_string(), "quantity": 1})).collect();
    let long_map: serde_json::Map<_, _> = (1..=1000).map(|id| (id.to_string(), json!(1))).collect();
    for endpoint in endpoints() {
        let good = endpoint.base.to_string();
        let bodies: Vec<(&str, Vec<u8>)> = vec![
            ("empty", vec![]),
            ("spaces", b"   ".to_vec()),
            ("half", good.as_bytes()[..good.len() / 2].to_vec()),
            ("more behind it", format!("{good}{good}").into_bytes()),
            ("a comma behind it", format!("{good},").into_bytes()),
            ("null", b"null".to_vec()),
            ("true", b"true".to_vec()),
            ("a number", b"5".to_vec()),
            ("a text", b"\"x\"".to_vec()),
            ("NaN", b"NaN".to_vec()),
            ("single quotes", good.replace('"', "'").into_bytes()),
            ("broken UTF-8", [&b"{\"\xff\xfe\":\"\xc3\x28\"}"[..]].concat()),
            ("broken UTF-8 in a text", good.replace("1", "\u{1}").into_bytes()),
            ("a lone surrogate", br#"{"\ud800":1}"#.to_vec()),
            ("UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            ("a byte order mark", format!("\u{feff}{good}").into_bytes()),
            ("deep lists", "[".repeat(deep).into_bytes()),
            ("deep closed lists", format!("{}{}", "[".repeat(deep), "]".repeat(deep)).into_bytes()),
            ("deep objects", format!("{}1{}", r#"{"a":"#.repeat(deep), "}".repeat(deep)).into_bytes()),
            (
                "deep lists in a field",
                format!(r#"{{"orderItems":{}{}}}"#, "[".repeat(deep), "]".repeat(deep)).into_bytes(),
            ),
        ];
        for (name, body) in bodies {
            let answer = prober.post(&endpoint, body).await;
            assert_eq!(answer.status, 400, "{name} to {}: {}", endpoint.path, answer.text);
            complaint(&answer);
        }
        for content_type in
            [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx"), Some("x")]
        {
            let mut request = prober.request_to(&endpoint).body(good.clone());
            if let Some(content_type) = content_type {
                request = request.header("content-type", content_type);
            }
            let answer = send(request).await;
            assert_eq!(answer.status, 415, "{content_type:?} to {}: {}", endpoint.path, answer.text);
            prober.assert_nothing_written(endpoint.path).await;
        }
        let charset = prober.request_to(&endpoint);
        let charset = charset.header("content-type", "application/json; charset=utf-8").body(good);
        assert_ne!(send(charset).await.status, 415);

        let mut many = endpoint.base.clone();
        match endpoint.path {
            "/order/confirm" => many = Value::Object(long_map.clone()),
            "/wms/waresku/check/lock" => many = json!(long_locks),
            "/api/v1/orders" | "/api/v1/checkouts" | "/admin/v1/reservations" => many["items"] = json!(long_items),
            path if path.contains("/order/submit") || path.contains("/oms/") => many["orderItems"] = json!(long_list),
            _ => continue,
        }
        let answer = prober.post(&endpoint, many.to_string()).await;
        assert_eq!(answer.status, 400, "1,000 SKUs to {}: {}", endpoint.path, answer.text);
        assert!(complaint(&answer).contains("at most 50"), "{}", answer.text);
    }
    shop().assert_no_panic();
}

#[tokio::test]
async fn a_sku_twice_is_refused() {
    let mut prober = Prober::new().await;
    let mut submit = submission("not-a-token", 48, 1, 0);
    submit["orderItems"] = json!([{"skuId": 48, "count": 1}, {"skuId": 49, "count": 1}, {"skuId": 48, "count": 2}]);
    let lock = |sku_id| json!({"skuId": sku_id, "num": 1, "orderToken": "bad-input"});
    let cases = [
        ("/order/submit", submit.to_string(), "orderItems[2].skuId"),
        ("/oms/order/2", submit.to_string(), "orderItems[2].skuId"),
        ("/order/confirm", r#"{"48":1,"49":1,"48":2}"#.to_owned(), "SKU 48 appears twice"),
        ("/wms/waresku/check/lock", json!([lock(48), lock(48)]).to_string(), "[1].skuId"),
    ];
    for (path, body, name) in cases {
        let endpoint = endpoints().into_iter().find(|endpoint| endpoint.path == path).unwrap();
        assert_names(&prober.post(&endpoint, body.clone()).await, name, &body);
    }
    let mixed = json!([lock(48), {"skuId": 49, "num": 1, "orderToken": "other"}]).to_string();
    let endpoint = endpoints().into_iter().find(|endpoint| endpoint.path.starts_with("/wms")).unwrap();
    assert_names(&prober.post(&endpoint, mixed.clone()).await, "[1].orderToken", &mixed);
    assert_names(&prober.post(&endpoint, "[]").await, "no SKU", "[]");
}

#[tokio::test]
async fn keys_of_confirm_are_sku_ids() {
    let mut prober = Prober::new().await;
    let endpoint = endpoints().into_iter().find(|endpoint| endpoint.path == "/order/confirm").unwrap();
    for key in
        ["", "abc", "0", "-1", "048", "+48", " 48", "1.5", "1e2", "99999999999999999999", "٤٨", "48\u{0}", "__proto__"]
    {
        let body = json!({key: 1}).to_string();
        let answer = prober.post(&endpoint, body.clone()).await;
        assert_names(&answer, "is not a SKU id", &body);
    }
    assert_names(&prober.post(&endpoint, "{}").await, "no SKU", "{}");
}

#[tokio::test]
async fn five_megabytes_are_not_read() {
    let mut prober = Prober::new().await;
    let forms = [("/order/pay/alipay/success", false), ("/sandbox/gateway.do", false), ("/sandbox/pay", false)];
    let forms = forms.map(|(path, internal)| (Method::POST, path, internal));
    let json_paths = endpoints().into_iter().map(|endpoint| (endpoint.method, endpoint.path, endpoint.internal));
    for (method, path, internal) in json_paths.chain(forms) {
        let (base, token) =
            if internal { (&shop().internal, &shop().service_token) } else { (&shop().public, &prober.buyer.token) };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
             idempotency-key: large\r\ncontent-type: application/json\r\n"
        );
        let said = raw(base, format!("{head}content-length: 5242880\r\n\r\n{{").as_bytes()).await;
        assert_eq!(said.0, 413, "{path}: {}", said.1);
        // Without a length it is the bytes that count. The server may close while we still send.
        let chunk = format!("{:x}\r\n{}\r\n", 70_000, " ".repeat(70_000));
        let said = raw(base, format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}").as_bytes()).await;
        assert_eq!(said.0, 413, "{path}: {}", said.1);
        let request = prober.request(internal, method, path).header("content-type", "application/json");
        let request = request.header("idempotency-key", "large");
        if let Ok(answer) = request.body(vec![b' '; 5 * 1024 * 1024]).send().await {
            assert_eq!(answer.status(), 413, "{path}");
        }
    }
    prober.assert_nothing_written("a large body").await;
    shop().assert_no_panic();
}

#[tokio::test]
async fn path_ids_sent_wrong_name_nothing() {
    let mut prober = Prober::new().await;
    let long = "9".repeat(5000);
    let ids = [
        "0",
        "-1",
        "01",
        "+1",
        "1.5",
        "1e3",
        "abc",
        "99999999999999999999",
        "%00",
        "%FF",
        "%E2%82",
        "%",
        "%zz",
        "1%20",
        "%201",
        "1%0a",
        "'%20OR%201=1",
        "..%2f..",
        "\u{202e}1",
        "٤٨",
        "null",
        "true",
        "{}",
        "*",
        &long,
    ];
    let paths = [
        (false, Method::GET, "/miaosha/@"),
        (false, Method::POST, "/miaosha/@"),
        (false, Method::POST, "/api/order/miaosha/@"),
        (false, Method::GET, "/api/v1/flash-sales/@"),
        (false, Method::POST, "/api/v1/flash-sales/@/attempts"),
        (false, Method::GET, "/api/v1/attempts/@"),
        (false, Method::GET, "/api/v1/orders/@"),
        (false, Method::GET, "/api/v1/orders/@/history"),
        (false, Method::POST, "/api/v1/orders/@/cancel"),
        (false, Method::POST, "/api/v1/orders/@/payments"),
        (false, Method::GET, "/api/v1/orders/@/payments"),
        (false, Method::GET, "/api/v1/attempts/@/events"),
        (false, Method::DELETE, "/api/v1/cart/lines/@"),
        (true, Method::GET, "/admin/v1/stock/@/ledger"),
        (false, Method::POST, "/api/v1/orders/@/receive"),
        (false, Method::GET, "/api/v1/orders/@/refunds"),
        (false, Method::GET, "/api/v1/orders/@/returns"),
        (true, Method::GET, "/admin/v1/orders/@"),
        (true, Method::GET, "/admin/v1/returns/@"),
        (true, Method::GET, "/ums/memberreceiveaddress/@"),
        (true, Method::GET, "/ums/member/info/@"),
        (true, Method::GET, "/pms/skuinfo/info/@"),
        (true, Method::GET, "/pms/skusaleattrvalue/@"),
        (true, Method::GET, "/admin/v1/flash-sales/@"),
        (true, Method::POST, "/admin/v1/flash-sales/@/arm"),
        (true, Method::POST, "/admin/v1/flash-sales/@/end"),
        (true, Method::GET, "/admin/v1/stock/@"),
        (true, Method::POST, "/admin/v1/messages/parked/@/replay"),
    ];
    for (internal, method, path) in paths {
        for id in ids {
            let request = prober.request(internal, method.clone(), &path.replace('@', id));
            let answer = send(request).await;
            assert!([400, 404].contains(&answer.status), "{method} {path} {id}: {} {}", answer.status, answer.text);
            complaint(&answer);
            prober.assert_nothing_written(path).await;
        }
    }
    for user in ["0", "-1", "abc", "01", "1.5"] {
        let request = prober.request(true, Method::POST, &format!("/oms/order/{user}"));
        let answer = send(request.json(&submission("not-a-token", 48, 1, 0))).await;
        assert_names(&answer, "userId", user);
    }
    shop().assert_no_panic();
}

#[tokio::test]
async fn queries_sent_wrong_are_named() {
    let prober = Prober::new().await;
    let cases = [
        ("/api/v1/orders?limit=0", "limit"),
        ("/api/v1/orders?limit=101", "limit"),
        ("/api/v1/orders?limit=-1", "limit"),
        ("/api/v1/orders?limit=abc", "limit"),
        ("/api/v1/orders?limit=", "limit"),
        ("/api/v1/orders?limit=1.5", "limit"),
        ("/api/v1/orders?limit=99999999999999999999", "limit"),
        ("/api/v1/orders?limit=1&limit=2", "limit"),
        ("/api/v1/orders?cursor=", "cursor"),
        ("/api/v1/orders?cursor=x", "cursor"),
        ("/api/v1/orders?cursor=%FF", "cursor"),
        ("/api/v1/orders?cursor=MTox%3D%3D", "cursor"),
        ("/api/v1/orders?status=", "status"),
        ("/api/v1/orders?status=4", "status"),
        ("/api/v1/orders?surprise=1", "surprise"),
        ("/admin/v1/orders?limit=0", "limit"),
        ("/admin/v1/orders?limit=101", "limit"),
        ("/admin/v1/orders?cursor=", "cursor"),
        ("/admin/v1/orders?cursor=x", "cursor"),
        ("/admin/v1/orders?cursor=LTE", "cursor"),
        ("/admin/v1/orders?status=paid", "status"),
        ("/admin/v1/orders?user_id=abc", "user_id"),
        ("/admin/v1/orders?user_id=0", "user_id"),
        ("/admin/v1/orders?sku_id=-1", "sku_id"),
        ("/admin/v1/orders?created_from=yesterday", "created_from"),
        ("/admin/v1/orders?created_to=2026-01-01", "created_to"),
        ("/admin/v1/orders?surprise=1", "surprise"),
        ("/admin/v1/returns?limit=abc", "limit"),
        ("/admin/v1/returns?cursor=%FF", "cursor"),
        ("/admin/v1/returns?status=4", "status"),
        ("/admin/v1/returns?surprise=1", "surprise"),
        ("/api/v1/attempts/20260101080000000000000000000001?wait=abc", "wait"),
        ("/api/v1/attempts/20260101080000000000000000000001?wait=-1s", "wait"),
        ("/api/v1/attempts/20260101080000000000000000000001?wait=", "wait"),
        ("/api/v1/attempts/20260101080000000000000000000001?wait=99999999999999999999999s", "wait"),
        ("/api/v1/attempts/20260101080000000000000000000001?surprise=1", "surprise"),
        ("/api/v1/flash-sales?limit=0", "limit"),
        ("/api/v1/flash-sales?cursor=x", "cursor"),
        ("/api/v1/flash-sales?cursor=MTox", "cursor"),
        ("/api/v1/flash-sales?surprise=1", "surprise"),
        ("/api/v1/flash-sales/1?surprise=1", "surprise"),
        ("/api/v1/time?surprise=1", "surprise"),
        ("/api/v1/skus?surprise=1", "surprise"),
        ("/api/v1/me?surprise=1", "surprise"),
        ("/api/v1/cart?surprise=1", "surprise"),
        ("/api/v1/orders/1?surprise=1", "surprise"),
        ("/api/v1/orders/1/history?surprise=1", "surprise"),
        ("/api/v1/orders/1/payments?surprise=1", "surprise"),
        ("/api/v1/attempts/1/events?surprise=1", "surprise"),
        ("/miaosha/pay", "orderSn"),
        ("/miaosha/pay?orderSn=1&orderSn=2", "orderSn"),
        ("/miaosha/pay?orderSn=1&surprise=2", "surprise"),
        ("/api/miaosha/pay?ordersn=1", "ordersn"),
    ];
    for (path, name) in cases {
        let is_internal = path.starts_with("/admin");
        assert_names(&send(prober.request(is_internal, Method::GET, path)).await, name, path);
    }
    for order_sn in ["", "x y", "'--", "%FF", "%00", &"1".repeat(100)] {
        let answer = prober.buyer.get(&format!("/miaosha/pay?orderSn={order_sn}")).await;
        assert_eq!(answer.status, 404, "{order_sn}: {}", answer.text);
    }
    let page = prober.buyer.get("/api/v1/attempts/20260101080000000000000000000001?wait=1000years").await;
    assert_eq!(page.status, 404, "the longest wait is the server's: {}", page.text);
    shop().assert_no_panic();
}

#[tokio::test]
async fn notifications_and_the_sandbox_survive_anything() {
    let mut prober = Prober::new().await;
    let junk: [&[u8]; 9] = [
        b"",
        b"=",
        b"&&&&",
        b"a=1&a=2",
        b"%",
        b"%zz=1",
        b"\xff\xfe=\xc3",
        b"sign=%ff",
        b"out_trade_no=1&token=1&biz_content={}",
    ];
    for path in ["/order/pay/alipay/success", "/sandbox/gateway.do", "/sandbox/pay", "/sandbox/cancel"] {
        for body in junk {
            let request = client().post(format!("{}{path}", shop().public));
            let answer = send(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await;
            assert!(answer.status < 500 && answer.text != "success", "{path}: {} {}", answer.status, answer.text);
            prober.assert_nothing_written(path).await;
        }
    }
    shop().assert_no_panic();
}
