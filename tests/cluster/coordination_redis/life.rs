//! Random lives: the same commands give the same answers in Redis and in process.

use std::fmt::Debug;

use actors::domain::{SaleId, UserId};
use actors::local::coordination::LocalCoordination;
use actors::ports::coordination::{AcquireBatch, Coordination, SemaphoreContent};
use actors::testkit::{Dice, for_seeds};
use seckill::coordination::redis::RedisCoordination;

use super::rig::{on_cluster, on_single};

const LIVES: u64 = 30;
const STEPS: usize = 150;

const EPOCHS: usize = 4;
const HOLDS: usize = 8;
const USERS: usize = 12;

/// One command, to be given to both.
#[derive(Debug)]
enum Step {
    Acquire(AcquireBatch),
    EndHold { epoch: i64, hold_id: u64, refused: Vec<UserId> },
    Rebuild(SemaphoreContent),
    Reconcile { epoch: i64, remaining: i64 },
    Forget,
    Token(String),
}

struct Author {
    dice: Dice,
    sale_id: SaleId,
}

impl Author {
    fn number(&self, limit: usize) -> i64 {
        i64::try_from(self.dice.below(limit)).expect("small")
    }

    fn hold_id(&self) -> u64 {
        // Also beyond what a Lua number can hold.
        u64::MAX - u64::try_from(self.dice.below(HOLDS)).expect("small")
    }

    /// Each at most once, in any order.
    fn users(&self) -> Vec<UserId> {
        let mut users: Vec<UserId> = (0..USERS).map(|n| UserId(i64::MAX - i64::try_from(n).expect("small"))).collect();
        self.dice.shuffle(&mut users);
        users.truncate(self.dice.below(USERS + 1));
        users
    }

    fn step(&self) -> Step {
        match self.dice.below(20) {
            0..9 => Step::Acquire(AcquireBatch {
                sale_id: self.sale_id,
                epoch: self.number(EPOCHS),
                hold_id: self.hold_id(),
                per_user_limit: u32::try_from(1 + self.dice.below(3)).expect("small"),
                users: self.users(),
            }),
            9..14 => Step::EndHold { epoch: self.number(EPOCHS), hold_id: self.hold_id(), refused: self.users() },
            14 | 15 => Step::Rebuild(SemaphoreContent {
                sale_id: self.sale_id,
                epoch: self.number(EPOCHS),
                permits: self.number(30) - 2,
                holders: self.users().into_iter().map(|user| (user, 1 + self.dice.below(2) as u32)).collect(),
            }),
            16 | 17 => Step::Reconcile { epoch: self.number(EPOCHS), remaining: self.number(30) - 2 },
            18 if self.dice.one_in(4) => Step::Forget,
            _ => Step::Token(format!("{}-{}", self.sale_id, self.dice.below(5))),
        }
    }
}

/// What came of a step, and the permits after it.
async fn take(coordination: &impl Coordination, sale_id: SaleId, step: &Step) -> String {
    fn text(answer: impl Debug) -> String {
        format!("{answer:?}")
    }
    let answer = match step {
        Step::Acquire(batch) => text(coordination.try_acquire(batch).await),
        Step::EndHold { epoch, hold_id, refused } => {
            text(coordination.end_hold(sale_id, *epoch, *hold_id, refused).await)
        }
        Step::Rebuild(content) => text(coordination.rebuild(content).await),
        Step::Reconcile { epoch, remaining } => text(coordination.reconcile(sale_id, *epoch, *remaining).await),
        Step::Forget => text(coordination.forget(sale_id).await),
        Step::Token(token) => text(coordination.mark_token(token).await),
    };
    format!("{answer}, {:?}", coordination.permits(sale_id).await)
}

async fn live(redis: &RedisCoordination, seed: u64) {
    let model = LocalCoordination::new();
    let sale_id = SaleId(i64::try_from(getrandom::u64().expect("random bits") >> 2).expect("62 bits"));
    let author = Author { dice: Dice::new(seed), sale_id };
    for number in 0..STEPS {
        let step = author.step();
        let expected = take(&model, sale_id, &step).await;
        assert!(!expected.contains("Err"), "{expected}");
        assert_eq!(take(redis, sale_id, &step).await, expected, "seed {seed}, step {number}: {step:?}");
    }
    redis.forget(sale_id).await.expect("forget");
}

fn lives_on(open: impl Future<Output = RedisCoordination>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let redis = runtime.block_on(open);
    for_seeds(LIVES, |seed| runtime.block_on(live(&redis, seed)));
}

#[test]
fn on_a_single_server() {
    lives_on(on_single());
}

#[test]
fn on_a_cluster() {
    lives_on(on_cluster());
}
