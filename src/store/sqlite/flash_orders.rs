//! Making the orders of winners.

use std::collections::BTreeSet;

use actors::domain::SaleId;
use actors::domain::order::NewOrder;
use actors::ports::store::StoreError;
use actors::ports::store::units::{FlashOrder, MakeFlashOrders};

use super::bulk::add_undrawn;
use super::commit::Transaction;
use super::flash_sales::read_undrawn;
use super::script::Asked;
use super::{locks, order_rows};
use crate::store::batch::Placed;
use crate::store::decisions::{Unclaimed, decide_making, unclaimed};

/// Carries out [`MakeFlashOrders`] units.
pub(super) async fn make(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, MakeFlashOrders>],
) -> Result<Vec<Vec<FlashOrder>>, StoreError> {
    let orders: Vec<&NewOrder> = units.iter().flat_map(|(_, unit)| unit.orders.iter()).collect();
    let unclaimed = read_unclaimed(tx, &orders).await?;
    let sales: BTreeSet<SaleId> = orders.iter().filter_map(|order| order.sale_id).collect();
    let undrawn = read_undrawn(tx, &Vec::from_iter(sales)).await?;
    let making = decide_making(units, &unclaimed, undrawn, &mut tx.news);
    add_undrawn(tx, &making.drawn).await?;
    let made: Vec<_> = making.made.iter().map(|&order| (order, None)).collect();
    order_rows::insert(tx, &made);
    locks::insert(tx, &making.locks);
    Ok(making.answers)
}

/// Orders that exist, or whose grant is not open, of that sale and of that user.
const UNCLAIMED: Asked = Asked(
    "SELECT column1, EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = column1)
     FROM (VALUES (?, ?, ?))
     WHERE column1 IS NOT NULL
       AND (EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = column1)
            OR NOT EXISTS (SELECT 1 FROM sms_flash_sale_grant AS g
                           WHERE g.order_sn = column1 AND g.sale_id = column2 AND g.user_id = column3 AND g.state = 0))",
);

async fn read_unclaimed(tx: &mut Transaction<'_>, orders: &[&NewOrder]) -> Result<Unclaimed, StoreError> {
    let rows = tx.all_about(&UNCLAIMED, orders, |row, order| {
        row.put(order.order_sn.as_str()).put(order.sale_id.map(|sale_id| sale_id.0)).put(order.user_id.0);
    });
    unclaimed(rows.await?)
}
