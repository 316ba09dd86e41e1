//! What is wrong with the address, the server or the user is said at once and by the setting's name.

use std::time::Duration;

use seckill::coordination::redis::{OpenError, RedisCoordination, RedisSettings};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::rig::{RedisServer, settings};

async fn refusal(settings: &RedisSettings) -> OpenError {
    let opened = timeout(Duration::from_secs(5), RedisCoordination::open(settings)).await;
    match opened.expect("opening does not hang") {
        Ok(_) => panic!("{} opens", settings.url),
        Err(error) => error,
    }
}

fn assert_says(error: &OpenError, start: &str) {
    let text = error.to_string();
    assert!(text.starts_with(start), "{text}");
    assert!(!text.contains("hush") && !text.contains("wrong"), "no password: {text}");
}

#[tokio::test]
async fn wrong_addresses_are_told() {
    for url in ["", "cache", "http://cache", "redis://127.0.0.1:99999", "rediss://127.0.0.1"] {
        assert_says(&refusal(&settings(url)).await, "redis.url: not a usable Redis address: ");
    }
}

#[tokio::test]
async fn nobody_there_is_told() {
    let mut server = RedisServer::start().await;
    let url = server.url();
    server.kill();
    let error = refusal(&settings(&url)).await;
    assert_says(&error, &format!("redis.url: 127.0.0.1:{} does not answer: ", server.port()));
}

#[tokio::test]
async fn a_server_that_is_silent_is_told_within_the_limits() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("bound");
    let started = Instant::now();
    assert_says(&refusal(&settings(&format!("redis://{address}"))).await, "redis.url: ");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let server = RedisServer::start().await;
    for url in [server.url_of("", "wrong"), server.url_of("nobody", "wrong"), server.url_of("", "")] {
        let error = refusal(&settings(&url)).await;
        assert_says(&error, &format!("redis.url: 127.0.0.1:{} refuses ", server.port()));
    }
}

#[tokio::test]
async fn a_missing_permission_is_told() {
    let server = RedisServer::start().await;
    let rights = [
        ["~sec:*", "&*", "-@scripting"],
        ["~order:*", "&*", "+@scripting"],
        ["~*", "resetchannels", "+@scripting"],
        ["~sec:*", "&*", "-unlink"],
        ["~sec:*", "&*", "-set"],
        ["~*", "&*", "-info"],
        ["~*", "&*", "-hdel"],
    ];
    for (number, [keys, channels, commands]) in rights.into_iter().enumerate() {
        let user = format!("clerk{number}");
        server
            .ask::<()>(&["ACL", "SETUSER", &user, "on", ">hush", "resetkeys", keys, channels, "+@all", commands])
            .await;
        let error = refusal(&settings(&server.url_of(&user, "hush"))).await;
        assert_says(&error, &format!("redis.url: 127.0.0.1:{} refuses ", server.port()));
    }
    let keys = ["~sec:*", "~order:token:*", "~cart:uid:*"];
    let enough = [&["ACL", "SETUSER", "able", "on", ">hush"][..], &keys, &["&sec:countdown", "+@all"]].concat();
    server.ask::<()>(&enough).await;
    RedisCoordination::open(&settings(&server.url_of("able", "hush"))).await.expect("what is needed is enough");
}

#[tokio::test]
async fn further_addresses_beside_a_single_server_are_told() {
    let server = RedisServer::start().await;
    let more_urls = vec![server.url()];
    let error = refusal(&RedisSettings { more_urls, ..settings(&server.url()) }).await;
    assert_says(&error, "redis.more_urls: must be empty");
}
