//! Canonical strings and RSA2 (RSASSA-PKCS1-v1_5 with SHA-256). The `rsa` crate is not used: RUSTSEC-2023-0071.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, PublicEncryptingKey};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;

/// The only `sign_type` that is sent or accepted.
pub const SIGN_TYPE: &str = "RSA2";
/// Longest wait for a signing thread.
const SIGN_WAIT: Duration = Duration::from_secs(2);

/// Why a key or a signature could not be had. Never holds key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The PEM text is not such a key, or it has fewer than 2048 bits.
    #[error("{0}")]
    Key(String),
    /// The implementation refused, or the signing thread went away.
    #[error("signing failed")]
    Failed,
    /// All signing threads were busy for 2 s.
    #[error("signing is too busy")]
    Busy,
}

/// The string that a request's signature covers: without `sign` and empty ones, sorted by key bytes, `sign_type` stays.
pub fn canonical_request<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    canonical(fields, &["sign"])
}

/// The string that the signature of a payment notification ("V1") or of the browser's return covers: as
/// [`canonical_request`], also without `sign_type` and `alipay_cert_sn`. "V2", which keeps `sign_type`, is for messages
/// that are not payments and is not accepted beside it.
pub fn canonical_notification<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    canonical(fields, &["sign", "sign_type", "alipay_cert_sn"])
}

fn canonical<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>, dropped: &[&str]) -> String {
    let kept = |(name, value): &(&str, &str)| !name.is_empty() && !value.is_empty() && !dropped.contains(name);
    let mut fields: Vec<_> = fields.into_iter().filter(kept).collect();
    fields.sort_unstable();
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// A private key.
pub struct SigningKey(KeyPair);

impl SigningKey {
    /// From PEM, PKCS#8 or PKCS#1.
    ///
    /// # Errors
    /// [`SignError::Key`] when it is no such key or has fewer than 2048 bits.
    pub fn from_pem(text: &str) -> Result<Self, SignError> {
        crate::keys::parse_private_pem(text.as_bytes()).map(Self).map_err(|error| SignError::Key(error.to_string()))
    }

    /// The signature in Base64 (344 characters for 2048 bits). About 1 ms of CPU; in async code use [`Signer`].
    ///
    /// # Errors
    /// [`SignError::Failed`].
    pub fn sign(&self, text: &str) -> Result<String, SignError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| SignError::Failed)?;
        Ok(STANDARD.encode(signature))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// A public key.
pub struct VerifyingKey {
    key: ParsedPublicKey,
    signature_bytes: usize,
}

impl VerifyingKey {
    /// From PEM, SPKI. A file may hold two keys while the gateway rotates its own.
    ///
    /// # Errors
    /// [`SignError::Key`] when there is none, more than two, or one has fewer than 2048 bits.
    pub fn list_from_pem(text: &str) -> Result<Vec<Self>, SignError> {
        let blocks = pem::parse_many(text).map_err(|_| SignError::Key("not a PEM file".to_owned()))?;
        if !(1..=2).contains(&blocks.len()) {
            return Err(SignError::Key(format!("one or two public keys wanted, {} found", blocks.len())));
        }
        blocks.iter().map(Self::from_block).collect()
    }

    fn from_block(block: &pem::Pem) -> Result<Self, SignError> {
        if block.tag() != "PUBLIC KEY" {
            return Err(SignError::Key("not a public key (SPKI)".to_owned()));
        }
        let refused = |error| SignError::Key(format!("RSA public key refused: {error}"));
        // Parsed twice: this type knows its size and refuses small keys, the other one verifies.
        let signature_bytes = PublicEncryptingKey::from_der(block.contents()).map_err(refused)?.key_size_bytes();
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, block.contents()).map_err(refused)?;
        Ok(Self { key, signature_bytes })
    }

    /// Whether `signature` (standard Base64 with padding) is this key's signature of `text`.
    pub fn verify(&self, text: &[u8], signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        signature.len() == self.signature_bytes && self.key.verify_sig(text, &signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(..)")
    }
}

/// Signs on blocking threads, at most one per core at a time: an event loop must not stand still for a millisecond.
#[derive(Debug)]
pub struct Signer {
    key: Arc<SigningKey>,
    threads: Arc<Semaphore>,
}

impl Signer {
    /// A signer with this key.
    pub fn new(key: SigningKey) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { key: Arc::new(key), threads: Arc::new(Semaphore::new(cores)) }
    }

    /// The key, for callers that are not async.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The signature of `text` in Base64. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`SignError::Busy`] after 2 s of waiting for a thread, [`SignError::Failed`].
    pub async fn sign(&self, text: String) -> Result<String, SignError> {
        let thread = tokio::time::timeout(SIGN_WAIT, Arc::clone(&self.threads).acquire_owned()).await;
        let thread = thread.map_err(|_| SignError::Busy)?.map_err(|_| SignError::Failed)?;
        let key = Arc::clone(&self.key);
        let signing = tokio::task::spawn_blocking(move || {
            let signature = key.sign(&text);
            drop(thread); // Only now, so a dropped caller does not let more threads in.
            signature
        });
        signing.await.map_err(|_| SignError::Failed)?
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::gateway::alipay::form;

    fn sha256(text: &str) -> String {
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn vector_a_request() {
        let text = canonical_request([
            ("version", "1.0"),
            ("app_id", "2021000000000001"),
            ("method", "alipay.trade.page.pay"),
            ("format", "JSON"),
            ("charset", "utf-8"),
            ("sign_type", "RSA2"),
            ("sign", "dropped"),
            ("app_auth_token", ""),
            ("timestamp", "2026-01-01 08:00:00"),
            ("notify_url", "https://shop.example/pay/alipay/notify"),
            ("return_url", "https://shop.example/pay/return"),
            (
                "biz_content",
                r#"{"out_trade_no":"SK20260101000000123456","product_code":"FAST_INSTANT_TRADE_PAY","total_amount":"88.88","subject":"Phone X 8G 白色","time_expire":"2026-01-01 08:30:00"}"#,
            ),
        ]);
        assert_eq!(text.len(), 411);
        assert_eq!(sha256(&text), "9cc85c6954f7c91dd72a6f927a1f43c74f1495f264eb559b1363c9f5cd59859f");
    }

    #[test]
    fn vector_b_notification() {
        let body = "gmt_create=2026-01-01+08%3A01%3A00&charset=utf-8&gmt_payment=2026-01-01+08%3A01%3A05&notify_time=2026-01-01+08%3A01%3A06&subject=Phone+X+8G+%E7%99%BD%E8%89%B2&sign=AAAA&buyer_id=2088000000000002&invoice_amount=88.88&version=1.0&notify_id=n0001&fund_bill_list=%5B%7B%22amount%22%3A%2288.88%22%2C%22fundChannel%22%3A%22ALIPAYACCOUNT%22%7D%5D&notify_type=trade_status_sync&out_trade_no=SK20260101000000123456&total_amount=88.88&trade_status=TRADE_SUCCESS&trade_no=2026010122001400000000000001&auth_app_id=2021000000000001&receipt_amount=88.88&point_amount=0.00&buyer_pay_amount=88.88&app_id=2021000000000001&sign_type=RSA2&seller_id=2088000000000001&body=";
        let fields = form::parse(body.as_bytes()).unwrap();
        let text = canonical_notification(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        assert!(text.starts_with("app_id=2021000000000001&auth_app_id="), "{text}");
        assert!(text.ends_with("&trade_status=TRADE_SUCCESS&version=1.0"), "{text}");
        assert!(!text.contains("body="), "{text}");
        assert_eq!(text.len(), 567);
        assert_eq!(sha256(&text), "6d79dd6b35a16bb589450251c168ab697637775abeaa34eb1cf62038eb4fd6b6");
    }

    fn pair() -> (String, String) {
        let directory = tempfile::tempdir().unwrap();
        let files = crate::keys::generate_rsa_pem(directory.path(), "test").unwrap();
        (std::fs::read_to_string(files.private).unwrap(), std::fs::read_to_string(files.public).unwrap())
    }

    #[test]
    fn a_signature_verifies_under_its_own_key_and_text_only() {
        let (private, public) = pair();
        let (_, other) = pair();
        let key = SigningKey::from_pem(&private).unwrap();
        let signature = key.sign("a=1&b=2").unwrap();
        assert_eq!(signature.len(), 344);

        let both = VerifyingKey::list_from_pem(&format!("{public}{other}")).unwrap();
        assert!(both[0].verify(b"a=1&b=2", &signature));
        assert!(!both[0].verify(b"a=1&b=3", &signature));
        assert!(!both[1].verify(b"a=1&b=2", &signature));
        for broken in ["", "AAAA", signature.trim_end_matches('='), &format!("{signature}\n"), &format!(" {signature}")]
        {
            assert!(!both[0].verify(b"a=1&b=2", broken), "{broken:?}");
        }
    }

    #[test]
    fn a_debug_print_shows_no_key() {
        let (private, public) = pair();
        let key = SigningKey::from_pem(&private).unwrap();
        assert_eq!(format!("{:?}", Signer::new(key).key()), "SigningKey(..)");
        assert_eq!(format!("{:?}", VerifyingKey::list_from_pem(&public).unwrap()), "[VerifyingKey(..)]");
    }

    #[test]
    fn pkcs1_is_read_and_other_texts_are_not() {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().unwrap();
        // PKCS#8 of an RSA key wraps PKCS#1 behind a header of 26 bytes.
        let pkcs1 = pem::encode(&pem::Pem::new("RSA PRIVATE KEY", &pkcs8.as_ref()[26..]));
        let (_, public) = pair();
        assert_eq!(SigningKey::from_pem(&pkcs1).unwrap().sign("x").unwrap().len(), 344);
        for text in ["", "MIIE", &public, &pkcs1.replace("RSA ", "EC ")] {
            assert!(SigningKey::from_pem(text).is_err(), "{text:.40}");
        }
        for text in ["", "MIIE", &pkcs1, &public.repeat(3)] {
            assert!(VerifyingKey::list_from_pem(text).is_err(), "{text:.40}");
        }
    }

    #[test]
    fn small_keys_are_refused() {
        // 1024 bits, made for this test; its private half is gone. A private key of that size is refused by the same
        // check inside the RSA implementation.
        let refusal = VerifyingKey::list_from_pem(include_str!("testdata/rsa1024.public.pem")).unwrap_err();
        assert!(refusal.to_string().contains("TooSmall"), "{refusal}");
    }

    proptest! {
        #[test]
        fn order_and_empty_fields_do_not_matter(
            fields in proptest::collection::btree_map("[^=&]{0,6}", ".{0,12}", 0..12), seed in any::<usize>()
        ) {
            let mut shuffled: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let text = canonical_notification(shuffled.iter().copied());
            if !shuffled.is_empty() {
                let turn = seed % shuffled.len();
                shuffled.rotate_left(turn);
            }
            shuffled.push(("an_empty_one", ""));
            prop_assert_eq!(canonical_notification(shuffled), text);
        }
    }
}
