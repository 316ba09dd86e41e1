//! What only real servers can show: the adapters of cluster mode, and what a node says when it cannot start.
//! `scripts/test` starts private servers; to use others, set the variables that `scripts/services` writes and run
//! `cargo test --test cluster`. Without them the tests fail, none is skipped.

mod bus_rabbitmq;
mod coordination_redis;
#[path = "../gateway/ledger_contract.rs"]
#[allow(dead_code, reason = "the gateway's own tests use the rest")]
mod ledger_contract;
mod postgres;
mod start;
#[path = "../stores/mod.rs"]
mod stores;

/// Where a server is.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `scripts/services up FOLDER` writes FOLDER/env"))
}
