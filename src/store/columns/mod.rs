//! The rows that statements answer with, and the values they stand for.

mod catalog;
mod flash_sales;
mod fulfilment;
mod members;
mod messages;
mod orders;
mod stock;
mod webhooks;

pub(super) use catalog::*;
pub(super) use flash_sales::*;
pub(super) use fulfilment::*;
pub(super) use members::*;
pub(super) use messages::*;
pub(super) use orders::*;
pub(super) use stock::*;
pub(super) use webhooks::*;
