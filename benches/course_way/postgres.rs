//! Stock under a fair Redis lock, orders one transaction each, and both with the message: a whole order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

use super::messages::{Broker, Publisher};
use super::{Client, Effort, Part, measure};

const LOCK: &str = "course-way:lock";
/// More connections than this do not make it faster: most clients wait for the lock.
const CONNECTIONS: usize = 64;

pub async fn run(
    effort: Effort,
    database: &str,
    redis: &str,
    migrations: &Path,
    broker: Option<&Broker>,
) -> anyhow::Result<()> {
    let server: PgConnectOptions = database.parse()?;
    let mut admin = PgConnection::connect_with(&server).await?;
    sqlx::raw_sql("DROP DATABASE IF EXISTS course_way WITH (FORCE)").execute(&mut admin).await?;
    sqlx::raw_sql("CREATE DATABASE course_way").execute(&mut admin).await?;
    let connections = u32::try_from(effort.clients.min(CONNECTIONS))?;
    let pool = PgPoolOptions::new().max_connections(connections).min_connections(connections);
    let pool = pool.connect_with(server.database("course_way")).await?;
    Migrator::new(migrations).await.context("migrations")?.run(&pool).await?;
    fill(&pool).await?;
    let result = measure_all(effort, &pool, redis, broker).await;
    pool.close().await;
    sqlx::raw_sql("DROP DATABASE course_way WITH (FORCE)").execute(&mut admin).await?;
    result
}

async fn fill(pool: &PgPool) -> anyhow::Result<()> {
    const ROWS: &[&str] = &[
        "INSERT INTO pms_sku_info (sku_id, sku_name, sku_title, price)
         SELECT n, 'sku', 'apple iphone xr 8g,白色,256', 1000000 FROM generate_series(1, 1000) AS n",
        "INSERT INTO wms_ware_info (id, name) VALUES (1, '上海仓')",
        "INSERT INTO wms_ware_sku (sku_id, ware_id, stock) SELECT n, 1, 1000000000 FROM generate_series(1, 1000) AS n",
    ];
    for statement in ROWS {
        sqlx::query(*statement).execute(pool).await?;
    }
    Ok(())
}

async fn measure_all(effort: Effort, pool: &PgPool, redis: &str, broker: Option<&Broker>) -> anyhow::Result<()> {
    let redis = redis::Client::open(redis)?;
    let mut setup = redis.get_multiplexed_async_connection().await?;
    let () = setup.del(LOCK).await?;
    let () = setup.rpush(LOCK, "token").await?;

    let numbers = Arc::new(AtomicU64::new(0));
    let order = || Orders { pool: pool.clone(), numbers: numbers.clone() };
    if effort.wants(Part::Stock) {
        let mut stocks = Vec::new();
        for _ in 0..effort.clients {
            stocks.push(Stock::open(pool, &redis, &setup).await?);
        }
        measure("PostgreSQL, one SKU: fair Redis lock, SELECT, UPDATE", effort, stocks).await?;
    }
    if effort.wants(Part::Orders) {
        let orders = (0..effort.clients).map(|_| order()).collect();
        measure("PostgreSQL, one order a transaction", effort, orders).await?;
    }
    if effort.wants(Part::Whole) {
        let mut whole = Vec::new();
        for _ in 0..effort.clients {
            let publisher = match broker {
                Some(broker) => Some(broker.publisher().await?),
                None => None,
            };
            whole.push(Whole { stock: Stock::open(pool, &redis, &setup).await?, orders: order(), publisher });
        }
        let name = if broker.is_some() { "with its message" } else { "without a message" };
        measure(&format!("a whole order: lock, stock, order, {name}"), effort, whole).await?;
    }
    let () = setup.del(LOCK).await?;
    Ok(())
}

struct Stock {
    pool: PgPool,
    /// Blocks in BLPOP, so each client has its own.
    waiting: MultiplexedConnection,
    shared: MultiplexedConnection,
}

impl Stock {
    async fn open(pool: &PgPool, redis: &redis::Client, shared: &MultiplexedConnection) -> anyhow::Result<Self> {
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let waiting = redis.get_multiplexed_async_connection_with_config(&patient).await?;
        Ok(Self { pool: pool.clone(), waiting, shared: shared.clone() })
    }

    async fn lock_unit(&mut self, order_sn: &str) -> anyhow::Result<()> {
        let _: (String, String) = self.waiting.blpop(LOCK, 30.0).await?;
        let decided = self.decide().await;
        let () = self.shared.rpush(LOCK, "token").await?;
        let row = decided?;
        let () = self.shared.set_ex(format!("course-way:stock:{order_sn}"), row, 60).await?;
        Ok(())
    }

    async fn decide(&self) -> anyhow::Result<i64> {
        let rows: Vec<(i64,)> =
            sqlx::query_as("SELECT id FROM wms_ware_sku WHERE sku_id = $1 AND stock - stock_locked >= $2")
                .bind(49_i64)
                .bind(1_i64)
                .fetch_all(&self.pool)
                .await?;
        let (id,) = rows.first().copied().context("no stock")?;
        sqlx::query("UPDATE wms_ware_sku SET stock_locked = stock_locked + $1 WHERE id = $2")
            .bind(1_i64)
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(id)
    }
}

impl Client for Stock {
    async fn go(&mut self) -> anyhow::Result<()> {
        self.lock_unit("one").await
    }
}

struct Orders {
    pool: PgPool,
    numbers: Arc<AtomicU64>,
}

impl Orders {
    async fn place(&self) -> anyhow::Result<String> {
        let order_sn = format!("20260101000000000{:015}", self.numbers.fetch_add(1, Ordering::Relaxed));
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO oms_order (member_id, order_sn, create_time, modify_time, member_username, total_amount,
                 pay_amount, pay_type, status, pay_before, receiver_name, receiver_phone, receiver_province,
                 receiver_city, receiver_detail_address)
             VALUES ($1, $2, 1, 1, 'user', 1000000, 1000000, 1, 0, 2, '李先锋', '13888888888', '上海', '上海市', '大江大厦6层')",
        )
        .bind(1_i64)
        .bind(&order_sn)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO oms_order_item (order_sn, line, sku_id, spu_id, category_id, sku_name, sku_pic, sku_price,
                 sku_quantity, sku_attrs_vals)
             VALUES ($1, 0, 49, 7, 225, 'apple iphone xr 8g,白色,256', '', 1000000, 1, '[]')",
        )
        .bind(&order_sn)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(order_sn)
    }
}

impl Client for Orders {
    async fn go(&mut self) -> anyhow::Result<()> {
        self.place().await.map(drop)
    }
}

struct Whole {
    stock: Stock,
    orders: Orders,
    publisher: Option<Publisher>,
}

impl Client for Whole {
    async fn go(&mut self) -> anyhow::Result<()> {
        self.stock.lock_unit("one").await?;
        let order_sn = self.orders.place().await?;
        match &self.publisher {
            Some(publisher) => publisher.publish(&order_sn).await,
            None => Ok(()),
        }
    }
}
