//! What was tried and what came of it: attempts, success rates, breakers, refusals of hosts' files, and what
//! components last printed. It teaches the planner; it is bounded and saved with everything else.

use std::collections::{BTreeMap, BTreeSet};

use fettle_shared::error_kind::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::policy::{Policy, Strategy};
use crate::world::Place;

/// Most attempts kept.
const ATTEMPTS_MAX: usize = 20_000;
/// Most entries of each map.
const KEYS_MAX: usize = 20_000;
/// Attempts a rate remembers; then old ones count half.
const RATE_MEMORY: f64 = 50.0;
/// How long what a component printed counts, µs.
const PATTERN_US: i64 = 10 * 60 * 1_000_000;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Samples show that it helped.
    Healed,
    /// Samples show that it did not.
    NotHealed,
    /// No fresh samples came.
    Unknown,
    /// The agent could not do it.
    Failed,
}

/// One attempt that was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Incident.
    pub incident: String,
    /// `entry/strategy`.
    pub strategy: String,
    /// What was acted on.
    pub place: Place,
    /// When it ended, µs since 1970.
    pub at_us: i64,
    /// How.
    pub ended: Ended,
}

/// How often a strategy helped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// It did.
    pub helped: f64,
    /// It did not.
    pub failed: f64,
}

impl Rate {
    /// Expected share of attempts that help: the mean of a Beta distribution with one success and one
    /// failure seen before the first attempt (Laplace's rule of succession).
    pub fn mean(self) -> f64 {
        (self.helped + 1.0) / (self.helped + self.failed + 2.0)
    }

    fn count(&mut self, helped: bool) {
        if self.helped + self.failed >= RATE_MEMORY {
            self.helped /= 2.0;
            self.failed /= 2.0;
        }
        *(if helped { &mut self.helped } else { &mut self.failed }) += 1.0;
    }
}

/// A breaker of one action on one target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Failures in a row.
    pub failures: u32,
    /// Closed again for one trial from then on, µs since 1970; 0: not open.
    pub open_until_us: i64,
}

/// All of it. Keys are texts so that it is saved as any JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// By `strategy|rule|kind`.
    pub rates: BTreeMap<String, Rate>,
    /// By `action place`.
    pub breakers: BTreeMap<String, Breaker>,
    /// Until when a refusal is believed, by `action place`, µs since 1970.
    pub refusals: BTreeMap<String, i64>,
    /// What a component last spoke of and when, by place.
    pub patterns: BTreeMap<String, (ErrorKind, i64)>,
}

fn key(action: &str, place: &Place) -> String {
    format!("{action} {place}")
}

fn rate_key(strategy: &str, rule: &str, kind: &str) -> String {
    format!("{strategy}|{rule}|{kind}")
}

impl Memory {
    /// How often the strategy helped against this rule on this kind of component.
    pub fn rate(&self, strategy: &str, rule: &str, kind: &str) -> Rate {
        self.rates.get(&rate_key(strategy, rule, kind)).copied().unwrap_or_default()
    }

    /// Until when the action's breaker on the place is open, µs since 1970.
    pub fn open_until(&self, action: &str, place: &Place, now_us: i64) -> Option<i64> {
        let breaker = self.breakers.get(&key(action, place))?;
        (breaker.open_until_us > now_us).then_some(breaker.open_until_us)
    }

    /// Until when the host's file is believed to refuse the action on the place, µs since 1970.
    pub fn refused_until(&self, action: &str, place: &Place, now_us: i64) -> Option<i64> {
        self.refusals.get(&key(action, place)).copied().filter(|until| *until > now_us)
    }

    /// Notes that the host's file refuses the action.
    pub fn refuse(&mut self, action: &str, place: &Place, until_us: i64) {
        bounded(&mut self.refusals, key(action, place), until_us);
    }

    /// What the component last spoke of, if not too long ago.
    pub fn pattern(&self, place: &Place, now_us: i64) -> Option<ErrorKind> {
        let (pattern, at_us) = self.patterns.get(&place.to_string())?;
        (now_us - at_us <= PATTERN_US).then_some(*pattern)
    }

    /// Notes what kind of error a component's check or action spoke of; false if no policy has an answer to it.
    pub fn heard(&mut self, place: &Place, kind: ErrorKind, now_us: i64) -> bool {
        if kind.is_matched() {
            bounded(&mut self.patterns, place.to_string(), (kind, now_us));
        }
        kind.is_matched()
    }

    /// Attempts of the strategy for the incident on the place, in the window, that did not help.
    pub fn vain(&self, incident: &str, strategy: &str, place: &Place, since_us: i64) -> usize {
        self.recent(since_us)
            .filter(|one| one.incident == incident && one.strategy == strategy && one.place == *place)
            .filter(|one| one.ended != Ended::Healed)
            .count()
    }

    /// Mends for the incident since then.
    pub fn mends(&self, incident: &str, since_us: i64) -> usize {
        self.recent(since_us).filter(|one| one.incident == incident && one.ended == Ended::Healed).count()
    }

    /// Whether anything was tried for the incident since then of which it is known that it did not help.
    pub fn any_vain(&self, incident: &str, since_us: i64) -> bool {
        let vain = |one: &Attempt| matches!(one.ended, Ended::NotHealed | Ended::Failed);
        self.recent(since_us).any(|one| one.incident == incident && vain(one))
    }

    /// When the strategy was last tried on the place, µs since 1970.
    pub fn last_tried(&self, strategy: &str, place: &Place) -> Option<i64> {
        let mut newest_first = self.attempts.iter().rev();
        newest_first.find(|one| one.strategy == strategy && one.place == *place).map(|one| one.at_us)
    }

    /// Attempts of these entries since then, whether they helped or not: for the incident, or on the place.
    pub fn tried(&self, incident: &str, place: &Place, since_us: i64, entries: &[&str]) -> usize {
        let of = |strategy: &str| {
            let rest = |entry: &&str| strategy.strip_prefix(*entry).is_some_and(|rest| rest.starts_with('/'));
            entries.iter().any(rest)
        };
        let counts = |one: &&Attempt| (one.incident == incident || one.place == *place) && of(&one.strategy);
        self.recent(since_us).filter(counts).count()
    }

    /// What seemed to have helped did not: the alert it was for never ended. Gives whether the attempt is known.
    pub fn was_vain(&mut self, attempt: &Attempt, action: &str, rule: &str, kind: &str) -> bool {
        let Some(known) = self.attempts.iter_mut().rev().find(|known| **known == *attempt) else {
            return false;
        };
        known.ended = Ended::NotHealed;
        let rate = rate_key(&attempt.strategy, rule, kind);
        if let Some(rate) = self.rates.get_mut(&rate) {
            rate.helped = (rate.helped - 1.0).max(0.0);
            rate.count(false);
        }
        let breaker = key(action, &attempt.place);
        let failures = self.breakers.get(&breaker).map_or(0, |one| one.failures);
        let breaker_now = Breaker { failures: failures.saturating_add(1), open_until_us: 0 };
        bounded(&mut self.breakers, breaker, breaker_now);
        true
    }

    /// Forgets the attempts for the incident, and those on its place and on the places they were made on.
    pub fn forgive(&mut self, incident: &str, place: Place) {
        let of = self.attempts.iter().filter(|one| one.incident == incident);
        let places: BTreeSet<Place> = of.map(|one| one.place.clone()).chain([place]).collect();
        self.attempts.retain(|one| one.incident != incident && !places.contains(&one.place));
    }

    fn recent(&self, since_us: i64) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(move |one| one.at_us >= since_us)
    }

    /// Notes an attempt's end.
    pub fn ended(&mut self, attempt: Attempt, action: &str, rule: &str, kind: &str, policy: &Policy) {
        let healed = attempt.ended == Ended::Healed;
        if attempt.ended != Ended::Unknown {
            let key = rate_key(&attempt.strategy, rule, kind);
            let mut rate = self.rates.get(&key).copied().unwrap_or_default();
            rate.count(healed);
            bounded(&mut self.rates, key, rate);
        }
        let key = key(action, &attempt.place);
        if healed {
            self.breakers.remove(&key);
        } else {
            let mut breaker = self.breakers.get(&key).copied().unwrap_or_default();
            breaker.failures = breaker.failures.saturating_add(1);
            if breaker.failures >= policy.breaker.failures {
                breaker.open_until_us = attempt.at_us + policy.breaker.open_us;
            }
            bounded(&mut self.breakers, key, breaker);
        }
        self.attempts.push(attempt);
        if self.attempts.len() > ATTEMPTS_MAX {
            self.attempts.drain(..ATTEMPTS_MAX / 10);
        }
    }

    /// Forgets what no limit looks at any more, and shortens what a clock that was ahead has set too far.
    pub fn forget(&mut self, policy: &Policy, now_us: i64) {
        for until_us in self.refusals.values_mut() {
            *until_us = (*until_us).min(now_us.saturating_add(policy.refusal_believed_us));
        }
        for breaker in self.breakers.values_mut() {
            breaker.open_until_us = breaker.open_until_us.min(now_us.saturating_add(policy.breaker.open_us));
        }
        let strategy_us = |one: &Strategy| one.cooldown_us.max(one.vain_window_us(policy));
        let longest_us = policy
            .entries
            .iter()
            .flat_map(|entry| entry.strategies.iter().map(strategy_us).chain([entry.repeat.per_us]))
            .fold(policy.attempt_window_us.max(policy.repeat_long.per_us), i64::max);
        self.attempts.retain(|one| one.at_us >= now_us - longest_us);
        self.refusals.retain(|_, until_us| *until_us > now_us);
        self.patterns.retain(|_, (_, at_us)| now_us - *at_us <= PATTERN_US);
        let breakers_us = 10 * policy.breaker.open_us + policy.attempt_window_us;
        self.breakers.retain(|_, one| one.open_until_us == 0 || one.open_until_us + breakers_us > now_us);
    }
}

/// Puts an entry into a map that must not grow without bound: when full, another entry goes.
fn bounded<V>(map: &mut BTreeMap<String, V>, key: String, value: V) {
    if map.len() >= KEYS_MAX && !map.contains_key(&key) {
        map.pop_first();
    }
    map.insert(key, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(at_us: i64, ended: Ended) -> Attempt {
        Attempt {
            incident: "i".to_owned(),
            strategy: "e/s".to_owned(),
            place: Place::new("h", "c"),
            at_us,
            ended,
        }
    }

    #[test]
    fn a_breaker_opens_half_opens_and_closes() {
        let (policy, place) = (Policy::built_in(), Place::new("h", "c"));
        let mut memory = Memory::default();
        for at_us in 1..=3 {
            assert_eq!(memory.open_until("restart", &place, at_us), None);
            memory.ended(attempt(at_us, Ended::NotHealed), "restart", "r", "k", &policy);
        }
        let until_us = 3 + policy.breaker.open_us;
        assert_eq!(memory.open_until("restart", &place, 4), Some(until_us));
        assert_eq!(memory.open_until("stop", &place, 4), None);
        // Half open: one trial; if it fails it opens at once again.
        assert_eq!(memory.open_until("restart", &place, until_us), None);
        memory.ended(attempt(until_us, Ended::Failed), "restart", "r", "k", &policy);
        assert_eq!(
            memory.open_until("restart", &place, until_us + 1),
            Some(until_us + policy.breaker.open_us)
        );
        memory.ended(attempt(until_us, Ended::Healed), "restart", "r", "k", &policy);
        assert_eq!(memory.open_until("restart", &place, until_us + 1), None);
    }

    #[test]
    fn what_a_clock_that_was_ahead_has_set_does_not_last() {
        let (policy, place, now_us) = (Policy::built_in(), Place::new("h", "c"), 1_000_000_000_000);
        let day_us = 86_400_000_000;
        let mut memory = Memory::default();
        memory.refuse("restart", &place, now_us + 3 * day_us);
        for _ in 0..3 {
            memory.ended(attempt(now_us + 3 * day_us, Ended::Failed), "stop", "r", "k", &policy);
        }
        memory.forget(&policy, now_us);
        let open_us = policy.breaker.open_us;
        assert_eq!(memory.refused_until("restart", &place, now_us + policy.refusal_believed_us), None);
        assert_eq!(memory.open_until("stop", &place, now_us + open_us), None);
        assert_eq!(memory.open_until("stop", &place, now_us + open_us - 1), Some(now_us + open_us));
    }

    #[test]
    fn a_rate_begins_at_a_half_and_forgets() {
        let mut rate = Rate::default();
        assert!((rate.mean() - 0.5).abs() < 1e-9);
        for _ in 0..1000 {
            rate.count(true);
        }
        assert!(rate.mean() > 0.95 && rate.helped <= RATE_MEMORY);
        for _ in 0..100 {
            rate.count(false);
        }
        assert!(rate.mean() < 0.2);
    }
}
