//! The life of an order after its payment, as buyer and staff see it.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::{Answer, Buyer, Server, Staff, until};

static SHOP: OnceLock<Server> = OnceLock::new();

fn shop() -> &'static Server {
    Server::shared(&SHOP, &[])
}

/// A paid order of SKU 48 whose units have left the books and whose points are credited.
async fn paid(buyer: &Buyer, count: u32) -> String {
    let before = points(buyer).await;
    let (order_sn, form) = buyer.order(count).await;
    form.pay(&buyer.http).await;
    buyer.until_status(&order_sn, "awaiting_shipment").await;
    until("points are there", async || points(buyer).await == before + 10_000 * i64::from(count)).await;
    let database = shop().database().await;
    until("the units have left the books", async || {
        let open = "SELECT count(*) FROM wms_stock_lock WHERE order_sn = ? AND state = 0";
        database.number(open, [order_sn.as_str().into()]).await == 0
    })
    .await;
    order_sn
}

async fn points(buyer: &Buyer) -> i64 {
    buyer.get("/api/v1/me").await.json()["points"].as_i64().unwrap()
}

async fn staff_do(staff: &Staff, order_sn: &str, verb: &str, body: Value) -> Answer {
    staff.post(&format!("/admin/v1/orders/{order_sn}/{verb}"), &body).await
}

async fn ship(staff: &Staff, order_sn: &str) {
    let parcel = json!({"delivery_company": "SF Express", "delivery_sn": "SF123"});
    let answer = staff_do(staff, order_sn, "ship", parcel).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

async fn completed(buyer: &Buyer, count: u32) -> String {
    let order_sn = paid(buyer, count).await;
    ship(&shop().staff(), &order_sn).await;
    let answer = buyer.call(&format!("/api/v1/orders/{order_sn}/receive")).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("completed")), "{}", answer.text);
    order_sn
}

async fn ask_back(buyer: &Buyer, order_sn: &str, quantity: u32) -> Answer {
    let wish = json!({"sku_id": "48", "quantity": quantity, "reason": "does not fit"});
    buyer.post(&format!("/api/v1/orders/{order_sn}/returns"), &wish).await
}

async fn step(staff: &Staff, id: &str, verb: &str, body: Value) -> Answer {
    staff.post(&format!("/admin/v1/returns/{id}/{verb}"), &body).await
}

fn told(row: &Value, status: &str, operator: &str) -> bool {
    row["status"] == status && row["operator"] == operator
}

#[tokio::test]
async fn an_order_is_shipped_and_received() {
    let (buyer, staff) = (shop().new_buyer().await, shop().staff());
    let order_sn = paid(&buyer, 1).await;
    ship(&staff, &order_sn).await;
    let order = buyer.v1_order(&order_sn).await;
    assert_eq!((&order["status"], &order["delivery_sn"]), (&json!("shipped"), &json!("SF123")));
    assert_eq!(order["allowed"], json!(["receive", "return", "partial_refund"]));
    let time = |name: &str| chrono::DateTime::parse_from_rfc3339(order[name].as_str().unwrap()).unwrap();
    assert_eq!((time("auto_receive_at") - time("shipped_at")).num_days(), 7);
    let again = staff_do(&staff, &order_sn, "ship", json!({"delivery_company": "x", "delivery_sn": "y"})).await;
    let again = again.assert_problem(409, "wrong-state");
    assert_eq!((&again["current_status"], &again["allowed"]), (&json!("shipped"), &order["allowed"]));

    let receive = format!("/api/v1/orders/{order_sn}/receive");
    shop().new_buyer().await.call(&receive).await.assert_problem(404, "not-found");
    let received = buyer.call(&receive).await;
    assert_eq!((received.status, &received.json()["status"]), (200, &json!("completed")));
    assert_eq!(received.json()["auto_receive_at"], json!(null));
    let again = buyer.call(&receive).await.assert_problem(409, "wrong-state");
    assert_eq!(again["current_status"], "completed");
    let history = buyer.get(&format!("/api/v1/orders/{order_sn}/history")).await.json();
    let rows = history["data"].as_array().unwrap();
    assert!(told(&rows[1], "shipped", "admin") && told(&rows[2], "completed", "user"), "{history}");
    let payments = buyer.get(&format!("/api/v1/orders/{order_sn}/payments")).await.json();
    assert_eq!(
        (&payments["data"][0]["amount"], &payments["data"][0]["status"]),
        (&json!("10000.00"), &json!("applied"))
    );
}

#[tokio::test]
async fn an_order_is_received_by_time() {
    // The shortest wait is a day, so the parcel's time is moved instead.
    let server = Server::start(&[("order.auto_confirm_days", "1"), ("order.sweep_interval", "50ms")]);
    let (buyer, staff) = (server.new_buyer().await, server.staff());
    let (order_sn, form) = buyer.order(1).await;
    form.pay(&buyer.http).await;
    buyer.until_status(&order_sn, "awaiting_shipment").await;
    ship(&staff, &order_sn).await;
    let database = server.database().await;
    let earlier = "UPDATE oms_order SET delivery_time = delivery_time - 86400000 WHERE order_sn = ?";
    database.execute(earlier, [order_sn.as_str().into()]).await;
    buyer.until_status(&order_sn, "completed").await;
    let history = buyer.get(&format!("/api/v1/orders/{order_sn}/history")).await.json();
    assert!(told(history["data"].as_array().unwrap().last().unwrap(), "completed", "system"), "{history}");
}

#[tokio::test]
async fn a_whole_order_is_refunded_before_shipment() {
    let server = Server::start(&[]);
    let (buyer, staff) = (server.new_buyer().await, server.staff());
    let before = staff.stock(48).await;
    let (order_sn, form) = buyer.order(2).await;
    form.pay(&buyer.http).await;
    buyer.until_status(&order_sn, "awaiting_shipment").await;
    let refunded = staff_do(&staff, &order_sn, "refund", json!({"reason": "the buyer asked"})).await;
    assert_eq!(refunded.status, 200, "{}", refunded.text);
    let file = refunded.json();
    assert_eq!((&file["status"], &file["refunds"][0]["amount"]), (&json!("closed"), &json!("20000.00")));
    until("the gateway has confirmed", async || {
        let refunds = buyer.get(&format!("/api/v1/orders/{order_sn}/refunds")).await.json();
        refunds["data"][0]["status"] == "done"
    })
    .await;
    assert_eq!(staff.stock(48).await, before);
    until("no points are left", async || points(&buyer).await == 0).await;
    let database = server.database().await;
    let back = "SELECT sum(amount) FROM sandbox_money WHERE out_trade_no = ? AND direction = 'OUT'";
    assert_eq!(database.number(back, [order_sn.as_str().into()]).await, 2_000_000);
    let again = staff_do(&staff, &order_sn, "refund", json!({"reason": "again"})).await;
    assert_eq!((again.status, again.json()["refunds"].as_array().unwrap().len()), (200, 1));
    let shipped = staff_do(&staff, &order_sn, "ship", json!({"delivery_company": "x", "delivery_sn": "y"})).await;
    assert_eq!(shipped.assert_problem(409, "wrong-state")["current_status"], "closed");
    assert_eq!(database.number(back, [order_sn.as_str().into()]).await, 2_000_000, "once");
    let audit = staff.get("/admin/v1/audit").await.json();
    assert_eq!(audit["ok"], true, "{audit}");
}

#[tokio::test]
async fn parts_of_a_payment_are_refunded() {
    let (buyer, staff) = (shop().new_buyer().await, shop().staff());
    let order_sn = paid(&buyer, 1).await;
    let part = async |amount: &str, reference: &str| {
        let body = json!({"amount": amount, "reference": reference, "reason": "scratched"});
        staff_do(&staff, &order_sn, "refund", body).await
    };
    for _ in 0..2 {
        let answer = part("100.50", "scratch").await;
        let file = answer.json();
        assert_eq!((answer.status, &file["status"]), (200, &json!("awaiting_shipment")), "{}", answer.text);
        assert_eq!(file["refunds"].as_array().unwrap().len(), 1, "{file}");
    }
    assert_eq!(points(&buyer).await, 9_899);
    let other = part("100.51", "scratch").await.assert_problem(409, "conflict");
    assert_eq!(other["refunded"], "100.50");
    let too_large = part("9899.51", "more").await.assert_problem(409, "refund-too-large");
    assert_eq!(too_large["refundable"], "9899.50");
    assert_eq!(part("9899.50", "more").await.status, 200);
    assert_eq!(points(&buyer).await, 0);
    for (body, name) in [
        (json!({"amount": "1.00", "reason": "x"}), "reference"),
        (json!({"reference": "a", "reason": "x"}), "reference"),
    ] {
        let refused = staff_do(&staff, &order_sn, "refund", body).await.assert_problem(400, "validation");
        assert_eq!(refused["field"], name);
    }
    // All its money is back already; closing it only brings the units home.
    let file = staff_do(&staff, &order_sn, "refund", json!({"reason": "all of it"})).await.json();
    assert_eq!((&file["status"], file["refunds"].as_array().unwrap().len()), (&json!("closed"), 2));
}

#[tokio::test]
async fn units_are_returned() {
    let (buyer, staff) = (shop().new_buyer().await, shop().staff());
    let order_sn = completed(&buyer, 3).await;
    let asked = ask_back(&buyer, &order_sn, 2).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    let request = asked.json();
    assert_eq!((&request["status"], &request["amount"]), (&json!("pending"), &json!("20000.00")));
    let id = request["id"].as_str().unwrap();
    let same = ask_back(&buyer, &order_sn, 2).await;
    assert_eq!((same.status, &same.json()["id"]), (200, &json!(id)));
    let other = ask_back(&buyer, &order_sn, 1).await.assert_problem(409, "conflict");
    assert_eq!(other["return_id"], id);

    let early = step(&staff, id, "receive", json!({"restock": true})).await.assert_problem(409, "wrong-state");
    assert_eq!((&early["current_status"], &early["allowed"]), (&json!("pending"), &json!(["approve", "reject"])));
    let approved = step(&staff, id, "approve", json!({"note": "to warehouse 1"})).await;
    assert_eq!((approved.status, &approved.json()["status"]), (200, &json!("returning")), "{}", approved.text);
    let received = step(&staff, id, "receive", json!({"restock": true, "note": "as new"})).await;
    assert_eq!((received.status, &received.json()["status"]), (200, &json!("done")), "{}", received.text);
    let late = step(&staff, id, "reject", json!({"note": "no"})).await.assert_problem(409, "wrong-state");
    assert_eq!((&late["current_status"], &late["allowed"]), (&json!("done"), &json!([])));

    let file = staff.get(&format!("/admin/v1/orders/{order_sn}")).await.json();
    assert_eq!((&file["status"], &file["user_id"]), (&json!("completed"), &json!(buyer.user.to_string())));
    assert_eq!((&file["refunds"][0]["amount"], &file["refunds"][0]["return_id"]), (&json!("20000.00"), &json!(id)));
    assert_eq!(
        (&file["returns"][0]["restocked"], &file["returns"][0]["handle_note"]),
        (&json!(true), &json!("to warehouse 1"))
    );
    assert_eq!(points(&buyer).await, 10_000);
    let database = shop().database().await;
    let restocked = "SELECT coalesce(sum(delta), 0) FROM wms_stock_ledger WHERE kind = 'return' AND reason = ?";
    assert_eq!(database.number(restocked, [order_sn.as_str().into()]).await, 2);
    let too_many = ask_back(&buyer, &order_sn, 2).await.assert_problem(409, "too-many-returned");
    assert_eq!(too_many["returnable"], 1);

    let rejected = ask_back(&buyer, &order_sn, 1).await.json();
    let answer = step(&staff, rejected["id"].as_str().unwrap(), "reject", json!({"note": "used"})).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("rejected")));
    assert_eq!(ask_back(&buyer, &order_sn, 1).await.status, 201, "a rejected unit may be asked for again");
    let listed = buyer.get(&format!("/api/v1/orders/{order_sn}/returns")).await.json();
    let states: Vec<_> = listed["data"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "rejected", "pending"]);
}

#[tokio::test]
async fn a_return_has_its_conditions() {
    let (buyer, stranger) = (shop().new_buyer().await, shop().new_buyer().await);
    let order_sn = paid(&buyer, 1).await;
    let early = ask_back(&buyer, &order_sn, 1).await.assert_problem(409, "wrong-state");
    assert_eq!(early["current_status"], "awaiting_shipment");
    ship(&shop().staff(), &order_sn).await;
    ask_back(&stranger, &order_sn, 1).await.assert_problem(404, "not-found");
    for path in ["returns", "refunds", "payments"] {
        stranger.get(&format!("/api/v1/orders/{order_sn}/{path}")).await.assert_problem(404, "not-found");
    }
    let body = json!({"sku_id": "49", "quantity": 1, "reason": "x"});
    let other =
        buyer.post(&format!("/api/v1/orders/{order_sn}/returns"), &body).await.assert_problem(400, "validation");
    assert_eq!(other["field"], "sku_id");
    let database = shop().database().await;
    let long_ago = "UPDATE oms_order SET status = 3, receive_time = 0 WHERE order_sn = ?";
    database.execute(long_ago, [order_sn.as_str().into()]).await;
    ask_back(&buyer, &order_sn, 1).await.assert_problem(409, "return-window-over");
}

#[tokio::test]
async fn cash_is_paid_at_the_door() {
    let (buyer, staff) = (shop().new_buyer().await, shop().staff());
    let body = buyer.submission(48, 1, 1).await;
    let made = buyer.post("/order/submit", &body).await.data();
    let order_sn = made["orderEntity"]["orderSn"].as_str().unwrap().to_owned();
    ship(&staff, &order_sn).await;
    let payments = format!("/api/v1/orders/{order_sn}/payments");
    assert_eq!(buyer.get(&payments).await.json()["data"], json!([]));
    assert_eq!(buyer.call(&format!("/api/v1/orders/{order_sn}/receive")).await.status, 200);
    let payment = buyer.get(&payments).await.json()["data"][0].clone();
    assert_eq!((&payment["amount"], &payment["status"]), (&json!("10000.00"), &json!("applied")));
    until("points are there", async || points(&buyer).await == 10_000).await;
    let body = json!({"amount": "10.00", "reference": "r", "reason": "late"});
    let file = staff_do(&staff, &order_sn, "refund", body).await.json();
    let refund = &file["refunds"][0];
    assert_eq!((&refund["channel"], &refund["status"]), (&json!("remittance"), &json!("done")), "{file}");
}

#[tokio::test]
async fn staff_close_an_unpaid_order() {
    let (buyer, staff) = (shop().new_buyer().await, shop().staff());
    let (order_sn, _) = buyer.order(1).await;
    let closed = staff_do(&staff, &order_sn, "close", json!({"reason": "out of sale"})).await;
    assert_eq!((closed.status, &closed.json()["status"]), (200, &json!("closed")), "{}", closed.text);
    let history = closed.json()["history"].clone();
    assert!(told(&history[0], "closed", "admin"), "{history}");
    let again = staff_do(&staff, &order_sn, "close", json!({"reason": "x"})).await.assert_problem(409, "wrong-state");
    assert_eq!(again["current_status"], "closed");
    let absent = "20260101080000000000000000000001";
    staff_do(&staff, absent, "close", json!({"reason": "x"})).await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn staff_search_and_page() {
    let server = Server::start(&[]);
    let (buyer, other, staff) = (server.new_buyer().await, server.new_buyer().await, server.staff());
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(buyer.order(1).await.0);
    }
    let strange = other.order(1).await.0;
    assert_eq!(buyer.call(&format!("/api/v1/orders/{}/cancel", made[2])).await.status, 200);
    let numbers = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|row| row["order_sn"].as_str().unwrap().to_owned()).collect()
    };
    let search = async |query: &str| staff.get(&format!("/admin/v1/orders?{query}")).await.json();
    assert_eq!(numbers(&search("status=closed").await), [made[2].clone()]);
    assert_eq!(numbers(&search(&format!("user_id={}", other.user)).await), std::slice::from_ref(&strange));
    assert_eq!(numbers(&search("sku_id=49").await), [""; 0]);
    assert_eq!(numbers(&search("sku_id=48&limit=1").await), [strange]);
    assert_eq!(numbers(&search("created_to=2020-01-01T00:00:00Z").await), [""; 0]);
    assert_eq!(numbers(&search("created_from=2020-01-01T00:00:00Z").await).len(), 6);

    let (mut seen, mut query) = (Vec::new(), format!("limit=2&user_id={}", buyer.user));
    loop {
        let page = search(&query).await;
        seen.extend(numbers(&page));
        // What is made meanwhile moves nothing.
        other.order(1).await;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("limit=2&user_id={}&cursor={cursor}", buyer.user);
    }
    made.reverse();
    assert_eq!(seen, made);
    assert_eq!(
        staff.get("/admin/v1/returns").await.json(),
        json!({"data": [], "next_cursor": null, "has_more": false})
    );
}

#[tokio::test]
async fn staff_list_returns() {
    let server = shop();
    let (buyer, staff) = (server.new_buyer().await, server.staff());
    let order_sn = completed(&buyer, 1).await;
    let asked = ask_back(&buyer, &order_sn, 1).await.json();
    let id = asked["id"].as_str().unwrap();
    assert_eq!(staff.get(&format!("/admin/v1/returns/{id}")).await.json(), asked);
    let mut query = "status=pending&limit=1".to_owned();
    let found = loop {
        let page = staff.get(&format!("/admin/v1/returns?{query}")).await.json();
        if page["data"].as_array().unwrap().iter().any(|row| row["id"] == id) {
            break true;
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break false };
        query = format!("status=pending&limit=1&cursor={cursor}");
    };
    assert!(found);
    staff.get("/admin/v1/returns/999999999").await.assert_problem(404, "not-found");
    server.assert_no_panic();
}
