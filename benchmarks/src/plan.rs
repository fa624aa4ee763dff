//! Which files the agent reads and how often, found out from outside: the files it keeps open, as
//! /proc shows them, and the pace of each family, as its frames show it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fettle_shared::catalogue::catalogue;

use crate::floor::Pace;

/// Files the agent keeps open that belong to no family that was seen.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What is read, by pace.
    pub(crate) paces: Vec<Pace>,
    /// Kept files whose pace is not known.
    pub(crate) unknown: Vec<PathBuf>,
}

/// The plan of a running agent; `scans` of each family were seen in `seconds`.
pub(crate) fn of(pid: u32, scans: &BTreeMap<u16, u64>, seconds: f64) -> Plan {
    let mut by_interval: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for path in kept_files(pid) {
        let interval = family_of(&path)
            .and_then(|family| scans.get(&family))
            .filter(|scans| **scans > 0)
            .map(|scans| round(seconds * 1e6 / *scans as f64));
        match interval {
            Some(interval) => by_interval.entry(interval).or_default().push(path),
            None => unknown.push(path),
        }
    }
    let paces = by_interval.into_iter().map(|(interval_us, paths)| Pace { interval_us, paths }).collect();
    Plan { paces, unknown }
}

/// To two digits, so that families of one pace stay together although the measure began and ended
/// somewhere between two of their scans.
fn round(interval_us: f64) -> u64 {
    let unit = 10f64.powf(interval_us.log10().floor() - 1.0);
    ((interval_us / unit).round() * unit) as u64
}

fn kept_files(pid: u32) -> Vec<PathBuf> {
    let own_net = PathBuf::from(format!("/proc/{pid}/net"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        // /proc/net is the reader's own; the agent's goes with the agent.
        let target = match target.strip_prefix(&own_net) {
            Ok(rest) => Path::new("/proc/self/net").join(rest),
            Err(_) => target,
        };
        let kernel = target.starts_with("/proc") || target.starts_with("/sys");
        if kernel && !target.is_dir() {
            files.push(target);
        }
    }
    files
}

fn family_of(path: &Path) -> Option<u16> {
    let text = path.to_str()?;
    let parts: Vec<&str> = text.split('/').skip(1).collect();
    let is_pid = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let name = match parts.as_slice() {
        ["proc", "self", "net", "dev"] => "network",
        ["proc", "self", "net", _] => "net_stack",
        ["proc", pid, "stat"] if is_pid(pid) => "process",
        ["proc", pid, ..] if is_pid(pid) => "process_detail",
        ["proc", "pressure", _] => "pressure",
        ["proc", "stat"] => "cpu",
        ["proc", "meminfo"] => "memory",
        ["proc", "vmstat"] => "vm",
        ["proc", "diskstats"] => "disk",
        ["proc", "interrupts"] => "interrupts",
        ["proc", "softirqs"] => "softirqs",
        ["proc", "schedstat"] => "scheduler",
        ["proc", "loadavg" | "uptime"] | ["proc", "sys", ..] => "load",
        ["sys", "fs", "cgroup", ..] => "cgroup",
        ["sys", "class", "net", ..] => "network",
        ["sys", "class" | "devices", ..] => "sensor",
        _ => return None,
    };
    catalogue().family(name).map(|family| family.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_family() {
        let id = |path: &str| family_of(Path::new(path));
        let family = |name: &str| catalogue().family(name).map(|family| family.id);
        assert_eq!(id("/proc/17/stat"), family("process"));
        assert_eq!(id("/proc/stat"), family("cpu"));
        assert_eq!(id("/proc/self/net/snmp"), family("net_stack"));
        assert_eq!(id("/dev/null"), None);
    }

    #[test]
    fn paces_are_rounded_to_two_digits() {
        assert_eq!(round(50_213.0), 50_000);
        assert_eq!(round(1_008_000.0), 1_000_000);
        assert_eq!(round(52_999.0), 53_000);
    }
}
