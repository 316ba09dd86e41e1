//! The inside of the seckill server: it decides. No SQL, no socket, no HTTP, no wall clock.
//!
//! Read in this order:
//! - [`domain`]: plain values and state machines, `apply(state, command, now)`; the numbered invariants
//! - [`ports`]: what the inside needs from the outside (store, coordination, bus, gateway, clock)
//! - [`protocol`]: the messages and replies of each actor
//! - [`stock`], [`flash_sale`], [`order`], [`bridge`], [`reader`], [`writer`]: thin shells that queue, batch, call a port
//!   and reply
//! - [`local`]: in-process coordination, bus and clock, and the memory store that serves as reference model of the tests

pub mod bridge;
pub mod domain;
pub mod flash_sale;
pub mod local;
pub mod order;
pub mod ports;
pub mod protocol;
pub mod reader;
pub mod stock;
pub mod supervise;
pub mod webhook;
pub mod writer;

#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
