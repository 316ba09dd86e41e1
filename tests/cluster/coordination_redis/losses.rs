//! What a server can lose, made by hand: each loss is stale or a gate that is a little too open or too closed, and the
//! next reconcile or rebuild puts it right.

use actors::domain::UserId;
use actors::flash_sale::FlashSaleSettings;
use actors::ports::coordination::{Coordination, HOLD_LIFE};
use seckill::coordination::redis::KEY_LIFE_SECONDS;
use tokio::time::timeout;

use super::rig::{RedisServer, acquire, batch, content, fresh_sale, open, rebuild};

#[tokio::test]
async fn a_script_that_the_server_forgot_is_sent_again() {
    let server = RedisServer::start().await;
    let coordination = open(&server.url()).await;
    let sale_id = fresh_sale();
    rebuild(&coordination, &content(sale_id, 1, 10)).await;
    for hold_id in 0..3 {
        server.ask::<()>(&["SCRIPT", "FLUSH"]).await;
        let first = i64::try_from(hold_id).expect("small") * 2;
        assert_eq!(acquire(&coordination, &batch(sale_id, 1, hold_id, first..first + 2)).await, Some(2));
    }
    server.ask::<()>(&["SCRIPT", "FLUSH"]).await;
    assert!(coordination.reconcile(sale_id, 1, 10).await.expect("reconcile"));
    assert_eq!(coordination.permits(sale_id).await.expect("permits"), Some(4));
}

#[tokio::test]
async fn emptied_means_stale_until_it_is_rebuilt() {
    let server = RedisServer::start().await;
    let coordination = open(&server.url()).await;
    let sale_id = fresh_sale();
    rebuild(&coordination, &content(sale_id, 1, 10)).await;
    assert_eq!(acquire(&coordination, &batch(sale_id, 1, 1, 0..4)).await, Some(4));

    server.ask::<()>(&["FLUSHDB"]).await;
    assert_eq!(acquire(&coordination, &batch(sale_id, 1, 2, 4..8)).await, None);
    assert!(!coordination.reconcile(sale_id, 1, 6).await.expect("reconcile"), "nothing to reconcile");
    coordination.end_hold(sale_id, 1, 1, &[UserId(0)]).await.expect("end_hold");
    assert_eq!(coordination.permits(sale_id).await.expect("permits"), None, "an old hold makes no permit");

    rebuild(&coordination, &content(sale_id, 2, 6)).await;
    assert_eq!(acquire(&coordination, &batch(sale_id, 1, 3, 4..8)).await, None, "who has not heard of it yet");
    assert_eq!(acquire(&coordination, &batch(sale_id, 2, 4, 4..20)).await, Some(6));
}

#[tokio::test]
async fn evicted_keys_open_the_gate_at_most_until_the_next_reconcile() {
    let server = RedisServer::start().await;
    let coordination = open(&server.url()).await;
    let keys = ["epoch", "semaphore", "users", "holds"];
    for (evicted, is_stale) in keys.into_iter().zip([true, true, false, false]) {
        let sale_id = fresh_sale();
        rebuild(&coordination, &content(sale_id, 1, 10)).await;
        assert_eq!(acquire(&coordination, &batch(sale_id, 1, 1, 0..4)).await, Some(4));
        assert_eq!(server.ask::<i64>(&["UNLINK", &format!("sec:{{{sale_id}}}:{evicted}")]).await, 1, "{evicted}");

        let decided = acquire(&coordination, &batch(sale_id, 1, 2, 4..6)).await;
        assert_eq!(decided, (!is_stale).then_some(2), "{evicted}");
        let reconciled = coordination.reconcile(sale_id, 1, 10).await.expect("reconcile");
        assert_eq!(reconciled, !is_stale, "{evicted}");
        // Without its hold the first batch is not subtracted, which the store answers for.
        let free = [None, None, Some(4), Some(8)][keys.iter().position(|key| *key == evicted).expect("one of them")];
        assert_eq!(coordination.permits(sale_id).await.expect("permits"), free, "{evicted}");
        coordination.end_hold(sale_id, 1, 1, &[UserId(0)]).await.expect("end_hold");
        coordination.end_hold(sale_id, 1, 2, &[UserId(4)]).await.expect("end_hold");
        rebuild(&coordination, &content(sale_id, 2, 4)).await;
        assert_eq!(acquire(&coordination, &batch(sale_id, 2, 1, 0..9)).await, Some(4), "{evicted}");
    }
}

#[tokio::test]
async fn an_old_dump_of_the_same_epoch_is_put_right_by_the_reconciler_and_of_an_older_one_is_stale() {
    let mut server = RedisServer::start().await;
    let coordination = open(&server.url()).await;
    let (same, older) = (fresh_sale(), fresh_sale());
    for sale_id in [same, older] {
        rebuild(&coordination, &content(sale_id, 1, 10)).await;
    }
    server.ask::<()>(&["SAVE"]).await;
    for sale_id in [same, older] {
        assert_eq!(acquire(&coordination, &batch(sale_id, 1, 1, 0..7)).await, Some(7));
    }
    rebuild(&coordination, &content(older, 2, 3)).await;
    server.kill();
    assert!(server.folder().join("dump.rdb").exists(), "the old dump is what it starts with");
    server.start_again().await;
    let coordination = open(&server.url()).await;

    assert_eq!(acquire(&coordination, &batch(older, 2, 2, 7..9)).await, None, "another epoch");
    rebuild(&coordination, &content(older, 3, 3)).await;
    assert_eq!(acquire(&coordination, &batch(older, 3, 3, 7..17)).await, Some(3));

    assert_eq!(coordination.permits(same).await.expect("permits"), Some(10), "seven too many");
    assert!(coordination.reconcile(same, 1, 3).await.expect("reconcile"));
    assert_eq!(acquire(&coordination, &batch(same, 1, 2, 7..17)).await, Some(3));
}

#[tokio::test]
async fn a_hold_that_nobody_ends_stops_counting() {
    let server = RedisServer::start().await;
    let coordination = open(&server.url()).await;
    let sale_id = fresh_sale();
    let holds = format!("sec:{{{sale_id}}}:holds");
    rebuild(&coordination, &content(sale_id, 1, 10)).await;
    assert_eq!(acquire(&coordination, &batch(sale_id, 1, 5, 0..4)).await, Some(4));
    assert!(coordination.reconcile(sale_id, 1, 10).await.expect("reconcile"));
    assert_eq!(coordination.permits(sale_id).await.expect("permits"), Some(6));

    // The server's clock cannot be moved, so the hold is made older.
    let hold: String = server.ask(&["HGET", &holds, "5"]).await;
    let (since, rest) = hold.split_once(' ').expect("time and the rest");
    let since = since.parse::<u128>().expect("milliseconds") - HOLD_LIFE.as_millis();
    server.ask::<()>(&["HSET", &holds, "5", &format!("{since} {rest}")]).await;

    assert!(coordination.reconcile(sale_id, 1, 10).await.expect("reconcile"));
    assert_eq!(coordination.permits(sale_id).await.expect("permits"), Some(10));
    assert_eq!(server.ask::<i64>(&["EXISTS", &holds]).await, 0, "and is dropped");
}

#[tokio::test]
async fn holds_are_bounded() {
    let server = RedisServer::start().await;
    let coordination = open(&server.url()).await;
    let sale_id = fresh_sale();
    rebuild(&coordination, &content(sale_id, 1, 10_000)).await;
    for user in 0..1100 {
        let hold_id = u64::try_from(user).expect("not negative");
        assert_eq!(acquire(&coordination, &batch(sale_id, 1, hold_id, user..user + 1)).await, Some(1));
    }
    let kept: i64 = server.ask(&["HLEN", &format!("sec:{{{sale_id}}}:holds")]).await;
    assert!((1..=1024).contains(&kept), "{kept}");
}

#[tokio::test]
async fn every_key_goes_by_itself_some_day() {
    let server = RedisServer::start().await;
    let coordination = open(&server.url()).await;
    let sale_id = fresh_sale();
    let mut with_holders = content(sale_id, 1, 10);
    with_holders.holders = vec![(UserId(1), 1)];
    rebuild(&coordination, &with_holders).await;
    assert_eq!(acquire(&coordination, &batch(sale_id, 1, 1, 1..5)).await, Some(3));
    coordination.mark_token("t").await.expect("mark_token");
    assert_lives_end(&server, 5).await;

    // Hashes that were emptied and are made again.
    let users: Vec<UserId> = (0..5).map(UserId).collect();
    rebuild(&coordination, &content(sale_id, 2, 10)).await;
    assert_eq!(acquire(&coordination, &batch(sale_id, 2, 2, 1..5)).await, Some(4));
    coordination.end_hold(sale_id, 2, 2, &users).await.expect("end_hold");
    assert_eq!(acquire(&coordination, &batch(sale_id, 2, 3, 1..5)).await, Some(4));
    assert_lives_end(&server, 5).await;
    assert!(coordination.reconcile(sale_id, 2, 10).await.expect("reconcile"));
    assert_lives_end(&server, 5).await;

    coordination.forget(sale_id).await.expect("forget");
    assert_eq!(server.ask::<Vec<String>>(&["KEYS", "sec:*"]).await, Vec::<String>::new());
}

/// `count` keys, and each has a time to live.
async fn assert_lives_end(server: &RedisServer, count: usize) {
    let keys: Vec<String> = server.ask(&["KEYS", "?*:?*:?*"]).await;
    assert_eq!(keys.iter().filter(|key| !key.ends_with(':')).count(), count, "{keys:?}");
    let most = i64::try_from(KEY_LIFE_SECONDS).expect("small");
    for key in keys {
        let life: i64 = server.ask(&["TTL", &key]).await;
        assert!((1..=most).contains(&life), "{key}: {life}");
    }
}

#[tokio::test]
async fn any_number_of_holders_is_switched_in() {
    let server = RedisServer::start().await;
    let coordination = open(&server.url()).await;
    let sale_id = fresh_sale();
    let mut with_holders = content(sale_id, 1, 10);
    with_holders.holders = (0..200_000).map(|user| (UserId(user), 1)).collect();
    // The limit that a sale's desk sets.
    let limit = FlashSaleSettings::default().rebuild_timeout;
    timeout(limit, rebuild(&coordination, &with_holders)).await.expect("in time");
    assert_eq!(acquire(&coordination, &batch(sale_id, 1, 1, 199_990..200_020)).await, Some(10));
    assert_eq!(server.ask::<i64>(&["HLEN", &format!("sec:{{{sale_id}}}:users")]).await, 200_010);
    assert_eq!(server.ask::<Vec<String>>(&["KEYS", "sec:*users.*"]).await, Vec::<String>::new(), "nothing is staged");
}
