//! Processes and kernel threads: the process family at every scan, process_detail at its own pace.
//!
//! `/proc/PID/stat` of each process stays open. Such a descriptor means the process it was opened
//! for and no other: once that has ended reads fail with ESRCH, even if the pid is in use again. So a
//! kept process cannot be mistaken. One that is opened anew each time, because descriptors are
//! short, is told apart by its start time. An exec that changes the name starts a new entity.

use std::collections::HashMap;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use fettle_shared::catalogue::Catalogue;
use fettle_shared::frame::{FrameBuilder, Key, Slot};
use rustix::fs::{Mode, OFlags, RawDir, SeekFrom, CWD};

use super::entities::Slots;
use super::file::{open_at, pread};
use super::process_detail::Detail;
use super::process_stat::StatLayout;
use super::source::{Progress, Scan, Source};
use super::GapCause;

/// Longest /proc/PID/stat: 52 numbers of at most 20 digits and a name.
const STAT_LEN: usize = 1536;
/// Directory entries are read in pieces of this size.
const DIR_LEN: usize = 32 * 1024;
/// Processes whose details are read in one go, so that the next fast scan is not kept waiting.
const DETAIL_CHUNK: usize = 64;
/// More processes than this are left out and counted.
const MAX_PROCESSES: usize = 32_768;

/// One process that is followed.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    pub(crate) comm: Box<str>,
    pub(crate) slot: Slot,
    pub(crate) detail_slot: Option<Slot>,
    /// `None`: opened anew for each read.
    stat: Option<OwnedFd>,
    /// Content of the last read.
    last: Vec<u8>,
}

impl Process {
    pub(crate) fn key(&self) -> [Key<'_>; 3] {
        [Key::Int(u64::from(self.pid)), Key::Int(self.start_ticks), Key::Text(&self.comm)]
    }
}

pub(crate) struct ProcessSource {
    id: u16,
    proc_dir: OwnedFd,
    layout: StatLayout,
    slots: Slots,
    list: Vec<Process>,
    by_pid: HashMap<u32, usize>,
    row: Vec<i64>,
    /// Descriptors that may be kept, and how many are.
    keep_limit: usize,
    kept: usize,
    interval_us: u64,
    next_listing_us: u64,
    dir_buffer: Box<[MaybeUninit<u8>]>,
    pids: Vec<u32>,
    detail: Detail,
    detail_at: usize,
}

impl ProcessSource {
    pub(crate) fn new(
        proc_root: &Path,
        catalogue: &Catalogue,
        keep_limit: usize,
        interval_us: u64,
    ) -> Result<Option<Self>, rustix::io::Errno> {
        let (Some(family), Some(detail)) = (catalogue.family("process"), catalogue.family("process_detail"))
        else {
            return Ok(None);
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc_dir = rustix::fs::openat(CWD, proc_root, flags, Mode::empty())?;
        Ok(Some(Self {
            id: family.id,
            detail: Detail::new(detail, &proc_dir),
            proc_dir,
            layout: StatLayout::of(family),
            slots: Slots::new(family.id),
            list: Vec::new(),
            by_pid: HashMap::new(),
            row: vec![0; family.metrics.len()],
            keep_limit,
            kept: 0,
            interval_us,
            next_listing_us: 0,
            dir_buffer: vec![MaybeUninit::uninit(); DIR_LEN].into(),
            pids: Vec::new(),
            detail_at: 0,
        }))
    }

    /// Lists /proc and takes in the processes that are new. Those that went are noticed when read.
    fn discover(&mut self, scan: &mut Scan<'_>) {
        if let Err(errno) = self.list_pids() {
            scan.gaps.count(errno.into());
        }
        for i in 0..self.pids.len() {
            let pid = self.pids[i];
            if self.by_pid.contains_key(&pid) {
                continue;
            }
            if self.list.len() >= MAX_PROCESSES {
                scan.gaps.count(GapCause::Overflow);
            } else if let Err(cause) = self.take_in(pid, scan) {
                // It may end between listing and opening: that is no gap, it was never followed.
                if !matches!(cause, GapCause::Absent | GapCause::Vanished) {
                    scan.gaps.count(cause);
                }
            }
        }
    }

    fn list_pids(&mut self) -> Result<(), rustix::io::Errno> {
        self.pids.clear();
        rustix::fs::seek(&self.proc_dir, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&self.proc_dir, &mut self.dir_buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if let Some(pid) = parse_pid(name) {
                self.pids.push(pid);
            }
        }
        Ok(())
    }

    fn take_in(&mut self, pid: u32, scan: &mut Scan<'_>) -> Result<(), GapCause> {
        let fd = open_at(&self.proc_dir, stat_path(pid, &mut [0; PATH_LEN]))?;
        let mut buf = [0; STAT_LEN];
        let n = pread(&fd, &mut buf, 0)?;
        let who = self.layout.parse(&buf[..n], &mut self.row).ok_or(GapCause::Malformed)?;
        let comm: Box<str> = String::from_utf8_lossy(who.comm).into();
        let start_ticks = who.start_ticks;
        let key = [Key::Int(u64::from(pid)), Key::Int(start_ticks), Key::Text(&comm)];
        let slot = self.slots.add(scan.builder, &key);
        let keep = self.kept < self.keep_limit;
        self.kept += usize::from(keep);
        self.by_pid.insert(pid, self.list.len());
        self.list.push(Process {
            pid,
            start_ticks,
            comm,
            slot,
            detail_slot: None,
            stat: keep.then_some(fd),
            // Empty, so that the next read finds a difference and hands the row over; with room for
            // numbers to grow without allocating.
            last: Vec::with_capacity(n + 64),
        });
        Ok(())
    }

    /// Ends the process at this place of the list; another one takes the place.
    fn end(&mut self, at: usize) {
        let process = self.list.swap_remove(at);
        self.kept -= usize::from(process.stat.is_some());
        self.by_pid.remove(&process.pid);
        if let Some(moved) = self.list.get(at) {
            self.by_pid.insert(moved.pid, at);
        }
        self.slots.end(&process.key(), process.slot);
        self.detail.end(&process);
    }

    /// One scan of every process.
    fn scan_stat(&mut self, scan: &mut Scan<'_>) {
        self.slots.settle(scan.builder);
        if scan.clock.mono_us >= self.next_listing_us {
            self.next_listing_us = scan.clock.mono_us + self.interval_us;
            self.discover(scan);
        }
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
        let mut buf = [0; STAT_LEN];
        let mut at = 0;
        while at < self.list.len() {
            match self.read_stat(at, &mut buf, scan.builder) {
                Ok(()) => at += 1,
                Err(GapCause::Vanished | GapCause::Absent) => {
                    scan.gaps.count(GapCause::Vanished);
                    self.end(at);
                }
                Err(cause) => {
                    scan.gaps.count(cause);
                    if cause == GapCause::TooManyFiles {
                        self.give_back_descriptors();
                    }
                    at += 1;
                }
            }
        }
    }

    /// Reads one process and hands its row over. `Vanished`: it is not there any more.
    #[inline]
    fn read_stat(
        &mut self,
        at: usize,
        buf: &mut [u8; STAT_LEN],
        builder: &mut FrameBuilder,
    ) -> Result<(), GapCause> {
        let process = &mut self.list[at];
        let n = match &process.stat {
            Some(fd) => pread(fd, buf, 0)?,
            None => {
                let path = &mut [0; PATH_LEN];
                let fd = open_at(&self.proc_dir, stat_path(process.pid, path))?;
                pread(&fd, buf, 0)?
            }
        };
        if buf[..n] == process.last[..] {
            builder.repeat(self.id, process.slot);
            return Ok(());
        }
        process.last.clear();
        let who = self.layout.parse(&buf[..n], &mut self.row).ok_or(GapCause::Malformed)?;
        if who.start_ticks != process.start_ticks {
            return Err(GapCause::Vanished); // The pid is another process now.
        }
        if who.comm != process.comm.as_bytes() {
            let comm = String::from_utf8_lossy(who.comm);
            if *comm != *process.comm {
                self.slots.end(&process.key(), process.slot);
                self.detail.end(process);
                process.detail_slot = None;
                process.comm = comm.into();
                process.slot = self.slots.add(builder, &process.key());
            }
        }
        process.last.extend_from_slice(&buf[..n]);
        builder.push(self.id, process.slot, &self.row);
        Ok(())
    }

    /// The table of open files is full: others need some too, so keep fewer.
    fn give_back_descriptors(&mut self) {
        let fewer = self.kept - (self.kept / 8).max(1).min(self.kept);
        self.keep_limit = fewer;
        for process in self.list.iter_mut().rev() {
            if self.kept <= fewer {
                break;
            }
            if process.stat.take().is_some() {
                self.kept -= 1;
            }
        }
        tracing::warn!(
            kept = self.kept,
            "open files are running out; the agent keeps fewer and opens the rest at each scan"
        );
    }

    /// Details of the next processes in the list.
    fn scan_detail(&mut self, scan: &mut Scan<'_>) -> Progress {
        self.detail.start(scan);
        let end = (self.detail_at + DETAIL_CHUNK).min(self.list.len());
        for process in self.list.get_mut(self.detail_at..end).unwrap_or_default() {
            // The files are named by pid, so the process must still be the same after they were read.
            self.detail.read(&self.proc_dir, process, scan);
            if is_alive(process, &self.proc_dir) {
                self.detail.push(process, scan);
            }
        }
        self.detail_at = if end < self.list.len() { end } else { 0 };
        if self.detail_at == 0 {
            Progress::Done
        } else {
            Progress::More
        }
    }
}

/// Whether a process is still the one that was opened.
fn is_alive(process: &Process, proc_dir: &OwnedFd) -> bool {
    let mut byte = [0; 1];
    match &process.stat {
        Some(fd) => pread(fd, &mut byte, 0).is_ok(),
        None => {
            let mut buf = [0; STAT_LEN];
            let fd = open_at(proc_dir, stat_path(process.pid, &mut [0; PATH_LEN]));
            let n = fd.ok().and_then(|fd| pread(fd, &mut buf, 0).ok()).unwrap_or(0);
            start_of(&buf[..n]) == Some(process.start_ticks)
        }
    }
}

/// Start time in a stat line.
fn start_of(bytes: &[u8]) -> Option<u64> {
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let field = bytes[close + 1..].split(|b| *b == b' ').filter(|w| !w.is_empty()).nth(19)?;
    super::number::single(field).map(|n| n as u64)
}

impl Source for ProcessSource {
    fn sample(&mut self, family: u16, scan: &mut Scan<'_>) -> Progress {
        if family == self.id {
            self.scan_stat(scan);
            return Progress::Done;
        }
        if self.list.is_empty() {
            self.discover(scan); // The process family is off.
        }
        self.scan_detail(scan)
    }

    fn entities(&self) -> usize {
        self.slots.live()
    }
}

fn parse_pid(name: &[u8]) -> Option<u32> {
    if name.is_empty() || name.len() > 10 {
        return None;
    }
    name.iter().try_fold(0u32, |pid, b| {
        let digit = b.wrapping_sub(b'0');
        if digit < 10 {
            pid.checked_mul(10)?.checked_add(u32::from(digit))
        } else {
            None
        }
    })
}

/// Room for `4294967295/coredump_filter` and a NUL.
pub(crate) const PATH_LEN: usize = 32;

fn stat_path(pid: u32, buf: &mut [u8; PATH_LEN]) -> &std::ffi::CStr {
    pid_path(pid, b"stat", buf)
}

/// `PID/name`, made in a buffer.
pub(crate) fn pid_path<'a>(pid: u32, name: &[u8], buf: &'a mut [u8; PATH_LEN]) -> &'a std::ffi::CStr {
    let mut digits = [0; 10];
    let mut at = digits.len();
    let mut left = pid;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    let digits = &digits[at..];
    buf.fill(0);
    buf[..digits.len()].copy_from_slice(digits);
    buf[digits.len()] = b'/';
    let name = &name[..name.len().min(PATH_LEN - 12)];
    buf[digits.len() + 1..][..name.len()].copy_from_slice(name);
    std::ffi::CStr::from_bytes_until_nul(buf).unwrap_or_default()
}

/// Opened once to see what the kernel can do.
pub(crate) fn own_fd_count(proc_dir: impl AsFd) -> i64 {
    let path = CString::new("self/fd").unwrap_or_default();
    rustix::fs::statat(proc_dir, &path, rustix::fs::AtFlags::empty()).map_or(0, |stat| stat.st_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_pids_are_made_and_read() {
        let mut buf = [0; PATH_LEN];
        assert_eq!(pid_path(0, b"io", &mut buf).to_bytes(), b"0/io");
        assert_eq!(
            pid_path(u32::MAX, b"coredump_filter", &mut buf).to_bytes(),
            b"4294967295/coredump_filter"
        );
        assert_eq!(parse_pid(b"4294967295"), Some(u32::MAX));
        assert_eq!(parse_pid(b"4294967296"), None);
        assert_eq!(parse_pid(b"self"), None);
        assert_eq!(parse_pid(b""), None);
    }

    #[test]
    fn the_start_time_is_found_after_any_name() {
        let line = format!("1 (a b) c) S{}", " 1".repeat(18) + " 77 5 5");
        assert_eq!(start_of(line.as_bytes()), Some(77));
        assert_eq!(start_of(b"1 (a) S 1"), None);
    }
}
