//! A circuit breaker: after some failures in a row a channel is left alone for a while, then tried once.

use std::time::{Duration, Instant};

use serde::Serialize;

/// Longest time a breaker stays open.
const OPEN_MAX: Duration = Duration::from_secs(600);

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// All goes through.
    Closed,
    /// Nothing goes through.
    Open,
    /// One goes through, to see.
    HalfOpen,
}

/// The breaker of one channel. Time comes in with each call.
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    open_for: Duration,
    failures: u32,
    opened: Option<Instant>,
    /// How often it opened in a row; each time it stays open twice as long.
    opened_times: u32,
    probing: bool,
}

impl Breaker {
    /// Opens after so many failures in a row, for so long at first.
    pub fn new(failures_max: u32, open_for: Duration) -> Self {
        Self { failures_max, open_for, failures: 0, opened: None, opened_times: 0, probing: false }
    }

    /// Whether a sending may begin; if not, after how long to ask again. Report each one that began.
    pub fn begin(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(opened) = self.opened else { return Ok(()) };
        let left = (opened + self.stays_open()).saturating_duration_since(now);
        if !left.is_zero() {
            return Err(left);
        }
        if self.probing {
            return Err(self.open_for);
        }
        self.probing = true;
        Ok(())
    }

    /// It worked.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.opened = None;
        self.opened_times = 0;
        self.probing = false;
    }

    /// It did not.
    pub fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.probing || self.failures >= self.failures_max {
            self.opened = Some(now);
            self.opened_times = self.opened_times.saturating_add(1);
            self.probing = false;
        }
    }

    /// It was begun and given up before anything came of it.
    pub fn abandoned(&mut self) {
        self.probing = false;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Where it stands.
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.opened {
            None => BreakerState::Closed,
            Some(opened) if now < opened + self.stays_open() => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    fn stays_open(&self) -> Duration {
        let doubled = self.open_for * (1 << self.opened_times.saturating_sub(1).min(10));
        doubled.min(OPEN_MAX.max(self.open_for))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_probe_decides() {
        let start = Instant::now();
        let mut breaker = Breaker::new(3, 10 * S);
        for _ in 0..2 {
            breaker.begin(start).unwrap();
            breaker.failed(start);
        }
        breaker.succeeded();
        for _ in 0..3 {
            breaker.begin(start).unwrap();
            breaker.failed(start);
        }
        assert_eq!(breaker.begin(start + 4 * S), Err(6 * S));
        assert_eq!(breaker.state(start + 4 * S), BreakerState::Open);
        assert_eq!(breaker.state(start + 10 * S), BreakerState::HalfOpen);
        breaker.begin(start + 10 * S).unwrap();
        assert!(breaker.begin(start + 10 * S).is_err(), "one probe at a time");
        breaker.failed(start + 11 * S);
        assert_eq!(breaker.begin(start + 12 * S), Err(19 * S), "the second time for twice as long");
        breaker.begin(start + 31 * S).unwrap();
        breaker.succeeded();
        assert_eq!(breaker.state(start + 31 * S), BreakerState::Closed);
    }
}
