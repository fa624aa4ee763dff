//! From a raw second of a host to what is judged: gauges scaled, counters as rates.
//!
//! A counter's rate is its growth since the last sample of the second before, over the real time between
//! the two samples, so that a late scan is no dip. A counter that fell was reset: it has no value in that
//! second and begins anew. After a missing second the rate over the gap is given once, in the second in
//! which it becomes known; after a longer gap the counter begins anew, because a mean over minutes is not
//! what the second before looked like.
//!
//! Entities that were not seen for a while are forgotten; no more than [`MOST_ENTITIES`] are kept.

use std::collections::HashMap;

use fettle_shared::catalogue::{Catalogue, Family, Metric, MetricKind, Pace, ValueType};
use fettle_shared::frame::Reduction;
use serde::{Deserialize, Serialize};

use crate::second::{
    EntitySecond, FamilySecond, HostSecond, KeyValue, RawCell, RawEntity, RawFamily, RawSecond, Reduced,
};

/// Entities of one host whose counters are remembered.
pub const MOST_ENTITIES: usize = 20_000;
/// A gap between two samples up to which a rate is given; a family sampled seldom has three of its paces.
const LONGEST_GAP_US: i64 = 10_500_000;
/// Entities not seen for this long are forgotten.
const FORGET_S: u32 = 120;
/// Seconds between two looks for entities to forget.
const LOOK_S: u32 = 30;

/// The counters of one host as they stood.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// By position in the catalogue.
    families: Vec<HashMap<Box<[KeyValue]>, Past>>,
    entities: usize,
    looked: u32,
    left_out: u64,
}

/// One entity's counters at their last samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Past {
    at_us: i64,
    /// One per counter of the family.
    last: Box<[Option<i64>]>,
}

/// Whether values of this type are compared as unsigned bit patterns.
pub(crate) fn unsigned(value: ValueType) -> bool {
    matches!(value, ValueType::U8 | ValueType::U16 | ValueType::U32 | ValueType::U64)
}

/// The longest gap over which a family's counters give a rate, in microseconds.
fn longest_gap_us(family: &Family) -> i64 {
    match family.pace {
        Pace::Fast => LONGEST_GAP_US,
        Pace::Every(pace) => LONGEST_GAP_US.max(3 * pace.as_micros() as i64),
    }
}

impl Rates {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Entities whose counters are remembered.
    #[must_use]
    pub fn entities(&self) -> usize {
        self.entities
    }

    /// How often an entity was left out because there were too many.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The next second of the host. Seconds come in order; one that does not come after the one before
    /// gives gauges and no rates.
    ///
    /// # Panics
    /// When a family's position is not in the catalogue, or an entity's cells are not one a metric.
    pub fn second(&mut self, raw: &RawSecond<'_>, catalogue: &Catalogue) -> HostSecond {
        self.families.resize_with(catalogue.families.len(), HashMap::new);
        let families = raw
            .families
            .iter()
            .map(|family| self.family(family, &catalogue.families[family.family]))
            .filter(|family| !family.entities.is_empty())
            .collect();
        if raw.second >= self.looked.saturating_add(LOOK_S) || raw.second < self.looked {
            self.looked = raw.second;
            self.forget(i64::from(raw.second.saturating_sub(FORGET_S)) * 1_000_000);
        }
        HostSecond { host: raw.host.to_owned(), second: raw.second, families }
    }

    fn family(&mut self, raw: &RawFamily<'_>, family: &Family) -> FamilySecond {
        let counters = family.metrics.iter().filter(|m| m.kind == MetricKind::Counter).count();
        let gap_us = longest_gap_us(family);
        let past = &mut self.families[raw.family];
        let mut entities = Vec::with_capacity(raw.entities.len());
        for entity in &raw.entities {
            assert_eq!(entity.cells.len(), family.metrics.len(), "one cell a metric of {}", family.name);
            let known = if counters == 0 {
                None
            } else if let Some(known) = past.get_mut(entity.key) {
                Some(known)
            } else if self.entities < MOST_ENTITIES {
                self.entities += 1;
                let fresh = Past { at_us: i64::MIN, last: vec![None; counters].into() };
                Some(past.entry(entity.key.into()).or_insert(fresh))
            } else {
                self.left_out += 1;
                None
            };
            let values = values(entity, family, known, gap_us);
            entities.push(EntitySecond { key: entity.key.into(), values });
        }
        FamilySecond { family: raw.family, entities }
    }

    fn forget(&mut self, before_us: i64) {
        for family in &mut self.families {
            family.retain(|_, past| past.at_us >= before_us);
        }
        self.entities = self.families.iter().map(HashMap::len).sum();
    }
}

/// One entity's values; its counters are remembered.
fn values(raw: &RawEntity<'_>, family: &Family, past: Option<&mut Past>, gap_us: i64) -> Box<[Reduced]> {
    let mut none: [Option<i64>; 0] = [];
    let (elapsed_us, last) = match past {
        Some(past) => {
            let elapsed = raw.last_us.saturating_sub(past.at_us);
            let known = past.at_us != i64::MIN && elapsed > 0 && elapsed <= gap_us;
            past.at_us = raw.last_us;
            (known.then_some(elapsed), &mut past.last[..])
        }
        None => (None, &mut none[..]),
    };
    let mut last = last.iter_mut();
    let value = |(cell, metric): (&RawCell, &Metric)| match metric.kind {
        MetricKind::Gauge => gauge(cell, metric),
        MetricKind::Counter => match last.next() {
            None => Reduced::NONE,
            Some(last) => {
                let before = last.take();
                if cell.count > 0 {
                    *last = Some(cell.reduction.last);
                }
                rate(cell, metric, before, elapsed_us)
            }
        },
    };
    raw.cells.iter().zip(&family.metrics).map(value).collect()
}

fn gauge(cell: &RawCell, metric: &Metric) -> Reduced {
    if cell.count == 0 {
        return Reduced::NONE;
    }
    let flag = unsigned(metric.value);
    let scale = metric.scale.unwrap_or(1.0);
    let number = |value: i64| if flag { value as u64 as f64 } else { value as f64 } * scale;
    let Reduction { min, max, sum, last } = cell.reduction;
    let (min, max, last) = (number(min), number(max), number(last));
    // A sum of very large values wraps; the mean lies between the extremes whatever it says.
    let mean = (number(sum) / f64::from(cell.count)).clamp(min.min(max), max.max(min));
    Reduced { min, mean, max, last, count: cell.count }
}

fn rate(cell: &RawCell, metric: &Metric, before: Option<i64>, elapsed_us: Option<i64>) -> Reduced {
    let (Some(before), Some(elapsed_us)) = (before, elapsed_us) else { return Reduced::NONE };
    if cell.count == 0 {
        return Reduced::NONE;
    }
    let Some(growth) = growth(cell, before, unsigned(metric.value)) else { return Reduced::NONE };
    let rate = growth * metric.scale.unwrap_or(1.0) / (elapsed_us as f64 * 1e-6);
    Reduced { min: rate, mean: rate, max: rate, last: rate, count: cell.count }
}

/// By how much the counter grew; none when it fell at any time.
fn growth(cell: &RawCell, before: i64, unsigned: bool) -> Option<f64> {
    let (min, last) = (cell.reduction.min, cell.reduction.last);
    if unsigned {
        let (min, last, before) = (min as u64, last as u64, before as u64);
        (min >= before && last >= before).then(|| (last - before) as f64)
    } else {
        (min >= before && last >= before).then(|| (i128::from(last) - i128::from(before)) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: &str = r#"
id = 1
name = "disk"
help = "Disks."
source = "s"
pace = "fast"
priority = 1
[[entity]]
name = "device"
type = "text"
help = "h"
[[metric]]
id = 1
name = "reads"
unit = "requests"
kind = "counter"
type = "u64"
since = 1
help = "h"
[[metric]]
id = 2
name = "busy"
unit = "ratio"
kind = "gauge"
type = "f32"
scale = 0.01
optional = true
since = 1
help = "h"
"#;

    fn cell(values: &[i64]) -> RawCell {
        let runs = vec![1; values.len()];
        match Reduction::of_runs(values, &runs, true) {
            Some(reduction) => RawCell { reduction, count: values.len() as u32 },
            None => RawCell::NONE,
        }
    }

    struct Host {
        rates: Rates,
        catalogue: Catalogue,
    }

    impl Host {
        fn new() -> Self {
            Self { rates: Rates::new(), catalogue: Catalogue::parse(&[("disk", DISK)]).unwrap() }
        }

        /// The device's values when `reads` and `busy` were sampled, the last time at `last_us`.
        fn see(&mut self, last_us: i64, reads: &[i64], busy: &[i64]) -> [Reduced; 2] {
            let cells = [cell(reads), cell(busy)];
            let key = [KeyValue::Text("sda".into())];
            let entities = vec![RawEntity { key: &key, last_us, cells: &cells }];
            let raw = RawSecond {
                host: "h",
                second: (last_us / 1_000_000) as u32,
                families: vec![RawFamily { family: 0, entities }],
            };
            let second = self.rates.second(&raw, &self.catalogue);
            let values = &second.families[0].entities[0].values;
            [values[0], values[1]]
        }
    }

    #[test]
    fn counters_become_rates_over_the_real_time_between_samples() {
        let mut host = Host::new();
        assert_eq!(host.see(1_000_900_000, &[100, 110], &[50, 150])[0], Reduced::NONE);
        let [reads, busy] = host.see(1_001_400_000, &[112, 160], &[50, 150]);
        assert_eq!((reads.mean, reads.count), (100.0, 2), "50 in half a second");
        assert_eq!((busy.min, busy.mean, busy.max, busy.last), (0.5, 1.0, 1.5, 1.5));
    }

    #[test]
    fn a_reset_gives_no_value_and_begins_anew() {
        let mut host = Host::new();
        host.see(1_000_900_000, &[1000], &[]);
        assert!(!host.see(1_001_900_000, &[5], &[])[0].is_some());
        assert_eq!(host.see(1_002_900_000, &[8], &[])[0].mean, 3.0);
        // Fell and passed its old value within one second.
        assert!(!host.see(1_003_900_000, &[1, 30], &[])[0].is_some());
        assert_eq!(host.see(1_004_900_000, &[31], &[])[0].mean, 1.0);
    }

    #[test]
    fn a_short_gap_gives_the_rate_over_it_once_and_a_long_one_begins_anew() {
        let mut host = Host::new();
        host.see(1_000_000_000, &[0], &[]);
        assert_eq!(host.see(1_008_000_000, &[80], &[])[0].mean, 10.0);
        assert!(!host.see(1_030_000_000, &[900], &[])[0].is_some());
        assert_eq!(host.see(1_031_000_000, &[901], &[])[0].mean, 1.0);
    }

    #[test]
    fn a_metric_that_was_away_begins_anew_and_one_that_is_absent_has_no_value() {
        let mut host = Host::new();
        host.see(1_000_000_000, &[10], &[1]);
        let [reads, busy] = host.see(1_001_000_000, &[], &[]);
        assert!(!reads.is_some() && !busy.is_some());
        assert!(!host.see(1_002_000_000, &[30], &[1])[0].is_some());
    }

    #[test]
    fn vanished_entities_are_forgotten() {
        let mut host = Host::new();
        host.see(1_000_000_000, &[10], &[1]);
        assert_eq!(host.rates.entities(), 1);
        let empty = RawSecond { host: "h", second: 1_000 + 500, families: Vec::new() };
        host.rates.second(&empty, &host.catalogue);
        assert_eq!(host.rates.entities(), 0);
    }

    #[test]
    fn large_unsigned_counters_keep_their_order() {
        let mut host = Host::new();
        host.see(1_000_000_000, &[i64::MAX], &[]);
        let grown = host.see(1_001_000_000, &[i64::MIN + 99], &[])[0];
        assert_eq!(grown.mean, 100.0, "2⁶³ - 1 grows to 2⁶³ + 99");
    }
}
