//! The server with something beside it that only benches want. Not part of the `seckill` binary.
//!
//! ```text
//! bench_server beside --bare 127.0.0.1:8094        the server, and a listener with a bare route and a logged-in one
//! bench_server prepare --data-dir d                logins for `drive`, made once because making them costs the most
//! bench_server drive refused 1000 --data-dir d     so many requests through the server's own service, without sockets
//! bench_server fill --data-dir d                   a store with a million orders, ten thousand SKUs, ten past sales
//! ```

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

mod beside;
mod drive;
mod fill;

use std::process::ExitCode;

use actors::ports::store::StoreRules;
use anyhow::Context;
use clap::{Parser, Subcommand};
use seckill::app::serve_with;
use seckill::cli::CommonArgs;
use seckill::config::{Config, Loaded, Mode};
use sqlx::{Connection, PgConnection};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve, with a listener of references beside the server's own
    Beside {
        /// Its address
        #[arg(long)]
        bare: String,
    },
    /// Make the data directory and the logins that `drive` uses
    Prepare,
    /// Send requests through the service in this process
    Drive {
        /// What kind
        kind: drive::Kind,
        /// How many
        requests: usize,
    },
    /// Fill an empty store with a past
    Fill(fill::Sizes),
}

#[actix_web::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench_server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = Loaded::load(&arguments.common.sources())?.config;
    match arguments.command {
        Command::Beside { bare } => {
            let workers = match config.server.workers {
                0 => std::thread::available_parallelism()?.get(),
                workers => workers,
            };
            serve_with(config, |public| beside::start(&bare, workers, public)).await
        }
        Command::Prepare => drive::prepare(&config),
        Command::Fill(sizes) => fill_store(&config, sizes).await,
        Command::Drive { kind, requests } => {
            let tokens = drive::read_tokens(&config)?;
            serve_with(config, move |public| {
                let public = public.clone();
                actix_web::rt::spawn(async move {
                    let code = match drive::drive(&public, kind, requests, &tokens).await {
                        Ok(()) => 0,
                        Err(error) => {
                            eprintln!("bench_server: {error:#}");
                            1
                        }
                    };
                    // What comes after the requests is not measured.
                    std::process::exit(code);
                });
                Ok(())
            })
            .await
        }
    }
}

async fn fill_store(config: &Config, sizes: fill::Sizes) -> anyhow::Result<()> {
    let place = match config.mode {
        Mode::Embedded => fill::Place::File(config.database_path()),
        Mode::Cluster => fill::Place::Server(config.database.url.expose().to_owned()),
    };
    seckill::secret_file::make_directory(&config.data_dir)?;
    let rules = StoreRules {
        items_per_message: config.bus.items_per_message,
        points_per_yuan: config.order.points_per_yuan,
        close_grace: config.order.close_grace,
    };
    fill::fill(&place, rules, sizes).await?;
    match place {
        fill::Place::File(_) => Ok(()),
        fill::Place::Server(url) => settle(&url).await,
    }
}

/// What the database's server would otherwise do by itself, while it is measured. The user must be a superuser.
async fn settle(url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
        sqlx::raw_sql(statement).execute(&mut connection).await.context(statement)?;
    }
    connection.close().await?;
    Ok(())
}
