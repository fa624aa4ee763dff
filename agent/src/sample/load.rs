//! The load family: load averages, uptime, and the host's table of open files.

use std::path::Path;

use fettle_shared::catalogue::Catalogue;

use super::file::{KernelFile, Style};
use super::number::Cursor;
use super::source::{column, HostRow, Progress, Scan, Source};
use super::GapCause;

pub(crate) struct LoadSource {
    loadavg: KernelFile,
    uptime: KernelFile,
    file_nr: KernelFile,
    host: HostRow,
    /// First columns of loadavg, uptime and file-nr.
    first: [usize; 3],
}

impl LoadSource {
    pub(crate) fn new(proc_root: &Path, catalogue: &Catalogue) -> Option<Self> {
        let family = catalogue.family("load")?;
        Some(Self {
            loadavg: KernelFile::new(&proc_root.join("loadavg"), Style::Whole),
            uptime: KernelFile::new(&proc_root.join("uptime"), Style::Whole),
            file_nr: KernelFile::new(&proc_root.join("sys/fs/file-nr"), Style::Whole),
            host: HostRow::new(family),
            first: [
                column(family, "load_1m"),
                column(family, "uptime_seconds"),
                column(family, "open_files"),
            ],
        })
    }
}

impl Source for LoadSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        let Some(reading) = scan.read(&mut self.loadavg) else { return Progress::Done };
        let Some(load) = parse_loadavg(reading.new) else {
            scan.gaps.count(GapCause::Malformed);
            return Progress::Done;
        };
        let row = &mut self.host.row;
        row[self.first[0]..][..load.len()].copy_from_slice(&load);
        if let Some(reading) = scan.read(&mut self.uptime) {
            match parse_uptime(reading.new) {
                Some(up) => row[self.first[1]..][..up.len()].copy_from_slice(&up),
                None => scan.gaps.count(GapCause::Malformed),
            }
        }
        if let Some(reading) = scan.read(&mut self.file_nr) {
            match parse_file_nr(reading.new) {
                Some(files) => {
                    row[self.first[2]..][..files.len()].copy_from_slice(&files);
                    self.host.presence.mark(self.first[2]);
                    self.host.presence.mark(self.first[2] + 1);
                }
                None => scan.gaps.count(GapCause::Malformed),
            }
        }
        self.host.fresh = true;
        self.host.push(scan);
        Progress::Done
    }
}

/// `0.20 0.36 0.36 4/89 9460`: three averages in hundredths, runnable, all, last pid.
fn parse_loadavg(bytes: &[u8]) -> Option<[i64; 6]> {
    let mut c = Cursor::new(bytes);
    let averages = [c.fraction(2)?, c.fraction(2)?, c.fraction(2)?];
    let runnable = c.number()?;
    let all = c.skip_prefix(b"/").then(|| c.number())??;
    Some([averages[0], averages[1], averages[2], runnable, all, c.number()?])
}

/// `12.34 20.10`: uptime and idle time in hundredths.
fn parse_uptime(bytes: &[u8]) -> Option<[i64; 2]> {
    let mut c = Cursor::new(bytes);
    Some([c.fraction(2)?, c.fraction(2)?])
}

/// `511 0 2466170`: allocated, always 0, most allowed.
fn parse_file_nr(bytes: &[u8]) -> Option<[i64; 2]> {
    let mut c = Cursor::new(bytes);
    let allocated = c.number()?;
    c.number()?;
    Some([allocated, c.number()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use procfs::FromRead as _;
    use proptest::prelude::*;

    #[test]
    fn the_running_kernels_files_agree_with_procfs() {
        let bytes = std::fs::read("/proc/loadavg").unwrap();
        let ours = parse_loadavg(&bytes).unwrap();
        let oracle = procfs::LoadAverage::from_read(&bytes[..]).unwrap();
        assert_eq!(ours[0], (f64::from(oracle.one) * 100.0).round() as i64);
        assert_eq!(ours[2], (f64::from(oracle.fifteen) * 100.0).round() as i64);
        assert_eq!(ours[3..], [i64::from(oracle.cur), i64::from(oracle.max), i64::from(oracle.latest_pid)]);
        let bytes = std::fs::read("/proc/uptime").unwrap();
        let oracle = procfs::Uptime::from_read(&bytes[..]).unwrap();
        assert_eq!(parse_uptime(&bytes).unwrap()[0], (oracle.uptime * 100.0).round() as i64);
        assert!(parse_file_nr(&std::fs::read("/proc/sys/fs/file-nr").unwrap()).unwrap()[1] > 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in "[0-9./ ]{0,40}") {
            parse_loadavg(bytes.as_bytes());
            parse_uptime(bytes.as_bytes());
            parse_file_nr(bytes.as_bytes());
        }
    }
}
