//! What is written down during a run: outcomes, latencies, and both second by second.

use std::time::Duration;

use hdrhistogram::Histogram;

/// What an answer meant. Every answer is one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A unit of a flash sale was won.
    Won,
    /// An order was placed.
    Ordered,
    /// A page was shown.
    Shown,
    /// This buyer has won before.
    AlreadyWon,
    /// No unit left.
    SoldOut,
    /// The sale is not open (yet, or any more).
    NotOpen,
    /// Not enough stock for an ordinary order.
    StockShort,
    /// 429: the client's own rate.
    Limited,
    /// 503: the server is full and said so.
    Busy,
    /// Refused for another reason.
    Refused,
    /// No whole answer: the outcome is not known.
    Unknown,
    /// An answer that must not be: wrong status, wrong shape.
    Wrong,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Won,
        Self::Ordered,
        Self::Shown,
        Self::AlreadyWon,
        Self::SoldOut,
        Self::NotOpen,
        Self::StockShort,
        Self::Limited,
        Self::Busy,
        Self::Refused,
        Self::Unknown,
        Self::Wrong,
    ];

    /// For people and for the JSON report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Ordered => "ordered",
            Self::Shown => "shown",
            Self::AlreadyWon => "already won",
            Self::SoldOut => "sold out",
            Self::NotOpen => "not open",
            Self::StockShort => "stock short",
            Self::Limited => "rate limited (429)",
            Self::Busy => "busy (503)",
            Self::Refused => "refused otherwise",
            Self::Unknown => "unknown",
            Self::Wrong => "wrong",
        }
    }

    /// Whether the buyer got what they came for.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Won | Self::Ordered | Self::Shown)
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// Counts of one thing by outcome.
#[derive(Clone, Debug, Default)]
pub struct Counts([u64; Outcome::ALL.len()]);

impl Counts {
    /// How many ended this way.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome.index()]
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Accepted ones.
    pub fn accepted(&self) -> u64 {
        Outcome::ALL.into_iter().filter(|outcome| outcome.is_accepted()).map(|outcome| self.of(outcome)).sum()
    }

    fn add(&mut self, outcome: Outcome) {
        self.0[outcome.index()] += 1;
    }
}

/// Latencies in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    fn new(digits: u8) -> Self {
        // One microsecond to two minutes; both digits used are within what the histogram takes.
        let made = Histogram::new_with_bounds(1, 120_000_000, digits);
        Self(made.unwrap_or_else(|error| unreachable!("{error}")))
    }

    fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// The value that this share of the requests stayed below, e.g. 0.99.
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(quantile))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// How many were measured.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Upper bound in microseconds and count of each power-of-√2 step that has any.
    pub fn steps(&self) -> Vec<(u64, u64)> {
        let steps = self.0.iter_log(16, 2_f64.sqrt());
        let all: Vec<_> = steps.map(|step| (step.value_iterated_to(), step.count_since_last_iteration())).collect();
        let first = all.iter().position(|step| step.1 > 0).unwrap_or(0);
        let last = all.iter().rposition(|step| step.1 > 0).map_or(0, |at| at + 1);
        all.get(first..last).map(<[_]>::to_vec).unwrap_or_default()
    }
}

/// One second of a run.
pub struct Second {
    /// Answers by outcome, by the second in which they came.
    pub counts: Counts,
    /// Their latencies.
    pub latencies: Latencies,
}

/// The record of a run.
pub struct Record {
    /// Answers by outcome.
    pub counts: Counts,
    /// From the intended start to the answer, all.
    pub latencies: Latencies,
    /// The same, accepted ones.
    pub accepted: Latencies,
    /// The same, all others that were answered.
    pub refused: Latencies,
    /// From the intended start to the moment it was sent: what the generator itself was late.
    pub lateness: Latencies,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// From the first intended start to the last answer.
    pub took: Duration,
    /// The first few wrong answers, for people.
    pub wrong: Vec<String>,
}

/// One request as it went.
pub struct Taken {
    /// From the start of the run to the intended start.
    pub due: Duration,
    /// From the start of the run to the moment it was sent.
    pub sent: Duration,
    /// From the start of the run to the answer.
    pub answered: Duration,
    /// What the answer meant.
    pub outcome: Outcome,
}

const WRONG_KEPT: usize = 10;

impl Default for Record {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            latencies: Latencies::new(3),
            accepted: Latencies::new(3),
            refused: Latencies::new(3),
            lateness: Latencies::new(3),
            seconds: Vec::new(),
            took: Duration::ZERO,
            wrong: Vec::new(),
        }
    }
}

impl Record {
    /// Writes one down.
    pub fn add(&mut self, taken: &Taken) {
        let latency = taken.answered.saturating_sub(taken.due);
        self.counts.add(taken.outcome);
        self.latencies.add(latency);
        self.lateness.add(taken.sent.saturating_sub(taken.due));
        match taken.outcome {
            outcome if outcome.is_accepted() => self.accepted.add(latency),
            Outcome::Unknown => {}
            _ => self.refused.add(latency),
        }
        let second = usize::try_from(taken.answered.as_secs()).unwrap_or(usize::MAX);
        while self.seconds.len() <= second {
            self.seconds.push(Second { counts: Counts::default(), latencies: Latencies::new(2) });
        }
        self.seconds[second].counts.add(taken.outcome);
        self.seconds[second].latencies.add(latency);
        self.took = self.took.max(taken.answered);
    }

    /// Keeps the text of a wrong answer, if there are few so far.
    pub fn note_wrong(&mut self, text: String) {
        if self.wrong.len() < WRONG_KEPT {
            self.wrong.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(due_ms: u64, sent_ms: u64, answered_ms: u64, outcome: Outcome) -> Taken {
        let ms = Duration::from_millis;
        Taken { due: ms(due_ms), sent: ms(sent_ms), answered: ms(answered_ms), outcome }
    }

    #[test]
    fn outcomes_stand_at_their_numbers() {
        assert!(Outcome::ALL.into_iter().enumerate().all(|(at, outcome)| outcome.index() == at));
    }

    #[test]
    fn latency_counts_from_the_intended_start() {
        let mut record = Record::default();
        record.add(&taken(0, 90, 100, Outcome::Won));
        record.add(&taken(1_000, 1_000, 1_010, Outcome::SoldOut));
        assert_eq!((record.counts.total(), record.counts.accepted()), (2, 1));
        assert!((100_000..=100_100).contains(&record.latencies.max().as_micros()));
        assert!((90_000..=90_100).contains(&record.lateness.max().as_micros()));
        assert!((10_000..=10_010).contains(&record.refused.max().as_micros()));
        assert_eq!(record.seconds.len(), 2);
        assert_eq!(record.latencies.steps().iter().map(|step| step.1).sum::<u64>(), 2);
    }
}
