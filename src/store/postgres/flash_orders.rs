//! Making the orders of winners. The allotments of their sales are locked, so no grant fails and no order is made
//! elsewhere meanwhile.

use std::collections::BTreeSet;

use actors::domain::SaleId;
use actors::domain::flash_sale::GrantState;
use actors::domain::order::NewOrder;
use actors::ports::store::StoreError;
use actors::ports::store::units::{FlashOrder, MakeFlashOrders};

use super::commit::Transaction;
use super::flash_sales::read_undrawn;
use super::order_rows;
use super::rows::{expect_rows, numbers};
use super::written::{self, Writes};
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
    let made: Vec<order_rows::Made<'_>> = making.made.iter().map(|&order| (order, None)).collect();
    let inserted = order_rows::insert_orders(tx, &made).await?;
    expect_rows("oms_order", made.len(), inserted)?;
    let drawn: Vec<_> = making.drawn.into_iter().collect();
    let writes = Writes { drawn: &drawn, orders: &made, locks: &making.locks, ..Writes::default() };
    written::write(tx, writes).await?;
    Ok(making.answers)
}

/// Orders that exist, or whose grant is not open, of that sale and of that user.
async fn read_unclaimed(tx: &mut Transaction<'_>, orders: &[&NewOrder]) -> Result<Unclaimed, StoreError> {
    let rows: Vec<(String, bool)> = tx
        .all(
            sqlx::query_as(
                // Joins rather than EXISTS among what is selected: that may be planned as a list of all orders there are, made
                // anew for each batch, and no setting keeps the server from it.
                "SELECT asked.order_sn, o.order_sn IS NOT NULL
                 FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS asked (order_sn, sale_id, user_id)
                 LEFT JOIN oms_order AS o ON o.order_sn = asked.order_sn
                 LEFT JOIN sms_flash_sale_grant AS g
                     ON g.order_sn = asked.order_sn AND g.sale_id = asked.sale_id AND g.user_id = asked.user_id
                    AND g.state = $4
                 WHERE o.order_sn IS NOT NULL OR g.order_sn IS NULL",
            )
            .bind(numbers(orders.iter().map(|order| &order.order_sn)))
            .bind(Vec::from_iter(orders.iter().map(|order| order.sale_id.map(|sale_id| sale_id.0))))
            .bind(Vec::from_iter(orders.iter().map(|order| order.user_id.0)))
            .bind(GrantState::Granted as i64),
        )
        .await?;
    unclaimed(rows)
}
