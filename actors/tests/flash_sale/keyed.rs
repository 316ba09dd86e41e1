//! Attempts under a key, restock and edits.

use actors::domain::flash_sale::NewFlashSale;
use actors::domain::reject::Reject;
use actors::domain::{Money, UserId};
use actors::flash_sale::{Attempt, SaleFailure};
use futures_util::future::join_all;

use super::scene::{STOCK, Scene, by_hand, winners, won};

const SEVEN: UserId = UserId(7);

#[actix::test]
async fn the_same_key_hears_of_its_win() {
    let scene = Scene::open(by_hand()).await;
    for limit in [1, 3] {
        let gate = scene.live(100, limit).await;
        // The number of a key is never the same for two sales.
        let number = |key: u64| u64::from(limit) * 1000 + key;
        let attempt = async |key| scene.sales.attempt_keyed(&gate, SEVEN, number(key)).await;
        let first = won(attempt(1).await);
        assert!(first.is_made_from(number(1)));
        for _ in 0..3 {
            assert_eq!(attempt(1).await, Ok(Attempt::Won(first.clone())));
        }
        for key in 2..=u64::from(limit) {
            let other = won(attempt(key).await);
            assert!(other != first && other.is_made_from(number(key)));
            assert_eq!(attempt(key).await, Ok(Attempt::Won(other)));
        }
        assert_eq!(attempt(99).await, Ok(Attempt::AlreadyWon(first.clone())), "limit {limit}");
        assert_eq!(attempt(1).await, Ok(Attempt::Won(first)));
        assert_eq!(scene.sale(gate.sale_id()).await.granted, i64::from(limit));
        scene.sales.end(gate.sale_id()).await.unwrap();
    }
}

#[actix::test]
async fn a_key_at_work_wins_once() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(100, 3).await;
    let told = join_all((0..50).map(|_| scene.sales.attempt_keyed(&gate, SEVEN, 1))).await;
    assert_eq!(winners(&told).len(), 1, "{told:?}");
    let busy = told.iter().filter(|told| **told == Err(Reject::KeyInProgress.into())).count();
    assert_eq!(busy, 49);
    assert_eq!(scene.sale(gate.sale_id()).await.granted, 1);
}

#[actix::test]
async fn a_sold_out_sale_sells_again_after_a_restock() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(1, 1).await;
    won(scene.attempt(&gate, 1).await);
    assert_eq!(scene.attempt(&gate, 2).await, Ok(Attempt::SoldOut));
    let sale = scene.sales.restock(gate.sale_id(), 2).await.unwrap();
    assert_eq!((sale.count, sale.remaining()), (3, 2));
    actors::testkit::until("the gate lets buyers in", || !gate.is_sold_out()).await;
    won(scene.attempt(&gate, 2).await);
    won(scene.attempt(&gate, 3).await);
    assert_eq!(scene.attempt(&gate, 4).await, Ok(Attempt::SoldOut));

    let too_many = u32::try_from(STOCK).unwrap();
    let refused = scene.sales.restock(gate.sale_id(), too_many).await;
    assert!(matches!(refused, Err(SaleFailure::Rejected(Reject::StockShort(_)))), "{refused:?}");
    assert_eq!(scene.sales.restock(gate.sale_id(), 0).await, Err(SaleFailure::Invalid("units must be above zero")));
    scene.sales.end(gate.sale_id()).await.unwrap();
    assert!(matches!(scene.sales.restock(gate.sale_id(), 1).await, Err(SaleFailure::WrongState(_))));
}

#[actix::test]
async fn of_two_editors_the_second_hears_that_it_changed() {
    let scene = Scene::open(by_hand()).await;
    let seen = scene.sales.create(scene.new_sale(5, 1)).await.unwrap();
    let cheaper = NewFlashSale { price: Money(1), ..seen.terms() };
    assert_eq!(scene.sales.edit(&seen, cheaper.clone()).await.unwrap().terms(), cheaper);
    let more = NewFlashSale { count: 6, ..seen.terms() };
    assert_eq!(scene.sales.edit(&seen, more).await, Err(Reject::Changed.into()));
    let none = NewFlashSale { count: 0, ..seen.terms() };
    assert!(matches!(scene.sales.edit(&seen, none).await, Err(SaleFailure::Invalid(_))));
}
