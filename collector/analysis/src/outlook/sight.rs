//! What a component and its host showed at one step, as the row of sensors that failure prediction
//! learns from.
//!
//! The sensors are shares, ratios and logarithms, never bytes: what is learned of one component holds for
//! another. Everything that can run out is pooled: the sensors say how full the fullest supply is and how
//! soon the soonest would be used up at its present pace, not which it is. A model that has seen memory run
//! out thereby knows something of descriptors and disks that it has never seen run out.

use super::track::Track;

/// One host's tracks on one grid; columns as in [`super::columns`].
#[derive(Clone, Debug, Default)]
pub struct HostTracks {
    /// Agent's name.
    pub host: String,
    /// `memory`.
    pub memory: Option<Track>,
    /// `load`.
    pub load: Option<Track>,
    /// `cpu`, entity `all`.
    pub cpu: Option<Track>,
    /// `pressure`, one a resource.
    pub pressure: Vec<Track>,
    /// `filesystem`, those the host's work depends on.
    pub filesystems: Vec<Track>,
}

/// One component's tracks on the same grid; all empty for the host itself.
#[derive(Clone, Debug, Default)]
pub struct ComponentTracks {
    /// Its name; empty for the host itself.
    pub name: String,
    /// `component`.
    pub component: Option<Track>,
    /// `process`, its processes, former ones too.
    pub processes: Vec<Track>,
    /// `process_detail`, of the same.
    pub details: Vec<Track>,
}

/// Names of the sensors, in the order of a row.
pub const SENSORS: [&str; 22] = [
    "share of memory used",
    "share of swap used",
    "share of the host's descriptors used",
    "share of CPU time used",
    "load for each CPU",
    "CPU pressure",
    "memory pressure",
    "memory pressure, everything stalled",
    "I/O pressure",
    "I/O pressure, everything stalled",
    "fullest supply",
    "soonest end at the present pace",
    "soonest end at the pace of the horizon",
    "steadiness of that growth",
    "fill of the supply that ends soonest",
    "latency of the check",
    "latency against its usual",
    "checks that fail",
    "CPUs used by its processes",
    "time its processes wait for a CPU",
    "growth of its memory",
    "growth of its descriptors",
];

/// A row of sensors, and what it was made from in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// Start of the step, seconds since 1970.
    pub second: u32,
    /// Sensors in the order of [`SENSORS`]; NaN where nothing is known.
    pub row: Vec<f32>,
    /// Whether the component was up; `None` when no check said so.
    pub up: Option<bool>,
}

/// Makes the rows of one component.
#[derive(Clone, Copy, Debug)]
pub struct Sights<'a> {
    /// Its host.
    pub host: &'a HostTracks,
    /// It.
    pub component: &'a ComponentTracks,
    /// The horizon of the predictions, in seconds: paces are taken over it and a quarter of it.
    pub horizon_s: u32,
    /// How long a value counts that has no newer one, in seconds: slow families come every ten seconds.
    pub hold_s: u32,
}

/// What is assumed to be a process's limit of descriptors: the usual soft limit (getrlimit(2)). The table
/// that the kernel has allocated says when it must be higher.
const USUAL_DESCRIPTORS: f64 = 1024.0;
/// The most that a pace counts: the supply ends in a third of the horizon.
const SOONEST: f64 = 3.0;

/// Something that can run out, at one step.
struct Supply<'a> {
    track: &'a Track,
    used: fn(&dyn Fn(usize) -> f64) -> f64,
    capacity: f64,
}

/// How a supply is and goes.
#[derive(Clone, Copy, Default)]
struct Pace {
    share: f64,
    fast: f64,
    slow: f64,
    steady: f64,
}

impl Sights<'_> {
    /// The row at `second`, seconds since 1970.
    #[must_use]
    pub fn at(&self, second: u32) -> Sight {
        let paces: Vec<Pace> =
            self.supplies(second).iter().filter_map(|supply| self.pace(supply, second)).collect();
        let most = |value: fn(&Pace) -> f64| paces.iter().map(value).fold(f64::NAN, f64::max);
        let soonest = paces.iter().copied().reduce(|a, b| if b.slow > a.slow { b } else { a });
        let soonest = soonest.unwrap_or_default();
        let mut row = self.host_sensors(second);
        row.extend([most(|p| p.share), most(|p| p.fast), soonest.slow, soonest.steady, soonest.share]);
        row.extend(self.check_sensors(second));
        row.extend(self.process_sensors(second));
        let up = self.component.component.as_ref().map(|track| track.held(0, second, self.hold_s));
        let up = up.filter(|up| up.is_finite()).map(|up| up > 0.0);
        Sight { second, row: row.into_iter().map(|value| value as f32).collect(), up }
    }

    fn host_sensors(&self, second: u32) -> Vec<f64> {
        let host = self.host;
        let held = |track: &Option<Track>, column| {
            track.as_ref().map_or(f64::NAN, |track| track.held(column, second, self.hold_s))
        };
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let memory = |column| held(&host.memory, column);
        let load = |column| held(&host.load, column);
        let busy = host.cpu.as_ref().map(|cpu| self.busy(cpu, second));
        let (busy, cpus) = busy.unwrap_or((f64::NAN, f64::NAN));
        let mut row = vec![
            1.0 - share(memory(1), memory(0)),
            share(memory(2) - memory(3), memory(2)),
            share(load(0), load(1)),
            busy,
            load(2) / cpus,
        ];
        for (resource, column) in [("cpu", 0), ("memory", 0), ("memory", 1), ("io", 0), ("io", 1)] {
            let track = host.pressure.iter().find(|t| t.entity.first().is_some_and(|e| e == resource));
            row.push(track.map_or(f64::NAN, |track| track.held(column, second, self.hold_s) / 100.0));
        }
        row
    }

    /// Share of CPU time used, and how many CPUs there are.
    fn busy(&self, cpu: &Track, second: u32) -> (f64, f64) {
        let rates: Vec<f64> = (0..8).map(|column| cpu.rate(column, second, self.hold_s)).collect();
        let (used, all) = (rates[..6].iter().sum::<f64>(), rates.iter().sum::<f64>());
        // Ticks come a hundred times a second on each CPU.
        (used / all, (all / 100.0).round().max(1.0))
    }

    fn check_sensors(&self, second: u32) -> [f64; 3] {
        let Some(track) = &self.component.component else { return [f64::NAN; 3] };
        let latency = track.held(4, second, self.hold_s);
        let earlier: Vec<f64> =
            self.earlier(second).filter_map(|at| Some(track.at(4, at)).filter(|v| *v >= 0.0)).collect();
        let usual = earlier.iter().sum::<f64>() / earlier.len().max(1) as f64;
        let failing = track.rate(2, second, self.hold_s) / track.rate(1, second, self.hold_s).max(1e-9);
        let ratio = if usual > 0.0 { (latency / usual).max(1e-3).ln() } else { f64::NAN };
        [latency.max(0.0).ln_1p(), ratio, failing.min(1.0)]
    }

    /// Steps of the horizon before `second`, the newest quarter left out.
    fn earlier(&self, second: u32) -> impl Iterator<Item = u32> {
        let step = self.component.component.as_ref().map_or(1, |track| track.step_s);
        let newest = second.saturating_sub(self.horizon_s / 4);
        (0..self.horizon_s / step.max(1)).filter_map(move |back| newest.checked_sub(back * step))
    }

    fn process_sensors(&self, second: u32) -> [f64; 4] {
        let (mut cpus, mut wait) = (f64::NAN, f64::NAN);
        let (mut memory, mut descriptors) = (f64::NAN, f64::NAN);
        for track in &self.component.processes {
            let ticks = track.rate(2, second, self.hold_s) + track.rate(3, second, self.hold_s);
            if ticks.is_finite() {
                cpus = cpus.max(0.0) + ticks / 100.0;
            }
            memory = memory.max(self.growth(track, second));
        }
        for track in &self.component.details {
            wait = wait.max(track.rate(2, second, self.hold_s) / 1e9);
            descriptors = descriptors.max(self.growth(track, second));
        }
        [cpus, wait.min(4.0), memory, descriptors]
    }

    /// Logarithm of a track's first column now against a horizon ago, or as far back as it goes.
    fn growth(&self, track: &Track, second: u32) -> f64 {
        let now = track.held(0, second, self.hold_s);
        let then = self.back(track, |c| c(0), second, self.horizon_s).map_or(f64::NAN, |(then, _)| then);
        if now > 0.0 && then > 0.0 {
            (now / then).ln()
        } else {
            f64::NAN
        }
    }

    fn supplies(&self, second: u32) -> Vec<Supply<'_>> {
        let mut supplies = Vec::new();
        let mut add = |track, used, capacity: f64| {
            if capacity > 0.0 && capacity < 1e18 {
                supplies.push(Supply { track, used, capacity });
            }
        };
        let held = |track: &Track, column| track.held(column, second, self.hold_s);
        let mut spare = f64::NAN;
        if let Some(memory) = &self.host.memory {
            spare = held(memory, 1);
            add(memory, |c| c(0) - c(1), held(memory, 0));
            add(memory, |c| c(2) - c(3), held(memory, 2));
        }
        if let Some(load) = &self.host.load {
            add(load, |c| c(0), held(load, 1));
        }
        for track in &self.host.filesystems {
            add(track, |c| c(0), held(track, 0) + held(track, 1));
            add(track, |c| c(2) - c(3), held(track, 2) - held(track, 3) + held(track, 4));
        }
        for track in &self.component.processes {
            // `min` ignores a NaN: without memory figures the limit alone counts.
            add(track, |c| c(0), held(track, 1).min(held(track, 0) + spare));
        }
        for track in &self.component.details {
            add(track, |c| c(0), held(track, 1).max(USUAL_DESCRIPTORS));
        }
        supplies
    }

    fn pace(&self, supply: &Supply<'_>, second: u32) -> Option<Pace> {
        let value = |at| self.value(supply.track, supply.used, at);
        let now = Some(value(second)).filter(|now| now.is_finite())?;
        let horizon = f64::from(self.horizon_s);
        let left = (supply.capacity - now).max(1e-9 * supply.capacity);
        let ends = |reach: u32| {
            let Some((then, span_s)) = self.back(supply.track, supply.used, second, reach) else {
                return 0.0;
            };
            ((now - then) / f64::from(span_s) * horizon / left).clamp(0.0, SOONEST)
        };
        let quarter = (self.horizon_s / 4).max(1);
        let marks: Vec<f64> = (0..=4).map(|back| value(second.saturating_sub(back * quarter))).collect();
        let least = 1e-4 * supply.capacity;
        let rising = marks.windows(2).filter(|pair| pair[0] > pair[1] + least).count();
        Some(Pace {
            share: now / supply.capacity,
            fast: ends(quarter),
            slow: ends(self.horizon_s),
            steady: rising as f64 / 4.0,
        })
    }

    fn value(&self, track: &Track, used: fn(&dyn Fn(usize) -> f64) -> f64, second: u32) -> f64 {
        used(&|column| track.held(column, second, self.hold_s))
    }

    /// The value `reach_s` ago, or the oldest since then, and how many seconds ago it was; `None` when that
    /// is less than an eighth of the horizon.
    fn back(
        &self,
        track: &Track,
        used: fn(&dyn Fn(usize) -> f64) -> f64,
        second: u32,
        reach_s: u32,
    ) -> Option<(f64, u32)> {
        let from = second.saturating_sub(reach_s).max(track.start);
        let latest = second.saturating_sub((self.horizon_s / 8).max(track.step_s));
        let mut at = from;
        while at <= latest {
            let value = self.value(track, used, at);
            if value.is_finite() {
                return Some((value, second - at));
            }
            at += track.step_s;
        }
        None
    }
}

#[cfg(test)]
#[path = "sight_tests.rs"]
mod tests;
