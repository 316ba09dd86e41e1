//! RSA key pairs on disk: what the embedded mode makes for itself on first start (JWT, merchant and sandbox keys).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;

/// Where the two halves of a key pair lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaPemFiles {
    /// `<name>.private.pem`: PKCS#8.
    pub private: PathBuf,
    /// `<name>.public.pem`: SPKI.
    pub public: PathBuf,
}

impl RsaPemFiles {
    /// The names in `directory`; nothing is read.
    pub fn named(directory: &Path, name: &str) -> Self {
        Self {
            private: directory.join(format!("{name}.private.pem")),
            public: directory.join(format!("{name}.public.pem")),
        }
    }
}

/// Makes an RSA-2048 key pair `name` under `directory` unless it is there (R30). The directory gets mode 0700 when it
/// is made, both files 0600. A missing public half is made again from the private one; an existing private key is
/// never replaced. Takes up to a second of CPU: call it at start, or on a blocking thread.
///
/// # Errors
/// What the file system says, or `InvalidData` when an existing private key cannot be read.
pub fn generate_rsa_pem(directory: &Path, name: &str) -> io::Result<RsaPemFiles> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let files = RsaPemFiles::named(directory, name);
    let key = match fs::read(&files.private) {
        Ok(text) => parse_private_pem(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_private(&files.private)?,
        Err(error) => return Err(error),
    };
    if !files.public.try_exists()? {
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(broken)?;
        write_secret(&files.public, pem::encode(&pem::Pem::new("PUBLIC KEY", der.as_ref())).as_bytes())?;
    }
    Ok(files)
}

/// Reads an RSA private key, PKCS#8 or PKCS#1, of at least 2048 bits.
///
/// # Errors
/// `InvalidData` when the text is anything else. The message never holds key material.
pub fn parse_private_pem(text: &[u8]) -> io::Result<KeyPair> {
    let block = pem::parse(text).map_err(|_| invalid("not a PEM file"))?;
    match block.tag() {
        "PRIVATE KEY" => KeyPair::from_pkcs8(block.contents()),
        "RSA PRIVATE KEY" => KeyPair::from_der(block.contents()),
        _ => return Err(invalid("not an RSA private key in PKCS#8 or PKCS#1")),
    }
    .map_err(|rejected| invalid(&format!("RSA private key refused: {rejected}")))
}

fn make_private(path: &Path) -> io::Result<KeyPair> {
    let key = KeyPair::generate(KeySize::Rsa2048).map_err(broken)?;
    let der: Pkcs8V1Der<'_> = key.as_der().map_err(broken)?;
    write_secret(path, pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref())).as_bytes())?;
    Ok(key)
}

/// Writes a whole file of mode 0600 or none: beside it first, then renamed, so a crash leaves no half key.
fn write_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn broken(_: aws_lc_rs::error::Unspecified) -> io::Error {
    io::Error::other("the RSA implementation failed")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_pair_is_made_once_with_mode_0600_and_its_public_half_can_be_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("sandbox");
        let files = generate_rsa_pem(&home, "merchant").unwrap();
        let (private, public) = (fs::read(&files.private).unwrap(), fs::read(&files.public).unwrap());
        for path in [&files.private, &files.public] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
        }
        assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);

        fs::remove_file(&files.public).unwrap();
        assert_eq!(generate_rsa_pem(&home, "merchant").unwrap(), files);
        assert_eq!(fs::read(&files.private).unwrap(), private);
        assert_eq!(fs::read(&files.public).unwrap(), public);
        assert_eq!(fs::read_dir(&home).unwrap().count(), 2, "nothing is left beside the two files");
    }

    #[test]
    fn an_unreadable_private_key_is_an_error_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let files = RsaPemFiles::named(directory.path(), "jwt");
        fs::write(&files.private, "rubbish").unwrap();
        assert_eq!(generate_rsa_pem(directory.path(), "jwt").unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read(&files.private).unwrap(), b"rubbish");
    }
}
