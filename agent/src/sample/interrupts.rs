//! `/proc/interrupts`, one row a line, and `/proc/softirqs`, one row a CPU.

use std::path::Path;

use fettle_shared::catalogue::Catalogue;

use super::entities::NamedSet;
use super::file::{KernelFile, Style};
use super::number::{trimmed, Cursor};
use super::source::{Progress, Scan, Source};
use super::GapCause;

/// Interrupts by line, all CPUs added up: a column a CPU would be a table that changes with the
/// machine, and the sum is what finds the device that storms.
pub(crate) struct InterruptsSource {
    id: u16,
    file: KernelFile,
    set: NamedSet,
    /// The device's words with single blanks; reused from line to line.
    device: Vec<u8>,
}

impl InterruptsSource {
    pub(crate) fn new(proc_root: &Path, catalogue: &Catalogue) -> Option<Self> {
        let family = catalogue.family("interrupts")?;
        Some(Self {
            id: family.id,
            file: KernelFile::new(&proc_root.join("interrupts"), Style::LongRecords),
            set: NamedSet::new(family.id, family.metrics.len()),
            device: Vec::new(),
        })
    }
}

impl Source for InterruptsSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        let Some(reading) = scan.read(&mut self.file) else { return Progress::Done };
        self.set.start(scan.builder);
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
        let mut lines = Cursor::new(reading.new);
        let cpus = count_words(lines.line().unwrap_or_default());
        let mut at = 0;
        while let Some(line) = lines.line() {
            let Some((irq, count, rest)) = parse(line, cpus) else {
                scan.gaps.count(GapCause::Malformed);
                continue;
            };
            single_blanks(rest, &mut self.device);
            if let Some(entity) = self.set.see(scan.builder, at, &[irq, &self.device]) {
                entity.row[0] = count;
                scan.builder.push(self.id, entity.slot, &entity.row);
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

/// ` 24:  1  0  IO-APIC   5-edge  ACPI:Ged`: the line's name, the sum of its counts, the rest. Some
/// lines (`ERR:`) have one count whatever the number of CPUs.
fn parse(line: &[u8], cpus: usize) -> Option<(&[u8], i64, &[u8])> {
    let mut c = Cursor::new(line);
    c.skip_blanks();
    let irq = c.until(b':')?;
    let mut sum = c.number()?;
    for _ in 1..cpus {
        let before = c;
        match c.number() {
            // A word such as "5-edge" starts like a number but is not followed by a blank.
            Some(n) if matches!(c.rest().first(), None | Some(b' ' | b'\t')) => sum = sum.wrapping_add(n),
            _ => {
                c = before;
                break;
            }
        }
    }
    (!irq.is_empty()).then_some((irq, sum, trimmed(c.rest())))
}

fn count_words(line: &[u8]) -> usize {
    line.split(|b| *b == b' ').filter(|w| !w.is_empty()).count()
}

fn single_blanks(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    for word in text.split(|b| matches!(b, b' ' | b'\t')).filter(|w| !w.is_empty()) {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

/// Soft interrupts: the kernel has a line a kind and a column a CPU; a row is a CPU.
pub(crate) struct SoftirqsSource {
    id: u16,
    file: KernelFile,
    set: NamedSet,
    kinds: Vec<Box<[u8]>>,
    /// Index in the set for each CPU column of the file.
    places: Vec<usize>,
}

impl SoftirqsSource {
    pub(crate) fn new(proc_root: &Path, catalogue: &Catalogue) -> Option<Self> {
        let family = catalogue.family("softirqs")?;
        Some(Self {
            id: family.id,
            file: KernelFile::new(&proc_root.join("softirqs"), Style::Whole),
            set: NamedSet::new(family.id, family.metrics.len()),
            kinds: family.metrics.iter().map(|m| m.source.as_bytes().into()).collect(),
            places: Vec::new(),
        })
    }
}

impl Source for SoftirqsSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        let Some(reading) = scan.read(&mut self.file) else { return Progress::Done };
        self.set.start(scan.builder);
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
        let mut lines = Cursor::new(reading.new);
        let mut header = Cursor::new(lines.line().unwrap_or_default());
        self.places.clear();
        loop {
            let word = header.word();
            let Some(number) = word.strip_prefix(b"CPU") else { break };
            let Some(slot) = self.set.see(scan.builder, self.places.len(), &[number]).map(|cpu| cpu.slot)
            else {
                break;
            };
            let place = self.set.list.iter().position(|cpu| cpu.slot == slot);
            self.places.extend(place);
        }
        while let Some(line) = lines.line() {
            let mut c = Cursor::new(line);
            c.skip_blanks();
            let Some(kind) = c.until(b':') else {
                scan.gaps.count(GapCause::Malformed);
                continue;
            };
            let Some(column) = self.kinds.iter().position(|k| **k == *kind) else { continue };
            for place in &self.places {
                match c.number() {
                    Some(count) => self.set.list[*place].row[column] = count,
                    None => scan.gaps.count(GapCause::Malformed),
                }
            }
        }
        self.set.finish();
        for cpu in &self.set.list {
            scan.builder.push(self.id, cpu.slot, &cpu.row);
        }
        Progress::Done
    }

    fn entities(&self) -> usize {
        self.set.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_each_shape_are_read() {
        let line = b" 24:          1          5  IO-APIC   5-edge      ACPI:Ged";
        assert_eq!(parse(line, 2), Some((&b"24"[..], 6, &b"IO-APIC   5-edge      ACPI:Ged"[..])));
        assert_eq!(parse(b"ERR:          7", 2), Some((&b"ERR"[..], 7, &b""[..])));
        assert_eq!(parse(b"LOC: 1 2 Local timer interrupts", 2).unwrap().2, b"Local timer interrupts");
        assert_eq!(parse(b" 9: 3 4-edge x", 2), Some((&b"9"[..], 3, &b"4-edge x"[..])));
        assert_eq!(parse(b"no colon", 2), None);
        assert_eq!(count_words(b"           CPU0       CPU1       "), 2);
        let mut out = Vec::new();
        single_blanks(b"IO-APIC   5-edge \t ACPI:Ged", &mut out);
        assert_eq!(out, b"IO-APIC 5-edge ACPI:Ged");
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), cpus in 0usize..600) {
            parse(&bytes, cpus);
        }
    }
}
