//! What is known of each host's time: its latest second, and for how long nothing came of it while somebody
//! listened. Time in which nobody listened, or in which what came was not read yet, is no silence of the host's.

use fettle_analysis::second::{HostSecond, KeyValue};
use serde::{Deserialize, Serialize};

use super::evaluator::{Evaluator, Running, State};

/// A host's clock that falls back by more than this many seconds was set back; by less, the second is late.
const SET_BACK_S: u32 = 600;
/// So many seconds in a row must agree that it was set back.
const SET_BACK_TIMES: u8 = 5;
/// A host that was heard within this time can be spoken of, µs.
const FRESH_US: i64 = 10_000_000;
/// After so many seconds of a host, what was restored and has not ended still holds.
const SETTLED_SECONDS: u32 = 10;

/// What is known of a host's time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct HostClock {
    /// Latest second.
    pub(crate) last: u32,
    /// Seconds in a row that lay far before it.
    back: u8,
    /// For how long nothing came of it while it was listened for, µs.
    #[serde(default)]
    pub(crate) silent_us: i64,
    cpus: f64,
    /// When it was heard last in this life, by the collector's clock, µs; 0: not yet.
    #[serde(skip)]
    heard_us: i64,
    /// Seconds evaluated in this life.
    #[serde(skip)]
    seconds: u32,
}

/// Where a second stands on its host's clock.
enum Place {
    /// After the latest, with so many between them that were not evaluated.
    Next(u32),
    /// Before it.
    Late,
    /// Before it, because the clock was set back.
    SetBack,
}

impl HostClock {
    fn place(&mut self, second: u32) -> Place {
        if second > self.last {
            let missed = if self.last == 0 { 0 } else { second - self.last - 1 };
            (self.last, self.back) = (second, 0);
            return Place::Next(missed);
        }
        self.back = if self.last - second > SET_BACK_S { self.back + 1 } else { 0 };
        if self.back < SET_BACK_TIMES {
            return Place::Late;
        }
        (self.last, self.back) = (second, 0);
        Place::SetBack
    }

    fn heard(&mut self, now_us: i64) {
        self.silent_us = 0;
        self.heard_us = now_us.max(1);
    }

    /// Whether it was heard just now, in this life.
    pub(crate) fn is_fresh(&self, now_us: i64) -> bool {
        self.heard_us > 0 && now_us.saturating_sub(self.heard_us) <= FRESH_US
    }

    /// Whether enough of it was evaluated in this life for what still stands to be said again.
    pub(crate) fn is_settled(&self) -> bool {
        self.seconds >= SETTLED_SECONDS
    }

    /// Whether any of it was evaluated in this life.
    pub(crate) fn is_evaluated(&self) -> bool {
        self.seconds > 0
    }
}

impl Evaluator {
    /// Checks a second against the host's clock; gives the host's CPUs if it is to be evaluated.
    pub(super) fn admit(&mut self, second: &HostSecond) -> Option<f64> {
        let now_us = self.speaker.now_us;
        let clock = match self.hosts.get_mut(&second.host) {
            Some(clock) => clock,
            None => self.hosts.entry(second.host.clone()).or_default(),
        };
        clock.heard(now_us);
        if let Some(family) = second.family(self.cpu_family) {
            let is_one =
                |key: &[KeyValue]| !matches!(key.first(), Some(KeyValue::Text(name)) if &**name == "all");
            clock.cpus = family.entities.iter().filter(|entity| is_one(&entity.key)).count() as f64;
        }
        let place = clock.place(second.second);
        let cpus = clock.cpus;
        match place {
            Place::Next(missed) => {
                clock.seconds = clock.seconds.saturating_add(1);
                if missed > 0 {
                    self.skip(&second.host, missed);
                }
                return Some(cpus);
            }
            Place::Late => {
                self.late_seconds += 1;
                return None;
            }
            Place::SetBack => self.late_seconds += 1,
        }
        for Running { state, .. } in &mut self.running {
            match state {
                State::Threshold(state) => state.rewind(&second.host, second.second),
                State::Absence(state) => state.rewind(&second.host, second.second),
                State::Renewed(_) => {}
            }
        }
        Some(cpus)
    }

    /// Seconds that nobody evaluated: nothing of the host was missing in them.
    fn skip(&mut self, host: &str, seconds: u32) {
        for Running { state, .. } in &mut self.running {
            match state {
                State::Threshold(state) => state.skip(host, seconds),
                State::Absence(state) => state.skip(host, seconds),
                State::Renewed(_) => {}
            }
        }
    }

    /// The collector has listened for `passed_us` and read all that came: of the hosts it listens to, something
    /// came of these `heard`, also if it was too old to be evaluated.
    pub fn listened(&mut self, passed_us: i64, listens_to: impl Fn(&str) -> bool, heard: &[String]) {
        for (host, clock) in &mut self.hosts {
            if listens_to(host) {
                clock.silent_us = clock.silent_us.saturating_add(passed_us.max(0));
            }
        }
        for host in heard {
            let now_us = self.speaker.now_us;
            self.hosts.entry(host.clone()).or_default().heard(now_us);
        }
    }

    /// Another evaluator has this host from now on: nothing of it is over, and nothing is said of it here.
    pub fn let_go(&mut self, host: &str) {
        self.forget_now(host);
        for finding in self.speaker.take() {
            self.speaker.ended.remove(&finding.fingerprint());
        }
    }
}
