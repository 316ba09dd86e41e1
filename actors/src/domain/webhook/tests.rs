use std::net::IpAddr;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn secret(text: &str) -> SigningSecret {
    SigningSecret::parse(text).expect("a secret")
}

fn endpoint() -> Endpoint {
    Endpoint {
        id: 1,
        url: "https://shop.example/hooks".into(),
        events: EventSet::ALL,
        is_enabled: true,
        secret: secret(SECRET),
        former: None,
        version: 1,
        created_at: Timestamp(0),
        modified_at: Timestamp(0),
    }
}

/// The test vector of the Standard Webhooks libraries.
#[test]
fn signs_as_the_specification_does() {
    let signed = signature(&secret(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn a_former_secret_signs_until_its_time_is_over() {
    let former = SigningSecret::from_key(&[7; 32]);
    let rotated = Endpoint { former: Some((former.clone(), Timestamp(5_000))), ..endpoint() };
    let one = |secret: &SigningSecret, now| signature(secret, "m", seconds(now), "{}");
    for (now, both) in [(Timestamp(4_999), true), (Timestamp(5_000), false)] {
        let current = one(&rotated.secret, now);
        let wanted = if both { format!("{current} {}", one(&former, now)) } else { current };
        assert_eq!(rotated.signatures("m", now, "{}"), wanted);
    }
}

#[test]
fn secrets_are_checked_and_hidden() {
    let fresh = SigningSecret::from_key(&[1; 32]);
    assert_eq!(SigningSecret::parse(fresh.expose()), Some(fresh.clone()));
    for bad in ["", "whsec_", "whsec_!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ="] {
        assert_eq!(SigningSecret::parse(bad), None, "{bad}");
    }
    assert!(!format!("{:?}", endpoint()).contains("MfKQ"));
}

#[test]
fn a_body_names_the_order_and_nobody() {
    let order_sn = OrderSn::parse("20260101080000000000000000000001").expect("grammar");
    let placed = Happening::order(EventType::OrderPaid, &order_sn, OrderStatus::AwaitingShipment);
    assert_eq!(
        placed.body(Timestamp(1_767_225_600_123)),
        r#"{"type":"order.paid","timestamp":"2026-01-01T00:00:00.123Z","data":{"order_sn":"20260101080000000000000000000001","status":"awaiting_shipment"}}"#
    );
    let asked = Happening::of_return(EventType::ReturnRequested, &order_sn, 7, ReturnState::Pending);
    let body: serde_json::Value = serde_json::from_str(&asked.body(Timestamp(0))).expect("JSON");
    assert_eq!(body["data"], serde_json::json!({"order_sn": order_sn.as_str(), "return_id": "7", "status": "pending"}));
}

#[test]
fn sets_are_bits() {
    let some: EventSet = [EventType::OrderPlaced, EventType::ReturnSettled].into_iter().collect();
    assert_eq!(some.bits(), 0b1000_0001);
    assert_eq!(some.iter().collect::<EventSet>(), some);
    assert_eq!(EventSet::from_bits(-1), EventSet::ALL);
    assert_eq!(EventSet::ALL.iter().count(), EventType::ALL.len());
    for kind in EventType::ALL {
        assert_eq!(EventType::parse(kind.as_str()), Some(kind));
        assert_eq!(some.contains(kind), kind == EventType::OrderPlaced || kind == EventType::ReturnSettled);
    }
}

#[test]
fn tries_follow_the_schedule() {
    let seconds = Duration::from_secs;
    let schedule = Schedule::new(vec![seconds(5), seconds(300)]);
    let silent = TryOutcome::Unanswered("no answer".into());
    for status in [200, 204, 299] {
        assert_eq!(schedule.judge(9, &TryOutcome::Answered(status), 0), NextStep::Delivered);
    }
    assert_eq!(schedule.judge(1, &TryOutcome::Answered(410), 0), NextStep::Gone);
    for outcome in [302, 400, 404, 429, 500, 503].map(TryOutcome::Answered).into_iter().chain([silent]) {
        assert_eq!(schedule.judge(1, &outcome, 0), NextStep::RetryAfter(seconds(5)));
        assert_eq!(schedule.judge(2, &outcome, 0), NextStep::RetryAfter(seconds(300)));
        assert_eq!(schedule.judge(3, &outcome, 0), NextStep::GiveUp);
    }
    for random in [0, 1, 999, 1000, 1001, u64::MAX] {
        let NextStep::RetryAfter(pause) = schedule.judge(1, &TryOutcome::Answered(500), random) else {
            panic!("there is a second try");
        };
        assert!((seconds(5)..=seconds(6)).contains(&pause), "{pause:?}");
    }
}

#[test]
fn only_the_internet_is_public() {
    let address = |text: &str| text.parse::<IpAddr>().expect(text);
    for inside in [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
    ] {
        assert!(!is_public(address(inside)), "{inside}");
    }
    for outside in [
        "1.1.1.1",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.17.0.1",
        "223.255.255.255",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
        "2002:101:101::",
        "2606:4700::1111",
        "2a00:1450::1",
    ] {
        assert!(is_public(address(outside)), "{outside}");
    }
}
