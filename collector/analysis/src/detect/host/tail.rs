//! What is usual for a score: quantiles that follow it, and how rare a value is.

use serde::{Deserialize, Serialize};

use super::config::Pace;
use super::numbers::Numbers;

/// Puts scores of different parts on one scale: the running median is 0, the running 98 % quantile 1.
///
/// Both follow by small steps up and down (stochastic approximation), so that one incident, however
/// far, moves them by a bounded amount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Yardstick {
    middle: Option<f64>,
    upper: f64,
    rows: f64,
}

impl Yardstick {
    const UPPER: f64 = 0.98;

    pub fn new() -> Self {
        Self { middle: None, upper: 0.0, rows: 0.0 }
    }

    /// `value` on the common scale, then learned.
    pub fn measure(&mut self, value: f64, pace: Pace, days: f64, weight: f64) -> f64 {
        let middle = *self.middle.get_or_insert_with(|| {
            self.upper = value + 0.1;
            value
        });
        let width = (self.upper - middle).max(1e-3);
        let rate = pace.rate(days).max(1.0 / (self.rows / 4.0 + 2.0)) * width * weight;
        self.rows += 1.0;
        self.middle = Some(middle + if value > middle { 0.5 * rate } else { -0.5 * rate });
        let up = if value > self.upper { Self::UPPER } else { Self::UPPER - 1.0 };
        self.upper += 2.0 * rate * up;
        (value - middle) / width
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
            let measured = yard.measure(dice.normal(), pace, 3.5, 1.0);
            if row >= 10_000 {
                below += u32::from(measured < 0.0);
                above += u32::from(measured > 1.0);
            }
        }
        assert!((4_700..5_300).contains(&below), "{below}");
        assert!((130..290).contains(&above), "{above}");
    }

    #[test]
    fn tail_means_what_it_says() {
        let mut tail = Tail::new();
        let mut dice = Dice::new(2);
        let rare = (0..100_000).filter(|_| tail.measure(dice.share() * 3.0) < 0.01).count();
        assert!((700..1_400).contains(&rare), "{rare}");
    }
}
