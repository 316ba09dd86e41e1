//! The store writer: what it commits together, whom a failure hits, and who hears of it when.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actors::domain::events::{Message, Queue};
use actors::domain::order::LockLine;
use actors::domain::reject::Unavailable;
use actors::domain::{SkuId, WareId, WareSkuId};
use actors::local::clock::{ManualClock, SeededEntropy};
use actors::local::store::MemoryStore;
use actors::ports::store::units::{LockRequest, LockStock, Park, Replay, StockLock, StockLocks, WriteUnit};
use actors::ports::store::{MessageReads, StoreError, StoreRules};
use actors::protocol::stock::{SkuNews, StockNews};
use actors::testkit::{Shop, StepStore, until};
use actors::writer::{self, Listeners, Queued, WriteError, Writer, WriterSettings};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const SKU: SkuId = SkuId(48);

type Outcome = Pin<Box<dyn Future<Output = Result<StockLocks, WriteError>> + Send>>;

/// Hears the news of stock, and can hold a caller's answer up to it.
#[derive(Default)]
struct Ear {
    heard: Mutex<Vec<(SkuId, SkuNews)>>,
    caller: Mutex<Option<Outcome>>,
}

impl StockNews for Ear {
    fn tell(&self, sku_id: SkuId, news: SkuNews) {
        if let Some(caller) = self.caller.lock().unwrap().as_mut() {
            let answer = caller.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(answer.is_pending(), "the caller was answered before the actors heard the news");
        }
        self.heard.lock().unwrap().push((sku_id, news));
    }
}

struct Bench {
    memory: Arc<MemoryStore>,
    store: Arc<StepStore>,
    ear: Arc<Ear>,
    writer: Writer,
    outbox: mpsc::Receiver<Vec<Message>>,
    task: JoinHandle<()>,
    row: WareSkuId,
}

fn bench(settings: WriterSettings) -> Bench {
    let rules = StoreRules { items_per_message: 256, points_per_yuan: 1, close_grace: Duration::from_secs(60) };
    let memory = Arc::new(MemoryStore::new(Arc::new(ManualClock::new(0)), Arc::new(SeededEntropy::new(1)), rules));
    let row = memory.add_stock(SKU, WareId(1), 1_000);
    let store = StepStore::new(memory.clone());
    let ear = Arc::new(Ear::default());
    let (writer, task) = writer::channel(settings);
    let (hints, outbox) = mpsc::channel(1);
    let task = tokio::spawn(task.run(store.clone(), Listeners { stock: ear.clone(), outbox: hints }));
    Bench { memory, store, ear, writer, outbox, task, row }
}

impl Bench {
    fn lock(&self, number: usize, num: u32) -> LockStock {
        let lines = vec![LockLine { sku_id: SKU, ware_sku_id: self.row, num }];
        let requests = vec![LockRequest { order_sn: Shop::owner(number), lines }];
        LockStock { requests, lease: Duration::from_secs(60) }
    }

    fn queue(&self, number: usize) -> Queued<LockStock> {
        self.writer.queue(self.lock(number, 1)).unwrap()
    }

    /// Queues one unit and waits until its commit is at the shut gate.
    async fn occupy(&self) -> Queued<LockStock> {
        self.store.before_commit.shut();
        let queued = self.queue(0);
        until("a commit waits", || self.store.before_commit.waiting() == 1).await;
        queued
    }

    fn settled(&self) -> i64 {
        let heard = self.ear.heard.lock().unwrap();
        heard.iter().flat_map(|(_, news)| &news.settled).map(|(_, num)| num).sum()
    }
}

fn locked() -> Result<StockLocks, WriteError> {
    Ok(StockLocks::Done(vec![StockLock::Locked]))
}

async fn outcomes(queued: Vec<Queued<LockStock>>) -> Vec<Result<StockLocks, WriteError>> {
    join_all(queued.into_iter().map(Queued::outcome)).await
}

#[tokio::test]
async fn a_lone_unit_is_committed_at_once() {
    let bench = bench(WriterSettings::default());
    assert_eq!(bench.writer.commit(bench.lock(1, 1)).await, locked());
    assert_eq!(bench.store.batch_sizes(), [1]);
}

#[tokio::test]
async fn a_batch_forms_while_the_last_commit_runs() {
    let bench = bench(WriterSettings::default());
    let first = bench.occupy().await;
    let queued: Vec<_> = (1..=5).map(|number| bench.queue(number)).collect();
    assert_eq!(bench.writer.waiting(), 5);
    bench.store.before_commit.open();
    assert_eq!(first.outcome().await, locked());
    assert_eq!(outcomes(queued).await, vec![locked(); 5]);
    assert_eq!(bench.store.batch_sizes(), [1, 5]);
    assert_eq!(bench.ear.heard.lock().unwrap().len(), 2, "one piece of news a batch and SKU");
}

#[tokio::test]
async fn a_batch_has_a_largest_size() {
    let bench = bench(WriterSettings { max_batch: 3, ..WriterSettings::default() });
    let first = bench.occupy().await;
    let queued: Vec<_> = (1..=7).map(|number| bench.queue(number)).collect();
    bench.store.before_commit.open();
    assert_eq!(first.outcome().await, locked());
    assert_eq!(outcomes(queued).await, vec![locked(); 7]);
    assert_eq!(bench.store.batch_sizes(), [1, 3, 3, 1]);
}

#[tokio::test]
async fn a_constraint_fails_only_the_unit_at_fault() {
    let bench = bench(WriterSettings::default());
    let bad = Shop::owner(5);
    bench.store.poison(move |unit| matches!(unit, WriteUnit::LockStock(unit) if unit.requests[0].order_sn == bad));
    let first = bench.occupy().await;
    let queued: Vec<_> = (1..=8).map(|number| bench.queue(number)).collect();
    bench.store.before_commit.open();
    assert_eq!(first.outcome().await, locked());
    for (number, outcome) in (1..).zip(outcomes(queued).await) {
        match number {
            5 => assert!(matches!(outcome, Err(WriteError::Store(StoreError::Constraint(_)))), "{outcome:?}"),
            _ => assert_eq!(outcome, locked(), "unit {number}"),
        }
    }
    assert_eq!(bench.store.batch_sizes(), [1, 8, 4, 4, 2, 1, 1, 2]);
    assert_eq!(bench.settled(), 9, "every unit settles, the bad one too");
}

#[tokio::test]
async fn a_transient_failure_is_tried_again_and_not_for_ever() {
    let bench = bench(WriterSettings { retries: 2, ..WriterSettings::default() });
    let busy = || StoreError::Transient("busy".into());
    bench.store.fail_commit(busy());
    bench.store.fail_commit(busy());
    assert_eq!(bench.writer.commit(bench.lock(1, 1)).await, locked());
    assert_eq!(bench.store.batch_sizes(), [1, 1, 1]);
    for _ in 0..3 {
        bench.store.fail_commit(busy());
    }
    assert_eq!(bench.writer.commit(bench.lock(2, 1)).await, Err(WriteError::Store(busy())));
    assert_eq!(bench.settled(), 2);
}

#[tokio::test]
async fn other_failures_hit_the_whole_batch_once() {
    let bench = bench(WriterSettings::default());
    for error in [StoreError::Unknown("lost".into()), StoreError::Failed("broken".into())] {
        bench.store.fail_commit(error.clone());
        assert_eq!(bench.writer.commit(bench.lock(1, 1)).await, Err(error.into()));
    }
    assert_eq!(bench.store.batch_sizes(), [1, 1]);
    assert_eq!(bench.settled(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_waited_too_long_is_refused_unstarted_and_settled() {
    let max_wait = Duration::from_secs(2);
    let bench = bench(WriterSettings { max_wait, ..WriterSettings::default() });
    let first = bench.occupy().await;
    let expired = bench.queue(1);
    tokio::time::advance(max_wait + Duration::from_millis(1)).await;
    let fresh = bench.queue(2);
    bench.store.before_commit.open();
    assert_eq!(first.outcome().await, locked());
    assert_eq!(expired.outcome().await, Err(WriteError::NotTried(Unavailable::Overloaded)));
    assert_eq!(fresh.outcome().await, locked());
    assert_eq!(bench.store.batch_sizes(), [1, 1], "the expired unit never reached the store");
    assert_eq!(bench.settled(), 3);
}

#[tokio::test]
async fn actors_hear_the_news_before_callers_are_answered() {
    let bench = bench(WriterSettings::default());
    let expect_told = |count| assert_eq!(bench.ear.heard.lock().unwrap().len(), count);
    // Committed, then refused: both ways the news comes first.
    for (number, failure) in [(1, None), (2, Some(StoreError::Failed("broken".into())))] {
        if let Some(error) = failure.clone() {
            bench.store.fail_commit(error);
        }
        let caller: Outcome = Box::pin(bench.queue(number).outcome());
        *bench.ear.caller.lock().unwrap() = Some(caller);
        until("the news is told", || bench.ear.heard.lock().unwrap().len() == number).await;
        let caller = bench.ear.caller.lock().unwrap().take().unwrap();
        assert_eq!(caller.await.err(), failure.map(WriteError::Store));
        expect_told(number);
    }
    let heard = bench.ear.heard.lock().unwrap();
    assert_eq!((heard[0].0, heard[0].1.rows[0].locked), (SKU, 1));
    assert!(heard[1].1.rows.is_empty() && heard[1].1.settled == [(bench.row, 1)]);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_a_stopped_writer_says_so() {
    let bench = bench(WriterSettings { queue: 2, ..WriterSettings::default() });
    let first = bench.occupy().await;
    let queued = vec![bench.queue(1), bench.queue(2)];
    let refused = bench.writer.queue(bench.lock(3, 1)).err();
    assert_eq!(refused, Some(WriteError::NotTried(Unavailable::Overloaded)));
    bench.store.before_commit.open();
    assert_eq!(first.outcome().await, locked());
    assert_eq!(outcomes(queued).await, vec![locked(); 2]);
    bench.task.abort();
    until("it stopped", || bench.task.is_finished()).await;
    let refused = bench.writer.queue(bench.lock(4, 1)).err();
    assert_eq!(refused, Some(WriteError::NotTried(Unavailable::Stopping)));
}

#[tokio::test]
async fn a_caller_that_leaves_undoes_nothing() {
    let bench = bench(WriterSettings::default());
    let first = bench.occupy().await;
    drop(bench.queue(1));
    assert!(bench.writer.commit(bench.lock(2, 1)).now_or_never().is_none());
    bench.store.before_commit.open();
    assert_eq!(first.outcome().await, locked());
    until("all three are committed", || bench.settled() == 3).await;
}

#[tokio::test]
async fn the_last_writer_dropped_ends_the_task_after_what_was_queued() {
    let bench = bench(WriterSettings::default());
    let first = bench.occupy().await;
    let last = bench.queue(1);
    let Bench { writer, task, store, memory: _memory, ear: _ear, outbox: _outbox, row: _ } = bench;
    drop(writer);
    store.before_commit.open();
    assert_eq!((first.outcome().await, last.outcome().await), (locked(), locked()));
    task.await.unwrap();
}

#[tokio::test]
async fn outbox_rows_are_hinted_and_a_full_relay_loses_only_the_hint() {
    let mut bench = bench(WriterSettings::default());
    for name in ["a", "b"] {
        let payload = r#"{"messageId":"m","type":"stock.unlock","version":1,"items":[{"orderToken":"x"}]}"#;
        let (message_id, queue) = (name.to_owned(), Queue::StockUnlock);
        bench
            .writer
            .commit(Park { message_id: message_id.clone(), queue, payload: payload.into(), reason: "test".into() })
            .await
            .unwrap();
        let new_message_id = format!("{name}2");
        assert_eq!(bench.writer.commit(Replay { message_id, new_message_id }).await, Ok(true));
    }
    let hinted = bench.outbox.recv().await.unwrap();
    assert_eq!(hinted[0].message_id, "a2");
    assert!(bench.outbox.try_recv().is_err(), "there was room for one hint");
    assert_eq!(bench.memory.unpublished(-1, 10).await.unwrap().len(), 2, "the sweep finds both");
}

#[test]
fn pending_answers_are_really_polled() {
    // Guards the guard in `Ear`: a ready future must be seen as ready.
    let mut ready: Outcome = Box::pin(std::future::ready(locked()));
    assert!(matches!(ready.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_))));
}
