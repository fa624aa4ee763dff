//! What should be there and is not: hosts that send nothing, entities that a host no longer has.

use std::collections::BTreeMap;
use std::sync::Arc;

use fettle_analysis::second::{HostSecond, KeyValue};
use serde::{Deserialize, Serialize};

use crate::handoff::{fingerprint, Labels};

use super::level::Track;
use super::rule::{Absence, Rule};
use super::speaker::{Ending, Moment, Speaker};
use super::threshold::Bounds;

/// A waiting (`for`) never begins anew here: silence is what is watched.
const NO_GAP_US: i64 = i64::MAX;

/// State of one absence rule.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct AbsenceState {
    /// Of hosts.
    hosts: BTreeMap<String, Missed>,
    /// Of entities: per host, sorted by key.
    entities: BTreeMap<String, Vec<Missed>>,
    pub(crate) tracked: usize,
    pub(crate) left_out: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Missed {
    key: Vec<KeyValue>,
    id: u64,
    track: Track,
    /// The second it was last seen in, by the host's clock; unused for hosts.
    last: u32,
}

impl AbsenceState {
    /// A host has been silent for so long, of the time in which it was listened for.
    pub(crate) fn host(
        &mut self,
        rule: &Arc<Rule>,
        absence: &Absence,
        host: &str,
        silent_us: i64,
        speaker: &mut Speaker,
    ) {
        let seconds = silent_us as f64 / 1e6;
        let is_beyond =
            rule.ladder.levels.iter().any(|level| rule.ladder.compare.holds(seconds, level.enter));
        if silent_us > absence.forget_us {
            if let Some(missed) = self.hosts.remove(host) {
                speaker.end(missed.id, speaker.now_us, Ending::Forgotten);
            }
            return;
        }
        if !self.hosts.contains_key(host) {
            if !is_beyond || !rule.hosts.admits(host) {
                return;
            }
            let id = fingerprint(&rule.name, &host_labels(rule, host));
            let missed = Missed { key: Vec::new(), id, track: Track::default(), last: 0 };
            self.hosts.insert(host.to_owned(), missed);
        }
        let Some(missed) = self.hosts.get_mut(host) else { return };
        missed.track.step(&rule.ladder, seconds, speaker.now_us, NO_GAP_US);
        let moment = Moment { id: missed.id, value: seconds, at_us: speaker.now_us };
        speaker.tell(rule, &mut missed.track, moment, || host_labels(rule, host), None);
        if missed.track.is_quiet() {
            self.hosts.remove(host);
        }
        self.tracked = self.hosts.len();
    }

    /// Takes in one second of a host that is not silent.
    pub(crate) fn second(
        &mut self,
        rule: &Arc<Rule>,
        absence: &Absence,
        second: &HostSecond,
        bounds: Bounds,
        speaker: &mut Speaker,
    ) {
        let Some(position) = absence.family else { return };
        if !rule.hosts.admits(&second.host) {
            return;
        }
        if !self.entities.contains_key(&second.host) {
            if second.family(position).is_none() {
                return;
            }
            self.entities.insert(second.host.clone(), Vec::new());
        }
        let Some(known) = self.entities.get_mut(&second.host) else { return };
        let before = known.len();
        let room = bounds.a_rule.saturating_sub(self.tracked.saturating_sub(before)).min(bounds.a_host);
        for entity in second.family(position).iter().flat_map(|family| &family.entities) {
            if !absence.selects(&entity.key) {
                continue;
            }
            let key: Vec<KeyValue> =
                absence.by.iter().filter_map(|&at| entity.key.get(at).cloned()).collect();
            match known.binary_search_by(|missed| missed.key.cmp(&key)) {
                Ok(at) => known[at].last = second.second,
                Err(_) if known.len() >= room => self.left_out += 1,
                Err(at) => {
                    let id = fingerprint(&rule.name, &entity_labels(rule, absence, &second.host, &key));
                    known.insert(at, Missed { key, id, track: Track::default(), last: second.second });
                }
            }
        }
        let at_us = i64::from(second.second) * 1_000_000;
        known.retain_mut(|missed| {
            let silent = second.second.saturating_sub(missed.last);
            if i64::from(silent) * 1_000_000 > absence.forget_us {
                speaker.end(missed.id, at_us, Ending::Forgotten);
                return false;
            }
            let value = f64::from(silent);
            missed.track.step(&rule.ladder, value, at_us, NO_GAP_US);
            let moment = Moment { id: missed.id, value, at_us };
            let (host, key) = (&second.host, &missed.key);
            speaker.tell(rule, &mut missed.track, moment, || entity_labels(rule, absence, host, key), None);
            true
        });
        self.tracked = (self.tracked + known.len()).saturating_sub(before);
    }

    /// The host's clock was set back: everything counts as seen just now.
    pub(crate) fn rewind(&mut self, host: &str, second: u32) {
        for missed in self.entities.get_mut(host).into_iter().flatten() {
            missed.last = second;
            missed.track.restart();
        }
    }

    /// So many seconds were not evaluated: nothing was missing in them.
    pub(crate) fn skip(&mut self, host: &str, seconds: u32) {
        for missed in self.entities.get_mut(host).into_iter().flatten() {
            missed.last = missed.last.saturating_add(seconds);
        }
    }

    /// The host is gone.
    pub(crate) fn forget(&mut self, host: &str, at_us: i64, speaker: &mut Speaker) {
        let entities = self.entities.remove(host).unwrap_or_default();
        self.tracked = self.tracked.saturating_sub(entities.len());
        for missed in self.hosts.remove(host).into_iter().chain(entities) {
            speaker.end(missed.id, at_us, Ending::Forgotten);
        }
    }
}

impl Absence {
    fn selects(&self, key: &[KeyValue]) -> bool {
        self.select
            .iter()
            .all(|(column, matcher)| key.get(*column).is_some_and(|value| matcher.admits(&value.to_string())))
    }
}

fn host_labels(rule: &Rule, host: &str) -> Labels {
    let mut labels = rule.labels.clone();
    labels.insert("host".into(), host.to_owned());
    labels
}

fn entity_labels(rule: &Rule, absence: &Absence, host: &str, key: &[KeyValue]) -> Labels {
    let mut labels = host_labels(rule, host);
    labels.insert("family".into(), absence.family_name.clone());
    for (&at, value) in absence.by.iter().zip(key) {
        if let Some(column) = absence.columns.get(at) {
            labels.insert(column.clone(), value.to_string());
        }
    }
    labels
}
