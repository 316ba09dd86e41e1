//! REST v1.

use std::sync::OnceLock;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PayForm, Server, client, send};

static SHOP: OnceLock<Server> = OnceLock::new();

fn shop() -> &'static Server {
    Server::shared(&SHOP, &[])
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(text).is_ok())
}

#[tokio::test]
async fn an_order_has_its_shape() {
    let buyer = shop().new_buyer().await;
    let (order_sn, _) = buyer.order(2).await;
    let order = buyer.v1_order(&order_sn).await;
    let expected = json!({
        "order_sn": order_sn, "status": "awaiting_payment", "total_amount": "20000.00", "pay_amount": "20000.00",
        "freight_amount": "0.00", "promotion_amount": "0.00", "coupon_amount": "0.00", "delivery_sn": null,
        "shipped_at": null, "auto_receive_at": null, "received_at": null, "currency": "CNY", "pay_type": "online", "flash_sale_id": null, "paid_at": null, "allowed": ["pay", "close"],
        "receiver": {
            "name": "李先锋", "phone": "13888888888", "post_code": "200122", "province": "上海", "city": "上海市",
            "region": "松江区", "detail_address": "大江大厦6层",
        },
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&order[name], value, "{name}");
    }
    let item = &order["items"][0];
    assert_eq!((&item["sku_id"], &item["price"], &item["quantity"]), (&json!("48"), &json!("10000.00"), &json!(2)));
    assert_eq!(item["title"], "apple iphone xr 8g,白色,256");
    assert!(["created_at", "pay_before", "updated_at"].iter().all(|name| is_time(&order[name])), "{order}");
}

#[tokio::test]
async fn the_list_goes_page_by_page_newest_first() {
    let buyer = shop().new_buyer().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(buyer.order(1).await.0);
    }
    made.reverse();
    let cancelled = buyer.call(&format!("/api/v1/orders/{}/cancel", made[3])).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    for limit in [1, 3, 7, 100] {
        let (mut seen, mut query) = (Vec::new(), format!("limit={limit}"));
        loop {
            let answer = buyer.get(&format!("/api/v1/orders?{query}")).await;
            let page = answer.json();
            let rows = page["data"].as_array().unwrap();
            assert!((1..=limit).contains(&rows.len()), "{page}");
            seen.extend(rows.iter().map(|order| order["order_sn"].as_str().unwrap().to_owned()));
            assert_eq!(page["has_more"], json!(!page["next_cursor"].is_null()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            query = format!("limit={limit}&cursor={cursor}");
            assert_eq!(answer.header("link"), format!("</api/v1/orders?{query}>; rel=\"next\""));
        }
        assert_eq!(seen, made, "limit {limit}");
    }
    let counts = buyer.get("/api/v1/orders/counts").await.json();
    let listed = buyer.get("/api/v1/orders?limit=100").await.json()["data"].as_array().unwrap().len();
    assert_eq!(counts["counts"].as_object().unwrap().len(), 6, "{counts}");
    assert_eq!(counts["counts"].as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>(), listed as u64);
    assert_eq!(counts["counts"]["closed"], 1);
    let closed = buyer.get("/api/v1/orders?status=closed").await.json();
    assert_eq!((closed["data"].as_array().unwrap().len(), &closed["data"][0]["order_sn"]), (1, &json!(made[3])));
    let nobody = shop().new_buyer().await.get("/api/v1/orders").await.json();
    assert_eq!(nobody, json!({"data": [], "next_cursor": null, "has_more": false}));
}

#[tokio::test]
async fn a_sale_has_a_tag_and_the_server_a_version() {
    let get = async |path: &str, known: &str| {
        send(client().get(format!("{}{path}", shop().public)).header("if-none-match", known)).await
    };
    let sale = get("/api/v1/flash-sales/1", "\"x\"").await;
    assert_eq!((sale.status, sale.header("cache-control")), (200, "public, max-age=1"));
    let same = get("/api/v1/flash-sales/1", sale.header("etag")).await;
    assert_eq!((same.status, same.text.as_str(), same.header("etag")), (304, "", sale.header("etag")));
    let version = json!({"name": "seckill", "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(get("/version", "").await.json(), version);
    let inside = send(client().get(format!("{}/version", shop().internal))).await;
    assert_eq!(inside.json(), version);
}

#[tokio::test]
async fn an_order_is_cancelled_once_and_says_why_not_again() {
    let buyer = shop().new_buyer().await;
    let (order_sn, form) = buyer.order(1).await;
    let cancel = format!("/api/v1/orders/{order_sn}/cancel");
    let closed = buyer.call(&cancel).await;
    assert_eq!(
        (closed.status, &closed.json()["status"], &closed.json()["allowed"]),
        (200, &json!("closed"), &json!([]))
    );
    let again = buyer.call(&cancel).await.assert_problem(409, "wrong-state");
    assert_eq!((&again["current_status"], &again["allowed"]), (&json!("closed"), &json!([])));
    let pay = buyer.call(&format!("/api/v1/orders/{order_sn}/payments")).await.assert_problem(409, "wrong-state");
    assert_eq!(pay["current_status"], "closed");
    let history = buyer.get(&format!("/api/v1/orders/{order_sn}/history")).await.json();
    let rows = history["data"].as_array().unwrap();
    assert_eq!(
        (rows.len(), &rows[0]["status"], &rows[0]["operator"]),
        (1, &json!("closed"), &json!("user")),
        "{history}"
    );
    assert!(is_time(&rows[0]["at"]));
    let late = send(buyer.http.post(&form.action).form(&[("biz_content", &form.biz_content)])).await;
    // Either the trade was closed at the gateway, or it never existed there: money that still comes is sent back.
    assert!([200, 409].contains(&late.status), "{}", late.text);

    let (paid, form) = buyer.order(1).await;
    form.pay(&buyer.http).await;
    buyer.until_status(&paid, "awaiting_shipment").await;
    let cancel = format!("/api/v1/orders/{paid}/cancel");
    assert_eq!(buyer.call(&cancel).await.json()["status"], "closed");
    let refunds = buyer.get(&format!("/api/v1/orders/{paid}/refunds")).await.json();
    assert_eq!((&refunds["data"][0]["amount"], refunds["data"].as_array().unwrap().len()), (&json!("10000.00"), 1));
    let refused = buyer.call(&cancel).await.assert_problem(409, "wrong-state");
    assert_eq!((&refused["current_status"], &refused["allowed"]), (&json!("closed"), &json!([])));
}

#[tokio::test]
async fn a_pay_page_may_be_asked_for_again() {
    let buyer = shop().new_buyer().await;
    let (order_sn, _) = buyer.order(1).await;
    let answer = buyer.call(&format!("/api/v1/orders/{order_sn}/payments")).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let form = PayForm::read(answer.json()["pay_form"].as_str().unwrap());
    assert_eq!(form.order_sn, order_sn);
    form.pay(&buyer.http).await;
    buyer.until_status(&order_sn, "awaiting_shipment").await;
}

#[tokio::test]
async fn anothers_order_looks_exactly_like_none() {
    let (owner, other) = (shop().new_buyer().await, shop().new_buyer().await);
    let (order_sn, _) = owner.order(1).await;
    let absent = "20260101080000000000000000000099";
    for (method, tail) in
        [(Method::GET, ""), (Method::GET, "/history"), (Method::POST, "/cancel"), (Method::POST, "/payments")]
    {
        let ask = async |order_sn: &str| {
            let request = other.request(method.clone(), &format!("/api/v1/orders/{order_sn}{tail}"));
            send(request.header("idempotency-key", "k")).await
        };
        let (foreign, none) = (ask(&order_sn).await, ask(absent).await);
        foreign.assert_problem(404, "not-found");
        assert_eq!(foreign.text.replace(&order_sn, absent), none.text, "{tail}");
        let odd = "'%20OR%201=1";
        assert_eq!(ask(odd).await.text.replace(odd, absent), none.text);
    }
    let attempt = other.get(&format!("/api/v1/attempts/{order_sn}")).await;
    attempt.assert_problem(404, "not-found");
    assert_eq!(owner.v1_order(&order_sn).await["status"], "awaiting_payment");
}

#[tokio::test]
async fn an_attempt_wins_waits_and_is_limited() {
    let (buyer, other) = (shop().new_buyer().await, shop().new_buyer().await);
    let won = buyer.call("/api/v1/flash-sales/1/attempts").await;
    let body = won.json();
    let order_sn = body["order_sn"].as_str().unwrap();
    assert_eq!((won.status, &body["status"]), (202, &json!("granted")));
    assert_eq!(won.header("location"), format!("/api/v1/attempts/{order_sn}"));
    let status = buyer.get(&format!("{}?wait=10s", won.header("location"))).await;
    let status = status.json();
    assert_eq!((&status["status"], &status["order"]["order_sn"]), (&json!("ordered"), &json!(order_sn)), "{status}");
    assert_eq!((&status["order"]["pay_amount"], &status["order"]["flash_sale_id"]), (&json!("4999.00"), &json!("1")));
    let again = buyer.call("/api/v1/flash-sales/1/attempts").await.assert_problem(409, "limit-reached");
    assert_eq!(again["order_sn"], order_sn);
    other.get(&format!("/api/v1/attempts/{order_sn}?wait=1s")).await.assert_problem(404, "not-found");
    other.call("/api/v1/flash-sales/4711/attempts").await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn a_sales_attempts_say_where_it_is_in_its_life() {
    let server = Server::start(&[]);
    let (staff, buyer) = (server.staff(), server.new_buyer().await);
    let id = staff.new_sale(48, 1, 3600).await;
    let (sale, attempts) = (format!("/api/v1/flash-sales/{id}"), format!("/api/v1/flash-sales/{id}/attempts"));
    buyer.get(&sale).await.assert_problem(404, "not-found");
    buyer.call(&attempts).await.assert_problem(404, "not-found");
    assert_eq!(staff.sale_step(&id, "arm").await.status, 200);
    assert_eq!(buyer.get(&sale).await.json()["state"], "armed");
    buyer.call(&attempts).await.assert_problem(425, "not-started");
    staff.sale_step(&id, "end").await;
    buyer.call(&attempts).await.assert_problem(410, "ended");
    let id = staff.new_sale(48, 1, -1).await;
    staff.sale_step(&id, "arm").await;
    let buyers = join_all((0..5).map(|_| server.new_buyer())).await;
    let path = format!("/api/v1/flash-sales/{id}/attempts");
    let mut statuses: Vec<_> =
        join_all(buyers.iter().map(|buyer| buyer.call(&path))).await.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409, 409, 409, 409]);
    buyer.call(&path).await.assert_problem(409, "sold-out");
    let shown = buyer.get(&format!("/api/v1/flash-sales/{id}")).await.json();
    assert!(shown.get("granted").is_none() && shown.get("remaining").is_none(), "no counts for buyers: {shown}");
}

#[tokio::test]
async fn what_everyone_may_see() {
    let http = client();
    let get = async |path: &str| send(http.get(format!("{}{path}", shop().public))).await;
    assert!(is_time(&get("/api/v1/time").await.json()["now"]));
    let skus = get("/api/v1/skus").await.json();
    assert_eq!((skus["data"].as_array().unwrap().len(), &skus["has_more"]), (2, &json!(false)));
    assert_eq!((&skus["data"][0]["sku_id"], &skus["data"][0]["price"]), (&json!("48"), &json!("10000.00")));
    let sales = get("/api/v1/flash-sales").await;
    assert_eq!(sales.header("cache-control"), "public, max-age=1");
    let sale = &sales.json()["data"][0];
    assert_eq!((&sale["id"], &sale["sku_id"], &sale["state"]), (&json!("1"), &json!("49"), &json!("live")), "{sale}");
    assert!(is_time(&sale["starts_at"]) && is_time(&sale["ends_at"]), "{sale}");
    assert_eq!(sale, &get("/api/v1/flash-sales/1").await.json());
    get("/api/v1/flash-sales/4711").await.assert_problem(404, "not-found");
    get("/api/v1/me").await.assert_problem(401, "unauthenticated");
    get("/api/v1/orders").await.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_document_lists_what_answers() {
    let http = client();
    let answer = send(http.get(format!("{}/openapi.json", shop().public))).await;
    let document = answer.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(!path.contains("/admin") && !path.contains("/wms"), "{path} is internal");
        for method in ["get", "post", "put", "delete", "patch"] {
            let url = format!("{}{}", shop().public, path.replace("{sku_id}", "49").replace(['{', '}'], ""));
            let method_name = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = send(http.request(method_name, url)).await;
            if item.get(method).is_none() {
                assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text);
                continue;
            }
            operations += 1;
            let names_a_thing = path.contains("{id}") || path.contains("{order_sn}");
            assert!(answer.status != 405, "{method} {path}: {}", answer.text);
            assert!(answer.status != 404 || names_a_thing, "{method} {path}: {}", answer.text);
        }
    }
    assert!(operations > 25, "{operations}");
    for wanted in [
        "/order/confirm",
        "/api/order/submit",
        "/miaosha/{sku_id}",
        "/order/miaosha/{sku_id}",
        "/miaosha/pay",
        "/api/v1/orders/{order_sn}/cancel",
        "/healthz",
    ] {
        assert!(document["paths"].get(wanted).is_some(), "{wanted}");
    }
}

#[tokio::test]
async fn other_methods_and_unknown_paths_keep_the_shape_of_their_surface() {
    let http = client();
    let ask = async |method: &str, path: &str| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        send(http.request(method, format!("{}{path}", shop().public))).await
    };
    for (method, path, allow) in [
        ("DELETE", "/api/v1/orders", "GET, POST"),
        ("POST", "/api/v1/orders/1", "GET"),
        ("PUT", "/api/v1/orders/1/cancel", "POST"),
        ("PATCH", "/api/v1/time", "GET"),
        ("OPTIONS", "/api/v1/orders", "GET, POST"),
        ("GET", "/api/v1/cart/lines/48", "PUT, DELETE"),
        ("POST", "/api/v1/orders/1/receiver", "PATCH"),
        ("GET", "/api/v1/flash-sales/1/attempts", "POST"),
    ] {
        let answer = ask(method, path).await;
        answer.assert_problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
    for (method, path, allow) in [
        ("GET", "/order/confirm", "POST"),
        ("DELETE", "/miaosha/49", "GET, POST"),
        ("POST", "/miaosha/pay", "GET"),
        ("POST", "/api/miaosha/pay", "GET"),
        ("PUT", "/api/order/submit", "POST"),
        ("GET", "/order/pay/alipay/success", "POST"),
        ("OPTIONS", "/order/submit", "POST"),
        ("GET", "/demo/login", "POST"),
    ] {
        let answer = ask(method, path).await;
        assert_eq!(answer.said(), (405, 405, "This path has other methods".into()), "{method} {path}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
    for path in ["/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/orders/1/nothing", "/api/v1/orders/"] {
        ask("GET", path).await.assert_problem(404, "not-found");
    }
    for path in ["/nothing", "/order/nothing", "/api/nothing", "/order/confirm/", "/ORDER/confirm"] {
        assert_eq!(ask("GET", path).await.said(), (404, 404, "Not found".into()), "{path}");
    }
    for path in ["/miaosha/49", "/order/submit", "/api/v1/orders"] {
        let head = ask("HEAD", path).await;
        assert_eq!((head.status, head.text.as_str()), (405, ""), "a HEAD changes nothing: {path}");
    }
    assert_eq!(ask("HEAD", "/").await.status, 200);
}
