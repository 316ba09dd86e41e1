//! The answer of a COMMIT is lost on its way: whoever asked hears what became of it, and nothing happens twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_rt::Arbiter;
use actors::domain::order::{PayType, Receiver};
use actors::domain::reject::{Failure, Reject, Unavailable};
use actors::domain::{OrderSn, UserId};
use actors::flash_sale::{Attempt, FlashSaleSettings, FlashSales};
use actors::local::carts::StoreCarts;
use actors::local::clock::SeededEntropy;
use actors::local::coordination::LocalCoordination;
use actors::order::{Buyer, OrderParts, OrderSettings, Orders, SubmitRequest, Submitted};
use actors::ports::clock::Clock;
use actors::ports::contract::store::values::member;
use actors::ports::contract::store::world::{NORTH, PHONE, PRICE, RULES, World};
use actors::ports::store::{OrderFilter, Store};
use actors::reader::Reader;
use actors::stock::{StockDirectory, StockSettings};
use actors::testkit::FakeGateway;
use actors::writer::{self, Listeners, WriterSettings};
use futures_util::future::join_all;
use seckill::store::postgres::{PostgresSettings, PostgresStore, StoreClock};
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::nodes::world;

/// The query message of the wire protocol: type, length, text.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// A way to the server that lets a COMMIT through and cuts the connection before its answer.
#[derive(Clone, Default)]
struct Cutter {
    armed: Arc<AtomicUsize>,
    cut: Arc<AtomicUsize>,
}

impl Cutter {
    /// Opens the way; the settings that lead through it.
    async fn before(&self, settings: &PostgresSettings) -> PostgresSettings {
        let server: PgConnectOptions = settings.url.parse().expect("an address");
        let server = format!("{}:{}", server.get_host(), server.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let way = listener.local_addr().expect("bound").to_string();
        let (cutter, to) = (self.clone(), server.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&to).await.expect("the server is there");
                tokio::spawn(cutter.clone().pass(client, server));
            }
        });
        let url = settings.url.replacen(&format!("@{server}/"), &format!("@{way}/"), 1);
        assert_ne!(url, settings.url, "the address is changed");
        PostgresSettings { url: format!("{url}&sslmode=disable"), ..settings.clone() }
    }

    /// The next so many COMMITs lose their answer.
    fn arm(&self, commits: usize) {
        self.armed.store(commits, Ordering::SeqCst);
        self.cut.store(0, Ordering::SeqCst);
    }

    /// How many did.
    fn cut(&self) -> usize {
        self.cut.load(Ordering::SeqCst)
    }

    async fn pass(self, client: TcpStream, server: TcpStream) {
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let (last, is_last) = oneshot::channel();
        let answers = tokio::spawn(pass_answers(from_server, to_client, is_last));
        self.pass_requests(from_client, to_server, last).await;
        answers.await.expect("no panic");
    }

    /// Until the client leaves, or a COMMIT is to lose its answer. Nothing is sent along with a COMMIT.
    async fn pass_requests(&self, mut client: OwnedReadHalf, mut server: OwnedWriteHalf, last: oneshot::Sender<()>) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = client.read(&mut buffer).await {
            let spend = |left: usize| left.checked_sub(1);
            let is_cut =
                buffer[..read] == *COMMIT && self.armed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_ok();
            if is_cut {
                // Answers until now were passed on: a COMMIT waits for them.
                last.send(()).expect("the server is there");
                server.write_all(&buffer[..read]).await.expect("the server is there");
                self.cut.fetch_add(1, Ordering::SeqCst);
                // The server leaves on its own once the answers have no taker.
                return;
            }
            if server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    }
}

/// Until either side leaves. The answer after the last one is swallowed, and the client sees the connection end.
async fn pass_answers(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, mut is_last: oneshot::Receiver<()>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = server.read(&mut buffer).await {
        // It is sent before the COMMIT is, so this is the answer to nothing else.
        if is_last.try_recv().is_ok() || client.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// A node behind the cutter.
struct House {
    world: World,
    cutter: Cutter,
    sales: Arc<FlashSales>,
    orders: Arc<Orders>,
    _outbox: mpsc::Receiver<Vec<actors::domain::events::Message>>,
}

impl House {
    /// With so many phones. Must be opened inside an actix system.
    async fn open(phones: i64) -> Self {
        let (world, settings) = world().await;
        world.fixture.add_stock(PHONE, NORTH, phones).await;
        let cutter = Cutter::default();
        let clock: Arc<dyn Clock> = world.clock.clone();
        let entropy = Arc::new(SeededEntropy::new(1003));
        let settings = cutter.before(&settings).await;
        let store = PostgresStore::open(&settings, StoreClock::Given(clock.clone()), entropy.clone(), RULES).await;
        let store: Arc<dyn Store> = Arc::new(store.expect("it opens"));
        let (writer, task) = writer::channel(WriterSettings::default());
        let arbiters = vec![Arbiter::current()];
        let stock =
            StockDirectory::new(store.clone(), writer.clone(), clock.clone(), StockSettings::default(), arbiters);
        let (outbox, _outbox) = mpsc::channel(1);
        tokio::spawn(task.run(store.clone(), Listeners { stock: stock.clone(), outbox }));
        let coordination = Arc::new(LocalCoordination::new());
        let sales = FlashSales::new(
            store.clone(),
            coordination.clone(),
            writer.clone(),
            stock.clone(),
            clock.clone(),
            entropy.clone(),
            FlashSaleSettings::default(),
        );
        let parts = OrderParts {
            store: store.clone(),
            reader: Reader::start(store.clone(), Duration::from_secs(2)),
            writer: writer.clone(),
            stock,
            coordination,
            carts: Arc::new(StoreCarts::new(store, writer)),
            gateway: Arc::new(FakeGateway::default()),
            clock,
            entropy,
            token_secret: b"secret".to_vec(),
        };
        let orders = Orders::new(parts, OrderSettings::default());
        Self { world, cutter, sales, orders, _outbox }
    }

    async fn request(&self, user_id: UserId) -> SubmitRequest {
        SubmitRequest {
            token: self.orders.confirm(user_id, &[]).await.expect("a token").token,
            wants: vec![(PHONE, 1)],
            total: PRICE,
            pay_type: PayType::Online,
            delivery_company: String::new(),
            receiver: Receiver::default(),
            with_pay_page: true,
        }
    }

    async fn submit(&self, user_id: UserId, request: &SubmitRequest) -> Result<OrderSn, Failure> {
        let buyer = Buyer { user_id, username: format!("user{user_id}") };
        Ok(match self.orders.submit(&buyer, request.clone()).await? {
            Submitted::Placed(placed) => placed.order_sn,
            Submitted::Repeated(order) => order.order_sn,
        })
    }
}

#[actix_rt::test]
async fn winners_of_a_lost_answer_are_told_that_they_won() {
    let house = House::open(10).await;
    let (sale_id, _) = house.world.live_sale(10, 1).await;
    house.sales.start().await.expect("the store answers");
    let gate = house.sales.gate(sale_id).expect("the sale is known");
    house.cutter.arm(2);
    // The first two batches of grants.
    let mut won: Vec<OrderSn> = Vec::new();
    for users in [1..6, 6..11] {
        let told = join_all(users.map(|user| house.sales.attempt(&gate, UserId(user)))).await;
        for told in told {
            match told {
                Ok(Attempt::Won(order_sn)) => won.push(order_sn),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(house.cutter.cut(), 2, "two answers were lost");
    assert_eq!(won.iter().collect::<BTreeSet<_>>().len(), 10);
    let grants = house.world.store.grants(&won).await.expect("grants are readable");
    assert_eq!(grants.iter().map(|grant| &grant.order_sn).collect::<BTreeSet<_>>(), won.iter().collect());
    for user in 1..11 {
        let again = house.sales.attempt(&gate, UserId(user)).await;
        assert!(matches!(&again, Ok(Attempt::AlreadyWon(order_sn)) if won.contains(order_sn)), "{again:?}");
    }
    let late = house.sales.attempt(&gate, UserId(11)).await;
    assert!(matches!(late, Ok(Attempt::SoldOut)), "{late:?}");
    house.world.assert_sound().await;
    house.sales.stop();
}

#[actix_rt::test]
async fn a_submit_whose_answer_was_lost_is_answered_when_it_comes_again() {
    let house = House::open(9).await;
    let users: Vec<UserId> = (1..9).map(UserId).collect();
    for user_id in &users[2..] {
        house.world.fixture.add_member(&member(*user_id)).await;
    }
    let mut requests = Vec::new();
    for user_id in &users {
        requests.push(house.request(*user_id).await);
    }
    house.cutter.arm(1);
    let submit_all = || join_all(users.iter().zip(&requests).map(|(user_id, request)| house.submit(*user_id, request)));
    let first = submit_all().await;
    assert_eq!(house.cutter.cut(), 1, "an answer was lost");
    let is_unknown = |told: &Result<OrderSn, Failure>| {
        matches!(told, Err(Failure::Unavailable(Unavailable::Dependency(_)))) || told.is_ok()
    };
    assert!(first.iter().all(is_unknown) && first.iter().any(Result::is_err), "{first:?}");
    for (told, user_id) in submit_all().await.into_iter().zip(&users) {
        let all = OrderFilter { limit: 10, ..OrderFilter::default() };
        let orders = house.world.store.orders_of(*user_id, &all).await.expect("orders are readable");
        assert_eq!(orders.iter().map(|order| &order.order_sn).collect::<Vec<_>>(), [&told.expect("answered")]);
    }
    assert_eq!(house.world.stock(PHONE).await, (9, 8));
    let more = house.request(users[0]).await;
    house.submit(users[0], &more).await.expect("one unit is left");
    let none = house.request(users[1]).await;
    let refused = house.submit(users[1], &none).await;
    assert!(matches!(refused, Err(Failure::Rejected(Reject::StockShort(_)))), "{refused:?}");
    house.world.assert_sound().await;
}
