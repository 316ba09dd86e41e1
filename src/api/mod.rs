//! HTTP: parse, call a handle, say the outcome. No rule lives in a handler, no SQL in a route.
//!
//! Two listeners (DESIGN rule 15): [`public`] for buyers, [`internal`] for other services, staff and metrics.

pub mod admin;
pub mod course;
mod demo;
pub mod error;
mod etag;
pub mod extract;
mod health;
mod json;
mod keys;
mod openapi;
mod pages;
mod problems;
mod rules;
mod services;
pub mod v1;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse};
use actors::bridge::Replayer;
use actors::domain::flash_sale::ChallengeMode;
use actors::domain::order::Order;
use actors::domain::reject::Unavailable;
use actors::domain::{OrderSn, UserId};
use actors::flash_sale::{Attempt, Entry, FlashSales, Gate};
use actors::order::Orders;
use actors::ports::clock::Clock;
use actors::ports::store::{Store, StoreError};
use actors::reader::Reader;
use actors::stock::StockDirectory;
use actors::webhook::Webhooks;
use actors::writer::Writer;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::auth::{Authenticator, ServiceToken, TokenIssuer};
use crate::config::Config;
use crate::limits::{Admission, Guard, Limits, Refusal, note_standing};
use crate::shutdown::Readiness;
pub use admin::audit_json;
use error::{ApiError, Kind};
pub use openapi::{internal_document_json, public_document_json};
pub use rules::InputRules;

/// What handlers work with: handles of the inside, and the edges' own rules.
pub struct State {
    /// Ordinary orders.
    pub orders: Arc<Orders>,
    /// Flash sales.
    pub sales: Arc<FlashSales>,
    /// SKU actors.
    pub stock: Arc<StockDirectory>,
    /// Reads.
    pub store: Arc<dyn Store>,
    /// Reads that many ask for at the same time.
    pub reader: Reader,
    /// Writes that belong to no actor.
    pub writer: Writer,
    /// Puts parked messages back to work.
    pub replayer: Replayer,
    /// Endpoints of webhooks.
    pub webhooks: Arc<Webhooks>,
    /// This node's clock, for tokens.
    pub clock: Arc<dyn Clock>,
    /// Who calls.
    pub auth: Arc<Authenticator>,
    /// Rates per user and per IP.
    pub limits: Arc<Limits>,
    /// Requests in work on this node.
    pub admission: Admission,
    /// What other services and staff show.
    pub service_token: ServiceToken,
    /// Bounds of input.
    pub rules: InputRules,
    /// How long a body may take to arrive (R38).
    pub body_timeout: Duration,
    /// How long a read of the store may take (R27).
    pub read_timeout: Duration,
    /// `server.long_poll_timeout`
    pub long_poll: Duration,
    /// `server.stream_heartbeat`: longest silence of a stream of events.
    pub stream_heartbeat: Duration,
    /// `server.stream_lifetime`: longest life of one.
    pub stream_lifetime: Duration,
    /// `stock.foreign_lease`
    pub foreign_lease: Duration,
    /// `flash_sale.per_user_limit`: when a sale names none.
    pub per_user_limit: u32,
    /// `flash_sale.challenge`: when a sale names none.
    pub challenge: ChallengeMode,
    /// Demo log-in, when it is switched on.
    pub demo: Option<TokenIssuer>,
    /// Name of the login cookie.
    pub cookie_name: String,
    /// Whether it takes work: set after start-up, cleared when stopping.
    pub readiness: Readiness,
    /// The metrics page.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
}

impl State {
    /// A read of the store within its time.
    ///
    /// # Errors
    /// 503.
    pub async fn read<T>(
        &self,
        request: &HttpRequest,
        reading: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(self.read_timeout, reading).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                error.log_read();
                Err(ApiError::new(request, Kind::UpstreamUnavailable))
            }
            Err(_) => Err(ApiError::new(request, Kind::UpstreamUnavailable)),
        }
    }

    /// A user's order.
    ///
    /// # Errors
    /// 404 for an absent one and for another user's alike (R24).
    pub async fn order_of(&self, request: &HttpRequest, user: UserId, order_sn: &OrderSn) -> Result<Order, ApiError> {
        let order = self.read(request, self.reader.order_of(user, order_sn)).await?;
        order.ok_or_else(|| ApiError::new(request, Kind::NotFound))
    }

    /// A user's rate of attempts, and the number of attempts in one sale.
    ///
    /// # Errors
    /// 429.
    fn check_attempt(&self, request: &HttpRequest, gate: &Gate, user: UserId) -> Result<(), ApiError> {
        let counted = self.limits.count_seckill(user);
        counted.outcome().and_then(|()| self.limits.count_attempt(user, gate.sale_id())).map_err(|limited| {
            note_standing(request, counted.standing("attempts"));
            ApiError::new(request, Kind::RateLimited).retry_after(limited.retry_after_secs)
        })
    }

    /// One attempt at a flash sale, whatever the path: the user's rates first, then the sale and its challenge.
    ///
    /// # Errors
    /// 409 while the same key is being decided, 429, 503.
    pub async fn try_to_win(
        &self,
        request: &HttpRequest,
        gate: &Gate,
        user: UserId,
        key: Option<&str>,
    ) -> Result<Attempt, ApiError> {
        self.check_attempt(request, gate, user)?;
        let entry = Entry {
            user_id: user,
            number: key.map(|key| self.orders.number_of_key(user, gate.sale_id(), key)),
            path_token: path_token(request),
            node_use_percent: self.admission.used_percent(),
        };
        let attempt = self.sales.attempt_from_outside(gate, entry).await;
        attempt.map_err(|failure| ApiError::from_failure(request, failure))
    }

    /// Whether the server takes work.
    pub fn is_ready(&self) -> bool {
        self.readiness.is_ready()
    }

    /// A fault of the inside as an error of this request.
    pub fn unavailable(request: &HttpRequest, error: impl Into<Unavailable>) -> ApiError {
        ApiError::from_unavailable(request, &error.into())
    }
}

/// What a solved challenge earned, as an attempt shows it. What is no text is no token of ours.
fn path_token(request: &HttpRequest) -> Option<&str> {
    request.headers().get(PATH_TOKEN).map(|value| value.to_str().unwrap_or_default())
}

const PATH_TOKEN: HeaderName = HeaderName::from_static("seckill-path-token");

/// The public listener's API routes.
pub fn public(config: &mut ServiceConfig) {
    // Paths are tried in this order: those of a sale come first, because they are asked the most by far.
    config.configure(course::routes).configure(v1::routes).configure(health::routes).configure(demo::routes);
    config.service(openapi::serve_public);
    config.service(utoipa_actix_web::scope("/api").configure(course::routes));
}

/// The internal listener's routes.
pub fn internal(config: &mut ServiceConfig) {
    config.configure(health::routes).configure(services::routes).configure(admin::routes);
    config.service(openapi::serve_internal);
}

/// For paths that exist on no route: 404 or, when the path exists with other methods, 405.
pub async fn not_found(request: HttpRequest) -> HttpResponse {
    let error = match request.match_pattern() {
        Some(pattern) => ApiError::new(&request, Kind::MethodNotAllowed).allow(openapi::methods_of(&pattern)),
        None => ApiError::new(&request, Kind::NotFound),
    };
    actix_web::ResponseError::error_response(&error)
}

/// A path that cannot be decoded names nothing.
pub fn undecodable_path(_: actix_web::error::PathError, request: &HttpRequest) -> actix_web::Error {
    ApiError::new(request, Kind::NotFound).into()
}

/// Admission and the rate per address, in front of everything on the public listener.
pub fn guard(config: &Config, limits: Arc<Limits>, admission: Admission) -> Guard {
    Guard::new(config, limits, admission, |request, refusal| {
        let (kind, seconds) = match refusal {
            Refusal::Overloaded { retry_after_secs } => (Kind::Overloaded, retry_after_secs),
            Refusal::Limited(limited) => (Kind::RateLimited, limited.retry_after_secs),
        };
        let error = ApiError::at(request.path(), kind).retry_after(seconds);
        actix_web::ResponseError::error_response(&error)
    })
}
