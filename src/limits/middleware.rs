//! Admission and the limit per address, before a request is routed and its body is read.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::EitherBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use futures_util::TryFutureExt;
use futures_util::future::{Either, MapOk};

use super::{Admission, Limited, Limits, Permit, Standing, client_ip};
use crate::config::{Config, Network};

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The node is full: 503 with `Retry-After`.
    Overloaded {
        /// Seconds, at least 1.
        retry_after_secs: u64,
    },
    /// This address asks too often: 429 with `Retry-After`.
    Limited(Limited),
}

/// Makes the answer to a refusal, in the shape of the API that was called.
pub type RefusalBody = fn(&ServiceRequest, Refusal) -> HttpResponse;

/// The middleware. Clone one into every worker: they share the bounds.
#[derive(Clone)]
pub struct Guard {
    rules: Arc<Rules>,
}

struct Rules {
    limits: Arc<Limits>,
    admission: Admission,
    trusted_proxies: Vec<Network>,
    exempt_paths: Vec<String>,
    retry_after_secs: u64,
    refuse: RefusalBody,
}

impl Guard {
    /// From the configuration, with the node's limits and admission and the maker of refusals.
    pub fn new(config: &Config, limits: Arc<Limits>, admission: Admission, refuse: RefusalBody) -> Self {
        let rules = Rules {
            limits,
            admission,
            trusted_proxies: config.server.trusted_proxies.clone(),
            exempt_paths: config.admission.exempt_paths.clone(),
            retry_after_secs: config.admission.retry_after.as_secs().max(1),
            refuse,
        };
        Self { rules: Arc::new(rules) }
    }
}

impl Rules {
    /// The permit of an admitted request; `None` for an exempt path.
    fn admit(&self, request: &ServiceRequest) -> Result<Option<Permit>, Refusal> {
        if self.is_exempt(request.path()) {
            return Ok(None);
        }
        let overloaded = Refusal::Overloaded { retry_after_secs: self.retry_after_secs };
        let permit = self.admission.try_enter().ok_or_else(|| {
            metrics::counter!("seckill_admission_refused_total").increment(1);
            overloaded
        })?;
        // Without a peer (a Unix socket, a test) there is no address to count.
        if let Some(peer) = request.peer_addr() {
            let address = client_ip(peer.ip(), request.headers(), &self.trusted_proxies);
            let counted = self.limits.count_address(address);
            if let Err(limited) = counted.outcome() {
                note_standing(request.request(), counted.standing("address"));
                return Err(Refusal::Limited(limited));
            }
        }
        Ok(Some(permit))
    }

    fn is_exempt(&self, path: &str) -> bool {
        let inner = path.strip_prefix("/api").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        self.exempt_paths.iter().any(|exempt| exempt == path || exempt == inner)
    }
}

/// Notes where the caller stands with a rate: the answer will say it.
pub fn note_standing(request: &HttpRequest, standing: Option<Standing>) {
    if let Some(standing) = standing {
        request.extensions_mut().insert(standing);
    }
}

fn with_standing<B>(mut response: ServiceResponse<B>) -> ServiceResponse<B> {
    let standing = response.request().extensions().get::<Standing>().copied();
    if let Some(standing) = standing {
        standing.write(response.headers_mut());
    }
    response
}

/// Gives the permit of a request back before its answer. For handlers that wait long (long polls, event streams) and
/// are bounded by a number of waiters of their own.
pub fn release_permit(request: &HttpRequest) {
    drop(request.extensions_mut().remove::<Permit>());
}

impl<S, B> Transform<S, ServiceRequest> for Guard
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type InitError = ();
    type Transform = Guarded<S>;
    type Future = Ready<Result<Guarded<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Guarded { service, rules: Arc::clone(&self.rules) }))
    }
}

type Widen<B> = fn(ServiceResponse<B>) -> ServiceResponse<EitherBody<B>>;

/// A service behind the middleware.
pub struct Guarded<S> {
    service: S,
    rules: Arc<Rules>,
}

impl<S, B> Service<ServiceRequest> for Guarded<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    // Named rather than boxed: this runs for every request, refused ones above all.
    type Future = Either<MapOk<S::Future, Widen<B>>, Ready<Result<Self::Response, Error>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.service.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        match self.rules.admit(&request) {
            Ok(permit) => {
                if let Some(permit) = permit {
                    // Lives as long as the request does: until its answer is made, or the client is gone.
                    request.extensions_mut().insert(permit);
                }
                let widen: Widen<B> = |response| with_standing(response).map_into_left_body();
                Either::Left(self.service.call(request).map_ok(widen))
            }
            Err(refusal) => {
                let response = (self.rules.refuse)(&request, refusal);
                Either::Right(ready(Ok(with_standing(request.into_response(response)).map_into_right_body())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, web};
    use tokio::sync::Notify;

    use super::*;

    fn refuse(_: &ServiceRequest, refusal: Refusal) -> HttpResponse {
        match refusal {
            Refusal::Overloaded { retry_after_secs } => {
                HttpResponse::ServiceUnavailable().insert_header(("retry-after", retry_after_secs)).finish()
            }
            Refusal::Limited(limited) => {
                HttpResponse::TooManyRequests().insert_header(("retry-after", limited.retry_after_secs)).finish()
            }
        }
    }

    fn guard(max_in_flight: usize, per_ip: &str) -> (Guard, Admission) {
        let mut config = Config::defaults();
        config.limits.per_ip = per_ip.parse().unwrap();
        let admission = Admission::new(max_in_flight);
        (Guard::new(&config, Arc::new(Limits::new(&config.limits)), admission.clone(), refuse), admission)
    }

    fn get(path: &str) -> TestRequest {
        TestRequest::get().uri(path).peer_addr("192.0.2.1:4711".parse().unwrap())
    }

    #[actix_web::test]
    async fn a_full_node_refuses_and_takes_again_when_one_leaves() {
        let (guard, admission) = guard(1, "off");
        let gate = Arc::new(Notify::new());
        let inside = Arc::clone(&gate);
        let slow = move || {
            let inside = Arc::clone(&inside);
            async move {
                inside.notified().await;
                HttpResponse::Ok().finish()
            }
        };
        let ok = || async { HttpResponse::Ok().finish() };
        let app = App::new()
            .wrap(guard)
            .route("/slow", web::get().to(slow))
            .route("/fast", web::get().to(ok))
            .route("/healthz", web::get().to(ok))
            .route("/api/order/pay/alipay/success", web::post().to(ok));
        let app = init_service(app).await;

        let waiting = app.call(get("/slow").to_request());
        let (answer, ()) = futures_util::future::join(waiting, async {
            assert_eq!(admission.in_flight(), 1);
            let refused = call_service(&app, get("/fast").to_request()).await;
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(refused.headers().get("retry-after").unwrap(), "1");
            let healthy = call_service(&app, get("/healthz").to_request()).await;
            assert_eq!(healthy.status(), StatusCode::OK);
            let notify = get("/api/order/pay/alipay/success").method(actix_web::http::Method::POST).to_request();
            assert_eq!(call_service(&app, notify).await.status(), StatusCode::OK, "money is never shed");
            gate.notify_one();
        })
        .await;
        drop(answer.unwrap());
        assert_eq!(admission.in_flight(), 0);
        assert_eq!(call_service(&app, get("/fast").to_request()).await.status(), StatusCode::OK);
    }

    #[actix_web::test]
    async fn an_address_that_asks_too_often_waits() {
        let (guard, admission) = guard(10, "1/h burst 2");
        let app = App::new().wrap(guard).default_service(web::to(|| async { HttpResponse::Ok().finish() }));
        let app = init_service(app).await;
        for _ in 0..2 {
            assert_eq!(call_service(&app, get("/").to_request()).await.status(), StatusCode::OK);
        }
        let limited = call_service(&app, get("/").to_request()).await;
        assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(limited.headers().get("retry-after").unwrap(), "3600");
        let forged = get("/").insert_header(("x-forwarded-for", "198.51.100.1")).to_request();
        assert_eq!(call_service(&app, forged).await.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(call_service(&app, get("/healthz").to_request()).await.status(), StatusCode::OK);
        let other = TestRequest::get().uri("/").peer_addr("192.0.2.2:1".parse().unwrap()).to_request();
        assert_eq!(call_service(&app, other).await.status(), StatusCode::OK);
        drop(limited);
        assert_eq!(admission.in_flight(), 0, "a refused request keeps no permit");
    }

    #[actix_web::test]
    async fn a_handler_that_waits_long_may_give_its_permit_back() {
        let (guard, admission) = guard(1, "off");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (inside, watched) = (Arc::clone(&seen), admission.clone());
        let handler = move |request: HttpRequest| {
            inside.lock().unwrap().push(watched.in_flight());
            release_permit(&request);
            inside.lock().unwrap().push(watched.in_flight());
            ready(HttpResponse::Ok().finish())
        };
        let app = init_service(App::new().wrap(guard).route("/", web::get().to(handler))).await;
        assert_eq!(call_service(&app, get("/").to_request()).await.status(), StatusCode::OK);
        assert_eq!(*seen.lock().unwrap(), [1, 0]);
    }

    #[test]
    fn exempt_paths_are_whole_paths() {
        let (guard, _) = guard(1, "off");
        for (path, exempt) in [
            ("/healthz", true),
            ("/api/healthz", true),
            ("/healthz/x", false),
            ("/healthzx", false),
            ("/apihealthz", false),
            ("/order/pay/alipay/success", true),
            ("/order/submit", false),
        ] {
            assert_eq!(guard.rules.is_exempt(path), exempt, "{path}");
        }
    }
}
