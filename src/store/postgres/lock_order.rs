//! The rows that the decisions of a batch are made from, locked before anything is read, in one order everywhere:
//! orders, sales, allotments, stock rows, members; each ascending. Two batches that want the same rows wait for one
//! another and never in a circle. (Should they all the same, over a UNIQUE index for example, the server ends one of
//! them and the writer tries it again.)
//!
//! What a lock keeps still:
//! - an order: its status, payments, refunds, return requests and points;
//! - a sale: its state, epoch, counters and grants;
//! - an allotment: its undrawn units, and whether the sale's grants have orders;
//! - a stock row: its units and the locks on it. All rows of a SKU are locked, so an owner that asks two nodes at once,
//!   and is given different warehouses by them, is still seen; one that asks them for different SKUs meets a UNIQUE index;
//! - a member: the balances.
//!
//! The database's clock is read after locking: whoever had to wait for a row is later than whoever held it. A statement
//! that locks sales or stock rows tells it with each row, once that row is locked; the last row tells the time of the
//! batch, which so costs no round trip of its own. (The clock stands outside of the locking part: the columns of that
//! part are made before its locks are had.)

use std::collections::{BTreeMap, BTreeSet};

use actors::domain::payment::RefundScope;
use actors::domain::returns::ReturnCommand;
use actors::domain::stock::Resolution;
use actors::domain::{OrderSn, SaleId, SkuId, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::WriteUnit;

use super::commit::{Moment, Transaction, moment};
use super::rows::{numbers, order_sn, sku_ids, stock_row};

/// What a batch is about to decide on.
#[derive(Default)]
struct Wanted<'u> {
    orders: BTreeSet<OrderSn>,
    sales: BTreeSet<SaleId>,
    /// Sales whose allotments it draws from or gives back to.
    drawn: BTreeSet<SaleId>,
    /// Sales whose stock rows it changes.
    carved: BTreeSet<SaleId>,
    skus: BTreeSet<SkuId>,
    members: BTreeSet<UserId>,
    /// Orders whose buyers may lose points.
    refunded: BTreeSet<OrderSn>,
    /// Orders whose units may come back to stock.
    restocked: BTreeSet<OrderSn>,
    /// Return requests, and what their receipt would do.
    returns: BTreeMap<i64, Receipt>,
    /// Refunds that are confirmed.
    settled: BTreeSet<&'u str>,
    /// Owners of locks that may belong to a sale.
    released: BTreeSet<&'u OrderSn>,
    /// Grants whose sale is not named.
    failed: BTreeSet<&'u OrderSn>,
}

/// What handling a return request gives back.
#[derive(Clone, Copy, Default)]
struct Receipt {
    money: bool,
    units: bool,
}

/// Locks what the units of a batch are decided on. The moment after the last lock, when it was told.
pub(super) async fn lock(tx: &mut Transaction<'_>, units: &[WriteUnit]) -> Result<Option<Moment>, StoreError> {
    let mut wanted = Wanted::default();
    units.iter().for_each(|unit| wanted.add(unit));
    wanted.find_orders(tx).await?;
    lock_orders(tx, &wanted.orders).await?;
    wanted.find_given_back(tx).await?;
    wanted.find_sales(tx).await?;
    let sales_locked = lock_sales(tx, &mut wanted).await?;
    lock_allotments(tx, &wanted.drawn).await?;
    let stock_locked = lock_stock(tx, &wanted.skus).await?;
    lock_members(tx, &wanted.members).await?;
    Ok(match (wanted.drawn.is_empty(), wanted.skus.is_empty(), wanted.members.is_empty()) {
        (_, false, true) => stock_locked,
        (true, true, true) => sales_locked,
        _ => None,
    })
}

impl<'u> Wanted<'u> {
    fn add(&mut self, unit: &'u WriteUnit) {
        match unit {
            WriteUnit::PlaceOrder(unit) => self.skus.extend(unit.locks.iter().map(|line| line.sku_id)),
            WriteUnit::LockStock(unit) => {
                let lines = unit.requests.iter().flat_map(|request| &request.lines);
                self.skus.extend(lines.map(|line| line.sku_id));
            }
            WriteUnit::ResolveLocks(unit) => {
                self.skus.insert(unit.sku_id);
                if unit.way == Resolution::Release {
                    self.released.extend(&unit.order_sns);
                }
            }
            WriteUnit::AdjustStock(unit) => drop(self.skus.insert(unit.sku_id)),
            WriteUnit::CommitGrants(unit) => drop(self.sales.insert(unit.sale_id)),
            WriteUnit::PauseSale(unit) => drop(self.sales.insert(unit.sale_id)),
            WriteUnit::RaiseEpoch(unit) => drop(self.sales.insert(unit.sale_id)),
            WriteUnit::MakeFlashOrders(unit) => self.drawn.extend(unit.orders.iter().filter_map(|order| order.sale_id)),
            WriteUnit::FailGrants(unit) => self.failed.extend(unit.grants.iter().map(|(order_sn, _)| order_sn)),
            WriteUnit::ArmSale(unit) => {
                self.sales.insert(unit.sale_id);
                self.carved.insert(unit.sale_id);
            }
            WriteUnit::EndSale(unit) => {
                self.sales.insert(unit.sale_id);
                self.drawn.insert(unit.sale_id);
                self.carved.insert(unit.sale_id);
            }
            WriteUnit::TakePayment(unit) => drop(self.orders.insert(unit.receipt.order_sn.clone())),
            WriteUnit::CloseOrders(unit) => self.orders.extend(unit.order_sns.iter().cloned()),
            WriteUnit::IssuePayPage(unit) => drop(self.orders.insert(unit.order_sn.clone())),
            WriteUnit::AddPoints(unit) => {
                self.orders.extend(unit.credits.iter().map(|credit| credit.order_token.clone()));
                self.members.extend(unit.credits.iter().map(|credit| credit.user_id));
            }
            WriteUnit::ShipOrder(unit) => drop(self.orders.insert(unit.order_sn.clone())),
            WriteUnit::ReceiveOrders(unit) => self.orders.extend(unit.order_sns.iter().cloned()),
            WriteUnit::RefundOrder(unit) => {
                self.orders.insert(unit.order_sn.clone());
                self.refunded.insert(unit.order_sn.clone());
                if unit.scope == RefundScope::Whole {
                    self.restocked.insert(unit.order_sn.clone());
                }
            }
            WriteUnit::RequestReturn(unit) => drop(self.orders.insert(unit.order_sn.clone())),
            WriteUnit::HandleReturn(unit) => {
                let receipt = self.returns.entry(unit.return_id).or_default();
                receipt.money |= unit.command == ReturnCommand::Receive;
                receipt.units |= unit.command == ReturnCommand::Receive && unit.restock;
            }
            WriteUnit::SettleRefund(unit) => drop(self.settled.insert(&unit.request_no)),
            WriteUnit::EditSale(unit) => drop(self.sales.insert(unit.sale_id)),
            WriteUnit::RestockSale(unit) => {
                self.sales.insert(unit.sale_id);
                self.drawn.insert(unit.sale_id);
                self.carved.insert(unit.sale_id);
            }
            WriteUnit::SetReceiver(unit) => drop(self.orders.insert(unit.order_sn.clone())),
            // New rows, single rows by compare-and-set, or reads of what only moves on.
            WriteUnit::CreateSale(_)
            | WriteUnit::AnnouncePaid(_)
            | WriteUnit::PutCartItem(_)
            | WriteUnit::RemoveCartItems(_)
            | WriteUnit::MarkPublished(_)
            | WriteUnit::Enqueue(_)
            | WriteUnit::FinishDeliveries(_)
            | WriteUnit::RetryDelivery(_)
            | WriteUnit::Park(_)
            | WriteUnit::Replay(_)
            | WriteUnit::PruneRequests(_)
            | WriteUnit::PruneMessages(_)
            | WriteUnit::CreateWebhook(_)
            | WriteUnit::EditWebhook(_)
            | WriteUnit::DeleteWebhook(_)
            | WriteUnit::RotateWebhook(_)
            | WriteUnit::ClaimDeliveries(_)
            | WriteUnit::SettleDelivery(_)
            | WriteUnit::Redeliver(_)
            | WriteUnit::PruneDeliveries(_) => {}
        }
    }

    /// Finds the orders behind return requests and refunds, which never change theirs.
    async fn find_orders(&mut self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        if self.returns.is_empty() && self.settled.is_empty() {
            return Ok(());
        }
        let rows: Vec<(Option<i64>, String)> = tx
            .all(
                sqlx::query_as(
                    "SELECT id, order_sn FROM oms_order_return_apply WHERE id = ANY($1)
                     UNION ALL SELECT NULL, order_sn FROM oms_refund_info WHERE refund_sn = ANY($2)",
                )
                .bind(self.returns.keys().copied().collect::<Vec<_>>())
                .bind(self.settled.iter().copied().collect::<Vec<_>>()),
            )
            .await?;
        for (return_id, order) in rows {
            let order = order_sn(&order)?;
            tx.returns.extend(return_id);
            let receipt = return_id.and_then(|id| self.returns.get(&id)).copied().unwrap_or_default();
            if receipt.money {
                self.refunded.insert(order.clone());
            }
            if receipt.units {
                self.restocked.insert(order.clone());
            }
            self.orders.insert(order);
        }
        Ok(())
    }

    /// Finds whose points and which SKUs' units refunds give back. Neither changes once the order is made.
    async fn find_given_back(&mut self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        if self.refunded.is_empty() {
            return Ok(());
        }
        let rows: Vec<(i64, Option<i64>)> = tx
            .all(
                sqlx::query_as(
                    "SELECT o.member_id, l.sku_id FROM oms_order AS o
                     LEFT JOIN wms_stock_lock AS l ON l.order_sn = o.order_sn AND l.order_sn = ANY($2)
                     WHERE o.order_sn = ANY($1)",
                )
                .bind(numbers(&self.refunded))
                .bind(numbers(&self.restocked)),
            )
            .await?;
        for (member_id, sku_id) in rows {
            self.members.insert(UserId(member_id));
            self.skus.extend(sku_id.map(SkuId));
        }
        Ok(())
    }

    /// Finds the sales behind lock rows and grants, which never change theirs.
    async fn find_sales(&mut self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        if self.released.is_empty() && self.failed.is_empty() {
            return Ok(());
        }
        let rows: Vec<(i64, bool)> = tx
            .all(
                sqlx::query_as(
                    "SELECT sale_id, FALSE FROM wms_stock_lock WHERE order_sn = ANY($1) AND sale_id IS NOT NULL
                     UNION SELECT sale_id, TRUE FROM sms_flash_sale_grant WHERE order_sn = ANY($2)",
                )
                .bind(numbers(self.released.iter().copied()))
                .bind(numbers(self.failed.iter().copied())),
            )
            .await?;
        for (sale_id, failed) in rows {
            self.sales.insert(SaleId(sale_id));
            self.drawn.insert(SaleId(sale_id));
            if failed {
                self.carved.insert(SaleId(sale_id));
            }
        }
        Ok(())
    }
}

async fn lock_orders(tx: &mut Transaction<'_>, orders: &BTreeSet<OrderSn>) -> Result<(), StoreError> {
    if orders.is_empty() {
        return Ok(());
    }
    let lock = sqlx::query("SELECT 1 FROM oms_order WHERE order_sn = ANY($1) ORDER BY order_sn FOR NO KEY UPDATE");
    tx.execute(lock.bind(numbers(orders))).await.map(drop)
}

async fn lock_sales(tx: &mut Transaction<'_>, wanted: &mut Wanted<'_>) -> Result<Option<Moment>, StoreError> {
    if wanted.sales.is_empty() {
        return Ok(None);
    }
    let rows: Vec<(i64, i64, i64, i64)> = tx
        .all(
            sqlx::query_as(concat!(
                "WITH locked AS (
                     SELECT id, sku_id FROM sms_flash_sale WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE
                 )
                 SELECT id, sku_id, ",
                moment!(),
                " FROM locked"
            ))
            .bind(sale_ids(&wanted.sales)),
        )
        .await?;
    let moment = rows.last().map(|&(.., now, wanted)| Moment::of(now, wanted));
    for (id, sku_id, ..) in rows {
        tx.sales.insert(SaleId(id));
        if wanted.carved.contains(&SaleId(id)) {
            wanted.skus.insert(SkuId(sku_id));
        }
    }
    Ok(moment)
}

async fn lock_allotments(tx: &mut Transaction<'_>, sales: &BTreeSet<SaleId>) -> Result<(), StoreError> {
    if sales.is_empty() {
        return Ok(());
    }
    let lock = sqlx::query(
        "SELECT 1 FROM sms_flash_sale_allotment WHERE sale_id = ANY($1) ORDER BY sale_id, ware_sku_id
         FOR NO KEY UPDATE",
    );
    tx.execute(lock.bind(sale_ids(sales))).await.map(drop)
}

/// A row of `wms_ware_sku`, and the moment.
type LockedColumns = (i64, i64, i64, i64, i64, i64, i64, i64);

async fn lock_stock(tx: &mut Transaction<'_>, skus: &BTreeSet<SkuId>) -> Result<Option<Moment>, StoreError> {
    if skus.is_empty() {
        return Ok(None);
    }
    let rows: Vec<LockedColumns> = tx
        .all(
            sqlx::query_as(concat!(
                "WITH locked AS (
                     SELECT id, sku_id, ware_id, stock, stock_locked, version FROM wms_ware_sku
                     WHERE sku_id = ANY($1) ORDER BY id FOR NO KEY UPDATE
                 )
                 SELECT *, ",
                moment!(),
                " FROM locked"
            ))
            .bind(sku_ids(skus)),
        )
        .await?;
    let moment = rows.last().map(|&(.., now, wanted)| Moment::of(now, wanted));
    let locked = |(id, sku_id, ware_id, stock, locked, version, ..): LockedColumns| {
        let row = stock_row((id, sku_id, ware_id, stock, locked, version));
        (row.id, row)
    };
    tx.stock.extend(rows.into_iter().map(locked));
    Ok(moment)
}

async fn lock_members(tx: &mut Transaction<'_>, members: &BTreeSet<UserId>) -> Result<(), StoreError> {
    if members.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = members.iter().map(|user_id| user_id.0).collect();
    let lock = sqlx::query("SELECT 1 FROM ums_member WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE");
    tx.execute(lock.bind(ids)).await.map(drop)
}

fn sale_ids(sales: &BTreeSet<SaleId>) -> Vec<i64> {
    sales.iter().map(|sale_id| sale_id.0).collect()
}
