//! Fulfil: staff ship a paid order or close an unpaid one; its owner receives it, or time does.

use super::Orders;
use crate::domain::order::Operator;
use crate::domain::reject::{Failure, Reject, Unavailable};
use crate::domain::{OrderSn, UserId};
use crate::ports::store::units::{KeepRequest, OrderReceive, OrderShip, ReceiveOrders, ShipOrder};

const RECEIVED_NOTE: &str = "received by the buyer";
const BY_TIME_NOTE: &str = "received by time";

/// A parcel as the carrier took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    /// The carrier.
    pub delivery_company: String,
    /// Its number of the parcel.
    pub delivery_sn: String,
    /// What staff say about it.
    pub note: String,
}

impl Orders {
    /// Notes that a paid order was handed to the carrier.
    ///
    /// # Errors
    /// [`Reject::UnknownOrder`], [`Reject::WrongState`].
    pub async fn ship(&self, order_sn: &OrderSn, shipment: Shipment) -> Result<(), Failure> {
        let Shipment { delivery_company, delivery_sn, note } = shipment;
        let unit = ShipOrder {
            order_sn: order_sn.clone(),
            delivery_company,
            delivery_sn,
            auto_confirm_days: self.settings.auto_confirm_days,
            operator: Operator::Admin,
            note,
        };
        match self.commit(unit).await? {
            OrderShip::Shipped => Ok(()),
            OrderShip::WrongState(status) => Err(Reject::WrongState(status).into()),
            OrderShip::Unknown => Err(Reject::UnknownOrder.into()),
        }
    }

    /// The owner has the goods.
    ///
    /// # Errors
    /// [`Reject::UnknownOrder`], [`Reject::WrongState`].
    pub async fn receive(
        &self,
        user_id: UserId,
        order_sn: &OrderSn,
        asked: Option<KeepRequest>,
    ) -> Result<(), Failure> {
        self.own_order(user_id, order_sn).await?;
        let unit = ReceiveOrders {
            order_sns: vec![order_sn.clone()],
            operator: Operator::User,
            note: RECEIVED_NOTE.into(),
            when_due: false,
            asked,
        };
        match self.commit(unit).await?.first() {
            Some(OrderReceive::Received) => Ok(()),
            Some(OrderReceive::WrongState(status)) => Err(Reject::WrongState(*status).into()),
            _ => Err(Reject::UnknownOrder.into()),
        }
    }

    /// Takes those of these orders as received whose days are over.
    ///
    /// # Errors
    /// When the store does not answer; nothing is lost by trying again.
    pub(super) async fn receive_due(&self, order_sns: Vec<OrderSn>) -> Result<(), Unavailable> {
        let (operator, note) = (Operator::System, BY_TIME_NOTE.into());
        let unit = ReceiveOrders { order_sns, operator, note, when_due: true, asked: None };
        let outcomes = self.commit(unit).await?;
        let received = outcomes.iter().filter(|outcome| **outcome == OrderReceive::Received).count();
        metrics::counter!("seckill_orders_received_by_time_total").increment(received as u64);
        Ok(())
    }
}
