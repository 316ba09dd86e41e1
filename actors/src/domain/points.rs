//! Points: integration = growth = whole yuan paid × points per yuan, once per order; what is given back takes its share
//! with it.

use super::events::BoundPlus;
use super::ids::{OrderSn, UserId};
use super::money::Money;

/// Points that an order of `pay_amount` earns.
pub fn earned(pay_amount: Money, points_per_yuan: u32) -> i64 {
    pay_amount.whole_yuan().saturating_mul(i64::from(points_per_yuan))
}

/// What an order of `pay_amount` credits its buyer.
pub fn credit(order_sn: &OrderSn, user_id: UserId, pay_amount: Money, points_per_yuan: u32) -> BoundPlus {
    let points = earned(pay_amount, points_per_yuan);
    BoundPlus { user_id, integration: points, growth: points, order_token: order_sn.clone() }
}

/// Points that the order keeps once `refunded` of it was given back.
pub fn kept(pay_amount: Money, refunded: Money, points_per_yuan: u32) -> i64 {
    earned(Money(pay_amount.0.saturating_sub(refunded.0).max(0)), points_per_yuan)
}

/// Points that giving back `refunded` of the order costs. What one more refund costs is the difference of two of these,
/// so that many small refunds cost what one large one does.
pub fn lost(pay_amount: Money, refunded: Money, points_per_yuan: u32) -> i64 {
    earned(pay_amount, points_per_yuan).saturating_sub(kept(pay_amount, refunded, points_per_yuan))
}

/// A credit less what was lost before it came, down to nothing.
pub fn less(credit: &BoundPlus, lost: i64) -> BoundPlus {
    let left = |points: i64| points.saturating_sub(lost).max(points.min(0));
    BoundPlus { integration: left(credit.integration), growth: left(credit.growth), ..credit.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_refunds_cost_what_one_large_one_does() {
        let (paid, per_yuan) = (Money(10_050), 3);
        let mut taken = 0;
        for fen in 0..10_050 {
            taken += lost(paid, Money(fen + 1), per_yuan) - lost(paid, Money(fen), per_yuan);
        }
        assert_eq!(taken, earned(paid, per_yuan));
        assert_eq!(kept(paid, paid, per_yuan), 0);
        assert_eq!(kept(paid, Money(51), per_yuan), 297);
    }
}
