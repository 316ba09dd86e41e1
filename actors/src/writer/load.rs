//! How many units may be with the writer: as many as it commits within the target delay, no more.
//!
//! By Little's law what is in work divided by the rate is the delay, so the limit is rate × target. The rate is that of
//! the last few commits; it needs no tuning when a disk is slow or a batch is cheap. A unit beyond the limit is refused
//! when it comes, at once, rather than after it has waited: it could not have been answered in time (R28). The house's
//! own units are not counted, but the time that they take is: they go first.
//!
//! SKUs take turns at the batches ([`super::lane`]), so behind the units of its own lane a unit waits no longer than the
//! lanes take for that many turns. Whose turns fit into the limit is let in though a crowd at another SKU has filled it:
//! no SKU is refused because of another one.
//!
//! Plain code: the time is an argument.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::lane::Lane;

/// Commits that the rate is taken from.
const REMEMBERED: usize = 8;
/// So many may always be with the writer: a rate seen in small batches says too little about large ones.
const ALWAYS: usize = 256;
/// But no more than these batches: one that is committed, one that is full behind it, one that forms.
const ALWAYS_BATCHES: usize = 3;

/// Bounds of [`Load`].
#[derive(Clone, Copy, Debug)]
pub struct LoadSettings {
    /// Units that may wait, whatever the delay.
    pub queue: usize,
    /// Most units of one commit.
    pub max_batch: usize,
    /// The delay to be kept, from the queue to the end of the commit.
    pub target: Duration,
}

/// What is with the writer.
#[derive(Debug)]
pub struct Load {
    settings: LoadSettings,
    /// Not yet in a batch.
    waiting: usize,
    /// Waiting or being committed, without the house.
    in_work: usize,
    /// The same by lane.
    lanes: HashMap<Lane, usize>,
    /// Units, without the house, and duration of the last commits.
    commits: VecDeque<(usize, Duration)>,
    limit: usize,
}

impl LoadSettings {
    /// A limit that nothing reaches: more than the queue and one commit hold.
    fn no_limit(&self) -> usize {
        self.queue + self.max_batch + 1
    }
}

impl Load {
    /// Nothing in work, nothing known.
    pub fn new(settings: LoadSettings) -> Self {
        Self {
            settings,
            waiting: 0,
            in_work: 0,
            lanes: HashMap::new(),
            commits: VecDeque::with_capacity(REMEMBERED),
            limit: settings.no_limit(),
        }
    }

    /// Lets a unit in, or not. What came in must [`Self::leave`].
    #[must_use]
    pub fn enter(&mut self, lane: Lane) -> bool {
        if self.waiting >= self.settings.queue || !self.has_room(lane) {
            return false;
        }
        self.waiting += 1;
        if lane != Lane::House {
            self.in_work += 1;
            *self.lanes.entry(lane).or_default() += 1;
        }
        true
    }

    /// Whether a unit would be let in, the queue apart.
    pub fn has_room(&self, lane: Lane) -> bool {
        if lane == Lane::House || self.in_work < self.limit {
            return true;
        }
        let own = self.lanes.get(&lane).copied().unwrap_or(0);
        let lanes = self.lanes.len() + usize::from(own == 0);
        (own + 1) * lanes <= self.limit
    }

    /// So many do not wait any more: they are in a batch, or were not queued after all.
    pub fn taken(&mut self, units: usize) {
        self.waiting = self.waiting.saturating_sub(units);
    }

    /// A unit is answered.
    pub fn leave(&mut self, lane: Lane) {
        if let Some(own) = self.lanes.get_mut(&lane) {
            self.in_work -= 1;
            *own -= 1;
            if *own == 0 {
                self.lanes.remove(&lane);
            }
        }
    }

    /// A batch with so many units, the house's not counted, was committed, or failed, in this time.
    pub fn committed(&mut self, units: usize, took: Duration) {
        if self.commits.len() == REMEMBERED {
            self.commits.pop_front();
        }
        self.commits.push_back((units, took));
        let (units, took) =
            self.commits.iter().fold((0, Duration::ZERO), |(sum, all), (units, took)| (sum + units, all + *took));
        // Shorter is not measured; a rate has no meaning then.
        let seconds = took.as_secs_f64().max(1e-6);
        let in_time = units as f64 / seconds * self.settings.target.as_secs_f64();
        let least = ALWAYS.min(ALWAYS_BATCHES * self.settings.max_batch);
        let no_limit = self.settings.no_limit();
        self.limit = (in_time as usize).clamp(least.min(no_limit), no_limit);
    }

    /// Units that wait for a batch.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many may be in work now.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SkuId;

    const TARGET: Duration = Duration::from_millis(300);

    fn sku(id: i64) -> Lane {
        Lane::Sku(SkuId(id))
    }

    fn load(max_batch: usize) -> Load {
        Load::new(LoadSettings { queue: 8192, max_batch, target: TARGET })
    }

    /// Commits of 20 units in 50 ms: 400 a second, 120 within the target.
    fn slow() -> Load {
        let mut load = load(20);
        (0..REMEMBERED).for_each(|_| load.committed(20, Duration::from_millis(50)));
        assert_eq!(load.limit(), 120);
        load
    }

    fn admitted(load: &mut Load, lane: Lane, tries: usize) -> usize {
        (0..tries).filter(|_| load.enter(lane)).count()
    }

    #[test]
    fn only_the_queue_bounds_what_is_not_measured_yet() {
        let mut load = load(1024);
        assert_eq!(admitted(&mut load, sku(1), 10_000), 8192);
        assert!(!load.enter(Lane::House), "the queue bounds the house too");
        load.taken(1);
        assert!(load.enter(Lane::House));
    }

    #[test]
    fn the_limit_is_what_is_committed_within_the_target() {
        let mut load = slow();
        assert_eq!(admitted(&mut load, sku(1), 1_000), 120);
        assert!(load.enter(Lane::House), "the house is not refused");
    }

    #[test]
    fn the_house_takes_time_and_no_place() {
        let mut load = slow();
        (0..REMEMBERED).for_each(|_| load.committed(15, Duration::from_millis(50)));
        assert_eq!(load.limit(), 90, "a quarter of each batch was the house's");
        (0..1_000).for_each(|_| assert!(load.enter(Lane::House)));
        assert_eq!(admitted(&mut load, sku(1), 1_000), 90);
        (0..1_000).for_each(|_| load.leave(Lane::House));
        assert!(!load.enter(sku(1)));
    }

    #[test]
    fn a_crowd_at_one_sku_shuts_no_other_out() {
        let mut load = slow();
        admitted(&mut load, sku(1), 1_000);
        assert_eq!(admitted(&mut load, sku(2), 1_000), 60, "its turns: every second");
        assert_eq!(admitted(&mut load, sku(3), 1_000), 40, "every third");
        assert!(!load.enter(sku(1)));
    }

    #[test]
    fn places_are_had_again_when_units_are_answered() {
        let mut load = slow();
        admitted(&mut load, sku(1), 1_000);
        load.taken(20);
        assert!(!load.enter(sku(1)), "in a commit is in work");
        (0..20).for_each(|_| load.leave(sku(1)));
        assert_eq!(admitted(&mut load, sku(1), 1_000), 20);
        assert_eq!(load.waiting(), 120);
    }

    #[test]
    fn equal_crowds_have_equal_shares() {
        let mut load = slow();
        let mut own = [0; 3];
        for round in 0..3_000 {
            let at = round % 3;
            own[at] += usize::from(load.enter(sku(at as i64)));
        }
        assert_eq!(own, [40, 40, 40]);
        assert!(load.enter(sku(9)), "and a newcomer finds room");
    }

    #[test]
    fn many_small_lanes_do_not_pass_the_limit() {
        let mut load = slow();
        let all = (0..1_000).filter(|id| load.enter(sku(*id))).count();
        assert_eq!(all, 120);
    }

    #[test]
    fn a_lone_slow_commit_does_not_shut_the_door() {
        let mut load = load(1024);
        load.committed(1, Duration::from_secs(1));
        assert_eq!(load.limit(), ALWAYS);
        load.committed(256, Duration::from_millis(8));
        assert_eq!(load.limit(), ALWAYS, "the slow one is remembered for a while");
        (0..REMEMBERED).for_each(|_| load.committed(256, Duration::from_millis(8)));
        assert_eq!(load.limit(), load.settings.no_limit(), "256 in 8 ms are 9,600 in 300 ms: more than the queue");
    }

    #[test]
    fn of_small_batches_three_are_always_let_in() {
        let mut load = load(20);
        load.committed(1, Duration::from_secs(1));
        assert_eq!(load.limit(), 60);
    }

    #[test]
    fn a_store_that_takes_no_time_has_no_limit() {
        let mut load = load(1024);
        load.committed(1_000, Duration::ZERO);
        assert_eq!(load.limit(), load.settings.no_limit());
    }
}
