//! Both databases have the same logical schema: tables, columns, nullability, defaults, keys, references, indices,
//! checks and triggers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use actors::local::clock::{ManualClock, SeededEntropy};
use actors::ports::contract::store::world::RULES;
use seckill::store::postgres::StoreClock;
use seckill::store::sqlite::SqliteStore;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, PgConnection, SqliteConnection};

use super::database::Database;

/// One line per fact.
type Facts = BTreeSet<String>;

/// Without what the databases write differently: spaces, quotes, casts, outer brackets, case, and their words for the
/// same thing.
fn plain(expression: &str) -> String {
    let lower = expression.to_lowercase();
    let mut text: String =
        lower.chars().filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')' | '"' | '[' | ']' | '\'')).collect();
    for cast in ["::text", "::bigint", "::integer"] {
        text = text.replace(cast, "");
    }
    text.replace("<>", "!=")
}

async fn postgres_facts(connection: &mut PgConnection) -> Facts {
    let statements = [
        "SELECT table_name || '.' || column_name || ' ' || data_type || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END
                || coalesce(' DEFAULT ' || column_default, '')
         FROM information_schema.columns WHERE table_schema = current_schema() AND table_name NOT LIKE '\\_sqlx%'",
        "SELECT c.relname || ' REFERENCES ' || (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(con.conkey) WITH ORDINALITY AS k (col, n) JOIN pg_attribute AS a ON a.attrelid = con.conrelid AND a.attnum = k.col)
                || ' ' || f.relname || ' ' || (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(con.confkey) WITH ORDINALITY AS k (col, n) JOIN pg_attribute AS a ON a.attrelid = con.confrelid AND a.attnum = k.col)
         FROM pg_constraint AS con JOIN pg_class AS c ON c.oid = con.conrelid JOIN pg_class AS f ON f.oid = con.confrelid
         WHERE con.contype = 'f' AND con.connamespace = current_schema()::regnamespace",
        // Those that are looked up once a statement.
        "SELECT c.relname || ' REFERENCES ' || replace(encode(t.tgargs, 'escape'), '\\000', '')
         FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
         WHERE t.tgnewtable IS NOT NULL AND c.relnamespace = current_schema()::regnamespace",
        "SELECT c.relname || CASE WHEN i.indisunique THEN ' UNIQUE ' ELSE ' INDEX ' END
                || (SELECT string_agg(pg_get_indexdef(i.indexrelid, n, TRUE), ',' ORDER BY n) FROM generate_series(1, i.indnkeyatts) AS n)
                || coalesce(' WHERE ' || pg_get_expr(i.indpred, i.indrelid), '')
         FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relname NOT LIKE '\\_sqlx%'",
        "SELECT c.relname || ' CHECK ' || pg_get_expr(con.conbin, con.conrelid)
         FROM pg_constraint AS con JOIN pg_class AS c ON c.oid = con.conrelid
         WHERE con.contype = 'c' AND con.connamespace = current_schema()::regnamespace",
        "SELECT c.relname || ' REFUSES ' || CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' ELSE 'UPDATE' END
         FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
         WHERE NOT t.tgisinternal AND t.tgtype & 1 = 1 AND c.relnamespace = current_schema()::regnamespace",
    ];
    let mut facts = Facts::new();
    for statement in statements {
        let lines: Vec<String> = sqlx::query_scalar(statement).fetch_all(&mut *connection).await.expect(statement);
        facts.extend(lines.iter().map(|line| plain_postgres(line)));
    }
    facts
}

/// `x >= 1 AND x <= 4` is what PostgreSQL makes of BETWEEN, and `= ANY (ARRAY[…])` of IN.
fn plain_postgres(line: &str) -> String {
    plain(line).replace("=anyarray", "in")
}

async fn sqlite_facts(connection: &mut SqliteConnection) -> Facts {
    let statements = [
        "SELECT t.name || '.' || c.name || ' ' || CASE c.type WHEN 'INTEGER' THEN 'bigint' ELSE 'text' END
                || CASE WHEN c.\"notnull\" OR c.pk THEN ' NOT NULL' ELSE '' END || coalesce(' DEFAULT ' || c.dflt_value, '')
         FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
         WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        "SELECT t.name || ' REFERENCES ' || f.\"from\" || ' ' || f.\"table\" || ' ' || f.\"to\"
         FROM sqlite_schema AS t, pragma_foreign_key_list(t.name) AS f WHERE t.type = 'table'",
        // An index over an expression has no column to name.
        "SELECT t.name || CASE WHEN i.\"unique\" THEN ' UNIQUE ' ELSE ' INDEX ' END
                || coalesce((SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)),
                            substr(s.sql, instr(s.sql, '(') + 1, instr(s.sql, ') WHERE ') - instr(s.sql, '(') - 1))
                || coalesce(' WHERE ' || substr(s.sql, nullif(instr(s.sql, ' WHERE '), 0) + 7), '')
         FROM sqlite_schema AS t, pragma_index_list(t.name) AS i LEFT JOIN sqlite_schema AS s ON s.name = i.name
         WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\'",
        // A rowid table's INTEGER PRIMARY KEY has no index of its own.
        "SELECT t.name || ' UNIQUE ' || c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
         WHERE t.type = 'table' AND c.pk = 1 AND c.type = 'INTEGER' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
           AND NOT EXISTS (SELECT 1 FROM pragma_index_list(t.name) AS i WHERE i.origin = 'pk')",
        "SELECT tbl_name || ' REFUSES ' || CASE WHEN sql LIKE '%BEFORE DELETE%' THEN 'DELETE' ELSE 'UPDATE' END
         FROM sqlite_schema WHERE type = 'trigger'",
    ];
    let mut facts = Facts::new();
    for statement in statements {
        let lines: Vec<String> = sqlx::query_scalar(statement).fetch_all(&mut *connection).await.expect(statement);
        facts.extend(lines.iter().map(|line| plain(line)));
    }
    facts.extend(written_checks());
    facts
}

/// SQLite keeps its checks only as text, so they are taken from the migrations, in PostgreSQL's words.
fn written_checks() -> Facts {
    let mut facts = Facts::new();
    for (table, text) in written_tables(Path::new("migrations/sqlite")) {
        let mut rest = text.as_str();
        while let Some(at) = rest.find("CHECK (") {
            rest = &rest[at + "CHECK (".len()..];
            let check = &rest[..closing(rest)];
            facts.insert(format!("{}check{}", plain(&table), plain(&without_between(check))));
        }
    }
    facts
}

/// Tables and what stands between their brackets, then the columns they were given later, comments left out.
fn written_tables(folder: &Path) -> Vec<(String, String)> {
    let mut tables = Vec::new();
    for entry in fs::read_dir(folder).expect("the migrations are there") {
        let text = fs::read_to_string(entry.expect("readable").path()).expect("readable");
        let text: String = text.lines().map(|line| line.split("--").next().unwrap_or("").to_owned() + "\n").collect();
        for part in text.split("CREATE TABLE ").skip(1) {
            let (name, body) = part.split_once(" (").expect("a table has columns");
            tables.push((name.to_owned(), body[..closing(body)].to_owned()));
        }
        for part in text.split("ALTER TABLE ").skip(1) {
            let statement = part.split(';').next().expect("a statement ends");
            let (name, column) = statement.split_once(" ADD COLUMN ").expect("columns are all that is added");
            tables.push((name.to_owned(), column.to_owned()));
        }
    }
    assert!(!tables.is_empty(), "no table was found");
    tables
}

/// Where the bracket closes that was opened just before.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return at;
        }
    }
    panic!("a bracket is never closed: {text}");
}

/// `x BETWEEN a AND b` as PostgreSQL keeps it.
fn without_between(check: &str) -> String {
    match check.split_once(" BETWEEN ") {
        Some((what, bounds)) => {
            let (low, high) = bounds.split_once(" AND ").expect("two bounds");
            format!("{what} >= {low} AND {what} <= {high}")
        }
        None => check.to_owned(),
    }
}

#[tokio::test]
async fn both_databases_have_the_same_schema() {
    let database = Database::empty().await;
    database.open(StoreClock::Database, RULES).await.close().await;
    let postgres = postgres_facts(&mut database.stranger().await).await;

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("seckill.db");
    let clock = std::sync::Arc::new(ManualClock::new(0));
    let store =
        SqliteStore::open(&path, clock, std::sync::Arc::new(SeededEntropy::new(1)), RULES).await.expect("a file");
    store.close().await;
    let mut file = SqliteConnectOptions::new().filename(&path).connect().await.expect("the file is there");
    let sqlite = sqlite_facts(&mut file).await;

    let only: Vec<String> = sqlite
        .difference(&postgres)
        .map(|fact| format!("only in SQLite: {fact}"))
        .chain(postgres.difference(&sqlite).map(|fact| format!("only in PostgreSQL: {fact}")))
        .collect();
    assert!(only.is_empty(), "\n{}", only.join("\n"));
    assert!(sqlite.len() > 250, "the comparison looks at {} facts only", sqlite.len());
}
