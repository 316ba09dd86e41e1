//! The messages and replies of the actors. Actors know the protocol, not each other.

pub mod bridge;
pub mod flash_sale;
pub mod stock;
