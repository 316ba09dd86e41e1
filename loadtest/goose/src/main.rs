//! Scenarios for goose: browse, spike on one sale, order life cycle with payment, mixed. Thresholds decide the exit
//! code; `--threshold` on the command line replaces them.
//!
//! ```text
//! cargo run --release -- --set limits.per_ip=off
//! cargo run --release -p loadtest-goose -- --host http://127.0.0.1:8092 --scenarios spike --users 50 --run-time 1m
//! ```
//!
//! The server must offer the demo login. Goose is a closed model: its users wait for their answers. For rates that do
//! not, and for the reconciliation with the store, use `loadtest`.

mod buyer;
mod cashier;
mod shopping;

use std::process::ExitCode;
use std::time::Duration;

use buyer::log_in;
use goose::config::GooseDefault;
use goose::prelude::*;
use shopping::{attempt as attempt_to_win, browse as browse_pages, order_and_pay};

#[tokio::main]
async fn main() -> ExitCode {
    match attack().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest-goose: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn attack() -> Result<(), GooseError> {
    let mut attack = GooseAttack::initialize()?;
    for scenario in scenarios()? {
        attack = attack.register_scenario(scenario);
    }
    for threshold in ["error-rate<1%", "p99<1s", "p95<500ms"] {
        attack = *attack.set_default(GooseDefault::Threshold, threshold)?;
    }
    attack.set_default(GooseDefault::Host, "http://127.0.0.1:8092")?.execute().await.map(drop)
}

fn scenarios() -> Result<Vec<Scenario>, GooseError> {
    let second = Duration::from_secs(1);
    let log_in = || transaction!(log_in).set_on_start();
    let browse = || transaction!(browse_pages).set_name("browse");
    let attempt = || transaction!(attempt_to_win).set_name("attempt");
    let order = || transaction!(order_and_pay).set_name("order and pay");
    Ok(vec![
        scenario!("browse").set_wait_time(second / 10, second)?.register_transaction(browse()),
        // Nobody waits when the sale is on; the limit of five attempts a second of one user does.
        scenario!("spike")
            .set_wait_time(second / 5, second / 4)?
            .register_transaction(log_in())
            .register_transaction(attempt()),
        scenario!("life")
            .set_wait_time(second / 4, second)?
            .register_transaction(log_in())
            .register_transaction(order()),
        scenario!("mixed")
            .set_wait_time(second / 4, second)?
            .register_transaction(log_in())
            .register_transaction(browse().set_weight(6)?)
            .register_transaction(attempt().set_weight(3)?)
            .register_transaction(order().set_weight(1)?),
    ])
}
