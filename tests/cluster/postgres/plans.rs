//! No statement reads a big table without an index, planned as the store's sessions plan: sequential scans are made
//! dear, so that one in a plan means that there is no index to take. Nor does one that was planned when the tables were
//! empty: its plan is kept while a sale fills them.

use actors::ports::contract::store::world::RULES;
use seckill::store::postgres::{PLANS, StoreClock};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};

use super::database::{Database, run};
use crate::stores::{BIG, statements};

/// Partial indices that hold only what is under way: reading all of one is reading what was asked for.
const SHORT: [&str; 2] = ["wms_stock_lock_open", "oms_refund_info_pending"];

/// A long life in short: many of everything, nearly all of it over.
const FILLING: [&str; 16] = [
    "INSERT INTO oms_order (member_id, order_sn, order_token, create_time, modify_time, member_username, total_amount,
                            pay_amount, pay_type, status, pay_before)
     SELECT n % 500, 'order-' || n, 'token-' || n, n, n, 'user', 1, 1, 1, CASE WHEN n % 50 = 0 THEN 0 ELSE 1 END, n
     FROM generate_series(1, 5000) AS n",
    "INSERT INTO oms_order_item (order_sn, line, sku_id, spu_id, category_id, sku_name, sku_pic, sku_price,
                                 sku_quantity, sku_attrs_vals)
     SELECT 'order-' || n, 0, 49, 1, 1, '', '', 1, 1, '' FROM generate_series(1, 5000) AS n",
    "INSERT INTO oms_order_operate_history (order_sn, operate_man, create_time, order_status)
     SELECT 'order-' || n, 'system', n, 1 FROM generate_series(1, 5000) AS n",
    "INSERT INTO oms_payment_info (order_sn, alipay_trade_no, total_amount, payment_status, create_time)
     SELECT 'order-' || n, 'trade-' || n, 1, 'APPLIED', n FROM generate_series(1, 5000) AS n",
    "INSERT INTO oms_refund_info (order_return_id, order_sn, trade_no, refund, refund_sn, refund_status, create_time)
     SELECT n, 'order-' || n, 'trade-' || n, 1, 'refund-' || n, CASE WHEN n % 50 = 0 THEN 0 ELSE 1 END, n
     FROM generate_series(1, 5000) AS n",
    "INSERT INTO oms_order_return_apply (order_sn, sku_id, create_time, member_username, return_amount, status, sku_count)
     SELECT 'order-' || n, 49, n, 'user', 1, CASE WHEN n % 50 = 0 THEN 0 ELSE 2 END, 1
     FROM generate_series(1, 5000) AS n",
    "INSERT INTO wms_stock_lock (order_sn, ware_sku_id, sku_id, num, state, create_time, modify_time)
     SELECT 'order-' || n, 1, 49, 1, CASE WHEN n % 50 = 0 THEN 0 ELSE 1 END, n, n FROM generate_series(1, 5000) AS n",
    "INSERT INTO wms_stock_ledger (ware_sku_id, kind, delta, stock_after, create_time)
     SELECT 1, 'sale', 0, 0, n FROM generate_series(1, 5000) AS n",
    "INSERT INTO sms_flash_sale (sku_id, price, count, per_user_limit, start_time, end_time, state, create_time)
     SELECT 49, 1, 1, 1, 0, 1, 3, n FROM generate_series(1, 1000) AS n",
    "INSERT INTO sms_flash_sale_grant (order_sn, sale_id, user_id, ordinal, state, create_time)
     SELECT 'order-' || n, 1 + n % 1000, n, 1, CASE WHEN n % 50 = 0 THEN 0 ELSE 2 END, n
     FROM generate_series(1, 5000) AS n",
    "INSERT INTO mq_outbox (message_id, routing_key, payload, create_time, published_time)
     SELECT 'message-' || n, 'order.close', '{}', n, CASE WHEN n % 50 = 0 THEN NULL ELSE n END
     FROM generate_series(1, 5000) AS n",
    "INSERT INTO mq_inbox (consumer, message_id, create_time)
     SELECT 'order.success', 'message-' || n, n FROM generate_series(1, 5000) AS n",
    "INSERT INTO mq_parked (message_id, queue, payload, reason, create_time, replay_time)
     SELECT 'message-' || n, 'ORDER-CLOSE-QUEUE', '{}', '', n, CASE WHEN n % 50 = 0 THEN NULL ELSE n END
     FROM generate_series(1, 5000) AS n",
    "INSERT INTO ums_integration_change_history (member_id, order_sn, change_count, create_time)
     SELECT n % 500, 'order-' || n, 0, n FROM generate_series(1, 5000) AS n",
    "INSERT INTO webhook_endpoint (url, events, enabled, secret, version, create_time, modify_time)
     SELECT 'https://shop.example/', 1, 1, '', 1, n, n FROM generate_series(1, 20) AS n",
    "INSERT INTO webhook_delivery (endpoint_id, message_id, event_type, body, state, due_time, create_time)
     SELECT 1 + n % 20, 'message-' || n, 'order.paid', '{}', CASE WHEN n % 50 = 0 THEN 0 ELSE 1 END, n, n
     FROM generate_series(1, 5000) AS n",
];

/// A session that plans as the store's do, on a database with the demo data and what else is done to it.
async fn planning(database: &Database, statements: &[impl AsRef<str>]) -> PgConnection {
    let store = database.open(StoreClock::Database, RULES).await;
    store.load_demo().await.expect("the demo data is sound");
    store.close().await;
    let mut session = database.stranger().await;
    for statement in statements {
        run(&mut session, statement.as_ref().to_owned()).await;
    }
    // Not of an empty store: a server does not look at one by itself. Nor at all there is: other tests have tables, too.
    if !statements.is_empty() {
        run(&mut session, format!("ANALYZE {}", BIG.join(", "))).await;
    }
    for (setting, value) in PLANS {
        run(&mut session, format!("SET {setting} = {value}")).await;
    }
    session
}

/// Where the store's statements would read a big table from end to end.
async fn scans(session: &mut PgConnection) -> Vec<String> {
    let mut scans = Vec::new();
    for statement in statements("postgres", "= ANY($1)") {
        for node in nodes(&explain(session, &statement).await) {
            scans.extend(unindexed(&node).map(|table| format!("{table}: {node}\n{statement}")));
        }
    }
    scans
}

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let database = Database::empty().await;
    let mut session = planning(&database, &FILLING).await;
    let scans = scans(&mut session).await;
    assert!(scans.is_empty(), "\n{}", scans.join("\n\n"));
}

/// As planned when the tables had no rows, and when the server had looked at them last with the first few in them:
/// it looks by itself once there are fifty.
#[tokio::test]
async fn every_statement_does_that_was_planned_before_the_tables_were_filled() {
    let first_rows = FILLING.map(|statement| statement.replace("(1, 5000)", "(1, 60)"));
    for rows in [[].as_slice(), &first_rows] {
        let database = Database::empty().await;
        let mut session = planning(&database, rows).await;
        let scans = scans(&mut session).await;
        assert!(scans.is_empty(), "planned after {} fillings\n{}", rows.len(), scans.join("\n\n"));
    }
}

#[tokio::test]
async fn a_statement_without_an_index_would_be_found() {
    let database = Database::empty().await;
    let mut session = planning(&database, &FILLING).await;
    let plan = explain(&mut session, "SELECT 1 FROM oms_order WHERE receiver_phone = $1 ORDER BY id").await;
    assert_eq!(nodes(&plan).iter().filter_map(unindexed).collect::<Vec<_>>(), ["oms_order"]);
}

#[tokio::test]
async fn a_list_of_all_rows_made_for_each_call_would_be_found() {
    let database = Database::empty().await;
    let mut session = planning(&database, &[""; 0]).await;
    let made =
        "SELECT asked, EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = asked) FROM unnest($1::text[]) AS asked";
    let plan = explain(&mut session, made).await;
    assert_eq!(nodes(&plan).iter().filter_map(unindexed).collect::<Vec<_>>(), ["oms_order"]);
}

async fn explain(session: &mut PgConnection, statement: &str) -> Value {
    run(session, format!("PREPARE explained AS {statement}")).await;
    let count = (1..).take_while(|n| statement.contains(&format!("${n}"))).count();
    let nulls = vec!["NULL"; count].join(", ");
    let execute = if count == 0 { "EXECUTE explained".into() } else { format!("EXECUTE explained ({nulls})") };
    let explain = sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {execute}")));
    let plan: Value = explain.fetch_one(&mut *session).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    run(session, "DEALLOCATE explained".into()).await;
    plan[0]["Plan"].clone()
}

/// A node of a plan and all below it.
fn nodes(plan: &Value) -> Vec<Value> {
    let below = plan["Plans"].as_array().into_iter().flatten().flat_map(nodes);
    std::iter::once(plan.clone()).chain(below).collect()
}

/// The big table that a node reads from end to end.
fn unindexed(node: &Value) -> Option<&str> {
    let is_read = node["Node Type"].as_str().is_some_and(|kind| kind.contains("Scan"));
    let table = node["Relation Name"].as_str().filter(|table| is_read && BIG.contains(table))?;
    let has_condition =
        ["Index Cond", "Recheck Cond", "TID Cond"].iter().any(|condition| node.get(condition).is_some());
    let is_short = node["Index Name"].as_str().is_some_and(|index| SHORT.contains(&index));
    (!has_condition && !is_short).then_some(table)
}
