//! Random choices that a seed decides.

use crate::local::clock::SeededEntropy;
use crate::ports::clock::Entropy;

/// Runs `test` with `count` seeds, printing each, or only with the one in the environment variable `SEED`.
pub fn for_seeds(count: u64, mut test: impl FnMut(u64)) {
    let given = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    let seeds = given.map_or(0..count, |seed: u64| seed..seed + 1);
    for seed in seeds {
        // Shown by the test harness only when the test fails, as the last seed printed.
        eprintln!("SEED={seed}");
        test(seed);
    }
}

/// Random choices.
#[derive(Debug)]
pub struct Dice(SeededEntropy);

impl Dice {
    /// The choices of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        usize::try_from(self.0.next_u64() % limit).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Puts the items in a random order.
    pub fn shuffle<T>(&self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
