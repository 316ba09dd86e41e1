//! The command line. What needs the store is behind [`Application`]; what a running server can answer goes to its
//! internal listener.

mod admin_client;
mod args;
mod commands;

use std::process::ExitCode;

use async_trait::async_trait;

pub use admin_client::AdminClient;
pub use args::{Cli, Command, CommonArgs, ConfigCommand, DemoCommand, FlashSaleCommand, MessagesCommand, TokenCommand};

use crate::config::{Config, ConfigError, Loaded};

/// What the commands need of the wiring.
#[async_trait(?Send)]
pub trait Application {
    /// Runs the server until it is told to stop.
    async fn serve(&self, config: Config) -> anyhow::Result<()>;

    /// Brings the store's schema up to date.
    async fn migrate(&self, config: &Config) -> anyhow::Result<()>;

    /// Checks every invariant, prints the report, and says whether all hold.
    async fn audit(&self, config: &Config, json: bool) -> anyhow::Result<bool>;

    /// Loads the demo data.
    async fn demo_load(&self, config: &Config) -> anyhow::Result<()>;
}

/// Everything went well.
const EXIT_OK: u8 = 0;
/// The command failed, or an invariant is broken.
const EXIT_FAILED: u8 = 1;
/// The command line or the configuration is wrong; clap uses the same.
const EXIT_USAGE: u8 = 2;

/// Runs one command. Messages about what went wrong go to standard error.
pub async fn run(cli: Cli, application: &dyn Application) -> ExitCode {
    let status = match Loaded::load(&cli.common.sources()) {
        Ok(loaded) => execute(cli.command.unwrap_or(Command::Serve), loaded, application).await,
        Err(error) => wrong_configuration(&error),
    };
    ExitCode::from(status)
}

async fn execute(command: Command, loaded: Loaded, application: &dyn Application) -> u8 {
    match commands::execute(command, loaded, application).await {
        Ok(true) => EXIT_OK,
        Ok(false) => EXIT_FAILED,
        Err(error) => {
            complain(&format!("{error:#}"));
            EXIT_FAILED
        }
    }
}

fn wrong_configuration(error: &ConfigError) -> u8 {
    for problem in &error.problems {
        complain(problem);
    }
    EXIT_USAGE
}

fn complain(message: &str) {
    eprintln!("seckill: {message}");
}
