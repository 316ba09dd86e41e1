//! Who may do what: every route of both documents with every caller and everybody's ids. A route without a row fails.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::login::{own_key, token};
use crate::support::{Answer, Buyer, Server, client, send, submission};

const ABSENT: &str = "20260101080000000000000000000099";
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Everybody.
    Open,
    /// Whoever is logged in, for himself.
    Buyer,
    /// The owner of the order that the path or the query names. For others it is not there.
    Owner,
    /// The owner of the win that the path or the query names.
    Winner,
    /// Who shows the service token, on the internal listener.
    Service,
}
use Access::{Buyer as B, Open as O, Owner as W, Service as S, Winner as G};

const ROWS: &[(&str, &str, Access)] = &[
    ("get", "/healthz", O),
    ("get", "/readyz", O),
    ("get", "/openapi.json", O),
    ("get", "/version", O),
    ("post", "/demo/login", O),
    ("post", "/demo/logout", O),
    ("get", "/api/v1/time", O),
    ("get", "/api/v1/skus", O),
    ("get", "/api/v1/flash-sales", O),
    ("get", "/api/v1/flash-sales/{id}", O),
    ("post", "/order/pay/alipay/success", O),
    ("post", "/api/order/pay/alipay/success", O),
    ("get", "/api/v1/me", B),
    ("post", "/api/v1/flash-sales/{id}/attempts", B),
    ("get", "/api/v1/flash-sales/{id}/challenge", B),
    ("post", "/api/v1/flash-sales/{id}/challenge", B),
    ("get", "/api/v1/cart", B),
    ("put", "/api/v1/cart/lines/{sku_id}", B),
    ("delete", "/api/v1/cart/lines/{sku_id}", B),
    ("post", "/api/v1/checkouts", B),
    ("post", "/api/v1/orders", B),
    ("get", "/api/v1/orders", B),
    ("get", "/api/v1/orders/counts", B),
    ("post", "/order/confirm", B),
    ("post", "/api/order/confirm", B),
    ("post", "/order/submit", B),
    ("post", "/api/order/submit", B),
    ("get", "/miaosha/{sku_id}", B),
    ("post", "/miaosha/{sku_id}", B),
    ("get", "/order/miaosha/{sku_id}", B),
    ("post", "/order/miaosha/{sku_id}", B),
    ("get", "/api/miaosha/{sku_id}", B),
    ("post", "/api/miaosha/{sku_id}", B),
    ("get", "/api/order/miaosha/{sku_id}", B),
    ("post", "/api/order/miaosha/{sku_id}", B),
    ("get", "/api/v1/orders/{order_sn}", W),
    ("get", "/api/v1/orders/{order_sn}/history", W),
    ("get", "/api/v1/orders/{order_sn}/payments", W),
    ("post", "/api/v1/orders/{order_sn}/payments", W),
    ("get", "/api/v1/orders/{order_sn}/payments/{trade_no}", W),
    ("patch", "/api/v1/orders/{order_sn}/receiver", W),
    ("post", "/api/v1/orders/{order_sn}/cancel", W),
    ("post", "/api/v1/orders/{order_sn}/receive", W),
    ("get", "/api/v1/orders/{order_sn}/refunds", W),
    ("get", "/api/v1/orders/{order_sn}/returns", W),
    ("post", "/api/v1/orders/{order_sn}/returns", W),
    ("get", "/api/v1/attempts/{order_sn}", G),
    ("get", "/api/v1/attempts/{order_sn}/events", G),
    ("get", "/miaosha/pay", G),
    ("get", "/api/miaosha/pay", G),
    ("post", "/wms/waresku/check/lock", S),
    ("post", "/oms/order/{user_id}", S),
    ("get", "/ums/memberreceiveaddress/{user_id}", S),
    ("get", "/ums/member/info/{id}", S),
    ("get", "/pms/skuinfo/info/{sku_id}", S),
    ("get", "/pms/skusaleattrvalue/{sku_id}", S),
    ("get", "/admin/v1/flash-sales", S),
    ("post", "/admin/v1/flash-sales", S),
    ("get", "/admin/v1/flash-sales/{id}", S),
    ("patch", "/admin/v1/flash-sales/{id}", S),
    ("post", "/admin/v1/flash-sales/{id}/arm", S),
    ("post", "/admin/v1/flash-sales/{id}/restock", S),
    ("post", "/admin/v1/flash-sales/{id}/pause", S),
    ("post", "/admin/v1/flash-sales/{id}/resume", S),
    ("post", "/admin/v1/flash-sales/{id}/end", S),
    ("get", "/admin/v1/stock/{sku_id}", S),
    ("post", "/admin/v1/stock/{sku_id}/adjustments", S),
    ("get", "/admin/v1/stock/{sku_id}/ledger", S),
    ("post", "/admin/v1/reservations", S),
    ("get", "/admin/v1/reservations/{reference}", S),
    ("post", "/admin/v1/reservations/{reference}/confirm", S),
    ("post", "/admin/v1/reservations/{reference}/release", S),
    ("get", "/admin/v1/orders", S),
    ("get", "/admin/v1/orders/{order_sn}", S),
    ("post", "/admin/v1/orders/{order_sn}/ship", S),
    ("post", "/admin/v1/orders/{order_sn}/close", S),
    ("post", "/admin/v1/orders/{order_sn}/refund", S),
    ("get", "/admin/v1/returns", S),
    ("get", "/admin/v1/returns/{id}", S),
    ("post", "/admin/v1/returns/{id}/approve", S),
    ("post", "/admin/v1/returns/{id}/reject", S),
    ("post", "/admin/v1/returns/{id}/receive", S),
    ("get", "/admin/v1/limits", S),
    ("get", "/admin/v1/audit", S),
    ("get", "/admin/v1/messages/outbox", S),
    ("get", "/admin/v1/messages/parked", S),
    ("post", "/admin/v1/messages/parked/{message_id}/replay", S),
    ("get", "/metrics", S),
];

/// What the callers show.
struct Callers {
    server: Server,
    alice: Buyer,
    bob: Buyer,
    expired: String,
}

impl Callers {
    async fn new() -> Self {
        let server = Server::start(&[]);
        let (alice, bob) = (server.new_buyer().await, server.new_buyer().await);
        let expired = token(&own_key(&server), &json!({"id": alice.user, "username": "anna", "exp": 1_767_225_600}));
        Self { server, alice, bob, expired }
    }

    /// Those who are nobody to a buyer's route.
    fn strangers(&self) -> [(&'static str, Option<&str>); 3] {
        [("anonymous", None), ("expired", Some(&self.expired)), ("service", Some(&self.server.service_token))]
    }

    async fn ask(&self, row: &(&str, &str, Access), id: &str, token: Option<&str>) -> Answer {
        let base = if row.2 == Access::Service { &self.server.internal } else { &self.server.public };
        let request = client().request(method(row.0), format!("{base}{}", filled(row.1, id)));
        let request = with_body(request, row);
        send(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }
}

fn method(name: &str) -> Method {
    Method::from_bytes(name.to_uppercase().as_bytes()).unwrap()
}

fn filled(path: &str, id: &str) -> String {
    let path = path
        .replace("{order_sn}", id)
        .replace("{id}", "4711")
        .replace("{user_id}", "1")
        .replace("{sku_id}", "48")
        .replace("{reference}", "nobody")
        .replace("{message_id}", "nobody")
        .replace("{trade_no}", "nobody");
    if path.ends_with("/miaosha/pay") { format!("{path}?orderSn={id}") } else { path }
}

/// A well-formed body, so that nothing but the caller is to blame.
fn with_body(request: RequestBuilder, (method, path, _): &(&str, &str, Access)) -> RequestBuilder {
    if *method == "get" || *method == "delete" {
        return request;
    }
    let items = json!([{"sku_id": "48", "quantity": 1}]);
    let receiver = json!({
        "name": "李先锋", "phone": "13888888888", "province": "上海", "city": "上海市", "detail_address": "大江大厦6层",
    });
    let body = match *path {
        path if path.ends_with("/receiver") => receiver,
        path if path.ends_with("/order/confirm") => json!({"48": 1}),
        path if path.ends_with("/order/submit") || path.starts_with("/oms/") => submission("not-a-token", 48, 1, 0),
        "/demo/login" => json!({"userId": 100_000}),
        "/api/v1/cart/lines/{sku_id}" => json!({"quantity": 1}),
        "/api/v1/checkouts" => json!({"items": items}),
        "/api/v1/flash-sales/{id}/challenge" => json!({"challenge": "x", "nonce": "1"}),
        "/api/v1/orders" => {
            json!({"checkout_token": "x", "total_amount": "1.00", "items": items, "receiver": receiver})
        }
        "/wms/waresku/check/lock" => json!([{"skuId": 4711, "num": 1, "orderToken": "nobody"}]),
        "/api/v1/orders/{order_sn}/returns" => json!({"sku_id": "48", "quantity": 1, "reason": "does not fit"}),
        "/admin/v1/orders/{order_sn}/ship" => json!({"delivery_company": "SF", "delivery_sn": "SF1"}),
        "/admin/v1/orders/{order_sn}/close" | "/admin/v1/orders/{order_sn}/refund" => json!({"reason": "out of sale"}),
        "/admin/v1/returns/{id}/reject" => json!({"note": "used"}),
        "/admin/v1/returns/{id}/receive" => json!({"restock": true}),
        "/admin/v1/flash-sales/{id}/restock" => json!({"units": 1}),
        "/admin/v1/stock/{sku_id}/adjustments" => json!({"ware_id": "99", "delta": 1, "reason": "stocktaking"}),
        "/admin/v1/reservations" => json!({"reference": "nobody", "items": [{"sku_id": "4711", "quantity": 1}]}),
        _ => json!({}),
    };
    request.header("idempotency-key", "matrix").header("if-match", "*").json(&body)
}

async fn routes(base: &str) -> Vec<(String, String)> {
    let document: Value = send(client().get(format!("{base}/openapi.json"))).await.json();
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| -> Vec<(String, String)> {
        let named = METHODS.iter().filter(|name| item.get(**name).is_some());
        named.map(|name| ((*name).to_owned(), path.clone())).collect()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn every_route_has_a_row() {
    let server = Server::start(&[]);
    let rows = |internal: bool| -> BTreeSet<(String, String)> {
        let both = ["/healthz", "/readyz", "/openapi.json", "/version"];
        let listed = ROWS.iter().filter(|row| both.contains(&row.1) || (row.2 == Access::Service) == internal);
        listed.map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect()
    };
    for (base, internal) in [(&server.public, false), (&server.internal, true)] {
        let routes: BTreeSet<_> = routes(base).await.into_iter().collect();
        assert_eq!(routes, rows(internal), "internal: {internal}");
    }
}

#[tokio::test]
async fn the_documents_say_what_opens_a_route() {
    let server = Server::start(&[]);
    for (base, internal) in [(&server.public, false), (&server.internal, true)] {
        let document: Value = send(client().get(format!("{base}/openapi.json"))).await.json();
        for (name, path, access) in ROWS.iter().filter(|row| (row.2 == Access::Service) == internal) {
            let security = &document["paths"][path][name]["security"];
            let is_open = security.as_array().is_some_and(Vec::is_empty);
            assert_eq!(is_open, *access == Access::Open, "{name} {path}: {security}");
        }
    }
}

#[tokio::test]
async fn strangers_get_nowhere() {
    let callers = Callers::new().await;
    for row in ROWS {
        for (name, token) in callers.strangers() {
            let answer = callers.ask(row, ABSENT, token).await;
            let is_refused = answer.status == 401;
            let opens = row.2 == Access::Open || (row.2 == Access::Service && name == "service");
            assert_eq!(is_refused, !opens, "{name}: {row:?}: {} {}", answer.status, answer.text);
        }
    }
    callers.server.assert_no_panic();
}

#[tokio::test]
async fn buyers_open_no_service_route_and_staff_no_buyers() {
    let callers = Callers::new().await;
    for row in ROWS.iter().filter(|row| row.2 == Access::Service) {
        for buyer in [&callers.alice, &callers.bob] {
            assert_eq!(callers.ask(row, ABSENT, Some(&buyer.token)).await.status, 401, "{row:?}");
            // The same path on the public listener is not there, whoever asks.
            let request = client().request(method(row.0), format!("{}{}", buyer.base, filled(row.1, ABSENT)));
            let status = send(with_body(request, row).bearer_auth(&buyer.token)).await.status;
            assert_eq!(status, 404, "{row:?}");
        }
    }
    for row in ROWS.iter().filter(|row| row.2 == Access::Buyer) {
        let answer = callers.ask(row, ABSENT, Some(&callers.alice.token)).await;
        assert!(![401, 403, 405].contains(&answer.status), "{row:?}: {} {}", answer.status, answer.text);
    }
}

/// Staff have no ids of their own to be kept apart: an id is there, or it is not.
#[tokio::test]
async fn staff_hear_of_absent_things_that_they_are() {
    let callers = Callers::new().await;
    let token = &callers.server.service_token;
    let named = ROWS.iter().filter(|row| row.1.starts_with("/admin/") && row.1.contains('{'));
    for (method, path, access) in named {
        let absent = path.replace("{sku_id}", "4711");
        let request =
            client().request(self::method(method), format!("{}{}", callers.server.internal, filled(&absent, ABSENT)));
        let answer = send(with_body(request, &(method, path, *access)).bearer_auth(token)).await;
        answer.assert_problem(404, "not-found");
    }
    callers.server.assert_no_panic();
}

/// A payment stands under its order, for its owner.
#[tokio::test]
async fn a_payment_is_its_orders() {
    let callers = Callers::new().await;
    let paid = async |buyer: &Buyer| {
        let (order_sn, form) = buyer.order(1).await;
        form.pay(&buyer.http).await;
        buyer.until_status(&order_sn, "awaiting_shipment").await;
        let payments = buyer.get(&format!("/api/v1/orders/{order_sn}/payments")).await.json();
        (order_sn, payments["data"][0].clone())
    };
    let [(mine, my_payment), (theirs, their_payment)] = [paid(&callers.alice).await, paid(&callers.bob).await];
    let get = async |order_sn: &str, payment: &Value| {
        let trade_no = payment["trade_no"].as_str().unwrap();
        callers.alice.get(&format!("/api/v1/orders/{order_sn}/payments/{trade_no}")).await
    };
    assert_eq!(get(&mine, &my_payment).await.json(), my_payment);
    for (order_sn, payment) in [(&mine, &their_payment), (&theirs, &their_payment), (&theirs, &my_payment)] {
        get(order_sn, payment).await.assert_problem(404, "not-found");
    }
}

#[tokio::test]
async fn anothers_order_is_as_absent_as_none() {
    let callers = Callers::new().await;
    let (alice, bob) = (&callers.alice, &callers.bob);
    let win = async |buyer: &Buyer| {
        let won = buyer.call("/api/v1/flash-sales/1/attempts").await;
        assert_eq!(won.status, 202, "{}", won.text);
        let order_sn = won.json()["order_sn"].as_str().unwrap().to_owned();
        buyer.get(&format!("/api/v1/attempts/{order_sn}?wait=10s")).await;
        order_sn
    };
    let wins = [win(alice).await, win(bob).await];
    for row in ROWS.iter().filter(|row| matches!(row.2, Access::Owner | Access::Winner)) {
        let ids = match row.2 {
            Access::Winner => wins.clone(),
            _ => [alice.order(1).await.0, bob.order(1).await.0],
        };
        let callers_and_ids = [(alice, &ids[0], &ids[1]), (bob, &ids[1], &ids[0])];
        for (caller, _, foreign) in callers_and_ids {
            let [anothers, absent] = [
                callers.ask(row, foreign, Some(&caller.token)).await,
                callers.ask(row, ABSENT, Some(&caller.token)).await,
            ];
            assert_eq!((anothers.status, absent.status), (404, 404), "{row:?}");
            // To the last byte, but for the number that was asked for.
            assert_eq!(anothers.text.replace(foreign.as_str(), ABSENT), absent.text, "{row:?}");
            let names = |answer: &Answer| answer.headers.keys().map(ToString::to_string).collect::<BTreeSet<_>>();
            assert_eq!(names(&anothers), names(&absent), "{row:?}");
        }
        for (caller, own, _) in callers_and_ids {
            if row.2 == Access::Owner {
                assert_eq!(caller.v1_order(own).await["status"], "awaiting_payment", "{row:?}: nobody else changed it");
            }
            let answer = callers.ask(row, own, Some(&caller.token)).await;
            if row.1.ends_with("/{trade_no}") {
                answer.assert_problem(404, "not-found");
                continue;
            }
            let is_for_shipped = row.0 == "post" && (row.1.ends_with("/receive") || row.1.ends_with("/returns"));
            if is_for_shipped {
                answer.assert_problem(409, "wrong-state");
                continue;
            }
            assert!((200..300).contains(&answer.status), "{row:?}: {} {}", answer.status, answer.text);
        }
    }
    let (of_alice, of_bob) = (alice.get("/api/v1/orders?limit=100").await, bob.get("/api/v1/orders?limit=100").await);
    let numbers = |answer: &Answer| -> BTreeSet<String> {
        let body = answer.json();
        body["data"].as_array().unwrap().iter().map(|order| order["order_sn"].to_string()).collect()
    };
    assert!(numbers(&of_alice).len() >= 6 && numbers(&of_alice).is_disjoint(&numbers(&of_bob)));
    callers.server.assert_no_panic();
}
