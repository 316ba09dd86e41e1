//! The outside of the seckill server: it connects. Adapters of the ports, HTTP, configuration, wiring.

pub mod api;
pub mod app;
pub mod auth;
pub mod bus;
pub mod cli;
pub mod config;
pub mod coordination;
pub mod gateway;
pub mod generations;
pub mod keys;
pub mod limits;
pub mod machine;
pub mod secret_file;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod web;
pub mod webhook;
