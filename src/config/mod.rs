//! The configuration: every key, its type, where its value comes from, and what is wrong with it.
//!
//! `config/default.toml` is the default and explains every key. Layers, weakest first: that file, `--config FILE`, the
//! environment, flags. The type of a key's default decides how text from the environment or a flag is read, so a key of
//! type string stays a string when it is all digits.

mod check;
mod layers;
mod print;
mod sections;
mod values;

use std::path::PathBuf;

pub use layers::{Loaded, Sources};
pub use sections::*;
pub use values::{Network, Rate, Secret, SecretUrl, Toggle, networks_contain};

/// The default configuration, with a comment for every key.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// What is wrong with the configuration, one line per problem; each names the key and where its value comes from.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct ConfigError {
    /// The lines.
    pub problems: Vec<String>,
}

impl ConfigError {
    fn one(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}

impl Config {
    /// The defaults alone.
    pub fn defaults() -> Self {
        Loaded::load(&Sources::default()).expect("config/default.toml is valid, a test says so").into_config()
    }

    /// Whether demo data and demo login are on: as said, or by default in embedded mode on a loopback listener only.
    pub fn demo_enabled(&self) -> bool {
        match self.demo.enabled {
            Toggle::On => true,
            Toggle::Off => false,
            Toggle::Auto => self.mode == Mode::Embedded && self.server.listen.ip().is_loopback(),
        }
    }

    /// Whether payments go to the sandbox in this server.
    pub fn uses_sandbox(&self) -> bool {
        self.alipay.gateway_url.is_empty()
    }

    /// File of the embedded database.
    pub fn database_path(&self) -> PathBuf {
        let url = self.database.url.expose();
        match url.strip_prefix("sqlite:") {
            Some(path) => PathBuf::from(path.strip_prefix("//").unwrap_or(path)),
            None => self.data_dir.join("seckill.db"),
        }
    }

    /// File of the secret that signs order tokens, when `order.token_secret` is empty.
    pub fn order_token_secret_path(&self) -> PathBuf {
        self.data_dir.join("order-token-secret")
    }

    /// What is allowed but deserves a word at start.
    pub fn warnings(&self) -> Vec<String> {
        check::warnings(self)
    }
}
