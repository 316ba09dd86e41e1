//! The flash sale: its life, its window, its counters, and the grant of a winner.
//!
//! Life: draft → (arm) armed ⇄ paused → (end) ended. *Live* is armed and inside the window, by the store's clock.

use serde::{Deserialize, Serialize};

use super::ids::{OrderSn, SaleId, SkuId, UserId};
use super::money::Money;
use super::time::Timestamp;

/// Stored state of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(i64)]
pub enum SaleState {
    /// Made, holds no stock.
    Draft = 0,
    /// Its units are carved out of ordinary stock.
    Armed = 1,
    /// As armed, but nobody is let in.
    Paused = 2,
    /// Over; leftovers are back in ordinary stock.
    Ended = 3,
}

impl SaleState {
    /// From the column.
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::Draft, Self::Armed, Self::Paused, Self::Ended].into_iter().find(|s| *s as i64 == code)
    }
}

/// What can be asked of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaleCommand {
    /// Carve the units out and let buyers in from `starts_at`.
    Arm,
    /// Let nobody in for now.
    Pause,
    /// Let buyers in again.
    Resume,
    /// Finish and give the leftovers back.
    End,
}

/// The next state, or `None` when the command does not fit the state. `End` of an ended sale fits and changes nothing.
pub fn next_state(state: SaleState, command: SaleCommand) -> Option<SaleState> {
    match (state, command) {
        (SaleState::Draft, SaleCommand::Arm) | (SaleState::Paused, SaleCommand::Resume) => Some(SaleState::Armed),
        (SaleState::Armed, SaleCommand::Pause) => Some(SaleState::Paused),
        (_, SaleCommand::End) => Some(SaleState::Ended),
        _ => None,
    }
}

/// When a sale asks its buyers for a proof of work before an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i64)]
pub enum ChallengeMode {
    /// Never.
    Off = 0,
    /// While the node is under load.
    #[default]
    Load = 1,
    /// At every attempt.
    Always = 2,
}

impl ChallengeMode {
    /// From the column.
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::Off, Self::Load, Self::Always].into_iter().find(|mode| *mode as i64 == code)
    }
}

/// A sale as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlashSale {
    /// Id.
    pub id: SaleId,
    /// What is sold.
    pub sku_id: SkuId,
    /// Sale price.
    pub price: Money,
    /// Units for sale.
    pub count: i64,
    /// How many one user may win.
    pub per_user_limit: u32,
    /// First moment to buy.
    pub starts_at: Timestamp,
    /// First moment it is over.
    pub ends_at: Timestamp,
    /// When a proof of work is asked for.
    pub challenge: ChallengeMode,
    /// Stored state.
    pub state: SaleState,
    /// Generation of the permits; raised by compare-and-set before a rebuild (DESIGN rule 6).
    pub epoch: i64,
    /// Grants ever given.
    pub granted: i64,
    /// Grants that failed or whose order closed unpaid: their units are for sale again.
    pub released: i64,
}

/// Where a sale is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SalePhase {
    /// Not armed.
    Draft,
    /// Armed, before its window.
    Armed,
    /// Armed, in its window.
    Live,
    /// Paused.
    Paused,
    /// Ended, or past its window.
    Ended,
}

impl FlashSale {
    /// Units that may still be won.
    pub fn remaining(&self) -> i64 {
        self.count - self.granted + self.released
    }

    /// Where the sale is at `now`.
    pub fn phase(&self, now: Timestamp) -> SalePhase {
        match self.state {
            SaleState::Draft => SalePhase::Draft,
            SaleState::Ended => SalePhase::Ended,
            _ if now >= self.ends_at => SalePhase::Ended,
            SaleState::Paused => SalePhase::Paused,
            SaleState::Armed if now < self.starts_at => SalePhase::Armed,
            SaleState::Armed => SalePhase::Live,
        }
    }
}

impl FlashSale {
    /// What of the sale its maker said.
    pub fn terms(&self) -> NewFlashSale {
        NewFlashSale {
            sku_id: self.sku_id,
            price: self.price,
            count: self.count,
            per_user_limit: self.per_user_limit,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            challenge: self.challenge,
        }
    }
}

/// A sale about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFlashSale {
    /// What is sold.
    pub sku_id: SkuId,
    /// Sale price.
    pub price: Money,
    /// Units for sale.
    pub count: i64,
    /// How many one user may win.
    pub per_user_limit: u32,
    /// First moment to buy.
    pub starts_at: Timestamp,
    /// First moment it is over.
    pub ends_at: Timestamp,
    /// When a proof of work is asked for.
    pub challenge: ChallengeMode,
}

/// Stored state of a grant. ORDERED is not stored: it is the existence of the order row (DESIGN section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(i64)]
pub enum GrantState {
    /// Won; the order is being made or exists.
    Granted = 0,
    /// The order could not be made; does not count against the user.
    Failed = 1,
    /// The order closed unpaid; counts against the user.
    Released = 2,
}

impl GrantState {
    /// From the column.
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::Granted, Self::Failed, Self::Released].into_iter().find(|s| *s as i64 == code)
    }
}

/// A grant as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The winner's order number.
    pub order_sn: OrderSn,
    /// The sale.
    pub sale_id: SaleId,
    /// The winner.
    pub user_id: UserId,
    /// Stored state.
    pub state: GrantState,
    /// Why it failed.
    pub reason: Option<String>,
    /// Whether its order row exists.
    pub ordered: bool,
    /// Won at.
    pub created_at: Timestamp,
}
