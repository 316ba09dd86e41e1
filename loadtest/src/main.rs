//! Load tests of the seckill server. `quick` does everything by itself; the others run against a server that is named,
//! or against one that they start. Every run ends with a reconciliation: a unit oversold, lost, doubled or leaked makes
//! it fail, whatever the speed.
//!
//! ```text
//! cargo run --release -p loadtest -- quick
//! cargo run --release -p loadtest -- spike --rate 8000 --units 20000 --public 127.0.0.1:8092 --internal 127.0.0.1:8093
//! ```

#![expect(clippy::print_stdout, reason = "a command-line tool reports on standard output")]

mod admin;
mod arrivals;
mod buyers;
mod cli;
mod clock;
mod generator;
mod measure;
mod processes;
mod record;
mod report;
mod scenario;
mod server;
mod table;
mod target;
mod wire;

use std::process::ExitCode;

use clap::Parser;

/// Signing logins allocates much.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
