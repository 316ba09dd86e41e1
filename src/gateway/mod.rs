//! The payment gateway: [`alipay`] is the client, [`sandbox`] a simulated Alipay that the same client reaches over HTTP.

pub mod alipay;
pub mod sandbox;
