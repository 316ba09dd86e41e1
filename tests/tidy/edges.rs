//! Who may use whom. The rings and the reasons: docs/ARCHITECTURE.md.

use super::Finding;
use super::source::{Place, Source};

/// Clients of the outside world: the inside names none of them.
const CLIENTS: &[&str] = &["sqlx", "redis", "deadpool_redis", "lapin", "actix_web", "reqwest", "hyper", "rusqlite"];
/// What makes code wait: the domain has none of it.
const WAITING: &[&str] = &["tokio", "actix", "actix_rt", "async_trait", "futures_util", "dashmap", "arc_swap"];

/// Modules of its own crate that a ring may name.
enum Modules {
    /// Only these.
    Only(&'static [&'static str]),
    /// All but these.
    AllBut(&'static [&'static str]),
}

/// A folder or file and what it may use. The longest that fits a file counts.
struct Ring {
    folder: &'static str,
    modules: Modules,
    /// Crates it never names.
    never: &'static [&'static str],
    instead: &'static str,
}

const RINGS: &[Ring] = &[
    Ring {
        folder: "actors/src/domain",
        modules: Modules::Only(&["domain"]),
        never: WAITING,
        instead: "the domain is plain values and functions; do the waiting in an actor and pass what it found in",
    },
    Ring {
        folder: "actors/src/ports",
        modules: Modules::Only(&["domain", "ports"]),
        never: &["actix"],
        instead: "a port speaks in values of the domain; put the type there",
    },
    Ring {
        folder: "actors/src/protocol",
        // The answer to a resolve is the store's own outcome, item by item: a second type would only copy it.
        modules: Modules::Only(&["domain", "protocol", "supervise::Reply", "ports::store::units::LockResolved"]),
        never: &[],
        instead: "a message carries values of the domain and a supervise::Reply; what it needs of a port belongs into the actor",
    },
    Ring {
        folder: "actors/src/supervise",
        modules: Modules::Only(&["supervise"]),
        never: &[],
        instead: "supervision knows no actor; pass it what it needs",
    },
    Ring {
        folder: "actors/src/local",
        modules: Modules::Only(&["domain", "ports", "local"]),
        never: &["actix"],
        instead: "an adapter knows its port and the domain, no actor",
    },
    Ring {
        folder: "actors/src/local/bus",
        // It keeps its messages in the store, and the writer is the only way there.
        modules: Modules::Only(&["domain", "ports", "local", "writer"]),
        never: &["actix"],
        instead: "an adapter knows its port and the domain, no actor",
    },
    Ring {
        folder: "actors/src/local/carts",
        // They are kept in the store, and the writer is the only way there.
        modules: Modules::Only(&["domain", "ports", "local", "writer"]),
        never: &["actix"],
        instead: "an adapter knows its port and the domain, no actor",
    },
    Ring {
        folder: "actors/src/writer",
        modules: Modules::Only(&["domain", "ports", "protocol", "writer"]),
        never: &[],
        instead: "the writer commits for everybody and knows nobody; it tells what happened through the protocol",
    },
    Ring {
        folder: "actors/src/reader",
        modules: Modules::Only(&["domain", "ports", "reader"]),
        never: &["actix"],
        instead: "the reader asks the store for everybody and knows nobody",
    },
    Ring {
        folder: "actors/src/stock",
        modules: Modules::Only(&["domain", "ports", "protocol", "supervise", "writer", "stock"]),
        never: &[],
        instead: "take an Arc<dyn port>, or a message of the protocol; concrete adapters are chosen in src/app",
    },
    Ring {
        folder: "actors/src/flash_sale",
        modules: Modules::Only(&[
            "domain",
            "ports",
            "protocol",
            "supervise",
            "writer",
            "flash_sale",
            "stock::StockDirectory",
        ]),
        never: &[],
        instead: "take an Arc<dyn port>, a message of the protocol, or the stock directory's handle",
    },
    Ring {
        folder: "actors/src/order",
        modules: Modules::Only(&[
            "domain",
            "ports",
            "protocol",
            "supervise",
            "reader",
            "writer",
            "order",
            "stock::StockDirectory",
        ]),
        never: &["actix"],
        instead: "take an Arc<dyn port>, a message of the protocol, or the stock directory's handle",
    },
    Ring {
        folder: "actors/src/bridge",
        modules: Modules::Only(&["domain", "ports", "protocol", "supervise", "writer", "bridge"]),
        never: &[],
        instead: "effects are applied through protocol::bridge::Effects, the bus through its port",
    },
    Ring {
        folder: "actors/src/webhook",
        modules: Modules::Only(&["domain", "ports", "writer", "webhook"]),
        never: &["actix"],
        instead: "take an Arc<dyn port>; what is told is derived in the port of the store",
    },
    Ring {
        folder: "src/store",
        modules: Modules::AllBut(&["api", "gateway", "config", "web", "auth", "limits", "cli", "app"]),
        never: &["actix_web", "reqwest"],
        instead: "the store knows its port and SQL; settings come as arguments from src/app",
    },
    Ring {
        folder: "src/bus",
        modules: Modules::AllBut(&["api", "store", "gateway", "config", "web", "auth", "limits", "cli", "app"]),
        never: &["sqlx", "redis", "actix_web", "reqwest"],
        instead: "the bus knows its port and its broker; settings come as arguments from src/app",
    },
    Ring {
        folder: "src/coordination",
        modules: Modules::AllBut(&["api", "store", "gateway", "config", "web", "auth", "limits", "cli", "app"]),
        never: &["sqlx", "actix_web", "reqwest"],
        instead: "the coordination knows its port and Redis; settings come as arguments from src/app",
    },
    Ring {
        folder: "src/gateway",
        modules: Modules::AllBut(&["api", "store", "config", "web", "auth", "limits", "cli", "app"]),
        never: &["sqlx"],
        instead: "the gateway knows its port and HTTP; settings come as arguments, SQL is in sandbox/sql.rs",
    },
    Ring {
        folder: "src/gateway/sandbox/sqlite",
        modules: Modules::AllBut(&["api", "store", "config", "web", "auth", "limits", "cli", "app"]),
        never: &["actix_web", "reqwest"],
        instead: "the sandbox's books know SQL and the sandbox, nothing else",
    },
    Ring {
        folder: "src/gateway/sandbox/postgres",
        modules: Modules::AllBut(&["api", "store", "config", "web", "auth", "limits", "cli", "app"]),
        never: &["actix_web", "reqwest"],
        instead: "the sandbox's books know SQL and the sandbox, nothing else",
    },
    Ring {
        folder: "src/gateway/sandbox/sql",
        modules: Modules::AllBut(&["api", "store", "config", "web", "auth", "limits", "cli", "app"]),
        never: &["actix_web", "reqwest"],
        instead: "the sandbox's books know SQL and the sandbox, nothing else",
    },
    Ring {
        folder: "src/webhook",
        modules: Modules::AllBut(&["api", "store", "gateway", "config", "web", "auth", "limits", "cli", "app"]),
        never: &["sqlx", "actix_web"],
        instead: "the sender knows its port and HTTP; settings come as arguments from src/app",
    },
    Ring {
        folder: "src/api",
        modules: Modules::AllBut(&["store", "gateway", "app", "cli", "web"]),
        never: &["sqlx", "reqwest"],
        instead: "a handler parses, calls a handle of the inside and says the outcome; ask the inside or a port",
    },
    Ring {
        folder: "src/config",
        modules: Modules::Only(&["config"]),
        // `reqwest::Url` checks addresses.
        never: &["sqlx", "redis", "lapin", "actix_web"],
        instead: "the configuration is values; who uses them converts them",
    },
    Ring {
        folder: "src/limits",
        modules: Modules::AllBut(&["api", "store", "gateway", "app", "cli", "web"]),
        never: &["sqlx", "reqwest"],
        instead: "limits count in memory; how a refusal is said is the API's affair",
    },
    Ring {
        folder: "src/auth",
        modules: Modules::AllBut(&["api", "store", "gateway", "app", "cli", "web"]),
        never: &["sqlx", "reqwest"],
        instead: "a login is verified from the token alone",
    },
    Ring {
        folder: "src/web",
        modules: Modules::AllBut(&["api", "store", "gateway", "app", "cli"]),
        never: &["sqlx"],
        instead: "pages are static; their scripts use the public API",
    },
    Ring {
        folder: "src/cli",
        modules: Modules::AllBut(&["api", "store", "gateway", "app", "web"]),
        never: &["sqlx"],
        instead: "a command asks the running server, or cli::Application",
    },
    Ring { folder: "src/app", modules: Modules::AllBut(&[]), never: &["sqlx"], instead: "SQL belongs into src/store" },
];

impl Ring {
    fn holds(&self, path: &str) -> bool {
        path.strip_prefix(self.folder).is_some_and(|rest| rest.starts_with(['/', '.']))
    }

    fn allows(&self, module: &[String]) -> bool {
        let begins = |allowed: &&&str| {
            let allowed: Vec<&str> = allowed.split("::").collect();
            module.len() >= allowed.len() && module.iter().zip(&allowed).all(|(part, allowed)| part == allowed)
        };
        match self.modules {
            Modules::Only(allowed) => allowed.iter().any(|allowed| begins(&allowed)),
            Modules::AllBut(banned) => !banned.iter().any(|banned| begins(&banned)),
        }
    }
}

fn ring_of(path: &str) -> Option<&'static Ring> {
    RINGS.iter().filter(|ring| ring.holds(path)).max_by_key(|ring| ring.folder.len())
}

/// Paths that a file must not name.
pub fn check(source: &Source) -> Vec<Finding> {
    let is_inside = source.path.starts_with("actors/src/");
    let ring = ring_of(&source.path);
    let mut findings = Vec::new();
    for named in source.named() {
        let finding = match source.resolve(&named) {
            Place::Here(module) if module.is_empty() => None,
            Place::Here(module) => ring
                .filter(|ring| !ring.allows(&module))
                .map(|ring| (format!("uses crate::{}", module.join("::")), ring.instead)),
            Place::Elsewhere(path) if path.len() < 2 => None,
            Place::Elsewhere(path) if is_inside && CLIENTS.contains(&path[0].as_str()) => {
                Some((format!("names {}", path[0]), "the inside decides; put what connects into src/ behind a port"))
            }
            Place::Elsewhere(path) => ring
                .filter(|ring| ring.never.contains(&path[0].as_str()))
                .map(|ring| (format!("names {}", path[0]), ring.instead)),
        };
        findings.extend(finding.map(|(what, instead)| Finding::new(&source.path, named.line, what, instead)));
    }
    findings.extend(waiting_in_domain(source));
    findings
}

fn waiting_in_domain(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("actors/src/domain/") {
        return Vec::new();
    }
    let places =
        ["async", "await"].into_iter().flat_map(|word| source.words(word).into_iter().map(move |at| (word, at)));
    places
        .map(|(word, at)| {
            let instead = "the domain never waits; decide here, wait in an actor";
            Finding::new(&source.path, source.line(at), format!("says {word}"), instead)
        })
        .collect()
}

/// Dependencies that the inside must not have.
pub fn check_manifest(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let name = line.split(['.', '=', ' ']).next().unwrap_or("").replace('-', "_");
        if CLIENTS.contains(&name.as_str()) {
            let instead = "the inside has no client crate; put the adapter into src/ behind a port";
            findings.push(Finding::new(path, index + 1, format!("depends on {name}"), instead));
        }
    }
    findings
}
