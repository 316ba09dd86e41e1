//! In-process adapters of the ports.

pub mod bus;
pub mod carts;
pub mod clock;
pub mod coordination;
#[cfg(any(test, feature = "testkit"))]
pub mod store;
