//! Gathering the facts that the invariants judge: the statements, which both databases understand (the casts are for
//! PostgreSQL, whose sums are decimals), and what their rows
//! mean. An adapter runs them in one read snapshot ([`gather`], [`judge`]).

use actors::domain::flash_sale::SaleState;
use actors::domain::invariants::{
    HolderFacts, MemberFacts, OrderFacts, ReturnFacts, SaleFacts, StockFacts, StrayPaymentFacts,
};
use actors::domain::order::PayType;
use actors::domain::payment::PaymentState;
use actors::domain::{Money, SaleId, SkuId, Timestamp, UserId, WareSkuId};
use actors::ports::store::StoreError;

use super::rows::{order_sn, order_status, pay_type, time, unreadable};

/// Outbox rows that wait longer are stuck (I11).
pub(super) const STUCK_AFTER_MS: i64 = 60_000;

/// Orders that are judged together.
pub(super) const PAGE: usize = 4_096;

/// Runs all statements but the orders' on a connection, with the `all` of the adapter that calls it. Its lock owners
/// without an order are among the facts.
macro_rules! gather_rest {
    ($connection:expr, $now:expr, $exempt_ms:expr, $rules:expr) => {{
        use $crate::store::audit;
        let (now, settled_at) = ($now.0, $now.0.saturating_sub($exempt_ms));
        let orderless = all($connection, sqlx::query_as(audit::ORDERLESS)).await?;
        let stuck = sqlx::query_as(audit::STUCK_MESSAGES).bind(now).bind(audit::STUCK_AFTER_MS);
        Facts {
            now_ms: now,
            close_grace_ms: i64::try_from($rules.close_grace.as_millis()).unwrap_or(i64::MAX),
            points_per_yuan: $rules.points_per_yuan,
            stock: audit::stock(all($connection, sqlx::query_as(audit::STOCK)).await?),
            orders: audit::orderless(orderless, now, settled_at)?,
            sales: audit::sales(all($connection, sqlx::query_as(audit::SALES)).await?)?,
            holders: audit::holders(all($connection, sqlx::query_as(audit::HOLDERS)).await?),
            doubled_tokens: audit::texts(all($connection, sqlx::query_as(audit::DOUBLED_TOKENS)).await?),
            stray_payments: audit::stray_payments(all($connection, sqlx::query_as(audit::STRAY_PAYMENTS)).await?)?,
            returns: audit::returns(all($connection, sqlx::query_as(audit::RETURNS)).await?)?,
            members: audit::members(all($connection, sqlx::query_as(audit::MEMBERS)).await?),
            stuck_messages: all($connection, stuck).await?,
        }
    }};
}
pub(super) use gather_rest;

/// All facts.
macro_rules! gather {
    ($connection:expr, $now:expr, $exempt_ms:expr, $rules:expr) => {{
        use $crate::store::audit;
        let mut facts = audit::gather_rest!($connection, $now, $exempt_ms, $rules);
        let settled_at = $now.0.saturating_sub($exempt_ms);
        let mut orders = audit::orders(all($connection, sqlx::query_as(audit::ORDERS).bind(settled_at)).await?)?;
        orders.append(&mut facts.orders);
        Facts { orders, ..facts }
    }};
}
pub(super) use gather;

/// Judges all facts, the orders page by page as they come.
macro_rules! judge {
    ($connection:expr, $now:expr, $exempt_ms:expr, $rules:expr) => {{
        use futures_util::{StreamExt, TryStreamExt};
        use $crate::store::audit;
        let rest = audit::gather_rest!($connection, $now, $exempt_ms, $rules);
        let mut report = check(&rest);
        let settled_at = $now.0.saturating_sub($exempt_ms);
        let mut rows = sqlx::query_as(audit::ORDERS).bind(settled_at).fetch(&mut *$connection);
        loop {
            let page: Vec<audit::OrderColumns> =
                rows.by_ref().take(audit::PAGE).try_collect().await.map_err(store_error)?;
            if page.is_empty() {
                break report;
            }
            let facts = Facts {
                now_ms: rest.now_ms,
                close_grace_ms: rest.close_grace_ms,
                points_per_yuan: rest.points_per_yuan,
                orders: audit::orders(page)?,
                ..Facts::default()
            };
            report = report.join(check(&facts));
        }
    }};
}
pub(super) use judge;

/// Each stock row beside its locks, allotments and ledger.
pub(super) const STOCK: &str = "WITH locks AS (
         SELECT ware_sku_id, sum(num) FILTER (WHERE state = 0) AS locked,
                sum(num - returned) FILTER (WHERE state = 1) AS deducted
         FROM wms_stock_lock GROUP BY ware_sku_id
     ), allotments AS (
         SELECT ware_sku_id, sum(undrawn) AS undrawn FROM sms_flash_sale_allotment GROUP BY ware_sku_id
     ), ledger AS (
         SELECT ware_sku_id, sum(delta) AS stock,
                sum(delta) FILTER (WHERE kind IN ('sale', 'return')) AS sold
         FROM wms_stock_ledger GROUP BY ware_sku_id
     )
     SELECT w.id, w.stock, w.stock_locked, CAST(coalesce(locks.locked, 0) AS BIGINT), CAST(coalesce(allotments.undrawn, 0) AS BIGINT),
            CAST(coalesce(locks.deducted, 0) AS BIGINT), CAST(coalesce(ledger.stock, 0) AS BIGINT), CAST(-coalesce(ledger.sold, 0) AS BIGINT)
     FROM wms_ware_sku AS w
     LEFT JOIN locks ON locks.ware_sku_id = w.id
     LEFT JOIN allotments ON allotments.ware_sku_id = w.id
     LEFT JOIN ledger ON ledger.ware_sku_id = w.id
     ORDER BY w.id";

type StockColumns = (i64, i64, i64, i64, i64, i64, i64, i64);

pub(super) fn stock(rows: Vec<StockColumns>) -> Vec<StockFacts> {
    let facts = |(id, stock, locked, locked_rows, undrawn, deducted_rows, ledger_stock, ledger_sold)| StockFacts {
        id: WareSkuId(id),
        stock,
        locked,
        locked_rows,
        undrawn,
        deducted_rows,
        ledger_stock,
        ledger_sold,
    };
    rows.into_iter().map(facts).collect()
}

/// Each order beside its locks, payments and points; `$1` is the youngest change that counts.
pub(super) const ORDERS: &str = "WITH locks AS (
         SELECT order_sn, sum(num) FILTER (WHERE state = 0) AS locked,
                sum(num) FILTER (WHERE state = 1) AS deducted,
                sum(num) FILTER (WHERE state IN (2, 3)) AS released
         FROM wms_stock_lock GROUP BY order_sn
     )
     SELECT o.order_sn, o.status, o.modify_time, o.pay_before, o.pay_amount, o.pay_type,
            (SELECT min(h.create_time) FROM oms_order_operate_history AS h
             WHERE h.order_sn = o.order_sn AND h.by_timeout = 1) AS timed_out_at,
            CAST((SELECT coalesce(sum(sku_quantity), 0) FROM oms_order_item AS i
                  WHERE i.order_sn = o.order_sn) AS BIGINT) AS quantity,
            CAST(coalesce(locks.locked, 0) AS BIGINT) AS locked,
            CAST(coalesce(locks.deducted, 0) AS BIGINT) AS deducted,
            CAST(coalesce(locks.released, 0) AS BIGINT) AS released,
            (SELECT count(*) FROM oms_payment_info AS p
             WHERE p.order_sn = o.order_sn AND p.payment_status = 'APPLIED') AS applied,
            CAST((SELECT coalesce(sum(r.refund), 0) FROM oms_payment_info AS p
                  JOIN oms_refund_info AS r ON r.trade_no = p.alipay_trade_no
                  WHERE p.order_sn = o.order_sn AND p.payment_status = 'APPLIED') AS BIGINT) AS refunded,
            CAST((SELECT h.change_count + (SELECT coalesce(sum(b.change_count), 0)
                                           FROM ums_integration_change_history AS b
                                           WHERE b.reversal_of = o.order_sn)
                  FROM ums_integration_change_history AS h WHERE h.order_sn = o.order_sn) AS BIGINT) AS points
     FROM oms_order AS o LEFT JOIN locks ON locks.order_sn = o.order_sn
     WHERE o.modify_time <= $1";

#[derive(sqlx::FromRow)]
pub(super) struct OrderColumns {
    order_sn: String,
    status: i64,
    modify_time: i64,
    pay_before: Option<i64>,
    timed_out_at: Option<i64>,
    quantity: i64,
    locked: i64,
    deducted: i64,
    released: i64,
    pay_amount: i64,
    applied: i64,
    refunded: i64,
    pay_type: i64,
    points: Option<i64>,
}

pub(super) fn orders(rows: Vec<OrderColumns>) -> Result<Vec<OrderFacts>, StoreError> {
    let facts = |row: OrderColumns| {
        Ok(OrderFacts {
            order_sn: order_sn(&row.order_sn)?,
            status: Some(order_status(row.status)?),
            modified_at: Timestamp(row.modify_time),
            pay_before: time(row.pay_before),
            timed_out_at: time(row.timed_out_at),
            quantity: row.quantity,
            locked: row.locked,
            deducted: row.deducted,
            released: row.released,
            lease_until: None,
            pay_amount: Money(row.pay_amount),
            applied_payments: row.applied,
            refunded: Money(row.refunded),
            online: pay_type(row.pay_type)? == PayType::Online,
            points: row.points,
        })
    };
    rows.into_iter().map(facts).collect()
}

/// Lock owners without an order.
pub(super) const ORDERLESS: &str = "SELECT order_sn, max(create_time), min(lease_until),
            CAST(coalesce(sum(num) FILTER (WHERE state = 0), 0) AS BIGINT),
            CAST(coalesce(sum(num) FILTER (WHERE state = 1), 0) AS BIGINT),
            CAST(coalesce(sum(num) FILTER (WHERE state IN (2, 3)), 0) AS BIGINT)
     FROM wms_stock_lock AS l
     WHERE NOT EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = l.order_sn)
     GROUP BY order_sn";

type OrderlessColumns = (String, i64, Option<i64>, i64, i64, i64);

/// Those whose lease has just ended are left to the sweep.
pub(super) fn orderless(rows: Vec<OrderlessColumns>, now: i64, settled_at: i64) -> Result<Vec<OrderFacts>, StoreError> {
    let just_lapsed = |until: i64| until <= now && until > settled_at;
    let kept = rows.into_iter().filter(|(_, _, lease_until, ..)| !lease_until.is_some_and(just_lapsed));
    let facts = |(owner, modified_at, lease_until, locked, deducted, released): OrderlessColumns| {
        Ok(OrderFacts {
            order_sn: order_sn(&owner)?,
            status: None,
            modified_at: Timestamp(modified_at),
            pay_before: None,
            timed_out_at: None,
            quantity: 0,
            locked,
            deducted,
            released,
            lease_until: time(lease_until),
            pay_amount: Money::ZERO,
            applied_payments: 0,
            refunded: Money::ZERO,
            online: false,
            points: None,
        })
    };
    kept.map(facts).collect()
}

/// Each sale beside its grants and locks.
pub(super) const SALES: &str = "WITH grants AS (
         SELECT sale_id, count(*) AS made, count(*) FILTER (WHERE state <> 0) AS released,
                count(*) FILTER (WHERE state = 0 AND NOT EXISTS
                    (SELECT 1 FROM oms_order AS o WHERE o.order_sn = g.order_sn)) AS open
         FROM sms_flash_sale_grant AS g GROUP BY sale_id
     ), drawn AS (
         SELECT sale_id, sum(num) AS units FROM wms_stock_lock
         WHERE sale_id IS NOT NULL AND state IN (0, 1) GROUP BY sale_id
     )
     SELECT s.id, s.state, s.count, s.granted, s.released,
            coalesce(grants.made, 0) AS grant_rows, coalesce(grants.released, 0) AS released_rows,
            coalesce(grants.open, 0) AS open_grants,
            CAST((SELECT coalesce(sum(a.undrawn), 0) FROM sms_flash_sale_allotment AS a
                  WHERE a.sale_id = s.id) AS BIGINT) AS undrawn,
            CAST(coalesce(drawn.units, 0) AS BIGINT) AS drawn
     FROM sms_flash_sale AS s
     LEFT JOIN grants ON grants.sale_id = s.id
     LEFT JOIN drawn ON drawn.sale_id = s.id
     ORDER BY s.id";

#[derive(sqlx::FromRow)]
pub(super) struct SaleColumns {
    id: i64,
    state: i64,
    count: i64,
    granted: i64,
    released: i64,
    grant_rows: i64,
    released_rows: i64,
    open_grants: i64,
    undrawn: i64,
    drawn: i64,
}

pub(super) fn sales(rows: Vec<SaleColumns>) -> Result<Vec<SaleFacts>, StoreError> {
    let facts = |row: SaleColumns| {
        Ok(SaleFacts {
            id: SaleId(row.id),
            state: SaleState::from_code(row.state).ok_or_else(|| unreadable("sms_flash_sale.state", row.state))?,
            count: row.count,
            granted: row.granted,
            released: row.released,
            grant_rows: row.grant_rows,
            released_rows: row.released_rows,
            open_grants: row.open_grants,
            undrawn: row.undrawn,
            drawn: row.drawn,
        })
    };
    rows.into_iter().map(facts).collect()
}

/// Grants of each user in each sale.
pub(super) const HOLDERS: &str = "SELECT g.sale_id, g.user_id, count(*), s.per_user_limit
     FROM sms_flash_sale_grant AS g JOIN sms_flash_sale AS s ON s.id = g.sale_id
     WHERE g.state <> 1 GROUP BY g.sale_id, g.user_id, s.per_user_limit";

pub(super) fn holders(rows: Vec<(i64, i64, i64, i64)>) -> Vec<HolderFacts> {
    let facts = |(sale_id, user_id, grants, limit)| HolderFacts {
        sale_id: SaleId(sale_id),
        user_id: UserId(user_id),
        grants,
        limit,
    };
    rows.into_iter().map(facts).collect()
}

/// Tokens with more than one order.
pub(super) const DOUBLED_TOKENS: &str = "SELECT order_token FROM oms_order WHERE order_token IS NOT NULL
     GROUP BY member_id, order_token HAVING count(*) > 1";

pub(super) fn texts(rows: Vec<(String,)>) -> Vec<String> {
    rows.into_iter().map(|(text,)| text).collect()
}

/// Payments that pay no order, beside their refunds.
pub(super) const STRAY_PAYMENTS: &str = "SELECT p.order_sn, p.payment_status, p.total_amount,
            (SELECT count(*) FROM oms_refund_info AS r WHERE r.trade_no = p.alipay_trade_no),
            CAST((SELECT coalesce(sum(r.refund), 0) FROM oms_refund_info AS r
                  WHERE r.trade_no = p.alipay_trade_no) AS BIGINT)
     FROM oms_payment_info AS p WHERE p.payment_status <> 'APPLIED' ORDER BY p.id";

type PaymentColumns = (String, String, i64, i64, i64);

pub(super) fn stray_payments(rows: Vec<PaymentColumns>) -> Result<Vec<StrayPaymentFacts>, StoreError> {
    let facts = |(order, state, amount, refund_rows, refund_amount): PaymentColumns| {
        let state = PaymentState::parse(&state).ok_or_else(|| unreadable("payment_status", &state))?;
        Ok(StrayPaymentFacts {
            order_sn: order_sn(&order)?,
            refunded: state != PaymentState::Mismatch,
            amount: Money(amount),
            refund_rows,
            refund_amount: Money(refund_amount),
        })
    };
    rows.into_iter().map(facts).collect()
}

/// Each SKU of an order that was asked back: units bought, asked for, to be restocked, and restocked by the locks.
pub(super) const RETURNS: &str = "SELECT r.order_sn, r.sku_id,
            CAST((SELECT coalesce(sum(i.sku_quantity), 0) FROM oms_order_item AS i
                  WHERE i.order_sn = r.order_sn AND i.sku_id = r.sku_id) AS BIGINT),
            CAST(coalesce(sum(r.sku_count) FILTER (WHERE r.status <> 3), 0) AS BIGINT),
            CAST(coalesce(sum(r.sku_count) FILTER (WHERE r.restocked = 1), 0) AS BIGINT),
            CAST((SELECT coalesce(sum(l.returned), 0) FROM wms_stock_lock AS l
                  WHERE l.order_sn = r.order_sn AND l.sku_id = r.sku_id AND l.state = 1) AS BIGINT)
     FROM oms_order_return_apply AS r GROUP BY r.order_sn, r.sku_id";

type ReturnColumns = (String, i64, i64, i64, i64, i64);

pub(super) fn returns(rows: Vec<ReturnColumns>) -> Result<Vec<ReturnFacts>, StoreError> {
    let facts = |(order, sku_id, bought, asked, to_restock, restocked): ReturnColumns| {
        Ok(ReturnFacts { order_sn: order_sn(&order)?, sku_id: SkuId(sku_id), bought, asked, to_restock, restocked })
    };
    rows.into_iter().map(facts).collect()
}

/// Balances beside their history.
pub(super) const MEMBERS: &str = "SELECT m.id, m.integration, CAST(sum(h.change_count) AS BIGINT)
     FROM ums_member AS m JOIN ums_integration_change_history AS h ON h.member_id = m.id
     GROUP BY m.id ORDER BY m.id";

pub(super) fn members(rows: Vec<(i64, i64, i64)>) -> Vec<MemberFacts> {
    let facts = |(user_id, integration, history)| MemberFacts { user_id: UserId(user_id), integration, history };
    rows.into_iter().map(facts).collect()
}

/// Messages older than `$2` ms at `$1`.
pub(super) const STUCK_MESSAGES: &str = "SELECT message_id, $1 - create_time FROM mq_outbox
     WHERE published_time IS NULL AND create_time < $1 - $2 ORDER BY create_time";
