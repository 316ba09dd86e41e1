//! Sends requests at their intended times, or as fast as they are answered, and writes down what comes back.
//!
//! One thread. Each connection takes the next arrival, waits until it is due, and has it answered. When all connections
//! are busy arrivals wait, and their latency counts from the moment they were due all the same.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::arrivals::Schedule;
use crate::record::{Outcome, Record, Taken};
use crate::wire::Connection;

/// What buyers do.
pub trait Workload: 'static {
    /// One arrival. An error is an answer that does not come (outcome unknown) unless it is [`Wrong`].
    fn arrive(&self, number: u64, connection: &mut Connection) -> impl Future<Output = anyhow::Result<Outcome>>;

    /// Whether nothing is left to do, asked before each arrival.
    fn is_done(&self) -> bool {
        false
    }
}

/// An answer that must not be.
#[derive(Debug)]
pub struct Wrong(pub String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// When requests are sent.
#[derive(Clone, Debug)]
pub enum Pace {
    /// At their intended times.
    Open(Schedule),
    /// As soon as the one before on the same connection is answered, for this long.
    Closed(Duration),
}

impl Pace {
    /// How long requests are sent.
    pub fn lasts(&self) -> Duration {
        match self {
            Self::Open(schedule) => schedule.lasts(),
            Self::Closed(lasts) => *lasts,
        }
    }
}

struct Run<W> {
    workload: Rc<W>,
    pace: Pace,
    next: Cell<u64>,
    started: Instant,
    record: RefCell<Record>,
    bar: ProgressBar,
}

impl<W: Workload> Run<W> {
    /// The next arrival and when it is due, counted from the start.
    fn take(&self) -> Option<(u64, Duration)> {
        let number = self.next.get();
        let due = match &self.pace {
            Pace::Open(schedule) => schedule.due(number)?,
            Pace::Closed(lasts) => Some(self.started.elapsed()).filter(|now| now < lasts)?,
        };
        if self.workload.is_done() {
            return None;
        }
        self.next.set(number + 1);
        Some((number, due))
    }

    async fn work(&self, mut connection: Connection) {
        while let Some((number, due)) = self.take() {
            if due > self.started.elapsed() {
                tokio::time::sleep_until(self.started + due).await;
            }
            let sent = self.started.elapsed();
            let result = self.workload.arrive(number, &mut connection).await;
            let answered = self.started.elapsed();
            let outcome = result.unwrap_or_else(|error| self.failed(number, &error));
            self.record.borrow_mut().add(&Taken { due, sent, answered, outcome });
            if outcome == Outcome::Unknown {
                // Not to spin on a server that is away.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    fn failed(&self, number: u64, error: &anyhow::Error) -> Outcome {
        self.record.borrow_mut().note_wrong(format!("request {number}: {error:#}"));
        if error.is::<Wrong>() { Outcome::Wrong } else { Outcome::Unknown }
    }

    async fn show(&self) {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            tick.tick().await;
            let record = self.record.borrow();
            self.bar.set_position(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX));
            self.bar.set_message(format!("{} answered, {} accepted", record.counts.total(), record.counts.accepted()));
        }
    }
}

/// Runs a workload over so many connections, which are open before the clock runs: opening hundreds of them takes longer
/// than answering as many requests. Must not be called inside another `LocalSet`.
pub async fn run<W: Workload>(title: &str, address: &str, connections: usize, pace: Pace, workload: Rc<W>) -> Record {
    let connections = opened(address, connections).await;
    let bar = progress_bar(title, pace.lasts());
    let run = Rc::new(Run {
        workload,
        pace,
        next: Cell::new(0),
        started: Instant::now(),
        record: RefCell::default(),
        bar: bar.clone(),
    });
    let local = LocalSet::new();
    local
        .run_until(async {
            let shown = tokio::task::spawn_local({
                let run = run.clone();
                async move { run.show().await }
            });
            let workers: Vec<_> = connections
                .into_iter()
                .map(|connection| {
                    let run = run.clone();
                    tokio::task::spawn_local(async move { run.work(connection).await })
                })
                .collect();
            for worker in workers {
                if let Err(error) = worker.await {
                    run.record.borrow_mut().note_wrong(format!("a connection's task ended: {error}"));
                }
            }
            shown.abort();
        })
        .await;
    bar.finish_and_clear();
    run.record.take()
}

/// All at once, so that a server that does not answer holds them up for one limit and not for one each.
async fn opened(address: &str, count: usize) -> Vec<Connection> {
    let mut opening = JoinSet::new();
    for _ in 0..count {
        let mut connection = Connection::new(address);
        opening.spawn(async move {
            connection.open().await;
            connection
        });
    }
    opening.join_all().await
}

fn progress_bar(title: &str, lasts: Duration) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{prefix} [{bar:40}] {elapsed} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(title.to_owned());
    bar
}
