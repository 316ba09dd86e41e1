//! A server that is killed, stopped or cut off, and comes back.

use std::time::Duration;

use actors::domain::OrderSn;
use actors::ports::coordination::Coordination;
use seckill::coordination::redis::RedisCoordination;
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep, timeout};

use super::rig::{RedisCluster, RedisServer, acquire, batch, content, fresh_sale, open, rebuild};

/// Longest call: the response timeout, and what a busy machine adds.
const LIMIT: Duration = Duration::from_millis(900);
/// From the return of the server until all is as before.
const RECOVERY: Duration = Duration::from_secs(1);

async fn works(coordination: &RedisCoordination) -> bool {
    coordination.mark_token("probe").await.is_ok()
}

async fn until_works(coordination: &RedisCoordination) {
    while !works(coordination).await {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Publishes until it is heard; what was published while nobody was subscribed is lost.
async fn until_heard(coordination: &RedisCoordination, hints: &mut Receiver<OrderSn>, number: &str) {
    let number = OrderSn::parse(number).expect("grammar");
    loop {
        // Some node of a cluster may be away.
        let _ = coordination.count_down(std::slice::from_ref(&number)).await;
        let heard = async { while hints.recv().await.expect("hint") != number {} };
        if timeout(Duration::from_millis(50), heard).await.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn killed_and_back_calls_fail_quickly_then_work_within_a_second() {
    let mut server = RedisServer::start().await;
    let coordination = open(&server.url()).await;
    let mut hints = coordination.hints();
    let sale_id = fresh_sale();
    rebuild(&coordination, &content(sale_id, 1, 10)).await;
    timeout(RECOVERY, until_heard(&coordination, &mut hints, "before")).await.expect("hints flow");

    for round in 0..3 {
        server.kill();
        let killed = Instant::now();
        while killed.elapsed() < Duration::from_secs(2) {
            let asked = Instant::now();
            coordination.try_acquire(&batch(sale_id, 1, 1, 0..2)).await.expect_err("nobody is there");
            assert!(asked.elapsed() < LIMIT, "{:?}", asked.elapsed());
            sleep(Duration::from_millis(20)).await;
        }
        let asked = Instant::now();
        coordination.try_acquire(&batch(sale_id, 1, 1, 0..2)).await.expect_err("nobody is there");
        assert!(asked.elapsed() < Duration::from_millis(50), "known to be away: {:?}", asked.elapsed());

        server.start_again().await;
        let back = Instant::now();
        timeout(RECOVERY, until_works(&coordination)).await.expect("calls work again");
        let works_after = back.elapsed();
        let number = format!("round-{round}");
        timeout(RECOVERY, until_heard(&coordination, &mut hints, &number)).await.expect("hints flow again");
        eprintln!("calls after {works_after:?}, hints after {:?}", back.elapsed());
        assert_eq!(acquire(&coordination, &batch(sale_id, 1, 1, 0..2)).await, None, "it came back empty");
        rebuild(&coordination, &content(sale_id, 1, 10)).await;
    }
}

#[tokio::test]
async fn a_call_without_an_answer_is_repeated_safely() {
    let server = RedisServer::start().await;
    let coordination = open(&server.url()).await;
    let sale_id = fresh_sale();
    rebuild(&coordination, &content(sale_id, 1, 10)).await;
    let batch = batch(sale_id, 1, 7, 0..4);

    server.signal("STOP");
    let asked = Instant::now();
    coordination.try_acquire(&batch).await.expect_err("no answer");
    assert!(asked.elapsed() < LIMIT, "{:?}", asked.elapsed());
    server.signal("CONT");
    timeout(RECOVERY, until_works(&coordination)).await.expect("calls work again");

    assert_eq!(acquire(&coordination, &batch).await, Some(4), "the answer that was lost, or the first one");
    assert_eq!(coordination.permits(sale_id).await.expect("permits"), Some(6), "taken once");
    coordination.end_hold(sale_id, 1, 7, &batch.users).await.expect("end_hold");
    assert_eq!(coordination.permits(sale_id).await.expect("permits"), Some(10));
}

#[tokio::test]
async fn a_cut_connection_is_made_again_before_the_next_call() {
    let server = RedisServer::start().await;
    let coordination = open(&server.url()).await;
    let mut hints = coordination.hints();
    for round in 0..3 {
        server.ask::<i64>(&["CLIENT", "KILL", "SKIPME", "yes"]).await;
        server.ask::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        timeout(RECOVERY, until_works(&coordination)).await.expect("calls work again");
        let number = format!("cut-{round}");
        timeout(RECOVERY, until_heard(&coordination, &mut hints, &number)).await.expect("hints flow again");
    }
}

#[tokio::test]
async fn of_a_cluster_only_the_sales_of_the_master_that_is_away_stand_still() {
    // A master that comes back waits two seconds before it takes writes, so that it hears of a failover first.
    const CLUSTER_RECOVERY: Duration = Duration::from_secs(5);
    let mut cluster = RedisCluster::start().await;
    let coordination = cluster.open().await;
    let mut hints = coordination.hints();
    // The subscription is on the first; it moves to another.
    for away in [1, 0] {
        let (lost, kept) = (cluster.sale_on(away).await, cluster.sale_on(2).await);
        rebuild(&coordination, &content(lost, 1, 10)).await;
        rebuild(&coordination, &content(kept, 1, 1_000)).await;
        cluster.nodes[away].kill();
        let killed = Instant::now();
        let mut hold_id = 0;
        while killed.elapsed() < Duration::from_secs(3) {
            hold_id += 1;
            let asked = Instant::now();
            coordination.try_acquire(&batch(lost, 1, hold_id, 0..2)).await.expect_err("nobody is there");
            assert!(asked.elapsed() < LIMIT, "{:?}", asked.elapsed());
            let user = i64::try_from(hold_id).expect("small");
            assert_eq!(acquire(&coordination, &batch(kept, 1, hold_id, user..user + 1)).await, Some(1));
            sleep(Duration::from_millis(20)).await;
        }
        timeout(CLUSTER_RECOVERY, until_heard(&coordination, &mut hints, "away")).await.expect("hints flow");

        cluster.nodes[away].start_again().await;
        let back = Instant::now();
        let again = content(lost, 2, 10);
        let rebuilt = async { while coordination.rebuild(&again).await.is_err() {} };
        timeout(CLUSTER_RECOVERY, rebuilt).await.expect("the sale is back");
        eprintln!("rebuilt after {:?}", back.elapsed());
        assert_eq!(acquire(&coordination, &batch(lost, 2, 1, 0..2)).await, Some(2));
        timeout(CLUSTER_RECOVERY, until_heard(&coordination, &mut hints, "back")).await.expect("hints flow");
    }
}
