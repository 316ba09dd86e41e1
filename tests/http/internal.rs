//! What other services and staff ask on the internal listener.

use std::sync::OnceLock;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, Staff, client, send};

static DEPOT: OnceLock<Server> = OnceLock::new();

fn depot() -> &'static Server {
    Server::shared(&DEPOT, &[])
}

/// Every route of the internal listener.
pub const ROUTES: [(Method, &str); 39] = [
    (Method::POST, "/wms/waresku/check/lock"),
    (Method::POST, "/oms/order/1"),
    (Method::GET, "/ums/memberreceiveaddress/1"),
    (Method::GET, "/ums/member/info/1"),
    (Method::GET, "/pms/skuinfo/info/48"),
    (Method::GET, "/pms/skusaleattrvalue/48"),
    (Method::GET, "/admin/v1/flash-sales"),
    (Method::POST, "/admin/v1/flash-sales"),
    (Method::GET, "/admin/v1/flash-sales/1"),
    (Method::POST, "/admin/v1/flash-sales/1/arm"),
    (Method::POST, "/admin/v1/flash-sales/1/pause"),
    (Method::POST, "/admin/v1/flash-sales/1/resume"),
    (Method::POST, "/admin/v1/flash-sales/1/end"),
    (Method::GET, "/admin/v1/stock/48"),
    (Method::POST, "/admin/v1/stock/48/adjustments"),
    (Method::GET, "/admin/v1/audit"),
    (Method::GET, "/admin/v1/messages/parked"),
    (Method::POST, "/admin/v1/messages/parked/1/replay"),
    (Method::GET, "/metrics"),
    (Method::GET, "/admin/v1/flash-sales?limit=1"),
    (Method::PATCH, "/admin/v1/flash-sales/1"),
    (Method::POST, "/admin/v1/flash-sales/1/restock"),
    (Method::GET, "/admin/v1/stock/48/ledger"),
    (Method::POST, "/admin/v1/reservations"),
    (Method::GET, "/admin/v1/reservations/1"),
    (Method::POST, "/admin/v1/reservations/1/confirm"),
    (Method::POST, "/admin/v1/reservations/1/release"),
    (Method::GET, "/admin/v1/limits"),
    (Method::GET, "/admin/v1/messages/outbox"),
    (Method::GET, "/admin/v1/orders"),
    (Method::GET, "/admin/v1/orders/1"),
    (Method::POST, "/admin/v1/orders/1/ship"),
    (Method::POST, "/admin/v1/orders/1/close"),
    (Method::POST, "/admin/v1/orders/1/refund"),
    (Method::GET, "/admin/v1/returns"),
    (Method::GET, "/admin/v1/returns/1"),
    (Method::POST, "/admin/v1/returns/1/approve"),
    (Method::POST, "/admin/v1/returns/1/reject"),
    (Method::POST, "/admin/v1/returns/1/receive"),
];

#[tokio::test]
async fn nothing_opens_without_the_service_token() {
    let (http, buyer) = (client(), depot().new_buyer().await);
    let token = &depot().service_token;
    let wrong = [
        ("authorization", String::new()),
        ("authorization", "Bearer ".to_owned()),
        ("authorization", "Bearer wrong".to_owned()),
        ("authorization", format!("Bearer {token}x")),
        ("authorization", format!("Bearer {}", &token[1..])),
        ("authorization", format!("Basic {token}")),
        ("authorization", token.clone()),
        ("authorization", format!("Bearer {}", buyer.token)),
        ("cookie", format!("GMALL_TOKEN={token}")),
    ];
    for (method, path) in ROUTES {
        for (name, value) in &wrong {
            let request = http.request(method.clone(), format!("{}{path}", depot().internal));
            let answer = send(request.header(*name, value).json(&json!({}))).await;
            if path.starts_with("/admin") {
                answer.assert_problem(401, "unauthenticated");
            } else {
                assert_eq!((answer.status, &answer.json()["code"]), (401, &json!(401)), "{method} {path} {value}");
            }
        }
    }
    let sale = depot().staff().sale("1").await;
    assert_eq!(sale["state"], "live", "nobody ended it: {sale}");
}

async fn lock(staff: &Staff, token: &str, wants: &[(i64, i64)]) -> (i64, String) {
    let row = |(sku_id, num): &(i64, i64)| json!({"skuId": sku_id, "wareSkuId": null, "num": num, "orderToken": token});
    let body = Value::Array(wants.iter().map(row).collect());
    let (status, code, msg) = staff.post("/wms/waresku/check/lock", &body).await.said();
    assert_eq!(status, 200, "{msg}");
    (code, msg)
}

#[tokio::test]
async fn another_system_locks_all_or_nothing_and_once() {
    let server = Server::start(&[]);
    let staff = server.staff();
    let success = (0, "success".to_owned());
    let refused = |skus: &str| (1, format!("锁定失败：商品[{skus}]库存不足"));
    assert_eq!(staff.stock(49).await, (2000, 100), "the demo's sale");
    assert_eq!(lock(&staff, "their-order_1", &[(48, 5), (49, 7)]).await, success);
    assert_eq!((staff.stock(48).await, staff.stock(49).await), ((2000, 5), (2000, 107)));
    assert_eq!(lock(&staff, "their-order_1", &[(48, 5), (49, 7)]).await, success);
    assert_eq!(lock(&staff, "their-order_1", &[(48, 5)]).await, success);
    assert_eq!((staff.stock(48).await, staff.stock(49).await), ((2000, 5), (2000, 107)), "once");

    assert_eq!(lock(&staff, "their-order_2", &[(48, 5), (49, 1894)]).await, refused("49"));
    assert_eq!(lock(&staff, "their-order_2", &[(48, 1996), (49, 1894)]).await, refused("48, 49"));
    assert_eq!(lock(&staff, "their-order_2", &[(48, 1), (4711, 1)]).await, refused("4711"));
    assert_eq!((staff.stock(48).await, staff.stock(49).await), ((2000, 5), (2000, 107)), "all or nothing");
    assert_eq!(lock(&staff, "their-order_2", &[(49, 1893)]).await, success, "a refused token may try again");
    assert_eq!(staff.stock(49).await, (2000, 2000));
    assert_eq!(lock(&staff, "their-order_3", &[(49, 1)]).await, refused("49"));
}

#[tokio::test]
async fn another_service_saves_an_order_and_reads_members_and_skus() {
    let staff = depot().staff();
    let buyer = depot().new_buyer().await;
    let body = buyer.submission(48, 2, 0).await;
    let path = format!("/oms/order/{}", buyer.user);
    let order = staff.post(&path, &body).await.data();
    assert_eq!(
        (&order["memberId"], &order["status"], &order["totalAmount"]),
        (&json!(buyer.user), &json!(0), &json!(20000))
    );
    assert_eq!(staff.post(&path, &body).await.data()["orderSn"], order["orderSn"], "the same token again");
    let refused = staff.post("/oms/order/1", &body).await.said();
    assert_eq!((refused.0, refused.1), (200, 1), "another member's token: {}", refused.2);
    assert_eq!(staff.post("/oms/order/100000", &body).await.status, 404);

    let member = staff.get("/ums/member/info/1").await.data();
    let fields: Vec<_> = member.as_object().unwrap().keys().map(|name| name.to_lowercase()).collect();
    assert!(!fields.iter().any(|name| name.contains("password") || name.contains("salt")), "{fields:?}");
    assert_eq!((&member["id"], &member["integration"], &member["growth"]), (&json!(1), &json!(1000), &json!(1000)));
    assert_eq!((&member["username"], &member["mobile"]), (&json!("user1"), &json!("13888888888")));
    assert_eq!(staff.get("/ums/member/info/100000").await.status, 404);

    let addresses = staff.get("/ums/memberreceiveaddress/1").await.data();
    assert_eq!(addresses.as_array().unwrap().len(), 2);
    assert_eq!(addresses[1]["detailAddress"], "尚硅谷上海校区");
    assert_eq!(staff.get("/ums/memberreceiveaddress/100000").await.data(), json!([]));

    let sku = staff.get("/pms/skuinfo/info/48").await.data();
    assert_eq!((&sku["skuId"], &sku["price"]), (&json!(48), &json!(10000)));
    assert_eq!(sku["skuTitle"], "apple iphone xr 8g,白色,256");
    assert_eq!(staff.get("/pms/skuinfo/info/4711").await.status, 404);
    let attributes = staff.get("/pms/skusaleattrvalue/49").await.data();
    let first = json!({"id": 136, "skuId": 49, "attrId": 24, "attrName": "内存", "attrValue": "8g", "attrSort": 0});
    assert_eq!((attributes.as_array().unwrap().len(), &attributes[0]), (3, &first));
    assert_eq!(staff.get("/pms/skusaleattrvalue/4711").await.data(), json!([]));
}

#[tokio::test]
async fn stock_is_read_and_adjusted() {
    let server = Server::start(&[]);
    let staff = server.staff();
    let expected = json!({
        "sku_id": "49", "stock": 2000, "locked": 100, "available": 1900,
        "warehouses": [
            {"id": "3", "ware_id": "1", "stock": 1000, "locked": 100},
            {"id": "4", "ware_id": "2", "stock": 1000, "locked": 0},
        ],
    });
    let mut seen = staff.get("/admin/v1/stock/49").await.json();
    for warehouse in seen["warehouses"].as_array_mut().unwrap() {
        assert!(warehouse["id"].as_str().is_some_and(|id| id.parse::<i64>().is_ok()), "{warehouse}");
        warehouse["id"] = if warehouse["ware_id"] == "1" { json!("3") } else { json!("4") };
    }
    let mut total = seen.clone();
    total["warehouses"] = expected["warehouses"].clone();
    assert_eq!(total, expected);
    let locked: i64 = seen["warehouses"].as_array().unwrap().iter().map(|w| w["locked"].as_i64().unwrap()).sum();
    assert_eq!(locked, 100, "{seen}");

    let adjust = async |ware_id: &str, delta: i64| {
        let body = json!({"ware_id": ware_id, "delta": delta, "reason": "stocktaking"});
        staff.post("/admin/v1/stock/48/adjustments", &body).await
    };
    let up = adjust("1", 50).await;
    assert_eq!((up.status, &up.json()["stock"], &up.json()["available"]), (200, &json!(2050), &json!(2050)));
    assert_eq!(adjust("2", -1000).await.json()["stock"], 1050);
    adjust("2", -1).await.assert_problem(409, "insufficient-stock");
    adjust("9", 1).await.assert_problem(400, "validation");
    assert_eq!(staff.stock(48).await, (1050, 0));
    let one = json!({"ware_id": "1", "delta": 1, "reason": "x"});
    staff.post("/admin/v1/stock/4711/adjustments", &one).await.assert_problem(404, "not-found");

    // The SKU's actor has heard of it: 1,050 can be locked, and no more.
    assert_eq!(lock(&staff, "whole-shelf", &[(48, 1051)]).await.0, 1);
    assert_eq!(lock(&staff, "whole-shelf", &[(48, 1050)]).await.0, 0);
    adjust("1", -1).await.assert_problem(409, "insufficient-stock");
}

#[tokio::test]
async fn the_audit_has_its_shape() {
    let answer = depot().staff().get("/admin/v1/audit").await;
    let body = answer.json();
    assert_eq!((answer.status, &body["ok"]), (200, &json!(true)), "{body}");
    let ids: Vec<_> = body["invariants"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["I1", "I2", "I3", "I4", "I6", "I7", "I9", "I10", "I11", "I13", "I16", "I17"]);
    for invariant in body["invariants"].as_array().unwrap() {
        assert_eq!((&invariant["ok"], &invariant["broken"]), (&json!(true), &json!([])), "{invariant}");
        assert!(invariant["checked"].is_u64(), "{invariant}");
    }
    assert_eq!(body["invariants"][0]["checked"], 4, "four stock rows");
}

#[tokio::test]
async fn parked_messages_are_listed_and_replayed_once() {
    let server = Server::start(&[]);
    let staff = server.staff();
    let empty = json!({"data": [], "next_cursor": null, "has_more": false});
    assert_eq!(staff.get("/admin/v1/messages/parked").await.json(), empty);
    let park = "INSERT INTO mq_parked (message_id, queue, payload, reason, create_time)
                VALUES ('broken-1', 'ORDER-STOCK-QUEUE', '{\"no\":1}', 'not readable', 1767225600000)";
    server.database().await.execute(park, []).await;
    let parked = staff.get("/admin/v1/messages/parked").await.json();
    let expected = json!({
        "message_id": "broken-1", "queue": "ORDER-STOCK-QUEUE", "payload": "{\"no\":1}", "reason": "not readable",
        "parked_at": "2026-01-01T00:00:00.000Z", "replayed_at": null,
    });
    let parked_at = parked["data"][0]["parked_at"].as_str().unwrap();
    assert!(parked_at.starts_with("2026-01-01T00:00:00") && parked_at.ends_with('Z'), "{parked_at}");
    for (name, value) in expected.as_object().unwrap().iter().filter(|(name, _)| *name != "parked_at") {
        assert_eq!(&parked["data"][0][name], value, "{name}");
    }
    let replay =
        async |id: &str| send(staff.request(Method::POST, &format!("/admin/v1/messages/parked/{id}/replay"))).await;
    assert_eq!(replay("broken-1").await.status, 202);
    replay("broken-1").await.assert_problem(404, "not-found");
    replay("unknown").await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn metrics_are_text() {
    let answer = depot().staff().get("/metrics").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; version=0.0.4"));
    assert!(answer.text.contains("# TYPE seckill_"), "{}", answer.text);
}
