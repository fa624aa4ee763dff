//! Block devices, `/proc/diskstats`. Loop, RAM and zram devices that never did any I/O are left out:
//! a distribution makes a dozen of them, and a dozen rows of zeros tell nobody anything.

use std::path::Path;

use fettle_shared::catalogue::Catalogue;

use super::entities::NamedSet;
use super::file::{KernelFile, Style};
use super::keyed::factors;
use super::number::Cursor;
use super::source::{column, Presence, Progress, Scan, Source};
use super::GapCause;

/// Numbers after the device's name since kernel 5.5: flushes are the last two.
const FIELDS: usize = 17;
/// Numbers since 4.18, without flushes.
const FIELDS_BEFORE_FLUSH: usize = 15;

pub(crate) struct DiskSource {
    id: u16,
    file: KernelFile,
    set: NamedSet,
    factors: Vec<i64>,
    flushes: usize,
    presence: Presence,
}

impl DiskSource {
    pub(crate) fn new(proc_root: &Path, catalogue: &Catalogue) -> Option<Self> {
        let family = catalogue.family("disk")?;
        Some(Self {
            id: family.id,
            file: KernelFile::new(&proc_root.join("diskstats"), Style::Records),
            set: NamedSet::new(family.id, family.metrics.len().max(FIELDS)),
            factors: factors(family),
            flushes: column(family, "flushes"),
            presence: Presence::new(family),
        })
    }
}

impl Source for DiskSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        let Some(reading) = scan.read(&mut self.file) else { return Progress::Done };
        let first = Cursor::new(reading.new).line().and_then(parse);
        if first.is_some_and(|(_, count, _)| count > FIELDS_BEFORE_FLUSH) {
            self.presence.mark(self.flushes);
            self.presence.mark(self.flushes + 1);
        }
        self.presence.apply(scan.builder);
        self.set.start(scan.builder);
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
        if reading.is_same() {
            for disk in &mut self.set.list {
                scan.builder.repeat(self.id, disk.slot);
            }
            return Progress::Done;
        }
        let mut lines = Cursor::new(reading.new);
        let mut at = 0;
        while let Some(line) = lines.line() {
            let Some((name, _, values)) = parse(line) else {
                scan.gaps.count(GapCause::Malformed);
                continue;
            };
            if is_idle_virtual(name, &values) {
                continue;
            }
            if let Some(disk) = self.set.see(scan.builder, at, &[name]) {
                for ((cell, value), factor) in disk.row.iter_mut().zip(values).zip(&self.factors) {
                    *cell = value.wrapping_mul(*factor);
                }
                scan.builder.push(self.id, disk.slot, &disk.row);
                at += 1;
            }
        }
        self.set.finish();
        Progress::Done
    }

    fn entities(&self) -> usize {
        self.set.len()
    }
}

/// `254 0 vda 12838 5547 …`: name, how many numbers, and the numbers.
fn parse(line: &[u8]) -> Option<(&[u8], usize, [i64; FIELDS])> {
    let mut c = Cursor::new(line);
    c.number()?;
    c.number()?;
    let name = c.word();
    let mut values = [0; FIELDS];
    let mut count = 0;
    for value in &mut values {
        let Some(number) = c.number() else { break };
        *value = number;
        count += 1;
    }
    // Before 4.18 there were 11 numbers; fewer is no such line.
    (!name.is_empty() && count >= 11).then_some((name, count, values))
}

fn is_idle_virtual(name: &[u8], values: &[i64]) -> bool {
    let kinds: [&[u8]; 4] = [b"loop", b"ram", b"zram", b"nbd"];
    kinds.iter().any(|kind| name.starts_with(kind)) && values.iter().all(|v| *v == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_every_kernel_are_read() {
        let line = b" 254       0 vda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17";
        let (name, count, values) = parse(line).unwrap();
        assert_eq!((name, count, values[16]), (&b"vda"[..], 17, 17));
        let (_, count, values) = parse(b"8 1 sda1 1 2 3 4 5 6 7 8 9 10 11").unwrap();
        assert_eq!((count, values[10], values[11]), (11, 11, 0));
        assert!(parse(b"8 1 sda1 1 2 3 4").is_none());
        assert!(parse(b"").is_none());
    }

    #[test]
    fn the_running_kernels_file_agrees_with_procfs() {
        use procfs::FromBufRead as _;
        let bytes = std::fs::read("/proc/diskstats").unwrap();
        let oracle = procfs::DiskStats::from_buf_read(&bytes[..]).unwrap();
        let mut lines = Cursor::new(&bytes);
        for disk in oracle.0 {
            let (name, _, values) = parse(lines.line().unwrap()).unwrap();
            assert_eq!(name, disk.name.as_bytes());
            assert_eq!(values[2] as u64, disk.sectors_read);
            assert_eq!(values[10] as u64, disk.weighted_time_in_progress);
            assert_eq!(values[16] as u64, disk.time_flushing.unwrap_or(0));
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            parse(&bytes);
        }
    }
}
