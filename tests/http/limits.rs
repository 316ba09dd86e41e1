//! Rates, attempts and admission.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, Server, client, send, submission, until};

fn assert_waits(answer: &Answer, status: u16, seconds: std::ops::RangeInclusive<u64>) {
    assert_eq!(answer.status, status, "{}", answer.text);
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!(seconds.contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_user_who_asks_too_often_waits_and_nobody_else() {
    let server = Server::start(&[("limits.per_user", "1/h burst 3"), ("limits.seckill_per_user", "1/h burst 2")]);
    let (buyer, other) = (server.new_buyer().await, server.new_buyer().await);
    for _ in 0..3 {
        assert_eq!(buyer.get("/api/v1/orders").await.status, 200);
    }
    let limited = buyer.get("/api/v1/orders").await;
    limited.assert_problem(429, "rate-limited");
    assert_waits(&limited, 429, 3000..=3600);
    let limited = buyer.post("/order/confirm", &json!({"48": 1})).await;
    assert_eq!(limited.said(), (429, 429, "Too many requests".into()));
    assert_waits(&limited, 429, 3000..=3600);
    assert_eq!(other.get("/api/v1/orders").await.status, 200);

    for _ in 0..2 {
        assert_eq!(buyer.call("/miaosha/49").await.status, 200, "attempts have a rate of their own");
    }
    assert_waits(&buyer.call("/miaosha/49").await, 429, 3000..=3600);
    let attempt = buyer.call("/api/v1/flash-sales/1/attempts").await;
    attempt.assert_problem(429, "rate-limited");
    assert_eq!(other.call("/miaosha/49").await.status, 200);
}

#[tokio::test]
async fn attempts_at_one_sale_are_counted() {
    let server = Server::start(&[("limits.attempts_per_sale", "3")]);
    let buyer = server.new_buyer().await;
    for path in ["/miaosha/49", "/api/v1/flash-sales/1/attempts", "/api/order/miaosha/49"] {
        assert_ne!(buyer.call(path).await.status, 429);
    }
    assert_waits(&buyer.call("/miaosha/49").await, 429, 3600..=3600);
    assert_waits(&buyer.call("/api/v1/flash-sales/1/attempts").await, 429, 3600..=3600);
    let status = send(server.new_buyer().await.request(Method::GET, "/miaosha/49")).await.status;
    assert_eq!(status, 200, "each buyer for himself");
}

#[tokio::test]
async fn an_address_that_asks_too_often_waits_but_money_and_health_get_through() {
    let server = Server::start(&[("limits.per_ip", "1/h burst 3")]);
    let get = async |path: &str, forwarded: &str| {
        send(client().get(format!("{}{path}", server.public)).header("x-forwarded-for", forwarded)).await
    };
    for _ in 0..3 {
        assert_eq!(get("/api/v1/time", "1.1.1.1").await.status, 200);
    }
    let limited = get("/api/v1/time", "1.1.1.2").await;
    limited.assert_problem(429, "rate-limited");
    assert_waits(&limited, 429, 3000..=3600);
    assert_eq!(get("/", "1.1.1.3").await.said().0, 429);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(path, "").await.status, 200);
    }
    for path in ["/order/pay/alipay/success", "/api/order/pay/alipay/success"] {
        let notify = send(client().post(format!("{}{path}", server.public)).body("a=b")).await;
        assert_eq!((notify.status, notify.text.as_str()), (200, "failure"));
    }
    assert_eq!(server.staff().get("/admin/v1/audit").await.status, 200, "staff are not buyers");
}

/// Sends a head and a part of its body, so that the request stays in work.
async fn hold(server: &Server, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.public.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /order/confirm HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: 8\r\n\r\n{{\"48\""
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_full_server_says_so_at_once() {
    let server = Server::start(&[("limits.max_in_flight", "1")]);
    let buyer = server.new_buyer().await;
    let mut held = hold(&server, &buyer.token).await;
    until("full", async || {
        if buyer.get("/api/v1/time").await.status == 503 {
            return true;
        }
        // The place of an answered request may be taken a moment longer: then the held one was refused. Once more.
        tokio::time::sleep(Duration::from_millis(50)).await;
        held = hold(&server, &buyer.token).await;
        false
    })
    .await;
    let refused = buyer.get("/api/v1/time").await;
    refused.assert_problem(503, "overloaded");
    assert_waits(&refused, 503, 1..=1);
    let refused = buyer.call("/miaosha/49").await;
    assert_eq!(refused.said(), (503, 503, "The server is busy, try again".into()));
    assert_eq!(send(client().get(format!("{}/healthz", server.public))).await.status, 200);

    held.write_all(b":1}").await.unwrap();
    let mut answer = String::new();
    held.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until("free again", async || buyer.get("/api/v1/time").await.status == 200).await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_place() {
    let server = Server::start(&[("limits.max_in_flight", "1")]);
    let buyer = server.new_buyer().await;
    drop(hold(&server, &buyer.token).await);
    until("free again", async || buyer.get("/api/v1/time").await.status == 200).await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let server = Server::start(&[("server.body_timeout", "300ms")]);
    let buyer = server.new_buyer().await;
    let mut held = hold(&server, &buyer.token).await;
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), held.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("did not arrive in time"), "{answer}");
}

#[tokio::test]
async fn who_waits_for_an_order_keeps_nobody_out() {
    let server = Server::start(&[("limits.max_in_flight", "1")]);
    let buyer = server.new_buyer().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let grant = "INSERT INTO sms_flash_sale_grant (order_sn, sale_id, user_id, ordinal, state, create_time)
                 VALUES ('20260101080000000000000000000001', 1, ?, 1, 0, ?)";
    let values = [buyer.user.into(), i64::try_from(now).unwrap().into()];
    server.database().await.execute(grant, values).await;
    for path in [
        "/miaosha/pay?orderSn=20260101080000000000000000000001",
        "/api/v1/attempts/20260101080000000000000000000001?wait=10s",
    ] {
        let waits = || {
            let waiting = buyer.clone();
            tokio::spawn(async move { waiting.get(path).await.status })
        };
        let mut waiting = waits();
        // The place of an answered request may be taken a moment longer: then this one was refused. Once more.
        until("waiting", async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let is_waiting = !waiting.is_finished();
            if !is_waiting {
                waiting = waits();
            }
            is_waiting
        })
        .await;
        let mut answered = 0;
        until("others are served while it waits", async || {
            answered += i32::from(send(client().get(format!("{}/api/v1/time", server.public))).await.status == 200);
            answered > 20
        })
        .await;
        assert!(!waiting.is_finished(), "{path}");
        waiting.abort();
    }
}

#[tokio::test]
async fn lines_and_units_of_an_order_are_bounded() {
    let server = Server::start(&[("limits.max_lines", "2"), ("limits.max_quantity", "3")]);
    let buyer = server.new_buyer().await;
    let confirm = async |wants| buyer.post("/order/confirm", &wants).await;
    assert_eq!(confirm(json!({"48": 3, "49": 3})).await.said().1, 0);
    assert_eq!(confirm(json!({"48": 4})).await.said(), (400, 400, "48: must be between 1 and 3".into()));
    assert_eq!(confirm(json!({"48": 1, "49": 1, "50": 1})).await.said(), (400, 400, "at most 2 lines".into()));
    let mut body = submission("x", 48, 4, 0);
    let said = buyer.post("/order/submit", &body).await.said();
    assert_eq!(said, (400, 400, "orderItems[0].count: must be between 1 and 3".into()));
    body["orderItems"] = json!([{"skuId": 1, "count": 1}, {"skuId": 2, "count": 1}, {"skuId": 3, "count": 1}]);
    assert_eq!(buyer.post("/order/submit", &body).await.said(), (400, 400, "orderItems: at most 2 lines".into()));
}
