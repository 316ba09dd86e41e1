//! I16 and I17: nothing is given back that was not taken.

use super::{Facts, Finding, OrderFacts, judge, must, sentences};
use crate::domain::ids::{OrderSn, SkuId};
use crate::domain::money::Money;
use crate::domain::order::OrderStatus;

/// A line of an order that has return requests.
#[derive(Clone, Debug)]
pub struct ReturnFacts {
    /// Order.
    pub order_sn: OrderSn,
    /// SKU.
    pub sku_id: SkuId,
    /// Units ordered.
    pub bought: i64,
    /// Σ units of its requests that are not rejected.
    pub asked: i64,
    /// Σ units of its requests that were received to be sold again.
    pub to_restock: i64,
    /// Units of its DEDUCTED locks that came back.
    pub restocked: i64,
}

/// I16: never more refunded than paid; a closed order keeps no money.
pub fn i16(facts: &Facts) -> Finding {
    judge("I16", &facts.orders, |order| {
        let OrderFacts { order_sn, pay_amount, refunded, applied_payments, .. } = order;
        let paid = if *applied_payments > 0 { *pay_amount } else { Money::ZERO };
        let is_over = order.status == Some(OrderStatus::Closed);
        sentences([
            must((Money::ZERO..=paid).contains(refunded), || {
                format!("order {order_sn}: {refunded} refunded of {paid} paid")
            }),
            must(!is_over || *refunded == paid, || {
                format!("order {order_sn} is closed, but has given back {refunded} of {paid} paid")
            }),
        ])
    })
}

/// I17: never more returned than bought; what was to be restocked is.
pub fn i17(facts: &Facts) -> Finding {
    judge("I17", &facts.returns, |line| {
        let ReturnFacts { order_sn, sku_id, bought, asked, to_restock, restocked } = line;
        sentences([
            must(asked <= bought, || format!("order {order_sn}, SKU {sku_id}: {asked} asked back of {bought} bought")),
            must(to_restock == restocked, || {
                format!("order {order_sn}, SKU {sku_id}: {restocked} units restocked, {to_restock} were to be")
            }),
        ])
    })
}
