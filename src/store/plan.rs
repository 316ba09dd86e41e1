//! In which order the units of a batch are carried out, so that many of one kind become one statement.
//!
//! Units of one kind join an earlier group of their kind when every group in between leaves alone what they touch;
//! the outcome is then the same as that of the units one by one, in their order.

use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};

use actors::domain::OrderSn;
use actors::ports::store::units::WriteUnit;

/// What a unit looks at or changes, as bits.
type Subjects = u16;

const STOCK: Subjects = 1;
const ORDERS: Subjects = 1 << 1;
/// Orders that this batch makes. Nobody can know their numbers yet, so making them disturbs no other unit.
const NEW_ORDERS: Subjects = 1 << 2;
const SALES: Subjects = 1 << 3;
const PAYMENTS: Subjects = 1 << 4;
const POINTS: Subjects = 1 << 5;
const CARTS: Subjects = 1 << 6;
const OUTBOX: Subjects = 1 << 7;
const INBOX: Subjects = 1 << 8;
const QUEUE: Subjects = 1 << 9;
const PARKED: Subjects = 1 << 10;
const RETURNS: Subjects = 1 << 11;
const REQUESTS: Subjects = 1 << 12;

#[derive(Clone, Copy)]
struct Touches {
    reads: Subjects,
    writes: Subjects,
}

impl Touches {
    const fn conflicts(self, other: Self) -> bool {
        self.writes & (other.reads | other.writes) != 0 || other.writes & self.reads != 0
    }
}

const fn touches(unit: &WriteUnit) -> Touches {
    let (reads, writes) = match unit {
        WriteUnit::PlaceOrder(_) => (0, STOCK | NEW_ORDERS | REQUESTS),
        WriteUnit::LockStock(_) | WriteUnit::AdjustStock(_) => (0, STOCK),
        WriteUnit::ResolveLocks(_) => (ORDERS, STOCK | SALES),
        WriteUnit::CommitGrants(_) | WriteUnit::CreateSale(_) | WriteUnit::PauseSale(_) | WriteUnit::RaiseEpoch(_) => {
            (0, SALES)
        }
        WriteUnit::MakeFlashOrders(_) => (0, SALES | STOCK | NEW_ORDERS),
        WriteUnit::FailGrants(_) | WriteUnit::EndSale(_) => (ORDERS, SALES | STOCK),
        WriteUnit::ArmSale(_) | WriteUnit::RestockSale(_) => (0, SALES | STOCK),
        WriteUnit::EditSale(_) => (0, SALES),
        WriteUnit::SetReceiver(_) => (0, ORDERS),
        WriteUnit::PruneRequests(_) => (0, REQUESTS),
        WriteUnit::PruneMessages(_) => (0, OUTBOX | INBOX | PARKED),
        WriteUnit::TakePayment(_) | WriteUnit::SettleRefund(_) => (0, ORDERS | PAYMENTS),
        WriteUnit::CloseOrders(_) | WriteUnit::IssuePayPage(_) => (0, ORDERS),
        WriteUnit::AnnouncePaid(_) => (ORDERS, INBOX),
        WriteUnit::AddPoints(_) => (ORDERS, POINTS | PAYMENTS),
        WriteUnit::ShipOrder(_) => (0, ORDERS),
        WriteUnit::ReceiveOrders(_) => (0, ORDERS | PAYMENTS),
        WriteUnit::RefundOrder(_) => (0, ORDERS | PAYMENTS | POINTS | STOCK),
        WriteUnit::RequestReturn(_) => (PAYMENTS, ORDERS | RETURNS),
        WriteUnit::HandleReturn(_) => (0, ORDERS | PAYMENTS | POINTS | STOCK | RETURNS),
        WriteUnit::PutCartItem(_) | WriteUnit::RemoveCartItems(_) => (0, CARTS),
        WriteUnit::MarkPublished(_) => (0, OUTBOX),
        WriteUnit::Enqueue(_) | WriteUnit::FinishDeliveries(_) | WriteUnit::RetryDelivery(_) => (0, QUEUE),
        WriteUnit::Park(_) => (0, PARKED),
        WriteUnit::Replay(_) => (0, PARKED | OUTBOX),
    };
    Touches { reads, writes }
}

struct Group {
    kind: Discriminant<WriteUnit>,
    touches: Touches,
    members: Vec<usize>,
}

/// Groups of units of one kind, by their places in the batch, in the order to carry them out.
pub(super) fn plan(units: &[WriteUnit]) -> Vec<Vec<usize>> {
    let knows_new_orders = names_new_order(units);
    let mut groups: Vec<Group> = Vec::new();
    for (place, unit) in units.iter().enumerate() {
        let mut touched = touches(unit);
        if knows_new_orders && touched.writes & NEW_ORDERS != 0 {
            touched.writes |= ORDERS;
        }
        match joinable(&groups, discriminant(unit), touched) {
            Some(group) => groups[group].members.push(place),
            None => groups.push(Group { kind: discriminant(unit), touches: touched, members: vec![place] }),
        }
    }
    groups.into_iter().map(|group| group.members).collect()
}

/// The group of this kind that a unit may join: the last one, unless something it conflicts with came since.
fn joinable(groups: &[Group], kind: Discriminant<WriteUnit>, touched: Touches) -> Option<usize> {
    for (place, group) in groups.iter().enumerate().rev() {
        if group.kind == kind {
            return Some(place);
        }
        if group.touches.conflicts(touched) {
            return None;
        }
    }
    None
}

/// Whether a unit of the batch asks for an order that another unit of it makes.
fn names_new_order(units: &[WriteUnit]) -> bool {
    let mut made: HashSet<&OrderSn> = HashSet::new();
    for unit in units {
        match unit {
            WriteUnit::PlaceOrder(unit) => drop(made.insert(&unit.order.order_sn)),
            WriteUnit::MakeFlashOrders(unit) => made.extend(unit.orders.iter().map(|order| &order.order_sn)),
            _ => {}
        }
    }
    !made.is_empty() && units.iter().any(|unit| named_orders(unit).iter().any(|order_sn| made.contains(order_sn)))
}

fn named_orders(unit: &WriteUnit) -> Vec<&OrderSn> {
    match unit {
        WriteUnit::ResolveLocks(unit) => unit.order_sns.iter().collect(),
        WriteUnit::FailGrants(unit) => unit.grants.iter().map(|(order_sn, _)| order_sn).collect(),
        WriteUnit::TakePayment(unit) => vec![&unit.receipt.order_sn],
        WriteUnit::CloseOrders(unit) => unit.order_sns.iter().collect(),
        WriteUnit::IssuePayPage(unit) => vec![&unit.order_sn],
        WriteUnit::SetReceiver(unit) => vec![&unit.order_sn],
        WriteUnit::AnnouncePaid(unit) => unit.order_sns.iter().collect(),
        WriteUnit::ShipOrder(unit) => vec![&unit.order_sn],
        WriteUnit::ReceiveOrders(unit) => unit.order_sns.iter().collect(),
        WriteUnit::RefundOrder(unit) => vec![&unit.order_sn],
        WriteUnit::RequestReturn(unit) => vec![&unit.order_sn],
        WriteUnit::AddPoints(unit) => unit.credits.iter().map(|credit| &credit.order_token).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actors::domain::order::{NewOrder, PayType, Receiver};
    use actors::domain::{Money, SaleId, SkuId, UserId};
    use actors::ports::store::units::{IssuePayPage, MarkPublished, PauseSale, PlaceOrder, PutCartItem};

    use super::*;

    fn cart(quantity: u32) -> WriteUnit {
        PutCartItem { user_id: UserId(1), sku_id: SkuId(48), quantity }.into()
    }

    fn pause(paused: bool) -> WriteUnit {
        PauseSale { sale_id: SaleId(1), paused }.into()
    }

    fn arm() -> WriteUnit {
        actors::ports::store::units::ArmSale { sale_id: SaleId(1), allotments: Vec::new() }.into()
    }

    fn place_order(number: &str) -> WriteUnit {
        let order = NewOrder {
            order_sn: OrderSn::parse(number).expect("a number by the grammar"),
            user_id: UserId(1),
            username: "user1".into(),
            pay_type: PayType::Online,
            total_amount: Money(1),
            pay_amount: Money(1),
            delivery_company: String::new(),
            receiver: Receiver::default(),
            items: Vec::new(),
            payment_timeout: Duration::from_secs(1),
            sale_id: None,
            pay_page_issued: false,
        };
        PlaceOrder { token: format!("token-{number}"), order, locks: Vec::new(), request: None }.into()
    }

    fn mark() -> WriteUnit {
        MarkPublished { message_ids: Vec::new() }.into()
    }

    #[test]
    fn strangers_in_between_do_not_part_a_kind() {
        assert_eq!(plan(&[cart(1), mark(), cart(2), mark()]), [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn a_unit_stays_behind_what_it_conflicts_with() {
        assert_eq!(plan(&[pause(true), arm(), pause(false)]), [vec![0], vec![1], vec![2]]);
    }

    #[test]
    fn an_order_made_in_the_batch_stays_between_its_askers() {
        let order_sn = OrderSn::parse("1").expect("grammar");
        let ask = || WriteUnit::from(IssuePayPage { order_sn: order_sn.clone(), asked: None });
        let make = place_order("1");
        assert_eq!(plan(&[ask(), make.clone(), ask()]), [vec![0], vec![1], vec![2]]);
        let other = place_order("2");
        assert_eq!(plan(&[ask(), other, ask()]), [vec![0, 2], vec![1]]);
    }
}
