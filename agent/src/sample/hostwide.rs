//! Families that are one file of `key value` lines: memory and vm.

use std::path::Path;

use fettle_shared::catalogue::Family;

use super::file::{KernelFile, Style};
use super::keyed::{KeyedTable, Parsed};
use super::source::{HostRow, Progress, Scan, Source};

/// `/proc/meminfo` or `/proc/vmstat`.
pub(crate) struct KeyedSource {
    file: KernelFile,
    table: KeyedTable,
    host: HostRow,
}

impl KeyedSource {
    /// The family whose metrics name their key as source.
    pub(crate) fn new(path: &Path, style: Style, family: &Family) -> Self {
        Self {
            file: KernelFile::new(path, style),
            table: KeyedTable::new(family, ""),
            host: HostRow::new(family),
        }
    }
}

impl Source for KeyedSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        let Some(reading) = scan.read(&mut self.file) else { return Progress::Done };
        if !reading.is_same() {
            let parsed = self.table.parse(reading.old, reading.new, &mut self.host.row);
            if parsed == Parsed::Relearned {
                let mut found = vec![false; self.host.row.len()];
                self.table.mark_present(&mut found);
                found.iter().enumerate().filter(|(_, f)| **f).for_each(|(i, _)| self.host.presence.mark(i));
                self.host.count_missing(&found, scan.gaps);
            }
            self.host.fresh = true;
        }
        self.host.push(scan);
        Progress::Done
    }
}
