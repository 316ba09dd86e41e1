//! Every hostile token gets the same refusal, and every honest one is let in. Tokens are made from raw text here, so
//! that they can be wrong in ways no library would write.

use std::sync::LazyLock;
use std::time::Duration;

use actix_web::test::TestRequest;
use actors::domain::{Timestamp, UserId};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{self, KeyPair as _, RsaEncoding};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::config::Config;

/// 2026-01-01T00:00:00Z
const NOW_SECONDS: i64 = 1_767_225_600;
const NOW: Timestamp = Timestamp(NOW_SECONDS * 1000);

struct TestKey {
    pair: KeyPair,
    public_pem: String,
}

impl TestKey {
    fn make() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        Self { public_pem: pem::encode(&pem::Pem::new("PUBLIC KEY", der.as_ref())), pair }
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_with(&signature::RSA_PKCS1_SHA256, header, claims)
    }

    fn sign_with(&self, encoding: &'static dyn RsaEncoding, header: &str, claims: &str) -> String {
        let signed = unsigned(header, claims);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", BASE64.encode(signature))
    }
}

static SHOP: LazyLock<TestKey> = LazyLock::new(TestKey::make);
static NEXT: LazyLock<TestKey> = LazyLock::new(TestKey::make);
static ATTACKER: LazyLock<TestKey> = LazyLock::new(TestKey::make);

fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", BASE64.encode(header), BASE64.encode(claims))
}

const RS256: &str = r#"{"alg":"RS256","typ":"JWT"}"#;

fn claims() -> Value {
    json!({"id": 7, "username": "anna", "exp": NOW_SECONDS + 600})
}

fn with(changes: Value) -> String {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.to_string()
}

fn authenticator_with(change: impl FnOnce(&mut Config)) -> Authenticator {
    let mut config = Config::defaults();
    change(&mut config);
    let keys = KeySet::from_pem(&[("shop", &SHOP.public_pem), ("next", &NEXT.public_pem)]).unwrap();
    Authenticator::new(keys, &config)
}

fn authenticator() -> Authenticator {
    authenticator_with(|_| {})
}

#[track_caller]
fn refused(authenticator: &Authenticator, name: &str, token: &str) {
    // Twice: a refusal must not be remembered as a success.
    for _ in 0..2 {
        let answer = authenticator.verify(token, NOW);
        assert!(matches!(answer, Err(AuthError::Refused(_))), "{name} was let in: {answer:?}");
    }
    assert_eq!(authenticator.remembered.len(), 0, "{name}");
}

#[track_caller]
fn refused_because(authenticator: &Authenticator, reason: &'static str, token: &str) {
    assert_eq!(authenticator.verify(token, NOW).unwrap_err(), AuthError::Refused(reason), "{token}");
}

#[test]
fn an_honest_token_is_let_in_again_and_again() {
    let authenticator = authenticator();
    let token = SHOP.sign(RS256, &claims().to_string());
    for _ in 0..3 {
        let request =
            TestRequest::default().insert_header(("cookie", format!("GMALL_TOKEN={token}"))).to_http_request();
        let identity = authenticator.authenticate(request.headers(), NOW).unwrap();
        assert_eq!(identity, Identity { user_id: UserId(7), username: "anna".into(), from_cookie: true });
    }
    let request = TestRequest::default().insert_header(("authorization", format!("Bearer {token}"))).to_http_request();
    assert!(!authenticator.authenticate(request.headers(), NOW).unwrap().from_cookie);
    assert_eq!(authenticator.remembered.len(), 1);
    let nobody = TestRequest::default().to_http_request();
    assert_eq!(authenticator.authenticate(nobody.headers(), NOW), Err(AuthError::Missing));
}

#[test]
fn the_algorithm_is_ours() {
    let authenticator = authenticator();
    let body = claims().to_string();
    for alg in ["none", "None", "NONE", "rs256", "RS512", "ES256", "HS256", "PS256", ""] {
        let header = json!({"alg": alg}).to_string();
        let bare = unsigned(&header, &body);
        refused(&authenticator, "empty signature", &format!("{bare}."));
        refused(&authenticator, "no signature", &bare);
        refused_because(&authenticator, "algorithm", &SHOP.sign(&header, &body));
    }
    for header in [r#"{"typ":"JWT"}"#, r#"{"alg":null}"#, r#"{"alg":["RS256"]}"#] {
        refused_because(&authenticator, "algorithm", &SHOP.sign(header, &body));
    }
    // Signed another way under our algorithm's name.
    for encoding in [&signature::RSA_PSS_SHA256 as &'static dyn RsaEncoding, &signature::RSA_PKCS1_SHA512] {
        refused_because(&authenticator, "signature", &SHOP.sign_with(encoding, RS256, &body));
    }
    refused(&authenticator, "empty signature", &format!("{}.", unsigned(RS256, &body)));
}

#[test]
fn the_public_key_is_not_a_shared_secret() {
    let authenticator = authenticator();
    for alg in ["HS256", "RS256"] {
        for secret in
            [SHOP.public_pem.clone(), SHOP.public_pem.trim_end().to_owned(), SHOP.public_pem.replace("\r\n", "\n")]
        {
            let signed = unsigned(&json!({"alg": alg}).to_string(), &claims().to_string());
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            mac.update(signed.as_bytes());
            let token = format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes()));
            refused(&authenticator, "HMAC with the public key", &token);
        }
    }
}

#[test]
fn no_key_comes_from_the_token() {
    let authenticator = authenticator();
    let body = claims().to_string();
    for (name, value) in [
        ("jwk", json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})),
        ("jku", json!("https://evil.example/keys.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
    ] {
        let header = json!({"alg": "RS256", name: value}).to_string();
        refused_because(&authenticator, "signature", &ATTACKER.sign(&header, &body));
        assert!(authenticator_with(|_| {}).verify(&SHOP.sign(&header, &body), NOW).is_ok(), "{name} is not looked at");
    }
    for crit in [json!(["exp"]), json!([]), json!(null)] {
        let header = json!({"alg": "RS256", "crit": crit}).to_string();
        refused_because(&authenticator, "crit", &SHOP.sign(&header, &body));
    }
    refused_because(&authenticator, "signature", &ATTACKER.sign(RS256, &body));
}

#[test]
fn a_kid_names_one_key_and_its_absence_tries_all() {
    let body = claims().to_string();
    let header = |kid: Value| json!({"alg": "RS256", "kid": kid}).to_string();
    for key in [&*SHOP, &*NEXT] {
        assert!(authenticator().verify(&key.sign(RS256, &body), NOW).is_ok());
    }
    assert!(authenticator().verify(&SHOP.sign(&header(json!("shop")), &body), NOW).is_ok());
    assert!(authenticator().verify(&NEXT.sign(&header(json!("next")), &body), NOW).is_ok());

    let authenticator = authenticator();
    refused_because(&authenticator, "signature", &SHOP.sign(&header(json!("next")), &body));
    refused_because(&authenticator, "unknown kid", &SHOP.sign(&header(json!("other")), &body));
    for kid in [
        json!(""),
        json!("../../shop"),
        json!("' OR 1=1 --"),
        json!("a".repeat(65)),
        json!(7),
        json!(null),
        json!("shop\0"),
    ] {
        refused_because(&authenticator, "kid", &SHOP.sign(&header(kid), &body));
    }
    refused_because(&authenticator, "too long", &SHOP.sign(&header(json!("k".repeat(10_240))), &body));
}

#[test]
fn times_are_whole_seconds_within_the_leeway() {
    let authenticator = authenticator();
    let without_exp = json!({"id": 7}).to_string();
    refused_because(&authenticator, "exp", &SHOP.sign(RS256, &without_exp));
    for exp in [
        json!(null),
        json!("9999999999"),
        json!(9_999_999_999.5),
        json!(1e9),
        json!(-1),
        json!(NOW_SECONDS * 1000 + 600_000),
        json!(u64::MAX),
        json!(9_223_372_036_854_775_808_u64),
        json!(true),
        json!([NOW_SECONDS + 600]),
    ] {
        refused_because(&authenticator, "exp", &SHOP.sign(RS256, &with(json!({"exp": exp}))));
    }
    refused_because(&authenticator, "expired", &SHOP.sign(RS256, &with(json!({"exp": NOW_SECONDS - 30}))));
    refused_because(&authenticator, "expired", &SHOP.sign(RS256, &with(json!({"exp": 0}))));
    for name in ["nbf", "iat"] {
        refused_because(&authenticator, "not yet valid", &SHOP.sign(RS256, &with(json!({name: NOW_SECONDS + 31}))));
        for wrong in [json!("1"), json!(1.5), json!(-5), json!(null), json!({})] {
            refused_because(&authenticator, name, &SHOP.sign(RS256, &with(json!({name: wrong}))));
        }
    }
    let near = json!({"exp": NOW_SECONDS - 29, "nbf": NOW_SECONDS + 30, "iat": NOW_SECONDS + 30});
    assert!(authenticator.verify(&SHOP.sign(RS256, &with(near)), NOW).is_ok());
}

#[test]
fn a_remembered_token_still_expires() {
    let authenticator = authenticator();
    let token = SHOP.sign(RS256, &claims().to_string());
    assert!(authenticator.verify(&token, NOW).is_ok());
    let last_moment = Timestamp(NOW.0 + 629_999);
    assert!(authenticator.verify(&token, last_moment).is_ok());
    assert_eq!(authenticator.verify(&token, Timestamp(NOW.0 + 630_000)), Err(AuthError::Refused("expired")));
}

#[test]
fn the_user_id_has_one_form() {
    let id = |id: Value| authenticator().verify(&SHOP.sign(RS256, &with(json!({"id": id}))), NOW).map(|v| v.user_id);
    assert_eq!(id(json!(1)), Ok(UserId(1)));
    assert_eq!(id(json!("1")), Ok(UserId(1)));
    assert_eq!(id(json!(i64::MAX)), Ok(UserId(i64::MAX)));
    assert_eq!(id(json!(i64::MAX.to_string())), Ok(UserId(i64::MAX)));
    for bad in [
        json!(0),
        json!(-1),
        json!(1.0),
        json!(9_223_372_036_854_775_808_u64),
        json!("0"),
        json!("-1"),
        json!("+1"),
        json!("1 "),
        json!(" 1"),
        json!("1e3"),
        json!("01"),
        json!("0x1"),
        json!("１"),
        json!(""),
        json!("9223372036854775808"),
        json!(null),
        json!([1]),
        json!(true),
    ] {
        assert_eq!(id(bad.clone()), Err(AuthError::Refused("id")), "{bad}");
    }
    assert_eq!(
        authenticator().verify(&SHOP.sign(RS256, &json!({"exp": NOW_SECONDS + 9}).to_string()), NOW),
        Err(AuthError::Refused("id"))
    );
}

#[test]
fn the_user_name_may_be_absent_but_not_wrong() {
    let name = |name: Value| authenticator().verify(&SHOP.sign(RS256, &with(json!({"username": name}))), NOW);
    assert_eq!(&*name(json!("安娜")).unwrap().username, "安娜");
    assert_eq!(&*name(json!(null)).unwrap().username, "");
    for bad in [json!(7), json!(["x"]), json!("x".repeat(257))] {
        assert_eq!(name(bad.clone()), Err(AuthError::Refused("username")), "{bad}");
    }
}

#[test]
fn the_form_is_exact() {
    let authenticator = authenticator();
    let good = SHOP.sign(RS256, &claims().to_string());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    for (name, token) in [
        ("empty", String::new()),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{good}.x")),
        ("five parts", format!("{good}.x.y")),
        ("no header", format!(".{}", good.split_once('.').unwrap().1)),
        ("padding", format!("{good}=")),
        ("standard alphabet", format!("{signed}.{}", signature.replace('-', "+").replace('_', "/") + "+")),
        ("white space", format!(" {good}")),
        ("line feed", format!("{good}\n")),
        ("changed signature", format!("{signed}.{flipped}{}", &signature[1..])),
        ("short signature", format!("{signed}.{}", &signature[..signature.len() - 4])),
        ("not JSON", SHOP.sign(RS256, "claims")),
        ("an array", SHOP.sign(RS256, "[]")),
        ("header not JSON", SHOP.sign("RS256", &claims().to_string())),
        ("header twice alg", SHOP.sign(r#"{"alg":"RS256","alg":"RS256"}"#, &claims().to_string())),
        ("claim twice", SHOP.sign(RS256, &format!(r#"{{"id":7,"id":8,"exp":{}}}"#, NOW_SECONDS + 60))),
        ("unknown claim twice", SHOP.sign(RS256, &format!(r#"{{"id":7,"x":1,"x":2,"exp":{}}}"#, NOW_SECONDS + 60))),
        ("deep", SHOP.sign(RS256, &format!("{{\"x\":{}{}}}", "[".repeat(500), "]".repeat(500)))),
        ("not UTF-8", {
            let signed = format!(
                "{}.{}",
                BASE64.encode(RS256),
                BASE64.encode(b"{\"id\":7,\"username\":\"\xff\",\"exp\":9999999999}")
            );
            let mut signature = vec![0; 256];
            SHOP.pair
                .sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
                .unwrap();
            format!("{signed}.{}", BASE64.encode(signature))
        }),
        ("other claims under the signature", {
            let other = unsigned(RS256, &with(json!({"id": 8})));
            format!("{other}.{signature}")
        }),
        ("over 4 KiB", SHOP.sign(RS256, &with(json!({"x": "y".repeat(3_000)})))),
    ] {
        refused(&authenticator, name, &token);
    }
    // Loose bits at the end of a part are another spelling of the same bytes.
    let mut loose = good.clone();
    let last = loose.pop().unwrap();
    loose.push(if last == 'A' { 'B' } else { 'z' });
    refused(&authenticator, "changed last letter", &loose);
}

#[test]
fn issuer_audience_and_lifetime_count_when_configured() {
    let verify = |change: fn(&mut Config), claims: Value| {
        authenticator_with(change).verify(&SHOP.sign(RS256, &with(claims)), NOW).map(|_| ())
    };
    let issuer: fn(&mut Config) = |config| config.auth.issuer = "shop".into();
    assert_eq!(verify(issuer, json!({"iss": "shop"})), Ok(()));
    for bad in [json!({}), json!({"iss": "other"}), json!({"iss": ["shop"]}), json!({"iss": "Shop"})] {
        assert_eq!(verify(issuer, bad), Err(AuthError::Refused("iss")));
    }
    let audience: fn(&mut Config) = |config| config.auth.audience = "seckill".into();
    assert_eq!(verify(audience, json!({"aud": "seckill"})), Ok(()));
    assert_eq!(verify(audience, json!({"aud": ["other", "seckill"]})), Ok(()));
    for bad in [
        json!({}),
        json!({"aud": "other"}),
        json!({"aud": ["other"]}),
        json!({"aud": []}),
        json!({"aud": {"seckill": 1}}),
    ] {
        assert_eq!(verify(audience, bad), Err(AuthError::Refused("aud")));
    }
    let lifetime: fn(&mut Config) = |config| config.auth.max_lifetime = Duration::from_secs(700);
    assert_eq!(verify(lifetime, json!({"iat": NOW_SECONDS - 100})), Ok(()));
    for bad in [json!({}), json!({"iat": NOW_SECONDS - 101})] {
        assert_eq!(verify(lifetime, bad), Err(AuthError::Refused("lifetime")));
    }
}

#[test]
fn another_implementation_agrees_both_ways() {
    let home = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    config.data_dir = home.path().to_owned();
    let authenticator = Authenticator::load(&config).unwrap();
    let ours = own_issuer(&config).unwrap().issue(UserId(7), "anna", NOW, Duration::from_secs(600)).unwrap();
    assert_eq!(authenticator.verify(&ours, NOW).unwrap().user_id, UserId(7));

    let public = std::fs::read(home.path().join("jwt.public.pem")).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    let theirs =
        jsonwebtoken::decode::<Value>(&ours, &DecodingKey::from_rsa_pem(&public).unwrap(), &validation).unwrap();
    assert_eq!(theirs.claims, json!({"id": 7, "username": "anna", "iat": NOW_SECONDS, "exp": NOW_SECONDS + 600}));

    let private = std::fs::read(home.path().join("jwt.private.pem")).unwrap();
    let key = EncodingKey::from_rsa_pem(&private).unwrap();
    let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims(), &key).unwrap();
    assert_eq!(&*authenticator.verify(&token, NOW).unwrap().username, "anna");
}

#[test]
fn an_issuer_keeps_to_what_would_be_accepted() {
    let home = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    config.data_dir = home.path().to_owned();
    config.auth.issuer = "shop".into();
    config.auth.audience = "seckill".into();
    config.auth.max_lifetime = Duration::from_secs(3600);
    let issuer = own_issuer(&config).unwrap();
    let issue = |id: i64, seconds: u64| issuer.issue(UserId(id), "anna", NOW, Duration::from_secs(seconds));
    let authenticator = Authenticator::load(&config).unwrap();
    assert!(authenticator.verify(&issue(1, 3600).unwrap(), NOW).is_ok());
    for (id, seconds) in [(0, 60), (-1, 60), (1, 0), (1, 3601), (1, u64::MAX)] {
        assert!(issue(id, seconds).is_err(), "{id} {seconds}");
    }
}

#[test]
fn keys_that_are_not_fit_are_refused_at_start() {
    let reason = |keys: &[(&str, &str)]| format!("{:#}", KeySet::from_pem(keys).err().expect("must be refused"));
    assert!(reason(&[("a", "")]).contains("not a PEM file"));
    assert!(reason(&[("a", &SHOP.public_pem), ("a", &NEXT.public_pem)]).contains("two keys have the name a"));
    let private = pem::encode(&pem::Pem::new("PRIVATE KEY", vec![1, 2, 3]));
    assert!(reason(&[("a", &private)]).contains("private key"));
    let rubbish = pem::encode(&pem::Pem::new("PUBLIC KEY", vec![1, 2, 3]));
    assert!(reason(&[("a", &rubbish)]).contains("not an RSA public key"));
    assert!(reason(&[("a", RSA_1024)]).contains("1024 bits"), "{}", reason(&[("a", RSA_1024)]));
}

#[test]
fn files_name_their_kid_and_the_own_private_key_must_be_private() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    config.data_dir = home.path().join("data");
    config.auth.public_keys = vec![home.path().join("shop-2026.pem")];
    assert!(format!("{:#}", Authenticator::load(&config).err().unwrap()).contains("shop-2026.pem"));
    std::fs::write(home.path().join("shop-2026.pem"), &SHOP.public_pem).unwrap();
    let authenticator = Authenticator::load(&config).unwrap();
    let token = SHOP.sign(r#"{"alg":"RS256","kid":"shop-2026"}"#, &claims().to_string());
    assert!(authenticator.verify(&token, NOW).is_ok());

    let private = config.data_dir.join("jwt.private.pem");
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(format!("{:#}", Authenticator::load(&config).err().unwrap()).contains("chmod 600"));

    config.auth.own_key = false;
    let strict = Authenticator::load(&config).unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
    let own = own_issuer(&config).unwrap().issue(UserId(1), "", NOW, Duration::from_secs(60)).unwrap();
    assert_eq!(strict.verify(&own, NOW), Err(AuthError::Refused("unknown kid")));
}

#[test]
fn the_memory_of_tokens_is_bounded() {
    let authenticator = authenticator_with(|config| config.auth.remembered_tokens = 10);
    for id in 1..=50 {
        assert!(authenticator.verify(&SHOP.sign(RS256, &with(json!({"id": id}))), NOW).is_ok());
        assert!(authenticator.remembered.len() <= 10);
    }
}

#[test]
fn no_message_holds_a_part_of_a_token() {
    let token = SHOP.sign(RS256, "{}");
    let error = authenticator().verify(&token, NOW).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("eyJ"));
}

/// A key below the least size, made for this test and used nowhere.
const RSA_1024: &str = include_str!("testdata/rsa1024.public.pem");
