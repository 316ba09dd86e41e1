//! The `seckill` binary.

use std::process::ExitCode;

use clap::Parser;
use seckill::app::Seckill;
use seckill::cli::{self, Cli};

/// Many small allocations on many threads; the system's allocator gives less of them back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[actix_web::main]
async fn main() -> ExitCode {
    cli::run(Cli::parse(), &Seckill).await
}
