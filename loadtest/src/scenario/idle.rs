//! Thousands of connections that do nothing, or send a request so slowly that it never ends, while others buy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Check;
use super::overload::Pressed;
use super::pressure::{Shop, at_most, memory, none_refused, offer};
use crate::target::Target;

/// How it is run.
pub struct Effort {
    /// Connections, half of them idle, half of them slow.
    pub crowd: usize,
    /// Orders a second meanwhile.
    pub rate: f64,
    /// The pressure.
    pub lasts: Duration,
    /// The same without it.
    pub before: Duration,
    /// Members who order.
    pub buyers: u64,
}

/// A slow client sends one byte so often.
const BYTE_EVERY: Duration = Duration::from_millis(500);
/// The server gives up on a head after `server.head_timeout`, five seconds by default; so much more is not counted.
const CLOSED_WITHIN: Duration = Duration::from_secs(8);

#[derive(Default)]
struct Seen {
    open: AtomicUsize,
    most_open: AtomicUsize,
    closed_by_server: AtomicU64,
    /// Milliseconds that a slow connection lived at most.
    longest_ms: AtomicU64,
}

/// The crowd; it goes when this is dropped.
struct Crowd {
    seen: Arc<Seen>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Crowd {
    fn come(address: &str, size: usize) -> Self {
        let seen = Arc::new(Seen::default());
        let tasks = (0..size)
            .map(|number| {
                let (address, seen) = (address.to_owned(), seen.clone());
                tokio::spawn(async move {
                    loop {
                        // An error is a refusal, which is the server's right.
                        let _ = live(&address, number.is_multiple_of(2), &seen).await;
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                })
            })
            .collect();
        Self { seen, tasks }
    }

    /// Waits until almost all are connected.
    async fn gather(&self, size: usize) -> anyhow::Result<()> {
        for _ in 0..300 {
            if self.seen.open.load(Ordering::Relaxed) >= size * 9 / 10 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!(
            "{} of {size} connections after half a minute; is `ulimit -n` large enough?",
            self.seen.open.load(Ordering::Relaxed)
        )
    }
}

/// Counts a connection while it lives.
struct Open<'s>(&'s Seen);

impl<'s> Open<'s> {
    fn new(seen: &'s Seen) -> Self {
        let open = seen.open.fetch_add(1, Ordering::Relaxed) + 1;
        seen.most_open.fetch_max(open, Ordering::Relaxed);
        Self(seen)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection until the server ends it.
async fn live(address: &str, is_idle: bool, seen: &Seen) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let _open = Open::new(seen);
    let started = Instant::now();
    let mut answer = [0; 1024];
    if !is_idle {
        stream.write_all(b"POST /order/confirm HTTP/1.1\r\nhost: slow\r\nx-slow: ").await?;
        loop {
            match tokio::time::timeout(BYTE_EVERY, stream.read(&mut answer)).await {
                Err(_) => stream.write_all(b"a").await?,
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(_)) => {}
            }
        }
        let lived = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        seen.longest_ms.fetch_max(lived, Ordering::Relaxed);
    } else {
        while stream.read(&mut answer).await? > 0 {}
    }
    seen.closed_by_server.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Runs it.
///
/// # Errors
/// When the server does not answer, or so many connections cannot be had.
pub async fn run(target: &Target, effort: &Effort) -> anyhow::Result<Pressed> {
    let shop = Shop::with_buyers(target, effort.buyers, 48).await?;
    let alone = offer(target, "without the crowd", shop.flow.clone(), effort.rate, effort.before, 64).await;
    ensure!(alone.record.counts.accepted() > 0, "nothing is accepted: {}", alone.record.wrong.join("; "));

    let crowd = Crowd::come(&target.public, effort.crowd);
    crowd.gather(effort.crowd).await.context("the crowd")?;
    let phase = offer(target, "beside the crowd", shop.flow.clone(), effort.rate, effort.lasts, 64).await;
    let seen = crowd.seen.clone();
    drop(crowd);

    let (mut checks, persisted) = shop.reconcile(target).await?;
    checks.push(none_refused("no buyer is refused beside the crowd", &phase));
    let (beside, without) = (phase.record.accepted.quantile(0.99), alone.record.accepted.quantile(0.99));
    checks.push(Check {
        name: "p99 of orders beside the crowd ≤ 1.5 × without it, or 50 ms".to_owned(),
        ok: beside <= without.mul_f64(1.5).max(Duration::from_millis(50)),
        detail: format!("{beside:.1?} beside {without:.1?}"),
    });
    let longest = Duration::from_millis(seen.longest_ms.load(Ordering::Relaxed));
    checks.push(at_most("life of a connection that never ends its head", longest, CLOSED_WITHIN));
    let closed = seen.closed_by_server.load(Ordering::Relaxed);
    checks.push(Check {
        name: "the server ends what does not ask".to_owned(),
        ok: closed > 0,
        detail: format!("{closed} ended, at most {} open at a time", seen.most_open.load(Ordering::Relaxed)),
    });
    checks.extend(memory(&phase));
    Ok(Pressed { phase, persisted, checks })
}
