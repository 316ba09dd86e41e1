//! The process: start, stop, start again, and what it says when it cannot.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::{PayForm, Server, client, seckill, send, until};

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Submits until the server is gone; the orders it said yes to.
async fn submit_until_gone(
    server: &Server,
    clients: usize,
    stop: Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<Vec<(i64, String)>>> {
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let (buyer, stop) = (server.new_buyer().await, Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            let mut accepted = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let confirm = buyer.request(reqwest::Method::POST, "/order/confirm").json(&json!({"48": 1}));
                let Ok(answer) = confirm.send().await else { break };
                let Ok(page) = answer.json::<serde_json::Value>().await else { break };
                let Some(token) = page["data"]["orderToken"].as_str() else { break };
                let body = crate::support::submission(token, 48, 1, 0);
                let submit = buyer.request(reqwest::Method::POST, "/order/submit").json(&body);
                let Ok(answer) = submit.send().await else { break };
                let Ok(answer) = answer.json::<serde_json::Value>().await else { break };
                if let Some(html) = answer["data"].as_str() {
                    accepted.push((buyer.user, PayForm::read(html).order_sn));
                }
            }
            accepted
        }));
    }
    tasks
}

async fn stop_under_load_and_compare(signal: &str) {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start_on(home.path(), &[("server.drain_pause", "200ms")]);
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = submit_until_gone(&server, 8, Arc::clone(&stop)).await;
    let database = server.database().await;
    until("there are orders", async || database.number("SELECT count(*) FROM oms_order", []).await >= 20).await;
    database.close().await;
    server.signal(signal);
    let status = server.wait();
    stop.store(true, Ordering::Relaxed);
    server.assert_no_panic();
    if signal == "TERM" {
        assert_eq!(status.code(), Some(0), "{}", server.log());
        let log = server.log();
        assert!(log.contains("unfinished=[]"), "{log}");
    }
    let mut accepted = Vec::new();
    for task in tasks {
        accepted.extend(task.await.unwrap());
    }
    assert!(accepted.len() >= 10, "{}", accepted.len());

    let again = Server::start_on(home.path(), &[]);
    for (user, order_sn) in accepted {
        let order = again.buyer(user).await.v1_order(&order_sn).await;
        assert_eq!(order["status"], "awaiting_payment");
    }
    let (code, out, error) = run(again.command().arg("audit"));
    assert_eq!(code, Some(0), "{out}{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_ends_well_and_loses_nothing() {
    stop_under_load_and_compare("TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_under_load_loses_nothing_that_was_accepted() {
    stop_under_load_and_compare("KILL").await;
}

#[tokio::test]
async fn a_login_outlives_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start_on(home.path(), &[]);
    let buyer = server.new_buyer().await;
    assert_eq!(server.stop().code(), Some(0));
    let again = Server::start_on(home.path(), &[]);
    let me = send(client().get(format!("{}/api/v1/me", again.public)).bearer_auth(&buyer.token)).await;
    assert_eq!(me.status, 200, "{}", me.text);
    assert_eq!(again.service_token, server.service_token);
    assert_eq!(
        again.staff().get("/admin/v1/flash-sales").await.json()["data"].as_array().unwrap().len(),
        1,
        "one demo sale"
    );
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let server = Server::start(&[]);
    let home = tempfile::tempdir().unwrap();
    for (key, taken) in [("server.listen", &server.public), ("server.internal_listen", &server.internal)] {
        let address = taken.trim_start_matches("http://");
        let (code, out, error) = run(&mut seckill(home.path(), &[(key, address)]));
        assert_eq!(code, Some(1), "{out}{error}");
        assert!(error.contains(&format!("{key}: cannot listen on {address}")) && error.contains("in use"), "{error}");
    }
}

#[tokio::test]
async fn wrong_settings_are_named_and_nothing_starts() {
    let home = tempfile::tempdir().unwrap();
    let data_dir = home.path().join("data");
    for (key, value, said) in [
        ("order.payment_timout", "1m", "order.payment_timeout"),
        ("ordr.payment_timeout", "1m", "order"),
        ("order.payment_timeout", "soon", "order.payment_timeout"),
        ("limits.per_ip", "many", "limits.per_ip"),
        ("limits.max_in_flight", "0", "limits.max_in_flight"),
        ("server.listen", "here", "server.listen"),
        ("mode", "clustr", "mode"),
    ] {
        let (code, out, error) = run(&mut seckill(&data_dir, &[(key, value)]));
        assert_eq!(code, Some(2), "{key}={value}: {out}{error}");
        assert!(error.contains(said), "{key}={value}: {error}");
        assert!(!data_dir.exists(), "nothing is made");
    }
    let file = home.path().join("seckill.toml");
    std::fs::write(&file, "[limits]\nper_usr = \"1/s\"\n").unwrap();
    let (code, _, error) = run(seckill(&data_dir, &[]).arg("--config").arg(&file));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("limits.per_usr") && error.contains("per_user"), "{error}");
    let (code, _, error) = run(seckill(&data_dir, &[]).env("SECKILL__ORDER__TOKEN_TLL", "1m"));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.to_lowercase().contains("token_ttl"), "{error}");
}

#[tokio::test]
async fn the_command_line_reaches_a_running_server() {
    let server = Server::start(&[]);
    let internal = format!("server.internal_listen={}", server.internal.trim_start_matches("http://"));
    let staff = |arguments: &[&str]| run(server.command().args(["--set", &internal]).args(arguments));
    let (code, token, error) = run(server.command().args(["token", "issue", "--user", "5"]));
    assert_eq!(code, Some(0), "{error}");
    let me = send(client().get(format!("{}/api/v1/me", server.public)).bearer_auth(token.trim())).await;
    assert_eq!((me.status, &me.json()["user_id"]), (200, &json!("5")));

    let (code, out, error) = staff(&["flash-sale", "list"]);
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{out}{error}");
    let create = [
        "flash-sale",
        "create",
        "--sku",
        "48",
        "--price",
        "1.00",
        "--count",
        "5",
        "--starts-at",
        "2026-01-01T00:00:00Z",
        "--ends-at",
        "2126-01-01T00:00:00Z",
    ];
    let (code, out, error) = staff(&create);
    assert_eq!(code, Some(0), "{error}");
    let id = serde_json::from_str::<serde_json::Value>(&out).unwrap()["id"].as_str().unwrap().to_owned();
    for (verb, state) in [("arm", "live"), ("pause", "paused"), ("resume", "live"), ("end", "ended")] {
        let (code, out, error) = staff(&["flash-sale", verb, &id]);
        assert_eq!(code, Some(0), "{error}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["state"], state);
    }
    let (code, _, error) = staff(&["flash-sale", "arm", &id]);
    assert_eq!(code, Some(1));
    assert!(error.contains("wrong-state"), "{error}");
    assert_eq!(staff(&["messages", "list"]).0, Some(0));
    let (code, _, error) =
        run(server.command().args(["--set", "server.internal_listen=127.0.0.1:9", "messages", "list"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("no server at http://127.0.0.1:9"), "{error}");
}
