//! What every adapter of [`Carts`] must do. Run it with [`carts_contract!`](crate::carts_contract).

use super::store::world;
use crate::domain::{SkuId, UserId};
use crate::ports::carts::Carts;

/// Writes one test per clause of the contract; `$make` is a future of the adapter under test.
#[macro_export]
macro_rules! carts_contract {
    ($make:expr) => {
        $crate::carts_contract!(@tests $make;
            a_line_has_the_quantity_last_set,
            carts_are_apart_and_lines_by_sku,
            removed_lines_are_gone_and_absent_ones_do_not_matter,
        );
    };
    (@tests $make:expr; $($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::ports::contract::carts::$name(&$make.await).await;
            }
        )*
    };
}

const PHONE: SkuId = SkuId(48);
/// By number after the phone, as text before it.
const CASE: SkuId = SkuId(130);

/// Members that no other test and no earlier run uses.
fn fresh_users() -> [UserId; 2] {
    let bits = getrandom::u64().expect("the machine has random bits");
    let first = i64::try_from(bits >> 2).expect("62 bits fit");
    [UserId(first), UserId(first + 1)]
}

async fn put(carts: &impl Carts, user_id: UserId, sku_id: SkuId, quantity: u32) {
    carts.put(user_id, &world::sku(sku_id), quantity).await.expect("put");
}

async fn lines(carts: &impl Carts, user_id: UserId) -> Vec<(SkuId, u32)> {
    let lines = carts.lines(user_id).await.expect("lines");
    lines.into_iter().map(|line| (line.sku_id, line.quantity)).collect()
}

/// Setting is not adding.
pub async fn a_line_has_the_quantity_last_set(carts: &impl Carts) {
    let [user, _] = fresh_users();
    assert_eq!(lines(carts, user).await, []);
    for quantity in [3, 99, 1, 1] {
        put(carts, user, PHONE, quantity).await;
        assert_eq!(lines(carts, user).await, [(PHONE, quantity)]);
    }
}

/// In the order of the numbers, not of their digits.
pub async fn carts_are_apart_and_lines_by_sku(carts: &impl Carts) {
    let [one, other] = fresh_users();
    put(carts, one, CASE, 1).await;
    put(carts, other, PHONE, 9).await;
    put(carts, one, PHONE, 3).await;
    assert_eq!(lines(carts, one).await, [(PHONE, 3), (CASE, 1)]);
    assert_eq!(lines(carts, other).await, [(PHONE, 9)]);
}

/// One call takes lines out of several carts, and may come twice.
pub async fn removed_lines_are_gone_and_absent_ones_do_not_matter(carts: &impl Carts) {
    let [one, other] = fresh_users();
    for user in [one, other] {
        put(carts, user, PHONE, 2).await;
        put(carts, user, CASE, 2).await;
    }
    for _ in 0..2 {
        carts.remove(&[(one, PHONE), (other, CASE), (other, SkuId(1))]).await.expect("remove");
        assert_eq!(lines(carts, one).await, [(CASE, 2)]);
        assert_eq!(lines(carts, other).await, [(PHONE, 2)]);
    }
    carts.remove(&[]).await.expect("nothing to remove is fine");
    carts.remove(&[(one, CASE), (other, PHONE)]).await.expect("remove");
    assert_eq!((lines(carts, one).await, lines(carts, other).await), (vec![], vec![]));
}
