//! Who is let in. The unit tests know every hostile token; here is a sample, through the door.

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Answer, Server, client, send};

static SHOP: OnceLock<Server> = OnceLock::new();

fn shop() -> &'static Server {
    Server::shared(&SHOP, &[])
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// The server's own key: what an honest issuer signs with.
pub fn own_key(server: &Server) -> KeyPair {
    let text = std::fs::read_to_string(server.data_dir.join("jwt.private.pem")).unwrap();
    KeyPair::from_pkcs8(pem::parse(text).unwrap().contents()).unwrap()
}

/// A token as an honest issuer makes it, whatever it claims.
pub fn token(key: &KeyPair, claims: &Value) -> String {
    sign(key, &RSA_PKCS1_SHA256, &json!({"alg": "RS256", "typ": "JWT"}), claims)
}

fn sign(key: &KeyPair, encoding: &'static dyn RsaEncoding, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", BASE64.encode(signature))
}

async fn me(token: &str) -> Answer {
    send(client().get(format!("{}/api/v1/me", shop().public)).header("authorization", format!("Bearer {token}"))).await
}

#[tokio::test]
async fn hostile_tokens_all_get_the_same_answer() {
    let key = own_key(shop());
    let attacker = KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let header = json!({"alg": "RS256", "typ": "JWT"});
    let claims = json!({"id": 7, "username": "anna", "exp": now() + 600});
    let good = sign(&key, &RSA_PKCS1_SHA256, &header, &claims);
    let honest = me(&good).await;
    assert_eq!((honest.status, &honest.json()["user_id"]), (200, &json!("7")), "{}", honest.text);

    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        sign(&key, &RSA_PKCS1_SHA256, &header, &claims)
    };
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        sign(&key, &RSA_PKCS1_SHA256, &header, &claims)
    };
    let headed = |encoding: &'static dyn RsaEncoding, header: Value| sign(&key, encoding, &header, &claims);
    let parts: Vec<&str> = good.split('.').collect();
    let public_pem = std::fs::read_to_string(shop().data_dir.join("jwt.public.pem")).unwrap();
    let hmac = |secret: &str| {
        let signed = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256"}"#), parts[1]);
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes()))
    };
    let none = |alg: &str| format!("{}.{}.", BASE64.encode(json!({"alg": alg}).to_string()), parts[1]);
    let hostile = [
        ("nothing", String::new()),
        ("words", "not a token".into()),
        ("none", none("none")),
        ("None", none("None")),
        ("none with a signature", format!("{}{}", none("none"), parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.{}", parts[2])),
        ("padded", format!("{good}==")),
        ("HS256 with the public key", hmac(&public_pem)),
        ("HS256 with the trimmed public key", hmac(public_pem.trim_end())),
        ("PS256", headed(&RSA_PSS_SHA256, json!({"alg": "PS256"}))),
        ("RS512", headed(&RSA_PKCS1_SHA512, json!({"alg": "RS512"}))),
        ("ES256", headed(&RSA_PKCS1_SHA256, json!({"alg": "ES256"}))),
        ("RS512 signed, RS256 said", headed(&RSA_PKCS1_SHA512, header.clone())),
        ("crit", headed(&RSA_PKCS1_SHA256, json!({"alg": "RS256", "crit": ["exp"]}))),
        ("unknown kid", headed(&RSA_PKCS1_SHA256, json!({"alg": "RS256", "kid": "other"}))),
        ("kid as a path", headed(&RSA_PKCS1_SHA256, json!({"alg": "RS256", "kid": "../../etc/passwd"}))),
        ("kid as SQL", headed(&RSA_PKCS1_SHA256, json!({"alg": "RS256", "kid": "' OR 1=1 --"}))),
        ("another key", sign(&attacker, &RSA_PKCS1_SHA256, &header, &claims)),
        (
            "another key behind jku",
            sign(&attacker, &RSA_PKCS1_SHA256, &json!({"alg": "RS256", "jku": "http://127.0.0.1:1/"}), &claims),
        ),
        (
            "changed claims",
            format!("{}.{}.{}", parts[0], BASE64.encode(json!({"id": 1, "exp": now() + 600}).to_string()), parts[2]),
        ),
        ("expired", with("exp", json!(now() - 31))),
        ("exp as text", with("exp", json!((now() + 600).to_string()))),
        ("exp in ms", with("exp", json!((now() + 600) * 1000))),
        ("exp negative", with("exp", json!(-1))),
        ("exp 2^63", with("exp", json!(9_223_372_036_854_775_808_u64))),
        ("exp as a float", with("exp", json!(now() as f64 + 600.5))),
        ("no exp", without("exp")),
        ("no id", without("id")),
        ("nbf in the future", with("nbf", json!(now() + 60))),
        ("iat in the future", with("iat", json!(now() + 60))),
        ("id 0", with("id", json!(0))),
        ("id -1", with("id", json!(-1))),
        ("id as padded text", with("id", json!("1 "))),
        ("id as 1e3", with("id", json!("1e3"))),
        ("id as 01", with("id", json!("01"))),
        ("id as a list", with("id", json!([1]))),
        ("5 KiB", with("username", json!("x".repeat(5000)))),
    ];
    let expected = me("x").await;
    expected.assert_problem(401, "unauthenticated");
    for (name, token) in hostile {
        let answer = me(&token).await;
        assert_eq!((answer.status, &answer.text), (401, &expected.text), "{name}");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{name}");
    }
    assert_eq!(me(&good).await.status, 200, "the honest one still works");
    let log = shop().log();
    assert!(!log.contains("eyJ"), "a token is in the log:\n{log}");
    shop().assert_no_panic();
}

#[tokio::test]
async fn the_cookie_works_where_no_other_site_asks() {
    let buyer = shop().new_buyer().await;
    let cookie = format!("GMALL_TOKEN={}", buyer.token);
    let confirm = async |headers: &[(&str, &str)]| {
        let mut request = buyer.http.post(format!("{}/order/confirm", shop().public)).json(&json!({"48": 1}));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request).await.status
    };
    let own = shop().public.clone();
    assert_eq!(confirm(&[("cookie", &cookie)]).await, 200);
    assert_eq!(confirm(&[("cookie", &cookie), ("origin", &own)]).await, 200);
    assert_eq!(confirm(&[("cookie", &cookie), ("sec-fetch-site", "same-origin")]).await, 200);
    assert_eq!(confirm(&[("cookie", &cookie), ("origin", "https://evil.example")]).await, 403);
    assert_eq!(confirm(&[("cookie", &cookie), ("origin", "null")]).await, 403);
    assert_eq!(confirm(&[("cookie", &cookie), ("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(confirm(&[("cookie", &cookie), ("sec-fetch-site", "same-site")]).await, 403);
    let bearer = format!("Bearer {}", buyer.token);
    assert_eq!(confirm(&[("authorization", &bearer), ("origin", "https://evil.example")]).await, 200);
    assert_eq!(confirm(&[("authorization", "Bearer x"), ("cookie", &cookie)]).await, 401, "the header counts");
    assert_eq!(confirm(&[("cookie", "GMALL_TOKEN=x")]).await, 401);
    assert_eq!(confirm(&[]).await, 401);
}

#[tokio::test]
async fn every_change_asked_from_another_site_is_refused() {
    let buyer = shop().new_buyer().await;
    let (order_sn, _) = buyer.order(1).await;
    let paths = [
        (Method::POST, "/order/submit".to_owned()),
        (Method::POST, "/miaosha/49".to_owned()),
        (Method::GET, "/miaosha/49".to_owned()),
        (Method::POST, "/api/v1/flash-sales/1/attempts".to_owned()),
        (Method::POST, format!("/api/v1/orders/{order_sn}/cancel")),
        (Method::POST, format!("/api/v1/orders/{order_sn}/payments")),
    ];
    for (method, path) in paths {
        let request = buyer.http.request(method, format!("{}{path}", shop().public)).json(&json!({}));
        let request = request.header("cookie", format!("GMALL_TOKEN={}", buyer.token)).header("idempotency-key", "k");
        let answer = send(request.header("origin", "https://evil.example")).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text);
    }
    assert_eq!(buyer.v1_order(&order_sn).await["status"], "awaiting_payment");
}

#[tokio::test]
async fn demo_login_sets_a_cookie_and_logout_takes_it_back() {
    let http = client();
    let url = |path: &str| format!("{}{path}", shop().public);
    let login = send(http.post(url("/demo/login")).json(&json!({"userId": 1}))).await;
    assert_eq!(login.data(), json!({"userId": 1, "username": "user1"}));
    let cookie = login.header("set-cookie");
    for part in ["GMALL_TOKEN=eyJ", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=7200"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    for user in [json!(1001), json!(0), json!(-1), json!(i64::MAX)] {
        let answer = send(http.post(url("/demo/login")).json(&json!({"userId": user}))).await;
        assert_eq!((answer.status, &answer.json()["data"]["field"]), (400, &json!("userId")), "{user}");
    }
    let logout = send(http.post(url("/demo/logout"))).await;
    assert!(logout.header("set-cookie").contains("Max-Age=0"), "{}", logout.header("set-cookie"));
}

#[tokio::test]
async fn without_demo_nobody_logs_in_by_number() {
    let server = Server::start(&[("demo.enabled", "false")]);
    for path in ["/demo/login", "/demo/logout"] {
        let answer = send(client().post(format!("{}{path}", server.public)).json(&json!({"userId": 1}))).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
}
