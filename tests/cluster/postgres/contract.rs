//! The contract of the port, and random lives.

use actors::ports::contract::store::simulation::{Tally, live, missing_outcomes};
use actors::testkit::for_seeds;

use super::database::Databases;

const LIVES: u64 = 18;
const BATCHES: usize = 80;

actors::store_contract!(Databases);

/// Random lives, beside the reference model where their seeds are even.
#[test]
fn random_lives_are_sound() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut tally = Tally::new();
    for_seeds(LIVES, |seed| {
        for (outcome, times) in runtime.block_on(live(&Databases, seed, BATCHES)) {
            *tally.entry(outcome).or_default() += times;
        }
    });
    if std::env::var_os("SEED").is_none() {
        assert_eq!(missing_outcomes(&tally), [""; 0], "lives must be eventful: {tally:#?}");
    }
}
