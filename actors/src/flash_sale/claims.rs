//! A batch of attempts: one claim per buyer, each answered once, as soon as its answer is known.

use std::collections::{HashMap, VecDeque};

use crate::domain::reject::Unavailable;
use crate::domain::{OrderSn, UserId};
use crate::protocol::flash_sale::{Attempt, TryAcquire};

/// What a buyer is told.
pub(super) type Answer = Result<Attempt, Unavailable>;

/// One buyer's part of a batch.
pub(super) struct Claim {
    pub(super) user_id: UserId,
    /// The random part of the order number that a win would get.
    pub(super) number: u64,
    pub(super) step: Step,
    callers: Vec<TryAcquire>,
}

/// How far a claim has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing asked yet.
    Open,
    /// No permit was free.
    Crowded,
    /// To be granted under this number.
    Granting {
        /// The number it would get.
        order_sn: OrderSn,
        /// Whether it holds a permit; without one it is at the limit by the coordination's count only.
        held: bool,
        /// The first win, when there is one.
        first: Option<OrderSn>,
    },
    /// Answered.
    Done,
}

impl Claim {
    fn new(attempt: TryAcquire) -> Self {
        Self { user_id: attempt.user_id, number: attempt.number, step: Step::Open, callers: vec![attempt] }
    }

    /// Answers whoever asked for this buyer. Of several, one won and the others hear of it.
    pub(super) fn answer(&mut self, answer: Answer) {
        self.step = Step::Done;
        let mut callers = self.callers.drain(..);
        let Some(first) = callers.next() else { return };
        let repeat = match &answer {
            Ok(Attempt::Won(order_sn)) => Ok(Attempt::AlreadyWon(order_sn.clone())),
            other => other.clone(),
        };
        first.reply.send(answer);
        for caller in callers {
            caller.reply.send(repeat.clone());
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done
    }
}

/// Takes at most `most` buyers from the front of `waiting`. Further attempts of a buyer in the batch share its answer
/// when the limit is one, else stay for the next batch. Buyers who are gone are passed over.
pub(super) fn form(waiting: &mut VecDeque<TryAcquire>, most: usize, per_user_limit: u32) -> Vec<Claim> {
    let mut claims: Vec<Claim> = Vec::with_capacity(waiting.len().min(most));
    let mut place_of: HashMap<UserId, usize> = HashMap::with_capacity(waiting.len().min(most));
    let mut later = VecDeque::new();
    while claims.len() < most
        && let Some(attempt) = waiting.pop_front()
    {
        if attempt.reply.is_abandoned() {
            continue;
        }
        match place_of.get(&attempt.user_id) {
            None => {
                place_of.insert(attempt.user_id, claims.len());
                claims.push(Claim::new(attempt));
            }
            Some(&place) if per_user_limit == 1 => claims[place].callers.push(attempt),
            Some(_) => later.push_back(attempt),
        }
    }
    while let Some(attempt) = later.pop_back() {
        waiting.push_front(attempt);
    }
    claims
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::supervise::{Admission, Reply};

    type Told = oneshot::Receiver<Answer>;

    fn attempt(user: i64) -> (TryAcquire, Told) {
        let (reply, told) = Reply::new(Admission::new(1).try_enter().unwrap());
        (TryAcquire { user_id: UserId(user), number: 0, reply }, told)
    }

    fn attempts(users: &[i64]) -> (VecDeque<TryAcquire>, Vec<Told>) {
        users.iter().map(|user| attempt(*user)).unzip()
    }

    fn buyers(claims: &[Claim]) -> Vec<i64> {
        claims.iter().map(|claim| claim.user_id.0).collect()
    }

    #[test]
    fn repeats_share_the_answer_when_the_limit_is_one() {
        let (mut waiting, mut replies) = attempts(&[1, 2, 1, 1]);
        let mut claims = form(&mut waiting, 10, 1);
        assert_eq!(buyers(&claims), [1, 2]);
        assert!(waiting.is_empty());

        let number = OrderSn::parse("n").unwrap();
        claims[0].answer(Ok(Attempt::Won(number.clone())));
        let told: Vec<_> = [0, 2, 3].iter().map(|at| replies[*at].try_recv().unwrap()).collect();
        let again = Ok(Attempt::AlreadyWon(number.clone()));
        assert_eq!(told, [Ok(Attempt::Won(number)), again.clone(), again]);
    }

    #[test]
    fn repeats_wait_for_the_next_batch_when_the_limit_is_higher() {
        let (mut waiting, _replies) = attempts(&[1, 1, 2, 1, 3]);
        assert_eq!(buyers(&form(&mut waiting, 3, 2)), [1, 2, 3]);
        assert_eq!(buyers(&form(&mut waiting, 3, 2)), [1]);
        assert_eq!(buyers(&form(&mut waiting, 3, 2)), [1]);
        assert!(form(&mut waiting, 3, 2).is_empty());
    }

    #[test]
    fn a_batch_is_bounded_and_keeps_the_order() {
        let (mut waiting, _replies) = attempts(&[5, 4, 3, 2]);
        assert_eq!(buyers(&form(&mut waiting, 3, 1)), [5, 4, 3]);
        assert_eq!(buyers(&form(&mut waiting, 3, 1)), [2]);
    }

    #[test]
    fn buyers_who_are_gone_are_passed_over() {
        let (mut waiting, replies) = attempts(&[1, 2]);
        drop(replies);
        let (present, _reply) = attempt(3);
        waiting.push_back(present);
        assert_eq!(buyers(&form(&mut waiting, 1, 1)), [3]);
    }
}
