//! One contract suite per port, run on every adapter: each sentence of a port's documentation is one test.

pub mod bus;
pub mod carts;
pub mod coordination;
pub mod store;
