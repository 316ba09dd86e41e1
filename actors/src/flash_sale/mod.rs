//! The flash sale: the gate that refuses, the semaphore that decides in batches, the latch that lets winners wait.
//!
//! [`FlashSales`] keeps one [`Gate`] and one semaphore actor per open sale of the node, keeps both in step with the
//! store, and carries out the commands on sales. A win is a committed grant and nothing else (DESIGN rule 5).

mod challenge;
mod claims;
mod clock;
mod desk;
mod gate;
mod keyed;
mod latch;
mod life;
mod refresh;
mod sales;
mod semaphore;
mod shared;
mod winners;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use arc_swap::ArcSwapOption;
use futures_util::stream::{self, StreamExt};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::domain::flash_sale::{FlashSale, SaleState};
use crate::domain::reject::{Failure, Unavailable};
use crate::domain::{OrderSn, SaleId, SkuId, Timestamp, UserId};
use crate::ports::clock::{Clock, Entropy};
use crate::ports::coordination::Coordination;
use crate::ports::store::Store;
use crate::protocol::flash_sale::{CloseSemaphore, Reconcile, TryAcquire};
use crate::stock::StockDirectory;
use crate::supervise::{Refused, Reply, Turns};
use crate::writer::Writer;
use challenge::Challenges;
use clock::StoreClock;
use desk::Desk;
use latch::Latch;
use sales::{KnownSale, Sales};
use semaphore::SemaphoreActor;
use shared::Shared;

pub use crate::protocol::flash_sale::{Attempt, AttemptStatus, ChallengeFault, PathTokenFault, SaleFailure};
pub use challenge::{Challenge, ChallengeSecret, ChallengeSettings, Entry, LoadRule, NoPathToken, PathToken};
pub use gate::Gate;

/// Bounds and paces of the flash sales of a node.
#[derive(Clone, Debug)]
pub struct FlashSaleSettings {
    /// Attempts of one sale that may wait (`limits.attempts_per_sale`); more are refused with
    /// [`Unavailable::Overloaded`].
    pub attempts_per_sale: usize,
    /// Most buyers of one batch.
    pub max_batch: usize,
    /// Longest wait of an attempt for its answer. A win may still be committed after it; a repeat then hears of it.
    pub attempt_timeout: Duration,
    /// Longest store read.
    pub store_timeout: Duration,
    /// Longest commit, waiting in the writer included.
    pub commit_timeout: Duration,
    /// Longest call of the coordination.
    pub coordination_timeout: Duration,
    /// Longest rebuild of the permits: it carries every holder of the sale, and buyers wait for it no longer than
    /// `attempt_timeout`.
    pub rebuild_timeout: Duration,
    /// How often open sales and the store's clock are read.
    pub refresh_every: Duration,
    /// How often the permits of live sales are set from the store.
    pub reconcile_every: Duration,
    /// Most ended sales whose gates stay, to answer "ended".
    pub ended_gates: usize,
    /// How long they stay.
    pub ended_gate_life: Duration,
    /// Most buyers of a sale who are remembered to be at the limit.
    pub remembered_winners: usize,
    /// Most waiters of the node (R18).
    pub waiters: usize,
    /// Most waiters of one user (R18).
    pub waiters_per_user: usize,
    /// Longest wait for an order, whatever is asked.
    pub wait_at_most: Duration,
    /// How often waiters look at the store without a hint.
    pub poll_every: Duration,
    /// Terms and bounds of the admission challenge.
    pub challenge: ChallengeSettings,
    /// Threads for the semaphores; a sale stays on one. Empty: the thread that calls [`FlashSales::start`].
    pub arbiters: Vec<ArbiterHandle>,
}

impl Default for FlashSaleSettings {
    fn default() -> Self {
        Self {
            attempts_per_sale: 10_000,
            max_batch: 1_024,
            attempt_timeout: Duration::from_secs(5),
            store_timeout: Duration::from_secs(2),
            commit_timeout: Duration::from_secs(4),
            coordination_timeout: Duration::from_millis(500),
            rebuild_timeout: Duration::from_secs(5),
            refresh_every: Duration::from_millis(500),
            reconcile_every: Duration::from_secs(1),
            ended_gates: 256,
            ended_gate_life: Duration::from_secs(24 * 3600),
            remembered_winners: 100_000,
            waiters: 1_000,
            waiters_per_user: 2,
            wait_at_most: Duration::from_secs(10),
            poll_every: Duration::from_millis(500),
            challenge: ChallengeSettings::default(),
            arbiters: Vec::new(),
        }
    }
}

/// The flash sales of a node.
pub struct FlashSales {
    shared: Arc<Shared>,
    stock: Arc<StockDirectory>,
    sales: Sales,
    latch: ArcSwapOption<Latch>,
    starting_latch: Mutex<()>,
    /// Where actors run, from `start` on.
    arbiters: OnceLock<Vec<ArbiterHandle>>,
    is_stopping: AtomicBool,
    /// Keyed attempts that are being decided.
    keyed: Turns,
    challenges: Challenges,
}

impl FlashSales {
    /// Knows no sale until [`Self::start`].
    pub fn new(
        store: Arc<dyn Store>,
        coordination: Arc<dyn Coordination>,
        writer: Writer,
        stock: Arc<StockDirectory>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        settings: FlashSaleSettings,
    ) -> Arc<Self> {
        let clock = StoreClock::new(clock);
        let challenges = Challenges::new(settings.challenge.clone(), entropy.as_ref());
        Arc::new(Self {
            shared: Arc::new(Shared { store, coordination, writer, clock, entropy, settings }),
            stock,
            sales: Sales::default(),
            latch: ArcSwapOption::empty(),
            starting_latch: Mutex::new(()),
            arbiters: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
            keyed: Turns::default(),
            challenges,
        })
    }

    /// Loads the sales, restores the permits of open ones from the store, and keeps both in step from then on. Must be
    /// called once, inside an actix `System`.
    ///
    /// # Errors
    /// When the store does not answer, or without a `System`. A coordination that is away is no error: the permits are
    /// then restored when it is back.
    pub async fn start(self: &Arc<Self>) -> Result<(), Unavailable> {
        let here =
            Arbiter::try_current().ok_or_else(|| Unavailable::Dependency("no actor system is running".into()))?;
        let of_semaphores = match self.shared.settings.arbiters.as_slice() {
            [] => vec![here.clone()],
            given => given.to_vec(),
        };
        if self.arbiters.set(of_semaphores).is_err() {
            return Ok(());
        }
        let now = self.shared.read(self.shared.clock.sync(self.shared.store.as_ref())).await?;
        self.load_ended(now).await?;
        let open = self.shared.read(self.shared.store.open_sales()).await?;
        let restored = stream::iter(open).map(|sale| self.open(sale));
        restored.buffer_unordered(RESTORED_AT_ONCE).collect::<Vec<()>>().await;
        self.latch();
        refresh::spawn(self, &here);
        Ok(())
    }

    async fn load_ended(&self, now: Timestamp) -> Result<(), Unavailable> {
        let settings = &self.shared.settings;
        let latest = self.shared.read(self.shared.store.sales(settings.ended_gates)).await?;
        for sale in latest.into_iter().filter(|sale| sale.state == SaleState::Ended) {
            // When it ended is not kept; the end of its window is, and ended early it ended before now.
            let ended_at = sale.ends_at.min(now);
            let known = self.sales.add(self.known(sale));
            self.sales.retire(&known, ended_at);
        }
        self.sales.forget(settings.ended_gates, now.minus(settings.ended_gate_life));
        Ok(())
    }

    /// The store's time, as well as this node knows it.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// The gate of a sale that is open or ended lately.
    pub fn gate(&self, sale_id: SaleId) -> Option<Arc<Gate>> {
        self.sales.gate(sale_id)
    }

    /// The gate of a SKU's open sale, failing that of the one that ended last, if lately.
    pub fn gate_of_sku(&self, sku_id: SkuId) -> Option<Arc<Gate>> {
        self.sales.gate_of_sku(sku_id)
    }

    /// How many semaphores run.
    pub fn active(&self) -> usize {
        self.sales.all().iter().filter(|sale| sale.has_semaphore()).count()
    }

    /// One attempt of a buyer to win one unit. Asks the gate first, so callers need not.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when too many attempts wait; [`Unavailable::Dependency`] when permits are missing
    /// while units remain, or a port is away. Trying again is safe: who won hears of it.
    pub async fn attempt(&self, gate: &Gate, user_id: UserId) -> Result<Attempt, Failure> {
        if let Some(refusal) = gate.refuse_early_for(user_id, self.now()) {
            return Ok(refusal);
        }
        if let Some(first) = gate.first_win(user_id) {
            return Ok(Attempt::AlreadyWon(first));
        }
        Ok(self.queue(gate.sale_id(), user_id, self.shared.entropy.next_u64()).await?)
    }

    async fn queue(&self, sale_id: SaleId, user_id: UserId, number: u64) -> Result<Attempt, Unavailable> {
        self.check_running()?;
        let Some(sale) = self.sales.get(sale_id) else { return Ok(Attempt::Ended) };
        let place = sale.places.try_enter().map_err(|refused| match refused {
            Refused::Full => Unavailable::Overloaded,
            Refused::Closed => Unavailable::Stopping,
        })?;
        let (reply, answer) = Reply::new(place);
        self.tell(&sale, TryAcquire { user_id, number, reply })?;
        match timeout(self.shared.settings.attempt_timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Unavailable::Dependency("the semaphore of the sale stopped".into())),
            Err(_) => Err(Unavailable::Dependency("the attempt was not decided in time".into())),
        }
    }

    /// Waits for the order of a grant, at most `at_most` and at most `wait_at_most`. No time at all asks once.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when too many wait, on the node or of this user; [`Unavailable::Dependency`] when
    /// the store did not answer.
    pub async fn wait(&self, user: UserId, order_sn: &OrderSn, at_most: Duration) -> Result<AttemptStatus, Failure> {
        if at_most.is_zero() {
            let grants = self.shared.read(self.shared.store.grants(std::slice::from_ref(order_sn))).await?;
            return Ok(latch::status_of(grants.first(), user));
        }
        self.check_running()?;
        let latch = self.latch().ok_or(Unavailable::Stopping)?;
        Ok(latch.wait(user, order_sn, at_most.min(self.shared.settings.wait_at_most)).await?)
    }

    /// Reads a sale and takes what changed: opens, updates or retires its gate.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refresh_sale(&self, sale_id: SaleId) -> Result<(), Unavailable> {
        if let Some(sale) = self.shared.read(self.shared.store.sale(sale_id)).await? {
            self.take(sale).await;
        }
        Ok(())
    }

    /// Refuses new attempts and waits; what is being decided is decided.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        for sale in self.sales.all() {
            close_semaphore(&sale);
        }
        if let Some(latch) = self.latch.swap(None) {
            latch.close();
        }
    }

    fn check_running(&self) -> Result<(), Unavailable> {
        match self.is_stopping.load(Ordering::Acquire) {
            true => Err(Unavailable::Stopping),
            false => Ok(()),
        }
    }

    /// Takes a fresh read of a sale.
    async fn take(&self, sale: FlashSale) {
        match self.sales.get(sale.id) {
            None if desk::is_open(&sale) => self.open(sale).await,
            None => {}
            Some(known) if desk::is_open(&sale) => self.update(&known, sale),
            Some(known) => self.retire(&known, sale).await,
        }
    }

    /// Units came back to a sold-out sale: its semaphore sets the permits before the gate lets anybody in.
    fn update(&self, known: &KnownSale, sale: FlashSale) {
        let has_units_again = known.gate.is_sold_out() && sale.remaining() > 0;
        if !has_units_again || self.tell(known, Reconcile { reply: None }).is_err() {
            known.gate.observe(sale);
        }
    }

    /// Makes the gate of an open sale and restores its permits.
    async fn open(&self, sale: FlashSale) {
        let sale_id = sale.id;
        let known = self.sales.add(self.known(sale));
        let (reply, restored) = oneshot::channel();
        let restored = match self.tell(&known, Reconcile { reply: Some(reply) }) {
            Err(unavailable) => Err(unavailable),
            Ok(()) => match timeout(self.shared.settings.attempt_timeout, restored).await {
                Ok(Ok(result)) => result,
                _ => Err(Unavailable::Dependency("the semaphore did not answer".into())),
            },
        };
        if let Err(unavailable) = restored {
            // The sale stays open: its first batch tries again.
            tracing::warn!(%sale_id, %unavailable, "the permits of a sale are not restored yet");
        }
    }

    /// The sale ended: its gate says so for a while, its semaphore and its permits go.
    async fn retire(&self, known: &KnownSale, sale: FlashSale) {
        let sale_id = sale.id;
        known.gate.observe(sale);
        if !self.sales.retire(known, self.now()) {
            return;
        }
        close_semaphore(known);
        if let Err(unavailable) = self.shared.ask(self.shared.coordination.forget(sale_id)).await {
            tracing::warn!(%sale_id, %unavailable, "the permits of an ended sale are left behind");
        }
    }

    fn known(&self, sale: FlashSale) -> KnownSale {
        let settings = &self.shared.settings;
        KnownSale::new(Gate::new(sale, settings.remembered_winners), settings.attempts_per_sale)
    }

    fn tell<M>(&self, sale: &KnownSale, message: M) -> Result<(), Unavailable>
    where
        M: Message<Result = ()> + Send + 'static,
        SemaphoreActor: Handler<M>,
    {
        let arbiter = self.arbiter_of(sale.gate.sale_id()).ok_or(Unavailable::Stopping)?;
        sale.tell(message, || {
            let desk = Desk::new(sale.gate.clone(), self.shared.clone());
            let max_batch = self.shared.settings.max_batch;
            SemaphoreActor::start_in_arbiter(arbiter, move |_| SemaphoreActor::new(desk, max_batch))
        });
        Ok(())
    }

    fn arbiter_of(&self, sale_id: SaleId) -> Option<&ArbiterHandle> {
        let arbiters = self.arbiters.get()?;
        let place = usize::try_from(sale_id.0.unsigned_abs()).unwrap_or(0) % arbiters.len();
        arbiters.get(place)
    }

    /// The latch, a new one if the last died.
    fn latch(&self) -> Option<Arc<Latch>> {
        if let Some(latch) = self.latch.load_full().filter(|latch| latch.is_alive()) {
            return Some(latch);
        }
        let _one_at_a_time = self.starting_latch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(latch) = self.latch.load_full().filter(|latch| latch.is_alive()) {
            return Some(latch);
        }
        self.check_running().ok()?;
        let latch = Arc::new(Latch::start(self.arbiters.get()?.first()?, self.shared.clone()));
        self.latch.store(Some(latch.clone()));
        Some(latch)
    }
}

/// How many sales are restored at the same time at start.
const RESTORED_AT_ONCE: usize = 16;

fn close_semaphore(sale: &KnownSale) {
    if let Some(semaphore) = sale.take_semaphore() {
        semaphore.do_send(CloseSemaphore); // Once for each semaphore.
    }
}
