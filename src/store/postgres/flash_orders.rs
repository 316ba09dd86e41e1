//! Making the orders of winners. The allotments of their sales are locked, so no grant fails and no order is made
//! elsewhere meanwhile.

use std::collections::{BTreeSet, HashMap};

use actors::domain::flash_sale::GrantState;
use actors::domain::{OrderSn, SaleId, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{FlashOrder, MakeFlashOrders};

use super::commit::Transaction;
use super::flash_sales::read_undrawn;
use super::order_rows;
use super::rows::{expect_rows, numbers, order_sn};
use super::written::{self, Writes};
use crate::store::batch::Placed;
use crate::store::decisions::{Claim, decide_making};

/// Carries out [`MakeFlashOrders`] units.
pub(super) async fn make(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, MakeFlashOrders>],
) -> Result<Vec<Vec<FlashOrder>>, StoreError> {
    let orders = || units.iter().flat_map(|(_, unit)| &unit.orders);
    let claims = read_claims(tx, numbers(orders().map(|order| &order.order_sn))).await?;
    let sales: BTreeSet<SaleId> = orders().filter_map(|order| order.sale_id).collect();
    let undrawn = read_undrawn(tx, &Vec::from_iter(sales)).await?;
    let making = decide_making(units, claims, undrawn, &mut tx.news);
    let made: Vec<order_rows::Made<'_>> = making.made.iter().map(|&order| (order, None)).collect();
    let inserted = order_rows::insert_orders(tx, &made).await?;
    expect_rows("oms_order", made.len(), inserted)?;
    let drawn: Vec<_> = making.drawn.into_iter().collect();
    let writes = Writes { drawn: &drawn, orders: &made, locks: &making.locks, ..Writes::default() };
    written::write(tx, writes).await?;
    Ok(making.answers)
}

async fn read_claims(tx: &mut Transaction<'_>, order_sns: Vec<&str>) -> Result<HashMap<OrderSn, Claim>, StoreError> {
    let rows: Vec<(String, Option<i64>, Option<i64>, bool)> = tx
        .all(
            sqlx::query_as(
                "SELECT asked.order_sn, g.sale_id, g.user_id,
                        EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = asked.order_sn)
                 FROM unnest($1::text[]) AS asked (order_sn)
                 LEFT JOIN sms_flash_sale_grant AS g ON g.order_sn = asked.order_sn AND g.state = $2",
            )
            .bind(order_sns)
            .bind(GrantState::Granted as i64),
        )
        .await?;
    let claim = |(order, sale_id, user_id, ordered): (String, Option<i64>, Option<i64>, bool)| {
        let granted = sale_id.zip(user_id).map(|(sale_id, user_id)| (SaleId(sale_id), UserId(user_id)));
        Ok((order_sn(&order)?, Claim { granted, ordered }))
    };
    rows.into_iter().map(claim).collect()
}
