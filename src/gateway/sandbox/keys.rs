//! The two key pairs of the sandbox: the merchant's, whose private half our client uses, and "Alipay's".

use std::io;
use std::path::Path;

use crate::gateway::alipay::sign::{SigningKey, VerifyingKey};
use crate::gateway::alipay::{AlipayKeys, SettingsError};
use crate::keys::{RsaPemFiles, generate_rsa_pem};

/// What the gateway's side of the sandbox holds.
#[derive(Debug)]
pub struct SandboxKeys {
    /// Verifies our requests.
    pub merchant: VerifyingKey,
    /// Signs answers and notifications.
    pub alipay: SigningKey,
}

/// Where the two pairs lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxKeyFiles {
    /// Ours.
    pub merchant: RsaPemFiles,
    /// The gateway's.
    pub alipay: RsaPemFiles,
}

/// Makes what is missing of both pairs under `<data_dir>/sandbox`, mode 0600. Call it at start: it may take a second.
///
/// # Errors
/// What the file system says, or that an existing key is not readable.
pub fn generate(data_dir: &Path) -> io::Result<SandboxKeyFiles> {
    let directory = data_dir.join("sandbox");
    Ok(SandboxKeyFiles {
        merchant: generate_rsa_pem(&directory, "merchant")?,
        alipay: generate_rsa_pem(&directory, "alipay")?,
    })
}

impl SandboxKeyFiles {
    /// The halves that our client needs: the merchant's private, the gateway's public key.
    ///
    /// # Errors
    /// A file that cannot be read, or is no such key.
    pub fn load_client(&self) -> io::Result<AlipayKeys> {
        let (private, public) = (read(&self.merchant.private)?, read(&self.alipay.public)?);
        AlipayKeys::from_pem(&private, &public).map_err(|error: SettingsError| invalid(&error))
    }

    /// The halves that the gateway's side needs.
    ///
    /// # Errors
    /// A file that cannot be read, or is no such key.
    pub fn load_gateway(&self) -> io::Result<SandboxKeys> {
        let alipay = SigningKey::from_pem(&read(&self.alipay.private)?).map_err(|error| invalid(&error))?;
        let mut merchant =
            VerifyingKey::list_from_pem(&read(&self.merchant.public)?).map_err(|error| invalid(&error))?;
        Ok(SandboxKeys { merchant: merchant.remove(0), alipay })
    }
}

fn read(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

fn invalid(error: &dyn std::error::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
