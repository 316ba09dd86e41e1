//! Returns: the owner asks to send units back; staff approve, reject, and take the goods.

use super::Orders;
use crate::domain::order::Operator;
use crate::domain::reject::{Failure, Reject, Unavailable};
use crate::domain::returns::{ReturnApply, ReturnCommand};
use crate::domain::{OrderSn, SkuId, UserId};
use crate::ports::store::units::{HandleReturn, KeepRequest, RequestReturn, ReturnHandling, ReturnRequest};

/// What an owner wants to send back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnWish {
    /// Which SKU of the order.
    pub sku_id: SkuId,
    /// Units, at least 1.
    pub quantity: u32,
    /// Why, in a few words.
    pub reason: String,
    /// More of it; may be empty.
    pub description: String,
}

impl Orders {
    /// Asks to send units back; the same wish while it is pending is the first one. `true` when it is new.
    ///
    /// # Errors
    /// [`Reject::UnknownOrder`], [`Reject::NotInOrder`], [`Reject::ReturnOpen`], [`Reject::WrongState`],
    /// [`Reject::ReturnTooLate`], [`Reject::TooManyReturned`].
    pub async fn request_return(
        &self,
        user_id: UserId,
        order_sn: &OrderSn,
        wish: ReturnWish,
        asked: Option<KeepRequest>,
    ) -> Result<(ReturnApply, bool), Failure> {
        let ReturnWish { sku_id, quantity, reason, description } = wish;
        let window = self.settings.return_window;
        let order_sn = order_sn.clone();
        let unit = RequestReturn { order_sn, user_id, sku_id, quantity, reason, description, window, asked };
        let (return_id, is_new) = match self.commit(unit).await? {
            ReturnRequest::Requested(return_id) => (return_id, true),
            ReturnRequest::Repeated(return_id) => (return_id, false),
            ReturnRequest::Open(return_id) => return Err(Reject::ReturnOpen(return_id).into()),
            ReturnRequest::WrongState(status) => return Err(Reject::WrongState(status).into()),
            ReturnRequest::TooLate => return Err(Reject::ReturnTooLate.into()),
            ReturnRequest::TooMany { returnable } => return Err(Reject::TooManyReturned { returnable }.into()),
            ReturnRequest::UnknownSku => return Err(Reject::NotInOrder(sku_id).into()),
            ReturnRequest::Unknown => return Err(Reject::UnknownOrder.into()),
        };
        Ok((self.return_apply(return_id).await?, is_new))
    }

    /// One step of staff; when the goods are here, the refund of them is asked for at once, and by the sweep until the
    /// gateway confirms. The request as it is then.
    ///
    /// # Errors
    /// [`Reject::UnknownReturn`], [`Reject::WrongReturnState`]; [`Unavailable`] also while units that are to be restocked
    /// have not left the books.
    pub async fn handle_return(
        &self,
        return_id: i64,
        command: ReturnCommand,
        restock: bool,
        note: String,
    ) -> Result<ReturnApply, Failure> {
        let unit = HandleReturn { return_id, command, restock, operator: Operator::Admin, note };
        match self.commit(unit).await? {
            ReturnHandling::Handled(refund) => self.try_refund(refund.as_ref()).await,
            ReturnHandling::WrongState(state) => return Err(Reject::WrongReturnState(state).into()),
            ReturnHandling::NotDeducted => {
                return Err(Unavailable::Dependency("the order's units have not been deducted yet".into()).into());
            }
            ReturnHandling::Unknown => return Err(Reject::UnknownReturn.into()),
        }
        self.return_apply(return_id).await
    }

    pub(super) async fn return_apply(&self, return_id: i64) -> Result<ReturnApply, Failure> {
        let row = self.read(self.store.return_apply(return_id)).await?;
        Ok(row.ok_or(Reject::UnknownReturn)?)
    }
}
