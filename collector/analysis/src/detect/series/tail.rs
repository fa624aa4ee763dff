//! How rare a statistic is, by its own past: a small histogram with logarithmic bins.
//!
//! Each statistic is ranked among what the same series did before, so no distribution is assumed:
//! what spikes every minute stops being odd. A value above all seen before gets the share of one point
//! (the rule of succession, Laplace), shrunk by 1/(1+z²) (the tail of a distribution without a
//! variance), so that far is rarer than just above. Counts are 16 bits; at [`MEMORY`] points all are
//! halved, odd counts rounded up or down at random (a generator that is part of the state, so a replay
//! gives the same), so that a count of one is forgotten half of the time, not always or never.

use serde::{Deserialize, Serialize};

use super::arrays;

/// Bins a side.
pub const BINS: usize = 22;
/// Points after which the past is halved.
pub const MEMORY: u16 = 60_000;
/// Where the first bin ends, log2 of standard deviations.
const FIRST_LOG2: f32 = -1.5;
/// Bins an octave: a factor of 1.26 each, from 0.35 to 57 standard deviations.
const BINS_AN_OCTAVE: f32 = 3.0;

/// Counts of one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Side(#[serde(with = "arrays")] [u16; BINS]);

impl Side {
    const EMPTY: Self = Self([0; BINS]);

    /// Points at or above this size; the bin it falls in is taken as evenly filled.
    fn above(&self, size: f32) -> f32 {
        let place = place(size);
        let bin = place as usize;
        let within = f32::from(self.0[bin]) * (bin as f32 + 1.0 - place);
        let beyond: u32 = self.0[bin + 1..].iter().map(|count| u32::from(*count)).sum();
        within + beyond as f32
    }

    fn halve(&mut self, random: &mut u32) -> u16 {
        let mut left = 0;
        for count in &mut self.0 {
            *count = (*count + (next(random) & 1) as u16) / 2;
            left += *count;
        }
        left
    }
}

/// Which bin, and how far into it.
fn place(size: f32) -> f32 {
    ((size.max(1e-9).log2() - FIRST_LOG2) * BINS_AN_OCTAVE).clamp(0.0, BINS as f32 - 0.001)
}

/// Marsaglia's xorshift.
pub(super) fn next(random: &mut u32) -> u32 {
    let mut word = (*random).max(1);
    word ^= word << 13;
    word ^= word >> 17;
    word ^= word << 5;
    *random = word;
    word
}

/// The past of a statistic that is odd when large.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OneSided {
    side: Side,
    seen: u16,
}

impl Default for OneSided {
    fn default() -> Self {
        Self { side: Side::EMPTY, seen: 0 }
    }
}

impl OneSided {
    /// The share of the past at or above `size` (≥ 0), in (0, 1].
    pub fn share(&self, size: f32) -> f32 {
        share(self.side.above(size), size, 1.0, self.seen)
    }

    /// Takes a size into the past.
    pub fn push(&mut self, size: f32, random: &mut u32) {
        self.side.0[place(size) as usize] += 1;
        self.seen += 1;
        if self.seen >= MEMORY {
            self.seen = self.side.halve(random);
        }
    }
}

/// The past of a statistic that is odd when far from zero on either side, each side ranked by itself:
/// most metrics spike one way only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TwoSided {
    up: Side,
    down: Side,
    seen: u16,
}

impl Default for TwoSided {
    fn default() -> Self {
        Self { up: Side::EMPTY, down: Side::EMPTY, seen: 0 }
    }
}

impl TwoSided {
    /// Twice the share of the past at or beyond `z` on its side, in (0, 1].
    pub fn share(&self, z: f32) -> f32 {
        let side = if z < 0.0 { &self.down } else { &self.up };
        share(side.above(z.abs()), z.abs(), 2.0, self.seen)
    }

    /// Takes a value into the past.
    pub fn push(&mut self, z: f32, random: &mut u32) {
        let side = if z < 0.0 { &mut self.down } else { &mut self.up };
        side.0[place(z.abs()) as usize] += 1;
        self.seen += 1;
        if self.seen >= MEMORY {
            self.seen = self.up.halve(random) + self.down.halve(random);
        }
    }
}

fn share(above: f32, size: f32, sides: f32, seen: u16) -> f32 {
    let unseen = 1.0 / (1.0 + size * size);
    (sides * (above + unseen) / (f32::from(seen) + 1.0)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_past_finds_nothing_odd_but_the_extreme() {
        let tail = TwoSided::default();
        assert_eq!(tail.share(0.5), 1.0);
        assert!(tail.share(30.0) < 0.01);
    }

    #[test]
    fn the_share_is_that_of_the_past_on_the_same_side() {
        let mut tail = TwoSided::default();
        let mut random = 7;
        for at in 0..10_000 {
            tail.push(if at % 100 == 0 { 8.0 } else { -1.0 }, &mut random);
        }
        assert!((tail.share(7.0) - 0.02).abs() < 0.002, "{}", tail.share(7.0));
        assert!(tail.share(-8.0) < 1e-4);
        assert!(tail.share(-0.9) > 0.9);
    }

    #[test]
    fn forgetting_keeps_the_proportions() {
        let mut tail = OneSided::default();
        let mut random = 7;
        for at in 0..1_000_000 {
            tail.push(if at % 1_000 == 0 { 20.0 } else { 0.1 }, &mut random);
        }
        let share = tail.share(18.0);
        assert!((0.0006..0.0016).contains(&share), "{share}");
        assert!(tail.seen < MEMORY);
    }
}
