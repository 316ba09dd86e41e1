//! When each request is due: the open model, in which buyers come whether or not the server has answered the others.

use std::time::Duration;

/// A stretch of time in which the rate goes from one value to another in a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Arrivals per second at its start.
    pub from_rate: f64,
    /// Arrivals per second at its end.
    pub to_rate: f64,
    /// How long it lasts.
    pub lasts: Duration,
}

impl Stage {
    /// The same rate all the time.
    pub fn constant(rate: f64, lasts: Duration) -> Self {
        Self { from_rate: rate, to_rate: rate, lasts }
    }

    fn arrivals(&self) -> f64 {
        (self.from_rate + self.to_rate) / 2.0 * self.lasts.as_secs_f64()
    }

    /// When, counted from the start of the stage, `count` have arrived: the area under the line, solved for the time.
    fn time_of(&self, count: f64) -> f64 {
        if count <= 0.0 {
            return 0.0;
        }
        let slope = (self.to_rate - self.from_rate) / self.lasts.as_secs_f64();
        let root = (self.from_rate * self.from_rate + 2.0 * slope * count).max(0.0).sqrt();
        // This form of the root does not divide by the slope, so a constant rate needs no case of its own.
        2.0 * count / (self.from_rate + root)
    }
}

/// Stages one after the other.
#[derive(Clone, Debug)]
pub struct Schedule {
    stages: Vec<Stage>,
}

impl Schedule {
    /// From stages that last longer than no time.
    pub fn new(stages: Vec<Stage>) -> Self {
        Self { stages: stages.into_iter().filter(|stage| !stage.lasts.is_zero()).collect() }
    }

    /// A rise from nothing to the rate, then the rate.
    pub fn ramp_and_hold(rate: f64, ramp: Duration, hold: Duration) -> Self {
        Self::new(vec![Stage { from_rate: 0.0, to_rate: rate, lasts: ramp }, Stage::constant(rate, hold)])
    }

    /// How long it lasts.
    pub fn lasts(&self) -> Duration {
        self.stages.iter().map(|stage| stage.lasts).sum()
    }

    /// How many arrive.
    #[cfg(test)]
    fn arrivals(&self) -> u64 {
        self.stages.iter().map(Stage::arrivals).sum::<f64>() as u64
    }

    /// When the arrival with this number, counted from 0, is due; `None` after the last.
    pub fn due(&self, number: u64) -> Option<Duration> {
        let mut left = number as f64;
        let mut before = Duration::ZERO;
        for stage in &self.stages {
            let arrivals = stage.arrivals();
            if left < arrivals {
                return Some(before + Duration::from_secs_f64(stage.time_of(left).min(stage.lasts.as_secs_f64())));
            }
            left -= arrivals;
            before += stage.lasts;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced() {
        let schedule = Schedule::new(vec![Stage::constant(100.0, seconds(2))]);
        assert_eq!(schedule.arrivals(), 200);
        assert_eq!(schedule.due(0), Some(Duration::ZERO));
        assert_eq!(schedule.due(150), Some(Duration::from_millis(1500)));
        assert_eq!(schedule.due(200), None);
    }

    #[test]
    fn a_rising_rate_has_half_its_arrivals_in_the_last_three_tenths() {
        let schedule = Schedule::ramp_and_hold(100.0, seconds(10), seconds(1));
        assert_eq!(schedule.arrivals(), 600);
        assert_eq!(schedule.due(0), Some(Duration::ZERO));
        // n(t) = 5 t²: 250 of the 500 have come when t = √50.
        let half = schedule.due(250).map(|due| due.as_secs_f64());
        assert!(half.is_some_and(|half| (half - 50_f64.sqrt()).abs() < 1e-6), "{half:?}");
        assert_eq!(schedule.due(500), Some(seconds(10)));
        assert_eq!(schedule.due(550), Some(Duration::from_millis(10_500)));
    }

    #[test]
    fn due_times_never_go_back() {
        let stages = [(0.0, 50.0, 3), (50.0, 10.0, 2), (10.0, 10.0, 1), (10.0, 0.0, 4)];
        let stage = |(from_rate, to_rate, lasts)| Stage { from_rate, to_rate, lasts: seconds(lasts) };
        let schedule = Schedule::new(stages.into_iter().map(stage).collect());
        let all: Vec<Duration> = (0..).map_while(|number| schedule.due(number)).collect();
        assert_eq!(all.len() as u64, schedule.arrivals());
        assert!(all.is_sorted());
        assert!(all.last().is_some_and(|last| *last <= schedule.lasts()));
    }
}
