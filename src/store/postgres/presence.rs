//! A pool that knows when its server is away, so that nobody waits for a connection that cannot come: while it is, one
//! caller at a time tries, the others are refused at once. While it is there, all connections are kept open: a burst must
//! not wait for logins, which cost the server and this process some milliseconds each.
//!
//! The driver could keep them open by itself (`min_connections`). But it replaces a lost connection by trying again and again
//! for five minutes, in pauses that double up to one, and holds the connection's place in the pool meanwhile: after an
//! outage everybody would be refused for as long again as it lasted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::ports::store::StoreError;
use futures_util::future::join_all;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connection::store_error;

/// How often a server that is away is tried.
const TRY_EVERY: Duration = Duration::from_millis(200);
/// A server that is there takes a connection within this.
const REACH_LIMIT: Duration = Duration::from_millis(300);
/// How often it is looked whether connections are missing.
const FILL_EVERY: Duration = Duration::from_millis(500);
/// How long opening them may take: the idle ones are held meanwhile.
const FILL_LIMIT: Duration = Duration::from_millis(250);
/// The pause after that was not enough: a server that lets no more in would otherwise cost the connections there are.
const FILL_AGAIN: Duration = Duration::from_secs(5);

/// Whether the server was there when it was last asked. Shared by the pools of one server.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// While it is away: when it may be tried again.
    next_try: Mutex<Option<Instant>>,
}

impl Presence {
    /// Whether to ask now. While the server is away the one caller who is told yes tries for all.
    fn may_ask(&self, now: Instant) -> bool {
        let mut next_try = self.lock();
        match *next_try {
            None => true,
            Some(at) if now < at => false,
            Some(_) => {
                *next_try = Some(now + TRY_EVERY);
                true
            }
        }
    }

    fn is_away(&self) -> bool {
        self.lock().is_some()
    }

    fn answered(&self) {
        if self.lock().take().is_some() {
            metrics::gauge!("seckill_store_away").set(0.0);
            tracing::info!("the database is back");
        }
    }

    fn did_not_answer(&self, now: Instant) {
        if self.lock().replace(now + TRY_EVERY).is_none() {
            metrics::gauge!("seckill_store_away").set(1.0);
            tracing::error!("the database is away; requests are refused until it is back");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.next_try.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pool and the presence of its server.
#[derive(Clone)]
pub(super) struct Watched {
    pool: PgPool,
    presence: Arc<Presence>,
    /// Where the server listens; `None` for a socket in the file system.
    address: Option<(Arc<str>, u16)>,
}

impl Watched {
    pub(super) fn new(pool: PgPool, presence: &Arc<Presence>) -> Self {
        let options = pool.connect_options();
        let address = options.get_socket().is_none().then(|| (Arc::from(options.get_host()), options.get_port()));
        Self { pool, presence: presence.clone(), address }
    }

    /// A connection.
    ///
    /// # Errors
    /// [`StoreError::Transient`]: at once while the server is away, after the pool's limit when none is free.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        if !self.presence.may_ask(Instant::now()) || (self.presence.is_away() && self.is_absent().await) {
            return Err(StoreError::Transient("the database is away".into()));
        }
        match self.pool.acquire().await {
            Ok(connection) => {
                self.presence.answered();
                Ok(connection)
            }
            Err(error) => {
                // A pool that is only busy is no reason to refuse everybody.
                if self.is_absent().await {
                    self.presence.did_not_answer(Instant::now());
                }
                Err(store_error(error))
            }
        }
    }

    /// Keeps all connections open until the pool is closed.
    pub(super) async fn keep_open(self) {
        let mut pause = FILL_EVERY;
        while !self.pool.is_closed() {
            tokio::time::sleep(pause).await;
            let is_filled = self.presence.is_away() || tokio::time::timeout(FILL_LIMIT, self.fill()).await.is_ok();
            pause = if is_filled { FILL_EVERY } else { FILL_AGAIN };
        }
    }

    /// Opens the connections that are missing.
    pub(super) async fn fill(&self) {
        let missing = self.pool.options().get_max_connections().saturating_sub(self.pool.size());
        if missing == 0 {
            return;
        }
        // Held meanwhile: the pool would give these before it opens others.
        let _idle: Vec<_> = std::iter::from_fn(|| self.pool.try_acquire()).collect();
        let open = || async {
            if let Err(error) = self.pool.acquire().await {
                tracing::debug!(%error, "a connection to the database could not be opened beforehand");
            }
        };
        join_all((0..missing).map(|_| open())).await;
    }

    /// Whether nobody takes a connection where the server should be.
    async fn is_absent(&self) -> bool {
        let Some((host, port)) = &self.address else { return false };
        let connecting = TcpStream::connect((&**host, *port));
        !matches!(tokio::time::timeout(REACH_LIMIT, connecting).await, Ok(Ok(_)))
    }

    /// The pool itself, for who has limits of his own.
    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_the_server_is_away_one_caller_at_a_time_tries() {
        let (presence, start) = (Presence::default(), Instant::now());
        assert!(presence.may_ask(start) && presence.may_ask(start), "all is well");
        presence.did_not_answer(start);
        assert!(!presence.may_ask(start));
        let later = start + TRY_EVERY;
        assert!(presence.may_ask(later), "one tries");
        assert!(!presence.may_ask(later), "the others do not");
        assert!(presence.may_ask(later + TRY_EVERY), "an attempt without an end does not block the next");
        presence.answered();
        assert!(presence.may_ask(later) && presence.may_ask(later));
    }
}
