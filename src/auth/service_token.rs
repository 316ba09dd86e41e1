//! The service token: one shared secret that opens the internal listener (R32).

use std::path::PathBuf;

use actix_web::http::header::HeaderMap;
use actors::ports::clock::Entropy;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::extract::bearer;
use crate::config::{Config, Secret};
use crate::secret_file;

/// Knows the token by its digest, so comparing tells nothing about length or content.
pub struct ServiceToken {
    digest: [u8; 32],
}

impl ServiceToken {
    /// File under `data_dir` that holds the token when none is configured.
    pub fn path(config: &Config) -> PathBuf {
        config.data_dir.join("service-token")
    }

    /// The configured token, or the one of the file, which is made when it is missing.
    ///
    /// # Errors
    /// When the file cannot be made or read, or others may read it.
    pub fn load(config: &Config, entropy: &dyn Entropy) -> anyhow::Result<Self> {
        let path = Self::path(config);
        Ok(Self::new(&secret_file::configured_or_made(&config.internal.token, &path, entropy)?))
    }

    /// From a text.
    pub fn new(token: &Secret) -> Self {
        Self { digest: digest(token.expose()) }
    }

    /// Whether this is the token. Takes the same time for every wrong one of a length.
    pub fn matches(&self, presented: &str) -> bool {
        self.digest.ct_eq(&digest(presented)).into()
    }

    /// Whether the headers carry the token as `Authorization: Bearer`.
    pub fn opens(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|presented| self.matches(presented))
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::SystemEntropy;

    #[test]
    fn only_the_same_text_matches() {
        let token = ServiceToken::new(&Secret::new("service".to_owned()));
        assert!(token.matches("service"));
        for wrong in ["", "servic", "service ", "SERVICE", "servicf", "serviceservice"] {
            assert!(!token.matches(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn the_configured_token_goes_before_the_file() {
        let home = tempfile::tempdir().unwrap();
        let mut config = Config::defaults();
        config.data_dir = home.path().to_owned();
        config.internal.token = Secret::new("configured".to_owned());
        assert!(ServiceToken::load(&config, &SystemEntropy).unwrap().matches("configured"));
        assert!(!ServiceToken::path(&config).exists(), "no file is made for nothing");

        config.internal.token = Secret::new(String::new());
        let made = ServiceToken::load(&config, &SystemEntropy).unwrap();
        let text = std::fs::read_to_string(ServiceToken::path(&config)).unwrap();
        assert!(made.matches(text.trim()) && !made.matches("configured") && !made.matches(""));
    }
}
