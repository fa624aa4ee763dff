//! When each family is due. Pure: times come in as numbers.
//!
//! Fast families share one interval, which follows from the target rate: what the slow families
//! bring is subtracted, the rest divided by what one fast scan brings. Slower families ride on the
//! fast grid, each with its own phase, so that no single scan carries all of them. On a host with so
//! many processes that the fast interval is the longer one, a family's own interval still holds.

use std::time::Duration;

use fettle_shared::catalogue::{Catalogue, Pace};

use super::{Mode, SamplerSettings};

/// Shortest and longest interval of the fast families.
pub(crate) const FASTEST_US: u64 = 10_000;
pub(crate) const SLOWEST_US: u64 = 1_000_000;
const SECOND_US: u64 = 1_000_000;
/// Slow families start this far apart.
const PHASE_US: u64 = 137_000;
/// A little more than asked for: scans that come late must not leave the rate short.
const HEADROOM: f64 = 1.006;

/// One family's place in the schedule.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: u16,
    pub(crate) name: &'static str,
    priority: u8,
    enabled: bool,
    /// Interval of its own; `None` follows the fast interval.
    own_us: Option<u64>,
    due_us: u64,
    /// Samples its last whole round brought.
    last_samples: u64,
    /// Has more to do at the next tick.
    more: bool,
}

/// The schedule of all families.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) entries: Vec<Entry>,
    target_rate: f64,
    /// Of the target rate, in full mode.
    share: f64,
    mode: Mode,
    fast_us: u64,
    governed: bool,
}

impl Schedule {
    pub(crate) fn new(catalogue: &'static Catalogue, settings: &SamplerSettings) -> Self {
        let entries = catalogue
            .families
            .iter()
            .map(|family| {
                let change = settings.families.get(&family.name).copied().unwrap_or_default();
                let own = match (change.interval, family.pace) {
                    (Some(interval), _) => Some(interval),
                    (None, Pace::Every(interval)) => Some(interval),
                    (None, Pace::Fast) => None,
                };
                Entry {
                    id: family.id,
                    name: &family.name,
                    priority: family.priority,
                    enabled: change.enabled.unwrap_or(true),
                    own_us: own.map(|d: Duration| (d.as_micros() as u64).max(FASTEST_US)),
                    due_us: 0,
                    last_samples: 0,
                    more: false,
                }
            })
            .collect();
        Self {
            entries,
            target_rate: settings.target_rate,
            share: 1.0,
            mode: Mode::Full,
            fast_us: 50_000,
            governed: false,
        }
    }

    /// Interval of a family in the mode that holds; `None` when it does not run.
    fn interval_us(&self, entry: &Entry) -> Option<u64> {
        if !entry.enabled {
            return None;
        }
        let own = entry.own_us.unwrap_or(self.fast_us);
        match self.mode {
            Mode::Full => Some(own),
            Mode::Reduced if entry.priority >= 4 => Some(own * 4),
            Mode::Reduced => Some(own),
            Mode::Minimal => match entry.priority {
                1 | 2 => Some(own.max(SECOND_US)),
                3 => Some(own.max(10 * SECOND_US)),
                _ => None,
            },
            Mode::Emergency => match entry.name {
                // Without it nobody would mend what this host runs, just when it is in trouble.
                "component" => Some(own.max(SECOND_US)),
                "cpu" | "memory" | "load" | "pressure" | "self" => Some(own.max(10 * SECOND_US)),
                _ => None,
            },
        }
    }

    /// Whether a family follows the fast interval now.
    fn is_fast(&self, entry: &Entry) -> bool {
        entry.enabled && entry.own_us.is_none() && self.mode <= Mode::Reduced
    }

    /// Whether this family is due at `now_us`. Slow ones may come up to half a fast interval early, so
    /// that they need no waking of their own.
    pub(crate) fn is_due(&self, at: usize, now_us: u64) -> bool {
        let entry = &self.entries[at];
        let Some(interval) = self.interval_us(entry) else { return false };
        let early = if self.is_fast(entry) { 0 } else { self.fast_us.min(interval) / 2 };
        entry.more || entry.due_us <= now_us + early
    }

    /// Notes what a family brought; the parts of one round are added up.
    pub(crate) fn note_samples(&mut self, at: usize, samples: u64) {
        let entry = &mut self.entries[at];
        entry.last_samples = if entry.more { entry.last_samples + samples } else { samples };
    }

    /// Notes that a family was sampled; returns how many of its scans were skipped for being late.
    pub(crate) fn done(&mut self, at: usize, now_us: u64, more: bool) -> u64 {
        let Some(interval) = self.interval_us(&self.entries[at]) else { return 0 };
        let first = self.entries[at].due_us == 0;
        let entry = &mut self.entries[at];
        let was_more = std::mem::replace(&mut entry.more, more);
        if first {
            // Slow families start apart from each other; fast ones together.
            let phase = if entry.own_us.is_some() { (at as u64 + 1) * PHASE_US % interval } else { 0 };
            entry.due_us = now_us + interval + phase;
            return 0;
        }
        if was_more && entry.due_us > now_us {
            return 0; // A later part of a round whose next start is set already.
        }
        entry.due_us += interval;
        if entry.due_us > now_us {
            return 0;
        }
        let skipped = (now_us - entry.due_us) / interval + 1;
        entry.due_us += skipped * interval;
        skipped
    }

    /// When the next family is due.
    pub(crate) fn next_due_us(&self) -> u64 {
        let fast = self.entries.iter().filter(|e| self.is_fast(e)).map(|e| e.due_us).min();
        if let Some(fast) = fast {
            let finer =
                |e: &&Entry| !self.is_fast(e) && self.interval_us(e).is_some_and(|i| i < self.fast_us);
            let finer = self.entries.iter().filter(finer).map(|e| e.due_us).min();
            return finer.map_or(fast, |finer| fast.min(finer));
        }
        let running = self.entries.iter().filter(|e| self.interval_us(e).is_some());
        running.map(|e| if e.more { 0 } else { e.due_us }).min().unwrap_or(u64::MAX)
    }

    /// Changes the mode; families that run again start soon, the others keep their place.
    pub(crate) fn set_mode(&mut self, mode: Mode, now_us: u64) {
        self.mode = mode;
        for at in 0..self.entries.len() {
            let interval = self.interval_us(&self.entries[at]);
            let entry = &mut self.entries[at];
            if let (Some(interval), true) = (interval, entry.due_us > 0) {
                entry.due_us = entry.due_us.clamp(now_us + FASTEST_US, now_us + interval);
            }
        }
        self.governed = false;
    }

    /// Sets the share of the target rate that is sampled in full mode; [`govern`](Self::govern) goes by it at once.
    pub(crate) fn set_share(&mut self, share: f64) {
        if (share - self.share).abs() > f64::EPSILON {
            self.share = share;
            self.governed = false;
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn fast_us(&self) -> u64 {
        self.fast_us
    }

    /// Sets the fast interval from what the last scans brought. To be called once a second.
    pub(crate) fn govern(&mut self) {
        let mut fast = 0.0;
        let mut slow_rate = 0.0;
        for entry in &self.entries {
            if self.is_fast(entry) {
                fast += entry.last_samples as f64;
            } else if let Some(interval) = self.interval_us(entry) {
                slow_rate += entry.last_samples as f64 * 1e6 / interval as f64;
            }
        }
        if fast == 0.0 {
            return;
        }
        let target = self.target_rate * if self.mode == Mode::Reduced { 0.5 } else { HEADROOM * self.share };
        let rate = (target - slow_rate).max(fast);
        let ideal = (fast * 1e6 / rate).clamp(FASTEST_US as f64, SLOWEST_US as f64);
        let before = self.fast_us as f64;
        // Faster at once, so that the rate is not short for long; slower by half the way each second.
        let slower = self.governed && ideal > before;
        let next = if slower { before + (ideal - before) / 2.0 } else { ideal };
        if !self.governed || (next - before).abs() > before * 0.002 {
            self.fast_us = next.round() as u64;
        }
        self.governed = true;
        let now = self.entries.iter().filter(|e| self.is_fast(e)).map(|e| e.due_us).min().unwrap_or(0);
        // A shorter interval takes hold at once.
        for at in 0..self.entries.len() {
            if self.is_fast(&self.entries[at]) {
                self.entries[at].due_us = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::FamilyOverride;
    use fettle_shared::catalogue::catalogue;

    fn schedule(target_rate: f64) -> Schedule {
        Schedule::new(catalogue(), &SamplerSettings { target_rate, ..SamplerSettings::default() })
    }

    fn at(schedule: &Schedule, name: &str) -> usize {
        schedule.entries.iter().position(|e| e.name == name).unwrap()
    }

    /// Runs for some seconds as the scan thread would and counts each family's scans.
    fn run(schedule: &mut Schedule, from_us: u64, seconds: u64) -> Vec<u64> {
        let mut counts = vec![0; schedule.entries.len()];
        let end = from_us + seconds * SECOND_US;
        let mut now = schedule.next_due_us().max(from_us);
        while now < end {
            for (i, count) in counts.iter_mut().enumerate() {
                if schedule.is_due(i, now) {
                    schedule.done(i, now, false);
                    *count += 1;
                }
            }
            let next = schedule.next_due_us();
            assert!(next > now, "time goes on");
            now = next;
        }
        counts
    }

    #[test]
    fn the_fast_interval_follows_from_the_target_rate() {
        let mut s = schedule(100_000.0);
        for e in &mut s.entries {
            e.last_samples = if e.own_us.is_none() { 500 } else { 0 };
        }
        let fast = s.entries.iter().filter(|e| e.own_us.is_none()).count() as f64 * 500.0;
        s.govern();
        let want = fast * 1e6 / 100_600.0;
        assert!((s.fast_us() as f64 - want).abs() < 2.0, "{} is not {want}", s.fast_us());
        let stack = at(&s, "net_stack");
        s.entries[stack].last_samples = 20_000;
        (0..20).for_each(|_| s.govern());
        let want = fast * 1e6 / 80_600.0;
        assert!((s.fast_us() as f64 / want - 1.0).abs() < 0.01);
        s.set_mode(Mode::Reduced, 0);
        s.govern();
        assert!(s.fast_us() as f64 > want * 1.7, "half the rate");
    }

    #[test]
    fn the_interval_keeps_its_bounds() {
        let mut s = schedule(1e9);
        s.entries.iter_mut().for_each(|e| e.last_samples = 10);
        s.govern();
        assert_eq!(s.fast_us(), FASTEST_US);
        let mut s = schedule(1.0);
        s.entries.iter_mut().for_each(|e| e.last_samples = 10);
        s.govern();
        assert_eq!(s.fast_us(), SLOWEST_US);
    }

    #[test]
    fn everything_runs_at_its_own_pace() {
        let mut s = schedule(100_000.0);
        let counts = run(&mut s, SECOND_US, 20);
        assert!((395..=402).contains(&counts[at(&s, "cpu")]), "{counts:?}");
        assert!((19..=21).contains(&counts[at(&s, "net_stack")]), "{counts:?}");
        assert!((19..=21).contains(&counts[at(&s, "filesystem")]), "{counts:?}");
    }

    #[test]
    fn an_interval_of_its_own_holds_below_the_fast_one() {
        let mut s = schedule(100_000.0);
        s.entries.iter_mut().for_each(|e| e.last_samples = if e.name == "process" { 40_000 } else { 100 });
        s.govern();
        assert!(s.fast_us() > 300_000, "{}", s.fast_us());
        let counts = run(&mut s, SECOND_US, 20);
        assert!((195..=202).contains(&counts[at(&s, "memory")]), "{counts:?}");
        assert!((40..=60).contains(&counts[at(&s, "process")]), "{counts:?}");
    }

    #[test]
    fn lower_modes_slow_what_matters_less() {
        let mut s = schedule(100_000.0);
        run(&mut s, SECOND_US, 2);
        s.set_mode(Mode::Minimal, 3 * SECOND_US);
        let counts = run(&mut s, 3 * SECOND_US, 20);
        assert!((19..=21).contains(&counts[at(&s, "cpu")]), "{counts:?}");
        assert!((1..=3).contains(&counts[at(&s, "process")]), "{counts:?}");
        assert_eq!(counts[at(&s, "interrupts")], 0);
        s.set_mode(Mode::Emergency, 23 * SECOND_US);
        let counts = run(&mut s, 23 * SECOND_US, 40);
        assert!((3..=5).contains(&counts[at(&s, "memory")]), "{counts:?}");
        assert!((38..=41).contains(&counts[at(&s, "component")]), "{counts:?}");
        assert_eq!(counts[at(&s, "disk")], 0);
        s.set_mode(Mode::Full, 63 * SECOND_US);
        let counts = run(&mut s, 63 * SECOND_US, 2);
        assert!(counts[at(&s, "process")] > 30, "{counts:?}");
    }

    #[test]
    fn a_late_thread_skips_and_counts() {
        let mut s = schedule(100_000.0);
        let cpu = at(&s, "cpu");
        assert_eq!(s.done(cpu, SECOND_US, false), 0);
        assert_eq!(s.done(cpu, SECOND_US + 50_000, false), 0);
        assert_eq!(s.done(cpu, SECOND_US + 320_000, false), 4);
        assert!(s.entries[cpu].due_us > SECOND_US + 320_000);
    }

    #[test]
    fn overrides_hold() {
        let mut settings = SamplerSettings::default();
        let slow = FamilyOverride { enabled: None, interval: Some(Duration::from_secs(5)) };
        settings.families.insert("cpu".into(), slow);
        settings.families.insert("disk".into(), FamilyOverride { enabled: Some(false), interval: None });
        let mut s = Schedule::new(catalogue(), &settings);
        let counts = run(&mut s, SECOND_US, 20);
        assert!((4..=5).contains(&counts[at(&s, "cpu")]), "{counts:?}");
        assert_eq!(counts[at(&s, "disk")], 0);
    }
}
