//! What the client concludes from answers that are not as they should be.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use actors::domain::{Money, OrderSn, TradeNo};
use actors::ports::gateway::{Gateway, GatewayError, RefundAnswer, TradeClose, TradeQuery};
use seckill::gateway::alipay::sign::SigningKey;
use seckill::gateway::alipay::{AlipayClient, CallLimits};
use seckill::gateway::sandbox::api::envelope;
use tokio::time::Instant;

use crate::support::{Seeded, StillClock, key_files, settings};

const QUERY: &str = "alipay.trade.query";

/// A gateway that answers every request with one body, and remembers the requests.
struct Canned {
    answer: Mutex<(u16, String)>,
    requests: Mutex<Vec<String>>,
}

struct Stage {
    canned: Arc<Canned>,
    client: AlipayClient,
    alipay: SigningKey,
    order_sn: OrderSn,
}

fn trade() -> TradeNo {
    TradeNo::parse("T1").unwrap()
}

fn client_at(base: &str, limits: CallLimits) -> (AlipayClient, SigningKey) {
    let files = key_files();
    let keys = files.load_client().unwrap();
    let client = AlipayClient::new(settings(base), keys, limits, StillClock::new(), Seeded::new()).unwrap();
    (client, files.load_gateway().unwrap().alipay)
}

async fn answer(canned: web::Data<Canned>, request: actix_web::HttpRequest, body: web::Bytes) -> HttpResponse {
    let seen = format!("{} {}", request.query_string(), String::from_utf8_lossy(&body));
    canned.requests.lock().unwrap().push(seen);
    let (status, body) = canned.answer.lock().unwrap().clone();
    HttpResponse::build(status.try_into().unwrap()).insert_header(("location", "/elsewhere")).body(body)
}

impl Stage {
    fn start() -> Self {
        let canned = Arc::new(Canned { answer: Mutex::default(), requests: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let data = canned.clone();
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::from(data.clone())).default_service(web::to(answer))
        });
        actix_web::rt::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
        let (client, alipay) = client_at(&base, CallLimits::default());
        let order_sn = OrderSn::parse("20260101080000000000000000000021").unwrap();
        Self { canned, client, alipay, order_sn }
    }

    fn will_answer(&self, status: u16, body: impl Into<String>) {
        *self.canned.answer.lock().unwrap() = (status, body.into());
        self.canned.requests.lock().unwrap().clear();
    }

    fn will_say(&self, method: &str, content: &str) {
        self.will_answer(200, self.signed(method, content));
    }

    fn signed(&self, method: &str, content: &str) -> String {
        envelope(method, content, &self.alipay.sign(content).unwrap())
    }

    fn requests(&self) -> Vec<String> {
        self.canned.requests.lock().unwrap().clone()
    }

    async fn query(&self) -> Result<TradeQuery, GatewayError> {
        self.client.query(&self.order_sn).await
    }

    fn trade(&self) -> String {
        format!(
            r#"{{"code":"10000","msg":"Success","out_trade_no":"{}","trade_no":"T1","trade_status":"TRADE_SUCCESS","total_amount":"88.88"}}"#,
            self.order_sn
        )
    }
}

#[actix_web::test]
async fn a_changed_or_unsigned_answer_concludes_nothing() {
    let stage = Stage::start();
    let good = stage.signed(QUERY, &stage.trade());
    stage.will_answer(200, good.clone());
    assert!(matches!(stage.query().await, Ok(TradeQuery::Exists { amount: Money(8888), .. })));

    let not_exist = r#"{"code":"40004","msg":"Business Failed","sub_code":"ACQ.TRADE_NOT_EXIST"}"#;
    let response = "alipay_trade_query_response";
    for body in [
        good.replace("88.88", "0.01"),
        good.replace("TRADE_SUCCESS", "TRADE_CLOSED"),
        good.replace(r#""msg""#, r#" "msg""#),
        good.replace("trade_query", "trade_close"),
        format!(r#"{{"{response}":{}}}"#, stage.trade()),
        format!(r#"{{"{response}":{not_exist}}}"#),
        good.replace(&format!(r#""{response}""#), &format!(r#""{response}":{not_exist},"{response}""#)),
        format!(r#"{{"error_response":{not_exist}}}"#),
        stage.signed("error", not_exist),
    ] {
        assert_ne!(body, good);
        stage.will_answer(200, body.clone());
        assert!(stage.query().await.is_err(), "{body}");
        assert_eq!(stage.requests().len(), 1, "asking again would not help: {body}");
    }
}

#[actix_web::test]
async fn a_signed_answer_must_still_be_the_right_one() {
    let stage = Stage::start();
    for content in [
        stage.trade().replace(stage.order_sn.as_str(), "20260101080000000000000000000022"),
        stage.trade().replace("88.88", "88.888"),
        stage.trade().replace("TRADE_SUCCESS", "TRADE_PENDING"),
        stage.trade().replace(r#""trade_no":"T1","#, ""),
        r#"{"code":"40004","sub_code":"ACQ.INVALID_PARAMETER"}"#.to_owned(),
        r#"{"code":"40004","sub_code":"isv.no-permission"}"#.to_owned(),
        r#"{"code":"40004"}"#.to_owned(),
        r#"{"code":"40002","sub_code":"isv.invalid-app-id"}"#.to_owned(),
        r#"{"msg":"Success"}"#.to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
    ] {
        stage.will_say(QUERY, &content);
        assert!(stage.query().await.is_err(), "{content}");
    }
    stage.will_say(QUERY, r#"{"code":"40004","sub_code":"ACQ.TRADE_NOT_EXIST"}"#);
    assert_eq!(stage.query().await, Ok(TradeQuery::NotExist));
}

#[actix_web::test]
async fn a_passing_fault_is_tried_three_times_with_the_same_request() {
    let stage = Stage::start();
    let busy = stage.signed("alipay.trade.refund", r#"{"code":"20000","sub_code":"isp.unknow-error"}"#);
    let system = stage.signed("alipay.trade.refund", r#"{"code":"40004","sub_code":"ACQ.SYSTEM_ERROR"}"#);
    for (status, body) in
        [(200, busy), (200, system), (502, String::new()), (302, String::new()), (200, "<html>".into())]
    {
        stage.will_answer(status, body.clone());
        assert!(stage.client.refund(&trade(), Money(1), "late-1", "x").await.is_err(), "{status} {body}");
        let requests = stage.requests();
        assert_eq!(requests.len(), 3, "{status} {body}");
        assert!(requests.iter().all(|request| *request == requests[0]), "{requests:?}");
        assert!(requests[0].contains("late-1"), "{requests:?}");
    }
}

#[actix_web::test]
async fn close_and_refund_read_their_answers_with_care() {
    let stage = Stage::start();
    let (close, refund, query) = ("alipay.trade.close", "alipay.trade.refund", "alipay.trade.fastpay.refund.query");
    for (sub_code, meaning) in [
        ("ACQ.TRADE_NOT_EXIST", Some(TradeClose::Closed)),
        ("ACQ.TRADE_STATUS_ERROR", Some(TradeClose::NotClosable)),
        ("ACQ.TRADE_HAS_SUCCESS", Some(TradeClose::NotClosable)),
        ("ACQ.NEW_IN_2030", Some(TradeClose::NotClosable)),
        ("ACQ.SYSTEM_ERROR", None),
    ] {
        stage.will_say(close, &format!(r#"{{"code":"40004","sub_code":"{sub_code}"}}"#));
        assert_eq!(stage.client.close(&stage.order_sn).await.ok(), meaning, "{sub_code}");
    }
    stage.will_say(close, r#"{"code":"10000"}"#);
    assert_eq!(stage.client.close(&stage.order_sn).await, Ok(TradeClose::Closed));
    stage.will_say(close, r#"{"code":"10000","out_trade_no":"another"}"#);
    assert!(stage.client.close(&stage.order_sn).await.is_err());

    stage.will_say(refund, r#"{"code":"10000","trade_no":"T1","fund_change":"Y"}"#);
    let refunding = async || stage.client.refund(&trade(), Money(1), "late-1", "x").await;
    assert_eq!(refunding().await, Ok(RefundAnswer::Done));
    stage.will_say(refund, r#"{"code":"10000","trade_no":"T2","fund_change":"Y"}"#);
    assert!(refunding().await.is_err());
    stage.will_say(refund, r#"{"code":"40004","sub_code":"ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"}"#);
    assert!(refunding().await.is_err());
    assert!(stage.client.refund(&trade(), Money(0), "late-1", "x").await.is_err());

    for (content, meaning) in [
        (r#"{"code":"10000","out_request_no":"late-1","refund_status":"REFUND_SUCCESS"}"#, Some(RefundAnswer::Done)),
        (r#"{"code":"10000","out_request_no":"late-2","refund_status":"REFUND_SUCCESS"}"#, Some(RefundAnswer::Pending)),
        (r#"{"code":"10000","out_request_no":"late-1"}"#, Some(RefundAnswer::Pending)),
        (r#"{"code":"10000"}"#, Some(RefundAnswer::Pending)),
        (r#"{"code":"40004","sub_code":"ACQ.TRADE_NOT_EXIST"}"#, None),
    ] {
        stage.will_say(query, content);
        assert_eq!(stage.client.refund_query(&trade(), "late-1").await.ok(), meaning, "{content}");
    }
}

#[actix_web::test]
async fn an_endless_answer_is_cut_off() {
    let stage = Stage::start();
    stage.will_answer(200, " ".repeat(64 * 1024 + 1));
    let error = stage.query().await.unwrap_err();
    assert!(error.0.contains("too large"), "{error}");
}

#[actix_web::test]
async fn a_gateway_that_is_down_or_silent_is_an_error_in_time() {
    let order_sn = OrderSn::parse("1").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());

    // Connections are taken by the kernel, nobody ever answers.
    let limits = CallLimits { total: Duration::from_millis(300), ..CallLimits::default() };
    let (client, _) = client_at(&base, limits);
    let start = Instant::now();
    assert!(client.query(&order_sn).await.is_err());
    assert!(
        start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );

    drop(listener);
    let (client, _) = client_at(&base, CallLimits::default());
    let start = Instant::now();
    let error = client.refund(&trade(), Money(1), "late-1", "x").await.unwrap_err();
    assert!(start.elapsed() < CallLimits::default().total, "{:?}", start.elapsed());
    assert!(error.0.contains("no connection") && error.0.contains("try 3"), "{error}");
    assert!(!error.0.contains("sign="), "an error never shows the request: {error}");
}
