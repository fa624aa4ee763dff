//! Every series of a host that is judged by itself, and their surprises in one second.
//!
//! An entity's series are judged once it has been there for [`LiveConfig::youngest_s`] seconds, or when it
//! was there from the beginning: most processes live shorter, and of those there is nothing to learn. Room is
//! bounded; less important families may fill less of it (see [`Plan`]).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::config::Plan;
use crate::detect::series::{Anomaly, Lesson, Past, SeriesMonitor, Verdict, NAMED_FROM};
use crate::second::{EntitySecond, HostSecond, KeyValue};

#[cfg(doc)]
use super::config::LiveConfig;

/// What is seen in a host's first so many seconds was there from the beginning.
const BEGINNING: u32 = 15;
/// Entities not seen for this many seconds of the host are forgotten.
const FORGET: u32 = 150;
/// Seconds of the host between two looks for entities to forget.
const LOOK: u32 = 30;

/// The series of one host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct SeriesTable {
    /// By position in the catalogue.
    families: Vec<HashMap<Box<[KeyValue]>, EntitySeries>>,
    series: usize,
    left_out: usize,
    /// Seconds judged.
    ticks: u32,
    seed: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct EntitySeries {
    /// The tick of its first and of its newest second.
    first: u32,
    newest: u32,
    admitted: bool,
    /// By rising position of the metric.
    monitors: Vec<(u16, SeriesMonitor)>,
}

/// Where a series stands in a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub family: usize,
    /// Place of the entity among the family's.
    pub entity: usize,
    pub metric: usize,
}

/// A series that may be named.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub at: Place,
    pub value: f64,
    pub verdict: Verdict,
}

/// The surprises of one second.
#[derive(Debug, Default)]
pub(super) struct Surprises {
    /// Of every series that has a point and has seen enough to be surprised.
    pub all: Vec<f32>,
    /// Those that may be named.
    pub candidates: Vec<Candidate>,
    /// What the claims of each of them are made from.
    pub pasts: Vec<Past>,
    /// Tail and surprise of those points among them that claim to be rarer than one in a hundred.
    pub rare: Vec<(f64, f32)>,
    /// What odd points teach, until it is known whether it is to be learned.
    withheld: Vec<(Place, Lesson)>,
}

impl Surprises {
    fn clear(&mut self) {
        self.all.clear();
        self.pasts.clear();
        self.candidates.clear();
        self.rare.clear();
        self.withheld.clear();
    }

    /// Judges a point of a series. What is as usual is learned at once.
    fn judge(&mut self, at: Place, at_us: i64, value: f64, monitor: &mut SeriesMonitor, plan: &Plan) {
        let config = &plan.config.series;
        let past = monitor.past();
        let (verdict, lesson) = monitor.judge(at_us, value, config);
        let odd = verdict.surprise >= NAMED_FROM;
        match lesson {
            Some(lesson) if odd => self.withheld.push((at, lesson)),
            Some(lesson) => monitor.learn(&lesson, config),
            None => {}
        }
        if !monitor.is_learning(config) {
            self.all.push(verdict.surprise);
            self.pasts.push(past);
            if verdict.tail <= 0.01 || odd {
                self.rare.push((verdict.tail, verdict.surprise));
            }
        }
        if odd || verdict.severity.is_some() {
            self.candidates.push(Candidate { at, value, verdict });
        }
    }
}

impl SeriesTable {
    /// Series that are judged.
    pub fn len(&self) -> usize {
        self.series
    }

    /// Series that had no room in the newest second.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The last anomalies of a series, oldest first.
    pub fn recent(&self, family: usize, key: &[KeyValue], metric: usize) -> Vec<Anomaly> {
        let entity = self.families.get(family).and_then(|entities| entities.get(key));
        let found = entity.and_then(|entity| {
            let at =
                entity.monitors.binary_search_by_key(&metric, |(metric, _)| usize::from(*metric)).ok()?;
            Some(entity.monitors[at].1.recent().copied().collect())
        });
        found.unwrap_or_default()
    }

    /// The monitors of a family's entities, with the keys they belong to.
    pub fn monitors(&self, family: usize) -> impl Iterator<Item = (&[KeyValue], usize, &SeriesMonitor)> {
        let entities = self.families.get(family).into_iter().flatten();
        entities.flat_map(|(key, entity)| {
            entity.monitors.iter().map(|(metric, monitor)| (&**key, usize::from(*metric), monitor))
        })
    }

    /// Judges every series of the second. What is as usual is learned at once, what is odd by
    /// [`learn`](Self::learn).
    pub fn judge(&mut self, second: &HostSecond, plan: &Plan, surprises: &mut Surprises) {
        surprises.clear();
        self.families.resize_with(plan.judged.len(), HashMap::new);
        self.ticks = self.ticks.saturating_add(1);
        self.left_out = 0;
        let at_us = i64::from(second.second) * 1_000_000;
        for family in &second.families {
            let judged = &plan.judged[family.family];
            if judged.is_empty() {
                continue;
            }
            let room = (plan.config.series_per_host as f64 * plan.room[family.family]) as usize;
            for (place, seen) in family.entities.iter().enumerate() {
                let seed = self.seed;
                let Some(entity) = self.admit(family.family, seen, judged.len(), room, plan) else {
                    continue;
                };
                let before = entity.monitors.len();
                let mut found = |metric: usize, value: f64, monitor: &mut SeriesMonitor| {
                    let at = Place { family: family.family, entity: place, metric };
                    surprises.judge(at, at_us, value, monitor, plan);
                };
                entity.judge(seen, judged, plan, seed, &mut found);
                let grown = entity.monitors.len() - before;
                self.series += grown;
                self.seed = self.seed.wrapping_add(grown as u32);
            }
        }
        if self.ticks.is_multiple_of(LOOK) {
            self.forget();
        }
    }

    /// Learns from the odd points of the second that was judged last.
    pub fn learn(&mut self, second: &HostSecond, plan: &Plan, surprises: &mut Surprises) {
        for (Place { family, entity, metric }, lesson) in surprises.withheld.drain(..) {
            let seen = second.family(family).and_then(|seen| seen.entities.get(entity));
            let known = self.families.get_mut(family);
            let Some(own) = seen.zip(known).and_then(|(seen, known)| known.get_mut(&seen.key)) else {
                continue;
            };
            if let Ok(at) = own.monitors.binary_search_by_key(&metric, |(metric, _)| usize::from(*metric)) {
                own.monitors[at].1.learn(&lesson, &plan.config.series);
            }
        }
    }

    /// The entity, if its series are judged by now.
    fn admit(
        &mut self,
        family: usize,
        seen: &EntitySecond,
        width: usize,
        room: usize,
        plan: &Plan,
    ) -> Option<&mut EntitySeries> {
        let ticks = self.ticks;
        let entities = &mut self.families[family];
        if !entities.contains_key(&seen.key) {
            let fresh = EntitySeries { first: ticks, newest: ticks, admitted: false, monitors: Vec::new() };
            entities.insert(seen.key.clone(), fresh);
        }
        let entity = entities.get_mut(&seen.key)?;
        entity.newest = ticks;
        // Not in its first second, when its counters have no rates yet and its series cannot be counted.
        let age = ticks.saturating_sub(entity.first);
        let old_enough = age >= plan.config.youngest_s || (entity.first <= BEGINNING && age >= 1);
        if entity.admitted {
            return Some(entity);
        }
        if !old_enough {
            return None;
        }
        let wanted = seen.values.iter().filter(|value| value.is_some()).count().min(width);
        if self.series + wanted > room {
            self.left_out += wanted;
            return None;
        }
        entity.admitted = true;
        Some(entity)
    }

    fn forget(&mut self) {
        let ticks = self.ticks;
        for family in &mut self.families {
            family.retain(|_, entity| ticks.saturating_sub(entity.newest) <= FORGET);
        }
        let monitors = self.families.iter().flat_map(HashMap::values).map(|entity| entity.monitors.len());
        self.series = monitors.sum();
    }
}

impl EntitySeries {
    /// Hands the entity's values to their monitors; those of metrics that appear are made.
    fn judge(
        &mut self,
        seen: &EntitySecond,
        judged: &[u16],
        plan: &Plan,
        seed: u32,
        found: &mut impl FnMut(usize, f64, &mut SeriesMonitor),
    ) {
        let config = &plan.config.series;
        let mut next = 0;
        for &metric in judged {
            let value = seen.values[usize::from(metric)];
            while self.monitors.get(next).is_some_and(|(own, _)| *own < metric) {
                next += 1;
            }
            if !value.is_some() {
                continue;
            }
            if self.monitors.get(next).is_none_or(|(own, _)| *own != metric) {
                let seed = seed.wrapping_add(u32::from(metric)).wrapping_mul(0x9e37_79b9);
                self.monitors.insert(next, (metric, SeriesMonitor::new(seed, config)));
            }
            found(usize::from(metric), value.mean, &mut self.monitors[next].1);
        }
        if self.monitors.capacity() > self.monitors.len() * 2 {
            self.monitors.shrink_to_fit();
        }
    }
}
