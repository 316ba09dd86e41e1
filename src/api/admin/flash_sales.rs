//! Flash sales: create, list, get, edit, arm, restock, pause, resume, end.

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use actors::domain::flash_sale::{ChallengeMode, FlashSale, NewFlashSale};
use actors::domain::reject::Reject;
use actors::domain::{Money, SaleId, SkuId, Timestamp};
use actors::flash_sale::SaleFailure;
use actors::ports::store::SaleFilter;
use serde::Deserialize;

use crate::api::State;
use crate::api::course::shapes::canonical_id;
use crate::api::error::{ApiError, Kind};
use crate::api::etag;
use crate::api::extract::{Body, Query, Service};
use crate::api::pages::{self, NoQuery, PageQuery};
use crate::api::v1::shapes::{AdminSaleV1, Page};

/// More units than any warehouse has.
const MAX_COUNT: i64 = 100_000_000;

/// A sale to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateSale {
    /// Id as text.
    sku_id: String,
    /// Yuan with at most two decimals, as text.
    price: String,
    /// Units.
    count: i64,
    /// `flash_sale.per_user_limit` when absent.
    per_user_limit: Option<u32>,
    /// RFC 3339.
    starts_at: String,
    /// RFC 3339.
    ends_at: String,
    /// When buyers are asked for a proof of work: off, load or always; `flash_sale.challenge` when absent.
    #[schema(value_type = Option<String>, pattern = "^(off|load|always)$")]
    challenge: Option<ChallengeMode>,
}

/// Makes a draft.
#[utoipa::path(tag = "admin", request_body = CreateSale, responses((status = 201, description = "the draft", body = AdminSaleV1)))]
#[post("/admin/v1/flash-sales")]
pub(super) async fn create(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    body: Body<CreateSale>,
) -> Result<HttpResponse, ApiError> {
    let sale = new_sale(&request, &state, body.0)?;
    let id = match state.sales.create(sale).await {
        Ok(sale) => sale.id,
        Err(SaleFailure::Rejected(Reject::UnknownSku(_))) => {
            return Err(ApiError::field(&request, "sku_id", "no such SKU"));
        }
        Err(failure) => return Err(refused(&request, failure)),
    };
    let sale = find(&request, &state, id).await?;
    Ok(HttpResponse::Created()
        .insert_header(("location", format!("/admin/v1/flash-sales/{id}")))
        .insert_header(("etag", format!("\"{}\"", tag(&sale))))
        .json(counted(&request, &state, &sale).await?))
}

/// The version of what an editor may change.
fn tag(sale: &FlashSale) -> String {
    let FlashSale { price, count, per_user_limit, starts_at, ends_at, challenge, state, .. } = sale;
    let (price, challenge, state) = (price.0, *challenge as i64, *state as i64);
    format!("{price}-{count}-{per_user_limit}-{}-{}-{challenge}-{state}", starts_at.0, ends_at.0)
}

fn new_sale(request: &HttpRequest, state: &State, body: CreateSale) -> Result<NewFlashSale, ApiError> {
    let field = |name: &str, problem: &str| ApiError::field(request, name, problem);
    let time = |name: &str, text: &str| {
        chrono::DateTime::parse_from_rfc3339(text)
            .map(|time| Timestamp(time.timestamp_millis()))
            .map_err(|error| ApiError::field(request, name, error))
    };
    let sku_id = canonical_id(&body.sku_id).ok_or_else(|| field("sku_id", "must be a SKU id"))?;
    let price = Money::parse(&body.price)
        .filter(|price| (1..=Money::MAX_PAYMENT.0).contains(&price.0))
        .ok_or_else(|| field("price", "must be an amount in yuan above 0 with at most two decimals"))?;
    if !(1..=MAX_COUNT).contains(&body.count) {
        return Err(ApiError::field(request, "count", format!("must be between 1 and {MAX_COUNT}")));
    }
    let per_user_limit = body.per_user_limit.unwrap_or(state.per_user_limit);
    if !(1..=state.rules.max_quantity).contains(&per_user_limit) {
        return Err(ApiError::field(
            request,
            "per_user_limit",
            format!("must be between 1 and {}", state.rules.max_quantity),
        ));
    }
    let (starts_at, ends_at) = (time("starts_at", &body.starts_at)?, time("ends_at", &body.ends_at)?);
    if ends_at <= starts_at {
        return Err(field("ends_at", "must be after starts_at"));
    }
    let challenge = body.challenge.unwrap_or(state.challenge);
    Ok(NewFlashSale { sku_id: SkuId(sku_id), price, count: body.count, per_user_limit, starts_at, ends_at, challenge })
}

fn refused(request: &HttpRequest, failure: SaleFailure) -> ApiError {
    let detail = failure.to_string();
    match failure {
        SaleFailure::UnknownSale => ApiError::new(request, Kind::NotFound),
        SaleFailure::Invalid(problem) => ApiError::field(request, "", problem),
        SaleFailure::WrongState(_) | SaleFailure::Over => ApiError::new(request, Kind::WrongState).detail(detail),
        SaleFailure::Conflict(other) => {
            ApiError::new(request, Kind::Conflict).detail(detail).with("flash_sale_id", other.to_string())
        }
        SaleFailure::Rejected(reject) => ApiError::from_failure(request, reject.into()),
        SaleFailure::Unavailable(unavailable) => ApiError::from_unavailable(request, &unavailable),
    }
}

async fn find(request: &HttpRequest, state: &State, id: SaleId) -> Result<FlashSale, ApiError> {
    let sale = state.read(request, state.store.sale(id)).await?;
    sale.ok_or_else(|| ApiError::new(request, Kind::NotFound))
}

/// The sale as it is now, with the version for the next edit.
async fn shown(request: &HttpRequest, state: &State, id: SaleId) -> Result<HttpResponse, ApiError> {
    let sale = find(request, state, id).await?;
    let body = counted(request, state, &sale).await?;
    Ok(HttpResponse::Ok().insert_header(("etag", format!("\"{}\"", tag(&sale)))).json(body))
}

async fn counted(request: &HttpRequest, state: &State, sale: &FlashSale) -> Result<AdminSaleV1, ApiError> {
    let counts = state.read(request, state.store.sale_counts(sale.id)).await?;
    Ok(AdminSaleV1::new(sale, counts, state.sales.now()))
}

fn sale_id(request: &HttpRequest, text: &str) -> Result<SaleId, ApiError> {
    canonical_id(text).map(SaleId).ok_or_else(|| ApiError::new(request, Kind::NotFound))
}

/// All sales, newest first.
#[utoipa::path(tag = "admin", params(PageQuery), responses((status = 200, description = "a page of sales", body = Page<AdminSaleV1>)))]
#[get("/admin/v1/flash-sales")]
pub(super) async fn list(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    query: Query<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = pages::limit(&request, query.0.limit.as_deref())?;
    let before = pages::cursor(&request, query.0.cursor.as_deref(), canonical_id)?.map(SaleId);
    let filter = SaleFilter { before, with_drafts: true, limit: limit + 1 };
    let sales = state.read(&request, state.store.sales_page(&filter)).await?;
    let Page { data: sales, next_cursor, has_more } =
        pages::page(sales, limit, |sale| sale.id.to_string(), |sale| sale);
    let mut data = Vec::with_capacity(sales.len());
    for sale in &sales {
        data.push(counted(&request, &state, sale).await?);
    }
    Ok(pages::answer(&request, Page { data, next_cursor, has_more }, "no-store"))
}

/// One sale with its counts.
#[utoipa::path(tag = "admin", params(("id" = String, Path)),
    responses((status = 200, description = "the sale", body = AdminSaleV1), (status = 404, description = "no such sale")))]
#[get("/admin/v1/flash-sales/{id}")]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let id = sale_id(&request, &path)?;
    shown(&request, &state, id).await
}

/// What of a draft shall be otherwise.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct EditSaleBody {
    /// Yuan with at most two decimals, as text.
    price: Option<String>,
    /// Units.
    count: Option<i64>,
    /// How many one user may win.
    per_user_limit: Option<u32>,
    /// RFC 3339.
    starts_at: Option<String>,
    /// RFC 3339.
    ends_at: Option<String>,
    /// When buyers are asked for a proof of work: off, load or always.
    #[schema(value_type = Option<String>, pattern = "^(off|load|always)$")]
    challenge: Option<ChallengeMode>,
}

/// Changes a draft; fields that are left out stay. Needs `If-Match` with the ETag of what the editor saw.
#[utoipa::path(tag = "admin", request_body = EditSaleBody,
    params(("id" = String, Path), ("If-Match" = String, Header, description = "the sale's ETag")),
    responses((status = 200, description = "the draft now", body = AdminSaleV1), (status = 404, description = "no such sale"),
        (status = 409, description = "no draft any more"), (status = 412, description = "changed meanwhile"),
        (status = 428, description = "without If-Match")))]
#[patch("/admin/v1/flash-sales/{id}")]
pub(super) async fn edit(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    body: Body<EditSaleBody>,
) -> Result<HttpResponse, ApiError> {
    let id = sale_id(&request, &path)?;
    let seen = find(&request, &state, id).await?;
    etag::require(&request, &tag(&seen))?;
    let EditSaleBody { price, count, per_user_limit, starts_at, ends_at, challenge } = body.0;
    let terms = CreateSale {
        sku_id: seen.sku_id.to_string(),
        price: price.unwrap_or_else(|| seen.price.to_string()),
        count: count.unwrap_or(seen.count),
        per_user_limit: Some(per_user_limit.unwrap_or(seen.per_user_limit)),
        starts_at: starts_at.unwrap_or_else(|| seen.starts_at.rfc3339()),
        ends_at: ends_at.unwrap_or_else(|| seen.ends_at.rfc3339()),
        challenge: Some(challenge.unwrap_or(seen.challenge)),
    };
    let terms = new_sale(&request, &state, terms)?;
    state.sales.edit(&seen, terms).await.map_err(|failure| refused(&request, failure))?;
    shown(&request, &state, id).await
}

/// Units to be added.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RestockBody {
    /// How many.
    #[schema(minimum = 1)]
    units: u32,
}

/// Gives an armed or paused sale more units out of ordinary stock.
#[utoipa::path(tag = "admin", params(("id" = String, Path)), request_body = RestockBody,
    responses((status = 200, description = "the sale now", body = AdminSaleV1), (status = 404, description = "no such sale"),
        (status = 409, description = "not open, or the units are not free")))]
#[post("/admin/v1/flash-sales/{id}/restock")]
pub(super) async fn restock(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    body: Body<RestockBody>,
) -> Result<HttpResponse, ApiError> {
    let id = sale_id(&request, &path)?;
    let units = body.0.units;
    if units == 0 || i64::from(units) > MAX_COUNT {
        return Err(ApiError::field(&request, "units", format!("must be between 1 and {MAX_COUNT}")));
    }
    state.sales.restock(id, units).await.map_err(|failure| refused(&request, failure))?;
    shown(&request, &state, id).await
}

/// Carves the units out of ordinary stock and lets buyers in from `starts_at`.
#[utoipa::path(tag = "admin", params(("id" = String, Path)), 
    responses((status = 200, description = "armed", body = AdminSaleV1), (status = 404, description = "no such sale"),
        (status = 409, description = "its state does not allow it")))]
#[post("/admin/v1/flash-sales/{id}/arm")]
pub(super) async fn arm(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = sale_id(&request, &path)?;
    state.sales.arm(id).await.map_err(|failure| refused(&request, failure))?;
    shown(&request, &state, id).await
}

/// Lets nobody in for now.
#[utoipa::path(tag = "admin", params(("id" = String, Path)), 
    responses((status = 200, description = "paused", body = AdminSaleV1), (status = 404, description = "no such sale"),
        (status = 409, description = "its state does not allow it")))]
#[post("/admin/v1/flash-sales/{id}/pause")]
pub(super) async fn pause(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = sale_id(&request, &path)?;
    state.sales.pause(id).await.map_err(|failure| refused(&request, failure))?;
    shown(&request, &state, id).await
}

/// Lets buyers in again.
#[utoipa::path(tag = "admin", params(("id" = String, Path)), 
    responses((status = 200, description = "armed again", body = AdminSaleV1), (status = 404, description = "no such sale"),
        (status = 409, description = "its state does not allow it")))]
#[post("/admin/v1/flash-sales/{id}/resume")]
pub(super) async fn resume(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = sale_id(&request, &path)?;
    state.sales.resume(id).await.map_err(|failure| refused(&request, failure))?;
    shown(&request, &state, id).await
}

/// Ends the sale; answers after the leftovers are back in stock.
#[utoipa::path(tag = "admin", params(("id" = String, Path)), 
    responses((status = 200, description = "ended", body = AdminSaleV1), (status = 404, description = "no such sale"),
        (status = 409, description = "its state does not allow it")))]
#[post("/admin/v1/flash-sales/{id}/end")]
pub(super) async fn end(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = sale_id(&request, &path)?;
    state.sales.end(id).await.map_err(|failure| refused(&request, failure))?;
    shown(&request, &state, id).await
}
