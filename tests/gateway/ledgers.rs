//! Both editions of the books keep the same contract.

use std::path::Path;
use std::time::Duration;

use actors::domain::Money;
use actors::ports::store::StoreRules;
use seckill::gateway::sandbox::ledger::{MemoryLedger, SandboxLedger};
use seckill::gateway::sandbox::sqlite::SqliteLedger;
use seckill::store::sqlite::SqliteStore;

use crate::ledger_contract::{NOW, keeps_the_contract, opening, paying, sixteen_at_once_move_the_money_once, sn};
use crate::support::{Seeded, StillClock};

/// The embedded store in `directory`, made on first use; the books share its one writing connection.
pub async fn open_store(directory: &Path) -> SqliteStore {
    let rules = StoreRules { items_per_message: 256, points_per_yuan: 1, close_grace: Duration::from_secs(60) };
    SqliteStore::open(directory.join("seckill.db"), StillClock::new(), Seeded::new(), rules).await.unwrap()
}

/// The books in a store of their own.
async fn open_books(directory: &Path) -> SqliteLedger {
    SqliteLedger::new(open_store(directory).await.writer_pool())
}

#[actix_web::test]
async fn memory_keeps_the_contract() {
    keeps_the_contract(&MemoryLedger::new()).await;
}

#[actix_web::test]
async fn sqlite_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    keeps_the_contract(&open_books(directory.path()).await).await;
}

#[actix_web::test]
async fn money_lines_cannot_be_changed_or_taken_out() {
    let directory = tempfile::tempdir().unwrap();
    let pool = open_store(directory.path()).await.writer_pool();
    let books = SqliteLedger::new(pool.clone());
    let order_sn = sn("1");
    books.apply(&order_sn, opening(&order_sn, "a"), NOW).await.unwrap();
    books.apply(&order_sn, paying("a", "n"), NOW).await.unwrap();
    assert!(sqlx::query("UPDATE sandbox_money SET amount = 1").execute(&pool).await.is_err());
    assert!(sqlx::query("DELETE FROM sandbox_money").execute(&pool).await.is_err());
    assert_eq!(books.money(0, 9).await.unwrap()[0].amount, Money(100));
}

#[actix_web::test]
async fn sqlite_moves_the_money_once() {
    let directory = tempfile::tempdir().unwrap();
    let books = open_books(directory.path()).await;
    sixteen_at_once_move_the_money_once([&books, &books]).await;
}
