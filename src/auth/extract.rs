//! Where a token stands in a request, and whether the request comes from our own pages.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use memchr::memchr;

/// A token as it was sent. No Debug: a token is never logged.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The token.
    pub token: &'a str,
    /// Whether it stood in the cookie, which a browser sends by itself.
    pub from_cookie: bool,
}

/// Finds the token: `Authorization: Bearer` first, then the cookie. Nothing is copied; another scheme of Authorization
/// is passed over.
pub fn bearer_or_cookie<'a>(headers: &'a HeaderMap, cookie_name: &str) -> Option<Credentials<'a>> {
    if let Some(token) = bearer(headers) {
        return Some(Credentials { token, from_cookie: false });
    }
    let token = headers.get_all(COOKIE).find_map(|header| cookie(text(header)?, cookie_name))?;
    Some(Credentials { token, from_cookie: true })
}

/// The token of `Authorization: Bearer …`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers.get(AUTHORIZATION)?)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// `HeaderValue::to_str` looks at each byte by itself, which shows on the hot path; a token with odd characters is refused
/// by its signature anyway.
fn text(header: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(header.as_bytes()).ok()
}

fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let value = pairs(header).find_map(|pair| pair.trim_start().strip_prefix(name)?.strip_prefix('='))?.trim_end();
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (!unquoted.is_empty()).then_some(unquoted)
}

/// What stands between semicolons. `str::split` uses no vector instructions, which shows on the hot path: a token has
/// several hundred bytes.
fn pairs(header: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(header);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr(b';', text.as_bytes());
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// Whether a call that carries a cookie comes from one of our own pages, or from no page at all.
///
/// A browser says where a call comes from in `Sec-Fetch-Site` or, where it sends none (plain http), in `Origin`.
/// A call with neither is not made by a script of another page.
pub fn same_origin(request: &HttpRequest) -> bool {
    let headers = request.headers();
    match headers.get(HeaderName::from_static("sec-fetch-site")).map(|value| value.as_bytes()) {
        Some(b"same-origin") => true,
        Some(b"none") | None => origin_is_host(headers),
        Some(_) => false,
    }
}

fn origin_is_host(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let (Some(origin), Some(host)) = (text(origin), headers.get(HOST).and_then(text)) else { return false };
    // The proxy in front ends TLS, so the scheme that the browser saw is not known here.
    origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")) == Some(host.as_str())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn found(headers: &[(&str, &str)]) -> Option<(String, bool)> {
        let mut request = TestRequest::default();
        for header in headers {
            request = request.append_header(*header);
        }
        let request = request.to_http_request();
        bearer_or_cookie(request.headers(), "GMALL_TOKEN").map(|c| (c.token.to_owned(), c.from_cookie))
    }

    #[test]
    fn the_token_is_found_wherever_it_stands() {
        let cookie = |token: &str| Some((token.to_owned(), true));
        let bearer = |token: &str| Some((token.to_owned(), false));
        assert_eq!(found(&[("authorization", "Bearer a.b.c")]), bearer("a.b.c"));
        assert_eq!(found(&[("authorization", "bEARER  a.b.c")]), bearer("a.b.c"));
        assert_eq!(found(&[("cookie", "GMALL_TOKEN=a.b.c")]), cookie("a.b.c"));
        assert_eq!(found(&[("cookie", "x=1; GMALL_TOKEN=a.b.c; y=2")]), cookie("a.b.c"));
        assert_eq!(found(&[("cookie", ";;GMALL_TOKEN=a.b.c;")]), cookie("a.b.c"));
        assert_eq!(found(&[("cookie", "x=é;GMALL_TOKEN=a.b.c;é=1")]), cookie("a.b.c"));
        assert_eq!(found(&[("cookie", "x=1;GMALL_TOKEN=\"a.b.c\" ;y=2")]), cookie("a.b.c"));
        assert_eq!(found(&[("cookie", "x=1"), ("cookie", "GMALL_TOKEN=a.b.c")]), cookie("a.b.c"));
        assert_eq!(found(&[("authorization", "Bearer bad"), ("cookie", "GMALL_TOKEN=a.b.c")]), bearer("bad"));
        assert_eq!(found(&[("authorization", "Basic eDp5"), ("cookie", "GMALL_TOKEN=a.b.c")]), cookie("a.b.c"));
    }

    #[test]
    fn names_that_only_look_alike_are_passed_over() {
        for header in
            ["XGMALL_TOKEN=t", "GMALL_TOKEN2=t", "gmall_token=t", "x=GMALL_TOKEN=t", "GMALL_TOKEN=", "GMALL_TOKEN", ""]
        {
            assert_eq!(found(&[("cookie", header)]), None, "{header}");
        }
        assert_eq!(found(&[("authorization", "Bearer")]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn calls_of_other_pages_are_told_apart() {
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://behind.a.proxy")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://shop.example")], false),
            (&[("sec-fetch-site", "none"), ("origin", "https://evil.example")], false),
            (&[("origin", "https://shop.example")], true),
            (&[("origin", "http://SHOP.example")], true),
            (&[("origin", "https://shop.example:8443")], false),
            (&[("origin", "https://shop.example.evil.example")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
        ];
        for (headers, expected) in cases {
            let mut request = TestRequest::post().insert_header(("host", "shop.example"));
            for header in *headers {
                request = request.append_header(*header);
            }
            assert_eq!(same_origin(&request.to_http_request()), *expected, "{headers:?}");
        }
    }
}
