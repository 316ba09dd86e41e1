//! Commands and flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::Sources;

/// Flash-sale and order server.
///
/// Without a command it serves. Every configuration key is explained in config/default.toml; `seckill config print`
/// shows the values in force.
#[derive(Parser)]
#[command(name = "seckill", version, max_term_width = 100)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Where the configuration comes from. No Debug: `--set` may carry a secret.
#[derive(Args, Default)]
pub struct CommonArgs {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set any configuration key; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
    /// Public listener, the same as --set server.listen=…
    #[arg(long, global = true, value_name = "IP:PORT")]
    pub listen: Option<String>,
    /// Directory of the database and keys, the same as --set data_dir=…
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Mode, the same as --set mode=…
    #[arg(long, global = true, value_name = "MODE")]
    pub mode: Option<String>,
}

impl CommonArgs {
    /// With the environment of this process.
    pub fn sources(&self) -> Sources {
        let named = [
            ("server.listen", &self.listen, "--listen"),
            ("data_dir", &self.data_dir, "--data-dir"),
            ("mode", &self.mode, "--mode"),
        ];
        let set = self.set.iter().map(|(key, value)| (key.clone(), value.clone(), "--set"));
        let named = named.into_iter().filter_map(|(key, value, flag)| Some((key.to_owned(), value.clone()?, flag)));
        Sources {
            file: self.config.clone(),
            environment: std::env::vars_os().collect(),
            flags: set.chain(named).collect(),
        }
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE, for example order.payment_timeout=15m".to_owned()),
    }
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Migrate the store and serve (default)
    Serve,
    /// Bring the store's schema up to date
    Migrate,
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check every invariant of the stored data; exit status 1 if one is broken
    Audit {
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Login tokens signed by the server's own key
    #[command(subcommand)]
    Token(TokenCommand),
    /// Flash sales of the running server
    #[command(subcommand)]
    FlashSale(FlashSaleCommand),
    /// Demo data
    #[command(subcommand)]
    Demo(DemoCommand),
    /// Parked messages of the running server
    #[command(subcommand)]
    Messages(MessagesCommand),
}

/// `seckill config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check everything, the key files too, and change nothing
    Check,
    /// Show every value and where it comes from, secrets hidden
    Print,
}

/// `seckill token`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Print a token for a user
    Issue {
        /// User id
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
        user: i64,
        /// Lifetime
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
        ttl: Duration,
        /// User name; user-ID when not given
        #[arg(long)]
        username: Option<String>,
    },
}

/// `seckill flash-sale`
#[derive(Debug, Subcommand)]
pub enum FlashSaleCommand {
    /// Make a draft
    Create {
        /// What is sold
        #[arg(long)]
        sku: i64,
        /// Price, for example 4999.00
        #[arg(long)]
        price: String,
        /// Units for sale
        #[arg(long)]
        count: u64,
        /// Units one user may win; flash_sale.per_user_limit when not given
        #[arg(long)]
        per_user_limit: Option<u32>,
        /// First moment to buy, RFC 3339
        #[arg(long, value_name = "TIME")]
        starts_at: String,
        /// First moment it is over, RFC 3339
        #[arg(long, value_name = "TIME")]
        ends_at: String,
        /// When buyers are asked for a proof of work: off, load or always; flash_sale.challenge when not given
        #[arg(long, value_name = "MODE")]
        challenge: Option<String>,
    },
    /// List them
    List,
    /// Carve the units out of stock and let buyers in from the start on
    Arm {
        /// Flash sale id
        id: i64,
    },
    /// Let nobody in for now
    Pause {
        /// Flash sale id
        id: i64,
    },
    /// Let buyers in again
    Resume {
        /// Flash sale id
        id: i64,
    },
    /// Finish it and give the leftovers back to stock
    End {
        /// Flash sale id
        id: i64,
    },
}

/// `seckill demo`
#[derive(Debug, Subcommand)]
pub enum DemoCommand {
    /// Load the demo data into the store
    Load,
}

/// `seckill messages`
#[derive(Debug, Subcommand)]
pub enum MessagesCommand {
    /// List parked messages
    List,
    /// Send a parked message again
    Replay {
        /// Parked message id
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_are_taken_after_the_command_too_and_named_ones_count_last() {
        let cli = Cli::try_parse_from(["seckill", "migrate", "--set", "server.listen=a=b", "--listen", "c"]);
        let sources = cli.unwrap_or_else(|error| panic!("{error}")).common.sources();
        let expected = [("server.listen", "a=b", "--set"), ("server.listen", "c", "--listen")];
        assert_eq!(sources.flags, expected.map(|(key, value, flag)| (key.to_owned(), value.to_owned(), flag)));
    }

    #[test]
    fn a_flag_without_key_or_value_is_refused() {
        for bad in ["server.listen", "=1", " =1"] {
            assert!(Cli::try_parse_from(["seckill", "--set", bad]).is_err(), "{bad:?}");
        }
    }
}
