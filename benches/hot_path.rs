//! What each request pays for by itself: who is it, may it come in, the hop to an actor, the answer as JSON.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_rt::{Arbiter, System};
use actix_web::HttpResponse;
use actors::domain::{OrderSn, SaleId, Timestamp, UserId};
use actors::ports::clock::Clock;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use seckill::api::course::shapes::{OrderSubmitResponse, Won};
use seckill::api::course::{answer, success};
use seckill::auth::{Authenticator, own_issuer};
use seckill::config::{Config, Loaded, Sources};
use seckill::limits::{Admission, Limits};
use seckill::machine::SystemClock;
use tokio::sync::{mpsc, oneshot};

fn config(settings: &[(&str, &str)]) -> Config {
    let flags = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned(), "--set")).collect();
    Loaded::load(&Sources { flags, ..Sources::default() }).expect("sound settings").config
}

/// Logins signed with a key of their own; one that is remembered, and more than are remembered.
fn logins(criterion: &mut Criterion) {
    const LOGINS: i64 = 64;
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().to_str().expect("a plain path");
    let remembering = config(&[("data_dir", data_dir)]);
    let forgetful = config(&[("data_dir", data_dir), ("auth.remembered_tokens", "1")]);
    let now = SystemClock.now();
    let issuer = own_issuer(&remembering).expect("a key of our own");
    let issue = |id| issuer.issue(UserId(id), "user", now, Duration::from_secs(86_400)).expect("signed");
    let tokens: Vec<String> = (1..=LOGINS).map(issue).collect();
    let mut group = criterion.benchmark_group("jwt");
    let remembered = Authenticator::load(&remembering).expect("the same key");
    remembered.verify(&tokens[0], now).expect("our own login");
    group.bench_function("remembered", |bench| bench.iter(|| remembered.verify(black_box(&tokens[0]), now)));
    let cold = Authenticator::load(&forgetful).expect("the same key");
    let mut turn = tokens.iter().cycle();
    group.bench_function("cold", |bench| {
        bench.iter(|| cold.verify(turn.next().expect("it goes round"), now).expect("our own login"));
    });
    group.finish();
}

/// The limits that a request at a sale passes, and the bound of requests in work.
fn admission(criterion: &mut Criterion) {
    let rates = [("limits.per_ip", "1000000/s"), ("limits.per_user", "1000000/s")];
    let more = [("limits.seckill_per_user", "1000000/s"), ("limits.attempts_per_sale", "1000000000")];
    let limits = Limits::new(&config(&[rates, more].concat()).limits);
    let mut group = criterion.benchmark_group("admission");
    let door = Admission::new(1024);
    group.bench_function("permit, taken and given back", |bench| bench.iter(|| door.try_enter()));
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut user = 0;
    group.bench_function("address, user, attempt, attempts of the sale", |bench| {
        bench.iter(|| {
            user = (user + 1) % 10_000;
            let user = UserId(user);
            (
                limits.count_address(address).outcome(),
                limits.count_user(user).outcome(),
                limits.count_seckill(user).outcome(),
                limits.count_attempt(user, SaleId(1)),
            )
        });
    });
    group.finish();
}

/// A counter behind a mailbox. It answers each message, as the actors do.
struct Counter(u64);

impl actix::Actor for Counter {
    type Context = actix::Context<Self>;
}

#[derive(actix::Message)]
#[rtype(result = "u64")]
struct Count;

impl actix::Handler<Count> for Counter {
    type Result = u64;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// There and back, by how many are on their way at the same time.
fn mailbox(criterion: &mut Criterion) {
    let system = System::new();
    let away = Arbiter::new();
    let mut group = criterion.benchmark_group("mailbox");
    for in_flight in [1_usize, 64, 1024] {
        group.throughput(Throughput::Elements(in_flight as u64));
        let here = system.block_on(async { actix::Actor::start(Counter(0)) });
        group.bench_function(BenchmarkId::new("same thread", in_flight), |bench| {
            bench.iter(|| system.block_on(join_all((0..in_flight).map(|_| here.send(Count)))));
        });
        let there = actix::Actor::start_in_arbiter(&away.handle(), |_| Counter(0));
        group.bench_function(BenchmarkId::new("other thread", in_flight), |bench| {
            bench.iter(|| system.block_on(join_all((0..in_flight).map(|_| there.send(Count)))));
        });
        let (sender, mut receiver) = mpsc::channel::<oneshot::Sender<u64>>(1024);
        away.spawn(async move {
            let mut count = 0;
            while let Some(reply) = receiver.recv().await {
                count += 1;
                // Who has gone does not want the answer.
                let _ = reply.send(count);
            }
        });
        group.bench_function(BenchmarkId::new("channel to another thread", in_flight), |bench| {
            bench.iter(|| {
                system.block_on(join_all((0..in_flight).map(|_| async {
                    let (reply, told) = oneshot::channel();
                    sender.send(reply).await.expect("it listens");
                    told.await.expect("it answers")
                })))
            });
        });
    }
    group.finish();
    away.stop();
}

/// Answers that a sale gives most.
fn json(criterion: &mut Criterion) {
    let order_sn = OrderSn::generate(Timestamp(1_767_225_600_000), 17);
    let mut group = criterion.benchmark_group("json");
    group.bench_function("refused, a static body", |bench| {
        bench.iter(|| HttpResponse::Ok().body(r#"{"code":1,"msg":"秒杀失败，欢迎再次秒杀！","data":null}"#));
    });
    group.bench_function("won", |bench| {
        bench.iter(|| {
            let won = Won { order_sn: black_box(&order_sn) };
            answer(0, &format!("秒杀成功，订单号：{order_sn}"), won)
        });
    });
    group.bench_function("submit refused", |bench| bench.iter(|| success(OrderSubmitResponse::code(black_box(4)))));
    group.finish();
}

criterion_group!(benches, logins, admission, mailbox, json);
criterion_main!(benches);
