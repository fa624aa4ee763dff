//! Values against limits, second by second. Per rule and host there is a slot for each entity that matters: one
//! whose window is being filled, or that is beyond a limit. Entities and slots are both sorted by key and are
//! walked together, so a second costs one pass over the family, and an entity at rest costs no memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fettle_analysis::second::{EntitySecond, FamilySecond, HostSecond, KeyValue, Reduced};
use serde::{Deserialize, Serialize};

use crate::handoff::{fingerprint, Labels};

use super::expression::{MetricAt, Operand};
use super::kinds::single_metric;
use super::level::Track;
use super::rule::{Field, Group, Rule, Take, Threshold};
use super::speaker::{Ending, Moment, Speaker};
use super::window::{Reduce, Window};

/// A value of another family stays good for this long, in seconds.
const OUTER_GOOD: u32 = 60;
/// The least silence, in µs, after which waiting for `for` begins anew.
const LEAST_GAP_US: i64 = 30_000_000;

/// How many things a rule may follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) a_rule: usize,
    pub(crate) a_host: usize,
}

/// State of one threshold rule.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ThresholdState {
    hosts: HashMap<String, HostSlots>,
    pub(crate) tracked: usize,
    pub(crate) left_out: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct HostSlots {
    is_admitted: bool,
    slots: Vec<Slot>,
    /// Per operand, the latest value if it is of another family, and its second.
    outer: Vec<Option<(f64, u32)>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Slot {
    key: Box<[KeyValue]>,
    /// Fingerprint of rule and labels.
    id: u64,
    track: Track,
    window: Option<Box<Window>>,
    /// Second of the last value, and the one before that.
    last: u32,
    gap: u32,
}

type Items<'a> = Vec<(std::borrow::Cow<'a, [KeyValue]>, Option<f64>)>;

impl ThresholdState {
    /// Takes in one second of a host.
    pub(crate) fn second(
        &mut self,
        rule: &Arc<Rule>,
        threshold: &Threshold,
        second: &HostSecond,
        cpus: f64,
        bounds: Bounds,
        speaker: &mut Speaker,
    ) {
        let family = second.family(threshold.family);
        let reads_others = threshold.expression.operands.len() > 1;
        if family.is_none() && !reads_others {
            return;
        }
        if !self.hosts.contains_key(&second.host) {
            self.hosts.insert(second.host.clone(), HostSlots::new(rule, threshold, &second.host));
        }
        let Some(own) = self.hosts.get_mut(&second.host) else { return };
        if !own.is_admitted {
            return;
        }
        if reads_others {
            own.read_outer(threshold, second);
        }
        let Some(family) = family else { return };
        let before = own.slots.len();
        let room = bounds.a_rule.saturating_sub(self.tracked.saturating_sub(before)).min(bounds.a_host);
        let mut walk = Walk { rule, threshold, second, room, left_out: 0, speaker };
        match &threshold.group {
            None => {
                let outer = std::mem::take(&mut own.outer);
                walk.entities(&mut own.slots, family, |entity| {
                    value(threshold, entity, &outer, second.second, cpus)
                });
                own.outer = outer;
            }
            Some(group) => {
                let items = grouped(threshold, group, family, &own.outer, second.second, cpus);
                walk.items(&mut own.slots, &items);
            }
        }
        self.left_out += walk.left_out;
        self.tracked = (self.tracked + own.slots.len()).saturating_sub(before);
    }

    /// The host's clock was set back: what is measured by it begins anew.
    pub(crate) fn rewind(&mut self, host: &str, second: u32) {
        let Some(own) = self.hosts.get_mut(host) else { return };
        own.outer.iter_mut().for_each(|value| *value = None);
        for slot in &mut own.slots {
            slot.track.restart();
            if let Some(window) = &mut slot.window {
                **window = Window::default();
            }
            (slot.last, slot.gap) = (second, 0);
        }
    }

    /// So many seconds were not evaluated: nothing was missing in them.
    pub(crate) fn skip(&mut self, host: &str, seconds: u32) {
        for slot in self.hosts.get_mut(host).into_iter().flat_map(|own| &mut own.slots) {
            slot.last = slot.last.saturating_add(seconds);
        }
    }

    /// The host is gone.
    pub(crate) fn forget(&mut self, host: &str, at_us: i64, speaker: &mut Speaker) {
        let Some(own) = self.hosts.remove(host) else { return };
        self.tracked = self.tracked.saturating_sub(own.slots.len());
        for slot in own.slots.iter().filter(|slot| slot.track.said.is_some()) {
            speaker.end(slot.id, at_us, Ending::Forgotten);
        }
    }

    /// Makes what is not saved.
    pub(crate) fn rebuild(&mut self, reduce: Reduce) {
        for slot in self.hosts.values_mut().flat_map(|own| &mut own.slots) {
            if let Some(window) = &mut slot.window {
                window.rebuild(reduce);
            }
        }
    }
}

impl HostSlots {
    fn new(rule: &Rule, threshold: &Threshold, host: &str) -> Self {
        let outer = vec![None; threshold.expression.operands.len()];
        Self { is_admitted: rule.hosts.admits(host), slots: Vec::new(), outer }
    }

    /// Keeps the values of host-wide families, which may be sampled in other seconds.
    fn read_outer(&mut self, threshold: &Threshold, second: &HostSecond) {
        for (at, operand) in threshold.expression.operands.iter().enumerate() {
            let Operand::Metric(metric) = operand else { continue };
            if metric.family == threshold.family {
                continue;
            }
            let entity = second.family(metric.family).and_then(|family| family.entities.first());
            if let (Some(entity), Some(place)) = (entity, self.outer.get_mut(at)) {
                if let Some(value) = pick(entity, *metric, threshold.fields[at]).filter(|v| v.is_finite()) {
                    *place = Some((value, second.second));
                }
            }
        }
    }
}

/// The expression's value for one entity.
#[inline]
fn value(
    threshold: &Threshold,
    entity: &EntitySecond,
    outer: &[Option<(f64, u32)>],
    now: u32,
    cpus: f64,
) -> Option<f64> {
    threshold.expression.value(|at| match threshold.expression.operands[at] {
        Operand::Cpus => (cpus > 0.0).then_some(cpus),
        Operand::Metric(metric) if metric.family == threshold.family => {
            pick(entity, metric, threshold.fields[at])
        }
        Operand::Metric(_) => {
            let (value, second) = (*outer.get(at)?)?;
            (now.saturating_sub(second) <= OUTER_GOOD).then_some(value)
        }
    })
}

#[inline]
fn pick(entity: &EntitySecond, metric: MetricAt, field: Field) -> Option<f64> {
    let reduced: &Reduced = entity.values.get(metric.metric).filter(|reduced| reduced.is_some())?;
    Some(match field {
        Field::Last => reduced.last,
        Field::Mean => reduced.mean,
        Field::Min => reduced.min,
        Field::Max => reduced.max,
    })
}

fn is_selected(threshold: &Threshold, key: &[KeyValue]) -> bool {
    threshold.select.iter().all(|(column, matcher)| match key.get(*column) {
        Some(KeyValue::Text(text)) => matcher.admits(text),
        Some(KeyValue::Int(number)) => matcher.admits(&number.to_string()),
        None => false,
    })
}

/// Entities taken together, sorted by what stays of their keys.
fn grouped(
    threshold: &Threshold,
    group: &Group,
    family: &FamilySecond,
    outer: &[Option<(f64, u32)>],
    now: u32,
    cpus: f64,
) -> Items<'static> {
    let values = family
        .entities
        .iter()
        .filter(|entity| is_selected(threshold, &entity.key))
        .filter_map(|entity| Some((entity, value(threshold, entity, outer, now, cpus)?)));
    if group.by.is_empty() {
        let mut sum = Taken::default();
        values.for_each(|(_, value)| sum.add(value));
        return vec![(Vec::new().into(), sum.value(group.take))];
    }
    let mut sums: BTreeMap<Vec<KeyValue>, Taken> = BTreeMap::new();
    for (entity, value) in values {
        let key = group.by.iter().filter_map(|&at| entity.key.get(at).cloned()).collect();
        sums.entry(key).or_default().add(value);
    }
    sums.into_iter().map(|(key, sum)| (key.into(), sum.value(group.take))).collect()
}

#[derive(Default)]
struct Taken {
    count: u32,
    sum: f64,
    min: f64,
    max: f64,
}

impl Taken {
    fn add(&mut self, value: f64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = if self.count == 0 { value } else { self.max.max(value) };
        self.sum += value;
        self.count += 1;
    }

    fn value(&self, take: Take) -> Option<f64> {
        let count = f64::from(self.count);
        let value = match take {
            Take::Count => return Some(count),
            Take::Sum => self.sum,
            Take::Mean => self.sum / count,
            Take::Min if self.count > 0 => self.min,
            Take::Max if self.count > 0 => self.max,
            Take::Min | Take::Max => return None,
        };
        Some(value).filter(|value| value.is_finite())
    }
}

/// One walk over a family's entities and a host's slots together.
struct Walk<'a> {
    rule: &'a Arc<Rule>,
    threshold: &'a Threshold,
    second: &'a HostSecond,
    room: usize,
    left_out: u64,
    speaker: &'a mut Speaker,
}

impl Walk<'_> {
    fn entities(
        &mut self,
        slots: &mut Vec<Slot>,
        family: &FamilySecond,
        value: impl Fn(&EntitySecond) -> Option<f64>,
    ) {
        let items = family.entities.iter().map(|entity| (&entity.key[..], value(entity)));
        self.walk(slots, items, true);
    }

    fn items(&mut self, slots: &mut Vec<Slot>, items: &Items<'_>) {
        self.walk(slots, items.iter().map(|(key, value)| (&key[..], *value)), false);
    }

    fn walk<'k>(
        &mut self,
        slots: &mut Vec<Slot>,
        items: impl Iterator<Item = (&'k [KeyValue], Option<f64>)>,
        selects: bool,
    ) {
        let mut fresh: Vec<Slot> = Vec::new();
        let (mut at, mut known) = (0, slots.len());
        for (key, value) in items {
            while at < known && *slots[at].key < *key {
                at += 1;
            }
            let Some(value) = value else { continue };
            if at < known && *slots[at].key == *key {
                self.step(&mut slots[at], value);
                at += 1;
            } else if self.matters(value) && (!selects || is_selected(self.threshold, key)) {
                if known + fresh.len() >= self.room {
                    self.left_out += 1;
                    continue;
                }
                let mut slot = self.slot(key);
                self.step(&mut slot, value);
                fresh.push(slot);
            }
        }
        let has_window = self.has_window();
        slots.retain(|slot| self.is_kept(slot, has_window));
        known = slots.len();
        if !fresh.is_empty() {
            slots.append(&mut fresh);
            if known > 0 {
                slots.sort_by(|a, b| a.key.cmp(&b.key));
            }
            slots.dedup_by(|a, b| a.key == b.key);
        }
    }

    fn has_window(&self) -> bool {
        self.threshold.over.seconds > 1 || self.threshold.over.reduce != Reduce::Last
    }

    /// Whether a value without a slot needs one.
    fn matters(&self, value: f64) -> bool {
        let ladder = &self.rule.ladder;
        self.has_window() || ladder.levels.iter().any(|level| ladder.compare.holds(value, level.enter))
    }

    fn slot(&self, key: &[KeyValue]) -> Slot {
        let id = fingerprint(&self.rule.name, &labels(self.rule, self.threshold, &self.second.host, key));
        let window = self.has_window().then(Box::default);
        Slot { key: key.into(), id, track: Track::default(), window, last: self.second.second, gap: 0 }
    }

    fn step(&mut self, slot: &mut Slot, value: f64) {
        let now = self.second.second;
        slot.gap = now.saturating_sub(slot.last).min(3600);
        slot.last = now;
        let over = &self.threshold.over;
        let value = match &mut slot.window {
            Some(window) => window.push(now, value, over),
            None => Some(value),
        };
        let Some(value) = value else { return };
        let at_us = i64::from(now) * 1_000_000;
        let gap_us = LEAST_GAP_US.max(i64::from(over.pace) * 5_000_000);
        slot.track.step(&self.rule.ladder, value, at_us, gap_us);
        let (rule, threshold, host, key) = (self.rule, self.threshold, &self.second.host, &slot.key);
        let moment = Moment { id: slot.id, value, at_us };
        self.speaker.tell(rule, &mut slot.track, moment, || labels(rule, threshold, host, key), None);
    }

    /// Whether a slot lives on after this second: not if its entity is gone, or if it has nothing to remember.
    fn is_kept(&mut self, slot: &Slot, has_window: bool) -> bool {
        let usual = slot.gap.max(self.threshold.over.pace);
        let missing = self.second.second.saturating_sub(slot.last);
        if missing > 3.max(usual.saturating_mul(5) / 2) {
            if slot.track.said.is_some() {
                self.speaker.end(slot.id, i64::from(self.second.second) * 1_000_000, Ending::Vanished);
            }
            return false;
        }
        has_window || !slot.track.is_quiet()
    }
}

/// Labels of a finding about this key.
fn labels(rule: &Rule, threshold: &Threshold, host: &str, key: &[KeyValue]) -> Labels {
    let mut labels = rule.labels.clone();
    labels.insert("host".into(), host.to_owned());
    labels.insert("family".into(), threshold.family_name.clone());
    if single_metric(&threshold.expression) {
        if let Some((_, metric)) = threshold.text.split_once('.') {
            labels.insert("metric".into(), metric.trim().to_owned());
        }
    }
    let columns: Vec<&String> = match &threshold.group {
        Some(group) => group.by.iter().filter_map(|&at| threshold.columns.get(at)).collect(),
        None => threshold.columns.iter().collect(),
    };
    for (column, value) in columns.into_iter().zip(key) {
        labels.insert(column.clone(), value.to_string());
    }
    labels
}
