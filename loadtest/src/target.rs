//! The server under test: one that runs already, or one of our own; and the processes whose cost is counted.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::admin::Admin;
use crate::processes::{self, Usage, Watched};
use crate::server::{Server, ServerOptions};

/// Where the server is.
#[derive(Args, Clone, Debug)]
pub struct TargetArguments {
    /// Public listener of a running server, ip:port; without it one is built, started and stopped
    #[arg(long, requires = "internal")]
    pub public: Option<String>,
    /// Internal listener of the running server, ip:port
    #[arg(long, requires = "public")]
    pub internal: Option<String>,
    /// Data directory of the running server: its service token and its login key are used
    #[arg(long, default_value = "data")]
    pub data_dir: PathBuf,
    /// Processes to be counted besides (with their children), NAME=PID; may be repeated. The server itself, too, when
    /// it runs already
    #[arg(long = "process")]
    pub processes: Vec<Watched>,
    /// Program of the server to be started; built when not given
    #[arg(long)]
    pub server: Option<PathBuf>,
    /// Mode of the server to be started, and what the report says
    #[arg(long, default_value = "embedded")]
    pub mode: String,
    /// Setting of the server to be started, KEY=VALUE; may be repeated
    #[arg(long = "set")]
    pub settings: Vec<String>,
}

impl TargetArguments {
    /// What is said to the server that is started. The limit per address is off because all buyers come from one.
    pub fn server_options(&self) -> ServerOptions {
        let mut settings = vec![format!("mode={}", self.mode), "limits.per_ip=off".to_owned()];
        settings.extend(self.settings.iter().cloned());
        ServerOptions { program: self.server.clone(), settings, ..ServerOptions::default() }
    }
}

/// The server under test.
pub struct Target {
    /// Public listener.
    pub public: String,
    /// Where its key and its service token are.
    pub data_dir: PathBuf,
    /// Internal listener.
    pub admin: Admin,
    /// Whose cost is counted.
    pub processes: Vec<Watched>,
    /// From its start until it was ready, when it is ours.
    pub ready_after: Option<Duration>,
    /// The listener of references, when the server has one.
    pub bare: Option<String>,
    own: Option<Server>,
}

impl Target {
    /// Finds the running server or starts one.
    ///
    /// # Errors
    /// When there is none.
    pub async fn open(arguments: &TargetArguments) -> anyhow::Result<Self> {
        match (&arguments.public, &arguments.internal) {
            (Some(public), Some(internal)) => Ok(Self {
                public: public.clone(),
                admin: Admin::new(internal, &arguments.data_dir)?,
                data_dir: arguments.data_dir.clone(),
                processes: arguments.processes.clone(),
                ready_after: None,
                bare: None,
                own: None,
            }),
            _ => Self::start(&arguments.server_options(), &arguments.processes).await,
        }
    }

    /// Starts a server.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(options: &ServerOptions, others: &[Watched]) -> anyhow::Result<Self> {
        let server = Server::start(options).await?;
        let mut processes: Vec<Watched> =
            server.pid().into_iter().map(|pid| Watched { name: "server".into(), pid }).collect();
        processes.extend(others.iter().cloned());
        Ok(Self {
            public: server.public.clone(),
            admin: admin_of(&server, &options.settings)?,
            data_dir: server.data_dir.clone(),
            processes,
            ready_after: Some(server.ready_after),
            bare: server.bare.clone(),
            own: Some(server),
        })
    }

    /// What each counted process has used by now.
    pub fn usage(&self) -> Vec<Usage> {
        self.processes.iter().map(|process| processes::usage(process.pid)).collect()
    }

    /// The same processes behind another listener.
    #[must_use]
    pub fn beside(&self, public: &str) -> Self {
        Self {
            public: public.to_owned(),
            data_dir: self.data_dir.clone(),
            admin: self.admin.clone(),
            processes: self.processes.clone(),
            ready_after: None,
            bare: None,
            own: None,
        }
    }

    /// Stops the server if it is ours.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn close(self) -> anyhow::Result<()> {
        match self.own {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// With the service token that the server was told, or else the one it made.
fn admin_of(server: &Server, settings: &[String]) -> anyhow::Result<Admin> {
    match settings.iter().rev().find_map(|setting| setting.strip_prefix("internal.token=")) {
        Some(token) => Admin::with_token(&server.internal, token),
        None => Admin::new(&server.internal, &server.data_dir),
    }
}
