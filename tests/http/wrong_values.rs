//! Every endpoint with a body, its fields, and what they must not be.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::submission;

/// Wrong whole numbers.
const INT: &[&str] = &[
    "null",
    "true",
    r#""abc""#,
    r#""3""#,
    r#""""#,
    "{}",
    "[]",
    "[1]",
    "-1",
    "1.5",
    "1e2",
    "1e400",
    "99999999999999999999999999",
    "-99999999999999999999999999",
];
/// Wrong amounts; a text with digits is fine.
const MONEY: &[&str] = &[
    "null",
    "true",
    r#""abc""#,
    r#""""#,
    "{}",
    "[]",
    "-1",
    "-0.01",
    "1.555",
    "1e2",
    "1e400",
    "99999999999999999999",
    r#""NaN""#,
];
/// Wrong texts, by type.
const TYPED_TEXT: &[&str] = &["null", "true", "5", "1.5", "{}", "[]", r#"["x"]"#];
/// Texts that are stored: no control characters.
const TEXT: &[&str] = &["null", "true", "5", "1.5", "{}", "[]", r#""a\u0000b""#, r#""a\nb""#, r#""\u001b[0m""#, "LONG"];
const EMPTY: &[&str] = &[r#""""#, r#""   ""#];
const LIST: &[&str] = &["null", "true", "5", r#""x""#, "{}"];
const OBJECT: &[&str] = &["null", "true", "5", r#""x""#, "[]"];
/// Wrong ids as text.
const ID: &[&str] = &[
    "null",
    "true",
    "5",
    "{}",
    r#""""#,
    r#""abc""#,
    r#""0""#,
    r#""-1""#,
    r#""048""#,
    r#""+48""#,
    r#"" 48""#,
    r#""1.5""#,
    r#""1e2""#,
    r#""99999999999999999999""#,
    r#""٤٨""#,
    "LONG",
];
const PRICE: &[&str] = &[
    "null",
    "5",
    r#""""#,
    r#""abc""#,
    r#""0""#,
    r#""0.00""#,
    r#""-1""#,
    r#""1.234""#,
    r#""1e3""#,
    r#""1,000""#,
    r#""99999999999999""#,
    r#""0x10""#,
];
const TIME: &[&str] = &[
    "null",
    "5",
    r#""""#,
    r#""yesterday""#,
    r#""2026-01-01""#,
    r#""2026-13-01T00:00:00Z""#,
    r#""2026-01-01T00:00:00""#,
    r#""2026-02-30T00:00:00Z""#,
    r#""99999-01-01T00:00:00Z""#,
];

/// A field, whether it may be left out, and what it must not be.
pub struct Field(pub &'static str, pub bool, pub &'static [&'static [&'static str]]);

const REQUIRED: bool = true;
const OPTIONAL: bool = false;

/// An endpoint with a well-formed body that it refuses for a reason of business, so that nothing is ever written.
pub struct Endpoint {
    pub method: Method,
    pub path: &'static str,
    pub internal: bool,
    pub base: Value,
    pub fields: &'static [Field],
}

const SUBMIT: &[Field] = &[
    Field("/orderToken", REQUIRED, &[TEXT]),
    Field("/totalPrice", REQUIRED, &[MONEY]),
    Field("/payType", REQUIRED, &[INT, &["2", "4"]]),
    Field("/delivery_company", OPTIONAL, &[TEXT]),
    Field("/orderItems", REQUIRED, &[LIST]),
    Field("/orderItems/0", REQUIRED, &[OBJECT]),
    Field("/orderItems/0/skuId", REQUIRED, &[INT, &["0"]]),
    Field("/orderItems/0/count", REQUIRED, &[INT, &["0", "100", "4294967297"]]),
    Field("/orderItems/0/title", OPTIONAL, &[TYPED_TEXT]),
    Field("/orderItems/0/defaultImage", OPTIONAL, &[TYPED_TEXT]),
    Field("/orderItems/0/price", OPTIONAL, &[MONEY]),
    Field("/orderItems/0/skuAttrValue", OPTIONAL, &[LIST]),
    Field("/name", REQUIRED, &[TEXT, EMPTY]),
    Field("/phone", REQUIRED, &[TEXT, EMPTY]),
    Field("/postCode", OPTIONAL, &[TEXT]),
    Field("/province", REQUIRED, &[TEXT, EMPTY]),
    Field("/city", REQUIRED, &[TEXT, EMPTY]),
    Field("/region", OPTIONAL, &[TEXT]),
    Field("/detailAddress", REQUIRED, &[TEXT, EMPTY]),
    Field("/areacode", OPTIONAL, &[TEXT]),
    Field("/defaultStatus", OPTIONAL, &[INT, &["2"]]),
];

const QUANTITY: &[&str] = &["0", "100", "4294967297"];

const ITEMS: &[Field] = &[
    Field("/items", REQUIRED, &[LIST, &["[]"]]),
    Field("/items/0", REQUIRED, &[OBJECT]),
    Field("/items/0/sku_id", REQUIRED, &[ID]),
    Field("/items/0/quantity", REQUIRED, &[INT, QUANTITY]),
];

const RESERVATION: &[Field] = &[
    Field("/reference", REQUIRED, &[TEXT, EMPTY, &[r#""a b""#, r#""订单""#, r#""../x""#]]),
    Field("/items", REQUIRED, &[LIST, &["[]"]]),
    Field("/items/0/sku_id", REQUIRED, &[ID]),
    Field("/items/0/quantity", REQUIRED, &[INT, &["0", "1000001", "4294967297"]]),
];

const RECEIVER: &[Field] = &[
    Field("/name", REQUIRED, &[TEXT, EMPTY]),
    Field("/phone", REQUIRED, &[TEXT, EMPTY]),
    Field("/post_code", OPTIONAL, &[TEXT]),
    Field("/province", REQUIRED, &[TEXT, EMPTY]),
    Field("/city", REQUIRED, &[TEXT, EMPTY]),
    Field("/region", OPTIONAL, &[TEXT]),
    Field("/detail_address", REQUIRED, &[TEXT, EMPTY]),
];

const ORDER: &[Field] = &[
    Field("/checkout_token", REQUIRED, &[TEXT, EMPTY]),
    Field("/total_amount", REQUIRED, &[&["null", "5", "{}", r#""""#, r#""abc""#, r#""-1""#, r#""1.234""#, r#""1e3""#]]),
    Field("/pay_type", OPTIONAL, &[&["5", "true", "[]", r#""""#, r#""cheque""#]]),
    Field("/items", REQUIRED, &[LIST, &["[]"]]),
    Field("/items/0", REQUIRED, &[OBJECT]),
    Field("/items/0/sku_id", REQUIRED, &[ID]),
    Field("/items/0/quantity", REQUIRED, &[INT, QUANTITY]),
    Field("/receiver", REQUIRED, &[OBJECT]),
    Field("/receiver/name", REQUIRED, &[TEXT, EMPTY]),
    Field("/receiver/phone", REQUIRED, &[TEXT, EMPTY]),
    Field("/receiver/post_code", OPTIONAL, &[TEXT]),
    Field("/receiver/province", REQUIRED, &[TEXT, EMPTY]),
    Field("/receiver/city", REQUIRED, &[TEXT, EMPTY]),
    Field("/receiver/region", OPTIONAL, &[TEXT]),
    Field("/receiver/detail_address", REQUIRED, &[TEXT, EMPTY]),
    Field("/delivery_company", OPTIONAL, &[TEXT]),
];

pub fn endpoints() -> Vec<Endpoint> {
    let public = |path, base, fields| Endpoint { method: Method::POST, path, internal: false, base, fields };
    let internal = |path, base, fields| Endpoint { method: Method::POST, path, internal: true, base, fields };
    let receiver = json!({
        "name": "李先锋", "phone": "13888888888", "post_code": "200122", "province": "上海", "city": "上海市",
        "region": "松江区", "detail_address": "大江大厦6层",
    });
    let items = json!([{"sku_id": "4711", "quantity": 1}]);
    vec![
        public("/order/submit", submission("not-a-token", 48, 1, 0), SUBMIT),
        public("/api/order/submit", submission("not-a-token", 48, 1, 1), SUBMIT),
        internal("/oms/order/2", submission("not-a-token", 48, 1, 0), SUBMIT),
        public("/order/confirm", json!({"4711": 1}), &[Field("/4711", REQUIRED, &[INT, &["0", "100", "4294967297"]])]),
        internal(
            "/wms/waresku/check/lock",
            json!([{"skuId": 4711, "wareSkuId": 1, "num": 1, "orderToken": "bad-input"}]),
            &[
                Field("/0", REQUIRED, &[OBJECT]),
                Field("/0/skuId", REQUIRED, &[INT, &["0"]]),
                Field("/0/wareSkuId", OPTIONAL, &[&["true", r#""3""#, "1.5", "1e400", "{}"]]),
                Field("/0/num", REQUIRED, &[INT, &["0", "1000001", "4294967297"]]),
                Field("/0/orderToken", REQUIRED, &[TEXT, EMPTY, &[r#""a b""#, r#""订单""#, r#""../x""#, r#""a'--""#]]),
            ],
        ),
        internal(
            "/admin/v1/flash-sales",
            json!({"sku_id": "4711", "price": "1.00", "count": 1, "per_user_limit": 1, "challenge": "off",
                   "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2126-01-01T00:00:00Z"}),
            &[
                Field("/sku_id", REQUIRED, &[ID]),
                Field("/price", REQUIRED, &[PRICE]),
                Field("/count", REQUIRED, &[INT, &["0", "100000001", "9223372036854775807"]]),
                Field("/per_user_limit", OPTIONAL, &[INT, &["0", "100", "4294967296"]]),
                Field("/starts_at", REQUIRED, &[TIME]),
                Field("/ends_at", REQUIRED, &[TIME, &[r#""2025-12-31T23:59:59Z""#, r#""2026-01-01T00:00:00Z""#]]),
                Field("/challenge", OPTIONAL, &[TEXT, EMPTY, &[r#""Always""#, r#""captcha""#]]),
            ],
        ),
        internal(
            "/admin/v1/stock/48/adjustments",
            json!({"ware_id": "99", "delta": 1, "reason": "stocktaking"}),
            &[
                Field("/ware_id", REQUIRED, &[ID]),
                Field(
                    "/delta",
                    REQUIRED,
                    &[&[
                        "null",
                        "true",
                        r#""3""#,
                        "{}",
                        "[]",
                        "0",
                        "1.5",
                        "1e400",
                        "1000000001",
                        "-1000000001",
                        "9223372036854775807",
                        "-9223372036854775808",
                        "9223372036854775808",
                    ]],
                ),
                Field("/reason", REQUIRED, &[TEXT, EMPTY]),
            ],
        ),
        public(
            "/api/v1/flash-sales/4711/challenge",
            json!({"challenge": "x", "nonce": "1"}),
            &[
                Field("/challenge", REQUIRED, &[TYPED_TEXT]),
                Field("/nonce", REQUIRED, &[TEXT, EMPTY, &[r#""-1""#, r#""1e3""#, r#""123456789012345678901""#]]),
            ],
        ),
        public("/api/v1/checkouts", json!({"items": items}), ITEMS),
        public(
            "/api/v1/orders",
            json!({"checkout_token": "not-a-token", "total_amount": "10000.00", "pay_type": "online", "items": items,
                   "receiver": receiver, "delivery_company": "顺丰速运"}),
            ORDER,
        ),
        Endpoint {
            method: Method::PATCH,
            ..public("/api/v1/orders/20260101080000000000000000000001/receiver", receiver, RECEIVER)
        },
        Endpoint {
            method: Method::PUT,
            ..public(
                "/api/v1/cart/lines/4711",
                json!({"quantity": 1}),
                &[Field("/quantity", REQUIRED, &[INT, &["0", "100", "4294967297"]])],
            )
        },
        internal("/admin/v1/reservations", json!({"reference": "bad-input-1", "items": items}), RESERVATION),
        internal(
            "/admin/v1/flash-sales/4711/restock",
            json!({"units": 1}),
            &[Field("/units", REQUIRED, &[INT, &["0", "100000001", "4294967297"]])],
        ),
        Endpoint {
            method: Method::PATCH,
            ..internal(
                "/admin/v1/flash-sales/1",
                json!({"price": "1.00", "count": 1, "per_user_limit": 1, "challenge": "off",
                       "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2126-01-01T00:00:00Z"}),
                &[
                    Field("/price", OPTIONAL, &[PRICE]),
                    Field("/count", OPTIONAL, &[INT, &["0", "100000001", "9223372036854775807"]]),
                    Field("/per_user_limit", OPTIONAL, &[INT, &["0", "100", "4294967296"]]),
                    Field("/starts_at", OPTIONAL, &[TIME]),
                    Field("/ends_at", OPTIONAL, &[TIME, &[r#""2025-12-31T23:59:59Z""#]]),
                    Field("/challenge", OPTIONAL, &[TEXT, EMPTY, &[r#""Always""#, r#""captcha""#]]),
                ],
            )
        },
        public(
            "/api/v1/orders/20260101080000000000000000000001/returns",
            json!({"sku_id": "48", "quantity": 1, "reason": "does not fit", "description": "too large"}),
            &[
                Field("/sku_id", REQUIRED, &[ID]),
                Field("/quantity", REQUIRED, &[INT, &["0", "100", "4294967297"]]),
                Field("/reason", REQUIRED, &[TEXT, EMPTY]),
                Field("/description", OPTIONAL, &[TEXT]),
            ],
        ),
        internal(
            "/admin/v1/orders/20260101080000000000000000000001/ship",
            json!({"delivery_company": "SF", "delivery_sn": "SF1", "note": "by air"}),
            &[
                Field("/delivery_company", REQUIRED, &[TEXT, EMPTY]),
                Field("/delivery_sn", REQUIRED, &[TEXT, EMPTY]),
                Field("/note", OPTIONAL, &[TEXT]),
            ],
        ),
        internal(
            "/admin/v1/orders/20260101080000000000000000000001/close",
            json!({"reason": "1 out of sale"}),
            &[Field("/reason", REQUIRED, &[TEXT, EMPTY])],
        ),
        internal(
            "/admin/v1/orders/20260101080000000000000000000001/refund",
            json!({"amount": "1.00", "reference": "r1", "reason": "scratched"}),
            &[
                Field("/amount", REQUIRED, &[PRICE]),
                Field("/reference", REQUIRED, &[TEXT, EMPTY, &[r#""a b""#, r#""订单""#, r#""../x""#, r#""a'--""#]]),
                Field("/reason", REQUIRED, &[TEXT, EMPTY]),
            ],
        ),
        internal(
            "/admin/v1/returns/999999/approve",
            json!({"note": "send it to 1"}),
            &[Field("/note", OPTIONAL, &[TEXT])],
        ),
        internal(
            "/admin/v1/returns/999999/reject",
            json!({"note": "1 is used"}),
            &[Field("/note", REQUIRED, &[TEXT, EMPTY])],
        ),
        internal(
            "/admin/v1/returns/999999/receive",
            json!({"restock": true, "note": "1 is here"}),
            &[
                Field("/restock", REQUIRED, &[&["null", "1", "0", r#""true""#, "{}", "[]"]]),
                Field("/note", OPTIONAL, &[TEXT]),
            ],
        ),
        public("/demo/login", json!({"userId": 100_000}), &[Field("/userId", REQUIRED, &[INT, &["0"]])]),
    ]
}
