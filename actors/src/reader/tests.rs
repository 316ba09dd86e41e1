//! When reads begin, and whom they answer.

use std::sync::Mutex;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};

use super::*;

const LIMIT: Duration = Duration::from_secs(2);

/// A read that answers tenfold, for even keys only. It ends when one more may.
#[derive(Clone)]
struct Held {
    began: Arc<Mutex<Vec<Vec<u32>>>>,
    may_end: Arc<Semaphore>,
}

impl Held {
    fn new() -> Self {
        Self { began: Arc::default(), may_end: Arc::new(Semaphore::new(0)) }
    }

    fn start(&self) -> Asking<u32, u32> {
        let held = self.clone();
        Asking::start(LIMIT, move |keys: Vec<u32>| {
            let held = held.clone();
            async move {
                held.began.lock().expect("nobody panics").push(keys.clone());
                held.may_end.acquire().await.expect("it is never closed").forget();
                Ok(keys.into_iter().filter(|key| key % 2 == 0).map(|key| (key, key * 10)).collect())
            }
        })
    }

    fn began(&self) -> Vec<Vec<u32>> {
        self.began.lock().expect("nobody panics").clone()
    }
}

fn ask(asking: &Asking<u32, u32>, keys: &[u32]) -> JoinHandle<Result<Vec<u32>, StoreError>> {
    let (asking, keys) = (asking.clone(), keys.to_vec());
    tokio::spawn(async move { asking.ask(keys).await })
}

/// Until nobody has anything to do.
async fn settle() {
    for _ in 0..16 {
        yield_now().await;
    }
}

#[tokio::test]
async fn what_comes_while_a_read_runs_is_one_read_and_each_gets_its_own() {
    let held = Held::new();
    let asking = held.start();
    let first = ask(&asking, &[2]);
    settle().await;
    let others = [ask(&asking, &[4, 3, 2]), ask(&asking, &[2]), ask(&asking, &[8, 4]), ask(&asking, &[])];
    settle().await;
    assert_eq!(held.began(), [vec![2]]);
    held.may_end.add_permits(1);
    settle().await;
    assert_eq!(first.await.expect("it ends"), Ok(vec![20]));
    // The read that had begun before they asked answers none of them, although it was about the same key.
    assert!(others.iter().all(|other| !other.is_finished()));
    assert_eq!(held.began(), [vec![2], vec![2, 3, 4, 8]]);
    held.may_end.add_permits(1);
    let mut answers = Vec::new();
    for other in others {
        answers.push(other.await.expect("it ends"));
    }
    assert_eq!(answers, [Ok(vec![40, 20]), Ok(vec![20]), Ok(vec![80, 40]), Ok(vec![])]);
}

#[tokio::test]
async fn who_went_away_is_not_read_for() {
    let held = Held::new();
    let asking = held.start();
    let first = ask(&asking, &[2]);
    settle().await;
    let (gone, other) = (ask(&asking, &[4]), ask(&asking, &[6]));
    settle().await;
    gone.abort();
    settle().await;
    held.may_end.add_permits(1);
    settle().await;
    held.may_end.add_permits(1);
    assert_eq!(first.await.expect("it ends"), Ok(vec![20]));
    assert_eq!(other.await.expect("it ends"), Ok(vec![60]));
    assert_eq!(held.began(), [vec![2], vec![6]]);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_does_not_end_fails_those_it_was_for_and_holds_up_no_others() {
    let began = Arc::<Mutex<Vec<Vec<u32>>>>::default();
    let seen = began.clone();
    let asking: Asking<u32, u32> = Asking::start(LIMIT, move |keys: Vec<u32>| {
        seen.lock().expect("nobody panics").push(keys.clone());
        async move {
            if keys == [13] {
                std::future::pending::<()>().await;
            }
            Ok(keys.into_iter().map(|key| (key, key * 10)).collect())
        }
    });
    let stuck = ask(&asking, &[13]);
    settle().await;
    let asked_at = tokio::time::Instant::now();
    assert_eq!(asking.ask(vec![4]).await, Ok(vec![40]));
    assert!(asked_at.elapsed() <= PATIENCE, "{:?}", asked_at.elapsed());
    assert!(!stuck.is_finished());
    assert!(matches!(stuck.await.expect("it ends"), Err(StoreError::Transient(_))));
    assert!(asked_at.elapsed() <= LIMIT + PATIENCE);
    assert_eq!(*began.lock().expect("nobody panics"), [vec![13], vec![4]]);
}

#[tokio::test]
async fn a_read_that_panics_fails_those_it_was_for_and_no_others() {
    let asking: Asking<u32, u32> = Asking::start(LIMIT, |keys: Vec<u32>| async move {
        assert!(keys != [13], "blown up for a test");
        Ok(keys.into_iter().map(|key| (key, key * 10)).collect())
    });
    assert!(matches!(asking.ask(vec![13]).await, Err(StoreError::Failed(_))));
    assert_eq!(asking.ask(vec![4]).await, Ok(vec![40]));
}

#[tokio::test]
async fn more_questions_than_may_wait_are_refused_at_once() {
    let held = Held::new();
    let asking = held.start();
    let first = ask(&asking, &[0]);
    settle().await;
    let waiting: Vec<_> = (0..QUEUE).map(|_| ask(&asking, &[2])).collect();
    while asking.0.capacity() > 0 {
        yield_now().await;
    }
    assert!(matches!(asking.ask(vec![2]).await, Err(StoreError::Transient(_))));
    held.may_end.add_permits(1 + QUEUE / MOST_AT_ONCE);
    assert_eq!(first.await.expect("it ends"), Ok(vec![0]));
    for answer in waiting {
        assert_eq!(answer.await.expect("it ends"), Ok(vec![20]));
    }
    assert_eq!(held.began().len(), 1 + QUEUE / MOST_AT_ONCE);
}
