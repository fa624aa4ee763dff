//! What processes cost: CPU time and memory as the kernel counts them for a whole process, with all
//! its threads, including those that have ended. CPU time, not wall time, because the machine that
//! measures is shared; the kernel rounds it to its clock tick, 10 ms, which is 1 % of one second.

use std::collections::BTreeMap;
use std::path::Path;

/// Memory and CPU time of one process, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time since the process began, in seconds.
    pub(crate) cpu_s: f64,
    /// Resident memory now, in bytes.
    pub(crate) rss_bytes: u64,
    /// Most resident memory so far, in bytes.
    pub(crate) peak_bytes: u64,
    /// The part of the resident memory that is not backed by files, in bytes.
    pub(crate) anonymous_bytes: u64,
}

impl Usage {
    /// Usage of a process; `None` once it is gone.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Self {
            cpu_s: cpu_seconds(&stat)?,
            rss_bytes: kilobytes(&status, "VmRSS:"),
            peak_bytes: kilobytes(&status, "VmHWM:"),
            anonymous_bytes: kilobytes(&status, "RssAnon:"),
        })
    }

    /// Usage of a process and everything below it, as one. CPU time of descendants that ended and
    /// were waited for is in it.
    pub(crate) fn of_tree(pid: u32) -> Option<Self> {
        let mut sum = Self::default();
        for member in tree(pid) {
            let Some(stat) = std::fs::read_to_string(format!("/proc/{member}/stat")).ok() else { continue };
            let Some(usage) = Self::of(member) else { continue };
            sum.cpu_s += usage.cpu_s + waited_for_seconds(&stat).unwrap_or(0.0);
            sum.rss_bytes += usage.rss_bytes;
            sum.peak_bytes += usage.peak_bytes;
            sum.anonymous_bytes += usage.anonymous_bytes;
        }
        (sum.rss_bytes > 0).then_some(sum)
    }
}

/// CPU seconds of a process's living threads, by name; what numbers a name is left out, so that the
/// threads of a pool stand together.
pub(crate) fn threads(pid: u32) -> BTreeMap<String, f64> {
    let mut by_name: BTreeMap<String, f64> = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let (Some(start), Some(end)) = (stat.find('('), stat.rfind(')')) else { continue };
        let name = stat[start + 1..end].trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        *by_name.entry(name.to_owned()).or_default() += cpu_seconds(&stat).unwrap_or(0.0);
    }
    by_name
}

/// The process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = parent_of(&entry.path()) {
            parents.push((pid, parent));
        }
    }
    let mut members = vec![root];
    let mut at = 0;
    while at < members.len() {
        let above = members[at];
        members.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        at += 1;
    }
    members
}

fn parent_of(process: &Path) -> Option<u32> {
    field(&std::fs::read_to_string(process.join("stat")).ok()?, 4)?.parse().ok()
}

/// Field `number` of /proc/PID/stat, numbered as in proc_pid_stat(5); the name may hold anything.
fn field(stat: &str, number: usize) -> Option<&str> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    after_name.split_ascii_whitespace().nth(number - 3)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    ticks(stat, [14, 15])
}

fn waited_for_seconds(stat: &str) -> Option<f64> {
    ticks(stat, [16, 17])
}

fn ticks(stat: &str, fields: [usize; 2]) -> Option<f64> {
    let mut sum = 0.0;
    for number in fields {
        sum += field(stat, number)?.parse::<f64>().ok()?;
    }
    Some(sum / rustix::param::clock_ticks_per_second() as f64)
}

fn kilobytes(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
    line.split_ascii_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_a_hostile_name_is_read() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 150 50 7 3 20 0 1 0 99 1 2";
        assert_eq!(field(stat, 4), Some("3"));
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(waited_for_seconds(stat), Some(0.1));
    }

    #[test]
    fn this_process_has_used_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_bytes > 0 && usage.peak_bytes >= usage.anonymous_bytes);
        assert!(tree(std::process::id()).contains(&std::process::id()));
        assert_eq!(Usage::of(u32::MAX), None);
        assert!(!threads(std::process::id()).is_empty());
    }
}
