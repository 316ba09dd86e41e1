//! The public keys that logins are verified with, and the own key pair.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use sha2::{Digest, Sha256};

use super::issue::TokenIssuer;
use crate::config::Config;
use crate::keys::{RsaPemFiles, generate_rsa_pem};
use crate::secret_file;

/// Smallest modulus, in bytes: 2048 bits.
const MIN_MODULUS_BYTES: usize = 256;
/// Name of the own key pair under `data_dir`.
pub const OWN_KEY: &str = "jwt";

/// One public key and the `kid` it answers to.
pub(super) struct LoginKey {
    pub kid: String,
    pub key: ParsedPublicKey,
}

/// At most four configured keys and the own one. Few enough to be searched in order.
pub struct KeySet {
    keys: Vec<LoginKey>,
}

impl KeySet {
    /// Loads what the configuration names; makes the own key pair when it is missing.
    ///
    /// # Errors
    /// See [`super::Authenticator::load`].
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let mut set = Self { keys: Vec::new() };
        for path in &config.auth.public_keys {
            set.add(path).with_context(|| format!("auth.public_keys: {}", path.display()))?;
        }
        if config.auth.own_key {
            let files = own_files(&config.data_dir)?;
            let der = read_public(&files.public).with_context(|| format!("own key {}", files.public.display()))?;
            set.push(own_kid(&der), &der)?;
        }
        Ok(set)
    }

    /// From PEM texts, each with its kid.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_pem(keys: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut set = Self { keys: Vec::new() };
        for (kid, text) in keys {
            set.push((*kid).to_owned(), &public_der(text)?)?;
        }
        Ok(set)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LoginKey> {
        self.keys.iter()
    }

    fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        let der = read_public(path)?;
        let kid = path.file_stem().and_then(|stem| stem.to_str()).context("the file name is not valid UTF-8")?;
        self.push(kid.to_owned(), &der)
    }

    fn push(&mut self, kid: String, der: &[u8]) -> anyhow::Result<()> {
        if self.keys.iter().any(|known| known.kid == kid) {
            bail!("two keys have the name {kid}, which is the kid they answer to");
        }
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).context("not an RSA public key")?;
        self.keys.push(LoginKey { kid, key });
        Ok(())
    }
}

/// The issuer of the own key, which is made when it is missing. For `token issue` and the demo login.
///
/// # Errors
/// When the key pair cannot be made or read, or others may read it.
pub fn own_issuer(config: &Config) -> anyhow::Result<TokenIssuer> {
    let files = own_files(&config.data_dir)?;
    let kid = own_kid(&read_public(&files.public)?);
    let private = secret_file::read(&files.private)?;
    TokenIssuer::new(kid, private.expose(), &config.auth)
}

/// Checks a file with an RSA public key of 2048 bits or more.
///
/// # Errors
/// What is wrong with it.
pub fn check_public_key(path: &Path) -> anyhow::Result<()> {
    read_public(path).with_context(|| path.display().to_string()).map(drop)
}

fn read_public(path: &Path) -> anyhow::Result<Vec<u8>> {
    public_der(&fs::read_to_string(path).context("cannot be read")?)
}

fn own_files(data_dir: &Path) -> anyhow::Result<RsaPemFiles> {
    let named = RsaPemFiles::named(data_dir, OWN_KEY);
    if named.private.exists() {
        secret_file::check_mode(&named.private)?;
    }
    generate_rsa_pem(data_dir, OWN_KEY).with_context(|| format!("key pair {}", named.private.display()))
}

/// Differs from key to key, so that a token of an earlier data directory is refused without a signature check.
fn own_kid(der: &[u8]) -> String {
    let digest = Sha256::digest(der);
    let hex: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("seckill-{hex}")
}

/// SPKI of an RSA public key in PEM (SPKI or PKCS#1) of 2048 bits or more.
fn public_der(text: &str) -> anyhow::Result<Vec<u8>> {
    let block = pem::parse(text).context("not a PEM file")?;
    match block.tag() {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        tag if tag.ends_with("PRIVATE KEY") => bail!("is a private key; give the public one"),
        tag => bail!("is a {tag}, not a PUBLIC KEY or RSA PUBLIC KEY"),
    }
    let key = rsa::PublicKey::from_der(block.contents()).context("not an RSA public key")?;
    if key.modulus_len() < MIN_MODULUS_BYTES {
        bail!("has {} bits, 2048 or more are needed", key.modulus_len() * 8);
    }
    let der: PublicKeyX509Der<'_> = key.as_der().context("cannot be encoded")?;
    Ok(der.as_ref().to_vec())
}
