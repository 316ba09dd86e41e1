//! Notifications for tests: genuine ones in every allowed shape, and forged ones of every kind we know of (S1). Each
//! [`Template`] makes a body from the fields of one notification; a merchant must take all of [`genuine`] and none of
//! [`forged`].

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};

use crate::gateway::alipay::form;
use crate::gateway::alipay::sign::{SigningKey, canonical_notification, canonical_request};

/// Names and values, `sign_type` among them, `sign` not.
pub type Fields = Vec<(String, String)>;

/// What a forger (or the gateway) has at hand.
pub struct Forge<'a> {
    /// The gateway's key; a forger has seen its signatures but does not have it.
    pub alipay: &'a SigningKey,
    /// Another key: the forger's, or our own.
    pub other: &'a SigningKey,
    /// `alipay` once more, for signatures of other kinds than RSA2.
    pub alipay_raw: &'a KeyPair,
    /// A notification as the gateway would send it.
    pub fields: Fields,
}

/// One way to make a body.
pub struct Template {
    /// For the test's report.
    pub name: String,
    /// The body.
    pub body: Vec<u8>,
}

/// The fields of test vector B, of a payment of 88.88 yuan.
pub fn payment_fields() -> Fields {
    [
        ("gmt_create", "2026-01-01 08:01:00"),
        ("charset", "utf-8"),
        ("gmt_payment", "2026-01-01 08:01:05"),
        ("notify_time", "2026-01-01 08:01:06"),
        ("subject", "Phone X 8G 白色 +1 & more"),
        ("buyer_id", "2088000000000002"),
        ("invoice_amount", "88.88"),
        ("version", "1.0"),
        ("notify_id", "n0001"),
        ("fund_bill_list", r#"[{"amount":"88.88","fundChannel":"ALIPAYACCOUNT"}]"#),
        ("notify_type", "trade_status_sync"),
        ("out_trade_no", "SK20260101000000123456"),
        ("total_amount", "88.88"),
        ("trade_status", "TRADE_SUCCESS"),
        ("trade_no", "2026010122001400000000000001"),
        ("auth_app_id", "2021000000000001"),
        ("receipt_amount", "88.88"),
        ("point_amount", "0.00"),
        ("buyer_pay_amount", "88.88"),
        ("app_id", "2021000000000001"),
        ("sign_type", "RSA2"),
        ("seller_id", "2088000000000001"),
        ("body", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Bodies that must be accepted.
pub fn genuine(forge: &Forge<'_>) -> Vec<Template> {
    let mut all = Vec::new();
    let mut add = |name: &str, body: String| all.push(Template { name: name.to_owned(), body: body.into_bytes() });
    add("as sent", forge.signed(&forge.fields));
    add("sign first, other order", {
        let mut fields = forge.with_sign(&forge.fields);
        fields.reverse();
        encode(&fields)
    });
    add("an unknown field more", forge.signed(&with(&forge.fields, "new_in_2030", "1")));
    add("amount with one decimal", forge.signed(&with(&forge.fields, "total_amount", "88.8")));
    add("amount without decimals", forge.signed(&with(&forge.fields, "total_amount", "88")));
    add("without optional fields", forge.signed(&without(&without(&forge.fields, "subject"), "fund_bill_list")));
    add("an empty field more", forge.signed(&forge.fields) + "&passback_params=");
    add("a certificate number", forge.signed(&forge.fields) + "&alipay_cert_sn=abc");
    add("%20 for a space", forge.signed(&forge.fields).replace('+', "%20"));
    add("lower-case percent-encoding", lower_case_encoding(&forge.signed(&forge.fields)));
    for status in ["WAIT_BUYER_PAY", "TRADE_FINISHED", "TRADE_CLOSED"] {
        add(status, forge.signed(&with(&forge.fields, "trade_status", status)));
    }
    let refund = with(&with(&forge.fields, "refund_fee", "10.00"), "gmt_refund", "2026-01-02 08:00:00.000");
    add("a refund", forge.signed(&refund));
    all
}

/// Bodies that must be refused.
pub fn forged(forge: &Forge<'_>) -> Vec<Template> {
    let mut all = forge.wrong_signatures();
    all.extend(forge.changed_after_signing());
    all.extend(forge.signed_nonsense());
    all.extend(forge.broken_forms());
    all
}

impl Forge<'_> {
    fn sign(&self, fields: &Fields) -> String {
        self.alipay.sign(&canonical_notification(pairs(fields))).unwrap_or_default()
    }

    fn with_sign(&self, fields: &Fields) -> Fields {
        with(fields, "sign", &self.sign(fields))
    }

    fn signed(&self, fields: &Fields) -> String {
        encode(&self.with_sign(fields))
    }

    /// `sign` in another way than RSA2.
    fn raw_signature(&self, how: &'static dyn RsaEncoding) -> String {
        let mut signature = vec![0; self.alipay_raw.public_modulus_len()];
        let text = canonical_notification(pairs(&self.fields));
        let signed = self.alipay_raw.sign(how, &SystemRandom::new(), text.as_bytes(), &mut signature);
        signed.map(|()| STANDARD.encode(signature)).unwrap_or_default()
    }

    fn wrong_signatures(&self) -> Vec<Template> {
        let fields = &self.fields;
        let good = self.sign(fields);
        let bytes = STANDARD.decode(&good).unwrap_or_default();
        let other = self.other.sign(&canonical_notification(pairs(fields))).unwrap_or_default();
        let version_2 = self.alipay.sign(&canonical_request(pairs(fields))).unwrap_or_default();
        let mut flipped = bytes.clone();
        flipped[0] ^= 1;
        let mut longer = bytes.clone();
        longer.insert(0, 0);
        let mut all: Vec<_> = [
            ("empty", String::new()),
            ("not Base64", "****".to_owned()),
            ("four characters", "AAAA".to_owned()),
            ("zeros", STANDARD.encode(vec![0; bytes.len()])),
            ("ones", STANDARD.encode(vec![0xff; bytes.len()])),
            ("one bit flipped", STANDARD.encode(&flipped)),
            ("a zero byte in front", STANDARD.encode(&longer)),
            ("cut short", STANDARD.encode(&bytes[..bytes.len() - 1])),
            ("without padding", STANDARD_NO_PAD.encode(&bytes)),
            ("URL alphabet", URL_SAFE.encode(vec![0xfb; bytes.len()])),
            ("hexadecimal", bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
            ("newline behind", format!("{good}\n")),
            ("space in front", format!(" {good}")),
            ("of another key", other),
            ("of version 2", version_2),
            ("PSS", self.raw_signature(&RSA_PSS_SHA256)),
            ("SHA-512", self.raw_signature(&RSA_PKCS1_SHA512)),
            ("the text itself", canonical_notification(pairs(fields))),
        ]
        .into_iter()
        .map(|(name, sign)| template(&format!("signature: {name}"), encode(&with(fields, "sign", &sign))))
        .collect();
        all.push(template("signature: none", encode(fields)));
        all.push(template("signature: under another name", encode(&with(fields, "Sign", &good))));
        for sign_type in ["RSA", "rsa2", "RSA2 ", "", "none", "HMAC"] {
            let body = self.signed(&with(fields, "sign_type", sign_type));
            all.push(template(&format!("sign_type: {sign_type:?}"), body));
        }
        all.push(template("sign_type: none", self.signed(&without(fields, "sign_type"))));
        all
    }

    /// A seen message with one thing changed.
    fn changed_after_signing(&self) -> Vec<Template> {
        let signed = self.with_sign(&self.fields);
        let mut all = Vec::new();
        for (name, value) in [
            ("out_trade_no", "SK20260101000000999999"),
            ("trade_no", "2026010122001400000000000002"),
            ("total_amount", "88.89"),
            ("total_amount", "88.880"),
            ("total_amount", "0.01"),
            ("trade_status", "TRADE_FINISHED"),
            ("app_id", "2021000000000002"),
            ("seller_id", "2088000000000009"),
            ("notify_id", "n0002"),
            ("notify_time", "2026-01-01 08:01:07"),
            ("notify_type", "other"),
            ("subject", "Phone X 8G 白色  +1 & more"),
            ("buyer_id", "2088000000000003"),
            ("gmt_payment", "2027-01-01 08:01:05"),
            ("receipt_amount", "0.01"),
            ("fund_bill_list", r#"[{"fundChannel":"ALIPAYACCOUNT","amount":"88.88"}]"#),
            ("charset", "UTF-8"),
            ("version", "1.1"),
            ("refund_fee", "0.00"),
            ("new_in_2030", "1"),
            ("body", "not empty"),
        ] {
            all.push(template(&format!("changed: {name}={value}"), encode(&with(&signed, name, value))));
        }
        let required = ["out_trade_no", "trade_no", "total_amount", "trade_status", "app_id", "seller_id", "notify_id"];
        for name in required.into_iter().chain(["subject", "gmt_create", "fund_bill_list"]) {
            all.push(template(&format!("taken out: {name}"), encode(&without(&signed, name))));
            let body = encode(&signed).replace(&format!("{name}="), &format!("{}=", name.to_uppercase()));
            all.push(template(&format!("renamed: {name}"), body));
        }
        let moved = with(&with(&signed, "version", "1.0&x=1"), "subject", "Phone X 8G 白色 +1 ");
        all.push(template("changed: a value moved over a boundary", encode(&moved)));
        all
    }

    /// Signed by the gateway, but not for us, or without sense.
    fn signed_nonsense(&self) -> Vec<Template> {
        let mut all = Vec::new();
        for (name, value) in [
            ("app_id", "2021000000000002"),
            ("seller_id", "2088000000000009"),
            ("total_amount", "1e2"),
            ("total_amount", "-88.88"),
            ("total_amount", "+88.88"),
            ("total_amount", "88.888"),
            ("total_amount", " 88.88"),
            ("total_amount", "NaN"),
            ("total_amount", "8888888888.00"),
            ("trade_status", "TRADE_SUCCES"),
            ("trade_status", "trade_success"),
            ("out_trade_no", "SK1' OR '1'='1"),
            ("out_trade_no", "订单"),
            ("trade_no", "2026 01"),
            ("refund_fee", "-1"),
        ] {
            let body = self.signed(&with(&self.fields, name, value));
            all.push(template(&format!("signed nonsense: {name}={value}"), body));
        }
        for name in ["out_trade_no", "trade_no", "total_amount", "trade_status", "app_id", "seller_id", "notify_id"] {
            let body = self.signed(&without(&self.fields, name));
            all.push(template(&format!("signed without {name}"), body));
            all.push(template(&format!("signed with empty {name}"), self.signed(&with(&self.fields, name, ""))));
        }
        all
    }

    fn broken_forms(&self) -> Vec<Template> {
        let good = self.signed(&self.fields);
        let json = serde_json::to_string(&self.with_sign(&self.fields)).unwrap_or_default();
        let many = (0..100).map(|number| format!("&f{number}=")).collect::<String>();
        let mut gbk = good.replace("%E7%99%BD%E8%89%B2", "%B0%D7%C9%AB").into_bytes();
        let mut all = vec![
            template("form: empty", String::new()),
            template("form: JSON", json),
            template("form: decoded once too often", self.decoded_twice()),
            template("form: encoded twice", good.replace('%', "%25")),
            template("form: the signature's + not encoded", good.replace("%2B", "+")),
            template("form: HTML escaped", good.replace('&', "&amp;")),
            template("form: out_trade_no twice", format!("{good}&out_trade_no=SK20260101000000123456")),
            template("form: total_amount twice, the first one changed", format!("total_amount=0.01&{good}")),
            template("form: sign twice", format!("{good}&sign=AAAA")),
            template("form: a name twice, once encoded", format!("{good}&%73ign=AAAA")),
            template("form: cut off in the middle", good[..good.len() / 2].to_owned()),
            template("form: percent at the end", format!("{good}&x=%")),
            template("form: no hexadecimal digits", format!("{good}&x=%zz")),
            template("form: not UTF-8", format!("{good}&x=%ff")),
            template("form: too many fields", format!("{good}{many}")),
            template("form: too large", format!("{good}&x={}", "x".repeat(64 * 1024))),
            template("form: a field without name", format!("{good}&=x")),
            template("form: byte order mark", format!("\u{feff}{good}")),
            template("form: newline behind", format!("{good}\n")),
            Template { name: "form: GBK".to_owned(), body: gbk.clone() },
        ];
        gbk.extend_from_slice(b"&x=\xb0\xd7");
        all.push(Template { name: "form: raw GBK bytes".to_owned(), body: gbk });
        all
    }

    fn decoded_twice(&self) -> String {
        let fields = self.with_sign(&self.fields);
        fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }
}

fn template(name: &str, body: String) -> Template {
    Template { name: name.to_owned(), body: body.into_bytes() }
}

fn pairs(fields: &Fields) -> impl Iterator<Item = (&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

fn encode(fields: &Fields) -> String {
    form::encode(pairs(fields))
}

fn with(fields: &Fields, name: &str, value: &str) -> Fields {
    let mut fields = fields.clone();
    match fields.iter_mut().find(|(known, _)| known == name) {
        Some(field) => value.clone_into(&mut field.1),
        None => fields.push((name.to_owned(), value.to_owned())),
    }
    fields
}

fn without(fields: &Fields, name: &str) -> Fields {
    fields.iter().filter(|(known, _)| known != name).cloned().collect()
}

fn lower_case_encoding(body: &str) -> String {
    let mut parts = body.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2.min(part.len()));
        lower.push('%');
        lower.push_str(&digits.to_ascii_lowercase());
        lower.push_str(rest);
    }
    lower
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use actors::ports::gateway::NotifyError;

    use super::*;
    use crate::gateway::alipay::notify::{self, Expected};
    use crate::gateway::alipay::sign::VerifyingKey;
    use crate::keys::{generate_rsa_pem, parse_private_pem};

    struct Keys {
        alipay: SigningKey,
        alipay_raw: KeyPair,
        other: SigningKey,
        /// The other key in front: two keys are allowed during a rotation.
        rotating: Vec<VerifyingKey>,
        alipay_only: Vec<VerifyingKey>,
    }

    fn keys() -> Keys {
        let directory = tempfile::tempdir().unwrap();
        let [alipay, other, old] = ["alipay", "other", "old"].map(|name| {
            let files = generate_rsa_pem(directory.path(), name).unwrap();
            [files.private, files.public].map(|path| std::fs::read_to_string(path).unwrap())
        });
        Keys {
            alipay: SigningKey::from_pem(&alipay[0]).unwrap(),
            alipay_raw: parse_private_pem(alipay[0].as_bytes()).unwrap(),
            other: SigningKey::from_pem(&other[0]).unwrap(),
            rotating: VerifyingKey::list_from_pem(&(old[1].clone() + &alipay[1])).unwrap(),
            alipay_only: VerifyingKey::list_from_pem(&alipay[1]).unwrap(),
        }
    }

    fn verify(body: &[u8], keys: &[VerifyingKey]) -> Result<actors::ports::gateway::Notification, NotifyError> {
        notify::verify(body, Expected { app_id: "2021000000000001", seller_id: "2088000000000001", keys })
    }

    #[test]
    fn every_forged_body_is_refused_and_every_genuine_one_is_taken() {
        let keys = keys();
        let forge =
            Forge { alipay: &keys.alipay, other: &keys.other, alipay_raw: &keys.alipay_raw, fields: payment_fields() };
        for verifying in [&keys.alipay_only, &keys.rotating] {
            for Template { name, body } in genuine(&forge) {
                let taken = verify(&body, verifying);
                assert!(taken.is_ok(), "{name}: {taken:?}\n{}", String::from_utf8_lossy(&body));
            }
            for Template { name, body } in forged(&forge) {
                let refused = verify(&body, verifying);
                assert!(refused.is_err(), "{name}\n{}", String::from_utf8_lossy(&body));
            }
        }
        let names: HashSet<_> = forged(&forge).into_iter().map(|template| template.name).collect();
        assert_eq!(names.len(), forged(&forge).len(), "two templates of one name");
        let bodies: HashSet<_> = forged(&forge).into_iter().map(|template| template.body).collect();
        assert!(bodies.len() >= 100, "{}", bodies.len());
        assert!(!bodies.contains(&genuine(&forge)[0].body));
    }

    #[test]
    fn the_reasons_are_told_apart() {
        let keys = keys();
        let forge =
            Forge { alipay: &keys.alipay, other: &keys.other, alipay_raw: &keys.alipay_raw, fields: payment_fields() };
        let reason = |fields: &Fields| verify(forge.signed(fields).as_bytes(), &keys.alipay_only).unwrap_err();
        assert_eq!(reason(&with(&forge.fields, "app_id", "x")), NotifyError::NotOurs("app_id"));
        assert_eq!(reason(&with(&forge.fields, "seller_id", "x")), NotifyError::NotOurs("seller_id"));
        assert_eq!(reason(&with(&forge.fields, "sign_type", "RSA")), NotifyError::BadSignature);
        assert!(matches!(reason(&without(&forge.fields, "trade_no")), NotifyError::Malformed(_)));
        assert!(matches!(verify(b"a=%", &keys.alipay_only), Err(NotifyError::Malformed(_))));
        assert_eq!(verify(b"a=1", &keys.alipay_only), Err(NotifyError::BadSignature));
    }

    #[test]
    fn what_is_read_is_what_was_sent() {
        let keys = keys();
        let forge =
            Forge { alipay: &keys.alipay, other: &keys.other, alipay_raw: &keys.alipay_raw, fields: payment_fields() };
        let body = forge.signed(&forge.fields);
        let read = verify(body.as_bytes(), &keys.alipay_only).unwrap();
        assert_eq!(read.subject, "Phone X 8G 白色 +1 & more");
        assert_eq!(read.amount.to_string(), "88.88");
        assert_eq!(read.order_sn.as_str(), "SK20260101000000123456");
        assert_eq!((read.notify_id.as_str(), read.is_refund, &read.content), ("n0001", false, &body));
        for (name, value, is_refund) in [
            ("refund_fee", "0.00", false),
            ("refund_fee", "0.01", true),
            ("gmt_refund", "2026-01-02 08:00:00.000", true),
        ] {
            let body = forge.signed(&with(&forge.fields, name, value));
            assert_eq!(verify(body.as_bytes(), &keys.alipay_only).unwrap().is_refund, is_refund, "{name}={value}");
        }
    }
}
