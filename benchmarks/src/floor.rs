//! The floor under the agent: a process that only opens the same files, keeps them open, and
//! `pread`s each into one buffer at the same pace. What the agent takes beyond this is parsing,
//! encoding, the spool and the network.
//!
//! A process's `stat` file stands for a process; when it ends, its descriptor gives ESRCH and is
//! closed. New processes are not looked for, which makes the floor a little lower than fair.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::time::{
    timerfd_create, timerfd_settime, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
};

/// Files that are read at one pace.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pace {
    /// Time between two reads, in microseconds.
    pub(crate) interval_us: u64,
    /// The files.
    pub(crate) paths: Vec<PathBuf>,
}

/// What the floor did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    /// `pread` calls.
    pub(crate) reads: u64,
    /// Bytes they gave.
    pub(crate) bytes: u64,
    /// Wake-ups of the timer.
    pub(crate) ticks: u64,
}

struct Kept {
    file: File,
    whole: bool,
}

/// Reads a plan: lines of interval in microseconds, a space, and a path.
pub(crate) fn read_plan(path: &Path) -> anyhow::Result<Vec<Pace>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut paces: Vec<Pace> = Vec::new();
    for line in text.lines() {
        let (interval, file) = line.split_once(' ').context("a plan's line is an interval and a path")?;
        let interval_us: u64 = interval.parse()?;
        match paces.iter_mut().find(|pace| pace.interval_us == interval_us) {
            Some(pace) => pace.paths.push(file.into()),
            None => paces.push(Pace { interval_us, paths: vec![file.into()] }),
        }
    }
    paces.sort_by_key(|pace| pace.interval_us);
    Ok(paces)
}

/// A plan as text, for [`read_plan`].
pub(crate) fn write_plan(paces: &[Pace]) -> String {
    let line = |pace: &Pace, path: &PathBuf| format!("{} {}\n", pace.interval_us, path.display());
    paces.iter().flat_map(|pace| pace.paths.iter().map(move |path| line(pace, path))).collect()
}

/// Reads all files at their paces for this long.
pub(crate) fn run(paces: &[Pace], length: Duration) -> anyhow::Result<Work> {
    let tick_us = paces.first().context("the plan is empty")?.interval_us.max(1000);
    let mut groups: Vec<(u64, Vec<Kept>, u64)> = paces
        .iter()
        .map(|pace| (pace.interval_us, pace.paths.iter().filter_map(|path| keep(path)).collect(), 0))
        .collect();
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let spec =
        Timespec { tv_sec: (tick_us / 1_000_000) as i64, tv_nsec: (tick_us % 1_000_000 * 1000) as i64 };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: spec, it_value: spec })?;
    let mut timer = File::from(timer);
    let mut buffer = vec![0u8; 1 << 20];
    let mut work = Work::default();
    let began = Instant::now();
    while began.elapsed() < length {
        timer.read_exact(&mut [0u8; 8])?;
        work.ticks += 1;
        let now_us = began.elapsed().as_micros() as u64;
        for (interval_us, files, due_us) in &mut groups {
            if now_us + tick_us / 2 < *due_us {
                continue;
            }
            *due_us = (*due_us + *interval_us).max(now_us.saturating_sub(*interval_us));
            files.retain(|kept| read(kept, &mut buffer, &mut work));
        }
    }
    Ok(work)
}

/// Opens a file; `None` if it is gone or forbidden.
fn keep(path: &Path) -> Option<Kept> {
    let whole = path.file_name().is_some_and(|name| name == "stat") && path.components().count() == 4;
    File::open(path).ok().map(|file| Kept { file, whole })
}

/// Reads a file from its start to its end; `false` once it cannot be read any more.
fn read(kept: &Kept, buffer: &mut [u8], work: &mut Work) -> bool {
    let mut offset = 0;
    loop {
        work.reads += 1;
        match rustix::io::pread(kept.file.as_fd(), &mut buffer[offset..], offset as u64) {
            Ok(0) => return true,
            Ok(n) => {
                work.bytes += n as u64;
                offset += n;
                // A read that stops well below a page is the whole file: no second call to hear so.
                if kept.whole || (offset == n && n < 3456) || offset == buffer.len() {
                    return true;
                }
            }
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_written_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plan");
        let plan = vec![
            Pace { interval_us: 50_000, paths: vec!["/proc/1/stat".into(), "/proc/stat".into()] },
            Pace { interval_us: 1_000_000, paths: vec!["/proc/interrupts".into()] },
        ];
        std::fs::write(&path, write_plan(&plan)).unwrap();
        assert_eq!(read_plan(&path).unwrap(), plan);
    }

    #[test]
    fn files_are_read_at_their_pace() {
        let plan = vec![
            Pace { interval_us: 10_000, paths: vec!["/proc/self/stat".into()] },
            Pace { interval_us: 100_000, paths: vec!["/proc/stat".into(), "/nothing".into()] },
        ];
        let work = run(&plan, Duration::from_secs(2)).unwrap();
        assert!(work.ticks >= 5 && work.reads >= work.ticks && work.bytes > work.ticks * 100, "{work:?}");
    }
}
