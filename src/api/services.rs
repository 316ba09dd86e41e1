//! The course's internal calls (wms, oms, ums, pms), for other services with the service token. Never on the public
//! listener (DESIGN rule 15).

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actors::domain::reject::{Failure, Reject};
use actors::domain::{OrderSn, SkuId, UserId};
use actors::order::{Buyer, Submitted};
use actors::ports::store::Member;
use serde::{Deserialize, Serialize};
use utoipa_actix_web::service_config::ServiceConfig;

use super::State;
use super::admin::reservations::MAX_LOCKED;
use super::course::order::submit_request;
use super::course::shapes::{AddressEntity, OrderEntity, OrderSubmit, SaleAttrEntity};
use super::course::{answer, success};
use super::error::{ApiError, Kind};
use super::extract::{Body, Service};
use super::json::YuanNumber;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(check_and_lock)
        .service(save_order)
        .service(addresses)
        .service(member_info)
        .service(sku_info)
        .service(sku_attributes);
}

/// SkuLockVO.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SkuLock {
    sku_id: i64,
    /// Answered, not read.
    #[serde(default)]
    ware_sku_id: Option<i64>,
    num: u32,
    order_token: String,
}

/// Locks units for another system's order, all or none.
#[utoipa::path(tag = "service", request_body = Vec<SkuLock>, responses((status = 200, description = "code 0, or code 1 with the SKUs that are short")))]
#[post("/wms/waresku/check/lock")]
async fn check_and_lock(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    body: Body<Vec<SkuLock>>,
) -> Result<HttpResponse, ApiError> {
    let (order_sn, wants) = lock_request(&request, &state, &body.0)?;
    match state.stock.lock(order_sn, &wants, state.foreign_lease).await {
        Ok(_) => Ok(success(())),
        Err(Failure::Rejected(Reject::StockShort(short))) => {
            let skus: Vec<String> = short.iter().map(|shortage| shortage.sku_id.to_string()).collect();
            Ok(answer(1, &format!("锁定失败：商品[{}]库存不足", skus.join(", ")), ()))
        }
        Err(Failure::Rejected(Reject::UnknownSku(sku_id))) => {
            Ok(answer(1, &format!("锁定失败：商品[{sku_id}]库存不足"), ()))
        }
        Err(failure) => Err(ApiError::from_failure(&request, failure)),
    }
}

fn lock_request(
    request: &HttpRequest,
    state: &State,
    locks: &[SkuLock],
) -> Result<(OrderSn, Vec<(SkuId, u32)>), ApiError> {
    let first = locks.first().ok_or_else(|| ApiError::field(request, "", "no SKU is given"))?;
    state.rules.line_count(locks.len()).map_err(|problem| ApiError::field(request, "", problem))?;
    let order_sn = OrderSn::parse(&first.order_token)
        .ok_or_else(|| ApiError::field(request, "[0].orderToken", "must match [A-Za-z0-9_-]{1,64}"))?;
    let mut wants = BTreeMap::new();
    for (at, lock) in locks.iter().enumerate() {
        let field = |name: &str, problem: &str| ApiError::field(request, &format!("[{at}].{name}"), problem);
        if lock.order_token != first.order_token {
            return Err(field("orderToken", "must be the same in every row"));
        }
        if lock.sku_id <= 0 {
            return Err(field("skuId", "must be at least 1"));
        }
        if lock.num == 0 || lock.num > MAX_LOCKED {
            return Err(field("num", &format!("must be between 1 and {MAX_LOCKED}")));
        }
        if wants.insert(SkuId(lock.sku_id), lock.num).is_some() {
            return Err(field("skuId", "appears twice"));
        }
    }
    Ok((order_sn, wants.into_iter().collect()))
}

/// Makes an order for a user, under the same rules as the buyer's submit.
#[utoipa::path(tag = "service", params(("user_id" = i64, Path)), request_body = OrderSubmit, responses((status = 200, description = "the order", body = OrderEntity)))]
#[post("/oms/order/{user_id}")]
async fn save_order(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    body: Body<OrderSubmit>,
) -> Result<HttpResponse, ApiError> {
    let user_id = user(&request, &path)?;
    let member = state.read(&request, state.store.member(user_id)).await?;
    let member = member.ok_or_else(|| ApiError::new(&request, Kind::NotFound))?;
    let mut submit = submit_request(&request, &state.rules, body.0)?;
    submit.with_pay_page = false;
    let buyer = Buyer { user_id, username: member.username };
    match state.orders.submit(&buyer, submit).await {
        Ok(Submitted::Placed(placed)) => {
            let order = state.order_of(&request, user_id, &placed.order_sn).await?;
            Ok(success(OrderEntity::from(&order)))
        }
        Ok(Submitted::Repeated(order)) => Ok(success(OrderEntity::from(order.as_ref()))),
        Err(Failure::Rejected(reject)) => Ok(answer(1, &reject.to_string(), ())),
        Err(failure) => Err(ApiError::from_failure(&request, failure)),
    }
}

fn user(request: &HttpRequest, text: &str) -> Result<UserId, ApiError> {
    super::course::shapes::canonical_id(text)
        .map(UserId)
        .ok_or_else(|| ApiError::field(request, "userId", "must be a user id"))
}

fn sku(request: &HttpRequest, text: &str) -> Result<SkuId, ApiError> {
    super::course::shapes::canonical_id(text)
        .map(SkuId)
        .ok_or_else(|| ApiError::field(request, "skuId", "must be a SKU id"))
}

/// A member's addresses.
#[utoipa::path(tag = "service", params(("user_id" = i64, Path)), responses((status = 200, description = "the addresses", body = Vec<AddressEntity>)))]
#[get("/ums/memberreceiveaddress/{user_id}")]
async fn addresses(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let user_id = user(&request, &path)?;
    let rows = state.read(&request, state.store.addresses(user_id)).await?;
    Ok(success(rows.into_iter().map(AddressEntity::from).collect::<Vec<_>>()))
}

/// MemberEntity without password and salt.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct MemberEntity {
    id: i64,
    username: String,
    nickname: String,
    mobile: String,
    email: String,
    integration: i64,
    growth: i64,
}

impl From<Member> for MemberEntity {
    fn from(member: Member) -> Self {
        let Member { id, username, nickname, mobile, email, integration, growth } = member;
        Self { id: id.0, username, nickname, mobile, email, integration, growth }
    }
}

/// A member.
#[utoipa::path(tag = "service", params(("id" = i64, Path)), responses((status = 200, description = "the member", body = MemberEntity), (status = 404, description = "no such member")))]
#[get("/ums/member/info/{id}")]
async fn member_info(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let user_id = user(&request, &path)?;
    let member = state.read(&request, state.store.member(user_id)).await?;
    member.map(|member| success(MemberEntity::from(member))).ok_or_else(|| ApiError::new(&request, Kind::NotFound))
}

/// SkuInfoEntity.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct SkuInfoEntity {
    sku_id: i64,
    spu_id: i64,
    sku_name: String,
    catalog_id: i64,
    brand_id: i64,
    sku_default_img: String,
    sku_title: String,
    sku_subtitle: String,
    #[schema(value_type = f64)]
    price: YuanNumber,
}

/// A SKU.
#[utoipa::path(tag = "service", params(("sku_id" = i64, Path)), responses((status = 200, description = "the SKU", body = SkuInfoEntity), (status = 404, description = "no such SKU")))]
#[get("/pms/skuinfo/info/{sku_id}")]
async fn sku_info(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let sku_id = sku(&request, &path)?;
    let mut skus = state.read(&request, state.store.skus(&[sku_id])).await?;
    let sku = skus.pop().ok_or_else(|| ApiError::new(&request, Kind::NotFound))?;
    Ok(success(SkuInfoEntity {
        sku_id: sku.sku_id.0,
        spu_id: sku.spu_id,
        sku_name: sku.name,
        catalog_id: sku.category_id,
        brand_id: sku.brand_id,
        sku_default_img: sku.image,
        sku_title: sku.title,
        sku_subtitle: sku.subtitle,
        price: YuanNumber(sku.price),
    }))
}

/// A SKU's sale attributes; empty when it has none.
#[utoipa::path(tag = "service", params(("sku_id" = i64, Path)), responses((status = 200, description = "the attributes", body = Vec<SaleAttrEntity>)))]
#[get("/pms/skusaleattrvalue/{sku_id}")]
async fn sku_attributes(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let sku_id = sku(&request, &path)?;
    let skus = state.read(&request, state.store.skus(&[sku_id])).await?;
    let attributes = skus.into_iter().flat_map(|sku| sku.attributes);
    Ok(success(attributes.map(|attribute| SaleAttrEntity::new(sku_id, attribute)).collect::<Vec<_>>()))
}
