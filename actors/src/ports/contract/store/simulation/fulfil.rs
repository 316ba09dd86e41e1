//! What may happen to an order after its money.

use std::time::Duration;

use super::super::values::{handling, receiving, receiving_due, refunding, refunding_part, returning, shipping};
use super::super::world::{CASE, PHONE};
use super::{KnownOrder, Life};
use crate::domain::Money;
use crate::domain::order::Order;
use crate::domain::returns::ReturnCommand;
use crate::ports::store::units::{HandleReturn, ReceiveOrders, RefundOrder, RequestReturn, ShipOrder, WriteUnit};

impl Life {
    pub(super) fn fulfil(&self) -> WriteUnit {
        let order = self.some_paid_order();
        match self.dice.below(16) {
            0..=3 => {
                let auto_confirm_days = u32::from(self.dice.one_in(2));
                ShipOrder { auto_confirm_days, ..shipping(&order.order_sn) }.into()
            }
            4 => ReceiveOrders { asked: self.some_key(), ..receiving(&order.order_sn) }.into(),
            5 => receiving_due(&[order.order_sn]).into(),
            6 => RefundOrder { asked: self.some_key(), ..refunding(&order.order_sn) }.into(),
            7..=8 => self.refund_part(&order),
            9..=11 => self.ask_back(&order),
            _ => self.handle(),
        }
    }

    /// An order in 1–3, at times any.
    fn some_paid_order(&self) -> KnownOrder {
        match self.pick(&self.paid).filter(|_| !self.dice.one_in(4)) {
            Some(Order { order_sn, user_id, pay_amount, .. }) => {
                KnownOrder { order_sn: order_sn.clone(), user_id: *user_id, pay_amount: *pay_amount }
            }
            None => self.some_order(),
        }
    }

    fn refund_part(&self, order: &KnownOrder) -> WriteUnit {
        let amount = match self.dice.below(4) {
            0 => order.pay_amount,
            1 => Money(order.pay_amount.0 / 2),
            2 => Money(1),
            _ => Money(3_333),
        };
        refunding_part(&order.order_sn, ["a", "b", "c"][self.dice.below(3)], amount).into()
    }

    fn ask_back(&self, order: &KnownOrder) -> WriteUnit {
        let quantity = u32::try_from(1 + self.dice.below(3)).unwrap_or(1);
        let sku_id = if self.dice.one_in(3) { CASE } else { PHONE };
        let window = Duration::from_secs(if self.dice.one_in(4) { 10 } else { 24 * 3600 });
        let asked = self.some_key();
        RequestReturn { sku_id, window, asked, ..returning(&order.order_sn, order.user_id, quantity) }.into()
    }

    fn handle(&self) -> WriteUnit {
        let open = self.pick(&self.open_returns).filter(|_| !self.dice.one_in(5));
        let return_id = open.map_or_else(|| i64::try_from(self.dice.below(9)).unwrap_or(0), |row| row.id);
        let command = match self.dice.below(5) {
            0..=1 => ReturnCommand::Approve,
            2 => ReturnCommand::Reject,
            _ => ReturnCommand::Receive,
        };
        HandleReturn { restock: self.dice.one_in(2), ..handling(return_id, command) }.into()
    }
}
