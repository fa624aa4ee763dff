//! The text of `/proc/PID/stat`: which field goes into which column, and the parser.
//!
//! The command name stands in parentheses and may itself hold blanks and parentheses, so what
//! follows it is looked for from the last one (proc_pid_stat(5)).

use fettle_shared::catalogue::Family;

use super::keyed::factors;
use super::number::Cursor;

/// Fields of the line in Linux 3.5 and later.
const FIELDS: usize = 52;
/// The field of the state letter, the first after the name.
const STATE: usize = 3;
/// The field of the start time.
const START: usize = 22;
/// A field no column wants.
const NONE: u8 = u8::MAX;

/// Columns by field number.
#[derive(Debug)]
pub(crate) struct StatLayout {
    columns: [u8; FIELDS + 1],
    /// Columns that are multiplied, and by what.
    factors: Vec<(usize, i64)>,
}

/// Name and start time: with the pid, what tells one process from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who<'a> {
    pub(crate) comm: &'a [u8],
    pub(crate) start_ticks: u64,
}

impl StatLayout {
    /// The metrics of the family name their field number as source.
    pub(crate) fn of(family: &Family) -> Self {
        let mut columns = [NONE; FIELDS + 1];
        for (column, metric) in family.metrics.iter().enumerate() {
            let field = metric.source.parse::<usize>().ok().and_then(|field| columns.get_mut(field));
            if let Some(place) = field {
                *place = column as u8;
            }
        }
        let factors = factors(family).into_iter().enumerate().filter(|(_, f)| *f != 1).collect();
        Self { columns, factors }
    }

    /// Fills `row` from the line. `None` when it is cut short; the row is then half filled.
    pub(crate) fn parse<'a>(&self, bytes: &'a [u8], row: &mut [i64]) -> Option<Who<'a>> {
        let open = bytes.iter().position(|b| *b == b'(')?;
        let close = bytes.iter().rposition(|b| *b == b')').filter(|close| *close > open)?;
        let mut c = Cursor::new(bytes.get(close + 1..)?);
        let state = c.word().first().copied()?;
        self.put(STATE, i64::from(state), row);
        let mut start_ticks = 0;
        for field in STATE + 1..=FIELDS {
            let value = c.number()?;
            if field == START {
                start_ticks = value as u64;
            }
            self.put(field, value, row);
        }
        for (column, factor) in &self.factors {
            row[*column] = row[*column].wrapping_mul(*factor);
        }
        Some(Who { comm: &bytes[open + 1..close], start_ticks })
    }

    #[inline]
    fn put(&self, field: usize, value: i64, row: &mut [i64]) {
        if let Some(cell) = row.get_mut(usize::from(self.columns[field])) {
            *cell = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::catalogue::catalogue;
    use proptest::prelude::*;

    fn family() -> &'static Family {
        catalogue().family("process").unwrap()
    }

    #[test]
    fn every_process_of_this_host_agrees_with_procfs() {
        use procfs::FromRead as _;
        let layout = StatLayout::of(family());
        let mut compared = 0;
        for entry in std::fs::read_dir("/proc").unwrap() {
            let path = entry.unwrap().path().join("stat");
            if path.to_str().is_none_or(|p| !p.as_bytes()[6].is_ascii_digit()) {
                continue;
            }
            let Ok(bytes) = std::fs::read(&path) else { continue };
            let Ok(theirs) = procfs::process::Stat::from_read(&bytes[..]) else { continue };
            let mut row = vec![0; family().metrics.len()];
            let who = layout.parse(&bytes, &mut row).unwrap();
            let at = |name: &str| row[family().metric_index(name).unwrap()];
            assert_eq!(who.comm, theirs.comm.as_bytes());
            assert_eq!(who.start_ticks, theirs.starttime);
            assert_eq!(at("state"), theirs.state as i64);
            assert_eq!(at("ppid"), i64::from(theirs.ppid));
            assert_eq!(at("utime_ticks") as u64, theirs.utime);
            assert_eq!(at("children_stime_ticks"), theirs.cstime);
            assert_eq!(at("vsize_bytes") as u64, theirs.vsize);
            assert_eq!(at("rss_bytes") as u64, theirs.rss * rustix::param::page_size() as u64);
            assert_eq!(at("rss_limit_bytes") as u64, theirs.rsslim);
            assert_eq!(at("nice"), theirs.nice);
            assert_eq!(at("policy") as u32, theirs.policy.unwrap());
            assert_eq!(at("io_delay_ticks") as u64, theirs.delayacct_blkio_ticks.unwrap());
            assert_eq!(at("exit_code"), i64::from(theirs.exit_code.unwrap()));
            compared += 1;
        }
        assert!(compared > 5);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let layout = StatLayout::of(family());
        let mut row = vec![0; family().metrics.len()];
        let tail = " S 1".to_owned() + &" 7".repeat(48);
        let line = format!("42 (a) R (b c)) {}\n", tail.trim_start());
        let who = layout.parse(line.as_bytes(), &mut row).unwrap();
        assert_eq!(who, Who { comm: b"a) R (b c)", start_ticks: 7 });
        assert_eq!(layout.parse(b"42 (x) S 1 2", &mut row), None);
        assert_eq!(layout.parse(b"42 )x( S", &mut row), None);
    }

    proptest! {
        #[test]
        fn cut_or_damaged_lines_never_panic(cut in 0usize..400, at in 0usize..400, byte in any::<u8>()) {
            let mut bytes = std::fs::read("/proc/self/stat").unwrap();
            if let Some(b) = bytes.get_mut(at) {
                *b = byte;
            }
            bytes.truncate(cut);
            let mut row = vec![0; family().metrics.len()];
            StatLayout::of(family()).parse(&bytes, &mut row);
        }
    }
}
