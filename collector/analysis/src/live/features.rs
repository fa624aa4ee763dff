//! The features of a whole host that the host detector judges together, from the catalogue by name. What
//! a kernel lacks is missing in every row and does no harm; names are read by the correlation's patterns.

use fettle_shared::catalogue::Catalogue;

use super::look::{largest, mean, place, sum, Place, Which};
use crate::second::HostSecond;

/// How a feature follows from a second.
#[derive(Debug, Clone)]
enum Way {
    /// Sum of these metrics over these entities.
    Sum(Vec<Place>, Which),
    /// The same, divided by the sum of these over the same entities.
    Share(Vec<Place>, Vec<Place>, Which),
    /// 1 less the first over the second.
    Used(Place, Place),
    /// The largest of one metric, times this.
    Largest(Place, Which, f64),
    /// How many entities the family has.
    Count(usize),
}

/// The features, resolved.
#[derive(Debug, Clone)]
pub struct Features {
    names: Vec<String>,
    ways: Vec<Way>,
    matters: Vec<f32>,
}

/// States of a processor that add up to its time; guest time is part of user time.
const CPU: &str = "cpu.user_ticks cpu.nice_ticks cpu.system_ticks cpu.idle_ticks cpu.iowait_ticks \
                   cpu.irq_ticks cpu.softirq_ticks cpu.steal_ticks";

/// Name, kind and metrics of each, and the least change that is worth a word: below it a host does not feel it,
/// however rare it is. `of ALL`: a share of the processors' time; `us`: microseconds of a second as a share.
const FEATURES: &[(&str, &str, &str, f32)] = &[
    ("cpu.user_share", "cpu", "cpu.user_ticks cpu.nice_ticks", 0.05),
    ("cpu.system_share", "cpu", "cpu.system_ticks", 0.05),
    ("cpu.iowait_share", "cpu", "cpu.iowait_ticks", 0.05),
    ("cpu.irq_share", "cpu", "cpu.irq_ticks cpu.softirq_ticks", 0.02),
    ("cpu.steal_share", "cpu", "cpu.steal_ticks", 0.05),
    ("load.load_1m", "sum", "load.load_1m", 1.0),
    ("load.runnable_tasks", "sum", "load.runnable_tasks", 2.0),
    ("load.tasks", "sum", "load.tasks", 20.0),
    ("load.open_files", "sum", "load.open_files", 100.0),
    ("scheduler.context_switches", "sum", "scheduler.context_switches", 2000.0),
    ("scheduler.forks", "sum", "scheduler.forks", 20.0),
    ("scheduler.interrupts", "sum", "scheduler.interrupts", 2000.0),
    ("scheduler.blocked", "sum", "scheduler.blocked", 1.0),
    ("process.processes", "count", "process", 5.0),
    ("memory.available_share", "share", "memory.available_bytes memory.total_bytes", 0.01),
    ("memory.anon_pages_bytes", "sum", "memory.anon_pages_bytes", 5e7),
    ("memory.cached_bytes", "sum", "memory.cached_bytes", 1e8),
    ("memory.dirty_bytes", "sum", "memory.dirty_bytes", 5e7),
    ("memory.writeback_bytes", "sum", "memory.writeback_bytes", 1e7),
    ("memory.slab_bytes", "sum", "memory.slab_bytes", 2e7),
    ("memory.shmem_bytes", "sum", "memory.shmem_bytes", 2e7),
    ("memory.committed_bytes", "sum", "memory.committed_bytes", 2e8),
    ("memory.swap_used_share", "used", "memory.swap_free_bytes memory.swap_total_bytes", 0.01),
    ("vm.pgfault", "sum", "vm.pgfault", 5000.0),
    ("vm.pgmajfault", "sum", "vm.pgmajfault", 20.0),
    ("vm.pgpgin", "sum", "vm.pgpgin", 2000.0),
    ("vm.pgpgout", "sum", "vm.pgpgout", 5000.0),
    ("vm.swapped_pages", "sum", "vm.pswpin vm.pswpout", 200.0),
    ("vm.scanned_pages", "sum", "vm.pgscan_kswapd vm.pgscan_direct", 5000.0),
    ("vm.refaulted_pages", "sum", "vm.workingset_refault_file vm.workingset_refault_anon", 500.0),
    ("pressure.cpu_some_share", "us cpu", "pressure.some_total_us", 0.05),
    ("pressure.memory_some_share", "us memory", "pressure.some_total_us", 0.01),
    ("pressure.io_some_share", "us io", "pressure.some_total_us", 0.03),
    ("pressure.io_full_share", "us io", "pressure.full_total_us", 0.03),
    ("disk.reads", "disks", "disk.reads", 50.0),
    ("disk.writes", "disks", "disk.writes", 50.0),
    ("disk.read_bytes", "disks", "disk.read_bytes", 5e6),
    ("disk.write_bytes", "disks", "disk.write_bytes", 5e6),
    ("disk.queue_time", "disks", "disk.weighted_io_ms", 1000.0),
    ("disk.util_share", "busiest", "disk.io_ms", 0.1),
    ("network.rx_bytes", "outward", "network.rx_bytes", 2e5),
    ("network.tx_bytes", "outward", "network.tx_bytes", 2e5),
    ("network.packets", "outward", "network.rx_packets network.tx_packets", 200.0),
    (
        "network.lost_packets",
        "outward",
        "network.rx_errors network.rx_dropped network.tx_errors network.tx_dropped",
        5.0,
    ),
    ("network.loopback_bytes", "loopback", "network.rx_bytes", 1e6),
    ("net_stack.tcp_curr_estab", "sum", "net_stack.tcp_curr_estab", 10.0),
    ("net_stack.tcp_opens", "sum", "net_stack.tcp_active_opens net_stack.tcp_passive_opens", 20.0),
    ("net_stack.tcp_retrans_segs", "sum", "net_stack.tcp_retrans_segs", 5.0),
];

impl Features {
    /// The features of this catalogue; those of metrics it lacks are left out.
    #[must_use]
    pub fn of(catalogue: &Catalogue) -> Self {
        let found = FEATURES.iter().filter_map(|(name, kind, metrics, matters)| {
            Some(((*name).to_owned(), (way(catalogue, kind, metrics)?, *matters)))
        });
        let (names, (ways, matters)) = found.unzip();
        Self { names, ways, matters }
    }

    /// Their names, in the order of a row.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The least change of each that is worth a word, in its unit.
    pub(super) fn matters(&self) -> &[f32] {
        &self.matters
    }

    /// The row of a second, NaN where there is no value.
    pub(super) fn row(&self, second: &HostSecond, row: &mut Vec<f32>) {
        row.clear();
        row.extend(self.ways.iter().map(|way| way.value(second).map_or(f32::NAN, |value| value as f32)));
    }
}

fn places(catalogue: &Catalogue, metrics: &str) -> Vec<Place> {
    metrics.split_whitespace().filter_map(|name| place(catalogue, name)).collect()
}

fn way(catalogue: &Catalogue, kind: &str, metrics: &str) -> Option<Way> {
    if kind == "count" {
        return catalogue.families.iter().position(|family| family.name == metrics).map(Way::Count);
    }
    let places = places(catalogue, metrics);
    let (first, second) = (*places.first()?, places.get(1).copied());
    Some(match kind {
        "cpu" => Way::Share(places, self::places(catalogue, CPU), Which::Only("all")),
        "share" => Way::Share(vec![first], vec![second?], Which::All),
        "used" => Way::Used(first, second?),
        "us cpu" => Way::Largest(first, Which::Only("cpu"), 1e-6),
        "us memory" => Way::Largest(first, Which::Only("memory"), 1e-6),
        "us io" => Way::Largest(first, Which::Only("io"), 1e-6),
        "disks" => Way::Sum(places, Which::WholeDisks),
        "busiest" => Way::Largest(first, Which::All, 1e-3),
        "outward" => Way::Sum(places, Which::Outward),
        "loopback" => Way::Sum(places, Which::Only("lo")),
        _ => Way::Sum(places, Which::All),
    })
}

impl Way {
    fn value(&self, second: &HostSecond) -> Option<f64> {
        match self {
            Self::Sum(places, which) => total(second, places, *which),
            Self::Share(part, whole, which) => {
                let whole = total(second, whole, *which).filter(|whole| *whole > 0.0)?;
                Some(total(second, part, *which)? / whole)
            }
            Self::Used(free, whole) => {
                let whole = sum(second, *whole, Which::All)?;
                let free = sum(second, *free, Which::All)?;
                Some(if whole > 0.0 { 1.0 - free / whole } else { 0.0 })
            }
            Self::Largest(place, which, scale) => {
                largest(second, place.family, *which, |entity| mean(entity, place.metric))
                    .map(|value| value * scale)
            }
            Self::Count(family) => second.family(*family).map(|family| family.entities.len() as f64),
        }
    }
}

/// Sum over metrics and entities; none when there is no value at all.
pub(super) fn total(second: &HostSecond, places: &[Place], which: Which) -> Option<f64> {
    places.iter().filter_map(|place| sum(second, *place, which)).reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::catalogue::catalogue;

    #[test]
    fn every_feature_is_made_of_metrics_that_exist() {
        let features = Features::of(catalogue());
        assert_eq!(features.names.len(), FEATURES.len());
        for (name, kind, metrics, _) in FEATURES.iter().filter(|(_, kind, _, _)| *kind != "count") {
            for metric in metrics.split_whitespace() {
                assert!(place(catalogue(), metric).is_some(), "{name} ({kind}): {metric}");
            }
        }
        assert_eq!(places(catalogue(), CPU).len(), 8);
    }
}
