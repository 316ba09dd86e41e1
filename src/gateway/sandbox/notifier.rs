//! Sends notifications until the answer is `success`: at once, then on Alipay's schedule. What is pending lies in the
//! books, so a restart loses nothing.

use std::sync::Arc;
use std::time::Duration;

use actors::domain::Timestamp;
use futures_util::{StreamExt as _, stream};
use reqwest::{Client, StatusCode, redirect};
use tokio_util::sync::CancellationToken;

use super::ledger::{Delivery, PendingNotification};
use super::{Sandbox, limited, message};

/// Alipay's pauses after the first, second, … send, in minutes: 8 sends in all.
const PAUSES_MINUTES: [u64; 7] = [4, 10, 10, 60, 2 * 60, 6 * 60, 15 * 60];
/// The first of them.
const FIRST_PAUSE_MINUTES: u32 = 4;
/// Read from the books at a time.
const BATCH: u32 = 64;
/// Sent at the same time.
const AT_ONCE: usize = 8;
/// How often the books are looked at when nothing is heard.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait for a merchant's answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// The pause after so many sends when the first pause is `first`; `None` when they were the last.
pub fn pause_after(sends: u32, first: Duration) -> Option<Duration> {
    let minutes = PAUSES_MINUTES.get(usize::try_from(sends.checked_sub(1)?).ok()?)?;
    let times = u32::try_from(*minutes).unwrap_or(u32::MAX);
    Some(first.saturating_mul(times) / FIRST_PAUSE_MINUTES)
}

/// Sends what is due until `stop`. Sends under way are then dropped; they are still in the books.
pub async fn run(sandbox: Arc<Sandbox>, stop: CancellationToken) {
    let client = match client() {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "the sandbox cannot send notifications");
            return;
        }
    };
    stop.run_until_cancelled(send_for_ever(&sandbox, &client)).await;
}

async fn send_for_ever(sandbox: &Sandbox, client: &Client) {
    loop {
        let sent = send_due(sandbox, client).await;
        if sent < BATCH as usize {
            // The time-out is the ordinary case: whatever it ends with, the books are looked at again.
            let _ = tokio::time::timeout(LOOK, sandbox.news.notified()).await;
        }
    }
}

/// How many were due.
async fn send_due(sandbox: &Sandbox, client: &Client) -> usize {
    // The books know no delay: looked at from that much earlier, they show everything that much later.
    let now = sandbox.now().minus(sandbox.settings.notify_delay);
    let due = match limited(sandbox.ledger.due(now, BATCH)).await {
        Ok(due) => due,
        Err(error) => {
            tracing::warn!(%error, "the sandbox cannot read what to notify");
            return 0;
        }
    };
    let count = due.len();
    stream::iter(due).for_each_concurrent(AT_ONCE, |pending| send(sandbox, client, pending)).await;
    count
}

async fn send(sandbox: &Sandbox, client: &Client, pending: PendingNotification) {
    let now = sandbox.now();
    let delivery = match deliver(sandbox, client, &pending, now).await {
        Ok(()) => Delivery::Delivered,
        Err(problem) => {
            tracing::info!(order_sn = %pending.trade.order_sn, sends = pending.attempts + 1, problem, "not notified");
            let settings = &sandbox.settings;
            pause_after(pending.attempts + 1, settings.notify_retry)
                .map_or(Delivery::GivenUp, |pause| Delivery::RetryAt(now.plus(pause).minus(settings.notify_delay)))
        }
    };
    if let Err(error) = limited(sandbox.ledger.tried(&pending.news.notify_id, delivery)).await {
        tracing::warn!(%error, "the sandbox cannot record a notification; it will be sent again");
    }
}

/// `Ok` only when the answer is 200 and its body exactly `success`.
async fn deliver(
    sandbox: &Sandbox,
    client: &Client,
    pending: &PendingNotification,
    now: Timestamp,
) -> Result<(), &'static str> {
    let body = message::signed_form(sandbox, &message::notification(sandbox, pending, now)).await;
    let request = client
        .post(&pending.trade.notify_url)
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(body.map_err(|_| "signing failed")?);
    let mut response = request.send().await.map_err(|_| "no answer")?;
    if response.status() != StatusCode::OK {
        return Err("status is not 200");
    }
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| "answer cut off")? {
        answer.extend_from_slice(&chunk);
        if answer.len() > b"success".len() {
            break;
        }
    }
    if answer == b"success" { Ok(()) } else { Err("the answer is not success") }
}

fn client() -> reqwest::Result<Client> {
    let builder = || {
        let limits = Client::builder().connect_timeout(CONNECT_WAIT).timeout(ANSWER_WAIT);
        limits.redirect(redirect::Policy::none()).no_proxy()
    };
    // Without root certificates on the machine, plain http still works.
    builder().build().or_else(|_| builder().tls_certs_only([]).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_sends_within_about_a_day() {
        let pauses: Vec<_> = (1..=8).map(|sends| pause_after(sends, Duration::from_secs(240))).collect();
        assert_eq!(pauses[0], Some(Duration::from_secs(240)));
        assert_eq!(pauses[7], None);
        let whole: Duration = pauses.into_iter().flatten().sum();
        assert_eq!(whole, Duration::from_secs((24 * 60 + 24) * 60));
        let fast: Vec<_> = (1..=7).filter_map(|sends| pause_after(sends, Duration::from_secs(4))).collect();
        assert_eq!(fast, [4, 10, 10, 60, 120, 360, 900].map(Duration::from_secs));
    }
}
