//! The kernel's clean caches (Documentation/admin-guide/sysctl/vm.rst, drop_caches): pages, dentries and inodes
//! that can be read again. Dirty pages are written first, so that more is clean.

use super::threads::Stop;
use super::Report;

/// Drops them.
pub(super) fn drop_caches(dry: bool, stop: &Stop) -> Result<Report, String> {
    let before = cached_kib();
    if dry {
        return Ok(Report::says(format!(
            "would write 3 to /proc/sys/vm/drop_caches; {before} KiB are cached"
        )));
    }
    rustix::fs::sync();
    stop.check()?;
    std::fs::write("/proc/sys/vm/drop_caches", "3").map_err(|error| {
        format!("/proc/sys/vm/drop_caches cannot be written: {error}; run the agent as root")
    })?;
    let after = cached_kib();
    Ok(Report::says(format!("cached before {before} KiB, after {after} KiB"))
        .with("cached_kib", before.to_string()))
}

fn cached_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Cached:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
