//! Values that the tests are made of.

use super::world::{CONFIRM_DAYS, PAYMENT_TIMEOUT, PHONE, PRICE, RETURN_WINDOW};
use serde_json::value::RawValue;

use crate::domain::events::{BoundPlus, Envelope, Message, RoutingKey};
use crate::domain::order::{LockLine, NewOrder, Operator, OrderItem, PayType, Receiver};
use crate::domain::payment::{Receipt, RefundScope, part_request_no, whole_request_no};
use crate::domain::returns::ReturnCommand;
use crate::domain::stock::StockRow;
use crate::domain::{Money, OrderSn, SaleId, SkuId, TradeNo, UserId, WareSkuId};
use crate::ports::store::units::{
    AnnouncePaid, CloseOrders, HandleReturn, LockRequest, ReceiveOrders, RefundOrder, RequestReturn, ShipOrder,
    TakePayment, Unit,
};
use crate::ports::store::{Committed, Member, SaleAttribute, Sku};

/// The outcome of one unit of a batch, which is of this kind.
pub fn outcome<U: Unit>(committed: &Committed, place: usize) -> U::Outcome {
    let answer = committed.outcomes[place].clone();
    U::outcome(answer).unwrap_or_else(|| panic!("unit {place} is answered in kind: {:?}", committed.outcomes[place]))
}

/// A SKU with two sale attributes.
pub fn sku(sku_id: SkuId) -> Sku {
    let attribute = |id: i64, sort| SaleAttribute {
        id: sku_id.0 * 10 + id,
        attr_id: id,
        name: format!("attribute {id}"),
        value: format!("value {id}"),
        sort,
    };
    Sku {
        sku_id,
        spu_id: 7,
        category_id: 225,
        brand_id: 3,
        name: format!("sku {sku_id}"),
        title: format!("title of {sku_id}"),
        subtitle: "subtitle".into(),
        image: "https://img.example/1.jpg".into(),
        price: PRICE,
        attributes: vec![attribute(1, 0), attribute(2, 1)],
    }
}

/// A member without points.
pub fn member(user_id: UserId) -> Member {
    Member {
        id: user_id,
        username: format!("user{user_id}"),
        nickname: format!("nick{user_id}"),
        mobile: "13800000000".into(),
        email: format!("user{user_id}@mail.example"),
        integration: 0,
        growth: 0,
    }
}

/// An address in Beijing.
pub fn receiver(name: &str) -> Receiver {
    Receiver {
        name: name.into(),
        phone: "13800000000".into(),
        post_code: "100000".into(),
        province: "北京市".into(),
        city: "北京市".into(),
        region: "昌平区".into(),
        detail_address: "1 Main Street".into(),
    }
}

/// Units of a stock row.
pub fn line(row: &StockRow, num: u32) -> LockLine {
    LockLine { sku_id: row.sku_id, ware_sku_id: row.id, num }
}

/// Units of a row known by its id.
pub fn line_of(sku_id: SkuId, ware_sku_id: WareSkuId, num: u32) -> LockLine {
    LockLine { sku_id, ware_sku_id, num }
}

/// An unpaid online order with one item per SKU of the lines.
pub fn new_order(order_sn: OrderSn, user_id: UserId, locks: &[LockLine]) -> NewOrder {
    let mut items: Vec<OrderItem> = Vec::new();
    for lock in locks {
        match items.iter_mut().find(|item| item.sku_id == lock.sku_id) {
            Some(item) => item.quantity += lock.num,
            None => items.push(item(lock.sku_id, PRICE, lock.num)),
        }
    }
    let total = Money(items.iter().map(|item| item.price.0 * i64::from(item.quantity)).sum());
    NewOrder {
        order_sn,
        user_id,
        username: format!("user{user_id}"),
        pay_type: PayType::Online,
        total_amount: total,
        pay_amount: total,
        delivery_company: "EMS".into(),
        receiver: receiver("Alice"),
        items,
        payment_timeout: PAYMENT_TIMEOUT,
        sale_id: None,
        pay_page_issued: false,
    }
}

/// One line of an order.
pub fn item(sku_id: SkuId, price: Money, quantity: u32) -> OrderItem {
    OrderItem {
        sku_id,
        spu_id: 7,
        category_id: 225,
        title: format!("title of {sku_id}"),
        image: "https://img.example/1.jpg".into(),
        price,
        quantity,
        attributes: r#"[{"attrName":"颜色","attrValue":"白色"}]"#.into(),
    }
}

/// A winner's order of one phone.
pub fn flash_order(sale_id: SaleId, order_sn: &OrderSn, user_id: UserId) -> NewOrder {
    let price = Money(5_000);
    NewOrder {
        total_amount: price,
        pay_amount: price,
        items: vec![item(PHONE, price, 1)],
        sale_id: Some(sale_id),
        ..new_order(order_sn.clone(), user_id, &[])
    }
}

/// A trade number.
pub fn trade_no(text: &str) -> TradeNo {
    TradeNo::parse(text).expect("a valid trade number")
}

/// Takes this money.
pub fn payment(receipt: Receipt) -> TakePayment {
    TakePayment { receipt, notify_id: "notify-1".into() }
}

/// Sends on what these paid orders need, once for this message.
pub fn announcing(message_id: &str, order_sns: &[&OrderSn]) -> AnnouncePaid {
    AnnouncePaid { message_id: message_id.into(), order_sns: order_sns.iter().copied().cloned().collect() }
}

/// Closes one order at its owner's wish.
pub fn cancelling(order_sn: &OrderSn) -> CloseOrders {
    CloseOrders {
        order_sns: vec![order_sn.clone()],
        operator: Operator::User,
        note: "cancelled".into(),
        when_due: false,
        asked: None,
    }
}

/// Closes these orders if they are due.
pub fn timing_out(order_sns: &[OrderSn]) -> CloseOrders {
    CloseOrders {
        order_sns: order_sns.to_vec(),
        operator: Operator::System,
        note: "payment timeout".into(),
        when_due: true,
        asked: None,
    }
}

/// Hands an order to the carrier.
pub fn shipping(order_sn: &OrderSn) -> ShipOrder {
    ShipOrder {
        order_sn: order_sn.clone(),
        delivery_company: "SF".into(),
        delivery_sn: format!("SF-{order_sn}"),
        auto_confirm_days: CONFIRM_DAYS,
        operator: Operator::Admin,
        note: "shipped".into(),
    }
}

/// The owner has the goods.
pub fn receiving(order_sn: &OrderSn) -> ReceiveOrders {
    ReceiveOrders {
        order_sns: vec![order_sn.clone()],
        operator: Operator::User,
        note: "received".into(),
        when_due: false,
        asked: None,
    }
}

/// These orders count as received if they are due.
pub fn receiving_due(order_sns: &[OrderSn]) -> ReceiveOrders {
    ReceiveOrders {
        order_sns: order_sns.to_vec(),
        operator: Operator::System,
        note: "received by time".into(),
        when_due: true,
        asked: None,
    }
}

/// Gives everything back before shipment.
pub fn refunding(order_sn: &OrderSn) -> RefundOrder {
    RefundOrder {
        order_sn: order_sn.clone(),
        scope: RefundScope::Whole,
        request_no: whole_request_no(order_sn),
        operator: Operator::Admin,
        note: "refunded".into(),
        asked: None,
    }
}

/// Gives a part back.
pub fn refunding_part(order_sn: &OrderSn, reference: &str, amount: Money) -> RefundOrder {
    RefundOrder {
        scope: RefundScope::Part(amount),
        request_no: part_request_no(order_sn, reference),
        ..refunding(order_sn)
    }
}

/// The owner wants to send phones back.
pub fn returning(order_sn: &OrderSn, user_id: UserId, quantity: u32) -> RequestReturn {
    RequestReturn {
        order_sn: order_sn.clone(),
        user_id,
        sku_id: PHONE,
        quantity,
        reason: "does not fit".into(),
        description: "too large".into(),
        window: RETURN_WINDOW,
        asked: None,
    }
}

/// Staff handle a return request; what is received is sold again.
pub fn handling(return_id: i64, command: ReturnCommand) -> HandleReturn {
    HandleReturn { return_id, command, restock: true, operator: Operator::Admin, note: "seen".into() }
}

/// The points of an order.
pub fn credit(order_sn: &OrderSn, user_id: UserId, points: i64) -> BoundPlus {
    BoundPlus { user_id, integration: points, growth: points, order_token: order_sn.clone() }
}

/// The keys of these messages with how many items each has, in order.
pub fn packed(messages: &[Message]) -> Vec<(RoutingKey, usize)> {
    messages.iter().map(|message| (message.key, items(message).len())).collect()
}

/// The items of a message.
pub fn items(message: &Message) -> Vec<serde_json::Value> {
    let envelope = Envelope::parse(message.payload.as_bytes()).expect("a well-formed message");
    assert_eq!(envelope.message_id, message.message_id, "the document carries the id");
    assert_eq!(envelope.kind, message.key.as_str(), "the document carries the key");
    let item = |item: &RawValue| serde_json::from_str(item.get()).expect("an item is JSON");
    envelope.items.iter().map(|raw| item(raw)).collect()
}

/// The order numbers that a message names, in order.
pub fn named(message: &Message) -> Vec<String> {
    let number = |item: &serde_json::Value| item["orderToken"].as_str().map(str::to_owned);
    items(message).iter().filter_map(number).collect()
}

/// One owner's wish for a lock.
pub fn request(order_sn: &OrderSn, lines: &[LockLine]) -> LockRequest {
    LockRequest { order_sn: order_sn.clone(), lines: lines.to_vec() }
}

/// An order number of another system.
pub fn foreign(name: &str) -> OrderSn {
    OrderSn::parse(name).expect("keeps to the grammar")
}
