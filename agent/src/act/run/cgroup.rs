//! Limits of a control group, by its files: version 2 (Documentation/admin-guide/cgroup-v2.rst: `cpu.max`,
//! `memory.max`, `pids.max`) and version 1 (`cpu.cfs_quota_us`, `memory.limit_in_bytes`, `pids.max`).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{fstatfs, openat, Mode, OFlags};

use super::tree::{open_plain, why};
use super::{Report, LIMIT_BEFORE};

/// File systems that control groups are (statfs(2)).
const CGROUP_MAGIC: [u64; 2] = [0x0027_e0eb, 0x6367_7270];
/// From here on a number is none: version 1 writes the highest that fits whole pages.
const V1_NO_LIMIT: u64 = 1 << 62;

/// Sets one limit in the group's directory.
pub(super) fn set(group: &Path, resource: &str, value: u64, dry: bool) -> Result<Report, String> {
    let directory = open_plain(group, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let kind = fstatfs(&directory).map_err(|error| why(group, error))?.f_type;
    if !CGROUP_MAGIC.contains(&(kind as u64)) {
        return Err(format!("{} is no control group; correct the host's file", group.display()));
    }
    let (name, text) = setting(&directory, resource, value)
        .ok_or_else(|| format!("{} has no control of {resource}; enable its controller", group.display()))?;
    let mut before = String::new();
    open(&directory, name, OFlags::RDONLY)
        .and_then(|mut file| file.read_to_string(&mut before))
        .map_err(|error| format!("{name} of {} cannot be read: {error}", group.display()))?;
    let before = before.trim_end();
    if dry {
        return Ok(Report::says(format!("would write {text} to {name}, which holds {before}")));
    }
    open(&directory, name, OFlags::WRONLY)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("{name} of {} cannot be set: {error}", group.display()))?;
    let report = Report::says(format!("wrote {text} to {name}, which held {before}")).with(name, before);
    Ok(match value_of(&directory, name, before) {
        Some(value) => report.with(LIMIT_BEFORE, value.to_string()),
        None => report,
    })
}

fn open(directory: impl AsFd, name: &str, flags: OFlags) -> std::io::Result<File> {
    let fd: OwnedFd = openat(directory, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    Ok(File::from(fd))
}

/// What a file holds, in the unit of an order; nothing where there was no limit.
fn value_of(directory: &OwnedFd, name: &str, held: &str) -> Option<u64> {
    match name {
        "cpu.max" => {
            let (quota, period) = held.split_once(' ')?;
            percent(quota.parse().ok()?, period.parse().ok()?)
        }
        "cpu.cfs_quota_us" => percent(held.parse().ok()?, period(directory)?),
        _ => held.parse().ok().filter(|value| *value < V1_NO_LIMIT),
    }
}

fn percent(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(100)?.checked_div(period)
}

fn period(directory: &OwnedFd) -> Option<u64> {
    let mut text = String::new();
    open(directory, "cpu.cfs_period_us", OFlags::RDONLY).ok()?.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The file there is for a resource, and what to write.
fn setting(directory: &OwnedFd, resource: &str, value: u64) -> Option<(&'static str, String)> {
    let has = |name: &str| open(directory, name, OFlags::RDONLY).is_ok();
    match resource {
        "cpu_percent" if has("cpu.max") => Some(("cpu.max", format!("{} 100000", value.checked_mul(1000)?))),
        "cpu_percent" if has("cpu.cfs_quota_us") => {
            Some(("cpu.cfs_quota_us", (period(directory)?.checked_mul(value)? / 100).to_string()))
        }
        "memory_bytes" if has("memory.max") => Some(("memory.max", value.to_string())),
        "memory_bytes" if has("memory.limit_in_bytes") => Some(("memory.limit_in_bytes", value.to_string())),
        "pids" if has("pids.max") => Some(("pids.max", value.to_string())),
        _ => None,
    }
}
