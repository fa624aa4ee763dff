//! `/proc/stat`, which serves two families: cpu (one row a CPU and one for all) and scheduler.
//! `/proc/schedstat`, where the kernel has it, adds the run queues' own counts to the second.

use std::path::Path;

use fettle_shared::catalogue::Catalogue;

use super::entities::NamedSet;
use super::file::{KernelFile, Style};
use super::number::Cursor;
use super::source::{column, HostRow, Progress, Scan, Source};
use super::GapCause;

/// States of a CPU in a line of /proc/stat, and columns of the family.
const STATES: usize = 10;
/// Fields of a `cpuN` line in /proc/schedstat that are summed up.
const SCHED_FIELDS: usize = 9;

pub(crate) struct StatSource {
    cpu_id: u16,
    scheduler_id: u16,
    file: KernelFile,
    schedstat: KernelFile,
    cpus: NamedSet,
    scheduler: HostRow,
    columns: Columns,
    /// Scan in which the file was last read, and whether that worked.
    read_in: Option<(u64, bool)>,
    cpus_fresh: bool,
}

/// Where the keys of /proc/stat go.
struct Columns {
    keys: Vec<(&'static [u8], usize)>,
    sched: [Option<usize>; SCHED_FIELDS],
}

impl StatSource {
    pub(crate) fn new(proc_root: &Path, catalogue: &Catalogue) -> Option<Self> {
        let cpu = catalogue.family("cpu")?;
        let scheduler = catalogue.family("scheduler")?;
        let keys: Vec<(&'static [u8], usize)> = vec![
            (b"intr", column(scheduler, "interrupts")),
            (b"ctxt", column(scheduler, "context_switches")),
            (b"btime", column(scheduler, "boot_time_seconds")),
            (b"processes", column(scheduler, "forks")),
            (b"procs_running", column(scheduler, "running")),
            (b"procs_blocked", column(scheduler, "blocked")),
            (b"softirq", column(scheduler, "softirqs")),
        ];
        let mut sched = [None; SCHED_FIELDS];
        for (at, metric) in scheduler.metrics.iter().enumerate() {
            let field = metric.source.strip_prefix("schedstat:").and_then(|n| n.parse::<usize>().ok());
            if let Some(place) = field.and_then(|n| sched.get_mut(n - 1)) {
                *place = Some(at);
            }
        }
        Some(Self {
            cpu_id: cpu.id,
            scheduler_id: scheduler.id,
            file: KernelFile::new(&proc_root.join("stat"), Style::Whole),
            schedstat: KernelFile::new(&proc_root.join("schedstat"), Style::LongRecords),
            cpus: NamedSet::new(cpu.id, cpu.metrics.len().max(STATES)),
            scheduler: HostRow::new(scheduler),
            columns: Columns { keys, sched },
            read_in: None,
            cpus_fresh: true,
        })
    }

    /// Reads and parses the file once a scan; says whether there is something to hand over.
    fn refresh(&mut self, scan: &mut Scan<'_>) -> bool {
        if let Some((number, ok)) = self.read_in {
            if number == scan.number {
                return ok;
            }
        }
        let ok = match scan.read(&mut self.file) {
            Some(reading) if reading.is_same() => true,
            Some(reading) => {
                self.cpus.start(scan.builder);
                let ok = parse(reading.new, &self.columns, &mut self.scheduler.row, |at, name, states| {
                    if let Some(cpu) = self.cpus.see(scan.builder, at, &[name]) {
                        cpu.row[..STATES].copy_from_slice(states);
                    }
                });
                self.cpus.finish();
                self.cpus_fresh = true;
                self.scheduler.fresh = true;
                if !ok {
                    scan.gaps.count(GapCause::Malformed);
                }
                ok
            }
            None => false,
        };
        self.read_in = Some((scan.number, ok));
        ok
    }

    fn refresh_schedstat(&mut self, scan: &mut Scan<'_>) {
        let Some(reading) = scan.read(&mut self.schedstat) else { return };
        if reading.is_same() {
            return;
        }
        let Some(sums) = parse_schedstat(reading.new) else {
            scan.gaps.count(GapCause::Malformed);
            return;
        };
        for (sum, column) in sums.iter().zip(self.columns.sched) {
            if let Some(column) = column {
                self.scheduler.row[column] = *sum;
                self.scheduler.presence.mark(column);
            }
        }
        self.scheduler.fresh = true;
    }
}

impl Source for StatSource {
    fn sample(&mut self, family: u16, scan: &mut Scan<'_>) -> Progress {
        let ok = self.refresh(scan);
        if family == self.scheduler_id {
            self.refresh_schedstat(scan);
            if ok {
                self.scheduler.push(scan);
            }
        } else if ok {
            scan.builder.begin_scan(self.cpu_id, scan.clock.wall_us);
            for cpu in &self.cpus.list {
                if self.cpus_fresh {
                    scan.builder.push(self.cpu_id, cpu.slot, &cpu.row);
                } else {
                    scan.builder.repeat(self.cpu_id, cpu.slot);
                }
            }
            self.cpus_fresh = false;
        }
        Progress::Done
    }

    fn entities(&self) -> usize {
        self.cpus.len()
    }
}

/// Reads all of /proc/stat. `cpu` gets position, name ("all" or a number) and the ten states.
fn parse(
    bytes: &[u8],
    columns: &Columns,
    row: &mut [i64],
    mut cpu: impl FnMut(usize, &[u8], &[i64; STATES]),
) -> bool {
    let mut cursor = Cursor::new(bytes);
    let mut at = 0;
    while cursor.skip_prefix(b"cpu") {
        let name = if cursor.rest().first() == Some(&b' ') { b"all" } else { cursor.word() };
        let mut states = [0; STATES];
        for (i, state) in states.iter_mut().enumerate() {
            match cursor.number() {
                Some(value) => *state = value,
                // Steal and guest time came later than the rest.
                None if i >= 7 => break,
                None => return false,
            }
        }
        cursor.line();
        cpu(at, name, &states);
        at += 1;
    }
    let mut found = 0;
    while !cursor.is_done() {
        let key = cursor.word();
        if let Some((_, column)) = columns.keys.iter().find(|(k, _)| *k == key) {
            match cursor.number() {
                Some(value) => row[*column] = value,
                None => return false,
            }
            found += 1;
        }
        cursor.line();
    }
    at > 0 && found == columns.keys.len()
}

/// Sums the per-CPU lines of /proc/schedstat (version 15 and later): nine fields after the name.
fn parse_schedstat(bytes: &[u8]) -> Option<[i64; SCHED_FIELDS]> {
    let mut sums = [0i64; SCHED_FIELDS];
    let mut cpus = 0;
    let mut lines = Cursor::new(bytes);
    while let Some(line) = lines.line() {
        let mut fields = Cursor::new(line);
        if !fields.skip_prefix(b"cpu") {
            continue;
        }
        fields.skip_word();
        for sum in &mut sums {
            *sum = sum.wrapping_add(fields.number()?);
        }
        cpus += 1;
    }
    (cpus > 0).then_some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::catalogue::catalogue;
    use proptest::prelude::*;

    fn columns() -> Columns {
        StatSource::new(Path::new("/proc"), catalogue()).unwrap().columns
    }

    #[test]
    fn the_running_kernels_file_agrees_with_procfs() {
        let bytes = std::fs::read("/proc/stat").unwrap();
        let scheduler = catalogue().family("scheduler").unwrap();
        let mut row = vec![0; scheduler.metrics.len()];
        let mut cpus = Vec::new();
        assert!(parse(&bytes, &columns(), &mut row, |_, name, states| {
            cpus.push((String::from_utf8(name.to_vec()).unwrap(), *states));
        }));
        use procfs::FromBufReadSI as _;
        let oracle = procfs::KernelStats::from_buf_read(&bytes[..], procfs::current_system_info()).unwrap();
        assert_eq!(cpus.len(), oracle.cpu_time.len() + 1);
        let same = |ours: i64, theirs: u64| assert_eq!(ours as u64, theirs);
        same(cpus[0].1[0], oracle.total.user);
        same(cpus[0].1[3], oracle.total.idle);
        for (ours, theirs) in cpus[1..].iter().zip(&oracle.cpu_time) {
            same(ours.1[2], theirs.system);
            same(ours.1[7], theirs.steal.unwrap());
            same(ours.1[9], theirs.guest_nice.unwrap());
        }
        same(row[column(scheduler, "boot_time_seconds")], oracle.btime);
        same(row[column(scheduler, "forks")], oracle.processes);
        same(row[column(scheduler, "context_switches")], oracle.ctxt);
    }

    #[test]
    fn schedstat_is_summed_over_cpus() {
        let text =
            b"version 15\ntimestamp 4\ncpu0 1 0 3 4 5 6 7 8 9\ndomain0 3 1 2\ncpu1 1 0 3 4 5 6 7 8 9\n";
        assert_eq!(parse_schedstat(text), Some([2, 0, 6, 8, 10, 12, 14, 16, 18]));
        assert_eq!(parse_schedstat(b"version 15\n"), None);
        assert_eq!(parse_schedstat(b"cpu0 1 2\n"), None);
    }

    proptest! {
        #[test]
        fn cut_or_damaged_content_never_panics(cut in 0usize..2000, at in 0usize..2000, byte in any::<u8>()) {
            let mut bytes = std::fs::read("/proc/stat").unwrap();
            if let Some(b) = bytes.get_mut(at) {
                *b = byte;
            }
            bytes.truncate(cut);
            let mut row = vec![0; 64];
            parse(&bytes, &columns(), &mut row, |_, _, _| {});
            parse_schedstat(&bytes);
        }
    }
}
