//! The process_detail family: I/O, run-queue delay, memory by kind and descriptors of a process,
//! from files that cost more than `stat` and are therefore opened, read and closed at a slower pace.
//! Which of them could be read is a column of its own, so that a 0 is never taken for a fact.

use std::os::fd::OwnedFd;

use fettle_shared::catalogue::Family;
use rustix::fs::AtFlags;

use super::entities::Slots;
use super::file::read_once;
use super::keylist::KeyList;
use super::number::Cursor;
use super::process::{own_fd_count, pid_path, Process, PATH_LEN};
use super::source::{column, Presence, Scan};
use super::GapCause;

/// Bits of the `sources` column.
const IO: i64 = 1;
const SCHEDSTAT: i64 = 2;
const STATUS: i64 = 4;
const FD: i64 = 8;
const LIMITS: i64 = 16;

/// How the line of /proc/PID/limits begins whose next word is the soft limit of descriptors.
const OPEN_FILES: &[u8] = b"Max open files";

pub(crate) struct Detail {
    id: u16,
    slots: Slots,
    presence: Presence,
    row: Vec<i64>,
    io: KeyList,
    status: KeyList,
    sources: usize,
    run: usize,
    fds: usize,
    fd_limit: usize,
    /// Since kernel 6.2 the size of /proc/PID/fd is the number of descriptors.
    counts_fds: bool,
}

impl Detail {
    pub(crate) fn new(family: &Family, proc_dir: &OwnedFd) -> Self {
        let fds = column(family, "fds");
        let counts_fds = own_fd_count(proc_dir) > 0;
        let mut presence = Presence::new(family);
        if counts_fds {
            presence.mark(fds);
        }
        Self {
            id: family.id,
            slots: Slots::new(family.id),
            presence,
            row: vec![0; family.metrics.len()],
            io: KeyList::of(family, "io "),
            status: KeyList::of(family, "status "),
            sources: column(family, "sources"),
            run: column(family, "run_ns"),
            fds,
            fd_limit: column(family, "fd_limit"),
            counts_fds,
        }
    }

    /// Starts a scan of some processes.
    pub(crate) fn start(&mut self, scan: &mut Scan<'_>) {
        self.slots.settle(scan.builder);
        self.presence.apply(scan.builder);
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
    }

    /// Reads the files of one process into the row.
    pub(crate) fn read(&mut self, proc_dir: &OwnedFd, process: &Process, scan: &mut Scan<'_>) {
        self.row.fill(0);
        let mut path = [0; PATH_LEN];
        let mut sources = 0;
        let mut content = |name: &[u8], scan: &mut Scan<'_>| {
            match read_once(proc_dir, pid_path(process.pid, name, &mut path), scan.scratch) {
                Ok(n) => Some(n),
                // It ended just now: the stat scan counts that.
                Err(GapCause::Vanished) => None,
                Err(cause) => {
                    scan.gaps.count(cause);
                    None
                }
            }
        };
        if let Some(n) = content(b"io", scan) {
            sources |= if self.io.parse(&scan.scratch[..n], &mut self.row) > 0 { IO } else { 0 };
        }
        if let Some(n) = content(b"schedstat", scan) {
            let mut c = Cursor::new(&scan.scratch[..n]);
            if let (Some(run), Some(wait), Some(slices)) = (c.number(), c.number(), c.number()) {
                self.row[self.run..self.run + 3].copy_from_slice(&[run, wait, slices]);
                sources |= SCHEDSTAT;
            }
        }
        if let Some(n) = content(b"status", scan) {
            sources |= if self.status.parse(&scan.scratch[..n], &mut self.row) > 0 { STATUS } else { 0 };
        }
        if let Some(n) = content(b"limits", scan) {
            if let Some(limit) = parse_fd_limit(&scan.scratch[..n]) {
                self.row[self.fd_limit] = limit;
                sources |= LIMITS;
            }
        }
        if self.counts_fds {
            let stat =
                rustix::fs::statat(proc_dir, pid_path(process.pid, b"fd", &mut path), AtFlags::empty());
            match stat {
                Ok(stat) => {
                    self.row[self.fds] = stat.st_size;
                    sources |= FD;
                }
                Err(errno) => scan.gaps.count(errno.into()),
            }
        }
        self.row[self.sources] = sources;
    }

    /// Hands over the row that was read last.
    pub(crate) fn push(&mut self, process: &mut Process, scan: &mut Scan<'_>) {
        if self.row[self.sources] == 0 {
            return;
        }
        let slot = match process.detail_slot {
            Some(slot) => slot,
            None => *process.detail_slot.insert(self.slots.add(scan.builder, &process.key())),
        };
        scan.builder.push(self.id, slot, &self.row);
    }

    /// The process ended or has another name.
    pub(crate) fn end(&mut self, process: &Process) {
        if let Some(slot) = process.detail_slot {
            self.slots.end(&process.key(), slot);
        }
    }
}

/// The soft limit of descriptors in /proc/PID/limits (proc(5)); none of it is said to be `unlimited`, because
/// the kernel allows no more than fs.nr_open.
fn parse_fd_limit(bytes: &[u8]) -> Option<i64> {
    let mut lines = Cursor::new(bytes);
    while let Some(line) = lines.line() {
        if let Some(rest) = line.strip_prefix(OPEN_FILES) {
            return Cursor::new(rest).number();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_running_kernels_limits_agree_with_procfs() {
        let bytes = std::fs::read("/proc/self/limits").unwrap();
        let oracle = procfs::process::Process::myself().unwrap().limits().unwrap().max_open_files.soft_limit;
        let procfs::process::LimitValue::Value(soft) = oracle else { panic!("no limit: {oracle:?}") };
        assert_eq!(parse_fd_limit(&bytes), Some(soft as i64));
        assert_eq!(parse_fd_limit(b"Max processes 1 2 processes\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in "((Max open files|Max)[0-9a-z ]{0,12}\n?){0,4}") {
            parse_fd_limit(bytes.as_bytes());
        }
    }
}
