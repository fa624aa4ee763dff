//! A threshold that moves by itself (adaptive conformal inference, Gibbs and Candès 2021): up by a step with each
//! report, down by the same times the reports allowed in the time gone by. Whatever the data do, over T days there
//! are at most `reports_a_day · T + (most - start) / step + 1` reports until the upper bound is met: a rate held by
//! construction, not by a distribution.

use serde::{Deserialize, Serialize};

const DAY_S: f32 = 86_400.0;

/// How a threshold moves; in whatever unit it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moves {
    /// It never falls below this.
    pub least: f32,
    /// It never rises above this: beyond, everything is reported.
    pub most: f32,
    /// What a report adds.
    pub step: f32,
    /// Reports a day that it settles at when nothing is wrong.
    pub reports_a_day: f32,
}

/// What a report needs now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Threshold {
    needed: f32,
}

impl Threshold {
    /// What is needed at first.
    pub fn new(start: f32) -> Self {
        Self { needed: start }
    }

    /// What is needed now.
    pub fn needed(self) -> f32 {
        self.needed
    }

    /// Comes down for so many seconds gone by; a day at most counts.
    pub fn pass(&mut self, seconds: f32, moves: &Moves) {
        let relief = moves.step * moves.reports_a_day * seconds.min(DAY_S) / DAY_S;
        self.needed = (self.needed - relief).max(moves.least);
    }

    /// Goes up for a report.
    pub fn report(&mut self, moves: &Moves) {
        self.needed = (self.needed + moves.step).min(moves.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVES: Moves = Moves { least: 2.0, most: 8.0, step: 0.5, reports_a_day: 2.0 };

    #[test]
    fn reports_are_as_many_as_are_allowed_whatever_comes() {
        let mut threshold = Threshold::new(3.0);
        let (days, hour) = (30, 3_600.0);
        let mut reports = 0;
        // Evidence always just below what nobody could stop: every hour would be a report.
        for _ in 0..days * 24 {
            threshold.pass(hour, &MOVES);
            if 7.5 >= threshold.needed() {
                threshold.report(&MOVES);
                reports += 1;
            }
        }
        let most = MOVES.reports_a_day * days as f32 + (MOVES.most - 3.0) / MOVES.step + 1.0;
        assert!(reports as f32 <= most && reports as f32 >= MOVES.reports_a_day * days as f32, "{reports}");
    }

    #[test]
    fn it_stays_within_its_bounds_and_a_long_silence_counts_as_a_day() {
        let mut threshold = Threshold::new(3.0);
        threshold.pass(1e9, &MOVES);
        assert_eq!(threshold.needed(), 2.0);
        (0..100).for_each(|_| threshold.report(&MOVES));
        assert_eq!(threshold.needed(), 8.0);
        threshold.pass(1e9, &MOVES);
        assert_eq!(threshold.needed(), 7.0, "two reports' worth");
    }
}
