//! What tests and benches are made of: waiting for a state, seeds, a store moved step by step, a small shop.

mod dice;
mod faulty_store;
mod gateway;
mod hand_bus;
mod shop;
mod step_store;

use std::future::Future;
use std::time::Duration;

pub use dice::{Dice, for_seeds};
pub use faulty_store::{FaultyStore, StoreFault};
pub use gateway::{FakeGateway, GatewayFault};
pub use hand_bus::HandBus;
pub use shop::Shop;
pub use step_store::{Gate, StepStore};

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until `condition` holds. A test waits for states, never for an amount of time.
///
/// # Panics
/// With `what` when it does not come to hold in 20 s.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_some(what, || std::future::ready(condition().then_some(()))).await;
}

/// Waits until `ask` answers something.
///
/// # Panics
/// With `what` when it does not in 20 s.
pub async fn until_some<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let wait = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited in vain until {what}"),
    }
}
