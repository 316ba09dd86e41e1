//! Alipay's open platform: page pay, query, close, refund, and the notifications.
//!
//! - [`form`]: `application/x-www-form-urlencoded`, strict in reading
//! - [`sign`]: canonical strings and RSA2
//! - [`answer`]: synchronous answers, verified over their raw bytes
//! - [`notify`]: asynchronous notifications
//! - [`settings`]: who we are, where the gateway is, keys, limits
//! - [`client`]: all of it behind `actors::ports::gateway::Gateway`

pub mod answer;
pub mod client;
pub mod form;
pub mod notify;
pub mod settings;
pub mod sign;

pub use client::{AlipayClient, PAY_FORM_ID};
pub use settings::{AlipayKeys, AlipaySettings, CallLimits, SettingsError};
