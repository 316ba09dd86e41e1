//! Crediting points.

use std::collections::{BTreeMap, HashMap, HashSet};

use actors::domain::events::BoundPlus;
use actors::domain::order::OrderStatus;
use actors::domain::{Money, OrderSn, UserId, points};
use actors::ports::store::StoreError;
use actors::ports::store::units::AddPoints;

use crate::store::batch::Placed;
use crate::store::rows::{order_sn, order_status};

/// An order that points are to be credited for.
struct Earning {
    owner: UserId,
    status: OrderStatus,
    /// Points that went with what was given back.
    lost: i64,
}

/// `order_sn, member_id, status, pay_amount`, and what was given back of the applied payment.
pub(in crate::store) type EarningColumns = (String, i64, i64, i64, i64);

/// Orders that points are to be credited for.
pub(in crate::store) struct Earnings(HashMap<OrderSn, Earning>);

impl Earnings {
    pub(in crate::store) fn read(rows: Vec<EarningColumns>, points_per_yuan: u32) -> Result<Self, StoreError> {
        let earning = |(order, member_id, status, pay_amount, refunded): EarningColumns| {
            let lost = points::lost(Money(pay_amount), Money(refunded), points_per_yuan);
            Ok((order_sn(&order)?, Earning { owner: UserId(member_id), status: order_status(status)?, lost }))
        };
        rows.into_iter().map(earning).collect::<Result<_, StoreError>>().map(Self)
    }
}

/// Decides the units one after the other: their answers, and the credits to be written. `credited` are the orders that
/// have their points, and afterwards also those that get them.
pub(in crate::store) fn decide_points(
    units: &[Placed<'_, AddPoints>],
    orders: &Earnings,
    credited: &mut HashSet<OrderSn>,
) -> (Vec<Vec<bool>>, Vec<BoundPlus>) {
    let mut now = Vec::new();
    let mut answers = Vec::with_capacity(units.len());
    for (_, unit) in units {
        let mut credit_once = |credit: &BoundPlus| {
            let order = orders.0.get(&credit.order_token);
            let new = is_earned(credit, order) && credited.insert(credit.order_token.clone());
            if new {
                now.push(points::less(credit, order.map_or(0, |order| order.lost)));
            }
            new
        };
        answers.push(unit.credits.iter().map(&mut credit_once).collect());
    }
    (answers, now)
}

fn is_earned(credit: &BoundPlus, order: Option<&Earning>) -> bool {
    order.is_none_or(|order| order.owner == credit.user_id && order.status.is_paid())
}

/// What each member's integration and growth rise by.
pub(in crate::store) fn sums(credits: &[BoundPlus]) -> BTreeMap<UserId, (i64, i64)> {
    let mut sums: BTreeMap<UserId, (i64, i64)> = BTreeMap::new();
    for credit in credits {
        let sum = sums.entry(credit.user_id).or_default();
        sum.0 = sum.0.saturating_add(credit.integration);
        sum.1 = sum.1.saturating_add(credit.growth);
    }
    sums
}
