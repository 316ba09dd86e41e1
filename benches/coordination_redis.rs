//! Decisions a second of the Redis adapter over one connection, by size of the batch, beside a script that decides one
//! buyer a call from 256 tasks: the way that a batch has to beat. Needs a server: SECKILL_TEST_REDIS_URL.
//!
//! A batch is taken and its hold ended, as in a sale; `in flight` is how many sales do so at the same time.

use std::time::Duration;

use actors::domain::{SaleId, UserId};
use actors::ports::coordination::{AcquireBatch, Acquired, Coordination, SemaphoreContent};
use futures_util::future::join_all;
use seckill::coordination::redis::{RedisCoordination, RedisSettings};
use tokio::time::Instant;

const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
const BATCHES: [i64; 5] = [1, 16, 64, 128, 512];
const IN_FLIGHT: [i64; 2] = [1, 4];
const TASKS: i64 = 256;
/// What a buyer costs when each is a call of its own.
const ONE_BUYER: &str = "
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 0 end
if tonumber(redis.call('GET', KEYS[2])) < 1 then return 0 end
redis.call('DECR', KEYS[2])
redis.call('SADD', KEYS[1], ARGV[1])
return 1";

/// One sale, of which `permits` are free; answers how many buyers were decided.
async fn sell(coordination: &RedisCoordination, sale: i64, size: i64, permits: i64, until: Instant) -> u64 {
    let sale_id = SaleId(-1 - sale);
    let content = SemaphoreContent { sale_id, epoch: 1, permits, holders: Vec::new() };
    coordination.forget(sale_id).await.expect("forget");
    coordination.rebuild(&content).await.expect("rebuild");
    let (mut hold_id, mut buyer, mut decided) = (0, 0, 0);
    while Instant::now() < until {
        let users = (buyer..buyer + size).map(UserId).collect();
        let batch = AcquireBatch { sale_id, epoch: 1, hold_id, per_user_limit: 1, users };
        match coordination.try_acquire(&batch).await.expect("try_acquire") {
            Acquired::Decided(permits) => decided += permits.len() as u64,
            Acquired::Stale => panic!("stale"),
        }
        coordination.end_hold(sale_id, 1, hold_id, &[]).await.expect("end_hold");
        hold_id += 1;
        buyer += size;
    }
    coordination.forget(sale_id).await.expect("forget");
    decided
}

async fn sell_all(coordination: &RedisCoordination, in_flight: i64, size: i64, permits: i64) -> f64 {
    let started = Instant::now();
    let until = started + ROUND;
    let decided = join_all((0..in_flight).map(|sale| sell(coordination, sale, size, permits, until))).await;
    decided.iter().sum::<u64>() as f64 / started.elapsed().as_secs_f64()
}

async fn one_by_one(url: &str) -> f64 {
    let client = redis::Client::open(url).expect("an address");
    let connection = client.get_multiplexed_async_connection().await.expect("connected");
    let script = redis::Script::new(ONE_BUYER);
    let (users, permits) = ("sec:{bench}:winners", "sec:{bench}:permits");
    let mut setting = connection.clone();
    redis::pipe().unlink(users).set(permits, i64::MAX).exec_async(&mut setting).await.expect("set");
    let started = Instant::now();
    let until = started + ROUND;
    let task = |first: i64| {
        let (mut connection, script) = (connection.clone(), &script);
        async move {
            let mut buyer = first;
            while Instant::now() < until {
                let call = script.key(users).key(permits).arg(buyer).invoke_async::<i64>(&mut connection).await;
                assert_eq!(call.expect("decided"), 1);
                buyer += TASKS;
            }
            (buyer - first) / TASKS
        }
    };
    let decided: i64 = join_all((0..TASKS).map(task)).await.iter().sum();
    let rate = decided as f64 / started.elapsed().as_secs_f64();
    redis::pipe().unlink(users).unlink(permits).exec_async(&mut setting).await.expect("forget");
    rate
}

fn report(what: &str, rates: &mut [(f64, f64)]) {
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (rate, ratio) = rates[rates.len() / 2];
    let (lowest, highest) = (rates[0].0, rates[rates.len() - 1].0);
    eprintln!("{what:<34} {rate:>10.0}/s ({lowest:.0}-{highest:.0})  {ratio:>6.2} x one by one");
}

fn main() {
    let url = std::env::var("SECKILL_TEST_REDIS_URL").expect("SECKILL_TEST_REDIS_URL: see scripts/services");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let settings = RedisSettings {
            url: url.clone(),
            more_urls: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            pipeline_buffer: 1024,
            token_life: Duration::from_secs(60),
        };
        let coordination = RedisCoordination::open(&settings).await.expect("redis opens");
        let mut references = Vec::new();
        let cases: Vec<(&str, i64)> = vec![("win", 1 << 50), ("none free", 0)];
        for (what, permits) in cases {
            for in_flight in IN_FLIGHT {
                for size in BATCHES {
                    let mut rates = Vec::new();
                    for _ in 0..ROUNDS {
                        let reference = one_by_one(&url).await;
                        references.push((reference, 1.0));
                        let rate = sell_all(&coordination, in_flight, size, permits).await;
                        rates.push((rate, rate / reference));
                    }
                    report(&format!("{what}, batch {size}, in flight {in_flight}"), &mut rates);
                }
            }
        }
        report("one by one, 256 tasks", &mut references);
    });
}
