//! A sudden change of a whole host: by how many doublings its features go beyond all they were ever seen to do.
//!
//! The other views of a host ask how rare a second is among thousands, and need thousands to say so; a host that is
//! minutes old has not got them, and of thousands of series some break their record every second. The fifty
//! features of the host are few, and a fault seldom breaks their records by little: a hundred times the usual
//! context switches is seven doublings. So:
//!
//! 1. A feature's distance from its level, in its usual distances (or, where that is more, in the least amount of
//!    it that matters to anybody), is held against the greatest that was seen; once for the second and once for the
//!    mean of the last four, since a processor that is busy for a second is nothing and for four is something.
//!    What counts is the logarithm of the ratio to base two, up to [`SurgeConfig::clip`].
//! 2. Their sum over the features, and over the programs that take more than they ever took ([`super::programs`]),
//!    is held against what is needed, which moves by itself as the panel's does (`detect/threshold.rs`): up with each
//!    report, down by as many as are allowed in the time gone by. A host seen for less than
//!    [`SurgeConfig::young_s`] has shown little of what it does, and needs more.
//! 3. Nothing odd is learned while a trouble lasts. Within it only what is no part of it is reported: features that
//!    were not odd so far, or are eight times as odd as they were. When it is over a record has doubled at most, so that
//!    what comes back all day is usual after a few times, and a rare fault stays one.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::programs::Beyond;
use super::verdict::Direction;
use crate::detect::series::Severity;
use crate::detect::threshold::{Moves, Threshold};

/// When a change is a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SurgeConfig {
    /// Reports a day that what is needed settles at when nothing is wrong.
    pub reports_a_day: f32,
    /// Doublings needed at first.
    pub start: f32,
    /// Never fewer.
    pub least: f32,
    /// Never more.
    pub most: f32,
    /// What a report adds.
    pub step: f32,
    /// Seconds of a host before its first report.
    pub learning_s: u32,
    /// A host seen for less than this needs more, in seconds: [`YOUNG`] doublings for a tenth of it.
    pub young_s: f32,
    /// A trouble is over after this many seconds in which nothing was odd.
    pub calm_s: u32,
    /// A feature that is odd for this many seconds of a trouble is learned all the same.
    pub adopt_after_s: u32,
    /// Doublings of one feature that count at most.
    pub clip: f32,
}

impl Default for SurgeConfig {
    fn default() -> Self {
        Self {
            reports_a_day: 0.5,
            start: 3.0,
            least: 2.5,
            most: 8.0,
            step: 0.5,
            learning_s: 300,
            young_s: 1_800.0,
            calm_s: 60,
            adopt_after_s: 600,
            clip: 4.0,
        }
    }
}

impl SurgeConfig {
    fn moves(&self) -> Moves {
        let Self { least, most, step, reports_a_day, .. } = *self;
        Moves { least, most, step, reports_a_day }
    }
}

/// What a host of a tenth of [`SurgeConfig::young_s`] needs more, doublings.
pub const YOUNG: f32 = 1.3;
/// Features that one report names at most.
pub const TOLD: usize = 5;
/// Seconds of the two means.
const SPANS: [usize; 2] = [1, 4];
/// Points of a feature before it counts.
const LEARNED: u32 = 60;
/// Points before a single one is kept from moving level and spread much.
const FIRST: u32 = 20;
/// Memory of level and spread, points.
const MEMORY: f32 = 300.0;
/// No point moves level and spread by more than this many usual distances.
const PULL: f32 = 4.0;
/// A record below this many usual distances is none.
const RECORD: f32 = 4.0;
/// Within a trouble, what is part of it counts only from so many times its peak on.
pub(super) const WORSE: f32 = 8.0;
/// What a record loses in a second: half of it in a week.
pub(super) const FADES: f32 = 1.15e-6;

/// What is known of one feature; distances in usual ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Feature {
    points: u32,
    level: f32,
    spread: f32,
    /// The greatest distance seen, by span.
    record: [f32; SPANS.len()],
    /// The greatest in the present trouble.
    peak: [f32; SPANS.len()],
    /// Seconds of the present trouble in which it was odd.
    odd_s: u32,
}

/// Where a feature stands in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Stand {
    /// Distances by span.
    distance: [f32; SPANS.len()],
    /// Doublings beyond the record, and beyond the present trouble too.
    beyond_record: f32,
    beyond_trouble: f32,
    seen: f32,
}

/// State of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Surge {
    features: Vec<Feature>,
    /// The newest rows, for the longer mean; a row's place is reused by a later one.
    rows: VecDeque<Box<[f32]>>,
    /// Sums of the newest rows, by span; empty while there are too few.
    #[serde(skip)]
    sums: [Vec<f32>; SPANS.len()],
    /// Where the features stand in the second judged last.
    #[serde(skip)]
    stands: Vec<Stand>,
    second: u32,
    /// Seconds judged.
    seconds: u32,
    /// Doublings needed now, by a host that is old enough.
    threshold: Threshold,
    troubled_until: u32,
    troubled: bool,
}

/// A feature that is told of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surged {
    /// Its position.
    pub feature: usize,
    /// Doublings beyond all that was seen.
    pub doublings: f32,
    /// What it is.
    pub seen: f32,
    /// Its level.
    pub expected: f32,
    /// To which side.
    pub direction: Direction,
}

/// What is said of one second.
#[derive(Debug, Clone, PartialEq)]
pub struct SurgeVerdict {
    /// How bad, if it is to be reported.
    pub severity: Option<Severity>,
    /// Within a trouble that was reported.
    pub troubled: bool,
    /// Doublings beyond all that was seen, over all features.
    pub doublings: f32,
    /// What a report needs.
    pub needed: f32,
    /// Of a report: the features that went furthest, furthest first, at most [`TOLD`].
    pub told: Vec<Surged>,
}

impl Surge {
    /// A host of which nothing was seen, with so many features.
    pub fn new(features: usize, config: &SurgeConfig) -> Self {
        Self {
            features: vec![Feature::default(); features],
            rows: VecDeque::new(),
            sums: Default::default(),
            stands: Vec::new(),
            second: 0,
            seconds: 0,
            threshold: Threshold::new(config.start),
            troubled_until: 0,
            troubled: false,
        }
    }

    /// Judges a second's row and learns from it; NaN is no value. `matters` has for each feature the least amount
    /// that is worth a word, in its unit. `programs` are those that take more than ever, and count as features do.
    /// Seconds come in order; rows and `matters` have the length given first.
    pub fn judge(
        &mut self,
        second: u32,
        row: &[f32],
        matters: &[f32],
        programs: &[Beyond],
        config: &SurgeConfig,
    ) -> SurgeVerdict {
        self.begin(second, row, config);
        let mut stands = std::mem::take(&mut self.stands);
        stands.clear();
        stands.extend(
            (0..self.features.len())
                .map(|at| self.stand(at, row[at], matters[at].max(f32::MIN_POSITIVE), config)),
        );
        let beyond_record = stands.iter().map(|stand| stand.beyond_record).sum::<f32>()
            + programs.iter().map(|program| program.record_doublings).sum::<f32>();
        let beyond_trouble = stands.iter().map(|stand| stand.beyond_trouble).sum::<f32>()
            + programs.iter().map(|program| program.doublings).sum::<f32>();
        let young = YOUNG * (config.young_s / self.seconds as f32).log10().max(0.0);
        let needed = self.threshold.needed() + young;
        let reported = self.seconds > config.learning_s && beyond_trouble >= needed;
        if reported {
            self.threshold.report(&config.moves());
            self.troubled = true;
        }
        if self.troubled && beyond_record >= needed / 2.0 {
            self.troubled_until = second.saturating_add(config.calm_s);
        }
        for (at, stand) in stands.iter().enumerate() {
            self.learn(at, stand, row[at], matters[at], config);
        }
        let told = if reported { self.told(&stands) } else { Vec::new() };
        self.stands = stands;
        SurgeVerdict {
            severity: reported.then(|| Severity::of_share(beyond_trouble / needed)),
            troubled: self.troubled,
            doublings: beyond_trouble,
            needed,
            told,
        }
    }

    /// The clock, and the end of a trouble.
    fn begin(&mut self, second: u32, row: &[f32], config: &SurgeConfig) {
        let elapsed = if self.seconds == 0 { 0 } else { second.saturating_sub(self.second) };
        self.threshold.pass(elapsed as f32, &config.moves());
        self.seconds = self.seconds.saturating_add(1);
        if elapsed > 1 {
            self.rows.clear();
        }
        self.second = second;
        let mut newest = None;
        while self.rows.len() >= SPANS[1] {
            newest = self.rows.pop_front();
        }
        let mut newest = newest.unwrap_or_else(|| row.into());
        newest.clone_from_slice(row);
        self.rows.push_back(newest);
        for (sums, span) in self.sums.iter_mut().zip(SPANS) {
            sums.clear();
            let Some(from) = self.rows.len().checked_sub(span) else { continue };
            sums.resize(row.len(), 0.0);
            for row in self.rows.range(from..) {
                sums.iter_mut().zip(row.iter()).for_each(|(sum, value)| *sum += value);
            }
        }
        if self.troubled && second > self.troubled_until {
            self.troubled = false;
            for feature in &mut self.features {
                for (record, peak) in feature.record.iter_mut().zip(feature.peak) {
                    *record = record.max(peak.min(2.0 * record.max(RECORD)));
                }
                feature.peak = Default::default();
                feature.odd_s = 0;
            }
        }
    }

    /// The mean of a feature over the newest rows of a span; none while there are too few, or one has no value.
    fn mean(&self, at: usize, slot: usize) -> Option<f32> {
        let mean = self.sums[slot].get(at)? / SPANS[slot] as f32;
        mean.is_finite().then_some(mean)
    }

    fn stand(&self, at: usize, value: f32, matters: f32, config: &SurgeConfig) -> Stand {
        let feature = &self.features[at];
        let mut stand = Stand { seen: value, ..Stand::default() };
        if !value.is_finite() {
            return stand;
        }
        let usual = feature.spread.max(matters);
        for slot in 0..SPANS.len() {
            let Some(mean) = self.mean(at, slot) else { continue };
            let distance = (mean - feature.level).abs() / usual;
            stand.distance[slot] = distance;
            if feature.points <= LEARNED {
                continue;
            }
            let beyond = |most: f32| doublings(distance, most.max(RECORD)).min(config.clip);
            stand.beyond_record = stand.beyond_record.max(beyond(feature.record[slot]));
            let all = feature.record[slot].max(WORSE * feature.peak[slot]);
            stand.beyond_trouble = stand.beyond_trouble.max(beyond(all));
        }
        stand
    }

    fn learn(&mut self, at: usize, stand: &Stand, value: f32, matters: f32, config: &SurgeConfig) {
        let troubled = self.troubled;
        let feature = &mut self.features[at];
        if !value.is_finite() {
            return;
        }
        if troubled && stand.beyond_record > 0.0 {
            for (peak, distance) in feature.peak.iter_mut().zip(stand.distance) {
                *peak = peak.max(distance);
            }
            feature.odd_s = feature.odd_s.saturating_add(1);
            if feature.odd_s <= config.adopt_after_s {
                return;
            }
        }
        feature.points = feature.points.saturating_add(1);
        if feature.points == 1 {
            feature.level = value;
            return;
        }
        let share = (1.0 / feature.points as f32).max(1.0 / MEMORY);
        let known = feature.points > FIRST;
        let most = if known { PULL * feature.spread.max(matters) } else { f32::MAX };
        let off = value - feature.level;
        feature.level += share * off.clamp(-most, most);
        feature.spread += share * (off.abs().min(most) - feature.spread);
        if known {
            for (record, distance) in feature.record.iter_mut().zip(stand.distance) {
                *record = (*record * (1.0 - FADES)).max(distance);
            }
        }
    }

    fn told(&self, stands: &[Stand]) -> Vec<Surged> {
        let mut told: Vec<Surged> = stands
            .iter()
            .enumerate()
            .filter(|(_, stand)| stand.beyond_trouble > 0.0)
            .map(|(feature, stand)| Surged {
                feature,
                doublings: stand.beyond_trouble,
                seen: stand.seen,
                expected: self.features[feature].level,
                direction: if stand.seen >= self.features[feature].level {
                    Direction::Up
                } else {
                    Direction::Down
                },
            })
            .collect();
        told.sort_by(|a, b| b.doublings.total_cmp(&a.doublings));
        told.truncate(TOLD);
        told
    }
}

/// By how many doublings the first is more than the second; 0 when it is not.
pub(super) fn doublings(amount: f32, most: f32) -> f32 {
    if amount > most {
        (amount / most).log2()
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATTERS: [f32; 3] = [5.0, 0.05, 1_000.0];

    /// A host of three features that breathe, from a generator that gives the same each time.
    struct Host {
        surge: Surge,
        config: SurgeConfig,
        second: u32,
        random: u64,
    }

    impl Host {
        fn new() -> Self {
            let config = SurgeConfig::default();
            Self { surge: Surge::new(3, &config), config, second: 1_000, random: 7 }
        }

        fn noise(&mut self) -> f32 {
            self.random =
                self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.random >> 40) as f32 / (1u64 << 24) as f32
        }

        /// A usual second, with each feature times this.
        fn second(&mut self, times: [f32; 3]) -> SurgeVerdict {
            self.second += 1;
            let usual = [100.0 + 40.0 * self.noise(), 0.2 + 0.2 * self.noise(), 3e3 + 3e3 * self.noise()];
            let row: Vec<f32> = usual.iter().zip(times).map(|(value, times)| value * times).collect();
            self.surge.judge(self.second, &row, &MATTERS, &[], &self.config)
        }

        fn reports(&mut self, seconds: u32, times: [f32; 3]) -> Vec<SurgeVerdict> {
            (0..seconds).map(|_| self.second(times)).filter(|verdict| verdict.severity.is_some()).collect()
        }
    }

    const USUAL: [f32; 3] = [1.0; 3];

    #[test]
    fn a_feature_far_beyond_its_record_is_reported_at_once_and_named() {
        let mut host = Host::new();
        assert!(host.reports(900, USUAL).is_empty());
        let verdict = host.second([1.0, 1.0, 100.0]);
        assert!(verdict.severity.is_some(), "{verdict:?}");
        let first = verdict.told[0];
        assert_eq!((first.feature, first.direction), (2, Direction::Up));
        assert!(first.seen > 2e5 && (3e3..6e3).contains(&first.expected), "{first:?}");
    }

    #[test]
    fn a_trouble_is_one_report_and_another_fault_within_it_is_the_next() {
        let mut host = Host::new();
        host.reports(900, USUAL);
        assert_eq!(host.reports(30, [1.0, 1.0, 100.0]).len(), 1);
        let second = host.reports(30, [100.0, 1.0, 100.0]);
        assert_eq!(second.len(), 1);
        assert_eq!(second[0].told[0].feature, 0, "what is new is named: {second:?}");
    }

    #[test]
    fn the_same_fault_after_the_calm_is_reported_again_until_it_is_usual() {
        let mut host = Host::new();
        host.config.step = 0.0;
        host.reports(900, USUAL);
        let found: Vec<usize> = (0..12)
            .map(|_| {
                let found = host.reports(10, [1.0, 1.0, 100.0]).len();
                host.reports(120, USUAL);
                found
            })
            .collect();
        assert_eq!(found[..2], [1, 1], "{found:?}");
        assert_eq!(found[8..], [0; 4], "{found:?}");
    }

    #[test]
    fn what_stays_is_learned() {
        let mut host = Host::new();
        host.reports(900, USUAL);
        assert_eq!(host.reports(2_000, [1.0, 1.0, 100.0]).len(), 1);
        assert!(!host.second([1.0, 1.0, 100.0]).troubled);
    }

    #[test]
    fn a_calm_host_says_nothing_for_a_day() {
        let mut host = Host::new();
        assert!(host.reports(86_400, USUAL).is_empty());
    }

    #[test]
    fn what_is_too_little_to_matter_is_nothing() {
        let config = SurgeConfig::default();
        let mut surge = Surge::new(1, &config);
        for second in 0..2_000 {
            // One of something every ten minutes, where five matter.
            let value = if second % 600 == 599 { 1.0 } else { 0.0 };
            assert!(surge.judge(second, &[value], &[5.0], &[], &config).severity.is_none(), "{second}");
        }
    }

    #[test]
    fn gaps_and_missing_values_do_no_harm() {
        let mut host = Host::new();
        host.reports(900, USUAL);
        host.second += 3_600;
        assert!(host.second([f32::NAN, 1.0, 1.0]).severity.is_none());
        assert!(host.reports(60, USUAL).is_empty());
    }
}
