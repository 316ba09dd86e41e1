//! The gate of one sale: what HTTP workers read before anything else is asked (DESIGN rule 6).
//!
//! It only refuses. A request it refuses touches no actor, no coordination and no store, and allocates nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::challenge::LoadSwitch;
use super::winners::Winners;
use crate::domain::flash_sale::{ChallengeMode, FlashSale, SalePhase, SaleState};
use crate::domain::{OrderSn, SaleId, SkuId, Timestamp, UserId};
use crate::protocol::flash_sale::Attempt;

/// One sale as this node last saw it in the store; shared by every worker thread.
pub struct Gate {
    sale_id: SaleId,
    sku_id: SkuId,
    view: ArcSwap<FlashSale>,
    sold_out: AtomicBool,
    closed: AtomicBool,
    winners: Winners,
    load_switch: LoadSwitch,
    observing: Mutex<()>,
}

impl Gate {
    pub(super) fn new(sale: FlashSale, most_winners: usize) -> Self {
        Self {
            sale_id: sale.id,
            sku_id: sale.sku_id,
            sold_out: AtomicBool::new(sale.remaining() <= 0),
            closed: AtomicBool::new(false),
            winners: Winners::new(most_winners),
            load_switch: LoadSwitch::default(),
            observing: Mutex::new(()),
            view: ArcSwap::from_pointee(sale),
        }
    }

    /// The sale.
    pub fn sale_id(&self) -> SaleId {
        self.sale_id
    }

    /// What it sells.
    pub fn sku_id(&self) -> SkuId {
        self.sku_id
    }

    /// The sale as last read from the store, at most `refresh_every` old while the store answers.
    pub fn sale(&self) -> Arc<FlashSale> {
        self.view.load_full()
    }

    /// Whether the store had no unit left when it was last read.
    pub fn is_sold_out(&self) -> bool {
        self.sold_out.load(Ordering::Acquire)
    }

    /// Refuses at once what cannot win at `now` ([`super::FlashSales::now`]); `None` lets the buyer on.
    pub fn refuse_early(&self, now: Timestamp) -> Option<Attempt> {
        if self.closed.load(Ordering::Acquire) {
            return Some(Attempt::Ended);
        }
        match self.view.load().phase(now) {
            SalePhase::Draft | SalePhase::Armed => Some(Attempt::NotStarted),
            SalePhase::Paused => Some(Attempt::Paused),
            SalePhase::Ended => Some(Attempt::Ended),
            SalePhase::Live => self.is_sold_out().then_some(Attempt::SoldOut),
        }
    }

    /// As [`Self::refuse_early`], but a known winner of a sold-out sale is let on to hear of the first win.
    pub fn refuse_early_for(&self, user_id: UserId, now: Timestamp) -> Option<Attempt> {
        let refusal = self.refuse_early(now)?;
        let may_have_won = refusal == Attempt::SoldOut && self.winners.contains(user_id);
        (!may_have_won).then_some(refusal)
    }

    /// The first order number of a buyer who is known to have won as often as the limit allows.
    pub fn first_win(&self, user_id: UserId) -> Option<OrderSn> {
        self.winners.first(user_id)
    }

    /// When a proof of work is asked for.
    pub fn challenge_mode(&self) -> ChallengeMode {
        self.view.load().challenge
    }

    pub(super) fn load_switch(&self) -> &LoadSwitch {
        &self.load_switch
    }

    pub(super) fn winners(&self) -> &Winners {
        &self.winners
    }

    pub(super) fn epoch(&self) -> i64 {
        self.view.load().epoch
    }

    pub(super) fn per_user_limit(&self) -> u32 {
        self.view.load().per_user_limit
    }

    /// Takes a read of the sale. The only place that sets or clears the sold-out flag. Reads may arrive out of order:
    /// epoch and counters only ever grow and Ended is final, so an older read is known by them and left alone.
    pub(super) fn observe(&self, sale: FlashSale) {
        let _one_at_a_time = self.observing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.view.load();
        if is_older(&sale, &known) {
            return;
        }
        if sale.released != known.released {
            // A released grant may be a FAILED one, and then its buyer may win again.
            self.winners.clear();
        }
        self.sold_out.store(sale.remaining() <= 0, Ordering::Release);
        self.view.store(Arc::new(sale));
    }

    /// Lets nobody in while the sale is being ended.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Ending did not work.
    pub(super) fn reopen(&self) {
        self.closed.store(false, Ordering::Release);
    }
}

fn is_older(read: &FlashSale, known: &FlashSale) -> bool {
    let reopens = known.state == SaleState::Ended && read.state != SaleState::Ended;
    reopens
        || read.epoch < known.epoch
        || read.granted < known.granted
        || read.released < known.released
        || read.count < known.count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Money;

    const START: Timestamp = Timestamp(1_000);
    const END: Timestamp = Timestamp(2_000);

    fn sale() -> FlashSale {
        FlashSale {
            id: SaleId(1),
            sku_id: SkuId(49),
            price: Money(100),
            count: 10,
            per_user_limit: 1,
            starts_at: START,
            ends_at: END,
            challenge: ChallengeMode::Off,
            state: SaleState::Armed,
            epoch: 1,
            granted: 0,
            released: 0,
        }
    }

    fn gate() -> Gate {
        Gate::new(sale(), 100)
    }

    #[test]
    fn the_window_opens_at_its_start_and_is_over_at_its_end() {
        let gate = gate();
        assert_eq!(gate.refuse_early(Timestamp(999)), Some(Attempt::NotStarted));
        assert_eq!(gate.refuse_early(START), None);
        assert_eq!(gate.refuse_early(Timestamp(1_999)), None);
        assert_eq!(gate.refuse_early(END), Some(Attempt::Ended));
    }

    #[test]
    fn only_the_stores_remaining_sets_and_clears_sold_out() {
        let gate = gate();
        gate.observe(FlashSale { granted: 10, ..sale() });
        assert_eq!(gate.refuse_early(START), Some(Attempt::SoldOut));
        gate.observe(FlashSale { granted: 10, released: 1, ..sale() });
        assert_eq!(gate.refuse_early(START), None);
    }

    #[test]
    fn an_older_read_changes_nothing() {
        let gate = gate();
        gate.observe(FlashSale { granted: 10, epoch: 2, ..sale() });
        gate.observe(FlashSale { granted: 9, epoch: 2, ..sale() });
        gate.observe(FlashSale { granted: 10, epoch: 1, ..sale() });
        assert_eq!(gate.sale().granted, 10);
        assert_eq!(gate.epoch(), 2);
        gate.observe(FlashSale { granted: 10, epoch: 2, state: SaleState::Ended, ..sale() });
        gate.observe(FlashSale { granted: 10, epoch: 2, ..sale() });
        assert_eq!(gate.refuse_early(START), Some(Attempt::Ended));
    }

    #[test]
    fn paused_and_closed_let_nobody_in() {
        let gate = gate();
        gate.observe(FlashSale { state: SaleState::Paused, ..sale() });
        assert_eq!(gate.refuse_early(START), Some(Attempt::Paused));
        gate.observe(sale());
        gate.close();
        assert_eq!(gate.refuse_early(START), Some(Attempt::Ended));
        gate.reopen();
        assert_eq!(gate.refuse_early(START), None);
    }

    #[test]
    fn a_known_winner_is_let_on_when_all_is_sold() {
        let gate = gate();
        gate.observe(FlashSale { granted: 10, ..sale() });
        gate.winners().know([UserId(7)]);
        assert_eq!(gate.refuse_early_for(UserId(7), START), None);
        assert_eq!(gate.refuse_early_for(UserId(8), START), Some(Attempt::SoldOut));
        assert_eq!(gate.refuse_early_for(UserId(7), END), Some(Attempt::Ended));
    }

    #[test]
    fn a_release_forgets_the_winners() {
        let gate = gate();
        let number = OrderSn::parse("1").unwrap();
        gate.winners().won(UserId(7), number.clone());
        assert_eq!(gate.first_win(UserId(7)), Some(number));
        gate.observe(FlashSale { granted: 3, released: 1, ..sale() });
        assert_eq!(gate.first_win(UserId(7)), None);
    }
}
