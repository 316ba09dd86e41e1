//! One table of errors, two ways to say them: the course's envelope, and RFC 9457 problems for REST v1 and the admin API.

use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use actors::domain::order::OrderStatus;
use actors::domain::reject::{Failure, Reject, Unavailable};
use serde_json::{Map, Value, json};

/// Every kind of error, with its status, stable code and title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A field is missing, of the wrong type or out of range.
    Validation,
    /// No login, or not a valid one.
    Unauthenticated,
    /// A cookie from another origin, or a token without the right.
    Forbidden,
    /// Absent, or another user's.
    NotFound,
    /// The path exists with other methods.
    MethodNotAllowed,
    /// Not the expected media type.
    UnsupportedMediaType,
    /// Body over the limit.
    PayloadTooLarge,
    /// The thing is elsewhere in its life.
    WrongState,
    /// The order token made an order.
    TokenUsed,
    /// The order token is unknown, lapsed or another user's.
    TokenInvalid,
    /// The client's total is not the server's.
    PriceChanged,
    /// Not enough units.
    InsufficientStock,
    /// A create without an idempotency key.
    KeyMissing,
    /// The idempotency key was used for another request.
    KeyReused,
    /// A request under this idempotency key is being worked on.
    KeyInProgress,
    /// `If-Match` does not name the current version.
    VersionConflict,
    /// An edit without `If-Match`.
    VersionMissing,
    /// The reservation is sold already.
    AlreadyConfirmed,
    /// The reservation was given back already.
    AlreadyReleased,
    /// Another thing is in the way.
    Conflict,
    /// The sale asks for a solved challenge.
    ChallengeRequired,
    /// The solution of a challenge is none.
    ChallengeFailed,
    /// No unit of the sale remains.
    SoldOut,
    /// The user's share of the sale is used.
    LimitReached,
    /// Before the window.
    NotStarted,
    /// After the window.
    Ended,
    /// The time to pay is over.
    PaymentLapsed,
    /// More than is left of the payment.
    RefundTooLarge,
    /// More units than may still be returned.
    TooManyReturned,
    /// Too long after the receipt.
    ReturnTooLate,
    /// The caller's own rate is exceeded.
    RateLimited,
    /// This server is full.
    Overloaded,
    /// Something this server needs is away.
    UpstreamUnavailable,
    /// A fault of this server.
    Internal,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 34] = [
        Self::Validation,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnsupportedMediaType,
        Self::PayloadTooLarge,
        Self::WrongState,
        Self::TokenUsed,
        Self::TokenInvalid,
        Self::PriceChanged,
        Self::InsufficientStock,
        Self::KeyMissing,
        Self::KeyReused,
        Self::KeyInProgress,
        Self::VersionConflict,
        Self::VersionMissing,
        Self::AlreadyConfirmed,
        Self::AlreadyReleased,
        Self::Conflict,
        Self::ChallengeRequired,
        Self::ChallengeFailed,
        Self::SoldOut,
        Self::LimitReached,
        Self::NotStarted,
        Self::Ended,
        Self::PaymentLapsed,
        Self::RefundTooLarge,
        Self::TooManyReturned,
        Self::ReturnTooLate,
        Self::RateLimited,
        Self::Overloaded,
        Self::UpstreamUnavailable,
        Self::Internal,
    ];

    /// Status, code, title (the course's `msg` as well, unless a detail says more).
    pub const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Validation => (400, "validation", "The request is not valid"),
            Self::Unauthenticated => (401, "unauthenticated", "请登录后再试！"),
            Self::Forbidden => (403, "forbidden", "Not allowed"),
            Self::NotFound => (404, "not-found", "Not found"),
            Self::MethodNotAllowed => (405, "method-not-allowed", "This path has other methods"),
            Self::UnsupportedMediaType => (415, "unsupported-media-type", "Send application/json"),
            Self::PayloadTooLarge => (413, "payload-too-large", "The body is too large"),
            Self::WrongState => (409, "wrong-state", "Not possible in the current state"),
            Self::TokenUsed => (409, "token-used", "The order token was used"),
            Self::TokenInvalid => (409, "token-expired", "The order token is not valid any more"),
            Self::PriceChanged => (409, "price-changed", "The price has changed"),
            Self::InsufficientStock => (409, "insufficient-stock", "Not enough stock"),
            Self::KeyMissing => (400, "key-missing", "Send an Idempotency-Key"),
            Self::KeyReused => (422, "key-reused", "The idempotency key was used for another request"),
            Self::KeyInProgress => (409, "key-in-progress", "The same request is being worked on"),
            Self::VersionConflict => (412, "version-conflict", "It was changed meanwhile"),
            Self::VersionMissing => (428, "version-missing", "Send If-Match with the ETag you saw"),
            Self::AlreadyConfirmed => (409, "already-confirmed", "The reservation is sold already"),
            Self::AlreadyReleased => (409, "already-released", "The reservation was given back already"),
            Self::Conflict => (409, "conflict", "Something else is in the way"),
            Self::ChallengeRequired => (403, "challenge-required", "Solve the sale's challenge first"),
            Self::ChallengeFailed => (403, "challenge-failed", "The challenge is not solved"),
            Self::SoldOut => (409, "sold-out", "Sold out"),
            Self::LimitReached => (409, "limit-reached", "You took part already"),
            Self::NotStarted => (425, "not-started", "The sale has not started"),
            Self::Ended => (410, "ended", "The sale is over"),
            Self::PaymentLapsed => (410, "payment-lapsed", "The time to pay is over"),
            Self::RefundTooLarge => (409, "refund-too-large", "More than is left of the payment"),
            Self::TooManyReturned => (409, "too-many-returned", "More units than may still be returned"),
            Self::ReturnTooLate => (409, "return-window-over", "The time to return is over"),
            Self::RateLimited => (429, "rate-limited", "Too many requests"),
            Self::Overloaded => (503, "overloaded", "The server is busy, try again"),
            Self::UpstreamUnavailable => (503, "upstream-unavailable", "Temporarily unavailable, try again"),
            Self::Internal => (500, "internal", "Internal error"),
        }
    }

    /// HTTP status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Which way an error is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `{"code","msg","data"}`
    Envelope,
    /// `application/problem+json`
    Problem,
}

impl Surface {
    /// REST v1 and the admin API speak problems; everything else is the course's.
    pub fn of(path: &str) -> Self {
        let is_below =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if is_below("/api/v1") || is_below("/admin") { Self::Problem } else { Self::Envelope }
    }
}

/// An error on its way to a client.
#[derive(Clone, Debug)]
pub struct ApiError {
    surface: Surface,
    kind: Kind,
    /// The path that was asked, where problems name it.
    instance: Option<String>,
    detail: Option<String>,
    retry_after_seconds: Option<u64>,
    allow: Option<&'static str>,
    extras: Map<String, Value>,
}

impl ApiError {
    /// An error for this request.
    pub fn new(request: &HttpRequest, kind: Kind) -> Self {
        Self::at(request.path(), kind)
    }

    /// An error for a path, in the shape of its surface.
    pub fn at(path: &str, kind: Kind) -> Self {
        let surface = Surface::of(path);
        let instance = (surface == Surface::Problem).then(|| path.to_owned());
        let comes_again = matches!(kind.row().0, 429 | 503) || kind == Kind::KeyInProgress;
        let retry_after_seconds = comes_again.then_some(1);
        Self { surface, kind, instance, detail: None, retry_after_seconds, allow: None, extras: Map::new() }
    }

    /// Says more.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// When to come again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds.max(1));
        self
    }

    /// The methods that the path has.
    #[must_use]
    pub fn allow(mut self, methods: Option<&'static str>) -> Self {
        self.allow = methods;
        self
    }

    /// A typed extra member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extras.insert(name.into(), value.into());
        self
    }

    /// A bad field.
    pub fn field(request: &HttpRequest, field: &str, problem: impl fmt::Display) -> Self {
        let detail = if field.is_empty() { problem.to_string() } else { format!("{field}: {problem}") };
        Self::new(request, Kind::Validation).detail(detail).with("field", field)
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// From a failure of the inside.
    pub fn from_failure(request: &HttpRequest, failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(unavailable) => Self::from_unavailable(request, &unavailable),
            Failure::Rejected(reject) => Self::from_reject(request, reject),
        }
    }

    /// From a fault of the inside. The reason is logged there, not told.
    pub fn from_unavailable(request: &HttpRequest, unavailable: &Unavailable) -> Self {
        let kind = match unavailable {
            Unavailable::Overloaded | Unavailable::Stopping => Kind::Overloaded,
            Unavailable::Dependency(_) => Kind::UpstreamUnavailable,
        };
        Self::new(request, kind)
    }

    fn from_reject(request: &HttpRequest, reject: Reject) -> Self {
        let detail = reject.to_string();
        match reject {
            Reject::UnknownSku(sku_id) => Self::new(request, Kind::NotFound).with("sku_id", sku_id.to_string()),
            Reject::TokenInvalid => Self::new(request, Kind::TokenInvalid),
            Reject::TokenUsed(order_sn) => Self::new(request, Kind::TokenUsed).with("order_sn", order_sn.as_str()),
            Reject::EmptyOrder => Self::new(request, Kind::Validation),
            Reject::KeyReused => Self::new(request, Kind::KeyReused),
            Reject::KeyInProgress => Self::new(request, Kind::KeyInProgress),
            Reject::Changed => Self::new(request, Kind::VersionConflict),
            Reject::CartFull(_) => Self::new(request, Kind::Conflict),
            Reject::PriceChanged { now } => {
                Self::new(request, Kind::PriceChanged).with("expected_total", now.to_string())
            }
            Reject::StockShort(shortages) => {
                let skus: Vec<Value> = shortages
                    .iter()
                    .map(|s| json!({"sku_id": s.sku_id.to_string(), "wanted": s.wanted, "available": s.available}))
                    .collect();
                Self::new(request, Kind::InsufficientStock).with("skus", skus)
            }
            // Without a detail: absent, another's and malformed numbers must not be told apart (R24).
            Reject::UnknownOrder | Reject::UnknownReturn => return Self::new(request, Kind::NotFound),
            Reject::WrongState(status) => Self::wrong_state(request, status),
            Reject::WrongReturnState(state) => {
                let allowed: Vec<Value> = state.allowed().iter().map(|command| json!(command)).collect();
                Self::new(request, Kind::WrongState).with("current_status", state.name()).with("allowed", allowed)
            }
            Reject::ReturnOpen(id) => Self::new(request, Kind::Conflict).with("return_id", id.to_string()),
            Reject::TooManyReturned { returnable } => {
                Self::new(request, Kind::TooManyReturned).with("returnable", returnable)
            }
            Reject::ReturnTooLate => Self::new(request, Kind::ReturnTooLate),
            Reject::NotInOrder(_) => return Self::field(request, "sku_id", "is not in this order"),
            Reject::RefundTooLarge { refundable } => {
                Self::new(request, Kind::RefundTooLarge).with("refundable", refundable.to_string())
            }
            Reject::ReferenceUsed(amount) => Self::new(request, Kind::Conflict).with("refunded", amount.to_string()),
            Reject::PaymentLapsed => Self::new(request, Kind::PaymentLapsed),
            Reject::AmountOutOfRange => Self::new(request, Kind::Validation),
        }
        .detail(detail)
    }

    fn wrong_state(request: &HttpRequest, status: OrderStatus) -> Self {
        let allowed: Vec<Value> = status.allowed().iter().map(|command| json!(command)).collect();
        Self::new(request, Kind::WrongState).with("current_status", status.name()).with("allowed", allowed)
    }

    fn message(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.kind.row().2)
    }

    fn envelope(&self, response: &mut HttpResponseBuilder) -> HttpResponse {
        let data = if self.extras.is_empty() { Value::Null } else { Value::Object(self.extras.clone()) };
        response.json(json!({"code": self.kind.row().0, "msg": self.message(), "data": data}))
    }

    fn problem(&self, response: &mut HttpResponseBuilder) -> HttpResponse {
        let (status, code, title) = self.kind.row();
        let mut body = self.extras.clone();
        body.insert("type".into(), json!(format!("/problems/{code}")));
        body.insert("title".into(), json!(title));
        body.insert("status".into(), json!(status));
        body.insert("code".into(), json!(code));
        body.insert("detail".into(), json!(self.message()));
        body.insert("instance".into(), json!(self.instance));
        response.content_type("application/problem+json").body(Value::Object(body).to_string())
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.row().1, self.message())
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(methods) = self.allow {
            response.insert_header((header::ALLOW, methods));
        }
        if self.kind == Kind::Unauthenticated {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        match self.surface {
            Surface::Envelope => self.envelope(&mut response),
            Surface::Problem => self.problem(&mut response),
        }
    }
}
