//! The server with something beside it that only benches want. Not part of the `seckill` binary.
//!
//! ```text
//! bench_server beside --bare 127.0.0.1:8094        the server, and a listener with a bare route and a logged-in one
//! bench_server prepare --data-dir d                logins for `drive`, made once because making them costs the most
//! bench_server drive refused 1000 --data-dir d     so many requests through the server's own service, without sockets
//! ```

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

mod beside;
mod drive;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use seckill::app::serve_with;
use seckill::cli::CommonArgs;
use seckill::config::Loaded;

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
