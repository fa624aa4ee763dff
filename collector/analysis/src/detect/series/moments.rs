//! Running means that begin as plain averages and go on forgetting.
//!
//! The first `span` values weigh the same; from then on each older value weighs a factor 1 - 1/span
//! less. So the first hours of a series are used in full, and a level shift is learned in about `span`
//! points instead of being alarmed for ever. The number of points seen is kept by the caller once for
//! all its means.

use serde::{Deserialize, Serialize};

/// An exponentially forgetting mean, in the unit of what it is fed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean(pub f32);

impl Mean {
    /// Takes in the value number `count` (from 1) with a memory of `span` points; returns the new mean.
    pub fn push(&mut self, value: f32, count: f32, span: f32) -> f32 {
        self.0 += (value - self.0) / count.min(span);
        self.0
    }
}

/// How far from usual, in standard deviations, bounded by [`Z_MAX`] so that a series without spread
/// gives a number too: any move of a constant is as far as can be.
pub fn standardised(deviation: f32, variance: f32) -> f32 {
    if variance > 0.0 {
        (deviation / variance.sqrt()).clamp(-Z_MAX, Z_MAX)
    } else if deviation == 0.0 {
        0.0
    } else {
        Z_MAX.copysign(deviation)
    }
}

/// More standard deviations than this are not told apart.
pub const Z_MAX: f32 = 64.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_as_the_average_and_then_forgets() {
        let mut mean = Mean::default();
        for (at, value) in [2.0, 4.0, 9.0].into_iter().enumerate() {
            mean.push(value, at as f32 + 1.0, 100.0);
        }
        assert_eq!(mean.0, 5.0);
        for count in 4..2_000 {
            mean.push(50.0, count as f32, 100.0);
        }
        assert!((mean.0 - 50.0).abs() < 1e-3, "{mean:?}");
    }

    #[test]
    fn a_constant_that_moves_is_as_odd_as_can_be() {
        assert_eq!(standardised(0.0, 0.0), 0.0);
        assert_eq!(standardised(-1e-20, 0.0), -Z_MAX);
        assert_eq!(standardised(6.0, 4.0), 3.0);
        assert_eq!(standardised(1.0, 1e-38), Z_MAX);
    }
}
