//! Reservations: units that another system holds for an order of its own, all or none, for `stock.foreign_lease`. Its
//! reference is the reservation's id and its idempotency key: the same again locks nothing twice.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actors::domain::reject::Failure;
use actors::domain::stock::{LockState, Resolution};
use actors::domain::{OrderSn, SkuId};
use actors::ports::store::LockRow;
use actors::ports::store::units::{LockResolved, StockLock};
use serde::{Deserialize, Serialize};

use crate::api::State;
use crate::api::error::{ApiError, Kind};
use crate::api::extract::{Body, Query, Service};
use crate::api::pages::NoQuery;
use crate::api::v1::wishes::{self, Line};

/// Other systems lock more than one buyer may order.
pub(in crate::api) const MAX_LOCKED: u32 = 1_000_000;

/// Units to be held.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ReservationBody {
    /// The other system's order number.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$", example = "shop-7")]
    reference: String,
    /// Distinct SKUs.
    #[schema(min_items = 1, max_items = 50)]
    items: Vec<Line>,
}

/// A reservation.
#[derive(Serialize, utoipa::ToSchema)]
struct ReservationV1 {
    reference: String,
    /// locked, confirmed, released or returned; `mixed` while some SKUs are resolved and others not.
    state: &'static str,
    /// By SKU.
    items: Vec<Line>,
}

impl ReservationV1 {
    fn new(reference: &OrderSn, rows: &[LockRow]) -> Option<Self> {
        let first = rows.first()?;
        let state = if rows.iter().all(|row| row.state == first.state) { state_name(first.state) } else { "mixed" };
        let items =
            quantities(rows).into_iter().map(|(sku_id, quantity)| Line { sku_id: sku_id.to_string(), quantity });
        Some(Self { reference: reference.to_string(), state, items: items.collect() })
    }
}

const fn state_name(state: LockState) -> &'static str {
    match state {
        LockState::Locked => "locked",
        LockState::Deducted => "confirmed",
        LockState::Released => "released",
        LockState::Returned => "returned",
    }
}

/// Units of each SKU over all warehouses, by SKU.
fn quantities(rows: &[LockRow]) -> Vec<(SkuId, u32)> {
    let mut sums: std::collections::BTreeMap<SkuId, u32> = std::collections::BTreeMap::new();
    for row in rows {
        let sum = sums.entry(row.line.sku_id).or_default();
        *sum = sum.saturating_add(row.line.num);
    }
    sums.into_iter().collect()
}

async fn find(request: &HttpRequest, state: &State, reference: &OrderSn) -> Result<Vec<LockRow>, ApiError> {
    state.read(request, state.store.locks_of(std::slice::from_ref(reference))).await
}

async fn show(request: &HttpRequest, state: &State, reference: &OrderSn) -> Result<ReservationV1, ApiError> {
    let rows = find(request, state, reference).await?;
    ReservationV1::new(reference, &rows).ok_or_else(|| ApiError::new(request, Kind::NotFound))
}

fn reference(request: &HttpRequest, text: &str) -> Result<OrderSn, ApiError> {
    OrderSn::parse(text).ok_or_else(|| ApiError::new(request, Kind::NotFound))
}

/// Holds units of several SKUs, all or none. 201 when they are held now, 200 when they were.
#[utoipa::path(tag = "admin", request_body = ReservationBody,
    responses((status = 201, description = "held now", body = ReservationV1), (status = 200, description = "held before", body = ReservationV1),
        (status = 404, description = "no such SKU"), (status = 409, description = "not enough stock"),
        (status = 422, description = "the reference holds other units")))]
#[post("/admin/v1/reservations")]
pub(super) async fn create(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    body: Body<ReservationBody>,
) -> Result<HttpResponse, ApiError> {
    let reference = OrderSn::parse(&body.0.reference)
        .ok_or_else(|| ApiError::field(&request, "reference", "must match [A-Za-z0-9_-]{1,64}"))?;
    let wants = wishes::lines(&request, &state.rules, &body.0.items, MAX_LOCKED)?;
    let locked = state.stock.lock(reference.clone(), &wants, state.foreign_lease).await;
    let (lock, _) = locked.map_err(|failure: Failure| ApiError::from_failure(&request, failure))?;
    let rows = find(&request, &state, &reference).await?;
    if lock == StockLock::Exists && quantities(&rows) != wants {
        return Err(ApiError::new(&request, Kind::KeyReused).detail("the reference holds other units"));
    }
    let body = ReservationV1::new(&reference, &rows).ok_or_else(|| ApiError::new(&request, Kind::NotFound))?;
    let mut response = if lock == StockLock::Locked { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.insert_header(("location", format!("/admin/v1/reservations/{reference}"))).json(body))
}

/// A reservation.
#[utoipa::path(tag = "admin", params(("reference" = String, Path)),
    responses((status = 200, description = "the reservation", body = ReservationV1), (status = 404, description = "no such reservation")))]
#[get("/admin/v1/reservations/{reference}")]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let reference = reference(&request, &path)?;
    Ok(HttpResponse::Ok().json(show(&request, &state, &reference).await?))
}

/// Sells the units of a reservation.
#[utoipa::path(tag = "admin", params(("reference" = String, Path)),
    responses((status = 200, description = "sold", body = ReservationV1), (status = 404, description = "no such reservation"),
        (status = 409, description = "resolved before, or belongs to an order here")))]
#[post("/admin/v1/reservations/{reference}/confirm")]
pub(super) async fn confirm(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    resolve(&request, &state, &path, Resolution::Deduct).await
}

/// Gives the units of a reservation back.
#[utoipa::path(tag = "admin", params(("reference" = String, Path)),
    responses((status = 200, description = "given back", body = ReservationV1), (status = 404, description = "no such reservation"),
        (status = 409, description = "resolved before, or belongs to an order here")))]
#[post("/admin/v1/reservations/{reference}/release")]
pub(super) async fn release(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    resolve(&request, &state, &path, Resolution::Release).await
}

async fn resolve(request: &HttpRequest, state: &State, path: &str, way: Resolution) -> Result<HttpResponse, ApiError> {
    let reference = reference(request, path)?;
    let mut answers = state.stock.resolve(way, std::slice::from_ref(&reference), false).await;
    let answer = answers.pop().unwrap_or_else(|| Ok(Vec::new()));
    let answers = answer.map_err(|unavailable| ApiError::from_unavailable(request, &unavailable))?;
    // A call that was cut short may have resolved some SKUs; what it left is resolved now.
    if !answers.iter().any(|answer| matches!(answer, LockResolved::Now(_)))
        && let Some(refusal) = answers.first().and_then(|answer| refused(request, answer))
    {
        return Err(refusal);
    }
    Ok(HttpResponse::Ok().json(show(request, state, &reference).await?))
}

fn refused(request: &HttpRequest, answer: &LockResolved) -> Option<ApiError> {
    match answer {
        LockResolved::Now(_) => None,
        LockResolved::Unknown => Some(ApiError::new(request, Kind::NotFound)),
        LockResolved::Before(LockState::Deducted) => Some(ApiError::new(request, Kind::AlreadyConfirmed)),
        LockResolved::Before(_) => Some(ApiError::new(request, Kind::AlreadyReleased)),
        LockResolved::Refused(status) => Some(
            ApiError::new(request, Kind::WrongState)
                .detail("it belongs to an order here")
                .with("current_status", status.name()),
        ),
    }
}
