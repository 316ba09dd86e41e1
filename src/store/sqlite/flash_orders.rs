//! Making the orders of winners.

use std::collections::{BTreeSet, HashMap};

use actors::domain::{OrderSn, SaleId, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{FlashOrder, MakeFlashOrders};

use super::bulk::add_undrawn;
use super::commit::Transaction;
use super::flash_sales::read_undrawn;
use super::rows::{list, order_sn};
use super::{locks, order_rows};
use crate::store::batch::Placed;
use crate::store::decisions::{Claim, decide_making};

/// Carries out [`MakeFlashOrders`] units.
pub(super) async fn make(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, MakeFlashOrders>],
) -> Result<Vec<Vec<FlashOrder>>, StoreError> {
    let orders = || units.iter().flat_map(|(_, unit)| &unit.orders);
    let claims = read_claims(tx, list(orders().map(|order| &order.order_sn))).await?;
    let sales: BTreeSet<SaleId> = orders().filter_map(|order| order.sale_id).collect();
    let undrawn = read_undrawn(tx, &Vec::from_iter(sales)).await?;
    let making = decide_making(units, claims, undrawn, &mut tx.news);
    add_undrawn(tx, &making.drawn).await?;
    let made: Vec<_> = making.made.iter().map(|&order| (order, None)).collect();
    order_rows::insert(tx, &made).await?;
    locks::insert(tx, &making.locks).await?;
    Ok(making.answers)
}

async fn read_claims(tx: &mut Transaction<'_>, order_sns: String) -> Result<HashMap<OrderSn, Claim>, StoreError> {
    let rows: Vec<(String, Option<i64>, Option<i64>, bool)> = tx
        .all(
            sqlx::query_as(
                "SELECT asked.value, g.sale_id, g.user_id,
                        EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = asked.value)
                 FROM jsonb_each(?) AS asked
                 LEFT JOIN sms_flash_sale_grant AS g ON g.order_sn = asked.value AND g.state = 0",
            )
            .bind(order_sns),
        )
        .await?;
    let claim = |(order, sale_id, user_id, ordered): (String, Option<i64>, Option<i64>, bool)| {
        let granted = sale_id.zip(user_id).map(|(sale_id, user_id)| (SaleId(sale_id), UserId(user_id)));
        Ok((order_sn(&order)?, Claim { granted, ordered }))
    };
    rows.into_iter().map(claim).collect()
}
