//! What is usual for a score: quantiles that follow it, and how rare a value is.

use serde::{Deserialize, Serialize};

use super::config::Pace;
use super::numbers::Numbers;

/// Puts scores of different parts on one scale: the running median is 0, the running 90 % quantile 1.
///
/// At first the quantiles are read off a histogram of the newest quarter of the rows, because the first
/// scores of a part that has learned nothing are far too high. Later both follow by small steps up and
/// down (stochastic approximation), so that one incident, however far, moves them by a bounded amount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Yardstick {
    middle: f64,
    upper: f64,
    rows: f64,
    counts: Numbers<f32>,
    weight: f32,
}

impl Yardstick {
    const UPPER: f64 = 0.9;
    /// Rows read off the histogram.
    const FIRST_ROWS: f64 = 4000.0;
    /// The histogram's range, which holds every part's scores, and its bins.
    const RANGE: f64 = 8.0;
    const BINS: usize = 512;
    /// Rows between two readings of the histogram.
    const EVERY: f64 = 16.0;

    pub fn new() -> Self {
        Self { middle: 0.0, upper: 0.0, rows: 0.0, counts: Numbers::of(0.0, Self::BINS), weight: 1.0 }
    }

    pub fn bytes(&self) -> usize {
        self.counts.bytes()
    }

    /// `value` (0 to 8) on the common scale, then learned; `weight` from 0 to 1.
    pub fn measure(&mut self, value: f64, pace: Pace, days: f64, weight: f64) -> f64 {
        let width = (self.upper - self.middle).max(1e-3);
        let measured = if self.rows < Self::EVERY { 0.0 } else { (value - self.middle) / width };
        let quarter = 1.0 / (self.rows / 4.0 + 2.0);
        if self.rows < Self::FIRST_ROWS {
            let bin = (value / Self::RANGE * Self::BINS as f64) as usize;
            self.weight /= 1.0 - quarter as f32;
            self.counts[bin.min(Self::BINS - 1)] += self.weight * weight as f32;
            if self.rows % Self::EVERY == Self::EVERY - 1.0 {
                self.middle = self.quantile(0.5);
                self.upper = self.quantile(Self::UPPER);
            }
        } else {
            let rate = pace.rate(days).max(quarter) * width * weight;
            self.middle += if value > self.middle { 0.5 * rate } else { -0.5 * rate };
            self.upper += rate * if value > self.upper { Self::UPPER } else { Self::UPPER - 1.0 };
        }
        self.rows += 1.0;
        measured
    }

    fn quantile(&self, share: f64) -> f64 {
        let mut left = share as f32 * self.counts.iter().sum::<f32>();
        for (bin, count) in self.counts.iter().enumerate() {
            if *count > 0.0 && left <= *count {
                return (bin as f64 + f64::from(left / count)) * Self::RANGE / Self::BINS as f64;
            }
            left -= count;
        }
        Self::RANGE
    }
}

/// Share of past rows with a score as high: a histogram on a logarithmic scale, older rows forgotten.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tail {
    counts: Numbers<f32>,
    total: f32,
}

impl Tail {
    const BINS: usize = 256;
    /// Where the counts are halved: a tail of one in 100,000 can still be told.
    const FULL: f32 = 1_000_000.0;

    pub fn new() -> Self {
        Self { counts: Numbers::of(0.0, Self::BINS), total: 0.0 }
    }

    pub fn bytes(&self) -> usize {
        self.counts.bytes()
    }

    /// Rows that the next tail is counted in.
    pub fn rows(&self) -> f32 {
        self.total
    }

    /// The tail probability of `value` ≥ 0 among the rows before, then learned. Never below half a row
    /// in all that was seen: rarer than that cannot be known.
    pub fn measure(&mut self, value: f64) -> f64 {
        let place = ((value.max(0.0) + 1.0).ln() * 64.0).min(Self::BINS as f64 - 1.0);
        let bin = place as usize;
        let own = self.counts[bin] * (1.0 - place.fract() as f32);
        let above: f32 = self.counts[bin + 1..].iter().sum::<f32>() + own;
        let tail = (above + 0.5) / (self.total + 1.0);
        self.counts[bin] += 1.0;
        self.total += 1.0;
        if self.total > Self::FULL {
            self.total = 0.0;
            for count in self.counts.iter_mut() {
                *count *= 0.5;
                self.total += *count;
            }
        }
        f64::from(tail.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::dice::Dice;
    use super::*;

    #[test]
    fn yardstick_finds_the_quantiles() {
        let mut yard = Yardstick::new();
        let mut dice = Dice::new(2);
        let (mut below, mut above) = (0, 0);
        for row in 0..20_000 {
            let pace = Pace { seconds: 300.0, rows: f64::from(row) };
            let measured =
                yard.measure(4.0 + dice.normal() * 0.3 + 3.0 / (1.0 + f64::from(row)), pace, 3.5, 1.0);
            if (2_000..12_000).contains(&row) {
                below += u32::from(measured < 0.0);
                above += u32::from(measured > 1.0);
            }
        }
        assert!((4_700..5_300).contains(&below), "{below}");
        assert!((850..1_150).contains(&above), "{above}");
    }

    #[test]
    fn tail_means_what_it_says() {
        let mut tail = Tail::new();
        let mut dice = Dice::new(2);
        let rare = (0..100_000).filter(|_| tail.measure(dice.share() * 3.0) < 0.01).count();
        assert!((700..1_400).contains(&rare), "{rare}");
    }
}
