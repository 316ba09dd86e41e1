//! The configuration from the outside: defaults, layers, what is refused and how it is said.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use seckill::config::{Config, DEFAULT_TOML, Loaded, Mode, Rate, Sources, Toggle};

fn environment(variables: &[(&str, &str)]) -> Sources {
    let pairs = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Sources { environment: pairs.collect(), ..Sources::default() }
}

fn load(variables: &[(&str, &str)]) -> Config {
    Loaded::load(&environment(variables)).unwrap_or_else(|error| panic!("{variables:?}: {error}")).config
}

#[track_caller]
fn refusal(sources: &Sources) -> Vec<String> {
    Loaded::load(sources).err().expect("must be refused").problems
}

/// A file that lives as long as the test.
struct File {
    _home: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("shop.toml");
    std::fs::write(&path, text).unwrap();
    File { _home: home, path }
}

fn with_file(file: &File) -> Sources {
    Sources { file: Some(file.path.clone()), ..Sources::default() }
}

#[test]
fn the_defaults_are_valid_and_fit_the_contract() {
    let config = Config::defaults();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8092");
    assert_eq!(config.server.internal_listen.to_string(), "127.0.0.1:8093");
    assert_eq!(config.auth.cookie, "GMALL_TOKEN");
    assert_eq!(config.order.payment_timeout, Duration::from_secs(1800));
    assert_eq!(config.order.close_grace, Duration::from_secs(60));
    assert_eq!(config.order.points_per_yuan, 1);
    assert_eq!(config.stock.foreign_lease, Duration::from_secs(1800));
    assert_eq!((config.limits.max_quantity, config.limits.max_lines), (99, 50));
    assert_eq!(config.bus.items_per_message, 256);
    assert_eq!(config.server.max_body_bytes, 64 * 1024);
    assert!(config.server.stop_timeout <= Duration::from_secs(20));
    assert!(config.demo_enabled() && config.uses_sandbox());
    assert_eq!(config.database_path(), PathBuf::from("data/seckill.db"));
}

#[test]
fn every_key_is_explained() {
    let mut section = String::new();
    let mut explained = false;
    for line in DEFAULT_TOML.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, _)) = line.split_once(" = ") {
            assert!(explained || line.starts_with('#'), "{section}.{key} has no comment above it");
        }
        explained = line.starts_with('#');
    }
}

#[test]
fn every_key_can_be_set_from_the_environment_and_from_a_flag() {
    let loaded = Loaded::load(&Sources::default()).unwrap();
    let table: toml::Table = toml::from_str(DEFAULT_TOML).unwrap();
    let mut keys = Vec::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(section) => {
                keys.extend(section.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)))
            }
            value => keys.push((name, value)),
        }
    }
    assert!(keys.len() > 60, "{}", keys.len());
    for (key, value) in keys {
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Array(list) => serde_json::to_string(&list).unwrap(),
            value => value.to_string(),
        };
        assert_eq!(loaded.source(&key), "default");
        let variable = format!("SECKILL__{}", key.to_uppercase().replace('.', "__"));
        let from_environment =
            Loaded::load(&environment(&[(&variable, &text)])).unwrap_or_else(|e| panic!("{key}: {e}"));
        assert_eq!(from_environment.source(&key), format!("environment {variable}"));
        let flags = vec![(key.clone(), text, "--set")];
        let from_flag = Loaded::load(&Sources { flags, ..Sources::default() }).unwrap_or_else(|e| panic!("{key}: {e}"));
        assert_eq!(from_flag.source(&key), "flag --set");
    }
}

#[test]
fn flag_goes_before_environment_before_file_before_default() {
    let file = file("[order]\npayment_timeout = \"10m\"\ntoken_ttl = \"11m\"\nclose_grace = \"12s\"\n");
    let mut sources = with_file(&file);
    let set = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    sources.environment = vec![
        set("SECKILL__ORDER__PAYMENT_TIMEOUT", "20m"),
        set("SECKILL__ORDER__TOKEN_TTL", "21m"),
        set("PATH", "/bin"),
    ];
    sources.flags = vec![
        ("order.payment_timeout".into(), "29m".into(), "--set"),
        ("order.payment_timeout".into(), "30s".into(), "--set"),
    ];
    let loaded = Loaded::load(&sources).unwrap();
    assert_eq!(loaded.config.order.payment_timeout, Duration::from_secs(30), "the last flag counts");
    assert_eq!(loaded.config.order.token_ttl, Duration::from_secs(21 * 60));
    assert_eq!(loaded.config.order.close_grace, Duration::from_secs(12));
    assert_eq!(loaded.source("order.payment_timeout"), "flag --set");
    assert_eq!(loaded.source("order.token_ttl"), "environment SECKILL__ORDER__TOKEN_TTL");
    assert_eq!(loaded.source("order.close_grace"), file.path.display().to_string());
    assert_eq!(loaded.source("order.points_per_yuan"), "default");
}

#[test]
fn text_from_the_environment_has_the_type_of_its_key() {
    let config = load(&[
        ("SECKILL__ALIPAY__APP_ID", "2021000000000001"),
        ("SECKILL__ALIPAY__SELLER_ID", "0088"),
        ("SECKILL__INTERNAL__TOKEN", "1234567890123456"),
        ("SECKILL__ORDER__TOKEN_SECRET", "true"),
        ("SECKILL__AUTH__PUBLIC_KEYS", r#"["a.pem","b.pem"]"#),
        ("SECKILL__SERVER__TRUSTED_PROXIES", r#"["10.0.0.0/8","::1"]"#),
        ("SECKILL__AUTH__OWN_KEY", "true"),
        ("SECKILL__SERVER__WORKERS", "3"),
        ("SECKILL__LIMITS__PER_USER", "100/m burst 7"),
        ("SECKILL__LIMITS__PER_IP", "off"),
        ("SECKILL__LIMITS__SECKILL_PER_USER", "20/s"),
        ("SECKILL__DEMO__ENABLED", "false"),
        ("SECKILL__DATA_DIR", "2026"),
    ]);
    assert_eq!((config.alipay.app_id.as_str(), config.alipay.seller_id.as_str()), ("2021000000000001", "0088"));
    assert_eq!((config.internal.token.expose(), config.order.token_secret.expose()), ("1234567890123456", "true"));
    assert_eq!(config.auth.public_keys, [PathBuf::from("a.pem"), PathBuf::from("b.pem")]);
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.server.workers, 3);
    assert_eq!(config.limits.per_user, Rate::Limited { count: 100, period: Duration::from_secs(60), burst: 7 });
    assert_eq!(config.limits.per_ip, Rate::Off);
    assert_eq!(config.limits.seckill_per_user, Rate::Limited { count: 20, period: Duration::from_secs(1), burst: 20 });
    assert_eq!(config.demo.enabled, Toggle::Off);
    assert_eq!(config.data_dir, PathBuf::from("2026"));
    assert_eq!(
        load(&[("seckill__order__token_ttl", "1m"), ("SECKILL_ORDER", "x")]).order.token_ttl,
        Duration::from_secs(1800)
    );
}

#[test]
fn hostile_values_are_refused_with_their_key_and_source() {
    let cases = [
        ("server.listen", "8092"),
        ("server.listen", "localhost:8092"),
        ("server.listen", "127.0.0.1:70000"),
        ("server.internal_listen", "127.0.0.1:8092"),
        ("server.workers", "two"),
        ("server.workers", "-1"),
        ("server.workers", "2.5"),
        ("server.workers", ""),
        ("server.workers", "99999999999999999999999"),
        ("server.workers", "5000"),
        ("server.max_body_bytes", "0"),
        ("server.backlog", "4294967296"),
        ("server.keep_alive", "0s"),
        ("server.keep_alive", "15"),
        ("server.keep_alive", "-15s"),
        ("server.keep_alive", "soon"),
        ("server.keep_alive", "9999999999999999999999s"),
        ("server.request_timeout", ""),
        ("server.stop_timeout", "1s"),
        ("server.trusted_proxies", "10.0.0.0/8"),
        ("server.trusted_proxies", "[\"10.0.0.0/99\"]"),
        ("server.trusted_proxies", "[1]"),
        ("log.format", "xml"),
        ("log.filter", "seckill=loud"),
        ("database.url", "mysql://root@db/shop"),
        ("database.url", "sqlite::memory:"),
        ("redis.url", "redis://cache"),
        ("redis.more_urls", "[\"redis://cache\"]"),
        ("redis.more_urls", "redis://cache"),
        ("redis.connect_timeout", "1ms"),
        ("redis.response_timeout", "11s"),
        ("redis.pipeline_buffer", "0"),
        ("rabbitmq.url", "amqp://broker"),
        ("rabbitmq.prefetch", "65536"),
        ("rabbitmq.prefetch", "0"),
        ("rabbitmq.prefetch", "2001"),
        ("rabbitmq.confirm_timeout", "10s"),
        ("rabbitmq.heartbeat", "500ms"),
        ("writer.queue", "0"),
        ("writer.max_batch", "1025"),
        ("writer.max_wait", "0ms"),
        ("auth.public_keys", "a.pem"),
        ("auth.public_keys", "[\"1\",\"2\",\"3\",\"4\",\"5\"]"),
        ("auth.own_key", "yes"),
        ("auth.own_key", "1"),
        ("auth.cookie", ""),
        ("auth.cookie", "GMALL TOKEN"),
        ("auth.cookie", "a=b"),
        ("auth.leeway", "1day"),
        ("auth.remembered_tokens", "0"),
        ("internal.token", "two words"),
        ("order.payment_timeout", "0s"),
        ("order.payment_timeout", "1year"),
        ("order.close_grace", "2h"),
        ("order.points_per_yuan", "-1"),
        ("flash_sale.per_user_limit", "0"),
        ("flash_sale.refresh_interval", "1ms"),
        ("flash_sale.challenge", "captcha"),
        ("challenge.difficulty_bits", "29"),
        ("challenge.difficulty_bits", "256"),
        ("challenge.solve_within", "0s"),
        ("challenge.token_life", "2h"),
        ("challenge.spent_tokens", "0"),
        ("challenge.load_on_percent", "101"),
        ("challenge.load_on_percent", "-1"),
        ("challenge.load_off_percent", "0"),
        ("challenge.load_off_after", "0s"),
        ("alipay.gateway_url", "openapi.alipay.com"),
        ("alipay.gateway_url", "ftp://openapi.alipay.com"),
        ("alipay.gateway_url", "http://openapi.alipay.com/gateway.do"),
        ("alipay.gateway_url", "http://127.0.0.1.evil.example/gateway.do"),
        ("alipay.notify_url", "/order/pay/alipay/success"),
        ("alipay.tries", "0"),
        ("stock.queue", "0"),
        ("limits.per_ip", "0/s"),
        ("limits.per_ip", "20"),
        ("limits.per_user", "-20/s"),
        ("limits.per_user", "20/fortnight"),
        ("limits.attempts_per_sale", "-1"),
        ("limits.max_quantity", "0"),
        ("limits.max_lines", "0"),
        ("limits.max_in_flight", "0"),
        ("limits.max_tracked_keys", "1"),
        ("admission.exempt_paths", "[\"healthz\"]"),
        ("bus.items_per_message", "0"),
        ("bus.items_per_message", "1025"),
        ("retention.published", "0s"),
        ("retention.seen", "23h"),
        ("retention.replayed", "4000days"),
        ("demo.enabled", "maybe"),
        ("mode", "both"),
        ("mode", "Embedded"),
        ("data_dir", ""),
    ];
    for (key, value) in cases {
        let variable = format!("SECKILL__{}", key.to_uppercase().replace('.', "__"));
        let problems = refusal(&environment(&[(&variable, value)]));
        let named = problems.iter().any(|line| line.starts_with(key) && line.contains(&variable));
        assert!(named, "{key} = {value:?}: {problems:#?}");
    }
}

#[test]
fn wrong_types_in_a_file_are_refused_with_their_key() {
    for (text, key) in [
        ("[order]\npayment_timeout = 30\n", "order.payment_timeout"),
        ("[server]\nworkers = \"2\"\n", "server.workers"),
        ("[server]\nworkers = true\n", "server.workers"),
        ("[auth]\npublic_keys = \"a.pem\"\n", "auth.public_keys"),
        ("[alipay]\napp_id = 2021000000000001\n", "alipay.app_id"),
        ("[demo]\nenabled = 1\n", "demo.enabled"),
        ("[limits]\nper_ip = 20\n", "limits.per_ip"),
        ("data_dir = []\n", "data_dir"),
    ] {
        let file = file(text);
        let problems = refusal(&with_file(&file));
        let source = file.path.display().to_string();
        assert!(problems.iter().all(|line| line.starts_with(key) && line.contains(&source)), "{text}: {problems:?}");
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    for (variable, hint) in [
        ("SECKILL__SERVER__LISTN", "did you mean server.listen?"),
        ("SECKILL__ORDER__PAYMENT_TIMEOUTS", "did you mean order.payment_timeout?"),
        ("SECKILL__LIMITS__PAYMENT_TIMEOUT", "payment_timeout?"),
        ("SECKILL__PREFETCH", "did you mean rabbitmq.prefetch?"),
        ("SECKILL__MOD", "did you mean mode?"),
        ("SECKILL__SERVER", "it is a section, with keys such as server."),
        ("SECKILL__MODE__X", "did you mean mode?"),
        ("SECKILL__SERVER_LISTEN", "did you mean server.listen?"),
        ("SECKILL__", "did you mean "),
    ] {
        let problems = refusal(&environment(&[(variable, "1")]));
        assert!(problems.len() == 1 && problems[0].contains(hint) && problems[0].contains(variable), "{problems:?}");
    }
    let several = file("mod = 1\n[server]\nlisen = \"x\"\n[extra]\nkey = 1\n");
    let problems = refusal(&with_file(&several));
    assert_eq!(problems.len(), 3, "all of them at once: {problems:?}");
    assert!(problems.iter().all(|line| line.contains("shop.toml")));
    let flags = vec![("order.payment_timeot".into(), "1m".into(), "--set")];
    let problems = refusal(&Sources { flags, ..Sources::default() });
    assert!(problems[0].contains("flag --set") && problems[0].contains("order.payment_timeout"), "{problems:?}");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let missing = Sources { file: Some(PathBuf::from("/nowhere/shop.toml")), ..Sources::default() };
    assert!(refusal(&missing)[0].starts_with("/nowhere/shop.toml: cannot be read"));
    let broken = file("[server]\nlisten = \"x\"\nworkers = = 2\n");
    assert!(refusal(&with_file(&broken))[0].contains("shop.toml, line 3: "), "{:?}", refusal(&with_file(&broken)));
}

#[test]
fn cluster_mode_needs_its_servers_and_secrets() {
    let problems = refusal(&environment(&[("SECKILL__MODE", "cluster"), ("SECKILL__DATABASE__URL", "sqlite:a.db")]));
    for start in [
        "database.url: ",
        "redis.url: ",
        "rabbitmq.url: ",
        "internal.token: ",
        "order.token_secret: ",
        "auth.public_keys: ",
    ] {
        assert!(problems.iter().any(|line| line.starts_with(start)), "{start}: {problems:#?}");
    }
    let complete = [
        ("SECKILL__MODE", "cluster"),
        ("SECKILL__DATABASE__URL", "postgres://db/shop"),
        ("SECKILL__REDIS__URL", "redis://cache"),
        ("SECKILL__RABBITMQ__URL", "amqp://broker"),
        ("SECKILL__INTERNAL__TOKEN", "0123456789abcdef"),
        ("SECKILL__ORDER__TOKEN_SECRET", "0123456789abcdef"),
    ];
    let with = |more| load(&[&complete[..], &[more]].concat());
    assert_eq!(with(("SECKILL__AUTH__PUBLIC_KEYS", "[\"a.pem\"]")).mode, Mode::Cluster);
    assert!(with(("SECKILL__DEMO__ENABLED", "true")).demo_enabled(), "the demo login signs with the own key");
    let problems = refusal(&environment(&complete));
    assert!(problems.len() == 1 && problems[0].starts_with("auth.public_keys: "), "{problems:?}");
    for short in ["SECKILL__INTERNAL__TOKEN", "SECKILL__ORDER__TOKEN_SECRET"] {
        let problems = refusal(&environment(&[&complete[..], &[(short, "short")]].concat()));
        assert!(problems.iter().any(|line| line.contains("16 bytes or more")), "{short}: {problems:?}");
    }
}

#[test]
fn a_real_gateway_needs_everything_that_goes_with_it() {
    let gateway = ("SECKILL__ALIPAY__GATEWAY_URL", "http://[::1]:9000/gateway.do");
    let problems = refusal(&environment(&[gateway]));
    for key in ["app_id", "seller_id", "merchant_private_key", "alipay_public_key"] {
        assert!(
            problems.iter().any(|line| line.starts_with(&format!("alipay.{key}: must be set"))),
            "{key}: {problems:?}"
        );
    }
    let config = load(&[
        gateway,
        ("SECKILL__ALIPAY__APP_ID", "2021000000000001"),
        ("SECKILL__ALIPAY__SELLER_ID", "2088000000000001"),
        ("SECKILL__ALIPAY__MERCHANT_PRIVATE_KEY", "merchant.pem"),
        ("SECKILL__ALIPAY__ALIPAY_PUBLIC_KEY", "alipay.pem"),
    ]);
    assert!(!config.uses_sandbox());
    assert!(
        config.warnings().iter().any(|warning| warning.starts_with("alipay.notify_url")),
        "{:?}",
        config.warnings()
    );
}

#[test]
fn the_demo_is_on_by_itself_only_on_loopback() {
    assert!(load(&[]).demo_enabled());
    let open = load(&[("SECKILL__SERVER__LISTEN", "0.0.0.0:8092")]);
    assert!(!open.demo_enabled());
    let forced = load(&[("SECKILL__SERVER__LISTEN", "0.0.0.0:8092"), ("SECKILL__DEMO__ENABLED", "true")]);
    assert!(forced.demo_enabled() && forced.warnings().iter().any(|warning| warning.starts_with("demo.enabled")));
    let problems =
        refusal(&environment(&[("SECKILL__AUTH__OWN_KEY", "false"), ("SECKILL__AUTH__PUBLIC_KEYS", "[\"a.pem\"]")]));
    assert!(problems[0].starts_with("auth.own_key"), "{problems:?}");
}

#[test]
fn secrets_are_in_no_output() {
    const CANARY: &str = "c4n4ry-c4n4ry-c4n4ry";
    let url = format!("postgres://shop:{CANARY}@db/shop?password={CANARY}");
    let loaded =
        Loaded::load(&environment(&[("SECKILL__INTERNAL__TOKEN", CANARY), ("SECKILL__ORDER__TOKEN_SECRET", CANARY)]))
            .unwrap();
    let shown = loaded.render();
    assert!(!shown.contains(CANARY), "{shown}");
    assert!(
        shown.contains("internal.token = \"<hidden>\"") && shown.contains("order.payment_timeout = \"30m\""),
        "{shown}"
    );
    let problems = refusal(&environment(&[
        ("SECKILL__DATABASE__URL", &url),
        ("SECKILL__REDIS__URL", &url),
        ("SECKILL__INTERNAL__TOKEN", &format!("{CANARY} {CANARY}")),
    ]));
    assert!(problems.len() >= 3 && problems.iter().all(|line| !line.contains(CANARY)), "{problems:?}");
    let number = file("[internal]\ntoken = 123456789012345678\n");
    let problems = refusal(&with_file(&number));
    assert!(
        problems[0].starts_with("internal.token: must be a string") && !problems[0].contains("123456"),
        "{problems:?}"
    );
}

fn seckill(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seckill"));
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_command_prints_values_with_their_sources() {
    let file = file("[stock]\nforeign_lease = \"5m\"\n");
    let path = file.path.display().to_string();
    let output = seckill(
        &["config", "print", "--config", &path, "--listen", "127.0.0.1:1234", "--set", "limits.max_lines=7"],
        &[("SECKILL__ORDER__PAYMENT_TIMEOUT", "15m")],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let line = |key: &str| shown.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap().to_owned();
    assert!(line("server.listen").contains("\"127.0.0.1:1234\"") && line("server.listen").ends_with("# flag --listen"));
    assert!(line("limits.max_lines").contains(" = 7 ") && line("limits.max_lines").ends_with("# flag --set"));
    assert!(line("order.payment_timeout").ends_with("# environment SECKILL__ORDER__PAYMENT_TIMEOUT"));
    assert!(line("stock.foreign_lease").ends_with(&format!("# {path}")));
    assert!(line("mode").ends_with("# default"));
}

#[test]
fn exit_statuses_tell_usage_from_failure() {
    let home = tempfile::tempdir().unwrap();
    let data_dir = home.path().join("data").display().to_string();
    let good = seckill(&["config", "check", "--data-dir", &data_dir], &[]);
    assert_eq!((good.status.code(), text(&good.stdout).as_str()), (Some(0), "configuration is good\n"));
    assert!(!home.path().join("data").exists(), "a check makes nothing");

    let wrong = seckill(&["config", "check"], &[("SECKILL__SERVER__LISTN", "x")]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("did you mean server.listen?"), "{}", text(&wrong.stderr));
    assert_eq!(seckill(&["config", "chek"], &[]).status.code(), Some(2));
    assert_eq!(seckill(&["--set", "novalue"], &[]).status.code(), Some(2));
    let key = seckill(&["config", "check"], &[("SECKILL__AUTH__PUBLIC_KEYS", "[\"/nowhere/a.pem\"]")]);
    assert_eq!(key.status.code(), Some(1));
    assert!(text(&key.stderr).contains("/nowhere/a.pem"), "{}", text(&key.stderr));
}

#[test]
fn a_token_is_issued_by_the_own_key() {
    let home = tempfile::tempdir().unwrap();
    let data_dir = home.path().display().to_string();
    let issued = seckill(&["token", "issue", "--user", "7", "--ttl", "10m", "--data-dir", &data_dir], &[]);
    assert_eq!(issued.status.code(), Some(0), "{}", text(&issued.stderr));
    let mut config = Config::defaults();
    config.data_dir = home.path().to_owned();
    let authenticator = seckill::auth::Authenticator::load(&config).unwrap();
    let now = actors::ports::clock::Clock::now(&seckill::machine::SystemClock);
    let verified = authenticator.verify(text(&issued.stdout).trim_end(), now).unwrap();
    assert_eq!((verified.user_id.0, &*verified.username), (7, "user-7"));
    for arguments in [["--user", "0"], ["--user", "x"], ["--ttl", "soon"]] {
        let output = seckill(&[&["token", "issue"], &arguments[..]].concat(), &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
