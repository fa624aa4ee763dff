//! One series as the collector keeps it: the detector that the configuration asks for, and the last
//! anomalies for the hot view. The list of anomalies exists from the first one on; before, it is a null
//! pointer.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::classical::ClassicalDetector;
use super::config::SeriesConfig;
use super::detector::{Lesson, SeriesDetector};
use super::past::Past;
use super::verdict::Verdict;

/// A point that was an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// When, µs since 1970.
    pub at_us: i64,
    /// The value.
    pub value: f64,
    /// What was said of it.
    pub verdict: Verdict,
}

/// A series' detector and its last anomalies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesMonitor {
    detector: Detector,
    // A box of a deque: one word where there is none, which is most series.
    #[allow(clippy::box_collection)]
    recent: Option<Box<VecDeque<Anomaly>>>,
}

// The large one is the usual one; boxing it would cost an allocation and a cache miss a series.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Detector {
    Ranked(SeriesDetector),
    Classical(Box<ClassicalDetector>),
}

impl SeriesMonitor {
    /// A monitor that has seen nothing.
    pub fn new(seed: u32, config: &SeriesConfig) -> Self {
        let detector = match config.classical {
            Some(_) => Detector::Classical(Box::default()),
            None => Detector::Ranked(SeriesDetector::new(seed)),
        };
        Self { detector, recent: None }
    }

    /// Judges the next point, learns from it, and keeps it if it is an anomaly. A monitor whose kind of
    /// detector is no longer the configured one begins anew.
    pub fn update(&mut self, at_us: i64, value: f64, config: &SeriesConfig) -> Verdict {
        let (verdict, lesson) = self.judge(at_us, value, config);
        if let Some(lesson) = lesson {
            self.learn(&lesson, config);
        }
        verdict
    }

    /// [`update`](Self::update) without learning: what the point teaches is given back, to be learned before the
    /// next one comes, or not at all. The classical detector always learns at once.
    pub fn judge(&mut self, at_us: i64, value: f64, config: &SeriesConfig) -> (Verdict, Option<Lesson>) {
        let (verdict, lesson) = match (&mut self.detector, config.classical) {
            (Detector::Ranked(detector), None) => detector.judge(at_us, value, config),
            (Detector::Classical(detector), Some(classical)) => {
                (detector.update(at_us, value, classical), None)
            }
            _ => {
                self.detector = Self::new(1, config).detector;
                return self.judge(at_us, value, config);
            }
        };
        if verdict.severity.is_some() {
            self.keep(Anomaly { at_us, value, verdict }, config.kept_anomalies);
        }
        (verdict, lesson)
    }

    /// Learns from the point that was judged last.
    pub fn learn(&mut self, lesson: &Lesson, config: &SeriesConfig) {
        if let Detector::Ranked(detector) = &mut self.detector {
            detector.learn(lesson, config);
        }
    }

    /// Whether it has seen too little to be surprised.
    pub fn is_learning(&self, config: &SeriesConfig) -> bool {
        match &self.detector {
            Detector::Ranked(detector) => detector.points() <= config.learning_points,
            Detector::Classical(_) => false,
        }
    }

    /// What its claims are made from; nothing with the classical detector.
    pub fn past(&self) -> Past {
        match &self.detector {
            Detector::Ranked(detector) => detector.past(),
            Detector::Classical(_) => Past::default(),
        }
    }

    /// The last anomalies, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = &Anomaly> {
        self.recent.iter().flat_map(|recent| recent.iter())
    }

    /// Points refused so far: not a number, infinite, or not after the one before.
    pub fn refused(&self) -> u32 {
        match &self.detector {
            Detector::Ranked(detector) => detector.refused(),
            Detector::Classical(detector) => detector.refused(),
        }
    }

    fn keep(&mut self, anomaly: Anomaly, most: usize) {
        let recent = self.recent.get_or_insert_default();
        recent.push_back(anomaly);
        while recent.len() > most {
            recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Classical;
    use super::*;

    #[test]
    fn keeps_the_last_fifty_anomalies_and_nothing_before_the_first() {
        let config = SeriesConfig { classical: Some(Classical::default()), ..SeriesConfig::default() };
        let mut monitor = SeriesMonitor::new(1, &config);
        for at in 0..100 {
            monitor.update(at, (at % 2) as f64, &config);
        }
        assert!(monitor.recent.is_none());
        for at in 100..10_000 {
            let spike = if at % 100 == 0 { 50.0 } else { 0.0 };
            monitor.update(at, (at % 2) as f64 + spike, &config);
        }
        let times: Vec<i64> = monitor.recent().map(|anomaly| anomaly.at_us).collect();
        assert_eq!((times.len(), times[0], times[49]), (50, 5_000, 9_900));
    }

    #[test]
    fn another_configuration_begins_anew() {
        let classical = SeriesConfig { classical: Some(Classical::default()), ..SeriesConfig::default() };
        let mut monitor = SeriesMonitor::new(1, &SeriesConfig::default());
        monitor.update(1, 1.0, &classical);
        assert!(matches!(monitor.detector, Detector::Classical(_)));
    }
}
