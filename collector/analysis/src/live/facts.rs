//! The facts that a health score is made of: means over the host's last minute, and counts over its last
//! hour.

use std::collections::VecDeque;

use fettle_shared::catalogue::Catalogue;
use serde::{Deserialize, Serialize};

use super::features::total;
use super::look::{entities, largest, mean, place, sum, Place, Which};
use super::outlooks::Outlooks;
use crate::detect::series::Severity;
use crate::health::HostFacts;
use crate::second::{EntitySecond, HostSecond};

/// Seconds over which facts are means.
const MINUTE: usize = 60;
/// Seconds over which events are counted.
const HOUR_S: u32 = 3600;
/// Events remembered.
const MOST_EVENTS: usize = 600;
/// Memory of the share of silent seconds, in seconds.
const GAP_MEMORY_S: f32 = 600.0;
/// A disk with fewer requests a second has no latency to speak of.
const BUSY_REQUESTS: f64 = 5.0;

/// Facts of one second, in this order.
#[derive(Debug, Clone, Copy)]
#[rustfmt::skip]
enum Fact {
    Busy, System, Iowait, Steal, RunQueue, PsiCpu, Available, SwapIn, SwapOut, PsiMemory, PsiMemoryFull,
    Fullest, Inodes, Util, Latency, PsiIo, PsiIoFull, Errors, Retransmits,
}

const FACTS: usize = Fact::Retransmits as usize + 1;

/// What is remembered for the facts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// The last minute's seconds; NaN is a fact that is not known.
    minute: VecDeque<[f32; FACTS]>,
    kills: VecDeque<(u32, f64)>,
    restarts: VecDeque<(u32, f64)>,
    /// The newest second with a component in it; 0: none has been seen.
    supervised: u32,
    anomalies: VecDeque<u32>,
    /// Second of the newest row; 0 before the first.
    second: u32,
    gap_share: f32,
    /// Facts of file systems, which are sampled seldom.
    fullest: Option<f32>,
    inodes: Option<f32>,
    pub outlooks: Outlooks,
}

impl Facts {
    /// Takes in a second.
    pub fn learn(&mut self, second: &HostSecond, catalogue: &Catalogue) {
        let look = Look { second, catalogue };
        let elapsed = second.second.saturating_sub(self.second);
        if self.second > 0 && elapsed > 0 {
            let keep = (-(elapsed as f32) / GAP_MEMORY_S).exp();
            let missing = (elapsed - 1) as f32 / elapsed as f32;
            self.gap_share = self.gap_share * keep + missing * (1.0 - keep);
        }
        self.second = second.second;
        let kills = look.sum("vm.oom_kill").unwrap_or(0.0).round();
        if kills >= 1.0 {
            remember(&mut self.kills, (second.second, kills));
        }
        if let Some(restarts) = look.sum("component.restarts") {
            self.supervised = second.second;
            if restarts.round() >= 1.0 {
                remember(&mut self.restarts, (second.second, restarts.round()));
            }
        }
        let files = |used: Option<f64>, before: Option<f32>| used.map(|used| used as f32).or(before);
        self.fullest = files(look.fullest(), self.fullest);
        self.inodes = files(look.inodes(), self.inodes);
        let mut row = look.row();
        row[Fact::Fullest as usize] = self.fullest.unwrap_or(f32::NAN);
        row[Fact::Inodes as usize] = self.inodes.unwrap_or(f32::NAN);
        while self.minute.len() >= MINUTE {
            self.minute.pop_front();
        }
        self.minute.push_back(row);
    }

    /// Remembers that an anomaly was reported.
    pub fn reported(&mut self, second: u32, severity: Severity) {
        if severity >= Severity::Medium {
            remember(&mut self.anomalies, second);
        }
    }

    /// The facts now.
    pub fn now(&self) -> HostFacts {
        let since = self.second.saturating_sub(HOUR_S);
        let value = |fact: Fact| {
            let known = self.minute.iter().map(|row| row[fact as usize]).filter(|value| value.is_finite());
            let (sum, count) = known.fold((0.0f64, 0u32), |(sum, n), value| (sum + f64::from(value), n + 1));
            (count > 0).then(|| sum / f64::from(count))
        };
        let ahead = self.outlooks.at(self.second);
        let sum = |events: &VecDeque<(u32, f64)>| -> f64 {
            events.iter().filter(|event| event.0 >= since).map(|event| event.1).sum()
        };
        let supervised = self.supervised > 0 && self.supervised >= since;
        HostFacts {
            cpu_busy_share: value(Fact::Busy),
            cpu_system_share: value(Fact::System),
            cpu_iowait_share: value(Fact::Iowait),
            cpu_steal_share: value(Fact::Steal),
            run_queue_per_cpu: value(Fact::RunQueue),
            psi_cpu_some_share: value(Fact::PsiCpu),
            memory_available_share: value(Fact::Available),
            swap_in_pages_per_s: value(Fact::SwapIn),
            swap_out_pages_per_s: value(Fact::SwapOut),
            psi_memory_some_share: value(Fact::PsiMemory),
            psi_memory_full_share: value(Fact::PsiMemoryFull),
            oom_kills_per_h: Some(sum(&self.kills)),
            memory_outlook: ahead.memory,
            disk_fullest_share: value(Fact::Fullest),
            inode_fullest_share: value(Fact::Inodes),
            disk_util_share: value(Fact::Util),
            disk_latency_ms: value(Fact::Latency),
            psi_io_some_share: value(Fact::PsiIo),
            psi_io_full_share: value(Fact::PsiIoFull),
            disk_outlook: ahead.disk,
            net_errors_per_1000: value(Fact::Errors),
            tcp_retransmit_share: value(Fact::Retransmits),
            anomalies_per_h: Some(self.anomalies.iter().filter(|at| **at >= since).count() as f64),
            restarts_per_h: supervised.then(|| sum(&self.restarts)),
            agent_gap_share: Some(f64::from(self.gap_share)),
            failure_risk: ahead.failure_risk,
        }
    }
}

fn remember<T>(events: &mut VecDeque<T>, event: T) {
    while events.len() >= MOST_EVENTS {
        events.pop_front();
    }
    events.push_back(event);
}

/// One second with the names' places.
struct Look<'a> {
    second: &'a HostSecond,
    catalogue: &'a Catalogue,
}

impl Look<'_> {
    fn place(&self, name: &str) -> Option<Place> {
        place(self.catalogue, name)
    }

    fn sum(&self, name: &str) -> Option<f64> {
        sum(self.second, self.place(name)?, Which::All)
    }

    fn cpu(&self, names: &[&str]) -> Option<f64> {
        let states = "user nice system idle iowait irq softirq steal";
        let of = |names: &mut dyn Iterator<Item = &str>| {
            let places: Vec<Place> =
                names.filter_map(|name| self.place(&format!("cpu.{name}_ticks"))).collect();
            total(self.second, &places, Which::Only("all"))
        };
        let whole = of(&mut states.split(' ')).filter(|whole| *whole > 0.0)?;
        Some(of(&mut names.iter().copied())? / whole)
    }

    fn pressure(&self, resource: &'static str, name: &str) -> Option<f64> {
        Some(sum(self.second, self.place(name)?, Which::Only(resource))? * 1e-6)
    }

    /// Runnable tasks for each processor; the one that looks is not counted.
    fn run_queue(&self) -> Option<f64> {
        let cpus = self.place("cpu.user_ticks")?.family;
        let cpus = entities(self.second, cpus, Which::All).count().saturating_sub(1);
        let running = self.sum("load.runnable_tasks")? - 1.0;
        (cpus > 0).then(|| running.max(0.0) / cpus as f64)
    }

    fn fullest(&self) -> Option<f64> {
        let used = self.place("filesystem.used_bytes")?;
        let available = self.place("filesystem.available_bytes")?.metric;
        let read_only = self.place("filesystem.read_only")?.metric;
        largest(self.second, used.family, Which::All, |one| {
            // What is written once and full by design is no trouble.
            let writable = mean(one, read_only).unwrap_or(0.0) < 0.5;
            let (used, free) = (mean(one, used.metric)?, mean(one, available)?);
            (writable && used + free > 0.0).then(|| used / (used + free))
        })
    }

    fn inodes(&self) -> Option<f64> {
        let all = self.place("filesystem.inodes")?;
        let free = self.place("filesystem.inodes_free")?.metric;
        let read_only = self.place("filesystem.read_only")?.metric;
        largest(self.second, all.family, Which::All, |one| {
            let writable = mean(one, read_only).unwrap_or(0.0) < 0.5;
            let all = mean(one, all.metric).filter(|all| *all > 0.0)?;
            writable.then_some(1.0 - mean(one, free)? / all)
        })
    }

    fn latency(&self) -> Option<f64> {
        let reads = self.place("disk.reads")?;
        let rest = ["disk.writes", "disk.read_ms", "disk.write_ms"].map(|name| self.place(name));
        let [Some(writes), Some(read_ms), Some(write_ms)] = rest else { return None };
        let of = |disk: &EntitySecond| {
            let requests = mean(disk, reads.metric)? + mean(disk, writes.metric)?;
            let ms = mean(disk, read_ms.metric)? + mean(disk, write_ms.metric)?;
            Some(if requests >= BUSY_REQUESTS { ms / requests } else { 0.0 })
        };
        largest(self.second, reads.family, Which::All, of)
    }

    fn util(&self) -> Option<f64> {
        let place = self.place("disk.io_ms")?;
        let of = |disk: &EntitySecond| mean(disk, place.metric).map(|ms| (ms * 1e-3).min(1.0));
        largest(self.second, place.family, Which::All, of)
    }

    fn errors(&self) -> Option<f64> {
        let of = |names: &[&str]| {
            let places: Vec<Place> = names.iter().filter_map(|name| self.place(name)).collect();
            total(self.second, &places, Which::Outward)
        };
        let packets = of(&["network.rx_packets", "network.tx_packets"])?;
        let lost =
            of(&["network.rx_errors", "network.tx_errors", "network.rx_dropped", "network.tx_dropped"])?;
        Some(if packets >= 1.0 { lost * 1000.0 / packets } else { 0.0 })
    }

    fn retransmits(&self) -> Option<f64> {
        let out = self.sum("net_stack.tcp_out_segs")?;
        let again = self.sum("net_stack.tcp_retrans_segs")?;
        Some(if out >= 10.0 { again / out } else { 0.0 })
    }

    fn row(&self) -> [f32; FACTS] {
        let mut row = [f32::NAN; FACTS];
        let mut set = |fact: Fact, value: Option<f64>| {
            row[fact as usize] = value.map_or(f32::NAN, |value| value as f32);
        };
        set(Fact::Busy, self.cpu(&["user", "nice", "system", "irq", "softirq", "steal"]));
        set(Fact::System, self.cpu(&["system", "irq", "softirq"]));
        set(Fact::Iowait, self.cpu(&["iowait"]));
        set(Fact::Steal, self.cpu(&["steal"]));
        set(Fact::RunQueue, self.run_queue());
        set(Fact::PsiCpu, self.pressure("cpu", "pressure.some_total_us"));
        let available = self.sum("memory.available_bytes").zip(self.sum("memory.total_bytes"));
        set(Fact::Available, available.map(|(free, all)| free / all.max(1.0)));
        set(Fact::SwapIn, self.sum("vm.pswpin"));
        set(Fact::SwapOut, self.sum("vm.pswpout"));
        set(Fact::PsiMemory, self.pressure("memory", "pressure.some_total_us"));
        set(Fact::PsiMemoryFull, self.pressure("memory", "pressure.full_total_us"));
        set(Fact::Util, self.util());
        set(Fact::Latency, self.latency());
        set(Fact::PsiIo, self.pressure("io", "pressure.some_total_us"));
        set(Fact::PsiIoFull, self.pressure("io", "pressure.full_total_us"));
        set(Fact::Errors, self.errors());
        set(Fact::Retransmits, self.retransmits());
        row
    }
}
