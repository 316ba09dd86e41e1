//! Attempts under an idempotency key. The key needs no row of its own: the random part of the order number follows from
//! it, so a win says which key it was made under, from the moment it is committed.

use super::{FlashSales, Gate};
use crate::domain::UserId;
use crate::domain::reject::{Failure, Reject};
use crate::protocol::flash_sale::Attempt;

impl FlashSales {
    /// As [`FlashSales::attempt`], but the same `number` again is the same attempt: it hears of the win that it made.
    ///
    /// # Errors
    /// [`Reject::KeyInProgress`], and those of [`FlashSales::attempt`].
    pub async fn attempt_keyed(&self, gate: &Gate, user_id: UserId, number: u64) -> Result<Attempt, Failure> {
        if let Some(refusal) = gate.refuse_early_for(user_id, self.now()) {
            return Ok(refusal);
        }
        let place = format!("{} {user_id} {number}", gate.sale_id());
        let _turn = self.keyed.try_take(&place).ok_or(Reject::KeyInProgress)?;
        if gate.per_user_limit() > 1 {
            let won = self.shared.read(self.shared.store.grants_of(gate.sale_id(), user_id)).await?;
            if let Some(grant) = won.into_iter().find(|grant| grant.order_sn.is_made_from(number)) {
                return Ok(Attempt::Won(grant.order_sn));
            }
        }
        let attempt = match gate.first_win(user_id) {
            Some(first) => Attempt::AlreadyWon(first),
            None => self.queue(gate.sale_id(), user_id, number).await?,
        };
        Ok(match attempt {
            Attempt::AlreadyWon(first) if first.is_made_from(number) => Attempt::Won(first),
            other => other,
        })
    }
}
