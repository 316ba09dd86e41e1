//! A buyer of the load test: one of the demo's members, logged in by cookie.

use std::sync::atomic::{AtomicU64, Ordering};

use goose::goose::GooseResponse;
use goose::prelude::*;
use serde_json::{Value, json};

/// Members that the demo data has.
const MEMBERS: u64 = 1_000;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Logs in as the next member.
pub async fn log_in(user: &mut GooseUser) -> TransactionResult {
    let id = NEXT.fetch_add(1, Ordering::Relaxed) % MEMBERS + 1;
    let answer = user.post_json("/demo/login", &json!({"userId": id})).await?;
    envelope(user, answer, &[0]).await.map(drop)
}

/// Reads an answer of the course's paths. A code that is not among these, or no JSON, counts as a failure.
pub async fn envelope(
    user: &mut GooseUser,
    mut answer: GooseResponse,
    codes: &[i64],
) -> Result<Value, Box<TransactionError>> {
    let text = match answer.response {
        Ok(response) => response.text().await.unwrap_or_default(),
        Err(error) => error.to_string(),
    };
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    if value["code"].as_i64().is_none_or(|code| !codes.contains(&code)) {
        user.set_failure("not the answer that was expected", &mut answer.request, None, Some(&text))?;
    }
    Ok(value)
}
