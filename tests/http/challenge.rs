//! The challenge in front of a flash sale, as clients meet it.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Answer, Buyer, Server, Staff, fresh_key, send, until};

/// Few bits, so that the tests work little.
const EASY: (&str, &str) = ("challenge.difficulty_bits", "6");

/// A live sale of SKU 48 that asks by this rule.
async fn sale(staff: &Staff, challenge: &str, count: i64, per_user_limit: u32) -> String {
    let body = json!({
        "sku_id": "48", "price": "1.00", "count": count, "per_user_limit": per_user_limit, "challenge": challenge,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2126-01-01T00:00:00Z",
    });
    let created = staff.post("/admin/v1/flash-sales", &body).await.json();
    assert_eq!(created["challenge"], challenge, "{created}");
    let id = created["id"].as_str().unwrap().to_owned();
    assert_eq!(staff.sale_step(&id, "arm").await.status, 200);
    id
}

fn path(sale: &str) -> String {
    format!("/api/v1/flash-sales/{sale}/challenge")
}

fn solution(challenge: &Value) -> Value {
    let (text, bits) = (challenge["challenge"].as_str().unwrap(), challenge["difficulty_bits"].as_u64().unwrap());
    let is_solved = |nonce: &String| {
        u64::from(u32::from_be_bytes(Sha256::digest(format!("{text}{nonce}"))[..4].try_into().unwrap()).leading_zeros())
            >= bits
    };
    let nonce = (0_u64..).map(|nonce| nonce.to_string()).find(is_solved).unwrap();
    json!({"challenge": text, "nonce": nonce})
}

async fn earn(buyer: &Buyer, sale: &str) -> String {
    let challenge = buyer.get(&path(sale)).await;
    assert_eq!((challenge.status, challenge.header("cache-control")), (200, "no-store"), "{}", challenge.text);
    let token = buyer.post(&path(sale), &solution(&challenge.json())).await;
    assert_eq!(token.status, 200, "{}", token.text);
    token.json()["path_token"].as_str().unwrap().to_owned()
}

async fn attempt(buyer: &Buyer, path: &str, token: Option<&str>, key: Option<&str>) -> Answer {
    let mut request = buyer.request(Method::POST, path);
    if let Some(token) = token {
        request = request.header("seckill-path-token", token);
    }
    send(request.header("idempotency-key", key.map_or_else(fresh_key, str::to_owned))).await
}

async fn v1(buyer: &Buyer, sale: &str, token: Option<&str>) -> Answer {
    attempt(buyer, &format!("/api/v1/flash-sales/{sale}/attempts"), token, None).await
}

#[track_caller]
fn assert_required(answer: &Answer, sale: &str, reason: &str) {
    let problem = answer.assert_problem(403, "challenge-required");
    assert_eq!((&problem["challenge"], &problem["reason"]), (&json!(path(sale)), &json!(reason)), "{problem}");
}

#[tokio::test]
async fn a_sale_that_always_asks_lets_in_who_worked() {
    let server = Server::start(&[EASY]);
    let (staff, buyer, other) = (server.staff(), server.new_buyer().await, server.new_buyer().await);
    let id = sale(&staff, "always", 10, 3).await;
    assert_eq!(buyer.get(&format!("/api/v1/flash-sales/{id}")).await.json()["challenge"], "always");

    assert_required(&v1(&buyer, &id, None).await, &id, "missing");
    let refused = attempt(&buyer, "/miaosha/48", None, None).await;
    assert_eq!(refused.said(), (200, 1, "请先完成验证！".into()));
    assert_eq!(refused.json()["data"], json!({"challenge": path(&id), "reason": "missing"}));

    let challenge = buyer.get(&path(&id)).await.json();
    assert_eq!((&challenge["algorithm"], &challenge["required"]), (&json!("sha-256"), &json!(true)), "{challenge}");
    assert_eq!(challenge["difficulty_bits"], 6);

    let token = earn(&buyer, &id).await;
    assert_required(&v1(&other, &id, Some(&token)).await, &id, "invalid");
    assert_eq!(v1(&buyer, &id, Some(&token)).await.status, 202);
    assert_required(&v1(&buyer, &id, Some(&token)).await, &id, "used");
    let on_the_courses_path = earn(&buyer, &id).await;
    let won = attempt(&buyer, "/order/miaosha/48", Some(&on_the_courses_path), None).await;
    assert_eq!((won.status, &won.json()["code"]), (200, &json!(0)), "{}", won.text);

    let token = earn(&buyer, &id).await;
    let keyed =
        async || attempt(&buyer, &format!("/api/v1/flash-sales/{id}/attempts"), Some(&token), Some("my-try")).await;
    let first = keyed().await;
    assert_eq!(first.status, 202, "{}", first.text);
    assert_eq!(keyed().await.text, first.text, "the same attempt may show its token again");
    let token = earn(&buyer, &id).await;
    v1(&buyer, &id, Some(&token)).await.assert_problem(409, "limit-reached");
    server.assert_no_panic();
}

#[tokio::test]
async fn a_token_is_for_one_sale_untouched_and_for_a_short_time() {
    let server = Server::start(&[EASY, ("challenge.token_life", "1s")]);
    let (staff, buyer) = (server.staff(), server.new_buyer().await);
    let first = sale(&staff, "always", 10, 3).await;
    let token = earn(&buyer, &first).await;
    staff.sale_step(&first, "end").await;
    let id = sale(&staff, "always", 10, 3).await;
    assert_required(&v1(&buyer, &id, Some(&token)).await, &id, "invalid");

    let token = earn(&buyer, &id).await;
    for altered in [token[1..].to_owned(), format!("{token}A"), token.to_lowercase(), "x".repeat(5000)] {
        assert_required(&v1(&buyer, &id, Some(&altered)).await, &id, "invalid");
    }
    let bytes = reqwest::header::HeaderValue::from_bytes(b"\xe8\xae\xa2").unwrap();
    let request = buyer.request(Method::POST, &format!("/api/v1/flash-sales/{id}/attempts"));
    let request = request.header("idempotency-key", fresh_key()).header("seckill-path-token", bytes);
    assert_required(&send(request).await, &id, "invalid");
    let issued = buyer.get("/api/v1/time").await.json();
    until("its time is over", async || {
        let now = buyer.get("/api/v1/time").await.json();
        seconds(&now) > seconds(&issued) + 2
    })
    .await;
    assert_required(&v1(&buyer, &id, Some(&token)).await, &id, "lapsed");
}

fn seconds(time: &Value) -> i64 {
    let text = time["now"].as_str().unwrap_or_else(|| panic!("{time}"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp()
}

#[tokio::test]
async fn only_an_own_untouched_challenge_in_time_earns_a_token() {
    let server = Server::start(&[EASY, ("challenge.solve_within", "1s")]);
    let (staff, buyer, other) = (server.staff(), server.new_buyer().await, server.new_buyer().await);
    let id = sale(&staff, "always", 10, 1).await;
    let refused = async |buyer: &Buyer, sale: &str, solution: &Value, reason: &str| {
        let problem = buyer.post(&path(sale), solution).await.assert_problem(403, "challenge-failed");
        assert_eq!(problem["reason"], reason, "{problem}");
    };
    let challenge = buyer.get(&path(&id)).await.json();
    let solved = solution(&challenge);
    refused(&other, &id, &solved, "invalid").await;
    refused(&buyer, "1", &solved, "invalid").await;
    let mut altered = solved.clone();
    altered["challenge"] = json!(solved["challenge"].as_str().unwrap().to_uppercase());
    refused(&buyer, &id, &altered, "invalid").await;
    until("it lapses", async || {
        let answer = buyer.post(&path(&id), &solved).await;
        answer.status == 403 && answer.json()["reason"] == "lapsed"
    })
    .await;
    let absent = buyer.get(&path("4711")).await;
    absent.assert_problem(404, "not-found");
    server.assert_no_panic();
}

#[tokio::test]
async fn too_little_work_earns_nothing() {
    // So many bits that the first nonces do not happen to have them.
    let server = Server::start(&[("challenge.difficulty_bits", "28")]);
    let (staff, buyer) = (server.staff(), server.new_buyer().await);
    let id = sale(&staff, "always", 10, 1).await;
    let challenge = buyer.get(&path(&id)).await.json();
    for nonce in ["0", "1", "00", "18446744073709551615"] {
        let body = json!({"challenge": challenge["challenge"], "nonce": nonce});
        let problem = buyer.post(&path(&id), &body).await.assert_problem(403, "challenge-failed");
        assert_eq!(problem["reason"], "unsolved", "{problem}");
    }
}

#[tokio::test]
async fn refusals_come_before_the_challenge() {
    let server = Server::start(&[EASY]);
    let (staff, buyer, winner) = (server.staff(), server.new_buyer().await, server.new_buyer().await);
    let soon = json!({
        "sku_id": "48", "price": "1.00", "count": 1, "challenge": "always",
        "starts_at": "2125-01-01T00:00:00Z", "ends_at": "2126-01-01T00:00:00Z",
    });
    let id = staff.post("/admin/v1/flash-sales", &soon).await.json()["id"].as_str().unwrap().to_owned();
    staff.sale_step(&id, "arm").await;
    let refused = async |id: &str, status: u16, code: &str| {
        v1(&buyer, id, None).await.assert_problem(status, code);
        buyer.get(&path(id)).await.assert_problem(status, code);
        let body = json!({"challenge": "x", "nonce": "1"});
        buyer.post(&path(id), &body).await.assert_problem(status, code);
    };
    refused(&id, 425, "not-started").await;
    staff.sale_step(&id, "end").await;
    refused(&id, 410, "ended").await;
    let id = sale(&staff, "always", 1, 1).await;
    staff.sale_step(&id, "pause").await;
    refused(&id, 425, "not-started").await;
    staff.sale_step(&id, "resume").await;
    let token = earn(&winner, &id).await;
    assert_eq!(v1(&winner, &id, Some(&token)).await.status, 202);
    until("the gate knows", async || v1(&buyer, &id, None).await.status == 409).await;
    refused(&id, 409, "sold-out").await;
    v1(&winner, &id, None).await.assert_problem(409, "limit-reached");
}

#[tokio::test]
async fn load_switches_it_on_for_sales_that_ask_under_load() {
    // One request in work is one percent.
    let server = Server::start(&[
        EASY,
        ("limits.max_in_flight", "100"),
        ("challenge.load_on_percent", "1"),
        ("challenge.load_off_percent", "1"),
    ]);
    let (staff, buyer) = (server.staff(), server.new_buyer().await);
    assert_required(&v1(&buyer, "1", None).await, "1", "missing");
    assert_eq!(buyer.get(&path("1")).await.json()["required"], true);
    let token = earn(&buyer, "1").await;
    assert_eq!(v1(&buyer, "1", Some(&token)).await.status, 202, "a new sale asks under load");
    let id = sale(&staff, "off", 1, 1).await;
    assert_eq!(buyer.get(&path(&id)).await.json()["required"], false);
    assert_eq!(v1(&buyer, &id, None).await.status, 202);
}

#[tokio::test]
async fn staff_set_it_on_a_draft() {
    let server = Server::start(&[("flash_sale.challenge", "always")]);
    let staff = server.staff();
    let id = staff.new_sale(48, 1, 60).await;
    let seen = staff.get(&format!("/admin/v1/flash-sales/{id}")).await;
    assert_eq!(seen.json()["challenge"], "always", "as configured");
    let edit = async |tag: &str, body: Value| {
        let request = staff.request(Method::PATCH, &format!("/admin/v1/flash-sales/{id}")).json(&body);
        send(request.header("if-match", tag)).await
    };
    let edited = edit(seen.header("etag"), json!({"challenge": "off"})).await;
    assert_eq!((edited.status, &edited.json()["challenge"]), (200, &json!("off")), "{}", edited.text);
    edit(seen.header("etag"), json!({"count": 2})).await.assert_problem(412, "version-conflict");
    let kept = edit(edited.header("etag"), json!({"count": 2})).await.json();
    assert_eq!((&kept["count"], &kept["challenge"]), (&json!(2), &json!("off")));
}
