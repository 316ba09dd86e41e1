//! Random lives on the reference model.

use actors::local::store::MemoryFixtures;
use actors::ports::contract::store::simulation::{Tally, live, missing_outcomes};
use actors::testkit::for_seeds;

const LIVES: u64 = 40;
const BATCHES: usize = 80;

#[test]
fn random_lives_are_sound() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut tally = Tally::new();
    for_seeds(LIVES, |seed| {
        for (outcome, times) in runtime.block_on(live(&MemoryFixtures, seed, BATCHES)) {
            *tally.entry(outcome).or_default() += times;
        }
    });
    if std::env::var_os("SEED").is_none() {
        assert_eq!(missing_outcomes(&tally), [""; 0], "lives must be eventful: {tally:#?}");
    }
}
