//! The admission challenge of a flash sale: a proof of work, and the path token that it earns.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actors::domain::SaleId;
use actors::flash_sale::{ChallengeFault, Gate, NoPathToken};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::attempts::refused;
use crate::api::State;
use crate::api::course::shapes::canonical_id;
use crate::api::error::{ApiError, Kind};
use crate::api::extract::{Body, Login, LoginToChange, Query};
use crate::api::pages::NoQuery;

/// Longest nonce.
const NONCE_DIGITS: usize = 20;

/// A proof of work for this buyer and this sale: find a nonce such that SHA-256 of the challenge and the nonce, as text
/// one after the other, starts with so many zero bits.
#[derive(Serialize, utoipa::ToSchema)]
struct ChallengeV1 {
    /// What is hashed, and sent back.
    challenge: String,
    /// sha-256
    algorithm: &'static str,
    /// Zero bits.
    difficulty_bits: u8,
    /// RFC 3339.
    expires_at: String,
    /// Whether an attempt needs a path token at this moment.
    required: bool,
}

/// A solved challenge.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SolutionV1 {
    /// As it was given.
    challenge: String,
    /// Decimal digits.
    #[schema(pattern = "^[0-9]{1,20}$")]
    nonce: String,
}

/// The right to make one attempt.
#[derive(Serialize, utoipa::ToSchema)]
struct PathTokenV1 {
    /// To be sent as `Seckill-Path-Token`.
    path_token: String,
    /// RFC 3339.
    expires_at: String,
}

/// A fresh challenge. Only while an attempt could win: otherwise what the attempt would hear.
#[utoipa::path(tag = "v1", params(("id" = String, Path)),
    responses((status = 200, description = "the challenge", body = ChallengeV1), (status = 404, description = "no such sale"),
        (status = 409, description = "sold out, or limit reached"), (status = 410, description = "over"),
        (status = 425, description = "not started")))]
#[get("/api/v1/flash-sales/{id}/challenge")]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let gate = find(&request, &state, &path)?;
    let challenge = state.sales.challenge(&gate, login.0.user_id);
    let challenge = challenge.map_err(|attempt| refused(&request, &gate, attempt))?;
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(ChallengeV1 {
        challenge: challenge.text,
        algorithm: "sha-256",
        difficulty_bits: challenge.difficulty_bits,
        expires_at: challenge.expires_at.rfc3339(),
        required: state.sales.asks_for_work(&gate, state.admission.used_percent()),
    }))
}

/// Takes a solution. The same one again earns the same token, which is good for one attempt in all.
#[utoipa::path(tag = "v1", params(("id" = String, Path)), request_body = SolutionV1,
    responses((status = 200, description = "the path token", body = PathTokenV1), (status = 400, description = "no nonce"),
        (status = 403, description = "not solved, lapsed, or not this buyer's"), (status = 404, description = "no such sale"),
        (status = 409, description = "sold out, or limit reached"), (status = 410, description = "over"),
        (status = 425, description = "not started")))]
#[post("/api/v1/flash-sales/{id}/challenge")]
pub(super) async fn solve(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    path: web::Path<String>,
    body: Body<SolutionV1>,
) -> Result<HttpResponse, ApiError> {
    let SolutionV1 { challenge, nonce } = body.0;
    if !(1..=NONCE_DIGITS).contains(&nonce.len()) || !nonce.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ApiError::field(&request, "nonce", format!("must be 1 to {NONCE_DIGITS} digits")));
    }
    let gate = find(&request, &state, &path)?;
    let token = state.sales.path_token(&gate, login.0.user_id, &challenge, &nonce).map_err(|none| match none {
        NoPathToken::Refused(attempt) => refused(&request, &gate, attempt),
        NoPathToken::Fault(fault) => failed(&request, fault),
    })?;
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .json(PathTokenV1 { path_token: token.text, expires_at: token.expires_at.rfc3339() }))
}

fn find(request: &HttpRequest, state: &State, id: &str) -> Result<Arc<Gate>, ApiError> {
    let gate = canonical_id(id).and_then(|id| state.sales.gate(SaleId(id)));
    gate.ok_or_else(|| ApiError::new(request, Kind::NotFound))
}

fn failed(request: &HttpRequest, fault: ChallengeFault) -> ApiError {
    let detail = match fault {
        ChallengeFault::Invalid => "no challenge for this user and this sale",
        ChallengeFault::Lapsed => "the challenge lapsed, ask for another",
        ChallengeFault::Unsolved => "the hash does not start with so many zero bits",
    };
    ApiError::new(request, Kind::ChallengeFailed).detail(detail).with("reason", fault.name())
}
