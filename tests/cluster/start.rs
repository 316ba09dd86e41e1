//! What a node says when it cannot start: the setting at fault, a status that is not 0, and nothing changed.

use std::process::{Command, Output};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::variable;

/// A port of the loopback interface where nobody listens.
const NOBODY: &str = "127.0.0.1:9";

/// A database of its own, dropped at the end.
struct Database {
    name: String,
}

impl Database {
    async fn make(case: &str) -> Self {
        let name = format!("seckill_test_start_{}_{case}", std::process::id());
        administer(&format!("CREATE DATABASE {name}")).await;
        Self { name }
    }

    fn options(&self) -> PgConnectOptions {
        admin().database(&self.name)
    }

    fn url(&self) -> String {
        self.options().to_url_lossy().to_string()
    }

    /// How many tables there are.
    async fn tables(&self) -> i64 {
        let mut connection = self.options().connect().await.unwrap();
        let count = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'");
        let count = count.fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    }

    async fn execute(&self, sql: &'static str) {
        let mut connection = self.options().connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn drop(self) {
        administer(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

fn admin() -> PgConnectOptions {
    variable("SECKILL_TEST_DATABASE_URL").parse().unwrap()
}

async fn administer(sql: &str) {
    let mut connection = PgConnection::connect_with(&admin()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// `seckill COMMAND` on the right servers, but for what `wrong` says.
fn seckill(command: &str, data_dir: &std::path::Path, database_url: &str, wrong: &[(&str, &str)]) -> Output {
    // One that starts after all must not hold up the test.
    let mut seckill = Command::new("timeout");
    seckill.env_clear().args(["60", env!("CARGO_BIN_EXE_seckill")]).arg(command).arg("--data-dir").arg(data_dir);
    let (redis, rabbitmq) = (variable("SECKILL_TEST_REDIS_URL"), variable("SECKILL_TEST_RABBITMQ_URL"));
    let right = [
        ("mode", "cluster"),
        ("database.url", database_url),
        ("redis.url", &redis),
        ("rabbitmq.url", &rabbitmq),
        ("internal.token", "0123456789abcdef"),
        ("order.token_secret", "0123456789abcdef"),
        ("demo.enabled", "true"),
        ("server.listen", "127.0.0.1:0"),
        ("server.internal_listen", "127.0.0.1:0"),
    ];
    for (key, value) in right.iter().chain(wrong) {
        seckill.arg("--set").arg(format!("{key}={value}"));
    }
    seckill.output().unwrap()
}

fn with_password(url: &str, password: &str) -> String {
    let (before, host) = url.rsplit_once('@').unwrap();
    let (user, _) = before.rsplit_once(':').unwrap();
    format!("{user}:{password}@{host}")
}

/// It ended by itself, not well, and its complaint names the setting and not the password.
fn assert_refused(output: &Output, setting: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code != 0), "{setting}: {:?} {said}", output.status);
    assert!(said.contains(setting), "{setting}: {said}");
    for url in ["SECKILL_TEST_DATABASE_URL", "SECKILL_TEST_REDIS_URL", "SECKILL_TEST_RABBITMQ_URL"].map(variable) {
        let password = url.rsplit_once('@').unwrap().0.rsplit_once(':').unwrap().1.to_owned();
        assert!(!said.contains(&password), "a password is shown: {said}");
    }
    assert!(!said.contains("panicked at"), "{said}");
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_named() {
    let (home, database) = (tempfile::tempdir().unwrap(), Database::make("database").await);
    let unreachable = format!("postgres://seckill:secret@{NOBODY}/shop");
    let absent = admin().database("seckill_test_nowhere").to_url_lossy().to_string();
    for url in [unreachable, with_password(&database.url(), "wrong"), absent] {
        assert_refused(&seckill("serve", home.path(), &url, &[]), "database.url");
        assert_refused(&seckill("audit", home.path(), &url, &[]), "database.url");
    }
    assert_eq!(database.tables().await, 0);
    database.drop().await;
}

#[tokio::test]
async fn a_role_without_rights_changes_nothing() {
    let (home, database) = (tempfile::tempdir().unwrap(), Database::make("rights").await);
    let role = format!("seckill_test_reader_{}", std::process::id());
    administer(&format!("CREATE ROLE {role} LOGIN PASSWORD 'reader'")).await;
    let url = database.options().username(&role).password("reader").to_url_lossy().to_string();
    assert_refused(&seckill("serve", home.path(), &url, &[]), "database.url");
    assert_eq!(database.tables().await, 0);
    database.drop().await;
    administer(&format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let (home, database) = (tempfile::tempdir().unwrap(), Database::make("newer").await);
    let migrated = seckill("migrate", home.path(), &database.url(), &[]);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    database
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'of a newer release', true, '', 0)",
        )
        .await;
    let refused = seckill("serve", home.path(), &database.url(), &[]);
    assert_refused(&refused, "9999");
    assert_refused(&refused, "database.url");
    database.drop().await;
}

#[tokio::test]
async fn an_audit_of_an_empty_database_makes_no_tables() {
    let (home, database) = (tempfile::tempdir().unwrap(), Database::make("empty").await);
    assert_refused(&seckill("audit", home.path(), &database.url(), &[]), "database.url");
    assert_eq!(database.tables().await, 0);
    database.drop().await;
}

#[tokio::test]
async fn a_redis_that_cannot_be_used_is_named() {
    let (home, database) = (tempfile::tempdir().unwrap(), Database::make("redis").await);
    let right = variable("SECKILL_TEST_REDIS_URL");
    let unreachable = format!("redis://:secret@{NOBODY}");
    for url in [unreachable, with_password(&right, "wrong"), "redis://".to_owned()] {
        assert_refused(&seckill("serve", home.path(), &database.url(), &[("redis.url", &url)]), "redis.url");
    }
    database.drop().await;
}

#[tokio::test]
async fn a_broker_that_refuses_is_named() {
    let (home, database) = (tempfile::tempdir().unwrap(), Database::make("broker").await);
    let right = variable("SECKILL_TEST_RABBITMQ_URL");
    let absent = format!("{right}/seckill_test_nowhere");
    for url in [with_password(&right, "wrong"), absent, "amqp://shop:secret@broker:port".to_owned()] {
        assert_refused(&seckill("serve", home.path(), &database.url(), &[("rabbitmq.url", &url)]), "rabbitmq.url");
    }
    database.drop().await;
}
