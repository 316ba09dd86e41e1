//! What cannot be opened: the message names the setting, and nothing is changed.

use std::sync::Arc;

use actors::local::clock::SeededEntropy;
use actors::ports::contract::store::world::RULES;
use actors::ports::store::StockReads;
use seckill::store::postgres::{OpenError, PostgresSettings, PostgresStore, StoreClock};
use sqlx::{AssertSqlSafe, Connection};

use super::database::{Database, owner, run};

async fn open(url: String) -> Result<PostgresStore, OpenError> {
    let settings = PostgresSettings { writers: 2, readers: 2, ..PostgresSettings::new(url) };
    PostgresStore::open(&settings, StoreClock::Database, Arc::new(SeededEntropy::new(1)), RULES).await
}

async fn refusal(url: String) -> OpenError {
    open(url).await.err().expect("refused")
}

fn assert_names_the_setting(refusal: &OpenError) {
    let text = refusal.to_string();
    assert!(text.starts_with("database.url"), "{text}");
}

/// Tables of a schema.
async fn tables(database: &Database) -> Vec<String> {
    let mut stranger = database.stranger().await;
    sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
        .fetch_all(&mut stranger)
        .await
        .expect("readable")
}

/// The address with another part in it, by the URL's own rules.
fn with(database: &Database, change: impl FnOnce(&mut reqwest::Url)) -> String {
    let mut url: reqwest::Url = database.url().parse().expect("an address");
    change(&mut url);
    url.to_string()
}

#[tokio::test]
async fn a_wrong_password_is_said() {
    let database = Database::empty().await;
    let refusal = refusal(with(&database, |url| url.set_password(Some("wrong")).expect("a password"))).await;
    assert!(matches!(refusal, OpenError::Refused { .. }), "{refusal:?}");
    assert_names_the_setting(&refusal);
    assert!(!refusal.to_string().contains("wrong"), "the password is not shown: {refusal}");
    assert_eq!(tables(&database).await, [""; 0]);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_said() {
    let database = Database::empty().await;
    let refusal = refusal(with(&database, |url| url.set_path("/seckill_no_such_database"))).await;
    assert!(matches!(refusal, OpenError::Refused { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("seckill_no_such_database"), "{refusal}");
}

#[tokio::test]
async fn a_host_where_nobody_answers_is_said() {
    // Bound and never listened on: nobody else can answer there meanwhile.
    let taken = tokio::net::TcpSocket::new_v4().expect("a socket");
    taken.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let refusal = refusal(format!("postgres://somebody:secret@127.0.0.1:{port}/seckill")).await;
    assert!(matches!(refusal, OpenError::Unreachable { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains(&format!("127.0.0.1:{port}")), "{refusal}");
    assert!(!refusal.to_string().contains("secret"), "the password is not shown: {refusal}");
    assert_names_the_setting(&refusal);
}

#[tokio::test]
async fn what_is_no_address_is_said() {
    let refusal = refusal("postgres://[".into()).await;
    assert!(matches!(refusal, OpenError::Url { .. }), "{refusal:?}");
    assert_names_the_setting(&refusal);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = Database::empty().await;
    database.open(StoreClock::Database, RULES).await.close().await;
    let before = tables(&database).await;
    let mut stranger = database.stranger().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of the future', TRUE, ''::bytea, 0)",
    )
    .execute(&mut stranger)
    .await
    .expect("the table is there");
    let refusal = refusal(database.url()).await;
    assert!(matches!(refusal, OpenError::NewerSchema { found: 9999, .. }), "{refusal:?}");
    assert_names_the_setting(&refusal);
    assert_eq!(tables(&database).await, before);
}

/// A user of the server with these rights, dropped with it.
struct Guest {
    name: String,
    url: String,
}

impl Guest {
    async fn new(database: &Database, rights: &[&str]) -> Self {
        let (schema, name) = (database.schema(), format!("{}_guest", database.schema()));
        let mut owner = owner().await;
        run(&mut owner, format!("CREATE ROLE {name} LOGIN PASSWORD 'guest'")).await;
        for right in rights {
            run(&mut owner, format!("GRANT {right} {schema} TO {name}")).await;
        }
        let url = with(database, |url| {
            url.set_username(&name).expect("a name");
            url.set_password(Some("guest")).expect("a password");
        });
        Self { name, url }
    }

    async fn drop(self) {
        let mut owner = owner().await;
        run(&mut owner, format!("DROP OWNED BY {}", self.name)).await;
        run(&mut owner, format!("DROP ROLE {}", self.name)).await;
    }
}

#[tokio::test]
async fn a_missing_permission_is_said() {
    let database = Database::empty().await;
    let guest = Guest::new(&database, &["USAGE ON SCHEMA"]).await;
    let refusal = refusal(guest.url.clone()).await;
    assert!(matches!(refusal, OpenError::Forbidden { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains(&guest.name), "{refusal}");
    assert_names_the_setting(&refusal);
    assert_eq!(tables(&database).await, [""; 0]);
    guest.drop().await;
}

#[tokio::test]
async fn serving_needs_no_right_to_make_tables() {
    let database = Database::empty().await;
    database.open(StoreClock::Database, RULES).await.close().await;
    let rights = [
        "USAGE ON SCHEMA",
        "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA",
        "USAGE ON ALL SEQUENCES IN SCHEMA",
    ];
    let guest = Guest::new(&database, &rights).await;
    let store = open(guest.url.clone()).await.expect("the schema is up to date");
    assert_eq!(store.stock_rows(actors::domain::SkuId(1)).await, Ok(vec![]));
    store.close().await;
    guest.drop().await;
}

#[tokio::test]
async fn nodes_that_start_together_migrate_once() {
    let database = Database::empty().await;
    let stores = futures_util::future::join_all((0..3).map(|_| open(database.url()))).await;
    for store in stores {
        store.expect("all of them can be opened").close().await;
    }
    let mut stranger = database.stranger().await;
    let (rows, versions): (i64, i64) = sqlx::query_as("SELECT count(*), count(DISTINCT version) FROM _sqlx_migrations")
        .fetch_one(&mut stranger)
        .await
        .expect("readable");
    assert_eq!(rows, versions);
    stranger.close().await.expect("closing");
}

#[tokio::test]
async fn the_ledger_is_append_only() {
    let database = Database::empty().await;
    let store = database.open(StoreClock::Database, RULES).await;
    store.load_demo().await.expect("the demo data is sound");
    let mut stranger = database.stranger().await;
    for table in ["wms_stock_ledger", "sandbox_money"] {
        for statement in
            [format!("UPDATE {table} SET id = id"), format!("DELETE FROM {table}"), format!("TRUNCATE {table}")]
        {
            let result = sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut stranger).await;
            let empty = table == "sandbox_money" && !statement.starts_with("TRUNCATE");
            match result {
                Ok(_) => assert!(empty, "{statement} changes nothing only where nothing is"),
                Err(refusal) => assert!(refusal.to_string().contains("append-only"), "{refusal}"),
            }
        }
    }
    store.close().await;
}

/// What is looked up once a statement instead of row by row refuses as a foreign key would.
#[tokio::test]
async fn rows_in_sets_refer_to_rows_that_stay() {
    let database = Database::empty().await;
    let store = database.open(StoreClock::Database, RULES).await;
    store.load_demo().await.expect("the demo data is sound");
    let mut stranger = database.stranger().await;
    let good = "INSERT INTO oms_order (member_id, order_sn, create_time, modify_time, member_username, total_amount,
                                       pay_amount, pay_type, status, pay_before)
                VALUES (1, 'an-order', 0, 0, 'user', 0, 0, 1, 0, 0)";
    sqlx::query(good).execute(&mut stranger).await.expect("an order refers to nothing");
    let item = "INSERT INTO oms_order_item (order_sn, line, sku_id, spu_id, category_id, sku_name, sku_pic, sku_price,
                                            sku_quantity, sku_attrs_vals)
                SELECT n, 0, 49, 1, 1, '', '', 1, 1, '' FROM unnest(ARRAY['an-order', 'no-order']) AS n";
    let lock = "INSERT INTO wms_stock_lock (order_sn, ware_sku_id, sku_id, num, create_time, modify_time)
                SELECT 'owner-' || n, n, 49, 1, 0, 0 FROM unnest(ARRAY[1, 999]) AS n";
    let grant = "INSERT INTO sms_flash_sale_grant (order_sn, sale_id, user_id, ordinal, create_time)
                 SELECT 'grant-' || n, n, 1, 1, 0 FROM unnest(ARRAY[1, 999]) AS n";
    // Of each pair the first row refers to something that is there: the whole statement is refused all the same.
    for insert in [item, lock, grant] {
        let refused = sqlx::query(insert).execute(&mut stranger).await;
        let code = refused.as_ref().err().and_then(|error| error.as_database_error()?.code().map(String::from));
        assert_eq!(code.as_deref(), Some("23503"), "{insert}: {refused:?}");
    }
    for change in [
        "DELETE FROM oms_order WHERE order_sn = 'an-order'",
        "UPDATE oms_order SET order_sn = 'another' WHERE order_sn = 'an-order'",
        "DELETE FROM wms_ware_sku",
        "UPDATE wms_ware_sku SET id = id + 1000",
        "DELETE FROM sms_flash_sale",
        "UPDATE sms_flash_sale SET id = id + 1000",
        "UPDATE wms_stock_lock SET ware_sku_id = 999",
        "UPDATE oms_order_item SET order_sn = 'no-order'",
        "UPDATE sms_flash_sale_grant SET sale_id = 999",
    ] {
        let refusal = sqlx::query(change).execute(&mut stranger).await.expect_err(change);
        assert!(refusal.to_string().contains("stay"), "{change}: {refusal}");
    }
    store.close().await;
}

#[tokio::test]
async fn demo_data_loads_once_and_leaves_the_next_numbers_free() {
    let database = Database::empty().await;
    let store = database.open(StoreClock::Database, RULES).await;
    futures_util::future::join(store.load_demo(), async {}).await.0.expect("the demo data is sound");
    store.load_demo().await.expect("it may be loaded again");
    let rows = store.stock_rows(actors::domain::SkuId(49)).await.expect("readable");
    assert_eq!(rows.iter().map(|row| (row.stock, row.locked)).collect::<Vec<_>>(), [(1000, 0), (1000, 0)]);
    let facts = actors::ports::store::AuditReads::facts(&store, 0).await.expect("readable");
    let report = actors::domain::invariants::check(&facts);
    assert!(report.is_ok(), "{:?}", report.broken());
    let mut stranger = database.stranger().await;
    sqlx::query("INSERT INTO ums_member (username, create_time) VALUES ('new', 0)")
        .execute(&mut stranger)
        .await
        .expect("the next number is free");
    store.close().await;
}
