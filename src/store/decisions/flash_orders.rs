//! Making the orders of winners.

use std::collections::{BTreeMap, HashMap, HashSet};

use actors::domain::order::{LockLine, NewOrder};
use actors::domain::{OrderSn, SaleId, SkuId, WareSkuId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{FlashOrder, MakeFlashOrders};

use super::resolving::AllotmentChange;
use super::stock::NewLock;
use crate::store::batch::{News, Placed};
use crate::store::rows::order_sn;

/// Orders that are not to be made, and why.
pub(in crate::store) type Unclaimed = HashMap<OrderSn, FlashOrder>;

/// Reads the orders that exist, `true`, or whose grant is not open or not of their sale and user.
pub(in crate::store) fn unclaimed(rows: Vec<(String, bool)>) -> Result<Unclaimed, StoreError> {
    let why = |(order, exists): (String, bool)| {
        Ok((order_sn(&order)?, if exists { FlashOrder::Exists } else { FlashOrder::NotGranted }))
    };
    rows.into_iter().map(why).collect()
}

/// Allotments with their SKU and undrawn units.
pub(in crate::store) type Undrawn = BTreeMap<(SaleId, WareSkuId), (SkuId, i64)>;

/// What becomes of the units of a group.
#[derive(Default)]
pub(in crate::store) struct Making<'u> {
    /// One answer per unit.
    pub(in crate::store) answers: Vec<Vec<FlashOrder>>,
    /// The orders to be made.
    pub(in crate::store) made: Vec<&'u NewOrder>,
    /// Their lock rows.
    pub(in crate::store) locks: Vec<NewLock<'u>>,
    /// What the allotments change by.
    pub(in crate::store) drawn: AllotmentChange,
}

/// Decides the units one after the other.
pub(in crate::store) fn decide_making<'u>(
    units: &[Placed<'u, MakeFlashOrders>],
    unclaimed: &Unclaimed,
    mut undrawn: Undrawn,
    news: &mut News,
) -> Making<'u> {
    let mut making = Making::default();
    let mut made_here: HashSet<&OrderSn> = HashSet::new();
    for &(place, unit) in units {
        let mut of_unit = Vec::with_capacity(unit.orders.len());
        for order in unit.orders.iter() {
            let refusal = match made_here.contains(&order.order_sn) {
                true => Some(FlashOrder::Exists),
                false => unclaimed.get(&order.order_sn).copied(),
            };
            let drawn = match refusal {
                Some(refusal) => Err(refusal),
                None => draw(order, &mut undrawn),
            };
            of_unit.push(match drawn {
                Err(refusal) => refusal,
                Ok((sale_id, line)) => {
                    made_here.insert(&order.order_sn);
                    news.announce(place, order.creation_events());
                    making.make(order, sale_id, line);
                    FlashOrder::Made
                }
            });
        }
        making.answers.push(of_unit);
    }
    making
}

impl<'u> Making<'u> {
    fn make(&mut self, order: &'u NewOrder, sale_id: SaleId, line: LockLine) {
        *self.drawn.entry((sale_id, line.ware_sku_id)).or_default() -= 1;
        let owner = &order.order_sn;
        self.locks.push(NewLock { owner, line, sale_id: Some(sale_id), lease_until: None, is_first: false });
        self.made.push(order);
    }
}

/// The unit that an order draws, or why it draws none.
fn draw(order: &NewOrder, undrawn: &mut Undrawn) -> Result<(SaleId, LockLine), FlashOrder> {
    let sale_id = order.sale_id.ok_or(FlashOrder::NotGranted)?;
    let rows = (sale_id, WareSkuId(i64::MIN))..=(sale_id, WareSkuId(i64::MAX));
    let row = undrawn.range_mut(rows).find(|(_, (_, left))| *left > 0);
    let ((_, ware_sku_id), (sku_id, left)) = row.ok_or(FlashOrder::NoUnit)?;
    *left -= 1;
    Ok((sale_id, LockLine { sku_id: *sku_id, ware_sku_id: *ware_sku_id, num: 1 }))
}
