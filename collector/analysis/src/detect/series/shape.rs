//! Transitions between coarse levels: how often this step from one level to the next was seen.
//!
//! The value's place against level and spread is cut into six levels (a tanh keeps the outer ones open),
//! and the 36 steps between consecutive levels are counted: a Markov chain of order one. A step that was
//! rare before is odd, whatever its size.

use serde::{Deserialize, Serialize};

use super::arrays;

const LEVELS: usize = 6;
const STEPS: usize = LEVELS * LEVELS;
/// Standard deviations at which the tanh has done three quarters of its way.
const WIDTH: f32 = 1.5;

/// A step from one level to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step(u8);

/// Counts of steps between levels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    #[serde(with = "arrays")]
    counts: [u16; STEPS],
    seen: u16,
    last: u8,
}

impl Default for Steps {
    fn default() -> Self {
        Self { counts: [0; STEPS], seen: 0, last: u8::MAX }
    }
}

impl Steps {
    /// Takes the next value, as its distance from the level in standard deviations, for the place to go on
    /// from; returns how rare the step to it was before, -log10 of its share of all steps, 0 for the first,
    /// and the step, to be counted.
    pub fn step(&mut self, z: f32) -> (f32, Option<Step>) {
        let level = (((z / WIDTH).tanh() * 0.5 + 0.5) * LEVELS as f32).clamp(0.0, LEVELS as f32 - 1.0) as u8;
        let last = std::mem::replace(&mut self.last, level);
        if last == u8::MAX {
            return (0.0, None);
        }
        let step = last * LEVELS as u8 + level;
        let count = self.counts[usize::from(step)];
        let rarity = (f32::from(self.seen + 1) / (f32::from(count) + 0.5)).log10();
        (rarity, Some(Step(step)))
    }

    /// Takes a step into the past.
    pub fn count(&mut self, step: Step) {
        self.counts[usize::from(step.0)] += 1;
        self.seen += 1;
        if self.seen >= super::tail::MEMORY {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.seen = self.counts.iter().sum();
        }
    }

    /// After a gap the next value begins anew.
    pub fn interrupt(&mut self) {
        self.last = u8::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Steps {
        fn push(&mut self, z: f32) -> f32 {
            let (rarity, step) = self.step(z);
            step.into_iter().for_each(|step| self.count(step));
            rarity
        }
    }

    #[test]
    fn a_step_never_seen_is_rarer_than_the_usual_one() {
        let mut steps = Steps::default();
        let mut usual = 0.0;
        for at in 0..1_000 {
            usual = steps.push(if at % 2 == 0 { -2.0 } else { 2.0 });
        }
        assert!(usual < 0.4, "{usual}");
        assert!(steps.push(0.0) > 3.0);
    }

    #[test]
    fn survives_more_steps_than_it_counts() {
        let mut steps = Steps::default();
        let most = (0..200_000).map(|at| steps.push((at % 7) as f32 - 3.0)).skip(100).fold(0.0, f32::max);
        assert!(most < 2.0, "{most}");
    }
}
