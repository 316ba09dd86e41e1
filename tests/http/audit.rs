//! `seckill audit` finds each invariant that is broken on purpose, and nothing in a sound store.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::place::{copy, execute_without_rules, is_cluster};
use crate::support::{PayForm, Server, seckill, until};

/// What makes every row old enough to be audited.
const AGE: &str = "UPDATE oms_order SET modify_time = modify_time - 40000, create_time = create_time - 40000";

/// An invariant, and how it is broken.
const BREAKS: [(&str, &str); 26] = [
    ("I1", "UPDATE wms_ware_sku SET stock_locked = stock + 1 WHERE id = 1"),
    ("I1", "UPDATE wms_ware_sku SET stock_locked = -1 WHERE id = 1"),
    ("I2", "UPDATE wms_ware_sku SET stock_locked = stock_locked + 1 WHERE id = 1"),
    ("I2", "UPDATE sms_flash_sale_allotment SET undrawn = undrawn - 1"),
    ("I3", "UPDATE wms_ware_sku SET stock = stock + 1 WHERE id = 1"),
    ("I3", "UPDATE wms_stock_lock SET num = num + 1 WHERE state = 1"),
    ("I4", "UPDATE wms_stock_lock SET state = 2 WHERE order_sn IN (SELECT order_sn FROM oms_order WHERE status = 0)"),
    ("I4", "DELETE FROM wms_stock_lock WHERE order_sn IN (SELECT order_sn FROM oms_order WHERE status = 1)"),
    (
        "I4",
        "INSERT INTO wms_stock_lock (order_sn, ware_sku_id, sku_id, num, state, create_time, modify_time) \
            VALUES ('nobody', 1, 48, 1, 0, 0, 0)",
    ),
    ("I6", "UPDATE sms_flash_sale SET granted = granted + 1"),
    (
        "I6",
        "INSERT INTO sms_flash_sale_grant (order_sn, sale_id, user_id, ordinal, create_time) \
            SELECT 'again', sale_id, user_id, ordinal + 1, create_time FROM sms_flash_sale_grant LIMIT 1",
    ),
    ("I7", "DROP INDEX oms_order_token; UPDATE oms_order SET order_token = 'same' WHERE order_token IS NOT NULL"),
    ("I9", "UPDATE oms_payment_info SET payment_status = 'MISMATCH'"),
    ("I9", "UPDATE oms_order SET status = 1 WHERE status = 0 AND sale_id IS NULL"),
    ("I10", "UPDATE ums_integration_change_history SET change_count = change_count + 1 WHERE order_sn IS NOT NULL"),
    ("I10", "DELETE FROM ums_integration_change_history WHERE order_sn IS NOT NULL"),
    ("I10", "UPDATE ums_member SET integration = 0 WHERE id = 1"),
    (
        "I11",
        "INSERT INTO mq_outbox (message_id, routing_key, payload, create_time) VALUES ('lost', 'stock.unlock', '{}', 0)",
    ),
    ("I3", "UPDATE wms_stock_lock SET returned = 0 WHERE returned = 1 AND state = 1"),
    ("I9", "DELETE FROM oms_payment_info WHERE alipay_trade_no LIKE 'cash-%'"),
    ("I10", "DELETE FROM ums_integration_change_history WHERE reversal_of IS NOT NULL"),
    ("I16", "UPDATE oms_refund_info SET refund = refund * 100"),
    ("I16", "DELETE FROM oms_refund_info WHERE refund_sn LIKE 'whole-%'"),
    ("I17", "UPDATE oms_order_return_apply SET sku_count = sku_count + 1"),
    ("I17", "UPDATE oms_order_return_apply SET restocked = 0"),
    ("I13", "UPDATE oms_order SET pay_before = 0 WHERE status = 0"),
];

fn audit(data_dir: &Path) -> (Option<i32>, Value) {
    let output = seckill(data_dir, &[]).args(["audit", "--json"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {:?}", output.stderr));
    (output.status.code(), report)
}

fn broken(report: &Value) -> BTreeSet<&str> {
    let invariants = report["invariants"].as_array().unwrap().iter();
    let found = invariants.filter(|invariant| invariant["ok"] != true).inspect(|invariant| {
        assert!(!invariant["broken"].as_array().unwrap().is_empty(), "says what is broken: {invariant}");
    });
    found.map(|invariant| invariant["id"].as_str().unwrap()).collect()
}

/// A store with an order of each kind: unpaid, paid, closed, of a flash sale, refunded, on delivery with units returned.
async fn fill(data_dir: &Path) {
    let mut server = Server::start_on(data_dir, &[]);
    let (buyer, winner) = (server.new_buyer().await, server.new_buyer().await);
    buyer.order(1).await;
    let (closed, _) = buyer.order(2).await;
    assert_eq!(buyer.call(&format!("/api/v1/orders/{closed}/cancel")).await.status, 200);
    let (paid, form) = buyer.order(3).await;
    form.pay(&buyer.http).await;
    let won = winner.call("/miaosha/49").await.json();
    let won = won["data"]["orderSn"].as_str().unwrap();
    let page = winner.get(&format!("/miaosha/pay?orderSn={won}")).await.data();
    PayForm::read(page["payForm"].as_str().unwrap());
    buyer.until_status(&paid, "awaiting_shipment").await;
    until("all is carried out", async || {
        let points = buyer.get("/api/v1/me").await.json()["points"] == 30_000;
        points && server.staff().stock(48).await == (1997, 1)
    })
    .await;
    after_sale(&server).await;
    assert_eq!(server.stop().code(), Some(0));
}

/// One order refunded before shipment, one paid at the door of which one unit of two came back.
async fn after_sale(server: &Server) {
    let (buyer, staff) = (server.new_buyer().await, server.staff());
    let (refunded, form) = buyer.order(1).await;
    form.pay(&buyer.http).await;
    buyer.until_status(&refunded, "awaiting_shipment").await;
    let points = async |expected: i64| buyer.get("/api/v1/me").await.json()["points"] == expected;
    until("points are there", async || points(10_000).await).await;
    let answer = staff.post(&format!("/admin/v1/orders/{refunded}/refund"), &json!({"reason": "asked"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);

    let body = buyer.submission(48, 2, 1).await;
    let made = buyer.post("/order/submit", &body).await.data();
    let order_sn = made["orderEntity"]["orderSn"].as_str().unwrap().to_owned();
    let parcel = json!({"delivery_company": "SF", "delivery_sn": "SF1"});
    assert_eq!(staff.post(&format!("/admin/v1/orders/{order_sn}/ship"), &parcel).await.status, 200);
    assert_eq!(buyer.call(&format!("/api/v1/orders/{order_sn}/receive")).await.status, 200);
    until("points are there", async || points(20_000).await).await;
    let wish = json!({"sku_id": "48", "quantity": 1, "reason": "broken"});
    let asked = buyer.post(&format!("/api/v1/orders/{order_sn}/returns"), &wish).await.json();
    let path = format!("/admin/v1/returns/{}", asked["id"].as_str().unwrap());
    assert_eq!(staff.post(&format!("{path}/approve"), &json!({})).await.status, 200);
    until("the units have left the books", async || {
        staff.post(&format!("{path}/receive"), &json!({"restock": true})).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn each_broken_invariant_is_found_and_a_sound_store_passes() {
    let sound = tempfile::tempdir().unwrap();
    fill(sound.path()).await;
    execute_without_rules(sound.path(), AGE).await;
    let (code, report) = audit(sound.path());
    assert_eq!((code, &report["ok"], broken(&report)), (Some(0), &json!(true), BTreeSet::new()), "{report}");
    for (id, sql) in BREAKS {
        let copied = tempfile::tempdir().unwrap();
        copy(sound.path(), copied.path());
        execute_without_rules(copied.path(), sql).await;
        let (code, report) = audit(copied.path());
        assert_eq!((code, &report["ok"]), (Some(1), &json!(false)), "{id} by {sql}: {report}");
        assert!(broken(&report).contains(id), "{id} by {sql}: {:?}", broken(&report));
    }
    let text = tempfile::tempdir().unwrap();
    copy(sound.path(), text.path());
    execute_without_rules(text.path(), BREAKS[2].1).await;
    let output = seckill(text.path(), &[]).arg("audit").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("I2   BROKEN") && said.contains("stock row 1: "), "{said}");
}

#[tokio::test]
async fn an_audit_of_nothing_says_so() {
    let home = tempfile::tempdir().unwrap();
    let output = seckill(home.path(), &[]).arg("audit").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = if is_cluster() { "has no tables of this server" } else { "does not exist" };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("database") && said.contains(complaint), "{said}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is made");
}
