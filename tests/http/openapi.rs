//! The documents: the committed copies are those of the server, and every problem has its example.

use std::path::Path;

use serde_json::Value;

use crate::support::{Server, client, send};

/// Set it to write the copies anew.
const RENEW: &str = "SECKILL_RENEW_OPENAPI";

#[tokio::test]
async fn the_committed_copies_are_the_servers_own() {
    let server = Server::start(&[]);
    for (base, file) in [(&server.public, "openapi.json"), (&server.internal, "openapi-internal.json")] {
        let served = send(client().get(format!("{base}/openapi.json"))).await;
        assert_eq!((served.status, served.header("content-type")), (200, "application/json"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
        if std::env::var_os(RENEW).is_some() {
            std::fs::write(&path, &served.text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == served.text, "docs/{file} is old: run `{RENEW}=1 cargo test --test http openapi`");
    }
}

#[tokio::test]
async fn every_problem_has_an_example_that_fits_it() {
    let server = Server::start(&[]);
    for base in [&server.public, &server.internal] {
        let document: Value = send(client().get(format!("{base}/openapi.json"))).await.json();
        let problem = &document["components"]["responses"]["Problem"]["content"]["application/problem+json"];
        let examples = problem["examples"].as_object().unwrap();
        let codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
        assert!(codes.len() > 25);
        for code in codes.iter().map(|code| code.as_str().unwrap()) {
            let example = &examples[code]["value"];
            assert_eq!((&example["code"], &example["type"]), (&code.into(), &format!("/problems/{code}").into()));
            assert!(example["status"].as_u64().is_some_and(|status| (400..600).contains(&status)), "{example}");
        }
        for (path, item) in document["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values().filter(|value| value.get("responses").is_some()) {
                assert!(operation["responses"]["default"]["$ref"].is_string(), "{path}: refusals are described");
            }
        }
    }
}

#[tokio::test]
async fn the_page_is_served_with_its_script() {
    let server = Server::start(&[]);
    let page = send(client().get(format!("{}/docs", server.public))).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").contains("default-src 'self'"));
    let (_, rest) = page.text.split_once("src=\"").unwrap();
    let script = send(client().get(format!("{}{}", server.public, rest.split('"').next().unwrap()))).await;
    assert_eq!((script.status, script.header("content-type")), (200, "text/javascript; charset=utf-8"));
    assert!(script.text.contains("/openapi.json"));
}
