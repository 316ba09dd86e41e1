//! The course's flash sale: /miaosha/{skuId} and /miaosha/pay.

use std::sync::OnceLock;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Buyer, PayForm, Server, send, until};

static SHOP: OnceLock<Server> = OnceLock::new();

/// The demo's own sale of SKU 49 stays open on this one.
fn shop() -> &'static Server {
    Server::shared(&SHOP, &[])
}

async fn buy(buyer: &Buyer, sku_id: i64) -> Value {
    let mut answer = buyer.call(&format!("/miaosha/{sku_id}")).await.json();
    answer["msg"].take()
}

#[tokio::test]
async fn every_spelling_of_the_path_buys_one_unit() {
    for path in ["/miaosha/49", "/order/miaosha/49"] {
        for prefix in ["", "/api"] {
            for method in [Method::GET, Method::POST] {
                let buyer = shop().new_buyer().await;
                let path = format!("{prefix}{path}");
                let answer = send(buyer.request(method.clone(), &path)).await;
                let body = answer.json();
                let order_sn = body["data"]["orderSn"].as_str().unwrap_or_else(|| panic!("{method} {path}: {body}"));
                assert_eq!(answer.said(), (200, 0, format!("秒杀成功，订单号：{order_sn}")), "{method} {path}");
                let again = send(buyer.request(method.clone(), &path)).await;
                assert_eq!(again.said(), (200, 1, "您已参与过本次秒杀".into()));
                assert_eq!(again.json()["data"], json!({"orderSn": order_sn}));
            }
        }
    }
}

#[tokio::test]
async fn a_cookie_of_another_site_buys_nothing() {
    let buyer = shop().new_buyer().await;
    for method in [Method::GET, Method::POST] {
        let request = buyer.http.request(method, format!("{}/miaosha/49", buyer.base));
        let request = request.header("cookie", format!("GMALL_TOKEN={}", buyer.token));
        let answer = send(request.header("origin", "https://evil.example")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!(403)));
    }
    assert!(buy(&buyer, 49).await.as_str().unwrap().starts_with("秒杀成功"), "nothing was bought before");
}

#[tokio::test]
async fn a_winner_waits_for_the_order_and_pays_it() {
    let (winner, other) = (shop().new_buyer().await, shop().new_buyer().await);
    let won = winner.call("/miaosha/49").await.json();
    let order_sn = won["data"]["orderSn"].as_str().unwrap();
    let path = format!("/miaosha/pay?orderSn={order_sn}");
    // The wait is bounded: who hears 6 asks again.
    let mut page = winner.get(&path).await;
    until("the order is there", async || {
        if page.json()["data"]["code"] == 6 {
            page = winner.get(&path).await;
        }
        page.json()["data"]["code"] != 6
    })
    .await;
    let data = page.data();
    assert_eq!((&data["code"], &data["orderId"]), (&Value::Null, &json!(order_sn)), "{data}");
    let order = &data["orderEntity"];
    assert_eq!(
        (&order["status"], &order["payAmount"], &order["memberId"]),
        (&json!(0), &json!(4999), &json!(winner.user))
    );
    assert_eq!(order["receiverDetailAddress"], format!("大江大厦{}室", winner.user));
    let form = PayForm::read(data["payForm"].as_str().unwrap());
    assert_eq!(form.order_sn, order_sn);

    let foreign = other.get(&path).await;
    let absent = other.get("/miaosha/pay?orderSn=20260101080000000000000000000099").await;
    assert_eq!((foreign.status, &foreign.text), (404, &absent.text), "another's order looks like none");
    assert_eq!(absent.status, 404);

    form.pay(&winner.http).await;
    winner.until_status(order_sn, "awaiting_shipment").await;
    let data = winner.get(&path).await.data();
    assert_eq!((&data["orderEntity"]["status"], data.get("payForm")), (&json!(1), None));
}

/// A grant as if another node had just made it.
async fn insert_grant(server: &Server, order_sn: &str, user: i64, state: i64, reason: Option<&str>) {
    let ordinal = (state != 1).then_some(1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let insert = "INSERT INTO sms_flash_sale_grant (order_sn, sale_id, user_id, ordinal, state, reason, create_time)
                  VALUES (?, 1, ?, ?, ?, ?, ?)";
    let now = i64::try_from(now).unwrap();
    let values = [order_sn.into(), user.into(), ordinal.into(), state.into(), reason.into(), now.into()];
    server.database().await.execute(insert, values).await;
}

#[tokio::test]
async fn an_order_that_is_not_there_yet_is_code_6_and_one_that_failed_code_4() {
    let server = Server::start(&[]);
    let (slow, unlucky) = (server.new_buyer().await, server.new_buyer().await);
    insert_grant(&server, "20260101080000000000000000000001", slow.user, 0, None).await;
    insert_grant(&server, "20260101080000000000000000000002", unlucky.user, 1, Some("no such SKU")).await;
    let failed = unlucky.get("/miaosha/pay?orderSn=20260101080000000000000000000002").await.json();
    assert_eq!((&failed["data"]["code"], &failed["msg"]), (&json!(4), &json!("no such SKU")), "{failed}");
    let started = std::time::Instant::now();
    let pending = slow.get("/miaosha/pay?orderSn=20260101080000000000000000000001").await.json();
    assert_eq!((&pending["data"]["code"], &pending["data"]["orderEntity"]), (&json!(6), &Value::Null), "{pending}");
    let waited = started.elapsed().as_millis();
    assert!((9_000..15_000).contains(&waited), "it waits 10 s on the latch, not {waited} ms");
}

#[tokio::test]
async fn a_sale_says_where_in_its_life_it_is() {
    let server = Server::start(&[]);
    let (staff, buyer) = (server.staff(), server.new_buyer().await);
    let said = async |sku_id: i64| buy(&buyer, sku_id).await;
    assert_eq!(buyer.call("/miaosha/48").await.status, 404, "no sale of this SKU");
    assert_eq!(buyer.call("/miaosha/4711").await.status, 404);

    let future = staff.new_sale(48, 3, 3600).await;
    assert_eq!(buyer.call("/miaosha/48").await.status, 404, "a draft is nobody's business");
    assert_eq!(staff.sale_step(&future, "arm").await.status, 200);
    assert_eq!(said(48).await, "秒杀尚未开始！");
    assert_eq!(staff.sale_step(&future, "end").await.status, 200);
    assert_eq!(said(48).await, "秒杀结束！");

    let sale = staff.new_sale(48, 3, -10).await;
    assert_eq!(staff.sale_step(&sale, "arm").await.status, 200);
    assert_eq!(staff.sale_step(&sale, "pause").await.status, 200);
    assert_eq!(said(48).await, "秒杀尚未开始！");
    assert_eq!(staff.sale_step(&sale, "resume").await.status, 200);
    let buyers = join_all((0..20).map(|_| server.new_buyer())).await;
    let answers = join_all(buyers.iter().map(|buyer| buy(buyer, 48))).await;
    let won = answers.iter().filter(|msg| msg.as_str().unwrap().starts_with("秒杀成功")).count();
    let lost = answers.iter().filter(|msg| *msg == "秒杀失败，欢迎再次秒杀！").count();
    assert_eq!((won, lost), (3, 17), "{answers:?}");
    assert_eq!(said(48).await, "秒杀失败，欢迎再次秒杀！");
    let winner = answers.iter().position(|msg| msg.as_str().unwrap().starts_with("秒杀成功")).unwrap();
    until("a winner of a sold-out sale hears of the win", async || {
        buy(&buyers[winner], 48).await == "您已参与过本次秒杀"
    })
    .await;

    assert_eq!(staff.sale_step(&sale, "end").await.status, 200);
    assert_eq!(said(48).await, "秒杀结束！");
}
