//! The example clients work as they are.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::support::Server;

fn root() -> &'static str {
    env!("CARGO_MANIFEST_DIR")
}

fn said(output: &Output) -> String {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{error}");
    out.into_owned()
}

#[test]
fn the_curl_script_buys() {
    let server = Server::start(&[]);
    let script = format!("{}/examples/buy.sh", root());
    let out = said(&Command::new("bash").args([&script, &server.public]).output().unwrap());
    for wanted in ["\npaid\n", ": ordered\n", ": closed\n"] {
        assert!(out.contains(wanted), "{wanted:?} in {out}");
    }
}

/// As docs/api.md says it: the script solves what the server gave, and the server takes it.
#[tokio::test]
async fn the_script_solves_a_challenge() {
    let server = Server::start(&[("challenge.difficulty_bits", "12")]);
    let buyer = server.new_buyer().await;
    let path = "/api/v1/flash-sales/1/challenge";
    let challenge = buyer.get(path).await;
    assert_eq!(challenge.status, 200, "{}", challenge.text);
    let mut command = Command::new("python3");
    let mut solver = command
        .arg(format!("{}/examples/solve.py", root()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    solver.stdin.take().unwrap().write_all(challenge.text.as_bytes()).unwrap();
    let solution = said(&solver.wait_with_output().unwrap());
    let token = buyer.post(path, &serde_json::from_str(&solution).unwrap()).await;
    assert_eq!(token.status, 200, "{}", token.text);
    assert!(token.json()["path_token"].is_string());
}

#[test]
fn the_java_client_buys_where_there_is_a_jdk() {
    if Command::new("javac").arg("-version").output().is_err() {
        return;
    }
    let server = Server::start(&[]);
    let classes = tempfile::tempdir().unwrap();
    let source = format!("{}/examples/Buy.java", root());
    let flags = ["-encoding", "UTF-8", "-Xlint:all", "-Werror", "-d"];
    said(&Command::new("javac").args(flags).arg(classes.path()).arg(source).output().unwrap());
    let out =
        said(&Command::new("java").arg("-cp").arg(classes.path()).args(["Buy", &server.public]).output().unwrap());
    assert!(out.contains("order 20") && out.contains(": ordered"), "{out}");
}
