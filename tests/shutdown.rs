//! Signals, with a real process: this test program started a second time.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

const CHILD: &str = "SECKILL_TEST_SIGNAL_CHILD";

/// Part of the test below, in the second process; alone it does nothing.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stop = seckill::shutdown::on_signal().unwrap();
        eprintln!("listening");
        stop.cancelled().await;
        eprintln!("stopping");
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
}

#[test]
fn the_first_signal_stops_and_the_second_ends_at_once() {
    for (first, second) in [("-TERM", "-TERM"), ("-INT", "-TERM"), ("-TERM", "-INT")] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut send_after = |line: &str, signal: &str| {
            assert!(lines.any(|seen| seen == line), "{first} {second}: never {line}");
            let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
            assert!(sent.success());
        };
        send_after("listening", first);
        send_after("stopping", second);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{first} {second}");
    }
}
