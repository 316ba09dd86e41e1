//! What two runs that differ only in faults and repeats must agree on: everything but numbers, ids and times.

use actors::domain::flash_sale::{GrantState, SaleState};
use actors::domain::order::{Operator, OrderStatus};
use actors::domain::payment::PaymentState;
use actors::domain::returns::ReturnState;
use actors::domain::stock::LockState;
use actors::domain::{Money, SkuId, UserId, WareSkuId};
use actors::ports::store::{FlashSaleReads, FulfilmentReads, MemberReads, OrderFilter, OrderReads, StockReads};

use crate::house::{CASE, House, MEMBERS, PHONE};

#[derive(Debug, PartialEq, Eq)]
pub struct World {
    orders: Vec<OrderView>,
    /// Row, on hand, locked.
    stock: Vec<(WareSkuId, i64, i64)>,
    /// State, granted, released.
    sales: Vec<(SaleState, i64, i64)>,
    members: Vec<MemberView>,
    /// Money taken and given back by the gateway.
    money: (Money, Vec<Money>),
    pending_refunds: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct OrderView {
    user_id: UserId,
    status: OrderStatus,
    pay_amount: Money,
    items: Vec<(SkuId, u32)>,
    is_flash: bool,
    has_page: bool,
    is_paid: bool,
    is_received: bool,
    /// SKU, units, state, restocked.
    returns: Vec<(SkuId, u32, ReturnState, bool)>,
    /// Amount, and whether it is confirmed.
    refunds: Vec<(Money, bool)>,
    locks: Vec<(WareSkuId, u32, LockState)>,
    payments: Vec<(Money, PaymentState)>,
    history: Vec<(Operator, OrderStatus, String)>,
    grant: Option<GrantState>,
}

#[derive(Debug, PartialEq, Eq)]
struct MemberView {
    user_id: UserId,
    points: (i64, i64),
    cart: Vec<(SkuId, u32)>,
}

/// The world as it is.
pub async fn look(house: &House) -> World {
    let mut world = World {
        orders: Vec::new(),
        stock: Vec::new(),
        sales: Vec::new(),
        members: Vec::new(),
        money: (house.gateway.taken(), house.gateway.refunds().into_iter().map(|(_, amount)| amount).collect()),
        pending_refunds: house.memory.pending_refunds(usize::MAX).await.unwrap().len(),
    };
    for sku_id in [PHONE, CASE] {
        world.stock.extend(house.rows(sku_id).await.iter().map(|row| (row.id, row.stock, row.locked)));
    }
    let sales = house.memory.sales(usize::MAX).await.unwrap();
    world.sales.extend(sales.iter().map(|sale| (sale.state, sale.granted, sale.released)));
    for user_id in (1..=MEMBERS).map(UserId) {
        let member = house.memory.member(user_id).await.unwrap().unwrap();
        let cart = house.memory.cart(user_id).await.unwrap();
        world.members.push(MemberView {
            user_id,
            points: (member.integration, member.growth),
            cart: cart.iter().map(|item| (item.sku_id, item.quantity)).collect(),
        });
        world.orders.extend(orders_of(house, user_id).await);
    }
    world
}

async fn orders_of(house: &House, user_id: UserId) -> Vec<OrderView> {
    let filter = OrderFilter { limit: usize::MAX, ..OrderFilter::default() };
    let mut views = Vec::new();
    for order in house.memory.orders_of(user_id, &filter).await.unwrap() {
        let number = std::slice::from_ref(&order.order_sn);
        let mut locks: Vec<_> = house.memory.locks_of(number).await.unwrap();
        locks.sort_by_key(|lock| lock.line.ware_sku_id);
        let payments = house.memory.payments_of(&order.order_sn).await.unwrap();
        let returns = house.memory.returns_of(&order.order_sn).await.unwrap();
        let refunds = house.memory.refunds_of(&order.order_sn).await.unwrap();
        let history = house.memory.order_history(&order.order_sn).await.unwrap();
        views.push(OrderView {
            user_id,
            status: order.status,
            pay_amount: order.pay_amount,
            items: order.items.iter().map(|item| (item.sku_id, item.quantity)).collect(),
            is_flash: order.sale_id.is_some(),
            has_page: order.pay_page_issued_at.is_some(),
            is_paid: order.paid_at.is_some(),
            is_received: order.received_at.is_some(),
            returns: returns.into_iter().map(|row| (row.sku_id, row.quantity, row.state, row.restocked)).collect(),
            refunds: refunds.into_iter().map(|refund| (refund.amount, refund.confirmed_at.is_some())).collect(),
            locks: locks.into_iter().map(|lock| (lock.line.ware_sku_id, lock.line.num, lock.state)).collect(),
            payments: payments.into_iter().map(|payment| (payment.amount, payment.state)).collect(),
            history: history.into_iter().map(|row| (row.operator, row.status, row.note)).collect(),
            grant: house.memory.grants(number).await.unwrap().first().map(|grant| grant.state),
        });
    }
    views
}
