//! The reference of the speed table: the course's way, as fast as it honestly goes, on this project's own tables.
//!
//! Per request a fair lock in Redis, a SELECT, an UPDATE, the unlock and a SET of the lock record; an order's rows in a
//! transaction of their own; each message's confirm awaited. What is left out is in its favour: its lock is one BLPOP
//! that hands a token over in order, less than Redisson's fair lock does; its tokens are not verified; it has no HTTP.
//!
//! ```text
//! cargo bench --bench course_way -- --postgres postgres://…/postgres --redis redis://… --rabbitmq amqp://…
//! cargo bench --bench course_way -- --sqlite
//! ```
//! PostgreSQL: a database of its own is made there and dropped. Redis: keys named `course-way:*`.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

mod messages;
mod postgres;
mod sqlite;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use tokio::time::Instant;

#[derive(Parser)]
struct Arguments {
    /// PostgreSQL, with the right to make a database
    #[arg(long, requires = "redis")]
    postgres: Option<String>,
    /// Redis
    #[arg(long)]
    redis: Option<String>,
    /// RabbitMQ
    #[arg(long)]
    rabbitmq: Option<String>,
    /// The stock part on SQLite, with a fair lock in the process
    #[arg(long)]
    sqlite: bool,
    /// Requests in flight
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// One part of it; all of it when not given
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Print one JSON object a measurement
    #[arg(long)]
    json: bool,
    /// Folder of the PostgreSQL schema
    #[arg(long, default_value = "migrations/postgres")]
    migrations: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Stock under the lock
    Stock,
    /// Order rows
    Orders,
    /// Both, and the message
    Whole,
    /// The message alone
    Messages,
}

/// How a measurement is made.
#[derive(Clone, Copy)]
pub struct Effort {
    clients: usize,
    lasts: Duration,
    only: Option<Part>,
    json: bool,
}

impl Effort {
    /// Whether the part is asked for.
    pub fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

/// What one client does again and again.
pub trait Client: Send + 'static {
    /// Once.
    fn go(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Runs the clients, each with one request in flight, and prints the rate and this process's own CPU time per request.
pub async fn measure<C: Client>(name: &str, effort: Effort, clients: Vec<C>) -> anyhow::Result<()> {
    let done = Arc::new(AtomicU64::new(0));
    let (started, cpu) = (Instant::now(), own_cpu());
    let mut running = tokio::task::JoinSet::new();
    for mut client in clients {
        let done = done.clone();
        running.spawn(async move {
            while started.elapsed() < effort.lasts {
                client.go().await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = running.join_next().await {
        client??;
    }
    let (took, done) = (started.elapsed().as_secs_f64(), done.load(Ordering::Relaxed).max(1));
    let own_us = (own_cpu() - cpu).as_secs_f64() * 1e6 / done as f64;
    let (clients, rate) = (effort.clients, done as f64 / took);
    if effort.json {
        println!(r#"{{"name":"{name}","in_flight":{clients},"rate":{rate:.1},"client_us":{own_us:.1}}}"#);
    } else {
        println!("{name}, {clients} in flight: {rate:.0}/s, client CPU {own_us:.0} us each");
    }
    Ok(())
}

/// User and system time of this process, in ticks of 10 ms.
fn own_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks: u32 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    Duration::from_millis(10) * ticks
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let effort = Effort {
        clients: arguments.clients,
        lasts: Duration::from_secs(arguments.seconds),
        only: arguments.only,
        json: arguments.json,
    };
    if arguments.sqlite {
        sqlite::run(effort).await?;
    }
    let broker = match &arguments.rabbitmq {
        Some(url) => Some(messages::Broker::open(url).await?),
        None => None,
    };
    if let Some(broker) = broker.as_ref().filter(|_| effort.wants(Part::Messages)) {
        messages::run(effort, broker).await?;
    }
    if let (Some(database), Some(redis)) = (&arguments.postgres, &arguments.redis) {
        postgres::run(effort, database, redis, &arguments.migrations, broker.as_ref()).await?;
    }
    if let Some(broker) = broker {
        broker.close().await?;
    }
    Ok(())
}
