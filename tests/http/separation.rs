//! The two listeners have nothing in common but their health.

use std::sync::OnceLock;

use reqwest::Method;
use serde_json::Value;

use crate::internal::ROUTES;
use crate::support::{Server, client, raw, send};

static SHOP: OnceLock<Server> = OnceLock::new();

fn shop() -> &'static Server {
    Server::shared(&SHOP, &[])
}

/// Other spellings that some routers or proxies take for the same path.
fn spellings(path: &str) -> Vec<String> {
    let tail = path.trim_start_matches('/');
    let (first, rest) = tail.split_once('/').unwrap_or((tail, ""));
    let hex: String = first.bytes().map(|byte| format!("%{byte:02x}")).collect();
    vec![
        path.to_owned(),
        format!("/api{path}"),
        format!("{path}/"),
        format!("/{path}"),
        format!("//{}", path.replace('/', "//")),
        format!("/{}", tail.replace('/', "%2f")),
        format!("/{}", tail.replace('/', "%2F")),
        format!("/%2f{tail}"),
        format!("/{hex}/{rest}"),
        format!("/{first};x=1/{rest}"),
        format!("{path};"),
        format!("{path}%00"),
        format!("{path}%20"),
        format!("{path}."),
        format!("/{}", tail.to_uppercase()),
        format!("/./{tail}"),
        format!("/x/../{tail}"),
        format!("/x/%2e%2e/{tail}"),
        format!("/assets/..%2f{tail}"),
        format!("/assets/../{tail}"),
        format!("/order/../{tail}"),
        format!("/\\{tail}"),
        format!("{}{path}", shop().internal),
    ]
}

#[tokio::test]
async fn no_internal_path_answers_on_the_public_listener() {
    let token = &shop().service_token;
    for (_, path) in ROUTES {
        for spelling in spellings(path) {
            for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
                let request = format!(
                    "{method} {spelling} HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\n\
                     content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]"
                );
                let (status, text) = raw(&shop().public, request.as_bytes()).await;
                assert!([404, 405, 400].contains(&status), "{method} {spelling}: {text}");
                assert!(status != 400 || spelling.contains(['\\', '%']), "{method} {spelling}: {text}");
            }
        }
    }
    let (status, _) = raw(&shop().public, b"GET /admin/v1/audit HTTP/1.0\r\n\r\n").await;
    assert_eq!(status, 404);
    shop().assert_no_panic();
}

#[tokio::test]
async fn the_host_header_opens_nothing() {
    let (internal, token) = (shop().internal.trim_start_matches("http://"), &shop().service_token);
    for extra in
        [format!("host: {internal}"), format!("host: shop\r\nx-forwarded-host: {internal}\r\nx-original-url: /metrics")]
    {
        let request =
            format!("GET /metrics HTTP/1.1\r\n{extra}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
        assert_eq!(raw(&shop().public, request.as_bytes()).await.0, 404);
    }
}

#[tokio::test]
async fn no_public_path_answers_on_the_internal_listener() {
    let http = client();
    let document: Value = send(http.get(format!("{}/openapi.json", shop().public))).await.json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "{}", paths.len());
    for path in paths.keys().map(String::as_str).chain(["/", "/orders", "/pay/return", "/sandbox/gateway.do"]) {
        if ["/healthz", "/readyz", "/openapi.json", "/version"].contains(&path) {
            continue;
        }
        let path = path.replace("{sku_id}", "49").replace(['{', '}'], "");
        for method in [Method::GET, Method::POST] {
            let request = http.request(method, format!("{}{path}", shop().internal)).bearer_auth(&shop().service_token);
            assert_eq!(send(request).await.status, 404, "{path}");
        }
    }
}

#[tokio::test]
async fn both_say_how_they_are_and_no_more() {
    for base in [&shop().public, &shop().internal] {
        for (path, said) in [("/healthz", "ok"), ("/readyz", "ready")] {
            let answer = send(client().get(format!("{base}{path}"))).await;
            assert_eq!((answer.status, answer.text.as_str()), (200, said));
            let head = send(client().head(format!("{base}{path}"))).await;
            assert_eq!((head.status, head.text.as_str()), (200, ""));
            assert_eq!(answer.header("server"), "");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
        }
    }
}
