//! What is told from outside and holds only while it is told again: anomalies, forecasts, predictions, and the
//! rows of questions to the database.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::handoff::{fingerprint, Labels};

use super::level::Track;
use super::rule::Rule;
use super::speaker::{Ending, Moment, Speaker};
use super::template::Facts;

/// State of one rule over what is told.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RenewedState {
    tracks: BTreeMap<u64, Renewed>,
    /// When the question is due next, µs; of SQL rules.
    pub(crate) due_us: i64,
    pub(crate) left_out: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Renewed {
    host: String,
    track: Track,
    /// When it was told last, by the collector's clock, µs.
    told_us: i64,
    /// The rank or value on the ladder.
    height: f64,
    /// Since when it is missing from the answers, µs; of SQL rules.
    gone_us: Option<i64>,
}

/// One thing told.
pub(crate) struct Told {
    pub(crate) labels: Labels,
    /// The value on the ladder.
    pub(crate) height: f64,
    /// The value that people see.
    pub(crate) value: f64,
    pub(crate) at_us: i64,
    /// The longest time between two of them that counts as one, µs.
    pub(crate) gap_us: i64,
    pub(crate) facts: Facts,
}

impl RenewedState {
    pub(crate) fn tracked(&self) -> usize {
        self.tracks.len()
    }

    /// The height of what is held now under these labels.
    pub(crate) fn height(&self, rule: &Rule, labels: &Labels) -> Option<f64> {
        self.tracks.get(&fingerprint(&rule.name, labels)).map(|renewed| renewed.height)
    }

    /// Takes in one thing; gives its fingerprint.
    pub(crate) fn tell(&mut self, rule: &Arc<Rule>, told: Told, most: usize, speaker: &mut Speaker) -> u64 {
        let id = fingerprint(&rule.name, &told.labels);
        if !self.tracks.contains_key(&id) {
            let ladder = &rule.ladder;
            if !ladder.levels.iter().any(|level| ladder.compare.holds(told.height, level.enter)) {
                return id;
            }
            if self.tracks.len() >= most {
                self.left_out += 1;
                return id;
            }
            let host = told.labels.get("host").cloned().unwrap_or_default();
            let renewed =
                Renewed { host, track: Track::default(), told_us: 0, height: told.height, gone_us: None };
            self.tracks.insert(id, renewed);
        }
        let Some(renewed) = self.tracks.get_mut(&id) else { return id };
        renewed.told_us = speaker.now_us;
        renewed.height = told.height;
        renewed.gone_us = None;
        renewed.track.step(&rule.ladder, told.height, told.at_us, told.gap_us);
        let moment = Moment { id, value: told.value, at_us: told.at_us };
        let labels = told.labels;
        speaker.tell(rule, &mut renewed.track, moment, || labels, Some(told.facts));
        if renewed.track.is_quiet() {
            self.tracks.remove(&id);
        }
        id
    }

    /// `passed_us` went by, of which rules were at work for `lived_us`. Only that counts as quiet, and only while
    /// the host is heard: else nothing could have been told of it.
    pub(crate) fn pass(&mut self, passed_us: i64, lived_us: i64, is_fresh: impl Fn(&str) -> bool) {
        let idle_us = passed_us - lived_us;
        for renewed in self.tracks.values_mut() {
            let heard = renewed.host.is_empty() || is_fresh(&renewed.host);
            renewed.told_us += if heard { idle_us } else { passed_us };
            if let Some(gone_us) = &mut renewed.gone_us {
                *gone_us += idle_us;
            }
        }
    }

    /// Ends what was not told for `quiet_us`.
    pub(crate) fn expire(&mut self, quiet_us: i64, speaker: &mut Speaker) {
        let now = speaker.now_us;
        self.tracks.retain(|id, renewed| {
            let is_kept = now.saturating_sub(renewed.told_us) < quiet_us;
            if !is_kept {
                speaker.end(*id, now, Ending::Expired);
            }
            is_kept
        });
    }

    /// Ends what an answer does not hold any more, once it has been missing for `clear_for_us`.
    pub(crate) fn only(&mut self, told: &[u64], clear_for_us: i64, speaker: &mut Speaker) {
        let now = speaker.now_us;
        self.tracks.retain(|id, renewed| {
            if told.contains(id) {
                return true;
            }
            let gone = *renewed.gone_us.get_or_insert(now);
            let is_kept = now.saturating_sub(gone) < clear_for_us;
            if !is_kept {
                speaker.end(*id, now, Ending::Cleared);
            }
            is_kept
        });
    }

    /// The host is gone.
    pub(crate) fn forget(&mut self, host: &str, at_us: i64, speaker: &mut Speaker) {
        self.tracks.retain(|id, renewed| {
            let is_kept = renewed.host != host;
            if !is_kept {
                speaker.end(*id, at_us, Ending::Forgotten);
            }
            is_kept
        });
    }
}
