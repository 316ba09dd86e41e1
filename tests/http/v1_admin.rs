//! The admin API beyond the life of a sale: edits by version, restock, ledger, reservations, lists, limits.

use std::sync::OnceLock;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, Staff, send};

static DEPOT: OnceLock<Server> = OnceLock::new();

fn depot() -> &'static Server {
    Server::shared(&DEPOT, &[])
}

async fn edit(staff: &Staff, id: &str, tag: Option<&str>, body: Value) -> crate::support::Answer {
    let request = staff.request(Method::PATCH, &format!("/admin/v1/flash-sales/{id}")).json(&body);
    send(match tag {
        Some(tag) => request.header("if-match", tag),
        None => request,
    })
    .await
}

#[tokio::test]
async fn a_draft_is_edited_by_version() {
    let server = Server::start(&[]);
    let staff = server.staff();
    let id = staff.new_sale(48, 10, 60).await;
    let tag = staff.get(&format!("/admin/v1/flash-sales/{id}")).await.header("etag").to_owned();
    assert!(tag.starts_with('"'), "{tag}");
    edit(&staff, &id, None, json!({"count": 11})).await.assert_problem(428, "version-missing");
    let edited = edit(&staff, &id, Some(&tag), json!({"count": 11, "price": "88.80"})).await;
    let body = edited.json();
    assert_eq!((edited.status, &body["count"], &body["price"]), (200, &json!(11), &json!("88.80")), "{body}");
    assert_ne!(edited.header("etag"), tag);
    edit(&staff, &id, Some(&tag), json!({"count": 12})).await.assert_problem(412, "version-conflict");
    let wrong = edit(&staff, &id, Some(edited.header("etag")), json!({"ends_at": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(wrong.assert_problem(400, "validation")["field"], "ends_at");
    staff.sale_step(&id, "arm").await;
    edit(&staff, &id, Some("*"), json!({"count": 12})).await.assert_problem(409, "wrong-state");
    edit(&staff, "4711", Some("*"), json!({"count": 12})).await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn a_sold_out_sale_is_restocked_and_sells_again() {
    let server = Server::start(&[]);
    let (staff, buyers) = (server.staff(), [server.new_buyer().await, server.new_buyer().await]);
    let id = staff.new_sale(48, 1, -1).await;
    staff.sale_step(&id, "arm").await;
    let attempts = format!("/api/v1/flash-sales/{id}/attempts");
    assert_eq!(buyers[0].call(&attempts).await.status, 202);
    buyers[1].call(&attempts).await.assert_problem(409, "sold-out");
    let restock =
        async |units: i64| staff.post(&format!("/admin/v1/flash-sales/{id}/restock"), &json!({"units": units})).await;
    let sale = restock(2).await;
    let body = sale.json();
    assert_eq!((sale.status, &body["count"], &body["remaining"]), (200, &json!(3), &json!(2)), "{body}");
    crate::support::until("the gate lets buyers in again", async || buyers[1].call(&attempts).await.status == 202)
        .await;
    restock(2000).await.assert_problem(409, "insufficient-stock");
    assert_eq!(staff.stock(48).await, (2000, 3));
    staff.sale_step(&id, "end").await;
    restock(1).await.assert_problem(409, "wrong-state");
    assert_eq!(staff.get("/admin/v1/audit").await.json()["ok"], true);
}

#[tokio::test]
async fn the_ledger_goes_page_by_page() {
    let server = Server::start(&[]);
    let staff = server.staff();
    for delta in [5, -3, 7] {
        let body = json!({"ware_id": "1", "delta": delta, "reason": format!("count {delta}")});
        assert_eq!(staff.post("/admin/v1/stock/48/adjustments", &body).await.status, 200);
    }
    let (mut deltas, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let page = staff.get(&format!("/admin/v1/stock/48/ledger?{query}")).await.json();
        for row in page["data"].as_array().unwrap() {
            deltas.push((row["kind"].as_str().unwrap().to_owned(), row["delta"].as_i64().unwrap()));
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("limit=2&cursor={cursor}");
    }
    let expected = [("adjust", 7), ("adjust", -3), ("adjust", 5), ("opening", 1000), ("opening", 1000)];
    assert_eq!(deltas, expected.map(|(kind, delta)| (kind.to_owned(), delta)));
    let newest = staff.get("/admin/v1/stock/48/ledger?limit=1").await.json();
    assert_eq!((&newest["data"][0]["stock_after"], &newest["data"][0]["reason"]), (&json!(1009), &json!("count 7")));
    staff.get("/admin/v1/stock/4711/ledger").await.assert_problem(404, "not-found");
    for (query, field) in [("limit=0", "limit"), ("cursor=x", "cursor"), ("surprise=1", "")] {
        let refused = staff.get(&format!("/admin/v1/stock/48/ledger?{query}")).await.assert_problem(400, "validation");
        assert_eq!(refused["field"], field);
    }
}

#[tokio::test]
async fn a_reservation_is_held_and_resolved_once() {
    let server = Server::start(&[]);
    let staff = server.staff();
    let wish = |reference: &str, quantity: i64| {
        json!({"reference": reference, "items": [
            {"sku_id": "48", "quantity": quantity}, {"sku_id": "49", "quantity": 1},
        ]})
    };
    let path = "/admin/v1/reservations";
    let held = staff.post(path, &wish("shop-1", 5)).await;
    let body = held.json();
    assert_eq!((held.status, &body["state"]), (201, &json!("locked")), "{body}");
    assert_eq!(body["items"], wish("shop-1", 5)["items"]);
    assert_eq!(held.header("location"), "/admin/v1/reservations/shop-1");
    let again = staff.post(path, &wish("shop-1", 5)).await;
    assert_eq!((again.status, &again.text), (200, &held.text));
    staff.post(path, &wish("shop-1", 6)).await.assert_problem(422, "key-reused");
    assert_eq!(staff.stock(48).await, (2000, 5));
    let short = staff.post(path, &wish("shop-2", 1996)).await.assert_problem(409, "insufficient-stock");
    assert_eq!(short["skus"], json!([{"sku_id": "48", "wanted": 1996, "available": 1995}]));

    let step = async |reference: &str, verb: &str| {
        send(staff.request(Method::POST, &format!("{path}/{reference}/{verb}"))).await
    };
    let sold = step("shop-1", "confirm").await;
    assert_eq!((sold.status, &sold.json()["state"]), (200, &json!("confirmed")));
    assert_eq!(staff.stock(48).await, (1995, 0));
    step("shop-1", "confirm").await.assert_problem(409, "already-confirmed");
    step("shop-1", "release").await.assert_problem(409, "already-confirmed");
    staff.post(path, &wish("shop-3", 1)).await;
    assert_eq!(step("shop-3", "release").await.json()["state"], "released");
    step("shop-3", "confirm").await.assert_problem(409, "already-released");
    assert_eq!(staff.get(&format!("{path}/shop-3")).await.json()["state"], "released");
    for verb in ["confirm", "release"] {
        step("nobody", verb).await.assert_problem(404, "not-found");
    }
    let (order_sn, _) = server.new_buyer().await.order(1).await;
    let refused = step(&order_sn, "confirm").await.assert_problem(409, "wrong-state");
    assert_eq!(refused["current_status"], "awaiting_payment");
    assert_eq!(staff.get("/admin/v1/audit").await.json()["ok"], true);
}

#[tokio::test]
async fn sales_and_messages_go_page_by_page() {
    let server = Server::start(&[]);
    let staff = server.staff();
    for _ in 0..4 {
        staff.new_sale(48, 1, 60).await;
    }
    let ids = async |query: &str| {
        let page = staff.get(&format!("/admin/v1/flash-sales?{query}")).await.json();
        let ids: Vec<String> =
            page["data"].as_array().unwrap().iter().map(|sale| sale["id"].as_str().unwrap().to_owned()).collect();
        (ids, page["next_cursor"].as_str().map(str::to_owned))
    };
    let (first, cursor) = ids("limit=3").await;
    staff.new_sale(48, 1, 60).await;
    let (rest, end) = ids(&format!("limit=3&cursor={}", cursor.unwrap())).await;
    assert_eq!((first, rest, end), (vec!["5".into(), "4".into(), "3".into()], vec!["2".into(), "1".into()], None));
    let shown = send(reqwest::Client::new().get(format!("{}/api/v1/flash-sales", server.public))).await.json();
    assert_eq!(shown["data"].as_array().unwrap().len(), 1, "drafts are nobody's business");

    let park = "INSERT INTO mq_parked (message_id, queue, payload, reason, create_time)
                VALUES (?, 'ORDER-STOCK-QUEUE', '{}', 'not readable', 1767225600000)";
    let database = server.database().await;
    for message_id in ["broken-1", "broken-2", "broken-3"] {
        database.execute(park, [message_id.into()]).await;
    }
    let page = staff.get("/admin/v1/messages/parked?limit=2").await.json();
    assert_eq!((&page["data"][0]["message_id"], &page["has_more"]), (&json!("broken-3"), &json!(true)));
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = staff.get(&format!("/admin/v1/messages/parked?cursor={cursor}")).await.json();
    assert_eq!((&page["data"][0]["message_id"], &page["has_more"]), (&json!("broken-1"), &json!(false)));
    let outbox = staff.get("/admin/v1/messages/outbox?limit=5").await;
    assert_eq!(outbox.status, 200, "{}", outbox.text);
}

#[tokio::test]
async fn the_limits_in_force_are_shown() {
    let body = depot().staff().get("/admin/v1/limits").await.json();
    let shown = ["per_ip", "per_user", "max_quantity", "max_lines"].map(|name| body[name].clone());
    assert_eq!(shown, [json!("off"), json!("off"), json!(99), json!(50)]);
    assert!(body["max_in_flight"].as_u64().is_some_and(|most| most > 0), "{body}");
}
