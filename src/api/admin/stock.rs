//! Stock: read and adjust.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actors::domain::stock::StockRow;
use actors::domain::{SkuId, WareId};
use actors::ports::store::units::{AdjustStock, Adjustment};
use actors::ports::store::{LedgerCursor, LedgerRow};
use serde::{Deserialize, Serialize};

use crate::api::State;
use crate::api::course::shapes::canonical_id;
use crate::api::error::{ApiError, Kind};
use crate::api::extract::{Body, Query, Service};
use crate::api::pages::{self, NoQuery, PageQuery};
use crate::api::v1::shapes::Page;

const MAX_DELTA: i64 = 1_000_000_000;

/// A SKU's stock.
#[derive(Serialize, utoipa::ToSchema)]
struct StockV1 {
    sku_id: String,
    stock: i64,
    locked: i64,
    available: i64,
    warehouses: Vec<WarehouseV1>,
}

/// One stock row.
#[derive(Serialize, utoipa::ToSchema)]
struct WarehouseV1 {
    id: String,
    ware_id: String,
    stock: i64,
    locked: i64,
}

impl StockV1 {
    fn new(sku_id: SkuId, rows: &[StockRow]) -> Self {
        let (stock, locked) = rows.iter().fold((0, 0), |(stock, locked), row| (stock + row.stock, locked + row.locked));
        let warehouses = rows.iter().map(|row| WarehouseV1 {
            id: row.id.to_string(),
            ware_id: row.ware_id.to_string(),
            stock: row.stock,
            locked: row.locked,
        });
        Self { sku_id: sku_id.to_string(), stock, locked, available: stock - locked, warehouses: warehouses.collect() }
    }
}

fn sku_id(request: &HttpRequest, text: &str) -> Result<SkuId, ApiError> {
    canonical_id(text).map(SkuId).ok_or_else(|| ApiError::new(request, Kind::NotFound))
}

/// A SKU's stock over all warehouses.
#[utoipa::path(tag = "admin", params(("sku_id" = String, Path)), responses((status = 200, description = "the stock", body = StockV1), (status = 404, description = "no stock of this SKU")))]
#[get("/admin/v1/stock/{sku_id}")]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let sku_id = sku_id(&request, &path)?;
    let rows = state.read(&request, state.store.stock_rows(sku_id)).await?;
    if rows.is_empty() {
        return Err(ApiError::new(&request, Kind::NotFound));
    }
    Ok(HttpResponse::Ok().json(StockV1::new(sku_id, &rows)))
}

/// Units that came in or went missing.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct AdjustmentV1 {
    /// Id as text.
    ware_id: String,
    /// Units to add, negative to take.
    delta: i64,
    /// Why.
    reason: String,
}

/// Changes the units on hand, never below what is locked.
#[utoipa::path(tag = "admin", params(("sku_id" = String, Path)), request_body = AdjustmentV1,
    responses((status = 200, description = "the stock now", body = StockV1), (status = 409, description = "would fall below the locked units")))]
#[post("/admin/v1/stock/{sku_id}/adjustments")]
pub(super) async fn adjust(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    body: Body<AdjustmentV1>,
) -> Result<HttpResponse, ApiError> {
    let sku_id = sku_id(&request, &path)?;
    let AdjustmentV1 { ware_id, delta, reason } = body.0;
    let ware_id =
        canonical_id(&ware_id).ok_or_else(|| ApiError::field(&request, "ware_id", "must be a warehouse id"))?;
    if delta == 0 || delta.unsigned_abs() > MAX_DELTA.unsigned_abs() {
        return Err(ApiError::field(&request, "delta", format!("must be between -{MAX_DELTA} and {MAX_DELTA}, not 0")));
    }
    state.rules.text(&reason, 1, 200).map_err(|problem| ApiError::field(&request, "reason", problem))?;
    let unit = AdjustStock { sku_id, ware_id: WareId(ware_id), delta, reason };
    match state.writer.commit(unit).await.map_err(|error| State::unavailable(&request, error))? {
        Adjustment::Done(_) => {
            let rows = state.read(&request, state.store.stock_rows(sku_id)).await?;
            Ok(HttpResponse::Ok().json(StockV1::new(sku_id, &rows)))
        }
        Adjustment::BelowLocked(row) => Err(ApiError::new(&request, Kind::InsufficientStock)
            .detail(format!("{} of {} units are locked", row.locked, row.stock))),
        Adjustment::UnknownWarehouse => Err(ApiError::field(&request, "ware_id", "no such warehouse")),
        Adjustment::UnknownSku => Err(ApiError::new(&request, Kind::NotFound)),
    }
}

/// A change of the units on hand.
#[derive(Serialize, utoipa::ToSchema)]
struct LedgerV1 {
    id: String,
    ware_id: String,
    /// opening, adjust, sale or return.
    kind: &'static str,
    delta: i64,
    stock_after: i64,
    reason: String,
    at: String,
}

impl From<LedgerRow> for LedgerV1 {
    fn from(row: LedgerRow) -> Self {
        Self {
            id: row.id.0.to_string(),
            ware_id: row.ware_id.to_string(),
            kind: row.kind.as_str(),
            delta: row.delta,
            stock_after: row.stock_after,
            reason: row.reason,
            at: row.at.rfc3339(),
        }
    }
}

/// The ledger of a SKU over all warehouses, newest first. It is append-only.
#[utoipa::path(tag = "admin", params(("sku_id" = String, Path), PageQuery),
    responses((status = 200, description = "a page", body = Page<LedgerV1>), (status = 404, description = "no stock of this SKU")))]
#[get("/admin/v1/stock/{sku_id}/ledger")]
pub(super) async fn ledger(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    query: Query<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let sku_id = sku_id(&request, &path)?;
    let limit = pages::limit(&request, query.0.limit.as_deref())?;
    let before = pages::cursor(&request, query.0.cursor.as_deref(), canonical_id)?.map(LedgerCursor);
    if state.read(&request, state.store.stock_rows(sku_id)).await?.is_empty() {
        return Err(ApiError::new(&request, Kind::NotFound));
    }
    let rows = state.read(&request, state.store.ledger(sku_id, before, limit + 1)).await?;
    let page = pages::page(rows, limit, |row| row.id.0.to_string(), LedgerV1::from);
    Ok(pages::answer(&request, page, "no-store"))
}
