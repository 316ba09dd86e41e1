//! Attempts at flash sales: one try, and what became of it.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actors::domain::{OrderSn, SaleId, UserId};
use actors::flash_sale::{Attempt, AttemptStatus, Gate};
use serde::{Deserialize, Serialize};

use super::shapes::OrderV1;
use super::{challenge_path, order_sn};
use crate::api::State;
use crate::api::course::shapes::canonical_id;
use crate::api::error::{ApiError, Kind};
use crate::api::extract::{Login, Query, identify};
use crate::api::keys::Key;
use crate::limits::release_permit;

/// An attempt.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct AttemptV1 {
    order_sn: String,
    /// granted, ordered or failed.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<OrderV1>,
}

impl AttemptV1 {
    fn granted(order_sn: &OrderSn) -> Self {
        Self { order_sn: order_sn.to_string(), status: "granted", reason: None, order: None }
    }

    /// Whether nothing more will become of it.
    pub(super) fn is_decided(&self) -> bool {
        self.status != "granted"
    }
}

/// Tries to win one unit; decided before the answer. The same `Idempotency-Key` again is the same attempt.
#[utoipa::path(tag = "v1",
    params(("id" = String, Path), ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
        ("Seckill-Path-Token" = Option<String>, Header, description = "what a solved challenge earned, where one is asked for")),
    responses((status = 202, description = "won; the order is being made", body = AttemptV1,
            headers(("Location" = String, description = "where to ask for the order"))),
        (status = 403, description = "the sale asks for a solved challenge"),
        (status = 404, description = "no such sale"), (status = 409, description = "sold out, or limit reached"),
        (status = 410, description = "over"), (status = 425, description = "not started"),
        (status = 429, description = "too often"), (status = 503, description = "busy")))]
#[post("/api/v1/flash-sales/{id}/attempts")]
pub(super) async fn attempt(
    request: HttpRequest,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let buyer = identify(&request, true)?;
    let key = Key::of(&request)?.0;
    let gate = canonical_id(&path)
        .and_then(|id| state.sales.gate(SaleId(id)))
        .ok_or_else(|| ApiError::new(&request, Kind::NotFound))?;
    match state.try_to_win(&request, &gate, buyer.user_id, Some(&key)).await? {
        Attempt::Won(order_sn) => Ok(HttpResponse::Accepted()
            .insert_header(("location", format!("/api/v1/attempts/{order_sn}")))
            .insert_header(("cache-control", "no-store"))
            .json(AttemptV1::granted(&order_sn))),
        other => Err(refused(&request, &gate, other)),
    }
}

/// An attempt that won nothing, as a problem.
pub(super) fn refused(request: &HttpRequest, gate: &Gate, outcome: Attempt) -> ApiError {
    let problem = |kind| ApiError::new(request, kind);
    match outcome {
        // A win is no problem: who asks for a challenge has won already.
        Attempt::Won(order_sn) | Attempt::AlreadyWon(order_sn) => {
            problem(Kind::LimitReached).with("order_sn", order_sn.as_str())
        }
        Attempt::SoldOut => problem(Kind::SoldOut),
        Attempt::NotStarted | Attempt::Paused => problem(Kind::NotStarted),
        Attempt::Ended => problem(Kind::Ended),
        Attempt::ChallengeRequired(fault) => problem(Kind::ChallengeRequired)
            .with("challenge", challenge_path(gate.sale_id()))
            .with("reason", fault.name()),
    }
}

/// Query of an attempt's status.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WaitQuery {
    /// How long to wait for the order, e.g. `10s`; at most 10 s.
    #[param(pattern = "^[0-9]{1,3}s$")]
    wait: Option<String>,
}

/// What became of an attempt; waits for the order when asked to.
#[utoipa::path(tag = "v1", params(("order_sn" = String, Path), WaitQuery),
    responses((status = 200, description = "the attempt", body = AttemptV1),
        (status = 404, description = "no such attempt of this user"), (status = 503, description = "too many wait")))]
#[get("/api/v1/attempts/{order_sn}")]
pub(super) async fn get_status(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    path: web::Path<String>,
    query: Query<WaitQuery>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let wait = match &query.0.wait {
        None => Duration::ZERO,
        Some(text) => humantime::parse_duration(text)
            .map_err(|error| ApiError::field(&request, "wait", error))?
            .min(state.long_poll),
    };
    // Waiters have a bound of their own; they must not fill the node's admission.
    release_permit(&request);
    let body = look(&request, &state, login.0.user_id, &order_sn, wait).await?;
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(body))
}

/// The attempt as its owner may see it, after at most `wait`.
pub(super) async fn look(
    request: &HttpRequest,
    state: &State,
    user_id: UserId,
    order_sn: &OrderSn,
    wait: Duration,
) -> Result<AttemptV1, ApiError> {
    let waited = state.sales.wait(user_id, order_sn, wait).await;
    match waited.map_err(|failure| ApiError::from_failure(request, failure))? {
        AttemptStatus::Unknown => Err(ApiError::new(request, Kind::NotFound)),
        AttemptStatus::Pending => Ok(AttemptV1::granted(order_sn)),
        AttemptStatus::Failed(reason) => {
            Ok(AttemptV1 { status: "failed", reason: Some(reason), ..AttemptV1::granted(order_sn) })
        }
        AttemptStatus::Ordered => {
            let order = state.order_of(request, user_id, order_sn).await?;
            Ok(AttemptV1 { status: "ordered", order: Some(order.into()), ..AttemptV1::granted(order_sn) })
        }
    }
}
