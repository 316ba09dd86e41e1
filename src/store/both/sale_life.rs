//! The life of a flash sale: create, arm, pause, end, and the epoch of its permits.

use std::collections::BTreeMap;

use actors::domain::SaleId;
use actors::domain::flash_sale::{FlashSale, GrantState, SaleCommand, SaleState, next_state};
use actors::domain::order::LockLine;
use actors::ports::store::StoreError;
use actors::ports::store::units::{
    ArmSale, CreateSale, EditSale, EndSale, EpochRaise, PauseSale, RaiseEpoch, RestockSale, SaleArmed, SaleChange,
    SaleEdit, SaleRestock,
};

use super::bulk::{add_undrawn, insert_allotments};
use super::commit::Transaction;
use super::flash_sales::{read_sale, read_undrawn};
use super::rows::{expect_rows, unreadable};
use super::stock;
use crate::store::batch::Placed;
use crate::store::decisions::{StockChange, decide_edit, decide_giving_back};

/// Carries out [`CreateSale`].
pub(super) async fn create(tx: &mut Transaction<'_>, (_, unit): Placed<'_, CreateSale>) -> Result<SaleId, StoreError> {
    let sale = &unit.sale;
    let made: Option<(i64,)> = tx
        .optional(
            sqlx::query_as(
                "INSERT INTO sms_flash_sale
                     (sku_id, price, count, per_user_limit, start_time, end_time, challenge, create_time)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
            )
            .bind(sale.sku_id.0)
            .bind(sale.price.0)
            .bind(sale.count)
            .bind(i64::from(sale.per_user_limit))
            .bind(sale.starts_at.0)
            .bind(sale.ends_at.0)
            .bind(sale.challenge as i64)
            .bind(tx.at.0),
        )
        .await?;
    made.map(|(id,)| SaleId(id)).ok_or_else(|| unreadable("the id of a new sale", "missing"))
}

/// Carries out [`ArmSale`].
pub(super) async fn arm(tx: &mut Transaction<'_>, (_, unit): Placed<'_, ArmSale>) -> Result<SaleArmed, StoreError> {
    let Some(sale) = read_sale(tx, unit.sale_id).await? else { return Ok(SaleArmed::WrongState(None)) };
    if next_state(sale.state, SaleCommand::Arm).is_none() {
        return Ok(SaleArmed::WrongState(Some(sale.state)));
    }
    if let Some(other) = open_sale_of_sku(tx, &sale).await? {
        return Ok(SaleArmed::Conflict(other));
    }
    if tx.at >= sale.ends_at {
        return Ok(SaleArmed::Over);
    }
    let units: i64 = unit.allotments.iter().map(|line| i64::from(line.num)).sum();
    if units != sale.count || unit.allotments.iter().any(|line| line.sku_id != sale.sku_id) {
        return Err(StoreError::Constraint(format!("sale {} of {} units is given {units}", sale.id, sale.count)));
    }
    let lines: Vec<&LockLine> = unit.allotments.iter().collect();
    if let Err(stale) = stock::read_free(tx, &unit.allotments).await?.take(&lines) {
        return Ok(SaleArmed::Stale(stale));
    }
    carve_out(tx, sale.id, &lines).await?;
    let epoch = sale.epoch + 1;
    let armed =
        sqlx::query("UPDATE sms_flash_sale SET state = 1, epoch = $1 WHERE id = $2 AND state = 0 AND epoch = $3");
    let changed = tx.execute(armed.bind(epoch).bind(sale.id.0).bind(sale.epoch)).await?;
    expect_rows("sms_flash_sale", 1, changed)?;
    Ok(SaleArmed::Armed(epoch))
}

async fn open_sale_of_sku(tx: &mut Transaction<'_>, sale: &FlashSale) -> Result<Option<SaleId>, StoreError> {
    let open: Option<(i64,)> = tx
        .optional(
            sqlx::query_as("SELECT id FROM sms_flash_sale WHERE sku_id = $1 AND state IN (1, 2)").bind(sale.sku_id.0),
        )
        .await?;
    Ok(open.map(|(id,)| SaleId(id)))
}

/// Locks the units and notes them as the sale's.
async fn carve_out(tx: &mut Transaction<'_>, sale_id: SaleId, lines: &[&LockLine]) -> Result<(), StoreError> {
    let mut units: BTreeMap<_, i64> = BTreeMap::new();
    for line in lines {
        *units.entry(line.ware_sku_id).or_default() += i64::from(line.num);
    }
    stock::change(tx, &StockChange::locking(lines.iter().copied())).await?;
    insert_allotments(tx, sale_id, &units).await
}

/// Carries out [`EditSale`].
pub(super) async fn edit(tx: &mut Transaction<'_>, (_, unit): Placed<'_, EditSale>) -> Result<SaleEdit, StoreError> {
    let edit = decide_edit(read_sale(tx, unit.sale_id).await?.as_ref(), unit);
    if edit != SaleEdit::Done {
        return Ok(edit);
    }
    let terms = &unit.sale;
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE sms_flash_sale SET price = $1, count = $2, per_user_limit = $3, start_time = $4, end_time = $5,
                     challenge = $6
                 WHERE id = $7 AND state = 0",
            )
            .bind(terms.price.0)
            .bind(terms.count)
            .bind(i64::from(terms.per_user_limit))
            .bind(terms.starts_at.0)
            .bind(terms.ends_at.0)
            .bind(terms.challenge as i64)
            .bind(unit.sale_id.0),
        )
        .await?;
    expect_rows("sms_flash_sale", 1, changed)?;
    Ok(edit)
}

/// Carries out [`RestockSale`].
pub(super) async fn restock(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, RestockSale>,
) -> Result<SaleRestock, StoreError> {
    let Some(sale) = read_sale(tx, unit.sale_id).await? else { return Ok(SaleRestock::WrongState(None)) };
    if !matches!(sale.state, SaleState::Armed | SaleState::Paused) {
        return Ok(SaleRestock::WrongState(Some(sale.state)));
    }
    let lines: Vec<&LockLine> = unit.allotments.iter().collect();
    if let Err(stale) = stock::read_free(tx, &unit.allotments).await?.take(&lines) {
        return Ok(SaleRestock::Stale(stale));
    }
    carve_out(tx, sale.id, &lines).await?;
    let units: i64 = lines.iter().map(|line| i64::from(line.num)).sum();
    let raise = sqlx::query("UPDATE sms_flash_sale SET count = count + $1 WHERE id = $2 AND state IN (1, 2)");
    let changed = tx.execute(raise.bind(units).bind(sale.id.0)).await?;
    expect_rows("sms_flash_sale", 1, changed)?;
    Ok(SaleRestock::Done(sale.count + units))
}

/// Carries out [`PauseSale`].
pub(super) async fn pause(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, PauseSale>,
) -> Result<SaleChange, StoreError> {
    let command = if unit.paused { SaleCommand::Pause } else { SaleCommand::Resume };
    change_state(tx, unit.sale_id, command).await
}

/// Carries out [`EndSale`].
pub(super) async fn end(tx: &mut Transaction<'_>, (_, unit): Placed<'_, EndSale>) -> Result<SaleChange, StoreError> {
    let Some(sale) = read_sale(tx, unit.sale_id).await? else { return Ok(SaleChange::WrongState(None)) };
    if sale.state == SaleState::Ended {
        return Ok(SaleChange::Done);
    }
    let changed = change_state(tx, unit.sale_id, SaleCommand::End).await?;
    let undrawn: i64 = read_undrawn(tx, &[unit.sale_id]).await?.values().map(|(_, undrawn)| undrawn).sum();
    let spare = undrawn - open_grants(tx, unit.sale_id).await?;
    give_back(tx, unit.sale_id, spare).await?;
    Ok(changed)
}

async fn change_state(
    tx: &mut Transaction<'_>,
    sale_id: SaleId,
    command: SaleCommand,
) -> Result<SaleChange, StoreError> {
    let Some(sale) = read_sale(tx, sale_id).await? else { return Ok(SaleChange::WrongState(None)) };
    let Some(state) = next_state(sale.state, command) else { return Ok(SaleChange::WrongState(Some(sale.state))) };
    let ended_at = (state == SaleState::Ended).then_some(tx.at.0);
    let update = sqlx::query("UPDATE sms_flash_sale SET state = $1, ended_time = $2 WHERE id = $3 AND state = $4");
    let update = update.bind(state as i64).bind(ended_at).bind(sale_id.0).bind(sale.state as i64);
    let changed = tx.execute(update).await?;
    expect_rows("sms_flash_sale", 1, changed)?;
    Ok(SaleChange::Done)
}

/// Grants of a sale that still need a unit.
async fn open_grants(tx: &mut Transaction<'_>, sale_id: SaleId) -> Result<i64, StoreError> {
    let count: Option<(i64,)> = tx
        .optional(
            sqlx::query_as(
                "SELECT count(*) FROM sms_flash_sale_grant AS g
                 WHERE g.sale_id = $1 AND g.state = $2
                   AND NOT EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = g.order_sn)",
            )
            .bind(sale_id.0)
            .bind(GrantState::Granted as i64),
        )
        .await?;
    Ok(count.map_or(0, |(count,)| count))
}

/// Gives undrawn units of an ended sale back to ordinary stock.
pub(super) async fn give_back(tx: &mut Transaction<'_>, sale_id: SaleId, units: i64) -> Result<(), StoreError> {
    let undrawn = read_undrawn(tx, &[sale_id]).await?;
    let (change, taken) = decide_giving_back(sale_id, &undrawn, units)?;
    add_undrawn(tx, &taken).await?;
    stock::change(tx, &change).await
}

/// Carries out [`RaiseEpoch`].
pub(super) async fn raise_epoch(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, RaiseEpoch>,
) -> Result<EpochRaise, StoreError> {
    let raise = sqlx::query("UPDATE sms_flash_sale SET epoch = epoch + 1 WHERE id = $1 AND epoch = $2");
    let raised = tx.execute(raise.bind(unit.sale_id.0).bind(unit.from)).await?;
    if raised == 1 {
        return Ok(EpochRaise::Raised(unit.from + 1));
    }
    Ok(EpochRaise::Lost(read_sale(tx, unit.sale_id).await?.map(|sale| sale.epoch)))
}
