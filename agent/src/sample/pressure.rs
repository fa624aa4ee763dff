//! Pressure stall information, `/proc/pressure/*`. Averages are kept in hundredths of a percent,
//! as the kernel prints them.

use std::path::Path;

use fettle_shared::catalogue::Catalogue;

use super::entities::NamedSet;
use super::file::{KernelFile, Style};
use super::number::Cursor;
use super::source::{Progress, Scan, Source};
use super::GapCause;

/// Numbers in a `some` or `full` line.
pub(crate) const PER_LINE: usize = 4;

pub(crate) struct PressureSource {
    id: u16,
    files: Vec<(&'static str, KernelFile)>,
    set: NamedSet,
}

impl PressureSource {
    pub(crate) fn new(proc_root: &Path, catalogue: &Catalogue) -> Option<Self> {
        let family = catalogue.family("pressure")?;
        let dir = proc_root.join("pressure");
        let file = |name| (name, KernelFile::new(&dir.join(name), Style::Whole));
        Some(Self {
            id: family.id,
            files: ["cpu", "memory", "io", "irq"].map(file).into(),
            set: NamedSet::new(family.id, family.metrics.len().max(2 * PER_LINE)),
        })
    }
}

impl Source for PressureSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        self.set.start(scan.builder);
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
        let mut at = 0;
        for (name, file) in &mut self.files {
            let Some(reading) = scan.read(file) else { continue };
            let Some(entity) = self.set.see(scan.builder, at, &[name.as_bytes()]) else { continue };
            at += 1;
            if reading.is_same() {
                scan.builder.repeat(self.id, entity.slot);
            } else if let Some(values) = parse(reading.new) {
                entity.row[..values.len()].copy_from_slice(&values);
                scan.builder.push(self.id, entity.slot, &entity.row);
            } else {
                scan.gaps.count(GapCause::Malformed);
            }
        }
        self.set.finish();
        Progress::Done
    }

    fn entities(&self) -> usize {
        self.set.len()
    }
}

/// `some avg10=0.08 avg60=0.18 avg300=0.72 total=15612398`, then the same for `full`; either line
/// may be missing.
pub(crate) fn parse(bytes: &[u8]) -> Option<[i64; 2 * PER_LINE]> {
    let mut values = [0; 2 * PER_LINE];
    let mut found = false;
    let mut lines = Cursor::new(bytes);
    while let Some(line) = lines.line() {
        let mut c = Cursor::new(line);
        let base = match c.word() {
            b"some" => 0,
            b"full" => PER_LINE,
            _ => continue,
        };
        for i in 0..PER_LINE {
            c.until(b'=')?;
            values[base + i] = if i + 1 < PER_LINE { c.fraction(2)? } else { c.number()? };
        }
        found = true;
    }
    found.then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_lines_are_read_and_either_may_be_missing() {
        let some = "some avg10=0.08 avg60=12.18 avg300=0.72 total=15612398\n";
        let full = "full avg10=1.00 avg60=0.00 avg300=0.01 total=7\n";
        let both = parse(format!("{some}{full}").as_bytes()).unwrap();
        assert_eq!(both, [8, 1218, 72, 15_612_398, 100, 0, 1, 7]);
        assert_eq!(parse(full.as_bytes()).unwrap(), [0, 0, 0, 0, 100, 0, 1, 7]);
        assert_eq!(parse(&some.as_bytes()[..30]), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn the_running_kernels_files_agree_with_procfs() {
        use procfs::FromRead as _;
        let Ok(bytes) = std::fs::read("/proc/pressure/memory") else { return };
        let oracle = procfs::MemoryPressure::from_read(&bytes[..]).unwrap();
        let ours = parse(&bytes).unwrap();
        assert_eq!(ours[3] as u64, oracle.some.total);
        assert_eq!(ours[7] as u64, oracle.full.total);
        assert_eq!(ours[2], (f64::from(oracle.some.avg300) * 100.0).round() as i64);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text in "((some|full)? ?(avg10|total)?=?[0-9.]{0,6} ?\n?){0,9}") {
            parse(text.as_bytes());
        }
    }
}
