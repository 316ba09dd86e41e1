//! The cashier page and its buttons, and what the gateway refuses.

use actors::ports::gateway::{Gateway, PayPage, TradeQuery};
use seckill::gateway::alipay::{AlipayClient, AlipaySettings, CallLimits};

use crate::support::{PayForm, Seeded, Stage, browser, pay_page, settings, until};

async fn money_lines(stage: &Stage) -> usize {
    stage.sandbox.ledger().money(0, 100).await.unwrap().len()
}

#[actix_web::test]
async fn the_page_shows_the_order_without_any_script() {
    let stage = Stage::start().await;
    let subject = "<script>alert(1)</script>\" & 白色".to_owned();
    let page = PayPage { subject, ..pay_page("20260101080000000000000000000011", 123_456) };
    let response = stage.open_cashier(&page).await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let policy = header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self'; form-action 'self' http://127.0.0.1:"),
        "{policy}"
    );
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!((header("x-content-type-options"), header("cache-control")), ("nosniff".into(), "no-store".into()));
    let html = response.text().await.unwrap();
    assert!(!html.contains("<script"), "{html}");
    for shown in ["1234.56", "20260101080000000000000000000011", "2026-01-01 08:30:00", "白色", "alert(1)"] {
        assert!(html.contains(shown), "{shown} in {html}");
    }
    let style = browser().get(format!("{}/sandbox/cashier.css", stage.base)).send().await.unwrap();
    assert_eq!(
        (style.status().as_u16(), style.headers()["content-type"].to_str().unwrap()),
        (200, "text/css; charset=utf-8")
    );
    stage.end().await;
}

#[actix_web::test]
async fn the_form_has_the_promised_shape() {
    let stage = Stage::start().await;
    let html = stage.client.pay_form(&pay_page("20260101080000000000000000000012", 8888)).await.unwrap();
    assert!(html.starts_with("<form ") && html.ends_with("</form>"), "{html}");
    assert!(!html.contains("<script") && !html.contains('\n'), "{html}");
    let form = PayForm::read(&html);
    assert!(form.action.starts_with(&format!("{}/sandbox/gateway.do?app_id=2021000000000001&", stage.base)), "{html}");
    for (name, value) in [("sign_type", "RSA2"), ("charset", "utf-8"), ("timestamp", "2026-01-01 08:00:00")] {
        assert_eq!(form.parameter(name).as_deref(), Some(value));
    }
    assert_eq!(form.parameter("sign").unwrap().len(), 344);
    assert_eq!(form.parameter("biz_content"), None);
    stage.end().await;
}

#[actix_web::test]
async fn the_cashier_opens_by_get_too_and_pressing_by_get_does_nothing() {
    let stage = Stage::start().await;
    let page = pay_page("20260101080000000000000000000013", 100);
    let form = PayForm::read(&stage.client.pay_form(&page).await.unwrap());
    let url = reqwest::Url::parse_with_params(&form.action, [("biz_content", &form.biz_content)]).unwrap();
    let html = browser().get(url).send().await.unwrap().text().await.unwrap();
    let token = crate::support::attribute(&html, r#"name="token" value=""#);
    for button in ["pay", "cancel"] {
        let url = format!("{}/sandbox/{button}?out_trade_no={}&token={token}", stage.base, page.order_sn);
        assert!(browser().get(url).send().await.unwrap().status().is_client_error());
    }
    assert_eq!(money_lines(&stage).await, 0);
    assert_eq!(stage.press("pay", &page, &token).await.status(), 303);
    assert_eq!(money_lines(&stage).await, 1);
    stage.end().await;
}

#[actix_web::test]
async fn each_page_works_once_and_only_the_latest() {
    let stage = Stage::start().await;
    let page = pay_page("20260101080000000000000000000014", 100);
    let first = stage.cashier_token(&page).await;
    let second = stage.cashier_token(&page).await;
    assert_eq!(stage.press("pay", &page, &first).await.status(), 409);
    assert_eq!(stage.press("pay", &page, "").await.status(), 409);
    assert_eq!(stage.press("cancel", &page, &second).await.status(), 303);
    assert_eq!(stage.press("pay", &page, &second).await.status(), 409, "the buyer went away with this page");
    assert!(matches!(stage.client.query(&page.order_sn).await, Ok(TradeQuery::Exists { .. })));
    assert_eq!(money_lines(&stage).await, 0);

    let third = stage.cashier_token(&page).await;
    assert_eq!(stage.press("pay", &page, &third).await.status(), 303);
    assert_eq!(stage.press("pay", &page, &third).await.status(), 409);
    assert_eq!(stage.open_cashier(&page).await.status(), 409);
    assert_eq!(money_lines(&stage).await, 1);
    until("notified", async || stage.inbox.received() == 1).await;
    stage.end().await;
}

#[actix_web::test]
async fn an_order_number_never_gets_another_amount() {
    let stage = Stage::start().await;
    stage.cashier_token(&pay_page("20260101080000000000000000000015", 100)).await;
    assert_eq!(stage.open_cashier(&pay_page("20260101080000000000000000000015", 101)).await.status(), 409);
    stage.end().await;
}

#[actix_web::test]
async fn a_form_changed_on_its_way_opens_nothing() {
    let stage = Stage::start().await;
    let page = pay_page("20260101080000000000000000000016", 8888);
    let html = stage.client.pay_form(&page).await.unwrap();
    let changed = |change: &dyn Fn(&mut PayForm)| {
        let mut form = PayForm::read(&html);
        change(&mut form);
        form
    };
    let forms = [
        changed(&|form| form.biz_content = form.biz_content.replace("88.88", "0.01")),
        changed(&|form| form.biz_content.push(' ')),
        changed(&|form| form.action = form.action.replace("notify_url=http", "notify_url=https")),
        changed(&|form| form.action = form.action.replace("sign_type=RSA2", "sign_type=RSA")),
        changed(&|form| form.action = form.action.replace("app_id=2021000000000001", "app_id=2021000000000002")),
        changed(&|form| form.action.push_str("&biz_content=%7B%7D")),
        changed(&|form| form.action.push_str("&charset=utf-8")),
        changed(&|form| form.action.push_str("&new=1")),
        changed(&|form| form.action.truncate(form.action.find("&sign=").unwrap())),
    ];
    for form in forms {
        let answer = form.post().await.text().await.unwrap();
        assert!(answer.contains("error_response"), "{answer}");
    }
    assert_eq!(stage.client.query(&page.order_sn).await, Ok(TradeQuery::NotExist));
    assert_eq!(PayForm::read(&html).post().await.status(), 200);
    stage.end().await;
}

#[actix_web::test]
async fn another_merchant_gets_no_answer() {
    let stage = Stage::start().await;
    let directory = tempfile::tempdir().unwrap();
    let foreign = seckill::gateway::sandbox::keys::generate(directory.path()).unwrap();
    let mut keys = stage.key_files.load_client().unwrap();
    keys.merchant = foreign.load_client().unwrap().merchant;
    let with = |settings: AlipaySettings, keys| {
        AlipayClient::new(settings, keys, CallLimits::default(), stage.clock.clone(), Seeded::new()).unwrap()
    };
    let other_key = with(settings(&stage.base), keys);
    let other_app = AlipaySettings { app_id: "2021000000000002".to_owned(), ..settings(&stage.base) };
    let other_app = with(other_app, stage.key_files.load_client().unwrap());
    let order_sn = pay_page("20260101080000000000000000000017", 1).order_sn;
    for (client, reason) in [(other_key, "isv.invalid-signature"), (other_app, "isv.invalid-app-id")] {
        let error = client.query(&order_sn).await.unwrap_err();
        assert!(error.0.contains(reason), "{error}");
    }
    stage.end().await;
}
