//! What benches on PostgreSQL have in common: a schema of their own on the server of the tests, made and dropped.

use actors::ports::store::StoreRules;
use seckill::store::postgres::PostgresSettings;
use sqlx::{Connection, PgConnection};

/// Names the server; without it the cases on PostgreSQL are left out.
const VARIABLE: &str = "SECKILL_TEST_DATABASE_URL";

/// As a server has them by default.
pub const RULES: StoreRules =
    StoreRules { items_per_message: 256, points_per_yuan: 1, close_grace: std::time::Duration::from_secs(60) };

/// The server; says so when there is none.
pub fn postgres() -> Option<String> {
    let server = std::env::var(VARIABLE).ok();
    if server.is_none() {
        eprintln!("PostgreSQL: not measured, {VARIABLE} is not set (scripts/services)");
    }
    server
}

/// Settings of an empty schema.
pub async fn fresh_schema(server: &str) -> PostgresSettings {
    run(server, "DROP SCHEMA IF EXISTS seckill_bench CASCADE; CREATE SCHEMA seckill_bench").await;
    let more = if server.contains('?') { '&' } else { '?' };
    PostgresSettings::new(format!("{server}{more}options[search_path]=seckill_bench"))
}

/// Leaves nothing behind on the server.
pub async fn drop_schema(server: &str) {
    run(server, "DROP SCHEMA IF EXISTS seckill_bench CASCADE").await;
}

async fn run(server: &str, statements: &'static str) {
    let mut owner = PgConnection::connect(server).await.expect("the server of the variable");
    sqlx::raw_sql(statements).execute(&mut owner).await.expect("a schema of our own");
}
