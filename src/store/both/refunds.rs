//! Money of applied payments going back, with its points, and the goods of orders that are refunded whole. The orders are
//! locked, and so are the stock rows and the buyers.

use actors::domain::OrderSn;
use actors::domain::order::OrderStatus;
use actors::domain::payment::{Refund, RefundScope};
use actors::ports::store::StoreError;
use actors::ports::store::units::{OrderRefund, RefundOrder};

use super::commit::Transaction;
use super::order_rows::insert_history;
use super::rows::expect_rows;
use super::stock::{self, insert_ledger};
use crate::store::batch::Placed;
use crate::store::columns::{HistoryRow, RefundColumns, select_refunds};
use crate::store::decisions::{Account, AccountColumns, Restock, decide_returning_locks, judge_refund};

/// What a refund of the order depends on; `None` when there is no such order.
pub(super) async fn account(tx: &mut Transaction<'_>, order_sn: &OrderSn) -> Result<Option<Account>, StoreError> {
    let found: Option<AccountColumns> = tx
        .optional(
            sqlx::query_as(
                "SELECT o.member_id, o.status, o.pay_amount, p.alipay_trade_no,
                        (SELECT CAST(coalesce(sum(r.refund), 0) AS bigint) FROM oms_refund_info AS r
                         WHERE r.trade_no = p.alipay_trade_no)
                 FROM oms_order AS o
                 LEFT JOIN oms_payment_info AS p ON p.order_sn = o.order_sn AND p.payment_status = 'APPLIED'
                 WHERE o.order_sn = $1",
            )
            .bind(order_sn.as_str()),
        )
        .await?;
    found.map(Account::read).transpose()
}

/// Carries out [`RefundOrder`].
pub(super) async fn refund(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, RefundOrder>,
) -> Result<OrderRefund, StoreError> {
    let order_sn = &unit.order_sn;
    let Some(account) = account(tx, order_sn).await? else { return Ok(OrderRefund::Unknown) };
    let earlier = refund_of(tx, &unit.request_no).await?;
    let (to, refund) = match judge_refund(unit, &account, earlier, tx.at)? {
        Ok(decided) => decided,
        Err(answer) => return Ok(answer),
    };
    touch_order(tx, order_sn, account.status, to).await?;
    if let Some(refund) = &refund {
        give_back(tx, &account, refund).await?;
    }
    if unit.scope == RefundScope::Whole {
        return_locks(tx, order_sn).await?;
    }
    insert_history(tx, &[HistoryRow::step(order_sn, unit.operator, to, &unit.note)]).await?;
    Ok(OrderRefund::Given(refund))
}

async fn refund_of(tx: &mut Transaction<'_>, request_no: &str) -> Result<Option<Refund>, StoreError> {
    let found: Option<RefundColumns> =
        tx.optional(sqlx::query_as(concat!(select_refunds!(), " WHERE refund_sn = $1")).bind(request_no)).await?;
    found.map(RefundColumns::into_refund).transpose()
}

/// The compare-and-set of the order's row, also when its status stays.
async fn touch_order(
    tx: &mut Transaction<'_>,
    order_sn: &OrderSn,
    from: OrderStatus,
    to: OrderStatus,
) -> Result<(), StoreError> {
    let changed = tx
        .execute(
            sqlx::query("UPDATE oms_order SET status = $1, modify_time = $2 WHERE order_sn = $3 AND status = $4")
                .bind(to.code())
                .bind(tx.at.0)
                .bind(order_sn.as_str())
                .bind(from.code()),
        )
        .await?;
    expect_rows("oms_order", 1, changed)
}

/// The refund row, and the points that go with it.
pub(super) async fn give_back(tx: &mut Transaction<'_>, account: &Account, refund: &Refund) -> Result<(), StoreError> {
    insert_refund(tx, refund).await?;
    reverse_points(tx, account, refund).await
}

async fn insert_refund(tx: &mut Transaction<'_>, refund: &Refund) -> Result<(), StoreError> {
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO oms_refund_info
                     (order_return_id, order_sn, trade_no, refund, refund_sn, refund_status, refund_channel,
                      create_time, confirm_time)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(refund.return_id)
            .bind(refund.order_sn.as_str())
            .bind(refund.trade_no.as_str())
            .bind(refund.amount.0)
            .bind(&refund.request_no)
            .bind(i64::from(refund.confirmed_at.is_some()))
            .bind(refund.channel.code())
            .bind(refund.created_at.0)
            .bind(refund.confirmed_at.map(|at| at.0)),
        )
        .await?;
    expect_rows("oms_refund_info", 1, inserted)
}

/// Takes the refund's share of the points back from who was credited them.
async fn reverse_points(tx: &mut Transaction<'_>, account: &Account, refund: &Refund) -> Result<(), StoreError> {
    let taken = account.points_lost(refund, tx.rules.points_per_yuan);
    if taken == 0 || !is_credited(tx, &refund.order_sn).await? {
        return Ok(());
    }
    let integration = sqlx::query(
        "INSERT INTO ums_integration_change_history
             (member_id, change_count, note, create_time, reversal_of, refund_sn)
         VALUES ($1, $2, 'refund', $3, $4, $5)",
    );
    let growth = sqlx::query(
        "INSERT INTO ums_growth_change_history (member_id, change_count, note, create_time, reversal_of, refund_sn)
         VALUES ($1, $2, 'refund', $3, $4, $5)",
    );
    for (table, insert) in [("ums_integration_change_history", integration), ("ums_growth_change_history", growth)] {
        let row = insert.bind(account.user_id.0).bind(-taken).bind(tx.at.0);
        let inserted = tx.execute(row.bind(refund.order_sn.as_str()).bind(&refund.request_no)).await?;
        expect_rows(table, 1, inserted)?;
    }
    // Members that do not exist have no balance.
    tx.execute(
        sqlx::query("UPDATE ums_member SET integration = integration - $1, growth = growth - $1 WHERE id = $2")
            .bind(taken)
            .bind(account.user_id.0),
    )
    .await?;
    Ok(())
}

async fn is_credited(tx: &mut Transaction<'_>, order_sn: &OrderSn) -> Result<bool, StoreError> {
    let found: Option<(i64,)> = tx
        .optional(
            sqlx::query_as("SELECT CAST(1 AS bigint) FROM ums_integration_change_history WHERE order_sn = $1")
                .bind(order_sn.as_str()),
        )
        .await?;
    Ok(found.is_some())
}

/// Every open or deducted lock becomes RETURNED; units that had left the shelf are back on it.
async fn return_locks(tx: &mut Transaction<'_>, order_sn: &OrderSn) -> Result<(), StoreError> {
    let rows: Vec<(i64, i64, i64)> = tx
        .all(
            sqlx::query_as(
                "SELECT ware_sku_id, state, num FROM wms_stock_lock WHERE order_sn = $1 AND state IN (0, 1)",
            )
            .bind(order_sn.as_str()),
        )
        .await?;
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE wms_stock_lock SET state = 3, returned = num, modify_time = $1
                 WHERE order_sn = $2 AND state IN (0, 1)",
            )
            .bind(tx.at.0)
            .bind(order_sn.as_str()),
        )
        .await?;
    expect_rows("wms_stock_lock", rows.len(), changed)?;
    write_restock(tx, order_sn, decide_returning_locks(rows)?).await
}

/// What stock rows and ledger say of units that come back.
pub(super) async fn write_restock(
    tx: &mut Transaction<'_>,
    order_sn: &OrderSn,
    restock: Restock,
) -> Result<(), StoreError> {
    stock::change(tx, &restock.stock).await?;
    insert_ledger(tx, "return", order_sn.as_str(), &restock.returned).await
}
