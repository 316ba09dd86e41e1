//! What clients ask for, shared by several bodies of v1 and the admin API: lines of SKUs, and where they go.

use actix_web::HttpRequest;
use actors::domain::SkuId;
use actors::domain::order::Receiver;
use serde::{Deserialize, Serialize};

use crate::api::course::shapes::canonical_id;
use crate::api::error::ApiError;
use crate::api::rules::{BadLines, InputRules};

/// Units of one SKU.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Id as text.
    #[schema(pattern = "^[1-9][0-9]{0,18}$", example = "48")]
    pub sku_id: String,
    /// How many.
    #[schema(minimum = 1, example = 1)]
    pub quantity: u32,
}

/// Checks lines of a body whose list is called `items`.
///
/// # Errors
/// 400 naming the field.
pub fn lines(
    request: &HttpRequest,
    rules: &InputRules,
    lines: &[Line],
    max_quantity: u32,
) -> Result<Vec<(SkuId, u32)>, ApiError> {
    if lines.is_empty() {
        return Err(ApiError::field(request, "items", "must not be empty"));
    }
    let lines: Vec<_> = lines.iter().map(|line| (canonical_id(&line.sku_id), line.quantity)).collect();
    rules.lines(&lines, max_quantity).map_err(|bad| match bad {
        BadLines::List(problem) => ApiError::field(request, "items", problem),
        BadLines::Sku(at, problem) => ApiError::field(request, &format!("items[{at}].sku_id"), problem),
        BadLines::Quantity(at, problem) => ApiError::field(request, &format!("items[{at}].quantity"), problem),
    })
}

/// Where an order goes.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiverBody {
    /// Who receives it.
    #[schema(min_length = 1, max_length = 100, example = "李先锋")]
    name: String,
    /// Their phone.
    #[schema(min_length = 1, max_length = 32, example = "13888888888")]
    phone: String,
    /// Post code.
    #[serde(default)]
    #[schema(max_length = 32)]
    post_code: Option<String>,
    /// Province.
    #[schema(min_length = 1, max_length = 32, example = "上海")]
    province: String,
    /// City.
    #[schema(min_length = 1, max_length = 32, example = "上海市")]
    city: String,
    /// District.
    #[serde(default)]
    #[schema(max_length = 32)]
    region: Option<String>,
    /// Street, house, floor.
    #[schema(min_length = 1, max_length = 200, example = "大江大厦6层")]
    detail_address: String,
}

impl ReceiverBody {
    /// Checks it; `prefix` is where it stands in the body.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn checked(self, request: &HttpRequest, rules: &InputRules, prefix: &str) -> Result<Receiver, ApiError> {
        let Self { name, phone, post_code, province, city, region, detail_address } = self;
        let receiver = Receiver {
            name,
            phone,
            post_code: post_code.unwrap_or_default(),
            province,
            city,
            region: region.unwrap_or_default(),
            detail_address,
        };
        rules
            .receiver(&receiver)
            .map_err(|(field, problem)| ApiError::field(request, &format!("{prefix}{field}"), problem))?;
        Ok(receiver)
    }
}
