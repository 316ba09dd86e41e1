//! The sandbox's books, shared by two nodes.

use actors::ports::contract::store::world::RULES;
use seckill::gateway::sandbox::postgres::PostgresLedger;
use seckill::store::postgres::StoreClock;

use super::database::Database;
use crate::ledger_contract::{keeps_the_contract, sixteen_at_once_move_the_money_once};

#[tokio::test]
async fn postgres_keeps_the_contract() {
    let database = Database::empty().await;
    let store = database.open(StoreClock::Database, RULES).await;
    keeps_the_contract(&PostgresLedger::new(store.writer_pool())).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_move_the_money_once() {
    let database = Database::empty().await;
    let (here, there) =
        (database.open(StoreClock::Database, RULES).await, database.open(StoreClock::Database, RULES).await);
    let books = [&here, &there].map(|store| PostgresLedger::new(store.writer_pool()));
    sixteen_at_once_move_the_money_once([&books[0], &books[1]]).await;
    here.close().await;
    there.close().await;
}
