//! Secrets in files: mode 0600, or the server does not start (R30).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use actors::ports::clock::Entropy;
use anyhow::{Context, bail};

use crate::config::Secret;

/// Largest secret file that is read, in bytes. A 16,384-bit RSA key in PEM fits.
const MAX_BYTES: u64 = 64 * 1024;

/// Refuses a file that others than its owner may touch.
///
/// # Errors
/// When the file is missing, or its group or the world has any right to it.
pub fn check_mode(path: &Path) -> anyhow::Result<()> {
    let metadata = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!("{} holds a secret but has mode {mode:04o}; run: chmod 600 {}", path.display(), path.display());
    }
    Ok(())
}

/// Reads a secret text file, without the white space around it.
///
/// # Errors
/// When [`check_mode`] refuses, the file is empty, larger than 64 KiB or not UTF-8.
pub fn read(path: &Path) -> anyhow::Result<Secret> {
    check_mode(path)?;
    let size_bytes = fs::metadata(path)?.len();
    if size_bytes > MAX_BYTES {
        bail!("{} is too large for a secret ({size_bytes} bytes)", path.display());
    }
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let text = Secret::new(text);
    let trimmed = text.expose().trim();
    if trimmed.is_empty() {
        bail!("{} is empty", path.display());
    }
    Ok(Secret::new(trimmed.to_owned()))
}

/// The configured secret, or when that is empty the one of the file, made if it is missing.
///
/// # Errors
/// As [`read_or_make`].
pub fn configured_or_made(configured: &Secret, path: &Path, entropy: &dyn Entropy) -> anyhow::Result<Secret> {
    if configured.is_empty() { read_or_make(path, entropy) } else { Ok(configured.clone()) }
}

/// Reads a secret, or makes one of 256 random bits (64 hexadecimal digits) when the file is not there.
///
/// # Errors
/// As [`read`], and when the file cannot be made.
pub fn read_or_make(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<Secret> {
    match fs::symlink_metadata(path) {
        Ok(_) => read(path),
        Err(error) if error.kind() == ErrorKind::NotFound => make(path, entropy),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn make(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<Secret> {
    let secret = Secret::new((0..4).map(|_| format!("{:016x}", entropy.next_u64())).collect());
    if let Some(directory) = path.parent() {
        make_directory(directory)?;
    }
    // Beside it first: a crash leaves no half secret. The link fails if another process was faster; then theirs counts.
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let written = write_private(&beside, secret.expose());
    let linked = written.and_then(|()| fs::hard_link(&beside, path));
    let removed = fs::remove_file(&beside);
    match linked {
        Ok(()) => removed.map(|()| secret).with_context(|| format!("{} cannot be removed", beside.display())),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(error).with_context(|| format!("{} cannot be made", path.display())),
    }
}

/// Makes a directory that only its owner may enter, unless it is there.
///
/// # Errors
/// What the file system says.
pub fn make_directory(directory: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("{} cannot be made", directory.display()))
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::SystemEntropy;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_may_read_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("new").join("service-token");
        let first = read_or_make(&path, &SystemEntropy).unwrap();
        assert_eq!(first.expose().len(), 64);
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(read_or_make(&path, &SystemEntropy).unwrap().expose(), first.expose());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_secret_that_others_may_touch_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        fs::write(&path, "secret").unwrap();
        for open in [0o640, 0o604, 0o620, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            let refusal = read_or_make(&path, &SystemEntropy).err().unwrap().to_string();
            assert!(refusal.contains("chmod 600") && !refusal.contains("secret\n"), "{refusal}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(read(&path).unwrap().expose(), "secret");
    }

    #[test]
    fn an_empty_secret_is_refused_and_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        fs::write(&path, " \n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read_or_make(&path, &SystemEntropy).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), " \n");
    }
}
