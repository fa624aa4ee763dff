//! The classical detector, by configuration: a sliding window of values, and a point is an anomaly
//! when it lies so many standard deviations from the window's mean. Known everywhere, easily explained,
//! and on normal data in alarm at every twentieth point with the customary 2.0; kept for those who want
//! what they know. Its window is what it remembers: 100 points of 8 bytes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::config::Classical;
use super::verdict::{Reason, Severity, Verdict};

/// Points before the first judgement.
const LEARNING_POINTS: usize = 10;

/// State of one series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassicalDetector {
    window: VecDeque<f64>,
    at_us: Option<i64>,
    refused: u32,
}

impl ClassicalDetector {
    /// Points refused so far: not a number, infinite, or not after the one before.
    pub fn refused(&self) -> u32 {
        self.refused
    }

    /// Judges the next point against the window before it, then takes it in.
    pub fn update(&mut self, at_us: i64, value: f64, config: Classical) -> Verdict {
        if !value.is_finite() || self.at_us.is_some_and(|before| at_us <= before) {
            self.refused = self.refused.saturating_add(1);
            return Verdict::none();
        }
        self.at_us = Some(at_us);
        let verdict = self.judge(value, config);
        while self.window.len() >= usize::from(config.window_points.max(2)) {
            self.window.pop_front();
        }
        self.window.push_back(value);
        verdict
    }

    fn judge(&self, value: f64, config: Classical) -> Verdict {
        if self.window.len() < LEARNING_POINTS {
            return Verdict::none();
        }
        let count = self.window.len() as f64;
        let mean = self.window.iter().sum::<f64>() / count;
        let deviation = (self.window.iter().map(|old| (old - mean).powi(2)).sum::<f64>() / count).sqrt();
        let threshold = f64::from(config.threshold_sigmas);
        let half = threshold * deviation;
        // A window without spread says nothing of how far is far.
        let sigmas = if deviation > 0.0 { (value - mean) / deviation } else { 0.0 };
        let share = (sigmas.abs() / threshold) as f32;
        let alarm = share >= 1.0;
        Verdict {
            score: if alarm { 1.0 - 0.5 * (1.0 - share).exp() } else { 0.5 * share.min(0.9999) },
            // Chebyshev: what holds for every distribution.
            tail: (1.0 / (sigmas * sigmas)).min(1.0),
            low: (mean - half) as f32,
            high: (mean + half) as f32,
            severity: alarm.then(|| Severity::of_share(share)),
            reason: if alarm {
                Reason::Spike { value, level: mean, sigmas: sigmas as f32 }
            } else {
                Reason::Usual
            },
            ..Verdict::none()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_beyond_two_standard_deviations_of_the_last_hundred() {
        let mut detector = ClassicalDetector::default();
        for at in 0..300 {
            detector.update(at, if at % 2 == 0 { 1.0 } else { 3.0 }, Classical::default());
        }
        assert!(detector.update(300, 3.9, Classical::default()).score < 0.5);
        let verdict = detector.update(301, 4.5, Classical::default());
        assert!(verdict.score >= 0.5 && verdict.severity.is_some(), "{verdict:?}");
        assert_eq!(detector.window.len(), 100);
        assert!(detector.update(302, f64::NAN, Classical::default()).score == 0.0);
        assert_eq!(detector.refused(), 1);
    }
}
