//! Points and carts.

use std::collections::{BTreeMap, HashSet};

use actors::domain::events::BoundPlus;
use actors::domain::payment::PaymentState;
use actors::domain::{OrderSn, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{AddPoints, PutCartItem, RemoveCartItems};

use super::commit::Transaction;
use super::rows::{column, expect_rows, numbers, order_sn};
use crate::store::batch::Placed;
use crate::store::decisions::{EarningColumns, Earnings, decide_points, sums};

/// Carries out [`AddPoints`] units.
pub(super) async fn add_points(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, AddPoints>],
) -> Result<Vec<Vec<bool>>, StoreError> {
    let asked = numbers(units.iter().flat_map(|(_, unit)| &unit.credits).map(|credit| &credit.order_token));
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
             WHERE order_sn = ANY($2) AND payment_status = $3 AND points_time IS NULL",
        )
        .bind(tx.at.0)
        .bind(numbers(orders))
        .bind(PaymentState::Applied.as_str()),
    )
    .await?;
    Ok(())
}

async fn read_earning(tx: &mut Transaction<'_>, order_sns: &[&str]) -> Result<Earnings, StoreError> {
    let rows: Vec<EarningColumns> = tx
        .all(
            sqlx::query_as(
                "SELECT o.order_sn, o.member_id, o.status, o.pay_amount,
                        (SELECT coalesce(sum(r.refund), 0)::bigint FROM oms_payment_info AS p
                         JOIN oms_refund_info AS r ON r.trade_no = p.alipay_trade_no
                         WHERE p.order_sn = o.order_sn AND p.payment_status = 'APPLIED')
                 FROM oms_order AS o WHERE o.order_sn = ANY($1)",
            )
            .bind(order_sns),
        )
        .await?;
    Earnings::read(rows, tx.rules.points_per_yuan)
}

async fn read_credited(tx: &mut Transaction<'_>, order_sns: &[&str]) -> Result<HashSet<OrderSn>, StoreError> {
    let rows: Vec<(String,)> = tx
        .all(
            sqlx::query_as("SELECT order_sn FROM ums_integration_change_history WHERE order_sn = ANY($1)")
                .bind(order_sns),
        )
        .await?;
    rows.iter().map(|(order,)| order_sn(order)).collect()
}

/// Orders are locked, and so are members; of an order that is unknown here, another node may write the same credit. It
/// is then that node's, and the whole batch is judged again.
async fn write_credits(tx: &mut Transaction<'_>, credits: &[BoundPlus]) -> Result<(), StoreError> {
    let integration = sqlx::query(
        "INSERT INTO ums_integration_change_history (note, create_time, member_id, order_sn, change_count)
         SELECT 'order paid', $1, new.* FROM unnest($2::bigint[], $3::text[], $4::bigint[]) AS new (member_id, order_sn)
         ORDER BY new.order_sn ON CONFLICT (order_sn) DO NOTHING",
    );
    let integration = integration
        .bind(tx.at.0)
        .bind(column(credits, |credit| credit.user_id.0))
        .bind(column(credits, |credit| credit.order_token.as_str()))
        .bind(column(credits, |credit| credit.integration));
    if tx.execute(integration).await? != credits.len() {
        return Err(StoreError::Transient("another node credits the same order".into()));
    }
    let growth = sqlx::query(
        "INSERT INTO ums_growth_change_history (note, create_time, member_id, order_sn, change_count)
         SELECT 'order paid', $1, * FROM unnest($2::bigint[], $3::text[], $4::bigint[])",
    );
    let growth = growth
        .bind(tx.at.0)
        .bind(column(credits, |credit| credit.user_id.0))
        .bind(column(credits, |credit| credit.order_token.as_str()))
        .bind(column(credits, |credit| credit.growth));
    let inserted = tx.execute(growth).await?;
    expect_rows("ums_growth_change_history", credits.len(), inserted)?;
    raise_balances(tx, &sums(credits)).await
}

/// Members that do not exist have no balance to raise.
async fn raise_balances(tx: &mut Transaction<'_>, sums: &BTreeMap<UserId, (i64, i64)>) -> Result<(), StoreError> {
    let rows: Vec<_> = sums.iter().collect();
    tx.execute(
        sqlx::query(
            "UPDATE ums_member AS m SET
                 integration = m.integration + credit.more_integration,
                 growth = m.growth + credit.more_growth
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
                  AS credit (of_member, more_integration, more_growth)
             WHERE m.id = credit.of_member",
        )
        .bind(column(&rows, |(user_id, _)| user_id.0))
        .bind(column(&rows, |(_, (integration, _))| *integration))
        .bind(column(&rows, |(_, (_, growth))| *growth)),
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
                "INSERT INTO oms_cart_item (member_id, sku_id, quantity, modify_time) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (member_id, sku_id) DO UPDATE SET quantity = excluded.quantity, modify_time = excluded.modify_time",
            )
            .bind(unit.user_id.0)
            .bind(unit.sku_id.0)
            .bind(i64::from(unit.quantity))
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
    let lines: Vec<_> = units.iter().flat_map(|(_, unit)| &unit.lines).collect();
    tx.execute(
        sqlx::query(
            "DELETE FROM oms_cart_item
             WHERE (member_id, sku_id) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))",
        )
        .bind(column(&lines, |(user_id, _)| user_id.0))
        .bind(column(&lines, |(_, sku_id)| sku_id.0)),
    )
    .await?;
    Ok(vec![(); units.len()])
}
