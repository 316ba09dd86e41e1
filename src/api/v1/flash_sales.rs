//! Flash sales as buyers see them.

use actix_web::{HttpRequest, HttpResponse, get, web};
use actors::domain::flash_sale::SaleState;
use actors::domain::{SaleId, SkuId};
use actors::ports::store::SaleFilter;

use super::shapes::{FlashSaleV1, Page};
use crate::api::State;
use crate::api::course::shapes::canonical_id;
use crate::api::error::{ApiError, Kind};
use crate::api::etag;
use crate::api::extract::Query;
use crate::api::pages::{self, NoQuery, PageQuery};

/// What everybody sees alike may be a second old.
const SHORTLY: &str = "public, max-age=1";

/// Flash sales, newest first; the same for everyone.
#[utoipa::path(tag = "v1", params(PageQuery),
    responses((status = 200, description = "a page of sales", body = Page<FlashSaleV1>), (status = 400, description = "bad limit or cursor")))]
#[get("/api/v1/flash-sales")]
pub(super) async fn list(
    request: HttpRequest,
    state: web::Data<State>,
    query: Query<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = pages::limit(&request, query.0.limit.as_deref())?;
    let before = pages::cursor(&request, query.0.cursor.as_deref(), canonical_id)?.map(SaleId);
    let filter = SaleFilter { before, with_drafts: false, limit: limit + 1 };
    let sales = state.read(&request, state.store.sales_page(&filter)).await?;
    let sku_ids: Vec<SkuId> = sales.iter().map(|sale| sale.sku_id).collect();
    let skus = state.read(&request, state.store.skus(&sku_ids)).await?;
    let now = state.sales.now();
    let show = |sale| FlashSaleV1::new(&sale, skus.iter().find(|sku| sku.sku_id == sale.sku_id), now);
    let page = pages::page(sales, limit, |sale| sale.id.to_string(), show);
    Ok(pages::answer(&request, page, SHORTLY))
}

/// One flash sale, with an ETag.
#[utoipa::path(tag = "v1", params(("id" = String, Path)),
    responses((status = 200, description = "the sale", body = FlashSaleV1), (status = 304, description = "as the client has it"),
        (status = 404, description = "no such sale")))]
#[get("/api/v1/flash-sales/{id}")]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let not_found = || ApiError::new(&request, Kind::NotFound);
    let sale_id = SaleId(canonical_id(&path).ok_or_else(not_found)?);
    let sale = state.read(&request, state.store.sale(sale_id)).await?;
    let sale = sale.filter(|sale| sale.state != SaleState::Draft).ok_or_else(not_found)?;
    let skus = state.read(&request, state.store.skus(&[sale.sku_id])).await?;
    let body = FlashSaleV1::new(&sale, skus.first(), state.sales.now());
    Ok(etag::answer(&request, &etag::of(&body), SHORTLY, body))
}
