//! What is usual at this hour of the week, and at this hour of any day.
//!
//! 168 hourly means, each weighing its visits equally up to three and then forgetting by a third a
//! visit; the mean of an hour of the day is taken over the seven hours of the week that share it.
//! Time is UTC, and means are by share of the hour, so a series of one point a second and one of a
//! point an hour learn alike. The hour now running is kept exactly; the others rest in 16 bits: a value
//! in 14 (between the least and the greatest hourly mean) and the number of visits in 2.

use serde::{Deserialize, Serialize};

use super::arrays;

const HOURS: usize = 168;
const HOUR_US: i64 = 3_600_000_000;
/// Visits beyond this many are not counted: the mean then forgets.
const VISITS_MAX: f32 = 3.0;
/// Values that 14 bits tell apart.
const STEPS: f32 = 16_383.0;
/// An hour is known when this much of it has been seen, in hours.
const KNOWN: f32 = 0.1;

/// Hourly means of a week, in the unit of the series (relative to its origin).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Week {
    /// Visits (2 bits), place between `least` and `least + range` (14 bits).
    #[serde(with = "arrays")]
    hours: [u16; HOURS],
    least: f32,
    range: f32,
    /// Hours since 1970 of the running hour; its mean and weight stand below, not in `hours`.
    hour: i32,
    mean: f32,
    weight: f32,
    /// Mean and weight of this hour of the day over the other days of the week.
    day_mean: f32,
    day_weight: f32,
}

impl Default for Week {
    fn default() -> Self {
        Self {
            hours: [0; HOURS],
            least: 0.0,
            range: 0.0,
            hour: i32::MIN,
            mean: 0.0,
            weight: 0.0,
            day_mean: 0.0,
            day_weight: 0.0,
        }
    }
}

/// What was usual; `None` where too little has been seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// At this hour of the week.
    pub of_week: Option<f32>,
    /// At this hour of the day.
    pub of_day: Option<f32>,
    /// Whether this hour was seen in an earlier week: before, what is usual is what this very hour has had so far.
    pub weeks: bool,
    /// Whether this hour was seen on an earlier day.
    pub days: bool,
}

impl Week {
    /// What was usual at this time before now. Changes hours where the time calls for it.
    pub fn usual(&mut self, at_us: i64) -> Usual {
        let hour = at_us.div_euclid(HOUR_US) as i32;
        if hour != self.hour {
            self.store();
            self.enter(hour);
        }
        let weight = self.day_weight + self.weight;
        let day_mean =
            (self.day_mean * self.day_weight + self.mean * self.weight) / weight.max(f32::MIN_POSITIVE);
        Usual {
            of_week: (self.weight >= KNOWN).then_some(self.mean),
            of_day: (weight >= KNOWN).then_some(day_mean),
            // An earlier visit weighs at least one; this one, until it is over, less.
            weeks: self.weight >= 1.0,
            days: weight >= 1.0,
        }
    }

    /// Takes in a value that stands for `elapsed_us` of the hour last asked for.
    pub fn push(&mut self, value: f32, elapsed_us: i64) {
        let share = (elapsed_us as f32 / HOUR_US as f32).clamp(1e-6, 1.0);
        self.weight = (self.weight + share).min(VISITS_MAX);
        self.mean += (value - self.mean) * (share / self.weight).min(1.0);
    }

    fn enter(&mut self, hour: i32) {
        self.hour = hour;
        let slot = hour.rem_euclid(HOURS as i32) as usize;
        (self.mean, self.weight) = self.get(slot);
        let (mut sum, mut weight) = (0.0, 0.0);
        for day in 1..7 {
            let (mean, visits) = self.get((slot + 24 * day) % HOURS);
            sum += mean * visits;
            weight += visits;
        }
        (self.day_mean, self.day_weight) = (if weight > 0.0 { sum / weight } else { 0.0 }, weight);
    }

    fn get(&self, slot: usize) -> (f32, f32) {
        let word = self.hours[slot];
        (self.least + f32::from(word >> 2) / STEPS * self.range, f32::from(word & 3))
    }

    /// Puts the running hour among the others.
    fn store(&mut self) {
        if self.hour == i32::MIN || self.weight < KNOWN {
            return;
        }
        let slot = self.hour.rem_euclid(HOURS as i32) as usize;
        self.hours[slot] = 0;
        let place = (self.mean - self.least) / self.range;
        if !(0.0..=1.0).contains(&place) || self.range <= 0.0 {
            self.stretch();
        }
        let place = if self.range > 0.0 { (self.mean - self.least) / self.range } else { 0.0 };
        let visits = self.weight.round().clamp(1.0, VISITS_MAX) as u16;
        self.hours[slot] = ((place * STEPS).round() as u16) << 2 | visits;
    }

    /// Moves the range so that it holds all means and the running one, with a quarter to spare.
    fn stretch(&mut self) {
        let (mut least, mut most) = (self.mean, self.mean);
        let means: [(f32, f32); HOURS] = std::array::from_fn(|slot| self.get(slot));
        for (mean, _) in means.iter().filter(|(_, visits)| *visits > 0.0) {
            least = least.min(*mean);
            most = most.max(*mean);
        }
        let spare = (most - least) / 8.0;
        self.least = least - spare;
        self.range = most - least + 2.0 * spare;
        for (word, (mean, visits)) in self.hours.iter_mut().zip(means) {
            if visits > 0.0 && self.range > 0.0 {
                let place = ((mean - self.least) / self.range * STEPS).round() as u16;
                *word = place << 2 | visits as u16;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(at: i64) -> i64 {
        at * 60_000_000
    }

    #[test]
    fn learns_the_hour_of_the_day_in_a_day_and_of_the_week_in_a_week() {
        let mut week = Week::default();
        let value = |at: i64| (at / 60 % 24) as f32 + if at / 1_440 % 7 == 2 { 100.0 } else { 0.0 };
        for at in 0..9 * 1_440 {
            let usual = week.usual(minute(at));
            if at == 1_440 + 90 {
                assert!((usual.of_day.unwrap() - 1.0).abs() < 0.1, "{usual:?}");
            }
            week.push(value(at), 60_000_000);
        }
        let usual = week.usual(minute(9 * 1_440 + 300));
        assert!((usual.of_week.unwrap() - 105.0).abs() < 0.1, "{usual:?}");
        assert!((usual.of_day.unwrap() - (5.0 + 100.0 / 8.0)).abs() < 2.0, "{usual:?}");
    }

    #[test]
    fn a_new_range_keeps_what_was_learned() {
        let mut week = Week::default();
        for hour in 0..100i64 {
            week.usual(hour * HOUR_US);
            week.push(if hour == 50 { 1e6 } else { hour as f32 }, HOUR_US);
        }
        let usual = week.usual((7 * 24 + 50) * HOUR_US);
        assert!((usual.of_week.unwrap() - 1e6).abs() < 100.0);
        let usual = week.usual((7 * 24 + 40) * HOUR_US);
        assert!((usual.of_week.unwrap() - 40.0).abs() < 200.0, "{usual:?}");
    }
}
