//! Points and carts.

use std::collections::{BTreeMap, HashSet};

use actors::domain::events::BoundPlus;
use actors::domain::payment::PaymentState;
use actors::domain::{OrderSn, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{AddPoints, PutCartItem, RemoveCartItems};

use super::commit::Transaction;
use super::rows::{Rows, expect_rows, list, order_sn};
use crate::store::batch::Placed;
use crate::store::decisions::{EarningColumns, Earnings, decide_points, sums};

/// Carries out [`AddPoints`] units.
pub(super) async fn add_points(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, AddPoints>],
) -> Result<Vec<Vec<bool>>, StoreError> {
    let asked = list(units.iter().flat_map(|(_, unit)| &unit.credits).map(|credit| &credit.order_token));
    let orders = read_earning(tx, &asked).await?;
    let mut credited = read_credited(tx, &asked).await?;
    let (answers, now) = decide_points(units, &orders, &mut credited);
    if !now.is_empty() {
        write_credits(tx, &now).await?;
    }
    mark_credited(tx, &credited).await?;
    Ok(answers)
}

/// Takes the payments of these orders out of the sweep's sight: those whose points were written now, and those that came
/// after their points.
async fn mark_credited(tx: &mut Transaction<'_>, orders: &HashSet<OrderSn>) -> Result<(), StoreError> {
    if orders.is_empty() {
        return Ok(());
    }
    tx.execute(
        sqlx::query(
            "UPDATE oms_payment_info SET points_time = $1
             WHERE order_sn IN (SELECT value FROM jsonb_each($2)) AND payment_status = $3 AND points_time IS NULL",
        )
        .bind(tx.at.0)
        .bind(list(orders))
        .bind(PaymentState::Applied.as_str()),
    )
    .await?;
    Ok(())
}

async fn read_earning(tx: &mut Transaction<'_>, order_sns: &str) -> Result<Earnings, StoreError> {
    let rows: Vec<EarningColumns> = tx
        .all(
            sqlx::query_as(
                "SELECT o.order_sn, o.member_id, o.status, o.pay_amount,
                        coalesce((SELECT sum(r.refund) FROM oms_payment_info AS p
                                  JOIN oms_refund_info AS r ON r.trade_no = p.alipay_trade_no
                                  WHERE p.order_sn = o.order_sn AND p.payment_status = 'APPLIED'), 0)
                 FROM jsonb_each(?) AS asked CROSS JOIN oms_order AS o ON o.order_sn = asked.value",
            )
            .bind(order_sns),
        )
        .await?;
    Earnings::read(rows, tx.rules.points_per_yuan)
}

async fn read_credited(tx: &mut Transaction<'_>, order_sns: &str) -> Result<HashSet<OrderSn>, StoreError> {
    let rows: Vec<(String,)> = tx
        .all(
            sqlx::query_as(
                "SELECT h.order_sn FROM jsonb_each(?) AS asked
                 CROSS JOIN ums_integration_change_history AS h ON h.order_sn = asked.value",
            )
            .bind(order_sns),
        )
        .await?;
    rows.iter().map(|(order,)| order_sn(order)).collect()
}

async fn write_credits(tx: &mut Transaction<'_>, credits: &[BoundPlus]) -> Result<(), StoreError> {
    let mut rows = Rows::new();
    for credit in credits {
        rows.row().put(&credit.user_id).put(&credit.order_token).put(&credit.integration).put(&credit.growth);
    }
    let rows = rows.json();
    let integration = sqlx::query(
        "INSERT INTO ums_integration_change_history (member_id, order_sn, change_count, note, create_time)
         SELECT value->>0, value->>1, value->>2, 'order paid', ?1 FROM jsonb_each(?2)",
    );
    let inserted = tx.execute(integration.bind(tx.at.0).bind(rows.as_str())).await?;
    expect_rows("ums_integration_change_history", credits.len(), inserted)?;
    let growth = sqlx::query(
        "INSERT INTO ums_growth_change_history (member_id, order_sn, change_count, note, create_time)
         SELECT value->>0, value->>1, value->>3, 'order paid', ?1 FROM jsonb_each(?2)",
    );
    let inserted = tx.execute(growth.bind(tx.at.0).bind(rows.as_str())).await?;
    expect_rows("ums_growth_change_history", credits.len(), inserted)?;
    raise_balances(tx, &sums(credits)).await
}

/// Members that do not exist have no balance to raise.
async fn raise_balances(tx: &mut Transaction<'_>, sums: &BTreeMap<UserId, (i64, i64)>) -> Result<(), StoreError> {
    let mut rows = Rows::new();
    for (user_id, (integration, growth)) in sums {
        rows.row().put(user_id).put(integration).put(growth);
    }
    tx.execute(
        sqlx::query(
            "UPDATE ums_member SET
                 integration = integration + credit.more_integration,
                 growth = growth + credit.more_growth
             FROM (SELECT value->>0 AS of_member, value->>1 AS more_integration, value->>2 AS more_growth
                   FROM jsonb_each(?)) AS credit
             WHERE id = credit.of_member",
        )
        .bind(rows.json()),
    )
    .await?;
    Ok(())
}

/// Carries out [`PutCartItem`].
pub(super) async fn put_cart_item(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, PutCartItem>,
) -> Result<(), StoreError> {
    let changed = tx
        .execute(
            sqlx::query(
                "INSERT INTO oms_cart_item (member_id, sku_id, quantity, modify_time) VALUES (?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET quantity = excluded.quantity, modify_time = excluded.modify_time",
            )
            .bind(unit.user_id.0)
            .bind(unit.sku_id.0)
            .bind(unit.quantity)
            .bind(tx.at.0),
        )
        .await?;
    expect_rows("oms_cart_item", 1, changed)
}

/// Carries out [`RemoveCartItems`] units.
pub(super) async fn remove_cart_items(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, RemoveCartItems>],
) -> Result<Vec<()>, StoreError> {
    tx.execute(
        sqlx::query(
            "DELETE FROM oms_cart_item
             WHERE (member_id, sku_id) IN (SELECT value->>0, value->>1 FROM jsonb_each(?))",
        )
        .bind(list(units.iter().flat_map(|(_, unit)| &unit.lines))),
    )
    .await?;
    Ok(vec![(); units.len()])
}
