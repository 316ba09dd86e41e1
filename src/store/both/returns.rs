//! Return requests. Their orders are locked; when goods are restocked, so are the stock rows.

use actors::domain::order::Operator;
use actors::domain::payment::return_request_no;
use actors::domain::returns::{self, ReturnApply, ReturnCommand, ReturnState, worth};
use actors::ports::store::StoreError;
use actors::ports::store::units::{HandleReturn, RequestReturn, ReturnHandling, ReturnRequest};

use super::bulk::return_units;
use super::commit::Transaction;
use super::order_rows::insert_history;
use super::refunds::{account, give_back, write_restock};
use super::rows::{expect_rows, unreadable};
use crate::store::batch::Placed;
use crate::store::columns::{HistoryRow, ReturnColumns, select_returns};
use crate::store::decisions::{NewReturn, OpenReturn, ReturnLine, decide_restocking, judge_return};

/// Carries out [`RequestReturn`].
pub(super) async fn request(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, RequestReturn>,
) -> Result<ReturnRequest, StoreError> {
    let Some(line) = read_line(tx, unit).await? else { return Ok(ReturnRequest::Unknown) };
    let Some(account) = account(tx, &unit.order_sn).await? else { return Ok(ReturnRequest::Unknown) };
    let open = open_request(tx, unit).await?;
    let new = match judge_return(unit, &line, open, &account, tx.at)? {
        Ok(new) => new,
        Err(answer) => return Ok(answer),
    };
    let id = insert(tx, unit, &line, &new).await?;
    let note = returns::history_note(id, ReturnState::Pending);
    insert_history(tx, &[HistoryRow::step(&unit.order_sn, Operator::User, new.status, &note)]).await?;
    Ok(ReturnRequest::Requested(id))
}

async fn read_line(tx: &mut Transaction<'_>, unit: &RequestReturn) -> Result<Option<ReturnLine>, StoreError> {
    tx.optional(
        sqlx::query_as(
            "SELECT o.member_username, o.receiver_name, o.receiver_phone, o.receive_time,
                    i.sku_name, i.sku_price, i.sku_quantity,
                    (SELECT CAST(coalesce(sum(r.sku_count), 0) AS bigint) FROM oms_order_return_apply AS r
                     WHERE r.order_sn = o.order_sn AND r.sku_id = $3 AND r.status <> 3) AS asked
             FROM oms_order AS o
             LEFT JOIN oms_order_item AS i ON i.order_sn = o.order_sn AND i.sku_id = $3
             WHERE o.order_sn = $1 AND o.member_id = $2",
        )
        .bind(unit.order_sn.as_str())
        .bind(unit.user_id.0)
        .bind(unit.sku_id.0),
    )
    .await
}

async fn open_request(tx: &mut Transaction<'_>, unit: &RequestReturn) -> Result<Option<OpenReturn>, StoreError> {
    tx.optional(
        sqlx::query_as(
            "SELECT id, status, sku_count, reason FROM oms_order_return_apply
             WHERE order_sn = $1 AND sku_id = $2 AND status IN (0, 1)",
        )
        .bind(unit.order_sn.as_str())
        .bind(unit.sku_id.0),
    )
    .await
}

async fn insert(
    tx: &mut Transaction<'_>,
    unit: &RequestReturn,
    line: &ReturnLine,
    new: &NewReturn<'_>,
) -> Result<i64, StoreError> {
    let inserted: Option<(i64,)> = tx
        .optional(
            sqlx::query_as(
                "INSERT INTO oms_order_return_apply
                     (order_sn, member_id, member_username, sku_id, sku_name, sku_price, sku_count, return_amount,
                      return_name, return_phone, reason, description, create_time)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id",
            )
            .bind(unit.order_sn.as_str())
            .bind(unit.user_id.0)
            .bind(&line.member_username)
            .bind(unit.sku_id.0)
            .bind(new.title)
            .bind(new.price.0)
            .bind(i64::from(unit.quantity))
            .bind(new.amount.0)
            .bind(&line.receiver_name)
            .bind(&line.receiver_phone)
            .bind(&unit.reason)
            .bind(&unit.description)
            .bind(tx.at.0),
        )
        .await?;
    inserted.map(|(id,)| id).ok_or_else(|| unreadable("the id of a return request", "missing"))
}

/// Carries out [`HandleReturn`].
pub(super) async fn handle(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, HandleReturn>,
) -> Result<ReturnHandling, StoreError> {
    if !tx.has_locked_return(unit.return_id) {
        // Not there when the orders were locked: whoever asks cannot have heard of it yet.
        return Ok(ReturnHandling::Unknown);
    }
    let found: Option<ReturnColumns> =
        tx.optional(sqlx::query_as(concat!(select_returns!(), " WHERE id = $1")).bind(unit.return_id)).await?;
    let Some(row) = found.map(ReturnColumns::into_return).transpose()? else { return Ok(ReturnHandling::Unknown) };
    let Some(to) = returns::apply(row.state, unit.command) else { return Ok(ReturnHandling::WrongState(row.state)) };
    let is_receipt = unit.command == ReturnCommand::Receive;
    if is_receipt && unit.restock && !restock(tx, &row).await? {
        return Ok(ReturnHandling::NotDeducted);
    }
    update(tx, unit, &row, to).await?;
    let account = account(tx, &row.order_sn).await?;
    let account = account.ok_or_else(|| unreadable("the order of a return request", "missing"))?;
    let mut given = None;
    if is_receipt {
        let amount = worth(row.price, row.quantity, account.refundable());
        let request_no = return_request_no(row.id);
        given = account.refund(&row.order_sn, amount, (&request_no, Some(row.id)), tx.at);
    }
    if let Some(refund) = &given {
        give_back(tx, &account, refund).await?;
    }
    let note = returns::history_note(row.id, to);
    insert_history(tx, &[HistoryRow::step(&row.order_sn, unit.operator, account.status, &note)]).await?;
    Ok(ReturnHandling::Handled(given))
}

/// The compare-and-set of the request's state.
async fn update(
    tx: &mut Transaction<'_>,
    unit: &HandleReturn,
    row: &ReturnApply,
    to: ReturnState,
) -> Result<(), StoreError> {
    let statement = if unit.command == ReturnCommand::Receive {
        sqlx::query(
            "UPDATE oms_order_return_apply
             SET restocked = $1, status = $2, receive_time = $3, receive_man = $4, receive_note = $5
             WHERE id = $6 AND status = $7",
        )
        .bind(i64::from(unit.restock))
    } else {
        sqlx::query(
            "UPDATE oms_order_return_apply SET status = $1, handle_time = $2, handle_man = $3, handle_note = $4
             WHERE id = $5 AND status = $6",
        )
    };
    let statement = statement.bind(to.code()).bind(tx.at.0).bind(unit.operator.as_str()).bind(&unit.note);
    let changed = tx.execute(statement.bind(row.id).bind(row.state.code())).await?;
    expect_rows("oms_order_return_apply", 1, changed)
}

/// Puts the units back where they came from; `false`, and nothing is done, when they have not left the shelf yet.
async fn restock(tx: &mut Transaction<'_>, row: &ReturnApply) -> Result<bool, StoreError> {
    let locks = tx
        .all(
            sqlx::query_as(
                "SELECT ware_sku_id, state, num - returned FROM wms_stock_lock
                 WHERE order_sn = $1 AND sku_id = $2 ORDER BY ware_sku_id",
            )
            .bind(row.order_sn.as_str())
            .bind(row.sku_id.0),
        )
        .await?;
    let Some(restock) = decide_restocking(row, locks)? else { return Ok(false) };
    return_units(tx, &row.order_sn, &restock.returned).await?;
    write_restock(tx, &row.order_sn, restock).await?;
    Ok(true)
}
