//! The documents of the site, made once: assets named by their content, pages that refer to those names, and the
//! content security policy.

use actix_web::http::Uri;
use actix_web::http::header::{EntityTag, HeaderValue};
use actix_web::web::Bytes;
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

/// Half of a SHA-256 in hex is far more than enough to tell versions of one file apart.
const HASH_CHARACTERS: usize = 16;
/// A page is cheap to revalidate; a few seconds in a shared cache carry a burst of buyers.
const PAGE_CACHE_CONTROL: &str = "public, max-age=5, must-revalidate";
/// A hashed name never changes its content.
const ASSET_CACHE_CONTROL: &str = "public, max-age=31536000, immutable";
/// The icon's unhashed name is asked for rarely and changes rarely.
const FAVICON_CACHE_CONTROL: &str = "public, max-age=86400";
const FAVICON: &str = "icon.svg";
/// The place in a page for the origins, besides our own, that a pay form may lead to.
const GATEWAY_ORIGINS: &str = "{gateway-origins}";
/// Alipay's gateway sends the browser on to another host of the same domain, and browsers hold a redirected form to
/// `form-action` too.
const ALIPAY_DOMAINS: [&str; 2] = ["alipay.com", "alipaydev.com"];

/// Path and source file of each page.
const PAGES: [(&str, &str); 4] =
    [("/", "index.html"), ("/orders", "orders.html"), ("/pay/return", "return.html"), ("/docs", "docs.html")];

#[derive(RustEmbed)]
#[folder = "src/web/assets"]
struct Sources;

/// `alipay.gateway_url` is not an absolute http(s) address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway address {0:?} is not an absolute http or https address")]
pub struct BadGatewayUrl(pub String);

/// One thing to serve.
pub(super) struct Document {
    body: Bytes,
    content_type: &'static str,
    etag: EntityTag,
    cache_control: &'static str,
}

impl Document {
    fn new(body: Vec<u8>, content_type: &'static str, cache_control: &'static str) -> Self {
        Self { etag: EntityTag::new_strong(hash_of(&body)), body: Bytes::from(body), content_type, cache_control }
    }

    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }

    pub(super) fn content_type(&self) -> &'static str {
        self.content_type
    }

    pub(super) fn etag(&self) -> &EntityTag {
        &self.etag
    }

    pub(super) fn cache_control(&self) -> &'static str {
        self.cache_control
    }
}

/// The buyer site, ready to serve. Make one per process and share it as `web::Data<Site>`.
pub struct Site {
    pages: HashMap<&'static str, Document>,
    assets: HashMap<String, Document>,
    favicon: Option<Document>,
    policy: HeaderValue,
}

impl Site {
    /// The site of a server whose pay forms go to `gateway_url`. An empty address means this server's own sandbox.
    ///
    /// # Errors
    /// The address is not an absolute http or https address.
    pub fn new(gateway_url: &str) -> Result<Self, BadGatewayUrl> {
        if gateway_url.is_empty() {
            return Ok(Self::without_gateway());
        }
        let origins = form_origins(gateway_url).ok_or_else(|| BadGatewayUrl(gateway_url.to_owned()))?;
        let policy = HeaderValue::from_str(&policy(&format!("'self' {origins}")))
            .map_err(|_| BadGatewayUrl(gateway_url.to_owned()))?;
        Ok(Self::build(&origins, policy))
    }

    pub(super) fn without_gateway() -> Self {
        let policy = HeaderValue::from_str(&policy("'self'")).expect("the policy is plain ASCII");
        Self::build("", policy)
    }

    fn build(gateway_origins: &str, policy: HeaderValue) -> Self {
        let names = Names::of_sources();
        let pages = PAGES
            .iter()
            .filter_map(|(path, file)| {
                let html = names.refer(&text_of(file)?, "/assets/").replace(GATEWAY_ORIGINS, gateway_origins);
                Some((*path, Document::new(html.into_bytes(), content_type(file), PAGE_CACHE_CONTROL)))
            })
            .collect();
        let favicon = Sources::get(FAVICON)
            .map(|source| Document::new(source.data.into_owned(), content_type(FAVICON), FAVICON_CACHE_CONTROL));
        Self { pages, assets: names.into_documents(), favicon, policy }
    }

    /// The page at exactly this path.
    pub(super) fn page(&self, path: &str) -> Option<&Document> {
        self.pages.get(path)
    }

    /// The asset of exactly this hashed name.
    pub(super) fn asset(&self, hashed_name: &str) -> Option<&Document> {
        self.assets.get(hashed_name)
    }

    pub(super) fn favicon(&self) -> Option<&Document> {
        self.favicon.as_ref()
    }

    pub(super) fn policy(&self) -> &HeaderValue {
        &self.policy
    }

    #[cfg(test)]
    pub(super) fn asset_names(&self) -> impl Iterator<Item = &str> {
        self.assets.keys().map(String::as_str)
    }
}

/// The paths of all pages.
pub(super) fn page_paths() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(path, _)| *path)
}

/// The assets while their names are being found. A module's name depends on its content, its content on the names of
/// the modules it imports, so leaves come first.
struct Names {
    /// Source name → hashed name and final content.
    named: BTreeMap<String, (String, Vec<u8>)>,
}

impl Names {
    fn of_sources() -> Self {
        let mut names = Self { named: BTreeMap::new() };
        let mut waiting: Vec<String> =
            Sources::iter().filter(|name| !name.ends_with(".html")).map(|name| name.into_owned()).collect();
        // Each round names what imports nothing unnamed. A circle of imports names nothing: it is left out, and the
        // tests say so.
        while !waiting.is_empty() {
            let before = waiting.len();
            let unnamed = waiting.clone();
            waiting.retain(|name| !names.try_name(name, &unnamed));
            if waiting.len() == before {
                break;
            }
        }
        names
    }

    /// Names one asset, unless it refers to one that has no name yet.
    fn try_name(&mut self, name: &str, unnamed: &[String]) -> bool {
        let Some(source) = Sources::get(name) else { return true };
        let content = match std::str::from_utf8(&source.data) {
            Ok(text) if self.refers_to_unnamed(text, unnamed) => return false,
            Ok(text) => self.refer(text, "./").into_bytes(),
            Err(_) => source.data.into_owned(),
        };
        self.named.insert(name.to_owned(), (hashed(name, &content), content));
        true
    }

    fn refers_to_unnamed(&self, text: &str, unnamed: &[String]) -> bool {
        unnamed.iter().any(|name| !self.named.contains_key(name) && text.contains(&quoted("./", name)))
    }

    /// `text` with every quoted `prefix` + source name replaced by the hashed name.
    fn refer(&self, text: &str, prefix: &str) -> String {
        self.named.iter().fold(text.to_owned(), |text, (name, (hashed_name, _))| {
            text.replace(&quoted(prefix, name), &quoted(prefix, hashed_name))
        })
    }

    fn into_documents(self) -> HashMap<String, Document> {
        self.named
            .into_iter()
            .map(|(name, (hashed_name, content))| {
                (hashed_name, Document::new(content, content_type(&name), ASSET_CACHE_CONTROL))
            })
            .collect()
    }
}

fn quoted(prefix: &str, name: &str) -> String {
    format!("\"{prefix}{name}\"")
}

/// `app.css` → `app.0123456789abcdef.css`.
fn hashed(name: &str, content: &[u8]) -> String {
    let hash = hash_of(content);
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}.{hash}.{extension}"),
        None => format!("{name}.{hash}"),
    }
}

fn hash_of(content: &[u8]) -> String {
    let mut hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(HASH_CHARACTERS);
    hex
}

fn text_of(name: &str) -> Option<String> {
    Sources::get(name).and_then(|source| String::from_utf8(source.data.into_owned()).ok())
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn policy(form_action: &str) -> String {
    format!("default-src 'self'; form-action {form_action}; base-uri 'none'; object-src 'none'; frame-ancestors 'none'")
}

/// The sources of `form-action` for a gateway, separated by blanks.
fn form_origins(gateway_url: &str) -> Option<String> {
    let uri: Uri = gateway_url.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let host = uri.host().filter(|host| !host.is_empty())?;
    // A host may legally hold characters that end a directive.
    if !host.chars().all(|character| character.is_ascii_alphanumeric() || "-._:[]".contains(character)) {
        return None;
    }
    let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    let origin = format!("{scheme}://{host}{port}");
    let relatives = ALIPAY_DOMAINS.iter().find(|domain| host.ends_with(&format!(".{domain}")));
    Some(match relatives {
        Some(domain) => format!("{origin} https://*.{domain}"),
        None => origin,
    })
}
