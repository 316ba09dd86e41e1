//! What the inside needs from the outside. Each port has one contract suite in [`contract`], run on every adapter.

pub mod bus;
pub mod carts;
pub mod clock;
pub mod coordination;
pub mod gateway;
pub mod store;
pub mod webhooks;

#[cfg(feature = "contract")]
pub mod contract;
