//! The life of a flash sale in the hands of staff.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Server, until};

fn assert_counts(sale: &Value, expected: Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&sale[name], value, "{name} in {sale}");
    }
}

#[tokio::test]
async fn a_sale_is_created_armed_sold_paused_resumed_and_ended() {
    let server = Server::start(&[]);
    let staff = server.staff();
    let body = json!({
        "sku_id": "48", "price": "4999.00", "count": 5, "per_user_limit": 1,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2126-01-01T00:00:00Z",
    });
    let created = staff.post("/admin/v1/flash-sales", &body).await;
    let draft = created.json();
    let id = draft["id"].as_str().unwrap().to_owned();
    assert_eq!((created.status, created.header("location")), (201, &*format!("/admin/v1/flash-sales/{id}")));
    let fresh = json!({
        "sku_id": "48", "state": "draft", "price": "4999.00", "count": 5, "per_user_limit": 1,
        "granted": 0, "ordered": 0, "paid": 0, "released": 0, "remaining": 5,
    });
    assert_counts(&draft, fresh);
    assert_eq!(staff.stock(48).await, (2000, 0), "a draft holds nothing");
    for verb in ["pause", "resume"] {
        staff.sale_step(&id, verb).await.assert_problem(409, "wrong-state");
    }

    let armed = staff.sale_step(&id, "arm").await;
    assert_eq!((armed.status, &armed.json()["state"]), (200, &json!("live")));
    assert_eq!(staff.stock(48).await, (2000, 5), "carved out");
    staff.sale_step(&id, "arm").await.assert_problem(409, "wrong-state");
    let second = staff.new_sale(48, 1, -1).await;
    let conflict = staff.sale_step(&second, "arm").await.assert_problem(409, "conflict");
    assert_eq!(conflict["flash_sale_id"], json!(id), "{conflict}");
    assert_eq!(staff.stock(48).await, (2000, 5));

    assert_eq!(staff.sale_step(&id, "pause").await.json()["state"], "paused");
    assert_eq!(staff.sale_step(&id, "resume").await.json()["state"], "live");

    let buyers = join_all((0..3).map(|_| server.new_buyer())).await;
    let mut order_sns = Vec::new();
    for buyer in &buyers {
        let won = buyer.call("/miaosha/48").await.json();
        order_sns.push(won["data"]["orderSn"].as_str().unwrap_or_else(|| panic!("{won}")).to_owned());
    }
    for (buyer, order_sn) in buyers.iter().zip(&order_sns) {
        let data = buyer.get(&format!("/miaosha/pay?orderSn={order_sn}")).await.data();
        assert_eq!(data["code"], Value::Null, "{data}");
    }
    assert_counts(
        &staff.sale(&id).await,
        json!({"granted": 3, "ordered": 3, "paid": 0, "released": 0, "remaining": 2}),
    );

    let data = buyers[0].get(&format!("/miaosha/pay?orderSn={}", order_sns[0])).await.data();
    crate::support::PayForm::read(data["payForm"].as_str().unwrap()).pay(&buyers[0].http).await;
    until("paid", async || staff.sale(&id).await["paid"] == 1).await;
    let cancelled = buyers[1].call(&format!("/api/v1/orders/{}/cancel", order_sns[1])).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    until("the unit is back in the sale", async || staff.sale(&id).await["released"] == 1).await;
    assert_counts(
        &staff.sale(&id).await,
        json!({"granted": 3, "ordered": 3, "paid": 1, "released": 1, "remaining": 3}),
    );
    until("the paid unit left the stock", async || staff.stock(48).await == (1999, 4)).await;

    let ended = staff.sale_step(&id, "end").await;
    assert_eq!((ended.status, &ended.json()["state"]), (200, &json!("ended")));
    assert_eq!(staff.stock(48).await, (1999, 1), "leftovers are back when end answers; one order is open");
    assert_eq!(staff.sale_step(&id, "end").await.status, 200, "ending twice is fine");
    for verb in ["arm", "pause", "resume"] {
        staff.sale_step(&id, verb).await.assert_problem(409, "wrong-state");
    }
    let closed = buyers[2].call(&format!("/api/v1/orders/{}/cancel", order_sns[2])).await;
    assert_eq!(closed.status, 200);
    until("a late close gives to ordinary stock", async || staff.stock(48).await == (1999, 0)).await;

    assert_eq!(staff.sale_step(&second, "arm").await.status, 200, "the SKU is free for another sale");
    let audit = staff.get("/admin/v1/audit").await.json();
    assert_eq!(audit["ok"], true, "{audit}");
}

#[tokio::test]
async fn arming_needs_units_and_time() {
    let server = Server::start(&[]);
    let staff = server.staff();
    let greedy = staff.new_sale(48, 2001, 0).await;
    let problem = staff.sale_step(&greedy, "arm").await.assert_problem(409, "insufficient-stock");
    assert_eq!(problem["skus"][0], json!({"sku_id": "48", "wanted": 2001, "available": 2000}));
    let over = staff.new_sale(48, 1, -7200).await;
    staff.sale_step(&over, "arm").await.assert_problem(409, "wrong-state");
    assert_eq!(staff.stock(48).await, (2000, 0));
    for verb in ["arm", "pause", "resume", "end"] {
        staff.sale_step("4711", verb).await.assert_problem(404, "not-found");
    }
    let list = staff.get("/admin/v1/flash-sales").await.json();
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|sale| sale["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [over.as_str(), greedy.as_str(), "1"], "newest first");
    assert_eq!((&list["next_cursor"], &list["has_more"]), (&Value::Null, &json!(false)));
}

#[tokio::test]
async fn a_sale_ends_by_itself_when_its_window_is_over() {
    let server = Server::start(&[]);
    let staff = server.staff();
    // The window of an hour closes a second or two from now.
    let id = staff.new_sale(48, 7, -3598).await;
    assert_eq!(staff.sale_step(&id, "arm").await.status, 200);
    assert_eq!(staff.stock(48).await.1, 7);
    until("it has ended", async || staff.sale(&id).await["state"] == "ended").await;
    until("the units are back", async || staff.stock(48).await == (2000, 0)).await;
}
