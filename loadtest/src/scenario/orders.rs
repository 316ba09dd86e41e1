//! Ordinary orders: confirm, then submit.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::spike::{SeeOrders, see};
use super::{Check, between};
use crate::admin::Stock;
use crate::generator::{Workload, Wrong};
use crate::record::Outcome;
use crate::target::Target;
use crate::wire::{Answer, Connection};

/// How orders are paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PayType {
    /// Online: the answer carries a pay form that the server signs.
    Online,
    /// Cash on delivery: nothing to sign, and the units leave the stock at once.
    Cash,
}

#[derive(Default)]
struct Told {
    /// Place of the buyer and order number.
    placed: Vec<(usize, String)>,
    /// Submits without an answer: place of the buyer and what was sent.
    unknown: Vec<(usize, String)>,
}

/// Buyers who each order one unit of a SKU.
pub struct OrderFlow {
    cookies: Rc<[String]>,
    skus: Vec<u64>,
    pay_type: PayType,
    /// Yuan, as the confirm page says.
    price: String,
    /// Stop once so many orders were told.
    until_placed: Option<u64>,
    told: RefCell<Told>,
}

impl OrderFlow {
    /// Orders of one unit of these SKUs in turn, which must have the same price.
    pub fn new(cookies: Rc<[String]>, skus: Vec<u64>, pay_type: PayType, price: String) -> Self {
        Self { cookies, skus, pay_type, price, until_placed: None, told: RefCell::default() }
    }

    /// Ends once so many orders were told.
    #[must_use]
    pub fn until_placed(mut self, orders: u64) -> Self {
        self.until_placed = Some(orders);
        self
    }

    /// What the server is sent.
    fn submit_body(&self, token: &str, sku: u64) -> String {
        let pay_type = u8::from(self.pay_type == PayType::Cash);
        format!(
            r#"{{"orderToken":"{token}","totalPrice":{},"payType":{pay_type},"orderItems":[{{"skuId":{sku},"count":1}}],"name":"李先锋","phone":"13888888888","province":"上海","city":"上海市","detailAddress":"大江大厦6层"}}"#,
            self.price
        )
    }

    fn hear(&self, place: usize, answer: &Answer<'_>) -> anyhow::Result<Outcome> {
        let outcome = read_submit(answer)?;
        if outcome == Outcome::Ordered {
            let number = order_number(answer.body).ok_or_else(|| Wrong(format!("no number: {}", answer.text())))?;
            self.told.borrow_mut().placed.push((place, number));
        }
        Ok(outcome)
    }

    /// Sends every submit without an answer again: its token makes one order at most.
    async fn resolve_unknown(&self, public: &str) -> anyhow::Result<()> {
        let mut connection = Connection::new(public);
        let unknown = std::mem::take(&mut self.told.borrow_mut().unknown);
        for (place, body) in unknown {
            let cookie = self.cookies.get(place).context("no such buyer")?;
            let mut tries_left = 50;
            loop {
                match connection.post("/order/submit", cookie, &body).await {
                    Ok(answer) if !matches!(answer.status, 429 | 503) => {
                        self.hear(place, &answer)?;
                        break;
                    }
                    Err(error) if tries_left == 0 => return Err(error),
                    _ => ensure!(tries_left > 0, "a submit is not answered"),
                }
                tries_left -= 1;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        Ok(())
    }
}

impl Workload for OrderFlow {
    async fn arrive(&self, number: u64, connection: &mut Connection) -> anyhow::Result<Outcome> {
        let number = usize::try_from(number)?;
        let place = number % self.cookies.len().max(1);
        let sku = self.skus.get(number % self.skus.len().max(1)).copied().context("no SKU")?;
        let cookie = self.cookies.get(place).context("no such buyer")?;
        let page = connection.post("/order/confirm", cookie, &format!(r#"{{"{sku}":1}}"#)).await?;
        let Some(token) = (page.status == 200).then(|| between(page.body, br#""orderToken":""#, b'"')).flatten() else {
            return refused(&page);
        };
        let body = self.submit_body(token, sku);
        match connection.post("/order/submit", cookie, &body).await {
            Ok(answer) => self.hear(place, &answer),
            Err(error) => {
                self.told.borrow_mut().unknown.push((place, body));
                Err(error)
            }
        }
    }

    fn is_done(&self) -> bool {
        self.until_placed.is_some_and(|orders| self.told.borrow().placed.len() as u64 >= orders)
    }
}

fn refused(answer: &Answer<'_>) -> anyhow::Result<Outcome> {
    match answer.status {
        429 => Ok(Outcome::Limited),
        503 => Ok(Outcome::Busy),
        status => Err(Wrong(format!("status {status}: {}", answer.text())).into()),
    }
}

fn read_submit(answer: &Answer<'_>) -> anyhow::Result<Outcome> {
    if answer.status != 200 {
        return refused(answer);
    }
    if order_number(answer.body).is_some() {
        return Ok(Outcome::Ordered);
    }
    match between(answer.body, br#""data":{"code":"#, b',') {
        Some("4") => Ok(Outcome::StockShort),
        Some("5") => Ok(Outcome::Busy),
        _ => Err(Wrong(format!("submit: {}", answer.text())).into()),
    }
}

/// The number of the order that was made: in the pay form, or in the order itself.
fn order_number(body: &[u8]) -> Option<String> {
    let at = |before: &[u8]| between(body, before, b'"').map(str::to_owned);
    if let Some(number) = at(br#""orderSn":""#) {
        return Some(number);
    }
    // The form is HTML in a JSON string: &quot;out_trade_no&quot;:&quot;NUMBER&quot;
    between(body, b"out_trade_no&quot;:&quot;", b'&').map(str::to_owned)
}

/// A run prepared: units on the shelf, the price known.
pub struct PreparedOrders {
    skus: Vec<u64>,
    before: Vec<Stock>,
    /// Yuan.
    pub price: String,
}

/// Brings units of each SKU in.
///
/// # Errors
/// What the server refuses.
pub async fn prepare(target: &Target, cookie: &str, skus: Vec<u64>, units_each: u64) -> anyhow::Result<PreparedOrders> {
    let mut before = Vec::with_capacity(skus.len());
    for sku in &skus {
        target.admin.add_stock(*sku, units_each).await?;
        before.push(target.admin.stock(*sku).await?);
    }
    let price = price_of(target, cookie, *skus.first().context("no SKU")?).await?;
    Ok(PreparedOrders { skus, before, price })
}

/// A SKU's price in yuan, as the confirm page says it.
///
/// # Errors
/// When there is none.
pub async fn price_of(target: &Target, cookie: &str, sku: u64) -> anyhow::Result<String> {
    let mut connection = Connection::new(&target.public);
    let page = connection.post("/order/confirm", cookie, &format!(r#"{{"{sku}":1}}"#)).await?.json()?;
    let price = &page["data"]["orderItems"][0]["price"];
    ensure!(price.is_number(), "no price in {page}");
    Ok(price.to_string())
}

/// Holds what was told against the store; answers the checks and how many orders the store has.
///
/// # Errors
/// When the server does not answer.
pub async fn reconcile(
    target: &Target,
    prepared: &PreparedOrders,
    flow: Rc<OrderFlow>,
) -> anyhow::Result<(Vec<Check>, u64)> {
    let (mut checks, placed, seen) = reconcile_orders(target, &flow).await?;
    let units = i64::try_from(placed)?;
    let taken = wait_for_stock(target, prepared, flow.pay_type, units).await?;
    checks.push(Check::same("units taken from stock = orders told", taken, units));
    Ok((checks, seen))
}

/// The part that looks at the orders alone; answers the checks, how many orders were told, and how many of them are seen.
///
/// # Errors
/// When the server does not answer.
pub async fn reconcile_orders(target: &Target, flow: &OrderFlow) -> anyhow::Result<(Vec<Check>, u64, u64)> {
    flow.resolve_unknown(&target.public).await?;
    let placed = flow.told.borrow().placed.clone();
    let distinct: HashSet<&String> = placed.iter().map(|(_, number)| number).collect();
    let seen = SeeOrders {
        cookies: flow.cookies.clone(),
        orders: placed.iter().map(|(place, number)| (*place, format!("/api/v1/orders/{number}"))).collect(),
        expected: br#""order_sn":"#,
    };
    let missing = see(target, Rc::new(seen)).await;
    let checks = vec![
        Check::same("every order has its own number (orders told, numbers)", placed.len(), distinct.len()),
        Check::none("every order told is one its buyer can see", &missing),
    ];
    Ok((checks, placed.len() as u64, placed.len() as u64 - missing.len() as u64))
}

/// Units taken: locked for unpaid orders; for cash on delivery gone, once the messages have been worked off.
async fn wait_for_stock(
    target: &Target,
    prepared: &PreparedOrders,
    pay_type: PayType,
    expected: i64,
) -> anyhow::Result<i64> {
    let mut taken = 0;
    for _ in 0..300 {
        taken = 0;
        for (sku, before) in prepared.skus.iter().zip(&prepared.before) {
            let after = target.admin.stock(*sku).await?;
            taken += match pay_type {
                PayType::Online => after.locked - before.locked,
                PayType::Cash => before.stock - after.stock,
            };
        }
        if taken == expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_numbers_are_found_in_both_answers() {
        let form = br#"{"code":0,"msg":"success","data":"<form><input value=\"{&quot;out_trade_no&quot;:&quot;2026&quot;}\">"}"#;
        assert_eq!(order_number(form).as_deref(), Some("2026"));
        let order = br#"{"code":0,"msg":"success","data":{"code":null,"orderEntity":{"orderSn":"2027"}}}"#;
        assert_eq!(order_number(order).as_deref(), Some("2027"));
        assert_eq!(order_number(br#"{"code":0,"data":{"code":4}}"#), None);
    }
}
