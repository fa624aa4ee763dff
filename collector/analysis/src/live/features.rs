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
}

/// States of a processor that add up to its time; guest time is part of user time.
const CPU: &str = "cpu.user_ticks cpu.nice_ticks cpu.system_ticks cpu.idle_ticks cpu.iowait_ticks \
                   cpu.irq_ticks cpu.softirq_ticks cpu.steal_ticks";

/// Name, kind and metrics of each. `of ALL`: a share of the processors' time; `us`: microseconds of a second as
/// a share.
const FEATURES: &[(&str, &str, &str)] = &[
    ("cpu.user_share", "cpu", "cpu.user_ticks cpu.nice_ticks"),
    ("cpu.system_share", "cpu", "cpu.system_ticks"),
    ("cpu.iowait_share", "cpu", "cpu.iowait_ticks"),
    ("cpu.irq_share", "cpu", "cpu.irq_ticks cpu.softirq_ticks"),
    ("cpu.steal_share", "cpu", "cpu.steal_ticks"),
    ("load.load_1m", "sum", "load.load_1m"),
    ("load.runnable_tasks", "sum", "load.runnable_tasks"),
    ("load.tasks", "sum", "load.tasks"),
    ("load.open_files", "sum", "load.open_files"),
    ("scheduler.context_switches", "sum", "scheduler.context_switches"),
    ("scheduler.forks", "sum", "scheduler.forks"),
    ("scheduler.interrupts", "sum", "scheduler.interrupts"),
    ("scheduler.blocked", "sum", "scheduler.blocked"),
    ("process.processes", "count", "process"),
    ("memory.available_share", "share", "memory.available_bytes memory.total_bytes"),
    ("memory.anon_pages_bytes", "sum", "memory.anon_pages_bytes"),
    ("memory.cached_bytes", "sum", "memory.cached_bytes"),
    ("memory.dirty_bytes", "sum", "memory.dirty_bytes"),
    ("memory.writeback_bytes", "sum", "memory.writeback_bytes"),
    ("memory.slab_bytes", "sum", "memory.slab_bytes"),
    ("memory.shmem_bytes", "sum", "memory.shmem_bytes"),
    ("memory.committed_bytes", "sum", "memory.committed_bytes"),
    ("memory.swap_used_share", "used", "memory.swap_free_bytes memory.swap_total_bytes"),
    ("vm.pgfault", "sum", "vm.pgfault"),
    ("vm.pgmajfault", "sum", "vm.pgmajfault"),
    ("vm.pgpgin", "sum", "vm.pgpgin"),
    ("vm.pgpgout", "sum", "vm.pgpgout"),
    ("vm.swapped_pages", "sum", "vm.pswpin vm.pswpout"),
    ("vm.scanned_pages", "sum", "vm.pgscan_kswapd vm.pgscan_direct"),
    ("vm.refaulted_pages", "sum", "vm.workingset_refault_file vm.workingset_refault_anon"),
    ("pressure.cpu_some_share", "us cpu", "pressure.some_total_us"),
    ("pressure.memory_some_share", "us memory", "pressure.some_total_us"),
    ("pressure.io_some_share", "us io", "pressure.some_total_us"),
    ("pressure.io_full_share", "us io", "pressure.full_total_us"),
    ("disk.reads", "disks", "disk.reads"),
    ("disk.writes", "disks", "disk.writes"),
    ("disk.read_bytes", "disks", "disk.read_bytes"),
    ("disk.write_bytes", "disks", "disk.write_bytes"),
    ("disk.queue_time", "disks", "disk.weighted_io_ms"),
    ("disk.util_share", "busiest", "disk.io_ms"),
    ("network.rx_bytes", "outward", "network.rx_bytes"),
    ("network.tx_bytes", "outward", "network.tx_bytes"),
    ("network.packets", "outward", "network.rx_packets network.tx_packets"),
    (
        "network.lost_packets",
        "outward",
        "network.rx_errors network.rx_dropped network.tx_errors network.tx_dropped",
    ),
    ("network.loopback_bytes", "loopback", "network.rx_bytes"),
    ("net_stack.tcp_curr_estab", "sum", "net_stack.tcp_curr_estab"),
    ("net_stack.tcp_opens", "sum", "net_stack.tcp_active_opens net_stack.tcp_passive_opens"),
    ("net_stack.tcp_retrans_segs", "sum", "net_stack.tcp_retrans_segs"),
];

impl Features {
    /// The features of this catalogue; those of metrics it lacks are left out.
    #[must_use]
    pub fn of(catalogue: &Catalogue) -> Self {
        let found = FEATURES
            .iter()
            .filter_map(|(name, kind, metrics)| Some(((*name).to_owned(), way(catalogue, kind, metrics)?)));
        let (names, ways) = found.unzip();
        Self { names, ways }
    }

    /// Their names, in the order of a row.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
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
        for (name, kind, metrics) in FEATURES.iter().filter(|(_, kind, _)| *kind != "count") {
            for metric in metrics.split_whitespace() {
                assert!(place(catalogue(), metric).is_some(), "{name} ({kind}): {metric}");
            }
        }
        assert_eq!(places(catalogue(), CPU).len(), 8);
    }
}
