//! A server of our own: built if need be, started on free ports with data in a folder of its own, stopped at the end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// The program; built by cargo when not given.
    pub program: Option<PathBuf>,
    /// `--set` of the server.
    pub settings: Vec<String>,
    /// Where its data goes; a folder that is removed afterwards when not given.
    pub data_dir: Option<PathBuf>,
    /// Libraries to be loaded before others (LD_PRELOAD).
    pub preload: Option<PathBuf>,
    /// More environment.
    pub environment: Vec<(String, String)>,
    /// The program is the one of the benches: also start its listener of references.
    pub with_bare: bool,
}

/// A running server.
pub struct Server {
    /// Public listener.
    pub public: String,
    /// Internal listener.
    pub internal: String,
    /// The listener of references, when asked for.
    pub bare: Option<String>,
    /// Its data.
    pub data_dir: PathBuf,
    /// From its start until it was ready.
    pub ready_after: Duration,
    child: Child,
    _directory: Option<TempDir>,
}

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(40);

impl Server {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; its log is part of the error.
    pub async fn start(options: &ServerOptions) -> anyhow::Result<Self> {
        let program = match &options.program {
            Some(program) => program.clone(),
            None => build().await?,
        };
        let directory = options.data_dir.is_none().then(tempfile::tempdir).transpose()?;
        let data_dir = match (&options.data_dir, &directory) {
            (Some(data_dir), _) => data_dir.clone(),
            (None, Some(directory)) => directory.path().join("data"),
            (None, None) => bail!("no data directory"),
        };
        std::fs::create_dir_all(&data_dir).with_context(|| data_dir.display().to_string())?;
        let log = data_dir.join("log");
        let mut command = Command::new(&program);
        command.arg("--data-dir").arg(&data_dir);
        for setting in ["server.listen=127.0.0.1:0", "server.internal_listen=127.0.0.1:0", "demo.enabled=true"] {
            command.args(["--set", setting]);
        }
        for setting in &options.settings {
            command.args(["--set", setting]);
        }
        if let Some(preload) = &options.preload {
            command.env("LD_PRELOAD", preload);
        }
        if options.with_bare {
            command.args(["beside", "--bare", "127.0.0.1:0"]);
        }
        command.envs(options.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log)?).kill_on_drop(true);
        let started = tokio::time::Instant::now();
        let mut child = command.spawn().with_context(|| program.display().to_string())?;
        let stdout = child.stdout.take().context("no standard output")?;
        let listening = timeout(READY_WITHIN, read_banner(BufReader::new(stdout))).await;
        let ready_after = started.elapsed();
        let Banner { public, internal, bare } = match listening {
            Ok(Ok(banner)) => banner,
            Ok(Err(error)) => bail!("the server did not start: {error}\n{}", tail(&log)),
            Err(_) => bail!("the server was not ready within {READY_WITHIN:?}\n{}", tail(&log)),
        };
        ensure!(bare.is_some() == options.with_bare, "the server has no listener of references");
        Ok(Self { public, internal, bare, data_dir, ready_after, child, _directory: directory })
    }

    /// Its process id; `None` once it is gone.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends SIGTERM and waits until it is gone.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.pid().context("the server is gone")?;
        let sent = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        ensure!(sent.success(), "the server cannot be told to stop");
        let status = timeout(STOPPED_WITHIN, self.child.wait()).await.context("the server does not stop")??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

struct Banner {
    public: String,
    internal: String,
    /// Printed before the others, when it is there.
    bare: Option<String>,
}

/// The addresses from what the server prints when it is ready. The rest of its output is read and dropped.
async fn read_banner(output: BufReader<tokio::process::ChildStdout>) -> anyhow::Result<Banner> {
    let mut lines = output.lines();
    let (mut public, mut internal, mut bare) = (None, None, None);
    while let Some(line) = lines.next_line().await? {
        if let Some(rest) = line.trim_start().strip_prefix("buyers") {
            public = address(rest);
        } else if let Some(rest) = line.trim_start().strip_prefix("bare") {
            bare = address(rest);
        } else if let Some(rest) = line.trim_start().strip_prefix("internal") {
            internal = address(rest);
        }
        if let (Some(public), Some(internal)) = (&public, &internal) {
            let banner = Banner { public: public.clone(), internal: internal.clone(), bare };
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(banner);
        }
    }
    bail!("it ended before it was ready")
}

fn address(text: &str) -> Option<String> {
    Some(text.split_once("http://")?.1.split_once('/')?.0.to_owned())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Builds the server with the cargo that runs this tool; answers where the program is.
async fn build() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("no folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--bin", "seckill", "--manifest-path", manifest]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let built = command.status().await.context("cargo")?;
    ensure!(built.success(), "the server cannot be built; name one with --server");
    Ok(folder.join("seckill"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_banner() {
        assert_eq!(address("    http://127.0.0.1:8092/").as_deref(), Some("127.0.0.1:8092"));
        assert_eq!(address("  nothing"), None);
    }
}
