//! Flat lines: a series that used to change at most points and stands still for longer than ever.
//!
//! Only one view could see this (moves get smaller), and one view alone is no alarm; but for a series
//! that changed at more than half of its points, each further equal point has a chance below one half,
//! and a run twice as long as the longest before has a rarity of its own: the run's length times log10 2.
//! A run that lasts is learned.

use serde::{Deserialize, Serialize};

use super::moments::Mean;

/// A series that changes at fewer of its points than this may stand still for long.
const LIVELY: f32 = 0.5;
/// Rarity of each further equal point: at most one in two.
const POINT: f32 = std::f32::consts::LOG10_2;
/// A run this many times the longest before is odd.
const LONGER: u32 = 2;
/// A run of so many points has been learned, and before so many points no run is odd.
const LEARNED: u32 = 100;

/// Equal points in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Stillness {
    run: u32,
    longest: u32,
    changing: Mean,
}

impl Stillness {
    /// Takes in whether the point differs from the one before; `count` and `span` as for [`Mean::push`].
    /// Returns the rarity of the run so far, in powers of ten, 0 where it is not odd.
    pub fn push(&mut self, changed: bool, count: f32, span: f32) -> f32 {
        let lively = self.changing.0 >= LIVELY && count > LEARNED as f32;
        self.changing.push(f32::from(u8::from(changed)), count, span);
        if changed {
            self.longest = self.longest.max(self.run);
            self.run = 0;
            return 0.0;
        }
        self.run = self.run.saturating_add(1);
        let odd = lively && self.run > self.longest.saturating_mul(LONGER);
        if self.run >= LEARNED {
            self.longest = self.run;
        }
        if odd {
            self.run as f32 * POINT
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(changes: impl Fn(u32) -> bool, points: u32) -> Vec<f32> {
        let mut stillness = Stillness::default();
        (1..=points).map(|at| stillness.push(changes(at), at as f32, 1_000.0)).collect()
    }

    #[test]
    fn a_lively_series_that_stops_is_odd_until_it_is_learned() {
        let rarities = run(|at| at <= 500, 1_000);
        assert!(rarities[..500].iter().all(|rarity| *rarity == 0.0));
        let odd: Vec<usize> = (0..1_000).filter(|at| rarities[*at] > 7.0).collect();
        assert_eq!((odd[0], odd[odd.len() - 1]), (523, 599));
    }

    #[test]
    fn a_series_that_often_rests_may_rest() {
        assert!(run(|at| at % 50 < 10, 5_000).iter().all(|rarity| *rarity == 0.0));
        assert!(run(|at| at % 50 < 30, 5_000)[100..].iter().all(|rarity| *rarity == 0.0));
    }
}
