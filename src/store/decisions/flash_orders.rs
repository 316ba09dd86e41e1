//! Making the orders of winners.

use std::collections::{BTreeMap, HashMap};

use actors::domain::order::{LockLine, NewOrder};
use actors::domain::{OrderSn, SaleId, SkuId, UserId, WareSkuId};
use actors::ports::store::units::{FlashOrder, MakeFlashOrders};

use super::resolving::AllotmentChange;
use super::stock::NewLock;
use crate::store::batch::{News, Placed};

/// What the making of an order depends on.
pub(in crate::store) struct Claim {
    /// The sale and the winner, of a grant that is GRANTED.
    pub(in crate::store) granted: Option<(SaleId, UserId)>,
    pub(in crate::store) ordered: bool,
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
    mut claims: HashMap<OrderSn, Claim>,
    mut undrawn: Undrawn,
    news: &mut News,
) -> Making<'u> {
    let mut making = Making::default();
    for &(place, unit) in units {
        let mut of_unit = Vec::with_capacity(unit.orders.len());
        for order in &unit.orders {
            let answer = match decide(claims.get(&order.order_sn), order, &mut undrawn) {
                Err(refusal) => refusal,
                Ok((sale_id, line)) => {
                    claims.insert(order.order_sn.clone(), Claim { granted: None, ordered: true });
                    news.announce(place, order.creation_events());
                    making.make(order, sale_id, line);
                    FlashOrder::Made
                }
            };
            of_unit.push(answer);
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
fn decide(claim: Option<&Claim>, order: &NewOrder, undrawn: &mut Undrawn) -> Result<(SaleId, LockLine), FlashOrder> {
    let claim = claim.ok_or(FlashOrder::NotGranted)?;
    if claim.ordered {
        return Err(FlashOrder::Exists);
    }
    let (sale_id, winner) = claim.granted.ok_or(FlashOrder::NotGranted)?;
    if order.sale_id != Some(sale_id) || order.user_id != winner {
        return Err(FlashOrder::NotGranted);
    }
    let rows = (sale_id, WareSkuId(i64::MIN))..=(sale_id, WareSkuId(i64::MAX));
    let row = undrawn.range_mut(rows).find(|(_, (_, left))| *left > 0);
    let ((_, ware_sku_id), (sku_id, left)) = row.ok_or(FlashOrder::NoUnit)?;
    *left -= 1;
    Ok((sale_id, LockLine { sku_id: *sku_id, ware_sku_id: *ware_sku_id, num: 1 }))
}
