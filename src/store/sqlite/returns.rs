//! Return requests.

use actors::domain::order::Operator;
use actors::domain::payment::return_request_no;
use actors::domain::returns::{self, ReturnApply, ReturnCommand, ReturnState, worth};
use actors::ports::store::StoreError;
use actors::ports::store::units::{HandleReturn, RequestReturn, ReturnHandling, ReturnRequest};

use super::commit::Transaction;
use super::order_rows::insert_history;
use super::refunds::{account, give_back, write_restock};
use super::rows::{Rows, expect_rows, unreadable};
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
                    coalesce((SELECT sum(r.sku_count) FROM oms_order_return_apply AS r
                              WHERE r.order_sn = o.order_sn AND r.sku_id = ?3 AND r.status <> 3), 0) AS asked
             FROM oms_order AS o
             LEFT JOIN oms_order_item AS i ON i.order_sn = o.order_sn AND i.sku_id = ?3
             WHERE o.order_sn = ?1 AND o.member_id = ?2",
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
             WHERE order_sn = ? AND sku_id = ? AND status IN (0, 1)",
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
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
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
    let found: Option<ReturnColumns> =
        tx.optional(sqlx::query_as(concat!(select_returns!(), " WHERE id = ?")).bind(unit.return_id)).await?;
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
    Ok(ReturnHandling::Handled { order_sn: row.order_sn, refund: given })
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
             SET restocked = ?, status = ?, receive_time = ?, receive_man = ?, receive_note = ?
             WHERE id = ? AND status = ?",
        )
        .bind(unit.restock)
    } else {
        sqlx::query(
            "UPDATE oms_order_return_apply SET status = ?, handle_time = ?, handle_man = ?, handle_note = ?
             WHERE id = ? AND status = ?",
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
                 WHERE order_sn = ? AND sku_id = ? ORDER BY ware_sku_id",
            )
            .bind(row.order_sn.as_str())
            .bind(row.sku_id.0),
        )
        .await?;
    let Some(restock) = decide_restocking(row, locks)? else { return Ok(false) };
    let mut rows = Rows::new();
    for (id, num) in &restock.returned {
        rows.row().put(id).put(num);
    }
    let expected = rows.count();
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE wms_stock_lock SET returned = returned + back.units, modify_time = ?1
                 FROM (SELECT value->>0 AS row_id, value->>1 AS units FROM jsonb_each(?2)) AS back
                 WHERE order_sn = ?3 AND ware_sku_id = back.row_id AND state = 1",
            )
            .bind(tx.at.0)
            .bind(rows.json())
            .bind(row.order_sn.as_str()),
        )
        .await?;
    expect_rows("wms_stock_lock", expected, changed)?;
    write_restock(tx, &row.order_sn, restock).await?;
    Ok(true)
}
