//! The two listeners (DESIGN rule 15): public for buyers, internal for services, staff and metrics.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App, Error, HttpServer, middleware, web};
use anyhow::Context;
use futures_util::future::join;
use socket2::SockRef;
use utoipa_actix_web::AppExt;

use crate::api;
use crate::config::Config;
use crate::gateway::sandbox::{self, Sandbox};
use crate::limits::Guard;
use crate::web::{Site, configure as configure_site};

/// What the public listener serves. Each worker builds its own [`Self::app`] of it.
#[derive(Clone)]
pub struct PublicSide {
    /// What handlers work with.
    pub state: web::Data<api::State>,
    /// Admission and the rate per address.
    pub guard: Guard,
    /// The buyer page.
    pub site: web::Data<Site>,
    /// The simulated gateway, when it is in use.
    pub sandbox: Option<Arc<Sandbox>>,
    /// `server.max_body_bytes`
    pub body_bytes: usize,
}

/// What the listeners serve.
pub struct Parts {
    pub public: TcpListener,
    pub internal: TcpListener,
    pub public_side: PublicSide,
}

impl PublicSide {
    /// The public listener's service.
    pub fn app(
        &self,
    ) -> App<
        impl ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<impl MessageBody + use<>>,
            Error = Error,
            InitError = (),
        > + use<>,
    > {
        let sandbox = self.sandbox.clone();
        App::new()
            .into_utoipa_app()
            .map(|app| app.wrap(self.guard.clone()).wrap(security_headers()))
            .app_data(self.state.clone())
            .app_data(self.site.clone())
            .app_data(web::PayloadConfig::new(self.body_bytes))
            .app_data(web::PathConfig::default().error_handler(api::undecodable_path))
            .configure(api::public)
            .into_app()
            .configure(configure_site)
            .configure(|config| {
                if let Some(sandbox) = sandbox {
                    sandbox::configure(sandbox)(config);
                }
            })
            .default_service(web::to(api::not_found))
    }
}

/// Listens with room for so many connections that no worker has taken yet; the kernel has its own limit besides
/// (`net.core.somaxconn`). Beyond it a SYN is dropped, and its client tries again after a second.
pub fn listen(address: &str, backlog: u32) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    // The standard library listens with 128.
    SockRef::from(&listener).listen(i32::try_from(backlog)?)?;
    Ok(listener)
}

/// The running listeners.
pub struct Servers {
    pub internal_address: SocketAddr,
    public: ServerHandle,
    internal: ServerHandle,
}

/// Starts both listeners.
pub fn start(config: &Config, parts: Parts) -> anyhow::Result<Servers> {
    let internal_address = parts.internal.local_addr()?;
    let (state, body_bytes) = (parts.public_side.state.clone(), parts.public_side.body_bytes);
    let public = HttpServer::new(move || parts.public_side.app());
    let internal = HttpServer::new(move || {
        App::new()
            .into_utoipa_app()
            .map(|app| app.wrap(security_headers()))
            .app_data(state.clone())
            .app_data(web::PayloadConfig::new(body_bytes))
            .app_data(web::PathConfig::default().error_handler(api::undecodable_path))
            .configure(api::internal)
            .into_app()
            .default_service(web::to(api::not_found))
    });
    let server = &config.server;
    // The bounds of R38, the same on both listeners. Signals are ours.
    macro_rules! bounded {
        ($http:expr) => {
            $http
                .disable_signals()
                .shutdown_timeout(server.stop_timeout.as_secs().max(1))
                .keep_alive(server.keep_alive)
                .client_request_timeout(server.head_timeout)
                .client_disconnect_timeout(server.disconnect_timeout)
                .max_connections(server.max_connections)
        };
    }
    // 0: one worker a core.
    let workers = match server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let public = bounded!(public).workers(workers).listen(parts.public)?.run();
    let internal = bounded!(internal).workers(1).listen(parts.internal)?.run();
    let servers = Servers { internal_address, public: public.handle(), internal: internal.handle() };
    tokio::spawn(public);
    tokio::spawn(internal);
    Ok(servers)
}

fn security_headers() -> middleware::DefaultHeaders {
    middleware::DefaultHeaders::new().add(("x-content-type-options", "nosniff"))
}

impl Servers {
    /// Stops accepting, then finishes what is under way.
    pub async fn stop(&self) {
        join(self.public.stop(true), self.internal.stop(true)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_of_connections_waits_in_the_backlog() {
        let listener = listen("127.0.0.1:0", 512).expect("a free port");
        let address = listener.local_addr().expect("bound");
        // Nobody accepts. A connection without room would be tried again after a second.
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(500));
        let connections: Result<Vec<TcpStream>, _> = (0..400).map(connect).collect();
        assert_eq!(connections.expect("room for all of them").len(), 400);
    }
}
