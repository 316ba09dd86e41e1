//! The past that growth is measured on (`bench_server fill`): every invariant holds in it. PostgreSQL is filled too when
//! `SECKILL_TEST_DATABASE_URL` names a server.

#[path = "../benches/server/fill.rs"]
mod fill;

use std::sync::Arc;
use std::time::Duration;

use actors::domain::invariants::check;
use actors::ports::store::{AuditReads, MemberReads, StoreRules};
use fill::{Place, Sizes, fill};
use seckill::machine::{SystemClock, SystemEntropy};
use seckill::store::postgres::{PostgresSettings, PostgresStore, StoreClock};
use seckill::store::sqlite::SqliteStore;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

const SIZES: Sizes = Sizes { skus: 20, members: 1_500, orders: 10_000 };
const RULES: StoreRules =
    StoreRules { items_per_message: 256, points_per_yuan: 1, close_grace: Duration::from_secs(60) };

async fn is_as_asked(store: &(impl AuditReads + MemberReads)) {
    let facts = store.facts(0).await.expect("it is readable");
    let report = check(&facts);
    assert_eq!(store.audit(0).await.expect("it is readable"), report, "judged page by page, as at once");
    assert!(report.is_ok(), "{:#?}", report.broken());
    assert_eq!(store.missing_points(0, 10).await.expect("it is readable"), [], "the sweep has nothing to do");
    assert_eq!(facts.orders.len(), 10_000);
    assert_eq!(facts.orders.iter().filter(|order| order.applied_payments == 1).count(), 7_150);
    assert_eq!(facts.stock.len(), 20 + 4, "the demo's rows are there, too");
    assert_eq!(facts.sales.iter().map(|sale| sale.grant_rows).collect::<Vec<_>>(), [50; 10]);
}

/// Breaks orders of every page, lock owners without an order, stock and members.
const BREAK: &str = "UPDATE wms_stock_lock SET num = num + 1 WHERE order_sn LIKE '%7';
     DELETE FROM oms_payment_info WHERE order_sn LIKE '%21';
     UPDATE wms_stock_lock SET order_sn = 'nobody-' || order_sn WHERE order_sn LIKE '%3';
     UPDATE ums_member SET integration = 0 WHERE id % 107 = 0";

async fn finds_the_same_in_pages(store: &(impl AuditReads + Sync)) {
    let mut at_once = check(&store.facts(0).await.expect("it is readable"));
    let mut in_pages = store.audit(0).await.expect("it is readable");
    for report in [&mut at_once, &mut in_pages] {
        report.invariants.iter_mut().for_each(|finding| finding.broken.sort_unstable());
    }
    for id in ["I3", "I4", "I9", "I10"] {
        assert!(at_once.invariants.iter().any(|finding| finding.id == id && !finding.is_ok()), "{id} is broken");
    }
    assert_eq!(in_pages, at_once);
}

#[tokio::test]
async fn a_filled_file_keeps_every_invariant() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("seckill.db");
    fill(&Place::File(path.clone()), RULES, SIZES).await.expect("an empty store can be filled");
    let store = SqliteStore::open(&path, Arc::new(SystemClock), Arc::new(SystemEntropy), RULES).await;
    let store = store.expect("it opens");
    is_as_asked(&store).await;

    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("the file");
    sqlx::raw_sql(BREAK).execute(&mut connection).await.expect("it is broken");
    finds_the_same_in_pages(&store).await;
}

#[tokio::test]
async fn a_filled_server_keeps_every_invariant() {
    let Ok(server) = std::env::var("SECKILL_TEST_DATABASE_URL") else { return };
    let schema = format!("seckill_test_filled_{}", std::process::id());
    let mut owner = PgConnection::connect(&server).await.expect("the server of the variable");
    sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut owner).await.expect("a new schema");
    let url = format!("{server}?options[search_path]={schema}");
    fill(&Place::Server(url.clone()), RULES, SIZES).await.expect("an empty store can be filled");
    let settings = PostgresSettings::new(&url);
    let store = PostgresStore::open(&settings, StoreClock::Database, Arc::new(SystemEntropy), RULES).await;
    let store = store.expect("it opens");
    is_as_asked(&store).await;

    let mut connection = PgConnection::connect(&url).await.expect("the schema");
    sqlx::raw_sql(BREAK).execute(&mut connection).await.expect("it is broken");
    finds_the_same_in_pages(&store).await;
    store.close().await;
    sqlx::query(AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"))).execute(&mut owner).await.expect("dropped");
}
