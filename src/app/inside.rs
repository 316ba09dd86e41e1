//! The inside, started over the adapters of the mode on this thread's arbiter.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::Arbiter;
use actors::bridge::{Bridge, BridgeSettings, Replayer, Sweep, SweepLoop, SweepSettings};
use actors::domain::events::Delays;
use actors::flash_sale::{ChallengeSecret, ChallengeSettings, FlashSaleSettings, FlashSales, LoadRule};
use actors::local::bus::{LocalBus, LocalBusSettings};
use actors::local::carts::StoreCarts;
use actors::local::coordination::LocalCoordination;
use actors::order::{OrderParts, OrderSettings, Orders};
use actors::ports::bus::Bus;
use actors::ports::carts::Carts;
use actors::ports::clock::{Clock, Entropy};
use actors::ports::coordination::Coordination;
use actors::ports::gateway::Gateway;
use actors::ports::store::Store;
use actors::reader::Reader;
use actors::stock::{StockDirectory, StockSettings};
use actors::webhook::{Delivering, Webhooks};
use actors::writer::{self, Listeners, Writer, WriterSettings};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::bus::rabbitmq::RabbitBus;
use crate::config::{Config, Mode};
use crate::coordination::redis::RedisCoordination;
use crate::machine::{SystemClock, SystemEntropy};
use crate::secret_file;
use crate::shutdown::Readiness;

use super::{cluster, webhooks};

/// Longest leave-taking from the broker.
const BROKER_LEAVE: Duration = Duration::from_secs(2);

/// Everything that decides, running.
pub struct Inside {
    pub store: Arc<dyn Store>,
    pub reader: Reader,
    pub writer: Writer,
    pub stock: Arc<StockDirectory>,
    pub sales: Arc<FlashSales>,
    pub orders: Arc<Orders>,
    pub webhooks: Arc<Webhooks>,
    delivering: Delivering,
    bridge: Bridge,
    sweep: SweepLoop,
    writer_task: JoinHandle<()>,
    /// The broker in cluster mode.
    rabbit: Option<Arc<RabbitBus>>,
}

impl Inside {
    /// Starts it. Must be called inside an actix `System`.
    pub async fn start(config: &Config, store: Arc<dyn Store>, gateway: Arc<dyn Gateway>) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let delays = Delays {
            order_create: config.order.payment_timeout + config.order.close_grace,
            order_create_flash: config.flash_sale.payment_timeout + config.order.close_grace,
        };
        // First what may refuse: nothing runs yet that would have to be stopped.
        let redis = redis(config).await?;
        let rabbit = match config.mode {
            Mode::Embedded => None,
            Mode::Cluster => Some(cluster::rabbitmq(config, delays).await?),
        };

        let reader = Reader::start(store.clone(), config.server.request_timeout);
        let (writer, inbox) = writer::channel(WriterSettings {
            queue: config.writer.queue,
            max_batch: config.writer.max_batch,
            max_wait: config.writer.max_wait,
            target_delay: config.writer.target_delay,
            retries: config.writer.retries,
            ..WriterSettings::default()
        });
        let stock_settings = StockSettings {
            mailbox: config.stock.queue,
            idle: config.stock.idle_stop,
            max_actors: config.stock.max_actors,
            request: config.server.request_timeout,
            ..StockSettings::default()
        };
        let arbiters = vec![Arbiter::current()];
        let stock = StockDirectory::new(store.clone(), writer.clone(), clock.clone(), stock_settings, arbiters);
        let (outbox, outbox_receiver) = mpsc::channel(config.bus.relay_queue);
        let listeners = Listeners { stock: stock.clone(), outbox: outbox.clone() };
        let webhooks = webhooks::build(config, store.clone(), writer.clone())?;
        let writer_task = tokio::spawn(inbox.run(store.clone(), listeners));

        let (coordination, carts) = coordination(config, redis, &store, &writer);
        let token_secret = token_secret(config)?;
        let sale_settings = flash_sale_settings(config, token_secret.clone());
        let orders = Orders::new(
            OrderParts {
                store: store.clone(),
                reader: reader.clone(),
                writer: writer.clone(),
                stock: stock.clone(),
                coordination: coordination.clone(),
                carts,
                gateway,
                clock: clock.clone(),
                entropy: entropy.clone(),
                token_secret,
            },
            order_settings(config),
        );
        let sales = FlashSales::new(
            store.clone(),
            coordination,
            writer.clone(),
            stock.clone(),
            clock.clone(),
            entropy.clone(),
            sale_settings,
        );
        sales.start().await?;

        let bus: Arc<dyn Bus> = match &rabbit {
            Some(rabbit) => {
                rabbit.park_through(writer.clone());
                rabbit.clone()
            }
            None => {
                let settings = LocalBusSettings::new(delays);
                LocalBus::open(store.clone(), writer.clone(), clock.clone(), settings).await?
            }
        };
        let bridge = Bridge::start(
            store.clone(),
            writer.clone(),
            bus,
            orders.clone(),
            clock,
            entropy,
            BridgeSettings::default(),
            outbox_receiver,
        );
        let sweep_settings =
            SweepSettings { interval: config.order.sweep_interval, ..SweepSettings::new(config.order.close_grace) };
        let sweep = Sweep::new(store.clone(), orders.clone(), outbox, sweep_settings).start();
        let delivering = webhooks.start();
        Ok(Self {
            store,
            reader,
            writer,
            stock,
            sales,
            orders,
            webhooks,
            delivering,
            bridge,
            sweep,
            writer_task,
            rabbit,
        })
    }

    /// Puts parked messages back to work.
    pub fn replayer(&self) -> Replayer {
        self.bridge.replayer()
    }

    /// What `/readyz` says: not before it is set, and not while the broker is there but a message could not arrive.
    pub fn readiness(&self) -> Readiness {
        match self.rabbit.as_ref().map(|rabbit| rabbit.status()) {
            Some(status) => Readiness::while_also(move || status.is_ready()),
            None => Readiness::default(),
        }
    }

    /// Stops in the order of R31: nothing new, then what is under way, then the writer, last of all.
    pub async fn stop(self) {
        self.delivering.stop().await;
        self.sweep.stop().await;
        self.sales.stop();
        self.bridge.stop().await;
        if let Some(rabbit) = self.rabbit {
            rabbit.close(BROKER_LEAVE).await;
        }
        self.stock.stop().await;
        drop((self.orders, self.webhooks, self.sales, self.stock, self.writer));
        // Handles that are still held elsewhere keep the writer waiting; what was accepted is committed by now.
        self.writer_task.abort();
    }
}

async fn redis(config: &Config) -> anyhow::Result<Option<RedisCoordination>> {
    Ok(match config.mode {
        Mode::Embedded => None,
        Mode::Cluster => Some(cluster::redis(config).await?),
    })
}

/// Coordination and carts: in Redis where there is one, else in this process and the store.
fn coordination(
    config: &Config,
    redis: Option<RedisCoordination>,
    store: &Arc<dyn Store>,
    writer: &Writer,
) -> (Arc<dyn Coordination>, Arc<dyn Carts>) {
    if let Some(redis) = redis {
        let carts = Arc::new(redis.carts());
        return (Arc::new(redis), carts);
    }
    let local = LocalCoordination::with_token_life(config.order.token_ttl);
    (Arc::new(local), Arc::new(StoreCarts::new(store.clone(), writer.clone())))
}

/// `order.token_secret`, or a secret that this data directory keeps.
fn token_secret(config: &Config) -> anyhow::Result<Vec<u8>> {
    if !config.order.token_secret.is_empty() {
        return Ok(config.order.token_secret.expose().as_bytes().to_vec());
    }
    let secret = secret_file::read_or_make(&config.data_dir.join("order-token-secret"), &SystemEntropy)?;
    Ok(secret.expose().as_bytes().to_vec())
}

fn order_settings(config: &Config) -> OrderSettings {
    OrderSettings {
        payment_timeout: config.order.payment_timeout,
        flash_payment_timeout: config.flash_sale.payment_timeout,
        token_ttl: config.order.token_ttl,
        request: config.server.request_timeout,
        closing_at_once: config.order.close_concurrency,
        close_blind_after: config.order.close_give_up,
        close_grace: config.order.close_grace,
        auto_confirm_days: config.order.auto_confirm_days,
        return_window: Duration::from_secs(u64::from(config.order.return_days) * 24 * 3600),
    }
}

fn flash_sale_settings(config: &Config, token_secret: Vec<u8>) -> FlashSaleSettings {
    FlashSaleSettings {
        attempts_per_sale: config.flash_sale.queue,
        max_batch: config.flash_sale.max_batch,
        refresh_every: config.flash_sale.refresh_interval,
        reconcile_every: config.flash_sale.reconcile_interval,
        waiters: config.flash_sale.max_waiters,
        waiters_per_user: config.flash_sale.max_waiters_per_user,
        wait_at_most: config.server.long_poll_timeout,
        challenge: challenge_settings(config, token_secret),
        ..FlashSaleSettings::default()
    }
}

fn challenge_settings(config: &Config, token_secret: Vec<u8>) -> ChallengeSettings {
    let challenge = &config.challenge;
    ChallengeSettings {
        secret: ChallengeSecret(token_secret),
        difficulty_bits: challenge.difficulty_bits,
        solve_within: challenge.solve_within,
        token_life: challenge.token_life,
        spent_tokens: challenge.spent_tokens,
        load: LoadRule {
            on_percent: challenge.load_on_percent,
            off_percent: challenge.load_off_percent,
            off_after: challenge.load_off_after,
        },
    }
}
