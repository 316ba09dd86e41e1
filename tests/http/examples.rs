//! The example clients work as they are.

use std::process::{Command, Output};

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
