//! What a person sees at start: mode, addresses, and curl lines that work when pasted.

use std::io::Write;
use std::net::SocketAddr;

use crate::auth::ServiceToken;
use crate::config::{Config, Mode};

/// Prints it to standard output.
pub fn print(config: &Config, public: SocketAddr, internal: SocketAddr) -> anyhow::Result<()> {
    let mode = match config.mode {
        Mode::Embedded => "embedded (SQLite, nothing else needed)",
        Mode::Cluster => "cluster (PostgreSQL, Redis, RabbitMQ)",
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "seckill {} is ready, mode {mode}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  buyers    http://{public}/")?;
    writeln!(out, "  API       http://{public}/openapi.json")?;
    let token = match config.internal.token.is_empty() {
        true => format!("in {}", ServiceToken::path(config).display()),
        false => "of internal.token".to_owned(),
    };
    writeln!(out, "  internal  http://{internal}/   Authorization: Bearer, token {token}")?;
    writeln!(out, "  data      {}", config.data_dir.display())?;
    if config.demo_enabled() {
        writeln!(out, "\nTry it:")?;
        let json = "-H 'content-type: application/json'";
        writeln!(out, "  curl -c /tmp/seckill.cookie {json} -d '{{\"userId\":1}}' http://{public}/demo/login")?;
        writeln!(out, "  curl -b /tmp/seckill.cookie -X POST http://{public}/miaosha/49")?;
        writeln!(out, "  curl -b /tmp/seckill.cookie {json} -d '{{\"48\":3,\"49\":2}}' http://{public}/order/confirm")?;
    }
    out.flush()?;
    Ok(())
}
