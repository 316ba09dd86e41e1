//! What each command does.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use actors::domain::UserId;
use actors::ports::clock::Clock;
use anyhow::Context;
use serde_json::{Value, json};

use super::admin_client::AdminClient;
use super::args::{Command, ConfigCommand, DemoCommand, FlashSaleCommand, MessagesCommand, TokenCommand};
use super::{Application, complain};
use crate::auth::own_issuer;
use crate::config::{Config, Loaded};
use crate::machine::SystemClock;
use crate::{auth, keys, secret_file, telemetry};

/// Runs a command; `false` when it found something broken.
pub(super) async fn execute(command: Command, loaded: Loaded, application: &dyn Application) -> anyhow::Result<bool> {
    let config = &loaded.config;
    match command {
        Command::Serve => {
            telemetry::start_logging(&config.log)?;
            for warning in config.warnings() {
                tracing::warn!("{warning}");
            }
            application.serve(loaded.into_config()).await?;
        }
        Command::Migrate => application.migrate(config).await?,
        Command::Config(ConfigCommand::Check) => check(config)?,
        Command::Config(ConfigCommand::Print) => print(&loaded.render())?,
        Command::Audit { json } => return application.audit(config, json).await,
        Command::Token(TokenCommand::Issue { user, ttl, username }) => issue_token(config, user, ttl, username)?,
        Command::FlashSale(command) => flash_sale(&AdminClient::new(config)?, command).await?,
        Command::Demo(DemoCommand::Load) => application.demo_load(config).await?,
        Command::Messages(command) => messages(&AdminClient::new(config)?, command).await?,
    }
    Ok(true)
}

/// The values are checked by now; what is left are the files they name. Nothing is made that is missing.
fn check(config: &Config) -> anyhow::Result<()> {
    for warning in config.warnings() {
        complain(&format!("warning: {warning}"));
    }
    let mut login_keys = config.clone();
    login_keys.auth.own_key = false;
    auth::KeySet::load(&login_keys)?;
    if !config.uses_sandbox() {
        let private = &config.alipay.merchant_private_key;
        check_private_key(private).context("alipay.merchant_private_key")?;
        let public = &config.alipay.alipay_public_key;
        auth::check_public_key(public).context("alipay.alipay_public_key")?;
    }
    let own_key = keys::RsaPemFiles::named(&config.data_dir, auth::OWN_KEY).private;
    let own_files = [own_key, auth::ServiceToken::path(config), config.order_token_secret_path()];
    for file in own_files.iter().filter(|file| file.exists()) {
        secret_file::read(file)?;
    }
    print("configuration is good\n")
}

fn check_private_key(path: &Path) -> anyhow::Result<()> {
    let text = secret_file::read(path)?;
    keys::parse_private_pem(text.expose().as_bytes()).with_context(|| path.display().to_string())?;
    Ok(())
}

fn issue_token(config: &Config, user: i64, ttl: Duration, username: Option<String>) -> anyhow::Result<()> {
    let username = username.unwrap_or_else(|| format!("user-{user}"));
    let token = own_issuer(config)?.issue(UserId(user), &username, SystemClock.now(), ttl)?;
    print(&format!("{token}\n"))
}

async fn flash_sale(client: &AdminClient, command: FlashSaleCommand) -> anyhow::Result<()> {
    let answer = match command {
        FlashSaleCommand::Create { sku, price, count, per_user_limit, starts_at, ends_at, challenge } => {
            let mut body = json!({
                "sku_id": sku.to_string(), "price": price, "count": count, "starts_at": starts_at, "ends_at": ends_at,
            });
            if let Some(limit) = per_user_limit {
                body["per_user_limit"] = json!(limit);
            }
            if let Some(mode) = challenge {
                body["challenge"] = json!(mode);
            }
            client.post("/admin/v1/flash-sales", &body).await?
        }
        FlashSaleCommand::List => return print_list(client, "/admin/v1/flash-sales").await,
        FlashSaleCommand::Arm { id } => change(client, id, "arm").await?,
        FlashSaleCommand::Pause { id } => change(client, id, "pause").await?,
        FlashSaleCommand::Resume { id } => change(client, id, "resume").await?,
        FlashSaleCommand::End { id } => change(client, id, "end").await?,
    };
    print_json(&answer)
}

async fn change(client: &AdminClient, id: i64, verb: &str) -> anyhow::Result<Value> {
    client.post(&format!("/admin/v1/flash-sales/{id}/{verb}"), &json!({})).await
}

async fn messages(client: &AdminClient, command: MessagesCommand) -> anyhow::Result<()> {
    match command {
        MessagesCommand::List => print_list(client, "/admin/v1/messages/parked").await,
        MessagesCommand::Replay { id } => {
            let path = format!("/admin/v1/messages/parked/{}/replay", path_segment(&id)?);
            print_json(&client.post(&path, &json!({})).await?)
        }
    }
}

/// An id that cannot leave its place in a path.
fn path_segment(id: &str) -> anyhow::Result<&str> {
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    plain.then_some(id).context("the id may hold letters, digits, - and _")
}

/// Every page of a list, one JSON object a line.
async fn print_list(client: &AdminClient, path: &str) -> anyhow::Result<()> {
    let mut cursor: Option<String> = None;
    loop {
        let page = client.list(path, cursor.as_deref()).await?;
        for item in page.items {
            print(&format!("{item}\n"))?;
        }
        match page.next_cursor {
            // A cursor that does not move on would have no end.
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(()),
        }
    }
}

fn print_json(value: &Value) -> anyhow::Result<()> {
    print(&format!("{value:#}\n"))
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read us has read enough, as `head` does.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_in_their_place() {
        assert_eq!(path_segment("0197-ab_C").unwrap(), "0197-ab_C");
        for bad in ["", "..", "a/b", "a?b", "a%2fb", "a b", "编号"] {
            assert!(path_segment(bad).is_err(), "{bad:?}");
        }
    }
}
