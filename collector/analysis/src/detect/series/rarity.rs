//! The calibrated tail of a surprise that is itself counted in powers of ten.
//!
//! A histogram with even bins. Where at least [`ENOUGH`] points of the past lie above, the share of the
//! past is the answer (a rank, so it is calibrated for any distribution that stays); farther out the tail
//! goes on as an exponential through the mean excess, the limit of most light tails (Balkema and de
//! Haan 1974, Pickands 1975). Sums of ranks in powers of ten do fall off that way. How the claims fare
//! is measured in `tests/series_calibration.rs`.

use serde::{Deserialize, Serialize};

use super::arrays;
use super::past::Past;
use super::tail::{next, MEMORY};

/// Bins; the last takes all that lies beyond.
const BINS: usize = 22;
/// Width of a bin, powers of ten.
const WIDTH: f32 = 0.75;
/// Points above which the past is trusted as it is.
const ENOUGH: f32 = 10.0;
/// The steepest fall that is believed: a tenth for so many powers of ten of surprise.
const EXCESS_MIN: f32 = 0.35;

/// How rare a surprise is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tail {
    /// The probability, never less than one point in all that are remembered: what is rarer than the
    /// past is long cannot be known (on heavy tails a bolder claim was wrong by a factor of 3 to 40). Within
    /// the past never bolder than `extrapolated`.
    pub claimed: f64,
    /// -log10 of the probability as the exponential tail has it, without that bound: for putting in order.
    pub extrapolated: f32,
}

/// The past of a surprise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rarity {
    #[serde(with = "arrays")]
    counts: [u16; BINS],
    seen: u16,
}

impl Default for Rarity {
    fn default() -> Self {
        Self { counts: [0; BINS], seen: 0 }
    }
}

impl Rarity {
    /// The probability of a surprise (≥ 0) this large or larger, in (0, 1].
    pub fn tail(&self, surprise: f32) -> Tail {
        let place = (surprise / WIDTH).clamp(0.0, 1e6);
        let total = f32::from(self.seen) + 1.0;
        let (edge, above, excess) = self.edge();
        let (extrapolated, share) = if place <= edge || edge == 0.0 {
            // Between the edges of a bin as an exponential too. Where nearly all of the past was no surprise
            // at all, nothing is known of the tail, and a first surprise is one in so many points, no more.
            let bin = (place as usize).min(BINS - 1);
            let beyond: u32 = self.counts[bin + 1..].iter().map(|count| u32::from(*count)).sum();
            let (lower, upper) = ((beyond + u32::from(self.counts[bin]) + 1) as f32, (beyond + 1) as f32);
            let within = (place - bin as f32).min(1.0);
            let extrapolated = total.log10() - lower.log10() * (1.0 - within) - upper.log10() * within;
            // What is claimed takes the bin as evenly filled: where nearly all of the past is in one bin, a point near
            // its upper edge has the exponential's rarity only if the past was an exponential within the bin.
            (extrapolated, (lower * (1.0 - within) + upper * within) / total)
        } else {
            let extrapolated =
                total.log10() - (above + 1.0).log10() + (place - edge) / excess * std::f32::consts::LOG10_E;
            (extrapolated, 10f32.powf(-extrapolated))
        };
        let claimed = f64::from(share).clamp(1.0 / f64::from(total), 1.0);
        Tail { extrapolated: extrapolated.max(0.0), claimed }
    }

    /// The highest bin edge with [`ENOUGH`] points above, the number above, and their mean excess (bins).
    fn edge(&self) -> (f32, f32, f32) {
        let (mut above, mut weighted) = (0.0, 0.0);
        for (bin, count) in self.counts.iter().enumerate().rev() {
            weighted += above;
            above += f32::from(*count);
            weighted += f32::from(*count) / 2.0;
            if above >= ENOUGH || bin == 0 {
                // One more point is imagined two bins out: a tail of one bin is not believed at once.
                let excess = (weighted + 2.0) / (above + 1.0);
                return (bin as f32, above, excess.max(EXCESS_MIN / WIDTH));
            }
        }
        (0.0, 0.0, 1.0)
    }

    /// What is remembered.
    pub fn past(&self) -> Past {
        Past { points: self.seen, odd: self.seen - self.counts[0] }
    }

    /// Takes a surprise into the past.
    pub fn push(&mut self, surprise: f32, random: &mut u32) {
        let bin = ((surprise / WIDTH).max(0.0) as usize).min(BINS - 1);
        self.counts[bin] += 1;
        self.seen += 1;
        if self.seen >= MEMORY {
            self.seen = 0;
            for count in &mut self.counts {
                *count = (*count + (next(random) & 1) as u16) / 2;
                self.seen += *count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Surprises whose true tail is 10^-s.
    fn exponential(at: u64) -> f32 {
        let mixed = (at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        -(((mixed >> 40) as f32 + 0.5) / (1u64 << 24) as f32).log10()
    }

    #[test]
    fn claims_what_is_true_within_and_beyond_the_past() {
        let mut rarity = Rarity::default();
        let mut random = 1;
        for at in 0..20_000 {
            rarity.push(exponential(at), &mut random);
        }
        for (surprise, factor) in [(1.0, 1.15), (2.0, 1.2), (3.0, 1.5), (4.0, 2.5), (5.0, 4.0)] {
            let claim = 10f32.powf(surprise - rarity.tail(surprise).extrapolated);
            assert!((1.0 / factor..factor).contains(&claim), "10^-{surprise}: {claim} of it");
        }
        assert_eq!(rarity.tail(9.0).claimed, 1.0 / 20_001.0);
    }

    #[test]
    fn a_point_where_nearly_all_of_the_past_lies_claims_nothing_rare() {
        let mut rarity = Rarity::default();
        let mut random = 1;
        for at in 0..10_000u32 {
            rarity.push(if at.is_multiple_of(1_000) { 3.0 } else { 0.7 }, &mut random);
        }
        let always = rarity.tail(0.7);
        assert!(always.claimed > 0.05, "{always:?}: it happens 999 times of 1,000");
        assert!(always.extrapolated > 2.5, "{always:?}: only the claim is this careful");
        let rare = rarity.tail(3.0).claimed;
        assert!((0.5e-3..2e-3).contains(&rare), "{rare}: it happens once in 1,000");
    }

    #[test]
    fn knows_nothing_at_first_and_never_claims_zero() {
        let mut rarity = Rarity::default();
        assert_eq!(rarity.tail(0.0), Tail { claimed: 1.0, extrapolated: 0.0 });
        rarity.push(1.0, &mut 1);
        assert_eq!(rarity.tail(1e9).claimed, 0.5);
    }
}
