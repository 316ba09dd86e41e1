//! Whichever layer refuses a request of v1 or the admin API: the answer is a problem that names the path. Only what the
//! HTTP parser refuses, before there is a request, has no body.

use std::sync::OnceLock;

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Server, client, raw, send};

static SHOP: OnceLock<Server> = OnceLock::new();

fn shop() -> &'static Server {
    Server::shared(&SHOP, &[])
}

fn assert_names(answer: &Answer, status: u16, code: &str, path: &str) {
    assert_eq!(answer.assert_problem(status, code)["instance"], path);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn every_layer_answers_with_a_problem() {
    let (buyer, staff) = (shop().new_buyer().await, shop().staff());
    let orders = "/api/v1/orders";
    let post = |path: &str| buyer.request(Method::POST, path).header("idempotency-key", "k");
    // Routing.
    assert_names(&buyer.get("/api/v1/nothing?x=1").await, 404, "not-found", "/api/v1/nothing");
    assert_names(&buyer.get("/api/v1/orders/%FF").await, 404, "not-found", "/api/v1/orders/%FF");
    assert_names(&send(buyer.request(Method::DELETE, orders)).await, 405, "method-not-allowed", orders);
    assert_names(&staff.get("/admin/v1/nothing").await, 404, "not-found", "/admin/v1/nothing");
    // Login and service token.
    assert_names(&send(client().get(format!("{}{orders}", shop().public))).await, 401, "unauthenticated", orders);
    let unknown = send(client().get(format!("{}/admin/v1/audit", shop().internal))).await;
    assert_names(&unknown, 401, "unauthenticated", "/admin/v1/audit");
    let cookie = client().post(format!("{}{orders}", shop().public));
    let cookie =
        cookie.header("cookie", format!("GMALL_TOKEN={}", buyer.token)).header("origin", "https://evil.example");
    assert_names(&send(cookie).await, 403, "forbidden", orders);
    // Key, media type, size and content of the body, query.
    assert_names(&send(buyer.request(Method::POST, orders).json(&json!({}))).await, 400, "key-missing", orders);
    assert_names(&send(post(orders).body("{}")).await, 415, "unsupported-media-type", orders);
    let xml = send(post(orders).header("content-type", "application/xml").body("<a/>")).await;
    assert_names(&xml, 415, "unsupported-media-type", orders);
    let json_body = |body: Vec<u8>| post(orders).header("content-type", "application/json").body(body);
    assert_names(&send(json_body(vec![b' '; 64 * 1024 + 1])).await, 413, "payload-too-large", orders);
    assert_names(&send(json_body(b"{\"checkout_token\":\"\xff\xfe\"}".to_vec())).await, 400, "validation", orders);
    assert_names(&send(json_body(b"{".to_vec())).await, 400, "validation", orders);
    assert_names(&buyer.get("/api/v1/orders?cursor=%FF").await, 400, "validation", orders);
    // The inside.
    assert_names(&buyer.get("/api/v1/orders/1").await, 404, "not-found", "/api/v1/orders/1");
    shop().assert_no_panic();
}

/// A rate may refuse before a request is routed.
#[tokio::test]
async fn rates_answer_with_a_problem() {
    let server = Server::start(&[("limits.per_user", "1/h burst 1"), ("limits.per_ip", "1/h burst 4")]);
    let buyer = server.new_buyer().await;
    let me = "/api/v1/me";
    assert_eq!(buyer.get(me).await.status, 200);
    assert_names(&buyer.get(me).await, 429, "rate-limited", me);
    crate::support::until("the address asked too often", async || {
        let answer = buyer.get("/api/v1/time").await;
        if answer.status == 429 {
            assert_names(&answer, 429, "rate-limited", "/api/v1/time");
        }
        answer.status == 429
    })
    .await;
}

/// A long target is a path like any other up to the parser's own bound; 414 is never said.
#[tokio::test]
async fn what_the_parser_refuses_has_no_body() {
    let base = &shop().public;
    let head = |line: &str, fields: &str| format!("{line}\r\nhost: shop\r\n{fields}\r\n").into_bytes();
    let long = |length: usize| format!("GET /api/v1/{} HTTP/1.1", "a".repeat(length));
    let (status, text) = raw(base, &head(&long(60_000), "")).await;
    assert_eq!(status, 404, "{text}");
    assert!(text.contains("application/problem+json"), "{text}");
    let field = |length: usize| format!("x-long: {}\r\n", "a".repeat(length));
    for (bytes, expected) in [
        (head(&long(70_000), ""), 400),
        (head("GET /api/v1/time HTTP/1.1", &field(200_000)), 431),
        (head("GET /api/v1/time HTTP/9.9", ""), 400),
        (head("GET\u{0}/api/v1/time HTTP/1.1", ""), 400),
        (head("GET /api/v1/time HTTP/1.1", "content-length: -1\r\n"), 400),
        (head("POST /api/v1/orders HTTP/1.1", "content-length: 1\r\ntransfer-encoding: chunked\r\n"), 400),
        (head("GET /api/v1/\u{fffd} HTTP/1.1", ""), 400),
    ] {
        let (status, text) = raw(base, &bytes).await;
        assert_eq!(status, expected, "{text}");
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert_eq!(body, "", "{text}");
    }
    shop().assert_no_panic();
}
