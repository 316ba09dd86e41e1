//! Calls and words that have no place here.

use super::Finding;
use super::source::{Place, Source};

/// A path that only some files may name.
struct Banned {
    /// First segments of the path.
    path: &'static str,
    /// Where it is fine, as beginnings of file paths.
    fine_in: &'static [&'static str],
    what: &'static str,
    instead: &'static str,
}

const WALL_CLOCK: &str = "take a ports::clock::Clock; for a wait, tokio::time::Instant";
const RANDOM: &str = "take a ports::clock::Entropy";
const BOUNDED: &str = "every queue has a bound: use tokio::sync::mpsc::channel and answer Overloaded when it is full";
const STATIC_SQL: &str =
    "write the statement as one literal; its rows go through sqlite/script.rs or as JSON (jsonb_each)";
const UNFINISHED: &str = "write it, or do not offer it";

/// The two adapters of the machine's clock and random generator.
const MACHINE: &[&str] = &["src/machine.rs", "loadtest/src/clock.rs"];

/// Makes the VALUES list of a literal as long as its rows; takes nothing but literals.
const ROW_LISTS: &[&str] = &["src/store/sqlite/script.rs"];

const PATHS: &[Banned] = &[
    Banned { path: "std::time::SystemTime", fine_in: MACHINE, what: "wall clock", instead: WALL_CLOCK },
    Banned { path: "std::time::Instant", fine_in: &["benches/"], what: "machine clock", instead: WALL_CLOCK },
    Banned { path: "chrono::Utc::now", fine_in: &[], what: "wall clock", instead: WALL_CLOCK },
    Banned {
        path: "chrono::Local",
        fine_in: &[],
        what: "local time zone",
        instead: "times are UTC or GMT+8, see domain::time",
    },
    Banned { path: "getrandom", fine_in: MACHINE, what: "random bits", instead: RANDOM },
    Banned { path: "rand", fine_in: &[], what: "random generator", instead: RANDOM },
    Banned { path: "fastrand", fine_in: &[], what: "random generator", instead: RANDOM },
    Banned { path: "std::sync::mpsc::channel", fine_in: &[], what: "unbounded queue", instead: BOUNDED },
    Banned { path: "sqlx::AssertSqlSafe", fine_in: ROW_LISTS, what: "SQL built at run time", instead: STATIC_SQL },
    Banned { path: "sqlx::QueryBuilder", fine_in: &[], what: "SQL built at run time", instead: STATIC_SQL },
];

const WORDS: &[Banned] = &[
    Banned { path: "SystemTime::now", fine_in: MACHINE, what: "wall clock", instead: WALL_CLOCK },
    Banned { path: "Utc::now", fine_in: &[], what: "wall clock", instead: WALL_CLOCK },
    Banned { path: "thread_rng", fine_in: &[], what: "random generator", instead: RANDOM },
    Banned { path: "new_v4", fine_in: &[], what: "random id", instead: "use ports::clock::message_id" },
    Banned { path: "now_v7", fine_in: &[], what: "random id", instead: "use ports::clock::message_id" },
    Banned { path: "unbounded_channel", fine_in: &[], what: "unbounded queue", instead: BOUNDED },
    Banned { path: "UnboundedSender", fine_in: &[], what: "unbounded queue", instead: BOUNDED },
    Banned { path: "mpsc::unbounded", fine_in: &[], what: "unbounded queue", instead: BOUNDED },
    Banned { path: "AssertSqlSafe", fine_in: ROW_LISTS, what: "SQL built at run time", instead: STATIC_SQL },
    Banned { path: "QueryBuilder", fine_in: &[], what: "SQL built at run time", instead: STATIC_SQL },
    Banned { path: "todo!", fine_in: &[], what: "unfinished code", instead: UNFINISHED },
    Banned { path: "unimplemented!", fine_in: &[], what: "unfinished code", instead: UNFINISHED },
    Banned { path: "dbg!", fine_in: &[], what: "left-over of debugging", instead: "use tracing::debug!" },
    Banned {
        path: ".do_send(",
        fine_in: &[
            "actors/src/supervise.rs",
            "actors/src/stock/",
            "actors/src/flash_sale/",
            "actors/src/bridge/actor.rs",
            "actors/src/protocol/stock.rs",
            "benches/",
        ],
        what: "unbounded send",
        instead: "take a supervise::Permit first and let it travel in the message, or send where the bound is kept",
    },
    Banned {
        path: ".unwrap()",
        fine_in: &["benches/"],
        what: "panic without a reason",
        instead: "return the error, or say with expect why it cannot be",
    },
];

/// Where amounts of money pass through.
const MONEY_FOLDERS: [&str; 9] = [
    "actors/src/domain/",
    "actors/src/ports/",
    "actors/src/protocol/",
    "actors/src/order/",
    "actors/src/local/store/",
    "src/store/",
    "src/gateway/",
    "src/api/",
    "src/app/",
];
const MONEY_WORDS: [&str; 5] = ["money", "price", "amount", "yuan", "fen"];

/// Banned calls of a file.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for named in source.named() {
        let Place::Elsewhere(path) = source.resolve(&named) else { continue };
        let path = path.join("::");
        let names = |banned: &&Banned| path == banned.path || path.starts_with(&format!("{}::", banned.path));
        let found = PATHS.iter().filter(names).find(|banned| path.contains("::") && !is_fine(banned, source));
        findings.extend(found.map(|banned| finding(source, named.line, banned)));
    }
    for banned in WORDS.iter().filter(|banned| !is_fine(banned, source)) {
        findings.extend(source.words(banned.path).into_iter().map(|at| finding(source, source.line(at), banned)));
    }
    findings.extend(built_sql(source));
    findings.extend(float_money(source));
    findings.dedup();
    findings
}

fn is_fine(banned: &Banned, source: &Source) -> bool {
    banned.fine_in.iter().any(|fine| source.path.starts_with(fine))
}

fn finding(source: &Source, line: usize, banned: &Banned) -> Finding {
    let what = format!("{} ({})", banned.what, banned.path.trim_matches(['.', '(', ')']));
    Finding::new(&source.path, line, what, banned.instead)
}

/// Statements that are put together where they are given to sqlx.
fn built_sql(source: &Source) -> Vec<Finding> {
    const CALLS: [&str; 5] = ["query(", "query_as(", "query_scalar(", "raw_sql(", "execute("];
    let mut findings = Vec::new();
    for call in CALLS {
        for at in source.words(call) {
            let arguments = source.arguments(at + call.len() - 1);
            if arguments.contains("format!(") || arguments.contains("concat()") {
                findings.push(Finding::new(
                    &source.path,
                    source.line(at),
                    "SQL built at run time (format!)",
                    STATIC_SQL,
                ));
            }
        }
    }
    findings
}

/// Floats where money passes through. The number in an OpenAPI schema is a name, not a value.
fn float_money(source: &Source) -> Vec<Finding> {
    let is_money_folder = MONEY_FOLDERS.iter().any(|folder| source.path.starts_with(folder));
    let lines: Vec<&str> = source.code.lines().collect();
    let places = ["f64", "f32"].into_iter().flat_map(|word| source.words(word));
    let lines_at = places.map(|at| source.line(at));
    lines_at
        .filter(|line| {
            let text = lines[line - 1];
            let is_schema = text.contains("value_type = ");
            let names_money = MONEY_WORDS.iter().any(|word| text.to_lowercase().contains(word));
            !is_schema && (is_money_folder || names_money)
        })
        .map(|line| Finding::new(&source.path, line, "a float beside money", "use domain::Money, a count of fen"))
        .collect()
}

/// Notes to oneself, in any file.
pub fn check_words(path: &str, text: &str) -> Vec<Finding> {
    // Put together, so that this file does not find itself.
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut words = line.split(|c: char| !is_word(c));
        if let Some(word) = words.find(|word| notes.contains(word)) {
            findings.push(Finding::new(path, index + 1, format!("a {word}"), UNFINISHED));
        }
    }
    findings
}

/// Files and folders that a document names in backticks and that do not exist. A name without a slash is not looked at.
pub fn check_document(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        let quoted = line.split('`').skip(1).step_by(2);
        for name in quoted.filter(|name| is_path(name) && !exists(name.trim_end_matches('/'))) {
            let instead = "name what exists, from the root of the project";
            findings.push(Finding::new(path, index + 1, format!("{name} does not exist"), instead));
        }
    }
    findings
}

fn is_path(name: &str) -> bool {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let is_address = name.starts_with('/') || name.ends_with(".do");
    let begins_a_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.');
    let is_generated =
        ["target/", "data/", "http", "application/", "text/"].iter().any(|start| name.starts_with(start));
    name.contains('/') && is_plain && begins_a_name && !is_address && !is_generated
}
