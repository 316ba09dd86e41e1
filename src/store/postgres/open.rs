//! Connecting: the two pools, the session's settings, the server's version, the migrations.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};

use super::connection::Readers;
use super::presence::Watched;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The oldest server that is known to do what is asked of it.
const OLDEST_SERVER: i32 = 150_000;
/// How long connecting and migrating may take, waiting for another node's migration included.
const OPEN_LIMIT: Duration = Duration::from_secs(60);
/// A connection that was idle for longer is asked whether it still lives before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// Prepared statements kept on a connection: more than the adapter has.
const STATEMENTS: usize = 256;

/// How statements are planned: once for calls of any size. Left to itself the server plans some of them anew for every
/// call. A plan that is kept must hold when a table that was empty is full, and a sale fills it within seconds, so rows
/// are found by their keys whatever the statistics say of the moment. The audit, which reads everything, does without.
pub const PLANS: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // Both judge by estimates, and the ones of scans that are only discouraged are enormous.
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
];

/// How to reach the server, and the bounds of what is asked of it.
#[derive(Clone)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database`
    pub url: String,
    /// Connections that write: one per store writer, and one for each other writer to the same database.
    pub writers: u32,
    /// Connections that read.
    pub readers: u32,
    /// How long to wait for a free connection, or for a new one to be made.
    pub acquire_timeout: Duration,
    /// How long a statement waits for a row that another node holds.
    pub lock_timeout: Duration,
    /// Longest statement.
    pub statement_timeout: Duration,
    /// How long the server waits for the next statement of a transaction before it ends the session.
    pub idle_in_transaction_timeout: Duration,
}

impl PostgresSettings {
    /// The usual bounds.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            writers: 4,
            readers: 8,
            acquire_timeout: Duration::from_millis(800),
            lock_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(10),
            idle_in_transaction_timeout: Duration::from_secs(10),
        }
    }

    fn options(&self) -> Result<PgConnectOptions, OpenError> {
        let options = PgConnectOptions::from_str(&self.url).map_err(|source| OpenError::Url { source })?;
        let name = options.get_application_name().unwrap_or("seckill").to_owned();
        Ok(options.application_name(&name).statement_cache_capacity(STATEMENTS).disable_statement_logging())
    }

    /// With the limits that keep one session from holding up the others.
    fn bounded(&self, options: PgConnectOptions) -> PgConnectOptions {
        options.options([
            ("lock_timeout", milliseconds(self.lock_timeout)),
            ("statement_timeout", milliseconds(self.statement_timeout)),
            ("idle_in_transaction_session_timeout", milliseconds(self.idle_in_transaction_timeout)),
        ])
    }

    fn pool(&self, connections: u32) -> PgPoolOptions {
        PgPoolOptions::new()
            .max_connections(connections)
            // They are kept open by `Watched::keep_open`, not by the driver's `min_connections`.
            .idle_timeout(None)
            .acquire_timeout(self.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, metadata| {
                Box::pin(async move {
                    if metadata.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Why the database cannot be used. Each message names the setting to look at.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not an address.
    #[error("database.url cannot be read: {source}")]
    Url {
        /// Why.
        source: sqlx::Error,
    },
    /// Nobody answers there.
    #[error("database.url: no PostgreSQL server answers at {server}: {reason}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// Why.
        reason: String,
    },
    /// The server does not let this user in.
    #[error("database.url: the server at {server} refuses to log {user} in: {reason}")]
    Refused {
        /// Host and port.
        server: String,
        /// The user.
        user: String,
        /// The server's words.
        reason: String,
    },
    /// An old server.
    #[error("database.url: the server is PostgreSQL {found}, version 15 or newer is needed")]
    OldServer {
        /// Its version.
        found: String,
    },
    /// A newer binary has migrated the database.
    #[error(
        "database.url: the database has schema {found}, this binary knows up to {known}: start the newer binary, or restore a backup"
    )]
    NewerSchema {
        /// Newest migration in the database.
        found: i64,
        /// Newest migration in this binary.
        known: i64,
    },
    /// Nobody has migrated it yet.
    #[error("database.url: the database has no tables of this server")]
    Empty,
    /// The user may not do what is needed.
    #[error(
        "database.url: {user} may not do what is needed: {reason} (migrating needs CREATE on the schema; serving needs SELECT, INSERT, UPDATE, DELETE on its tables)"
    )]
    Forbidden {
        /// The user.
        user: String,
        /// The server's words.
        reason: String,
    },
    /// A migration failed or was altered.
    #[error("database.url: migrating the database: {0}")]
    Migration(MigrateError),
    /// It takes too long.
    #[error("database.url: connecting and migrating took longer than {} s", OPEN_LIMIT.as_secs())]
    TooSlow,
    /// Anything else.
    #[error("database.url: {0}")]
    Database(sqlx::Error),
}

/// Whom an error is about.
struct Peer {
    server: String,
    user: String,
}

impl Peer {
    fn of(options: &PgConnectOptions) -> Self {
        let server = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Self { server, user: options.get_username().to_owned() }
    }

    fn open_error(&self, error: sqlx::Error) -> OpenError {
        let (server, user) = (self.server.clone(), self.user.clone());
        match &error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => {
                OpenError::Unreachable { server, reason: error.to_string() }
            }
            sqlx::Error::Database(database) => {
                let reason = database.message().to_owned();
                match database.code().as_deref() {
                    // A wrong password or user, a database that does not exist, no CONNECT, no room.
                    Some("28P01" | "28000" | "3D000" | "53300") => OpenError::Refused { server, user, reason },
                    Some("57P03") => OpenError::Unreachable { server, reason },
                    Some("42501") => OpenError::Forbidden { user, reason },
                    _ => OpenError::Database(error),
                }
            }
            _ => OpenError::Database(error),
        }
    }

    fn migrate_error(&self, error: MigrateError) -> OpenError {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
                if error.as_database_error().and_then(|error| error.code()).as_deref() == Some("42501") =>
            {
                self.open_error(error)
            }
            error => OpenError::Migration(error),
        }
    }
}

/// Migrates, then opens the connections that write and those that read.
pub(super) async fn open(settings: &PostgresSettings) -> Result<(Watched, Readers), OpenError> {
    let options = settings.options()?;
    let peer = Peer::of(&options);
    tokio::time::timeout(OPEN_LIMIT, prepare(&options, &peer)).await.map_err(|_| OpenError::TooSlow)??;
    let bounded = settings.bounded(options).options(PLANS);
    let read_only = bounded.clone().options([("default_transaction_read_only", "on")]);
    let writers = settings.pool(settings.writers).connect_lazy_with(bounded);
    let readers = settings.pool(settings.readers).connect_lazy_with(read_only);
    let warm = async { warm(&writers).await.and(warm(&readers).await) };
    let warmed = tokio::time::timeout(OPEN_LIMIT, warm).await.map_err(|_| OpenError::TooSlow)?;
    warmed.map_err(|error| peer.open_error(error))?;
    let presence = Arc::default();
    let (writers, readers) = (Watched::new(writers, &presence), Watched::new(readers, &presence));
    for pool in [&writers, &readers] {
        pool.fill().await;
        tokio::spawn(pool.clone().keep_open());
    }
    Ok((writers, Readers(readers)))
}

/// Waits for the first connection. The limit of one acquisition is for requests; a server that has just answered may
/// take longer to let many in at once.
async fn warm(pool: &PgPool) -> Result<(), sqlx::Error> {
    loop {
        match pool.acquire().await {
            Err(sqlx::Error::PoolTimedOut) => tracing::debug!("the database takes its time to let us in"),
            acquired => return acquired.map(drop),
        }
    }
}

/// Refuses a database that no server has migrated.
pub(super) async fn require_schema(settings: &PostgresSettings) -> Result<(), OpenError> {
    let options = settings.options()?;
    let peer = Peer::of(&options);
    let look = async {
        let mut connection = options.connect().await.map_err(|error| peer.open_error(error))?;
        let applied = applied(&mut connection).await.map_err(|error| peer.open_error(error));
        // The server forgets the session either way.
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "closing the connection that looked");
        }
        applied
    };
    let applied = tokio::time::timeout(OPEN_LIMIT, look).await.map_err(|_| OpenError::TooSlow)??;
    if applied.is_empty() { Err(OpenError::Empty) } else { Ok(()) }
}

/// Looks at the server on a connection without limits, and brings its schema up to date.
async fn prepare(options: &PgConnectOptions, peer: &Peer) -> Result<(), OpenError> {
    let mut connection = options.connect().await.map_err(|error| peer.open_error(error))?;
    look(&mut connection, peer).await?;
    migrate(&mut connection, peer).await?;
    // The server forgets the session either way.
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing the migrating connection");
    }
    Ok(())
}

async fn look(connection: &mut PgConnection, peer: &Peer) -> Result<(), OpenError> {
    let (number, version, durable): (i32, String, bool) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                current_setting('fsync')::bool AND current_setting('synchronous_commit') <> 'off'",
    )
    .fetch_one(connection)
    .await
    .map_err(|error| peer.open_error(error))?;
    if number < OLDEST_SERVER {
        return Err(OpenError::OldServer { found: version });
    }
    if !durable {
        tracing::warn!("the server runs with fsync or synchronous_commit off: a crash there loses accepted orders");
    }
    Ok(())
}

async fn migrate(connection: &mut PgConnection, peer: &Peer) -> Result<(), OpenError> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let applied = applied(connection).await.map_err(|error| peer.open_error(error))?;
    if let Some(&(found, _)) = applied.last().filter(|(found, _)| *found > known) {
        return Err(OpenError::NewerSchema { found, known });
    }
    if is_current(&applied) {
        // A user without CREATE can serve on a schema that somebody else has migrated.
        return Ok(());
    }
    MIGRATIONS.run_direct(None, connection, false).await.map_err(|error| peer.migrate_error(error))
}

/// The migrations in the database with their checksums, in their order.
async fn applied(connection: &mut PgConnection) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let (exists,): (bool,) =
        sqlx::query_as("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
        .fetch_all(connection)
        .await
}

fn is_current(applied: &[(i64, Vec<u8>)]) -> bool {
    let known = MIGRATIONS.iter().map(|migration| (migration.version, &*migration.checksum));
    applied.iter().map(|(version, checksum)| (*version, checksum.as_slice())).eq(known)
}
