//! An attempt as server-sent events: one `status` now, one when it is decided, and comments in between so that nobody on
//! the way takes the silence for an end.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, web};
use actors::domain::{OrderSn, UserId};
use futures_util::stream;
use tokio::time::Instant;

use super::attempts::{AttemptV1, look};
use super::order_sn;
use crate::api::State;
use crate::api::error::ApiError;
use crate::api::extract::{Login, Query};
use crate::api::pages::NoQuery;
use crate::limits::release_permit;

/// What the browser is told to wait before it opens another.
const RETRY_MS: u64 = 1_000;

/// One event of the stream.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it is written by hand, this is its description")]
struct AttemptEvent {
    /// status
    event: String,
    /// An attempt as JSON.
    data: String,
    /// Milliseconds to wait before the next stream.
    retry: Option<u64>,
}

/// One stream on its way.
struct Watch {
    request: HttpRequest,
    state: web::Data<State>,
    user_id: UserId,
    order_sn: OrderSn,
    next: Option<AttemptV1>,
    ends_at: Instant,
}

/// What becomes of an attempt, as it happens. The stream ends with the decision, or after
/// `server.stream_lifetime`.
#[utoipa::path(tag = "v1", params(("order_sn" = String, Path)),
    responses((status = 200, description = "events `status`, each with an attempt", content_type = "text/event-stream", body = AttemptEvent),
        (status = 404, description = "no such attempt of this user")))]
#[get("/api/v1/attempts/{order_sn}/events")]
pub(super) async fn events(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let user_id = login.0.user_id;
    let first = look(&request, &state, user_id, &order_sn, Duration::ZERO).await?;
    // Streams wait at the latch, which has its own bound.
    release_permit(&request);
    let ends_at = Instant::now() + state.stream_lifetime;
    let watch = Watch { request: request.clone(), state, user_id, order_sn, next: Some(first), ends_at };
    let body = stream::unfold(Some(watch), |watch| async move { step(watch?).await });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("cache-control", "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body))
}

/// The next piece of the stream, and what is left of it.
async fn step(mut watch: Watch) -> Option<(Result<web::Bytes, Infallible>, Option<Watch>)> {
    if let Some(attempt) = watch.next.take() {
        let is_last = attempt.is_decided();
        let event = serde_json::to_string(&attempt).unwrap_or_default();
        let piece = format!("retry: {RETRY_MS}\nevent: status\ndata: {event}\n\n");
        return Some((Ok(piece.into()), (!is_last).then_some(watch)));
    }
    if Instant::now() >= watch.ends_at || !watch.state.is_ready() {
        return None;
    }
    let left = watch.ends_at.saturating_duration_since(Instant::now());
    let silence = watch.state.stream_heartbeat.min(left);
    match look(&watch.request, &watch.state, watch.user_id, &watch.order_sn, silence).await {
        Ok(attempt) if attempt.is_decided() => {
            let event = serde_json::to_string(&attempt).unwrap_or_default();
            Some((Ok(format!("event: status\ndata: {event}\n\n").into()), None))
        }
        Ok(_) => Some((Ok(web::Bytes::from_static(b": still being made\n\n")), Some(watch))),
        // No place to wait, or the store is away: the browser comes again.
        Err(_) => None,
    }
}
