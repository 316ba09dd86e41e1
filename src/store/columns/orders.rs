//! Rows of orders, their items, history, payments and refunds.

use std::collections::HashMap;

use actors::domain::order::{NewOrder, Operator, Order, OrderHistory, OrderItem, OrderStatus, PayType, Receiver};
use actors::domain::payment::{PaymentState, PendingRefund};
use actors::domain::{Money, OrderSn, SaleId, SkuId, Timestamp, UserId};
use actors::ports::store::{PaymentRow, StoreError, UnpaidOrder};

use crate::store::rows::{count, money, order_sn, order_status, pay_type, time, trade_no, unreadable};

/// Deadline of a new order.
pub(in crate::store) fn pay_before(order: &NewOrder, now: Timestamp) -> Option<Timestamp> {
    match order.pay_type {
        PayType::Online => Some(now.plus(order.payment_timeout)),
        PayType::CashOnDelivery => None,
    }
}

/// A row of `oms_order_operate_history` about to be made.
pub(in crate::store) struct HistoryRow<'a> {
    pub(in crate::store) order_sn: &'a OrderSn,
    pub(in crate::store) operator: Operator,
    /// After the change.
    pub(in crate::store) status: OrderStatus,
    pub(in crate::store) note: &'a str,
    /// Closed because its time to pay was over.
    pub(in crate::store) by_timeout: bool,
}

impl<'a> HistoryRow<'a> {
    /// Something that the system did.
    pub(in crate::store) fn system(order_sn: &'a OrderSn, status: OrderStatus, note: &'a str) -> Self {
        Self::step(order_sn, Operator::System, status, note)
    }

    /// Something that somebody did.
    pub(in crate::store) fn step(
        order_sn: &'a OrderSn,
        operator: Operator,
        status: OrderStatus,
        note: &'a str,
    ) -> Self {
        Self { order_sn, operator, status, note, by_timeout: false }
    }
}

#[derive(sqlx::FromRow)]
pub(in crate::store) struct OrderColumns {
    id: i64,
    pub(in crate::store) order_sn: String,
    member_id: i64,
    member_username: String,
    status: i64,
    pay_type: i64,
    total_amount: i64,
    pay_amount: i64,
    delivery_company: String,
    receiver_name: String,
    receiver_phone: String,
    receiver_post_code: String,
    receiver_province: String,
    receiver_city: String,
    receiver_region: String,
    receiver_detail_address: String,
    sale_id: Option<i64>,
    create_time: i64,
    pay_before: Option<i64>,
    pay_page_issued_time: Option<i64>,
    payment_time: Option<i64>,
    delivery_sn: Option<String>,
    delivery_time: Option<i64>,
    auto_confirm_day: Option<i64>,
    receive_time: Option<i64>,
    modify_time: i64,
}

impl OrderColumns {
    fn into_order(self, items: Vec<OrderItem>) -> Result<Order, StoreError> {
        let days = self.auto_confirm_day.map(|days| count("oms_order.auto_confirm_day", days));
        Ok(Order {
            id: self.id,
            order_sn: order_sn(&self.order_sn)?,
            user_id: UserId(self.member_id),
            username: self.member_username,
            status: order_status(self.status)?,
            pay_type: pay_type(self.pay_type)?,
            total_amount: Money(self.total_amount),
            pay_amount: Money(self.pay_amount),
            delivery_company: self.delivery_company,
            receiver: Receiver {
                name: self.receiver_name,
                phone: self.receiver_phone,
                post_code: self.receiver_post_code,
                province: self.receiver_province,
                city: self.receiver_city,
                region: self.receiver_region,
                detail_address: self.receiver_detail_address,
            },
            items,
            sale_id: self.sale_id.map(SaleId),
            created_at: Timestamp(self.create_time),
            pay_before: time(self.pay_before),
            pay_page_issued_at: time(self.pay_page_issued_time),
            paid_at: time(self.payment_time),
            delivery_sn: self.delivery_sn,
            shipped_at: time(self.delivery_time),
            auto_confirm_days: days.transpose()?,
            received_at: time(self.receive_time),
            modified_at: Timestamp(self.modify_time),
        })
    }
}

#[derive(sqlx::FromRow)]
pub(in crate::store) struct ItemColumns {
    order_sn: String,
    sku_id: i64,
    spu_id: i64,
    category_id: i64,
    sku_name: String,
    sku_pic: String,
    sku_price: i64,
    sku_quantity: i64,
    sku_attrs_vals: String,
}

impl ItemColumns {
    fn into_item(self) -> Result<OrderItem, StoreError> {
        Ok(OrderItem {
            sku_id: SkuId(self.sku_id),
            spu_id: self.spu_id,
            category_id: self.category_id,
            title: self.sku_name,
            image: self.sku_pic,
            price: Money(self.sku_price),
            quantity: count("oms_order_item.sku_quantity", self.sku_quantity)?,
            attributes: self.sku_attrs_vals,
        })
    }
}

/// Orders with their items, both in the order given.
pub(in crate::store) fn with_items(
    orders: Vec<OrderColumns>,
    items: Vec<ItemColumns>,
) -> Result<Vec<Order>, StoreError> {
    let mut by_order: HashMap<String, Vec<OrderItem>> = HashMap::new();
    for item in items {
        by_order.entry(item.order_sn.clone()).or_default().push(item.into_item()?);
    }
    let with_items = |order: OrderColumns| {
        let items = by_order.remove(&order.order_sn).unwrap_or_default();
        order.into_order(items)
    };
    orders.into_iter().map(with_items).collect()
}

/// `order_sn, pay_before`, and whether a pay page was issued.
pub(in crate::store) type UnpaidColumns = (String, i64, bool);

pub(in crate::store) fn unpaid_order(
    (number, pay_before, pay_page_issued): UnpaidColumns,
) -> Result<UnpaidOrder, StoreError> {
    Ok(UnpaidOrder { order_sn: order_sn(&number)?, pay_before: Timestamp(pay_before), pay_page_issued })
}

/// `operate_man, create_time, order_status, note`
pub(in crate::store) type HistoryColumns = (String, i64, i64, String);

pub(in crate::store) fn order_history(
    (operator, at, status, note): HistoryColumns,
) -> Result<OrderHistory, StoreError> {
    Ok(OrderHistory {
        operator: Operator::parse(&operator).ok_or_else(|| unreadable("operate_man", &operator))?,
        at: Timestamp(at),
        status: order_status(status)?,
        note,
    })
}

/// `alipay_trade_no, total_amount, payment_status, create_time`
pub(in crate::store) type PaymentColumns = (String, i64, String, i64);

pub(in crate::store) fn payment_row(
    order_sn: &OrderSn,
    (trade, amount, state, created_at): PaymentColumns,
) -> Result<PaymentRow, StoreError> {
    Ok(PaymentRow {
        order_sn: order_sn.clone(),
        trade_no: trade_no(&trade)?,
        amount: money(amount),
        state: PaymentState::parse(&state).ok_or_else(|| unreadable("payment_status", &state))?,
        created_at: Timestamp(created_at),
    })
}

/// `refund_sn, order_sn, trade_no, refund, create_time`
pub(in crate::store) type PendingColumns = (String, String, String, i64, i64);

pub(in crate::store) fn pending_refund(
    (request_no, order, trade, amount, created_at): PendingColumns,
) -> Result<PendingRefund, StoreError> {
    Ok(PendingRefund {
        request_no,
        order_sn: order_sn(&order)?,
        trade_no: trade_no(&trade)?,
        amount: money(amount),
        created_at: Timestamp(created_at),
    })
}
