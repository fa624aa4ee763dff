//! When a condition counts: levels of severity, each with the value at which it begins, the value at which it ends,
//! how long it must hold and how long it must be over. Between the two values nothing changes.

use serde::{Deserialize, Serialize};

use crate::handoff::{Severity, Standing};

/// How a value is compared with a level's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Compare {
    Above,
    AtLeast,
    Below,
    AtMost,
    Equals,
    Not,
}

impl Compare {
    /// Whether the value is beyond the limit.
    pub(crate) fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Equals => value == limit,
            Self::Not => value != limit,
        }
    }

    /// Whether larger values are worse.
    pub(crate) fn is_upward(self) -> bool {
        matches!(self, Self::Above | Self::AtLeast)
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::AtLeast => "at_least",
            Self::Below => "below",
            Self::AtMost => "at_most",
            Self::Equals => "equals",
            Self::Not => "not",
        }
    }
}

/// One level of a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Level {
    pub(crate) severity: Severity,
    /// The value at which it begins.
    pub(crate) enter: f64,
    /// The value at which it is over; `enter` where no other is given.
    pub(crate) clear: f64,
    /// How long it must hold before it fires, µs.
    pub(crate) for_us: i64,
}

/// What turns values into standing: the same for all that a rule watches.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ladder {
    pub(crate) compare: Compare,
    /// By rising severity; at least one.
    pub(crate) levels: Vec<Level>,
    /// How long a level must be over before it is left, µs.
    pub(crate) clear_for_us: i64,
}

/// Where one thing stands on its rule's ladder: per level, in the ladder's order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Track {
    rungs: [Rung; 4],
    /// What was said last; `None` of one that is quiet.
    pub(crate) said: Option<(Standing, Severity)>,
    /// The time of the last value, µs.
    last_us: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Rung {
    /// Since when it holds, µs.
    held: Option<i64>,
    is_firing: bool,
    /// Since when it is over though it still fires, µs.
    over: Option<i64>,
}

impl Track {
    /// Takes in a value. A silence longer than `most_gap_us` begins the waiting anew: nobody knows what was in it.
    pub(crate) fn step(&mut self, ladder: &Ladder, value: f64, at_us: i64, most_gap_us: i64) {
        let is_gap = at_us.saturating_sub(self.last_us) > most_gap_us;
        self.last_us = at_us;
        for (rung, level) in self.rungs.iter_mut().zip(&ladder.levels) {
            if is_gap && !rung.is_firing {
                rung.held = None;
            }
            if is_gap {
                rung.over = None;
            }
            rung.step(ladder, level, value, at_us);
        }
    }

    /// Where it stands now: firing at the worst level that fires, else pending at the worst that holds.
    pub(crate) fn stands(&self, ladder: &Ladder) -> Option<(Standing, Severity)> {
        let worst = |wanted: fn(&Rung) -> bool| {
            self.rungs
                .iter()
                .zip(&ladder.levels)
                .rev()
                .find(|(rung, _)| wanted(rung))
                .map(|(_, level)| level.severity)
        };
        worst(|rung| rung.is_firing)
            .map(|severity| (Standing::Firing, severity))
            .or_else(|| worst(|rung| rung.held.is_some()).map(|severity| (Standing::Pending, severity)))
    }

    /// Since when some level holds, µs.
    pub(crate) fn since_us(&self) -> i64 {
        self.rungs.iter().filter_map(|rung| rung.held).min().unwrap_or(self.last_us)
    }

    /// Its clock was set back: the next value comes as after a silence.
    pub(crate) fn restart(&mut self) {
        self.last_us = i64::MIN / 2;
    }

    /// Nothing holds and nothing was said: it can be forgotten.
    pub(crate) fn is_quiet(&self) -> bool {
        self.said.is_none() && self.rungs.iter().all(|rung| rung.held.is_none())
    }
}

impl Rung {
    fn step(&mut self, ladder: &Ladder, level: &Level, value: f64, at_us: i64) {
        let is_beyond = ladder.compare.holds(value, level.enter);
        if !self.is_firing {
            if !is_beyond {
                self.held = None;
                return;
            }
            let since = *self.held.get_or_insert(at_us);
            self.is_firing = at_us.saturating_sub(since) >= level.for_us;
            self.over = None;
            return;
        }
        if is_beyond || ladder.compare.holds(value, level.clear) {
            self.over = None;
            return;
        }
        let over = *self.over.get_or_insert(at_us);
        if at_us.saturating_sub(over) >= ladder.clear_for_us {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GAP: i64 = 60_000_000;

    fn ladder(levels: &[(Severity, f64, f64, i64)], clear_for: i64) -> Ladder {
        let levels = levels
            .iter()
            .map(|&(severity, enter, clear, wait)| Level { severity, enter, clear, for_us: wait * 1_000_000 })
            .collect();
        Ladder { compare: Compare::Above, levels, clear_for_us: clear_for * 1_000_000 }
    }

    fn run(ladder: &Ladder, values: &[f64]) -> Vec<Option<(Standing, Severity)>> {
        let mut track = Track::default();
        let step = |(at, value): (usize, &f64)| {
            track.step(ladder, *value, at as i64 * 1_000_000, GAP);
            track.stands(ladder)
        };
        values.iter().enumerate().map(step).collect()
    }

    #[test]
    fn it_waits_fires_rises_and_clears() {
        let ladder = ladder(&[(Severity::High, 90.0, 80.0, 2), (Severity::Critical, 95.0, 95.0, 0)], 1);
        let (pending, firing) = (Standing::Pending, Standing::Firing);
        let (high, critical) = (Severity::High, Severity::Critical);
        let want = [
            (50.0, None),
            (91.0, Some((pending, high))),
            (92.0, Some((pending, high))),
            (92.0, Some((firing, high))),
            (96.0, Some((firing, critical))),
            (92.0, Some((firing, critical))),
            (92.0, Some((firing, high))),
            (85.0, Some((firing, high))),
            (79.0, Some((firing, high))),
            (85.0, Some((firing, high))),
            (79.0, Some((firing, high))),
            (79.0, None),
            (89.0, None),
        ];
        let said = run(&ladder, &want.map(|(value, _)| value));
        assert_eq!(said, want.map(|(_, stands)| stands));
    }

    #[test]
    fn a_silence_begins_the_waiting_anew_but_ends_no_alarm() {
        let ladder = ladder(&[(Severity::High, 90.0, 90.0, 10)], 0);
        let mut track = Track::default();
        track.step(&ladder, 95.0, 1_000_000, GAP);
        track.step(&ladder, 95.0, 100_000_000, GAP);
        assert_eq!(track.stands(&ladder), Some((Standing::Pending, Severity::High)));
        track.step(&ladder, 95.0, 110_000_000, GAP);
        track.step(&ladder, 95.0, 900_000_000, GAP);
        assert_eq!(track.stands(&ladder), Some((Standing::Firing, Severity::High)));
    }

    proptest! {
        #[test]
        fn nothing_changes_within_the_band(
            first in prop_oneof![Just(100.0), Just(10.0)],
            inside in proptest::collection::vec(80.0f64..=90.0, 1..200), wait in 0i64..5, clear in 0i64..5,
        ) {
            let ladder = ladder(&[(Severity::High, 90.0, 80.0 - 1e-9, wait)], clear);
            // Long enough beyond (or below) to be settled, then anything in the band.
            let values: Vec<f64> = std::iter::repeat_n(first, 10).chain(inside).collect();
            let said = run(&ladder, &values);
            let settled = said[9];
            prop_assert!(settled.is_some() == (first > 90.0));
            prop_assert!(said[9..].iter().all(|stands| *stands == settled), "{:?}", said);
        }

        #[test]
        fn a_fired_level_has_held_for_its_time(values in proptest::collection::vec(0.0f64..100.0, 1..100), wait in 0usize..6) {
            let ladder = ladder(&[(Severity::High, 50.0, 30.0, wait as i64)], 0);
            let said = run(&ladder, &values);
            for at in 0..values.len() {
                let began = matches!(said[at], Some((Standing::Firing, _)))
                    && (at == 0 || !matches!(said[at - 1], Some((Standing::Firing, _))));
                if began {
                    prop_assert!(at >= wait && values[at - wait..=at].iter().all(|value| *value > 50.0));
                }
            }
        }
    }
}
