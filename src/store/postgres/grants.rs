//! Committing and failing grants. Their sales are locked, so nobody else grants, fails or ends meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use actors::domain::flash_sale::{FlashSale, GrantState, SaleState};
use actors::domain::{OrderSn, SaleId, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{CommitGrants, FailGrants, GrantBatch};

use super::commit::Transaction;
use super::flash_sales::{add_released, read_sale};
use super::rows::{column, count, expect_rows, order_sn};
use super::sale_life::give_back;
use crate::store::batch::Placed;
use crate::store::columns::SaleColumns;
use crate::store::decisions::{Granting, HeldGrants, decide_grants};

/// Carries out [`CommitGrants`] units.
pub(super) async fn commit(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, CommitGrants>],
) -> Result<Vec<GrantBatch>, StoreError> {
    let sales = read_sales(tx, units).await?;
    let epochs: HashMap<SaleId, i64> = sales.values().map(|sale| (sale.id, sale.epoch)).collect();
    let held = read_held(tx, units).await?;
    let granting = decide_grants(units, sales, held, tx.at, &mut tx.news);
    write(tx, &granting, &epochs).await?;
    Ok(granting.answers)
}

async fn read_sales(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, CommitGrants>],
) -> Result<HashMap<SaleId, FlashSale>, StoreError> {
    let rows: Vec<SaleColumns> = tx
        .all(
            sqlx::query_as("SELECT * FROM sms_flash_sale WHERE id = ANY($1)")
                .bind(column(units, |(_, unit)| unit.sale_id.0)),
        )
        .await?;
    let by_id = |row: SaleColumns| row.into_sale().map(|sale| (sale.id, sale));
    rows.into_iter().map(by_id).collect()
}

async fn read_held(tx: &mut Transaction<'_>, units: &[Placed<'_, CommitGrants>]) -> Result<HeldGrants, StoreError> {
    let asked: BTreeSet<(SaleId, UserId)> =
        units.iter().flat_map(|(_, unit)| unit.winners.iter().map(|(user_id, _)| (unit.sale_id, *user_id))).collect();
    let asked: Vec<(SaleId, UserId)> = asked.into_iter().collect();
    let rows: Vec<(i64, i64, i64, String)> = tx
        .all(
            sqlx::query_as(
                "SELECT g.sale_id, g.user_id, g.ordinal, g.order_sn
                 FROM unnest($1::bigint[], $2::bigint[]) AS asked (sale_id, user_id)
                 JOIN sms_flash_sale_grant AS g
                     ON g.sale_id = asked.sale_id AND g.user_id = asked.user_id AND g.ordinal IS NOT NULL
                 ORDER BY g.create_time, g.ordinal",
            )
            .bind(column(&asked, |(sale_id, _)| sale_id.0))
            .bind(column(&asked, |(_, user_id)| user_id.0)),
        )
        .await?;
    let mut held = HeldGrants::new();
    for (sale_id, user_id, ordinal, order) in rows {
        let grant = (count("sms_flash_sale_grant.ordinal", ordinal)?, order_sn(&order)?);
        held.entry((SaleId(sale_id), UserId(user_id))).or_default().push(grant);
    }
    Ok(held)
}

/// The guarded counter of each sale (DESIGN rule 5): its state, window and epoch are asked once more. The grants are
/// written in the same statement.
async fn write(
    tx: &mut Transaction<'_>,
    granting: &Granting<'_>,
    epochs: &HashMap<SaleId, i64>,
) -> Result<(), StoreError> {
    let grants = &granting.rows;
    if grants.is_empty() {
        return Ok(());
    }
    let granted: Vec<_> = granting.granted.iter().collect();
    let written: Option<(i64, i64)> = tx
        .optional(
            sqlx::query_as(
                "WITH raised AS (
                     UPDATE sms_flash_sale AS s SET granted = s.granted + more.units
                     FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS more (sale_id, units, epoch)
                     WHERE s.id = more.sale_id AND s.epoch = more.epoch AND s.state = 1
                       AND s.start_time <= $1 AND $1 < s.end_time
                       AND s.granted + more.units - s.released <= s.count
                     RETURNING 1
                 ), inserted AS (
                     INSERT INTO sms_flash_sale_grant (create_time, order_sn, sale_id, user_id, ordinal)
                     SELECT $1, * FROM unnest($5::text[], $6::bigint[], $7::bigint[], $8::bigint[])
                     RETURNING 1
                 )
                 SELECT (SELECT count(*) FROM raised), (SELECT count(*) FROM inserted)",
            )
            .bind(tx.at.0)
            .bind(column(&granted, |(sale_id, _)| sale_id.0))
            .bind(column(&granted, |(_, units)| **units))
            .bind(column(&granted, |(sale_id, _)| epochs.get(*sale_id).copied()))
            .bind(column(grants, |grant| grant.order_sn.as_str()))
            .bind(column(grants, |grant| grant.sale_id.0))
            .bind(column(grants, |grant| grant.user_id.0))
            .bind(column(grants, |grant| i64::from(grant.ordinal))),
        )
        .await?;
    let (raised, inserted) = written.unwrap_or_default();
    expect_rows("sms_flash_sale", granted.len(), count("rows changed", raised)?)?;
    expect_rows("sms_flash_sale_grant", grants.len(), count("rows written", inserted)?)
}

/// Carries out [`FailGrants`]; rare, so grant by grant.
pub(super) async fn fail(tx: &mut Transaction<'_>, (_, unit): Placed<'_, FailGrants>) -> Result<Vec<bool>, StoreError> {
    let mut answers = Vec::with_capacity(unit.grants.len());
    for (order_sn, reason) in &unit.grants {
        answers.push(fail_one(tx, order_sn, reason).await?);
    }
    Ok(answers)
}

async fn fail_one(tx: &mut Transaction<'_>, order_sn: &OrderSn, reason: &str) -> Result<bool, StoreError> {
    let failed: Option<(i64,)> = tx
        .optional(
            sqlx::query_as(
                "UPDATE sms_flash_sale_grant AS g SET state = 1, ordinal = NULL, reason = $1
                 WHERE order_sn = $2 AND state = $3
                   AND NOT EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = g.order_sn)
                 RETURNING sale_id",
            )
            .bind(reason)
            .bind(order_sn.as_str())
            .bind(GrantState::Granted as i64),
        )
        .await?;
    let Some((sale_id,)) = failed else { return Ok(false) };
    let sale_id = SaleId(sale_id);
    add_released(tx, &BTreeMap::from([(sale_id, 1)])).await?;
    let sale = read_sale(tx, sale_id).await?;
    if sale.is_some_and(|sale| sale.state == SaleState::Ended) {
        give_back(tx, sale_id, 1).await?;
    }
    Ok(true)
}
