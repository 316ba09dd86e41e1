//! What every operation of a document has in common: how it may be refused, with an example of each problem, and what
//! opens it.

use serde_json::{Map, Value, json};

use super::error::{Kind, Surface};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Operations that nobody has to log in for.
const OPEN: [&str; 12] = [
    "/healthz",
    "/readyz",
    "/version",
    "/openapi.json",
    "/api/v1/time",
    "/api/v1/skus",
    "/api/v1/flash-sales",
    "/api/v1/flash-sales/{id}",
    "/order/pay/alipay/success",
    "/api/order/pay/alipay/success",
    "/demo/login",
    "/demo/logout",
];

/// What opens the operations of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// A buyer's token.
    Buyer,
    /// The service token.
    Service,
}

/// Adds the shared parts to a document.
pub fn complete(document: &mut Value, login: Login) {
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            for method in METHODS {
                if let Some(operation) = item.get_mut(method) {
                    operation["operationId"] = json!(operation_id(method, path));
                    complete_parameters(operation);
                    complete_operation(operation, path, login);
                    if is_enveloped(operation) {
                        wrap(operation);
                    }
                }
            }
        }
    }
    let components = &mut document["components"];
    components["schemas"]["Problem"] = problem_schema();
    components["schemas"]["Refusal"] = refusal_schema();
    components["responses"]["Problem"] = json!({
        "description": "Refused, in the shape of RFC 9457",
        "content": {"application/problem+json": {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "examples": examples(|_| true),
        }},
    });
    components["responses"]["Refusal"] = json!({
        "description": "Refused, in the course's envelope",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
    });
    components["securitySchemes"] = schemes(login);
}

/// One for each operation: the same handler may answer several paths.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}

/// Ids of paths, by the grammar that all routes hold them to.
fn complete_parameters(operation: &mut Value) {
    let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) else { return };
    for parameter in parameters.iter_mut().filter(|parameter| parameter["in"] == "path") {
        let pattern = match parameter["name"].as_str() {
            Some("order_sn" | "reference") => "^[A-Za-z0-9_-]{1,64}$",
            Some("trade_no") => "^[A-Za-z0-9_-]{1,64}$",
            Some("message_id") => "^[!-~]{1,255}$",
            _ => "^[1-9][0-9]{0,17}$",
        };
        parameter["schema"] = json!({"type": "string", "pattern": pattern});
    }
}

/// Whether the answers of an operation stand in the course's envelope.
fn is_enveloped(operation: &Value) -> bool {
    operation["tags"]
        .as_array()
        .is_some_and(|tags| tags.iter().any(|tag| tag != "v1" && tag != "admin" && tag != "operation"))
}

/// Puts the schema of each answer where the envelope has it. A refusal with HTTP 200 has no data, and the pay form is a
/// text in place of the order.
fn wrap(operation: &mut Value) {
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, response) in responses.iter_mut() {
        if status != "200" || response["content"].as_object().is_some_and(|types| types.contains_key("text/plain")) {
            continue;
        }
        let data = match response["content"]["application/json"]["schema"].take() {
            Value::Null => json!({}),
            schema => json!({"anyOf": [schema, {"type": "null"}, {"type": "string"}]}),
        };
        response["content"] = json!({"application/json": {"schema": {
            "type": "object",
            "required": ["code", "msg", "data"],
            "properties": {
                "code": {"type": "integer", "description": "0: done; 1: refused"},
                "msg": {"type": "string"},
                "data": data,
            },
        }}});
    }
}

fn complete_operation(operation: &mut Value, path: &str, login: Login) {
    let name = match Surface::of(path) {
        Surface::Problem => "Problem",
        Surface::Envelope => "Refusal",
    };
    if let Some(responses) = operation["responses"].as_object_mut() {
        for (status, response) in responses.iter_mut().filter(|(status, _)| status.starts_with(['4', '5'])) {
            if name == "Problem" && response.get("content").is_none() {
                response["content"] = json!({"application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": examples(|kind| kind.row().0.to_string() == *status),
                }});
            }
        }
        responses.insert("default".into(), json!({"$ref": format!("#/components/responses/{name}")}));
    }
    if OPEN.contains(&path) {
        operation["security"] = json!([]);
        return;
    }
    operation["security"] = match login {
        Login::Buyer => json!([{"bearer": []}, {"cookie": []}]),
        Login::Service => json!([{"service": []}]),
    };
}

fn schemes(login: Login) -> Value {
    match login {
        Login::Buyer => json!({
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "RS256, claims id, username, exp"},
            "cookie": {"type": "apiKey", "in": "cookie", "name": "GMALL_TOKEN", "description": "The same token; a change also needs the same origin"},
        }),
        Login::Service => json!({"service": {"type": "http", "scheme": "bearer", "description": "The service token"}}),
    }
}

fn problem_schema() -> Value {
    let codes: Vec<&str> = Kind::ALL.iter().map(|kind| kind.row().1).collect();
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "instance"],
        "properties": {
            "type": {"type": "string", "description": "/problems/ and the code"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": {"type": "string", "enum": codes},
            "detail": {"type": "string"},
            "instance": {"type": "string", "description": "the path that was asked"},
            "field": {"type": "string", "description": "validation: which field; empty for the whole body or query"},
            "current_status": {"type": "string", "description": "wrong-state"},
            "allowed": {"type": "array", "items": {"type": "string"}, "description": "wrong-state: what may be done"},
            "expected_total": {"type": "string", "description": "price-changed: today's total"},
            "skus": {"type": "array", "items": {"type": "object"}, "description": "insufficient-stock: sku_id, wanted, available"},
            "order_sn": {"type": "string", "description": "token-used, limit-reached: the first order"},
            "sku_id": {"type": "string", "description": "not-found: which SKU"},
            "flash_sale_id": {"type": "string", "description": "conflict: the sale in the way"},
            "return_id": {"type": "string", "description": "conflict: the open return request of the SKU"},
            "returnable": {"type": "integer", "description": "too-many-returned: units that may still be returned"},
            "refundable": {"type": "string", "description": "refund-too-large: what is left of the payment"},
            "challenge": {"type": "string", "description": "challenge-required: where the challenge is"},
            "reason": {"type": "string", "enum": ["missing", "invalid", "lapsed", "used", "unsolved"], "description": "challenge-required, challenge-failed: why"},
        },
    })
}

fn refusal_schema() -> Value {
    json!({
        "type": "object",
        "required": ["code", "msg", "data"],
        "properties": {"code": {"type": "integer", "description": "the HTTP status"}, "msg": {"type": "string"}, "data": {}},
    })
}

/// An example of each kind that `wanted` picks.
fn examples(wanted: impl Fn(Kind) -> bool) -> Value {
    let picked = Kind::ALL.into_iter().filter(|kind| wanted(*kind));
    Value::Object(picked.map(|kind| (kind.row().1.to_owned(), json!({"value": example(kind)}))).collect())
}

fn example(kind: Kind) -> Value {
    let (status, code, title) = kind.row();
    let mut example = Map::new();
    for (name, value) in [
        ("type", json!(format!("/problems/{code}"))),
        ("title", json!(title)),
        ("status", json!(status)),
        ("code", json!(code)),
        ("detail", json!(title)),
        ("instance", json!("/api/v1/orders")),
    ] {
        example.insert(name.to_owned(), value);
    }
    let extra = match kind {
        Kind::Validation => {
            json!({"field": "items[0].quantity", "detail": "items[0].quantity: must be between 1 and 99"})
        }
        Kind::WrongState => {
            json!({"current_status": "closed", "allowed": [], "detail": "not possible in status closed"})
        }
        Kind::TokenUsed => json!({"order_sn": "20260101080000123000000000000001"}),
        Kind::PriceChanged => json!({"expected_total": "10000.00", "detail": "the price changed to 10000.00"}),
        Kind::InsufficientStock => json!({"skus": [{"sku_id": "48", "wanted": 3, "available": 1}]}),
        Kind::LimitReached => json!({"order_sn": "20260101080000123000000000000001"}),
        Kind::ChallengeRequired => json!({"challenge": "/api/v1/flash-sales/7/challenge", "reason": "missing"}),
        Kind::ChallengeFailed => {
            json!({"reason": "lapsed", "detail": "the challenge lapsed, ask for another"})
        }
        Kind::Conflict => json!({"flash_sale_id": "7", "detail": "flash sale 7 of the same SKU is armed"}),
        Kind::TooManyReturned => json!({"returnable": 1, "detail": "at most 1 units may still be returned"}),
        Kind::RefundTooLarge => json!({"refundable": "88.80", "detail": "at most 88.80 can be refunded"}),
        _ => json!({}),
    };
    example.extend(extra.as_object().cloned().unwrap_or_default());
    Value::Object(example)
}
