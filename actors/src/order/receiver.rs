//! Where an order goes, as long as it is here.

use super::Orders;
use crate::domain::order::Receiver;
use crate::domain::reject::{Failure, Reject};
use crate::domain::{OrderSn, Timestamp, UserId};
use crate::ports::store::units::{ReceiverChange, SetReceiver};

impl Orders {
    /// Changes the receiver of a user's order; with `seen`, only if the order was last changed then.
    ///
    /// # Errors
    /// [`Reject::UnknownOrder`], [`Reject::WrongState`] once it is on its way or over, [`Reject::Changed`].
    pub async fn set_receiver(
        &self,
        user_id: UserId,
        order_sn: &OrderSn,
        receiver: Receiver,
        seen: Option<Timestamp>,
    ) -> Result<(), Failure> {
        match self.commit(SetReceiver { user_id, order_sn: order_sn.clone(), receiver, seen }).await? {
            ReceiverChange::Done => Ok(()),
            ReceiverChange::Changed => Err(Reject::Changed.into()),
            ReceiverChange::WrongState(status) => Err(Reject::WrongState(status).into()),
            ReceiverChange::Unknown => Err(Reject::UnknownOrder.into()),
        }
    }
}
