//! The challenge in front of an attempt: whom it stops, what it costs nobody, what a token is good for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actors::domain::UserId;
use actors::domain::flash_sale::{ChallengeMode, NewFlashSale};
use actors::flash_sale::{
    Attempt, ChallengeFault, ChallengeSecret, ChallengeSettings, Entry, FlashSaleSettings, FlashSales, Gate, LoadRule,
    NoPathToken, PathTokenFault,
};
use actors::testkit::until;
use sha2::{Digest, Sha256};

use super::scene::{Scene, Told, by_hand, won};

const BITS: u8 = 6;
const SEVEN: UserId = UserId(7);
const EIGHT: UserId = UserId(8);

fn settings() -> FlashSaleSettings {
    let challenge = ChallengeSettings {
        secret: ChallengeSecret(b"the same on every node".to_vec()),
        difficulty_bits: BITS,
        ..ChallengeSettings::default()
    };
    FlashSaleSettings { challenge, ..by_hand() }
}

async fn live(scene: &Scene, count: i64, per_user_limit: u32, challenge: ChallengeMode) -> Arc<Gate> {
    let sale = NewFlashSale { challenge, ..scene.new_sale(count, per_user_limit) };
    let draft = scene.sales.create(sale).await.unwrap();
    scene.sales.arm(draft.id).await.unwrap();
    scene.sales.gate(draft.id).unwrap()
}

fn solve(challenge: &str) -> String {
    let is_solved =
        |nonce: &String| Sha256::digest(format!("{challenge}{nonce}"))[0].leading_zeros() >= u32::from(BITS);
    (0_u64..).map(|nonce| nonce.to_string()).find(is_solved).unwrap()
}

/// A token, earned by work.
fn earn(sales: &FlashSales, gate: &Gate, user_id: UserId) -> String {
    let challenge = sales.challenge(gate, user_id).unwrap();
    assert_eq!(challenge.difficulty_bits, BITS);
    sales.path_token(gate, user_id, &challenge.text, &solve(&challenge.text)).unwrap().text
}

fn entry(user_id: UserId, path_token: Option<&str>) -> Entry<'_> {
    Entry { user_id, number: None, path_token, node_use_percent: 0 }
}

async fn attempt(scene: &Scene, gate: &Gate, user_id: UserId, path_token: Option<&str>) -> Told {
    scene.sales.attempt_from_outside(gate, entry(user_id, path_token)).await
}

fn required(fault: PathTokenFault) -> Told {
    Ok(Attempt::ChallengeRequired(fault))
}

#[actix::test]
async fn a_token_opens_one_attempt_of_its_buyer_at_its_sale() {
    let scene = Scene::open(settings()).await;
    let other_sale = live(&scene, 10, 2, ChallengeMode::Always).await;
    let foreign = earn(&scene.sales, &other_sale, SEVEN);
    scene.sales.end(other_sale.sale_id()).await.unwrap();
    let gate = live(&scene, 10, 3, ChallengeMode::Always).await;

    assert_eq!(attempt(&scene, &gate, SEVEN, None).await, required(PathTokenFault::Missing));
    for bad in [String::new(), "x".repeat(43), foreign, earn(&scene.sales, &gate, EIGHT)] {
        assert_eq!(attempt(&scene, &gate, SEVEN, Some(&bad)).await, required(PathTokenFault::Invalid), "{bad}");
    }
    let token = earn(&scene.sales, &gate, SEVEN);
    won(attempt(&scene, &gate, SEVEN, Some(&token)).await);
    assert_eq!(attempt(&scene, &gate, SEVEN, Some(&token)).await, required(PathTokenFault::Used));
    let lapsing = earn(&scene.sales, &gate, SEVEN);
    scene.shop.clock.advance(Duration::from_secs(60));
    scene.sales.refresh_sale(gate.sale_id()).await.unwrap();
    assert_eq!(scene.sales.now(), scene.now());
    assert_eq!(attempt(&scene, &gate, SEVEN, Some(&lapsing)).await, required(PathTokenFault::Lapsed));
    assert_eq!(scene.sale(gate.sale_id()).await.granted, 1);
}

#[actix::test]
async fn one_solution_earns_one_attempt_however_often_it_is_sent() {
    let scene = Scene::open(settings()).await;
    let gate = live(&scene, 10, 3, ChallengeMode::Always).await;
    let challenge = scene.sales.challenge(&gate, SEVEN).unwrap();
    let nonce = solve(&challenge.text);
    let token = || scene.sales.path_token(&gate, SEVEN, &challenge.text, &nonce).map(|token| token.text);
    let first = token().unwrap();
    scene.shop.clock.advance(Duration::from_secs(1));
    let second = token().unwrap();
    assert_ne!(first, second, "it lives longer");
    won(attempt(&scene, &gate, SEVEN, Some(&first)).await);
    assert_eq!(attempt(&scene, &gate, SEVEN, Some(&second)).await, required(PathTokenFault::Used));

    let of = |user_id, nonce: &str| scene.sales.path_token(&gate, user_id, &challenge.text, nonce);
    assert_eq!(of(EIGHT, &nonce), Err(NoPathToken::Fault(ChallengeFault::Invalid)));
    assert_eq!(of(SEVEN, "none"), Err(NoPathToken::Fault(ChallengeFault::Unsolved)));
    scene.shop.clock.advance(Duration::from_secs(60));
    assert_eq!(of(SEVEN, &nonce), Err(NoPathToken::Fault(ChallengeFault::Lapsed)));
}

#[actix::test]
async fn refusals_of_the_gate_come_first_and_cost_no_work() {
    let scene = Scene::open(settings()).await;
    let later = scene.now().plus(Duration::from_secs(60));
    let sale = NewFlashSale { starts_at: later, challenge: ChallengeMode::Always, ..scene.new_sale(1, 1) };
    let draft = scene.sales.create(sale).await.unwrap();
    scene.sales.arm(draft.id).await.unwrap();
    let gate = scene.sales.gate(draft.id).unwrap();
    let hears = async |expected: Attempt| {
        assert_eq!(attempt(&scene, &gate, EIGHT, None).await, Ok(expected.clone()));
        assert_eq!(scene.sales.challenge(&gate, EIGHT), Err(expected.clone()));
        assert_eq!(scene.sales.path_token(&gate, EIGHT, "x", "1"), Err(NoPathToken::Refused(expected)));
    };
    hears(Attempt::NotStarted).await;
    scene.shop.clock.advance(Duration::from_secs(60));
    scene.sales.pause(draft.id).await.unwrap();
    hears(Attempt::Paused).await;
    scene.sales.resume(draft.id).await.unwrap();

    let token = earn(&scene.sales, &gate, SEVEN);
    let order_sn = won(attempt(&scene, &gate, SEVEN, Some(&token)).await);
    scene.sales.refresh_sale(draft.id).await.unwrap();
    hears(Attempt::SoldOut).await;
    let again = attempt(&scene, &gate, SEVEN, None).await;
    assert_eq!(again, Ok(Attempt::AlreadyWon(order_sn)), "a winner hears of the win without work");
    scene.sales.end(draft.id).await.unwrap();
    hears(Attempt::Ended).await;
}

#[actix::test]
async fn the_same_key_may_show_its_token_again() {
    let scene = Scene::open(settings()).await;
    let gate = live(&scene, 10, 3, ChallengeMode::Always).await;
    let token = earn(&scene.sales, &gate, SEVEN);
    let keyed = async |number| {
        let entry = Entry { number: Some(number), ..entry(SEVEN, Some(&token)) };
        scene.sales.attempt_from_outside(&gate, entry).await
    };
    let first = won(keyed(1).await);
    assert_eq!(keyed(1).await, Ok(Attempt::Won(first)));
    assert_eq!(keyed(2).await, required(PathTokenFault::Used));
    assert_eq!(scene.sale(gate.sale_id()).await.granted, 1);
}

#[actix::test]
async fn what_the_server_could_not_serve_gives_the_token_back() {
    let scene = Scene::open(settings()).await;
    let gate = live(&scene, 10, 1, ChallengeMode::Always).await;
    let token = earn(&scene.sales, &gate, SEVEN);
    scene.coordination.is_away.store(true, Ordering::SeqCst);
    assert!(attempt(&scene, &gate, SEVEN, Some(&token)).await.is_err());
    scene.coordination.is_away.store(false, Ordering::SeqCst);
    won(attempt(&scene, &gate, SEVEN, Some(&token)).await);
}

/// Each node remembers what was used on it. A token is so used once a node; what it wins is bounded by the sale.
#[actix::test]
async fn a_token_is_good_on_every_node_and_wins_no_more_than_the_limit() {
    let scene = Scene::open(settings()).await;
    let gate = live(&scene, 10, 1, ChallengeMode::Always).await;
    let second = scene.another_node(scene.coordination.clone(), settings(), 3);
    second.start().await.unwrap();
    let gate_there = second.gate(gate.sale_id()).unwrap();

    let token = earn(&second, &gate_there, SEVEN);
    let order_sn = won(attempt(&scene, &gate, SEVEN, Some(&token)).await);
    let there = second.attempt_from_outside(&gate_there, entry(SEVEN, Some(&token))).await;
    assert_eq!(there, Ok(Attempt::AlreadyWon(order_sn)));
    assert_eq!(scene.sale(gate.sale_id()).await.granted, 1);

    let other_secret = ChallengeSettings { secret: ChallengeSecret(b"other".to_vec()), ..settings().challenge };
    let stranger = FlashSaleSettings { challenge: other_secret, ..by_hand() };
    let third = scene.another_node(scene.coordination.clone(), stranger, 4);
    third.start().await.unwrap();
    let token = earn(&third, &third.gate(gate.sale_id()).unwrap(), EIGHT);
    assert_eq!(attempt(&scene, &gate, EIGHT, Some(&token)).await, required(PathTokenFault::Invalid));
}

#[actix::test]
async fn by_default_nobody_is_asked() {
    let scene = Scene::open(by_hand()).await;
    for challenge in [ChallengeMode::Off, ChallengeMode::Load] {
        let gate = live(&scene, 10, 1, challenge).await;
        let busy = Entry { node_use_percent: 100, ..entry(SEVEN, None) };
        won(scene.sales.attempt_from_outside(&gate, busy).await);
        scene.sales.end(gate.sale_id()).await.unwrap();
    }
}

fn under_load(attempts_per_sale: usize) -> FlashSaleSettings {
    let load = LoadRule { on_percent: 80, off_percent: 40, off_after: Duration::from_secs(10) };
    let challenge = ChallengeSettings { load, ..settings().challenge };
    FlashSaleSettings { attempts_per_sale, challenge, ..by_hand() }
}

#[actix::test]
async fn a_busy_node_asks_until_it_was_calm_for_a_while() {
    let scene = Scene::open(under_load(100)).await;
    let gate = live(&scene, 100, 1, ChallengeMode::Load).await;
    let asks = |percent| scene.sales.asks_for_work(&gate, percent);
    assert!(!asks(79) && asks(80) && asks(0));
    scene.shop.clock.advance(Duration::from_secs(9));
    assert!(asks(40), "not below the lower share");
    scene.shop.clock.advance(Duration::from_secs(9));
    assert!(asks(39));
    let busy = Entry { node_use_percent: 20, ..entry(SEVEN, None) };
    assert_eq!(scene.sales.attempt_from_outside(&gate, busy).await, required(PathTokenFault::Missing));
    scene.shop.clock.advance(Duration::from_secs(1));
    assert!(!asks(39));
    won(scene.sales.attempt_from_outside(&gate, busy).await);
}

#[actix::test]
async fn a_sale_whose_queue_fills_asks_the_next() {
    let scene = Scene::open(under_load(10)).await;
    let gate = live(&scene, 100, 1, ChallengeMode::Load).await;
    scene.shop.store.before_commit.shut();
    let waiting = scene.attempts(&gate, 1..=8);
    let next = async {
        until("they wait", || scene.sales.asks_for_work(&gate, 0)).await;
        let told = attempt(&scene, &gate, UserId(9), None).await;
        scene.shop.store.before_commit.open();
        told
    };
    let (told, next) = tokio::join!(waiting, next);
    assert_eq!(next, required(PathTokenFault::Missing));
    assert!(told.iter().all(|told| matches!(told, Ok(Attempt::Won(_)))), "who waited is served");
}
