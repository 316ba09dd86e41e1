//! Committing and failing grants.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use actors::domain::flash_sale::{FlashSale, SaleState};
use actors::domain::{OrderSn, SaleId, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{CommitGrants, FailGrants, GrantBatch};

use super::commit::Transaction;
use super::flash_sales::{add_released, read_sale};
use super::rows::{count, list, order_sn};
use super::sale_life::give_back;
use super::script::{Asked, Insert};
use crate::store::batch::Placed;
use crate::store::columns::SaleColumns;
use crate::store::decisions::{HeldGrants, NewGrant, decide_grants};

/// Carries out [`CommitGrants`] units.
pub(super) async fn commit(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, CommitGrants>],
) -> Result<Vec<GrantBatch>, StoreError> {
    let sales = read_sales(tx, units).await?;
    let epochs: HashMap<SaleId, i64> = sales.values().map(|sale| (sale.id, sale.epoch)).collect();
    let held = read_held(tx, units).await?;
    let granting = decide_grants(units, sales, held, tx.at, &mut tx.news);
    raise_granted(tx, &granting.granted, &epochs);
    insert(tx, &granting.rows);
    Ok(granting.answers)
}

async fn read_sales(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, CommitGrants>],
) -> Result<HashMap<SaleId, FlashSale>, StoreError> {
    let sale_ids: BTreeSet<SaleId> = units.iter().map(|(_, unit)| unit.sale_id).collect();
    let rows: Vec<SaleColumns> = tx
        .all(
            sqlx::query_as("SELECT * FROM sms_flash_sale WHERE id IN (SELECT value FROM jsonb_each(?))")
                .bind(list(sale_ids)),
        )
        .await?;
    let by_id = |row: SaleColumns| row.into_sale().map(|sale| (sale.id, sale));
    rows.into_iter().map(by_id).collect()
}

/// The grants of these users in these sales that count.
const HELD: Asked = Asked(
    "SELECT g.sale_id, g.user_id, g.ordinal, g.order_sn
     FROM (VALUES (?, ?)) AS asked CROSS JOIN sms_flash_sale_grant AS g
         ON g.sale_id = asked.column1 AND g.user_id = asked.column2 AND g.ordinal IS NOT NULL
     WHERE asked.column1 IS NOT NULL ORDER BY g.create_time, g.ordinal",
);

async fn read_held(tx: &mut Transaction<'_>, units: &[Placed<'_, CommitGrants>]) -> Result<HeldGrants, StoreError> {
    let asked: BTreeSet<(SaleId, UserId)> =
        units.iter().flat_map(|(_, unit)| unit.winners.iter().map(|(user_id, _)| (unit.sale_id, *user_id))).collect();
    let asked: Vec<(SaleId, UserId)> = asked.into_iter().collect();
    let rows: Vec<(i64, i64, i64, String)> = tx
        .all_about(&HELD, &asked, |row, (sale_id, user_id)| {
            row.put(sale_id.0).put(user_id.0);
        })
        .await?;
    let mut held = HeldGrants::new();
    for (sale_id, user_id, ordinal, order) in rows {
        let grant = (count("sms_flash_sale_grant.ordinal", ordinal)?, order_sn(&order)?);
        held.entry((SaleId(sale_id), UserId(user_id))).or_default().push(grant);
    }
    Ok(held)
}

/// The guarded counter of each sale (DESIGN rule 5): its state, window and epoch are asked once more.
fn raise_granted(tx: &mut Transaction<'_>, granted: &BTreeMap<SaleId, i64>, epochs: &HashMap<SaleId, i64>) {
    let raise = "UPDATE sms_flash_sale SET granted = granted + ?
                 WHERE id = ? AND epoch = ? AND state = 1 AND start_time <= ? AND ? < end_time
                   AND granted + ? - released <= count";
    for (sale_id, units) in granted {
        let (epoch, at) = (epochs.get(sale_id), tx.at.0);
        let raise = &mut tx.script.change("sms_flash_sale", 1, raise);
        raise.put(units).put(sale_id.0).put(epoch).put(at).put(at).put(units);
    }
}

const GRANT: Insert = Insert {
    table: "sms_flash_sale_grant",
    statement: "INSERT INTO sms_flash_sale_grant (order_sn, sale_id, user_id, ordinal, create_time)
                SELECT * FROM (VALUES (?, ?, ?, ?, ?)) WHERE column1 IS NOT NULL",
};

fn insert(tx: &mut Transaction<'_>, grants: &[NewGrant<'_>]) {
    let at = tx.at.0;
    tx.script.insert(&GRANT, grants, |row, grant| {
        row.put(grant.order_sn.as_str()).put(grant.sale_id.0).put(grant.user_id.0).put(grant.ordinal).put(at);
    });
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
                "UPDATE sms_flash_sale_grant AS g SET state = 1, ordinal = NULL, reason = ?1
                 WHERE order_sn = ?2 AND state = 0
                   AND NOT EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = g.order_sn)
                 RETURNING sale_id",
            )
            .bind(reason)
            .bind(order_sn.as_str()),
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
