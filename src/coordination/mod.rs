//! Adapters of the coordination port outside of the process.

pub mod redis;
