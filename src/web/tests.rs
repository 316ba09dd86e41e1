//! The serving of the pages, over a real socket where the wire matters.

use super::{BadGatewayUrl, Site, configure, site};
use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, StatusCode, header};
use actix_web::{App, HttpServer, test, web};

async fn call(site: Option<Site>, method: Method, path: &str, if_none_match: Option<&str>) -> ServiceResponse {
    let site = site.map(web::Data::new);
    let app = test::init_service(App::new().configure(configure).configure(|cfg| {
        if let Some(site) = site {
            cfg.app_data(site);
        }
    }))
    .await;
    let mut request = test::TestRequest::default().method(method).uri(path);
    if let Some(tags) = if_none_match {
        request = request.insert_header((header::IF_NONE_MATCH, tags));
    }
    test::call_service(&app, request.to_request()).await
}

async fn get(path: &str) -> ServiceResponse {
    call(None, Method::GET, path, None).await
}

fn header_of<'a, B>(response: &'a ServiceResponse<B>, name: &str) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or("")
}

async fn body_of(response: ServiceResponse) -> String {
    String::from_utf8(test::read_body(response).await.to_vec()).unwrap()
}

#[actix_web::test]
async fn every_page_is_the_same_for_everyone_and_revalidates() {
    for path in site::page_paths() {
        let first = get(path).await;
        assert_eq!(first.status(), StatusCode::OK, "{path}");
        assert_eq!(header_of(&first, "content-type"), "text/html; charset=utf-8", "{path}");
        assert!(header_of(&first, "cache-control").starts_with("public, max-age="), "{path}");
        assert!(!first.headers().contains_key("set-cookie") && !first.headers().contains_key("vary"), "{path}");
        let etag = header_of(&first, "etag").to_owned();
        assert!(etag.starts_with('"') && etag.len() > 10, "{path}: {etag}");

        for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
            let again = call(None, Method::GET, path, Some(&known)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path} {known}");
            assert_eq!(header_of(&again, "etag"), etag, "{path}");
            assert!(test::read_body(again).await.is_empty(), "{path}");
        }
        for unknown in ["\"other\"", "nonsense"] {
            assert_eq!(call(None, Method::GET, path, Some(unknown)).await.status(), StatusCode::OK, "{path} {unknown}");
        }
    }
}

#[actix_web::test]
async fn pages_refer_only_to_assets_that_exist() {
    for path in site::page_paths() {
        let html = body_of(get(path).await).await;
        let references: Vec<&str> =
            html.split("\"/assets/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.len() >= 3, "{path} has its style, icon and script: {references:?}");
        for name in references {
            assert_eq!(get(&format!("/assets/{name}")).await.status(), StatusCode::OK, "{path} → {name}");
        }
    }
}

#[actix_web::test]
async fn modules_import_only_hashed_modules_that_exist() {
    let site = Site::without_gateway();
    let names: Vec<&str> = site.asset_names().collect();
    assert!(names.iter().any(|name| name.starts_with("main.")), "a circle of imports names nothing: {names:?}");
    for name in &names {
        let Ok(text) = String::from_utf8(site.asset(name).unwrap().body().to_vec()) else { continue };
        for imported in text.split("\"./").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(names.contains(&imported), "{name} imports {imported}");
        }
    }
}

#[actix_web::test]
async fn no_page_has_inline_script_or_style() {
    for path in site::page_paths() {
        let html = body_of(get(path).await).await;
        assert!(!html.contains("style=") && !html.contains("<style"), "{path}");
        assert!(html.split("<script").skip(1).all(|script| script.starts_with(" type=\"module\" src=")), "{path}");
        assert!(!html.contains(" on"), "{path} has an inline handler");
    }
}

#[actix_web::test]
async fn assets_are_immutable_under_their_hashed_name() {
    let site = Site::without_gateway();
    for name in site.asset_names() {
        let response = get(&format!("/assets/{name}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        assert_eq!(header_of(&response, "cache-control"), "public, max-age=31536000, immutable", "{name}");
        assert_eq!(header_of(&response, "x-content-type-options"), "nosniff", "{name}");
        let etag = header_of(&response, "etag").to_owned();
        assert!(name.contains(etag.trim_matches('"')), "{name} is named by its content {etag}");
        assert!(!header_of(&response, "content-type").contains("octet-stream"), "{name} has a known type");
        let again = call(None, Method::GET, &format!("/assets/{name}"), Some(&etag)).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{name}");
    }
}

#[actix_web::test]
async fn the_icon_has_its_customary_name_too() {
    let response = get("/favicon.ico").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header_of(&response, "content-type"), "image/svg+xml");
    let etag = header_of(&response, "etag").to_owned();
    assert_eq!(call(None, Method::GET, "/favicon.ico", Some(&etag)).await.status(), StatusCode::NOT_MODIFIED);
}

#[actix_web::test]
async fn an_unknown_asset_is_not_found_and_not_remembered() {
    for name in ["app.css", "app.0000000000000000.css", "nothing.js", "index.html", "..%2fsite.rs", "%2e%2e"] {
        let response = get(&format!("/assets/{name}")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{name}");
        assert_eq!(header_of(&response, "cache-control"), "no-store", "{name}");
        assert_eq!(header_of(&response, "x-content-type-options"), "nosniff", "{name}");
    }
}

#[actix_web::test]
async fn other_methods_are_refused() {
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let response = call(None, method.clone(), "/", None).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(header_of(&response, "allow"), "GET, HEAD", "{method}");
    }
}

#[actix_web::test]
async fn the_policy_lets_pay_forms_go_to_the_gateway_only() {
    let cases = [
        ("", "form-action 'self';", ""),
        ("http://127.0.0.1:9000/gateway.do", "form-action 'self' http://127.0.0.1:9000;", "http://127.0.0.1:9000"),
        (
            "https://openapi.alipay.com/gateway.do",
            "form-action 'self' https://openapi.alipay.com https://*.alipay.com;",
            "https://openapi.alipay.com https://*.alipay.com",
        ),
    ];
    for (gateway_url, directive, origins) in cases {
        let response = call(Some(Site::new(gateway_url).unwrap()), Method::GET, "/", None).await;
        let policy = header_of(&response, "content-security-policy").to_owned();
        assert!(policy.starts_with("default-src 'self'; "), "{policy}");
        assert!(policy.contains(directive), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let html = body_of(response).await;
        assert!(html.contains(&format!("name=\"gateway-origins\" content=\"{origins}\"")), "{gateway_url}");
    }
}

#[actix_web::test]
async fn a_gateway_address_that_could_break_the_policy_is_refused() {
    for bad in ["gateway.do", "/gateway.do", "ftp://pay.example", "javascript:alert(1)", "https://a;script-src x/"] {
        assert_eq!(Site::new(bad).err(), Some(BadGatewayUrl(bad.to_owned())));
    }
}

#[actix_web::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let server = HttpServer::new(|| App::new().configure(configure)).workers(1).bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let running = server.run();
    let handle = running.handle();
    actix_web::rt::spawn(running);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in site::page_paths() {
        let url = format!("http://{address}{path}");
        let got = client.get(&url).send().await.unwrap();
        let head = client.head(&url).send().await.unwrap();
        assert_eq!(head.status(), StatusCode::OK.as_u16());
        for name in ["etag", "content-type", "content-length", "cache-control", "content-security-policy"] {
            assert_eq!(head.headers().get(name), got.headers().get(name), "{path} {name}");
            assert!(head.headers().contains_key(name), "{path} {name}");
        }
        assert!(head.bytes().await.unwrap().is_empty(), "{path}");
        assert!(!got.bytes().await.unwrap().is_empty(), "{path}");
    }
    let missing = client.head(format!("http://{address}/assets/none.js")).send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND.as_u16());
    handle.stop(false).await;
}

#[actix_web::test]
async fn the_whole_site_is_small() {
    let site = Site::without_gateway();
    let assets: usize = site.asset_names().map(|name| site.asset(name).unwrap().body().len()).sum();
    assert!(assets < 100 * 1024, "{assets} bytes of assets");
    for path in site::page_paths() {
        let length = get(path).await.into_body().try_into_bytes().map(|body| body.len()).unwrap_or(usize::MAX);
        assert!(length < 16 * 1024, "{path}: {length} bytes");
    }
}
