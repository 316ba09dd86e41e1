//! Points and carts.

use super::Batch;
use super::refunds::refunded_of_order;
use super::tables::{PointsEntry, Tables};
use crate::domain::events::BoundPlus;
use crate::domain::points;
use crate::ports::store::units::{AddPoints, PutCartItem, RemoveCartItems};

pub(super) fn add_points(tables: &mut Tables, batch: &Batch, unit: &AddPoints) -> Vec<bool> {
    unit.credits.iter().map(|credit| credit_once(tables, batch, credit)).collect()
}

fn credit_once(tables: &mut Tables, batch: &Batch, credit: &BoundPlus) -> bool {
    let order_sn = &credit.order_token;
    let order = tables.orders.get(order_sn);
    let earned = order.is_none_or(|order| order.user_id == credit.user_id && order.status.is_paid());
    let credited = tables.points.iter().any(|entry| entry.order_sn.as_ref() == Some(order_sn));
    if !earned || credited {
        return false;
    }
    let refunded = refunded_of_order(tables, order_sn);
    let lost = order.map_or(0, |order| points::lost(order.pay_amount, refunded, batch.rules.points_per_yuan));
    let credit = points::less(credit, lost);
    tables.points.push(PointsEntry {
        user_id: credit.user_id,
        order_sn: Some(credit.order_token.clone()),
        integration: credit.integration,
    });
    if let Some(member) = tables.members.get_mut(&credit.user_id) {
        member.integration += credit.integration;
        member.growth += credit.growth;
    }
    true
}

pub(super) fn put_cart_item(tables: &mut Tables, unit: &PutCartItem) {
    tables.carts.insert((unit.user_id, unit.sku_id), unit.quantity);
}

pub(super) fn remove_cart_items(tables: &mut Tables, unit: &RemoveCartItems) {
    for line in &unit.lines {
        tables.carts.remove(line);
    }
}
