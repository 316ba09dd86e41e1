//! The checker itself: it finds what is planted, and leaves alone what is fine.

use super::source::{Named, Place, Source, is_test_code};
use super::{Finding, calls, edges};

fn findings(path: &str, text: &str) -> Vec<String> {
    let source = Source::new(path, text);
    let mut found: Vec<Finding> = edges::check(&source);
    found.extend(calls::check(&source));
    found.into_iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
}

fn clean(path: &str, text: &str) {
    assert_eq!(findings(path, text), Vec::<String>::new(), "{path}: {text}");
}

#[test]
fn edges_are_kept() {
    let planted = [
        ("actors/src/domain/stock.rs", "\nuse crate::ports::store::Store;", "2: uses crate::ports::store::Store"),
        ("actors/src/domain/stock.rs", "use super::super::ports::bus;", "1: uses crate::ports::bus"),
        ("actors/src/domain/stock.rs", "use super::{ids, super::local};", "1: uses crate::local"),
        ("actors/src/domain/stock.rs", "use tokio::time::sleep;", "1: names tokio"),
        ("actors/src/domain/stock.rs", "\n\nasync fn wait() {}", "3: says async"),
        ("actors/src/ports/bus.rs", "use crate::stock::StockDirectory;", "1: uses crate::stock::StockDirectory"),
        ("actors/src/ports/bus.rs", "use crate::{domain::Money, local::bus};", "1: uses crate::local::bus"),
        ("actors/src/protocol/stock.rs", "use crate::ports::bus::Bus;", "1: uses crate::ports::bus::Bus"),
        ("actors/src/protocol/stock.rs", "use crate::supervise::Permit;", "1: uses crate::supervise::Permit"),
        ("actors/src/local/clock.rs", "use crate::writer::Writer;", "1: uses crate::writer::Writer"),
        ("actors/src/stock/actor.rs", "let bus = crate::local::bus::open();", "1: uses crate::local::bus::open"),
        ("actors/src/stock/actor.rs", "use super::super::order::Orders;", "1: uses crate::order::Orders"),
        ("actors/src/order/pay.rs", "use crate::stock::actor::StockActor;", "1: uses crate::stock::actor::StockActor"),
        ("actors/src/bridge/mod.rs", "use crate::flash_sale::Gate;", "1: uses crate::flash_sale::Gate"),
        ("actors/src/writer/mod.rs", "fn f() { sqlx::query(); }", "1: names sqlx"),
        ("actors/src/order/pay.rs", "#[actix_web::get]", "1: names actix_web"),
        ("src/store/sqlite/mod.rs", "use actix_web::web;", "1: names actix_web"),
        ("src/store/sqlite/mod.rs", "use crate::config::Config;", "1: uses crate::config::Config"),
        ("src/coordination/redis/mod.rs", "use crate::config::Config;", "1: uses crate::config::Config"),
        ("src/gateway/sandbox/trade.rs", "use sqlx::SqlitePool;", "1: names sqlx"),
        ("src/gateway/alipay/client.rs", "use crate::store::sqlite;", "1: uses crate::store::sqlite"),
        ("src/api/v1/orders.rs", "use crate::store::sqlite;", "1: uses crate::store::sqlite"),
        ("src/api/v1/orders.rs", "use crate::app::Seckill;", "1: uses crate::app::Seckill"),
        ("src/api/v1/orders.rs", "use sqlx::{Pool, Sqlite};", "1: names sqlx"),
        ("src/api/mod.rs", "use super::gateway;", "1: uses crate::gateway"),
    ];
    for (path, text, expected) in planted {
        assert!(findings(path, text).contains(&expected.to_owned()), "{path}: {text}: {:?}", findings(path, text));
    }
}

#[test]
fn what_is_allowed_is_left_alone() {
    clean(
        "actors/src/domain/stock.rs",
        "use super::order::LockLine;\nuse std::time::Duration;\nuse crate::domain::Money;",
    );
    clean(
        "actors/src/domain/stock.rs",
        "// use tokio::time::sleep;\n/* async */ const A: &str = \"crate::ports::x await\";",
    );
    clean("actors/src/protocol/stock.rs", "use crate::supervise::Reply;\nuse actix::Message;");
    clean("actors/src/local/bus.rs", "use crate::writer::Writer;");
    clean("actors/src/local/bus/shelf.rs", "use super::Chaos;\nuse crate::local::clock::SeededEntropy;");
    clean("actors/src/order/submit.rs", "use super::token::TokenState;\nuse crate::stock::StockDirectory;");
    clean("src/gateway/sandbox/sqlite.rs", "use sqlx::SqlitePool;");
    clean("src/app/inside.rs", "use crate::store::sqlite::SqliteStore;\nuse crate::api;");
}

#[test]
fn calls_are_found() {
    let planted = [
        ("src/api/mod.rs", "let now = std::time::SystemTime::now();", "wall clock"),
        ("src/api/mod.rs", "use std::time::{Duration, Instant};", "machine clock"),
        ("actors/src/order/mod.rs", "let at = chrono::Utc::now();", "wall clock"),
        ("actors/src/order/mod.rs", "let bits = getrandom::u64();", "random bits"),
        ("actors/src/order/mod.rs", "rand::thread_rng().next_u64()", "random generator"),
        ("actors/src/order/mod.rs", "Uuid::new_v4()", "random id"),
        ("actors/src/order/mod.rs", "tokio::sync::mpsc::unbounded_channel()", "unbounded queue"),
        ("actors/src/order/mod.rs", "std::sync::mpsc::channel()", "unbounded queue"),
        ("actors/src/order/mod.rs", "address.do_send(Message);", "unbounded send"),
        ("actors/src/bridge/mod.rs", "address.do_send(Message);", "unbounded send"),
        ("src/store/sqlite/stock.rs", "sqlx::query(AssertSqlSafe(text))", "SQL built at run time"),
        ("src/store/sqlite/stock.rs", "QueryBuilder::new(\"SELECT\")", "SQL built at run time"),
        ("src/store/sqlite/stock.rs", "sqlx::query_as(\n &format!(\"SELECT {id}\"),\n)", "SQL built at run time"),
        ("src/limits/mod.rs", "todo!()", "unfinished code"),
        ("src/limits/mod.rs", "unimplemented!(\"later\")", "unfinished code"),
        ("src/limits/mod.rs", "dbg!(x)", "left-over of debugging"),
        ("src/limits/mod.rs", "x.unwrap()", "panic without a reason"),
        ("actors/src/domain/money.rs", "pub struct Yuan(f64);", "a float beside money"),
        ("src/limits/mod.rs", "let price = 1.0_f64 as f64;", "a float beside money"),
    ];
    for (path, text, expected) in planted {
        let found = findings(path, text);
        assert!(found.iter().any(|finding| finding.contains(expected)), "{path}: {text}: {found:?}");
    }
}

#[test]
fn calls_are_fine_where_they_belong() {
    clean("src/machine.rs", "let now = std::time::SystemTime::now(); getrandom::u64();");
    clean("actors/src/stock/directory.rs", "address.do_send(Message);");
    clean(
        "actors/src/order/mod.rs",
        "use tokio::time::Instant;\nuse tokio::sync::mpsc;\nlet (a, b) = mpsc::channel(8);",
    );
    clean("src/store/sqlite/stock.rs", "sqlx::query(\"SELECT 1\").bind(list(ids)); let text = format!(\"{a}\");");
    clean("src/api/json.rs", "#[schema(value_type = f64)]\nprice: YuanNumber,");
    clean("actors/src/stock/flush.rs", "histogram.record(owners.len() as f64);");
    clean("src/limits/mod.rs", "x.unwrap_or(1); x.expect(\"todo!() is only a text\");");
}

#[test]
fn test_code_is_exempt() {
    assert!(is_test_code("actors/src/bridge/tests/rig.rs"));
    assert!(is_test_code("actors/src/testkit/mod.rs"));
    assert!(is_test_code("src/auth/hostile_tests.rs"));
    assert!(!is_test_code("loadtest/src/main.rs"));
    assert!(!is_test_code("actors/src/stock/actor.rs"));
    let module = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn f() { x.unwrap(); }\n}\n";
    clean("src/limits/mod.rs", module);
    assert_eq!(
        findings("src/limits/mod.rs", &format!("{module}fn b() {{ x.unwrap(); }}")).len(),
        1,
        "behind it counts"
    );
    let declared = "#[cfg(test)]\nmod tests;\nfn b() { x.unwrap(); }";
    assert_eq!(findings("src/limits/mod.rs", declared), ["3: panic without a reason (unwrap)"]);
    clean(
        "src/limits/mod.rs",
        "#[cfg(any(test, feature = \"testkit\"))]\n#[derive(Debug)]\npub fn f([a, b]: [u8; 2]) { a.unwrap() }",
    );
}

#[test]
fn texts_and_comments_are_blank_and_lines_stay() {
    let text = "let a = \"x \\\" todo!()\"; // todo!()\n/* a /* todo!() */ b */ let b = r#\"todo!() \" \"#;\n\
                let c = '\"'; let d: &'static str = \"订单\"; let e = '\\''; let f = b'\\\\'; dbg!(1);";
    assert_eq!(findings("src/limits/mod.rs", text), ["3: left-over of debugging (dbg!)"]);
}

#[test]
fn paths_are_unfolded_and_resolved() {
    let source = Source::new("actors/src/stock/flush.rs", "use super::{queue::{A, B as C}, D};\nself::x::<E>(F);");
    let places: Vec<Place> = source.named().iter().map(|named| source.resolve(named)).collect();
    let here = |path: &str| Place::Here(path.split("::").map(str::to_owned).collect());
    let elsewhere = |name: &str| Place::Elsewhere(vec![name.to_owned()]);
    let expected = ["stock::queue::A", "stock::queue::B", "stock::D"].map(here);
    assert_eq!(places[0], elsewhere("use"));
    assert_eq!(places[1..4], expected);
    assert_eq!(places[4], here("stock::flush::x"));
    let last = Named { line: 2, segments: vec!["F".to_owned()] };
    assert_eq!(source.named().last(), Some(&last));
}

#[test]
fn manifests_notes_and_documents_are_read() {
    let manifest = "[dependencies]\ntokio.workspace = true\nactix-web = \"4\"\n";
    assert_eq!(edges::check_manifest("actors/Cargo.toml", manifest)[0].line, 3);
    assert_eq!(edges::check_manifest("actors/Cargo.toml", "actix.workspace = true").len(), 0);

    let note = format!("fine\n// {}: later\nMASTODON", concat!("TO", "DO"));
    let found = calls::check_words("tests/x.rs", &note);
    assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2]);

    let document = "see `actors/src/` and `src/nothing/`, POST `/order/submit`\n```\n`src/block/`\n```\n`a b/c` `x.rs`";
    let found = calls::check_document("docs/ARCHITECTURE.md", document, |path| path == "actors/src");
    assert_eq!(found.into_iter().map(|finding| finding.what).collect::<Vec<_>>(), ["src/nothing/ does not exist"]);
}
