//! Plain values and state machines. Synchronous, no clock, no randomness: time and entropy are arguments.

pub mod events;
pub mod flash_sale;
pub mod ids;
pub mod invariants;
pub mod money;
pub mod order;
pub mod payment;
pub mod points;
pub mod reject;
pub mod returns;
pub mod stock;
pub mod time;
pub mod webhook;

pub use ids::{OrderSn, SaleId, SkuId, TradeNo, UserId, WareId, WareSkuId};
pub use money::Money;
pub use time::Timestamp;
