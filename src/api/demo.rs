//! Demo log-in: offered only while `demo.enabled`. The cookie is signed by the server's own key.

use std::time::Duration;

use actix_web::cookie::{Cookie, SameSite, time};
use actix_web::{HttpRequest, HttpResponse, post, web};
use actors::domain::UserId;
use serde::{Deserialize, Serialize};
use utoipa_actix_web::service_config::ServiceConfig;

use super::State;
use super::course::Envelope;
use super::error::{ApiError, Kind};
use super::extract::Body;

const LIFETIME: Duration = Duration::from_secs(2 * 3600);

pub fn routes(config: &mut ServiceConfig) {
    config.service(login).service(logout);
}

/// Body of the demo log-in.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DemoLogin {
    /// A demo member, 1 to 1000.
    user_id: i64,
}

/// Who is logged in now.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct LoggedIn {
    user_id: i64,
    username: String,
}

/// Logs a demo member in with a cookie.
#[utoipa::path(tag = "demo", request_body = DemoLogin, responses((status = 200, description = "sets the login cookie", body = LoggedIn)))]
#[post("/demo/login")]
async fn login(request: HttpRequest, state: web::Data<State>, body: Body<DemoLogin>) -> Result<HttpResponse, ApiError> {
    let issuer = state.demo.as_ref().ok_or_else(|| ApiError::new(&request, Kind::NotFound))?;
    let member = state.read(&request, state.store.member(UserId(body.0.user_id))).await?;
    let member = member.ok_or_else(|| ApiError::field(&request, "userId", "no such member"))?;
    let token = issuer.issue(member.id, &member.username, state.clock.now(), LIFETIME).map_err(|error| {
        tracing::error!(%error, "demo token could not be signed");
        ApiError::new(&request, Kind::Internal)
    })?;
    let cookie = Cookie::build(state.cookie_name.clone(), token)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(time::Duration::seconds(LIFETIME.as_secs().cast_signed()))
        .finish();
    let data = LoggedIn { user_id: member.id.0, username: member.username };
    Ok(HttpResponse::Ok().cookie(cookie).json(Envelope { code: 0, msg: "success", data }))
}

/// Takes the cookie back.
#[utoipa::path(tag = "demo", responses((status = 200, description = "clears the login cookie")))]
#[post("/demo/logout")]
async fn logout(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    if state.demo.is_none() {
        return Err(ApiError::new(&request, Kind::NotFound));
    }
    let mut cookie = Cookie::build(state.cookie_name.clone(), "").path("/").finish();
    cookie.make_removal();
    Ok(HttpResponse::Ok().cookie(cookie).json(Envelope { code: 0, msg: "success", data: () }))
}
