//! Which series are worth judging: amounts and rates that say something about the host's work.
//!
//! Left out are names and states written as numbers (ids, flags, codes), limits and sizes that somebody
//! sets, averages of what is judged unaveraged, what a process inherits from its dead children, and
//! Fettle's own figures, which have telemetry of their own.

use fettle_shared::catalogue::{Family, Metric};

/// Units of numbers that are no amounts.
const UNITS: [&str; 20] = [
    "code",
    "pid",
    "flag",
    "bits",
    "uid",
    "gid",
    "status",
    "signal",
    "priority",
    "nice",
    "device",
    "cpu",
    "weight",
    "slots",
    "hops",
    "Mbit/s",
    "seconds since 1970",
    "frame number",
    "seconds",
    "unit of its kind",
];

/// Ends of the names of what is set, not measured.
const SET: [&str; 9] = [
    "_limit_bytes",
    "_limit",
    "_max",
    "_threshold",
    "total_bytes",
    "_quota_us",
    "_period_us",
    "mtu_bytes",
    "block_size_bytes",
];

/// What else says nothing, by family (`*`: any) and beginning of the name.
const SILENT: [(&str, &str); 17] = [
    ("self", ""),
    ("pressure", "some_avg"),
    ("pressure", "full_avg"),
    ("load", "load_15m"),
    ("process", "children_"),
    ("process", "signals_"),
    // Address space that was reserved, whether used or not.
    ("process", "vsize"),
    ("process_detail", "text_bytes"),
    ("process_detail", "library_bytes"),
    ("process_detail", "vm_"),
    ("process_detail", "rss_peak"),
    ("process_detail", "stack_bytes"),
    ("cgroup", "memory_peak"),
    ("net_stack", "tcp_rto"),
    ("net_stack", "tcp_max_conn"),
    ("memory", "direct_map_"),
    ("memory", "huge_page_size"),
];

/// Sensors measure in units of their own, and are worth it.
const SENSOR: (&str, &str) = ("sensor", "value");

/// Whether a metric's series are judged.
#[must_use]
pub fn judged(family: &Family, metric: &Metric) -> bool {
    if (family.name.as_str(), metric.name.as_str()) == SENSOR {
        return true;
    }
    let silent = |(name, begin): &(&str, &str)| *name == family.name && metric.name.starts_with(begin);
    !UNITS.contains(&metric.unit.as_str())
        && !SET.iter().any(|end| metric.name.ends_with(end))
        && !SILENT.iter().any(silent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::catalogue::catalogue;

    #[test]
    fn amounts_are_judged_and_names_limits_and_own_figures_are_not() {
        let is_judged = |family: &str, metric: &str| {
            let family = catalogue().family(family).unwrap();
            judged(family, &family.metrics[family.metric_index(metric).unwrap()])
        };
        for (family, metric) in [
            ("cpu", "user_ticks"),
            ("process", "rss_bytes"),
            ("disk", "write_bytes"),
            ("sensor", "value"),
            ("pressure", "some_total_us"),
            ("filesystem", "used_bytes"),
            ("process_detail", "fds"),
        ] {
            assert!(is_judged(family, metric), "{family}.{metric}");
        }
        for (family, metric) in [
            ("process", "pgrp"),
            ("process", "children_utime_ticks"),
            ("cgroup", "memory_limit_bytes"),
            ("self", "rss_bytes"),
            ("pressure", "some_avg10"),
            ("memory", "total_bytes"),
            ("sensor", "critical"),
        ] {
            assert!(!is_judged(family, metric), "{family}.{metric}");
        }
    }

    #[test]
    fn every_rule_is_about_something_that_exists() {
        for (name, begin) in SILENT {
            let family = catalogue().family(name).unwrap();
            assert!(family.metrics.iter().any(|m| m.name.starts_with(begin)), "{name}.{begin}*");
        }
        for unit in UNITS {
            assert!(catalogue().families.iter().flat_map(|f| &f.metrics).any(|m| m.unit == unit), "{unit}");
        }
    }
}
