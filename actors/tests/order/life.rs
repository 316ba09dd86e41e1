//! The life of the house, by seeds: members order, pay, cancel and snatch; messages come late, twice and in any order;
//! store and gateway fail now and then; the clock jumps. At every moment the books are sound, at the end they are closed.

use std::cell::RefCell;
use std::time::Duration;

use actors::domain::flash_sale::{ChallengeMode, NewFlashSale};
use actors::domain::order::{OrderStatus, PayType};
use actors::domain::payment::{PaymentState, RefundChannel};
use actors::domain::returns::ReturnCommand;
use actors::domain::{Money, OrderSn, UserId};
use actors::flash_sale::Attempt;
use actors::order::{NotifyAnswer, RefundWish, SubmitRequest, Submitted};
use actors::ports::store::{FulfilmentReads, OrderFilter, OrderReads};
use actors::testkit::{Dice, GatewayFault, StoreFault, for_seeds};
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::house::*;

const BUYERS: usize = 12;
const ROUNDS: usize = 40;

struct Life<'a> {
    house: &'a House,
    dice: &'a Dice,
    /// Orders anybody knows of.
    orders: RefCell<Vec<(UserId, OrderSn)>>,
    /// Submits that may be repeated, and the order they were answered with.
    submits: RefCell<Vec<(UserId, SubmitRequest, Option<OrderSn>)>>,
    /// Notifications under way.
    mail: RefCell<Vec<Vec<u8>>>,
}

impl Life<'_> {
    fn buyer(&self) -> UserId {
        UserId(1 + i64::try_from(self.dice.below(BUYERS)).unwrap())
    }

    fn some_order(&self) -> Option<(UserId, OrderSn)> {
        let orders = self.orders.borrow();
        (!orders.is_empty()).then(|| orders[self.dice.below(orders.len())].clone())
    }

    async fn step(&self) {
        let (house, dice) = (self.house, self.dice);
        match dice.below(32) {
            0..=4 => self.order().await,
            5 => self.repeat().await,
            6..=8 => self.pay().await,
            9 => self.pay_again(),
            10..=12 => self.bring_mail().await,
            13 => self.cancel().await,
            14..=16 => self.attempt().await,
            17..=19 => house.deliver_rolled(dice, 5, true).await,
            20 => drop(house.sweep.step().await),
            21 => self.let_time_pass(),
            22 => self.open_sale().await,
            23 => self.disturb_gateway(),
            24 => self.disturb_store(),
            25..=30 => self.fulfil().await,
            _ => self.refresh_sale().await,
        }
    }

    async fn order(&self) {
        let (house, dice) = (self.house, self.dice);
        let user = self.buyer();
        let quantity = |most| 1 + u32::try_from(dice.below(most)).unwrap();
        let wants = match dice.below(4) {
            0 => vec![(CASE, 1)],
            1 => vec![(CASE, quantity(2)), (PHONE, quantity(2))],
            _ => vec![(PHONE, quantity(3))],
        };
        let Ok(page) = house.orders.confirm(user, &wants).await else { return };
        let mut mine = request(page.token, &wants);
        mine.with_pay_page = dice.one_in(2);
        if dice.one_in(8) {
            mine.pay_type = PayType::CashOnDelivery;
        }
        if dice.one_in(10) {
            mine.total = Money(1);
        }
        let repeats = 1 + dice.below(3);
        let place = self.submits.borrow().len();
        self.submits.borrow_mut().push((user, mine, None));
        join_all((0..repeats).map(|_| self.submit(place))).await;
    }

    async fn repeat(&self) {
        let count = self.submits.borrow().len();
        if count > 0 {
            self.submit(self.dice.below(count)).await;
        }
    }

    async fn submit(&self, place: usize) {
        let (user, mine, _) = self.submits.borrow()[place].clone();
        let Ok(submitted) = self.house.submit(user, mine).await else { return };
        let number = number_of(&submitted);
        let known = self.submits.borrow()[place].2.clone();
        assert!(known.is_none_or(|known| known == number), "one token, one order");
        self.submits.borrow_mut()[place].2 = Some(number.clone());
        if matches!(submitted, Submitted::Placed(_)) {
            self.orders.borrow_mut().push((user, number));
        }
    }

    /// The buyer gets a pay page, goes to the cashier, and may pay there.
    async fn pay(&self) {
        let (house, dice) = (self.house, self.dice);
        let Some((user, number)) = self.some_order() else { return };
        if house.orders.issue_pay_page(user, &number, None).await.is_err() {
            return;
        }
        let amount = house.order(&number).await.pay_amount;
        house.gateway.open_cashier(&number, amount);
        if dice.one_in(4) {
            return;
        }
        let amount = if dice.one_in(10) { Money(1) } else { amount };
        let Some(body) = house.gateway.pay(&number, amount) else { return };
        self.mail.borrow_mut().push(body.clone());
        if dice.one_in(2) {
            house.orders.take_notification(&body).await;
        }
    }

    /// Money under a second trade, as when two pages were open.
    fn pay_again(&self) {
        let Some((_, number)) = self.some_order() else { return };
        if self.dice.one_in(2) {
            let body = self.house.gateway.pay_with_another_trade(&number, PRICE);
            self.mail.borrow_mut().push(body);
        }
    }

    async fn bring_mail(&self) {
        let Some(body) = self.dice_pick_mail() else { return };
        let repeats = 1 + self.dice.below(3);
        join_all((0..repeats).map(|_| self.house.orders.take_notification(&body))).await;
    }

    /// The notification stays: it may come again.
    fn dice_pick_mail(&self) -> Option<Vec<u8>> {
        let mail = self.mail.borrow();
        (!mail.is_empty()).then(|| mail[self.dice.below(mail.len())].clone())
    }

    async fn cancel(&self) {
        let Some((user, number)) = self.some_order() else { return };
        let user = if self.dice.one_in(5) { UserId(MEMBERS) } else { user };
        let cancelled = self.house.orders.cancel(user, &number, None).await;
        assert!(cancelled.is_err() || user != UserId(MEMBERS), "a stranger cancelled {number}");
    }

    /// Something that happens after the payment, to an order that may be anywhere in its life.
    async fn fulfil(&self) {
        let (orders, dice) = (&self.house.orders, self.dice);
        let Some((user, number)) = self.some_order() else { return };
        let note = "x".to_owned();
        match dice.below(8) {
            0 | 1 => drop(orders.ship(&number, shipment()).await),
            2 => drop(orders.receive(user, &number, None).await),
            3 => drop(orders.refund_order(&number, RefundWish::Whole, note).await),
            4 => {
                let amount = [Money(1), PRICE, SALE_PRICE][dice.below(3)];
                let reference = ["a", "b"][dice.below(2)].to_owned();
                drop(orders.refund_order(&number, RefundWish::Part { amount, reference }, note).await);
            }
            5 => drop(orders.request_return(user, &number, wish(PHONE, 1), None).await),
            _ => {
                let Ok(rows) = self.house.memory.returns_of(&number).await else { return };
                let Some(row) = rows.last() else { return };
                let command = [ReturnCommand::Approve, ReturnCommand::Receive, ReturnCommand::Reject][dice.below(3)];
                drop(orders.handle_return(row.id, command, dice.one_in(2), note).await);
            }
        }
    }

    async fn attempt(&self) {
        let Some(gate) = self.house.flash.gate_of_sku(PHONE) else { return };
        let several = 1 + self.dice.below(4);
        let users: Vec<UserId> = (0..several).map(|_| self.buyer()).collect();
        let attempts = users.iter().map(|user| self.house.flash.attempt(&gate, *user));
        for (user, answer) in users.iter().zip(join_all(attempts).await) {
            if let Ok(Attempt::Won(number)) = answer {
                self.orders.borrow_mut().push((*user, number));
            }
        }
    }

    async fn open_sale(&self) {
        let now = self.house.now();
        let sale = NewFlashSale {
            sku_id: PHONE,
            price: SALE_PRICE,
            count: 3,
            per_user_limit: 1 + u32::from(self.dice.one_in(3)),
            starts_at: now,
            ends_at: now.plus(Duration::from_secs(3600)),
            challenge: ChallengeMode::Off,
        };
        if let Ok(sale) = self.house.flash.create(sale).await {
            // Refused while another one runs, or when too few units are free.
            let _ = self.house.flash.arm(sale.id).await;
        }
    }

    async fn refresh_sale(&self) {
        if let Some(gate) = self.house.flash.gate_of_sku(PHONE) {
            let _ = self.house.flash.refresh_sale(gate.sale_id()).await;
        }
    }

    fn let_time_pass(&self) {
        let seconds = [1, 31, 60, 60, 300, 400, 1860][self.dice.below(7)];
        self.house.pass(Duration::from_secs(seconds));
    }

    fn disturb_gateway(&self) {
        let gateway = &self.house.gateway;
        match self.dice.below(6) {
            0 => gateway.set_down(true),
            1 | 2 => gateway.set_down(false),
            3 => gateway.fail(GatewayFault::Before),
            4 => gateway.fail(GatewayFault::After),
            _ => gateway.set_refunds_slow(self.dice.one_in(2)),
        }
    }

    fn disturb_store(&self) {
        let fault = if self.dice.one_in(2) { StoreFault::Before } else { StoreFault::After };
        self.house.faults.arm(Some((1 + self.dice.below(8), fault)));
    }

    /// Everything that is under way comes to its end.
    async fn drain(&self) {
        let house = self.house;
        house.faults.arm(None);
        house.gateway.set_down(false);
        house.gateway.set_refunds_slow(false);
        house.gateway.finish_refunds();
        // Winners' orders first: a gateway would send again until they are there.
        house.deliver_rolled(self.dice, 3, false).await;
        house.sweep_and_deliver().await;
        for body in self.mail.take() {
            let answer = house.orders.take_notification(&body).await;
            assert_eq!(answer, NotifyAnswer::Success, "the store answers");
        }
        for _ in 0..6 {
            house.deliver_rolled(self.dice, 3, false).await;
            house.pass(Duration::from_secs(31 * 60));
            // The gateway may have one more scripted failure for each sweep.
            house.sweep_and_deliver().await;
        }
        house.sweep_and_deliver().await;
        house.sweep_and_deliver().await;
    }

    async fn judge(&self) {
        let house = self.house;
        house.assert_at_rest().await;
        let mut kept = 0;
        for user in (1..=MEMBERS).map(UserId) {
            let filter = OrderFilter { limit: usize::MAX, ..OrderFilter::default() };
            for order in house.memory.orders_of(user, &filter).await.unwrap() {
                assert!(
                    !matches!(order.status, OrderStatus::AwaitingPayment | OrderStatus::Void),
                    "{} is {:?}",
                    order.order_sn,
                    order.status
                );
                let payments = house.memory.payments_of(&order.order_sn).await.unwrap();
                assert!(payments.iter().all(|payment| payment.state != PaymentState::Refunding), "{payments:?}");
                let by_gateway = |trade_no| RefundChannel::of(trade_no) == RefundChannel::Gateway;
                let taken = payments.iter().filter(|payment| by_gateway(&payment.trade_no));
                kept += taken.map(|payment| payment.amount.0).sum::<i64>();
                let refunds = house.memory.refunds_of(&order.order_sn).await.unwrap();
                assert!(refunds.iter().all(|refund| refund.confirmed_at.is_some()), "{refunds:?}");
                let given = refunds.iter().filter(|refund| by_gateway(&refund.trade_no));
                kept -= given.map(|refund| refund.amount.0).sum::<i64>();
            }
        }
        let back: i64 = house.gateway.refunds().iter().map(|(_, amount)| amount.0).sum();
        assert_eq!(house.gateway.taken().0 - back, kept, "the gateway's ledger and ours");
        assert_eq!((house.units(PHONE).await.1, house.units(CASE).await.1), (0, 0), "nothing is locked any more");
        for (user, mine, answered) in self.submits.take() {
            let Some(number) = answered else { continue };
            let again = house.submit(user, mine).await.unwrap();
            assert_eq!(number_of(&again), number, "an order once answered is never lost");
        }
    }
}

async fn live(seed: u64) {
    let house = House::open_seeded(&[6, 4], seed).await;
    let dice = Dice::new(seed);
    let life = Life {
        house: &house,
        dice: &dice,
        orders: RefCell::default(),
        submits: RefCell::default(),
        mail: RefCell::default(),
    };
    for _ in 0..ROUNDS {
        let steps = 1 + dice.below(4);
        join_all((0..steps).map(|_| life.step().boxed_local())).await;
        house.assert_sound().await;
    }
    life.drain().await;
    life.judge().await;
}

#[test]
fn whatever_happens_the_books_are_closed() {
    for_seeds(50, |seed| in_system(live(seed)));
}
