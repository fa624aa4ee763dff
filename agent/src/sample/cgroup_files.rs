//! The files of a control group, as data: for both versions, which file says what and how it is
//! read. Values come out in the family's units: µs for CPU time, bytes for memory, 0 for "no limit".

use fettle_shared::catalogue::Family;

use super::keylist::KeyList;
use super::number::{single, Cursor};
use super::pressure;
use super::source::column;

/// Bits of the `controllers` column.
pub(crate) const CPU: i64 = 1;
pub(crate) const MEMORY: i64 = 2;
pub(crate) const PIDS: i64 = 4;
pub(crate) const IO: i64 = 8;
pub(crate) const PRESSURE: i64 = 16;

/// How a file is read, and into which columns.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// One number, multiplied and divided; "max", a negative one, and from `none_from` on mean no limit.
    Single { column: usize, times: i64, by: i64, none_from: u64 },
    /// `key value` lines, each divided.
    Keyed { keys: KeyList, by: i64 },
    /// `quota period` of cpu.max.
    CpuMax { quota: usize, period: usize },
    /// `some` and `full` lines: their totals.
    Pressure { some: usize, full: usize },
    /// `8:0 rbytes=1 wbytes=2 …`, summed over devices.
    IoStat { words: Vec<(&'static [u8], usize)> },
    /// `8:0 Read 123`, summed over devices.
    Blkio { words: Vec<(&'static [u8], usize)> },
    /// memory.memsw.usage_in_bytes: memory and swap together, less the column `memory`.
    MemoryAndSwap { column: usize, memory: usize },
}

/// One file that a group may have.
#[derive(Debug, Clone)]
pub(crate) struct FileSpec {
    pub(crate) name: &'static str,
    pub(crate) bit: i64,
    pub(crate) content: Content,
}

/// A limit of this or more is how version 1 says that there is none.
const V1_NONE: u64 = 1 << 62;

fn limit(family: &Family, name: &str, none_from: u64) -> Content {
    Content::Single { column: column(family, name), times: 1, by: 1, none_from }
}

fn number(family: &Family, name: &str) -> Content {
    limit(family, name, u64::MAX)
}

fn keyed(family: &Family, by: i64, keys: &[(&str, &str)]) -> Content {
    let mut list = KeyList::default();
    for (key, name) in keys {
        list = list.with(key, column(family, name), 1);
    }
    Content::Keyed { keys: list, by }
}

fn words(family: &Family, words: &[(&'static str, &str)]) -> Vec<(&'static [u8], usize)> {
    words.iter().map(|(word, name)| (word.as_bytes(), column(family, name))).collect()
}

/// Keys of `memory.stat` in version 2.
const MEMORY_STAT_2: [(&str, &str); 11] = [
    ("anon", "anon_bytes"),
    ("file", "file_bytes"),
    ("kernel", "kernel_bytes"),
    ("sock", "sock_bytes"),
    ("shmem", "shmem_bytes"),
    ("file_mapped", "file_mapped_bytes"),
    ("file_dirty", "file_dirty_bytes"),
    ("file_writeback", "file_writeback_bytes"),
    ("slab", "slab_bytes"),
    ("pgfault", "faults"),
    ("pgmajfault", "major_faults"),
];

/// Files of version 2 (Documentation/admin-guide/cgroup-v2.rst).
pub(crate) fn version_2(f: &Family) -> Vec<FileSpec> {
    let spec = |name, bit, content| FileSpec { name, bit, content };
    let pressure = |some, full| Content::Pressure { some: column(f, some), full: column(f, full) };
    let cpu = keyed(
        f,
        1,
        &[
            ("usage_usec", "cpu_usage_us"),
            ("user_usec", "cpu_user_us"),
            ("system_usec", "cpu_system_us"),
            ("nr_periods", "cpu_periods"),
            ("nr_throttled", "cpu_throttled_periods"),
            ("throttled_usec", "cpu_throttled_us"),
        ],
    );
    let cpu_max = Content::CpuMax { quota: column(f, "cpu_quota_us"), period: column(f, "cpu_period_us") };
    let memory = keyed(f, 1, &MEMORY_STAT_2);
    let events = keyed(
        f,
        1,
        &[
            ("high", "memory_high_events"),
            ("max", "memory_limit_events"),
            ("oom", "oom_events"),
            ("oom_kill", "oom_kills"),
        ],
    );
    let io = [
        ("rbytes", "io_read_bytes"),
        ("wbytes", "io_write_bytes"),
        ("rios", "io_reads"),
        ("wios", "io_writes"),
        ("dbytes", "io_discard_bytes"),
        ("dios", "io_discards"),
    ];
    vec![
        spec("cpu.stat", CPU, cpu),
        spec("cpu.max", CPU, cpu_max),
        spec("cpu.weight", CPU, number(f, "cpu_weight")),
        spec("memory.current", MEMORY, number(f, "memory_bytes")),
        spec("memory.peak", MEMORY, number(f, "memory_peak_bytes")),
        spec("memory.max", MEMORY, number(f, "memory_limit_bytes")),
        spec("memory.high", MEMORY, number(f, "memory_high_bytes")),
        spec("memory.swap.current", MEMORY, number(f, "swap_bytes")),
        spec("memory.swap.max", MEMORY, number(f, "swap_limit_bytes")),
        spec("memory.stat", MEMORY, memory),
        spec("memory.events", MEMORY, events),
        spec("pids.current", PIDS, number(f, "pids")),
        spec("pids.max", PIDS, number(f, "pids_limit")),
        spec("io.stat", IO, Content::IoStat { words: words(f, &io) }),
        spec("cpu.pressure", PRESSURE, pressure("cpu_some_us", "cpu_full_us")),
        spec("memory.pressure", PRESSURE, pressure("memory_some_us", "memory_full_us")),
        spec("io.pressure", PRESSURE, pressure("io_some_us", "io_full_us")),
    ]
}

/// Files of version 1 (Documentation/admin-guide/cgroup-v1/).
pub(crate) fn version_1(f: &Family) -> Vec<FileSpec> {
    let spec = |name, bit, content| FileSpec { name, bit, content };
    let from_ns = |name| Content::Single { column: column(f, name), times: 1, by: 1000, none_from: u64::MAX };
    let throttling = keyed(f, 1, &[("nr_periods", "cpu_periods"), ("nr_throttled", "cpu_throttled_periods")]);
    let throttled = keyed(f, 1000, &[("throttled_time", "cpu_throttled_us")]);
    let memory = keyed(
        f,
        1,
        &[
            ("total_cache", "file_bytes"),
            ("total_rss", "anon_bytes"),
            ("total_shmem", "shmem_bytes"),
            ("total_mapped_file", "file_mapped_bytes"),
            ("total_dirty", "file_dirty_bytes"),
            ("total_writeback", "file_writeback_bytes"),
            ("total_pgfault", "faults"),
            ("total_pgmajfault", "major_faults"),
        ],
    );
    let swap = Content::MemoryAndSwap { column: column(f, "swap_bytes"), memory: column(f, "memory_bytes") };
    let bytes = [("Read", "io_read_bytes"), ("Write", "io_write_bytes"), ("Discard", "io_discard_bytes")];
    let counts = [("Read", "io_reads"), ("Write", "io_writes"), ("Discard", "io_discards")];
    vec![
        spec("cpu.stat", CPU, throttling),
        spec("cpu.stat", CPU, throttled),
        spec("cpu.cfs_quota_us", CPU, number(f, "cpu_quota_us")),
        spec("cpu.cfs_period_us", CPU, number(f, "cpu_period_us")),
        spec("cpu.shares", CPU, number(f, "cpu_weight")),
        spec("cpuacct.usage", CPU, from_ns("cpu_usage_us")),
        spec("cpuacct.usage_user", CPU, from_ns("cpu_user_us")),
        spec("cpuacct.usage_sys", CPU, from_ns("cpu_system_us")),
        spec("memory.usage_in_bytes", MEMORY, number(f, "memory_bytes")),
        spec("memory.max_usage_in_bytes", MEMORY, number(f, "memory_peak_bytes")),
        spec("memory.limit_in_bytes", MEMORY, limit(f, "memory_limit_bytes", V1_NONE)),
        spec("memory.soft_limit_in_bytes", MEMORY, limit(f, "memory_high_bytes", V1_NONE)),
        spec("memory.memsw.usage_in_bytes", MEMORY, swap),
        spec("memory.stat", MEMORY, memory),
        spec("memory.failcnt", MEMORY, number(f, "memory_limit_events")),
        spec("memory.oom_control", MEMORY, keyed(f, 1, &[("oom_kill", "oom_kills")])),
        spec("pids.current", PIDS, number(f, "pids")),
        spec("pids.max", PIDS, number(f, "pids_limit")),
        spec("blkio.throttle.io_service_bytes_recursive", IO, Content::Blkio { words: words(f, &bytes) }),
        spec("blkio.throttle.io_serviced_recursive", IO, Content::Blkio { words: words(f, &counts) }),
    ]
}

impl Content {
    /// Columns this file can fill.
    pub(crate) fn columns(&self, mut visit: impl FnMut(usize)) {
        match self {
            Self::Single { column, .. } | Self::MemoryAndSwap { column, .. } => visit(*column),
            Self::Keyed { keys, .. } => keys.columns().for_each(visit),
            Self::CpuMax { quota: a, period: b } | Self::Pressure { some: a, full: b } => {
                visit(*a);
                visit(*b);
            }
            Self::IoStat { words } | Self::Blkio { words } => words.iter().for_each(|(_, c)| visit(*c)),
        }
    }

    /// Reads a file's text into the row; `false` when it makes no sense.
    pub(crate) fn parse(&self, bytes: &[u8], row: &mut [i64]) -> bool {
        match self {
            Self::Single { column, times, by, none_from } => {
                let value = single(bytes).unwrap_or(-1);
                let none = value < 0 || value as u64 >= *none_from;
                row[*column] = if none { 0 } else { value.wrapping_mul(*times) / *by };
                !bytes.is_empty()
            }
            Self::Keyed { keys, by } => {
                let found = keys.parse(bytes, row) > 0;
                if *by != 1 && found {
                    keys.columns().for_each(|column| row[column] /= *by);
                }
                found || bytes.is_empty()
            }
            Self::CpuMax { quota, period } => {
                let mut c = Cursor::new(bytes);
                row[*quota] = single(c.word()).unwrap_or(0);
                row[*period] = c.number().unwrap_or(0);
                !bytes.is_empty()
            }
            Self::Pressure { some, full } => match pressure::parse(bytes) {
                Some(values) => {
                    row[*some] = values[pressure::PER_LINE - 1];
                    row[*full] = values[2 * pressure::PER_LINE - 1];
                    true
                }
                None => false,
            },
            Self::IoStat { words } => sum_words(bytes, words, row, |c| c.until(b'=')),
            Self::Blkio { words } => {
                sum_words(bytes, words, row, |c| Some(c.word()).filter(|w| !w.is_empty()))
            }
            Self::MemoryAndSwap { column, memory } => {
                row[*column] = single(bytes).map_or(0, |both| both.saturating_sub(row[*memory]).max(0));
                true
            }
        }
    }
}

/// Sums `word number` pairs over the lines, each of which starts with a device. Files without any
/// device are empty, which is sound.
fn sum_words(
    bytes: &[u8],
    words: &[(&'static [u8], usize)],
    row: &mut [i64],
    mut next: impl for<'a> FnMut(&mut Cursor<'a>) -> Option<&'a [u8]>,
) -> bool {
    words.iter().for_each(|(_, column)| row[*column] = 0);
    let mut lines = Cursor::new(bytes);
    while let Some(line) = lines.line() {
        let mut c = Cursor::new(line);
        c.word();
        c.skip_blanks();
        while let Some(word) = next(&mut c) {
            let Some(value) = c.number() else { break };
            if let Some((_, column)) = words.iter().find(|(w, _)| *w == word) {
                row[*column] = row[*column].wrapping_add(value);
            }
            c.skip_blanks();
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::catalogue::catalogue;
    use proptest::prelude::*;

    fn read(version: fn(&Family) -> Vec<FileSpec>, files: &[(&str, &str)]) -> impl Fn(&str) -> i64 {
        let family = catalogue().family("cgroup").unwrap();
        let mut row = vec![0; family.metrics.len()];
        for spec in version(family) {
            for (_, text) in files.iter().filter(|(name, _)| *name == spec.name) {
                assert!(spec.content.parse(text.as_bytes(), &mut row), "{}", spec.name);
            }
        }
        move |name| row[family.metric_index(name).unwrap()]
    }

    #[test]
    fn version_2_in_its_own_units() {
        let at = read(
            version_2,
            &[
                ("cpu.stat", "usage_usec 100\nuser_usec 60\nsystem_usec 40\nnr_periods 3\nthrottled_usec 9\n"),
                ("cpu.max", "50000 100000\n"),
                ("memory.max", "max\n"),
                ("memory.high", "1048576\n"),
                ("memory.stat", "anon 1\nfile 2\nkernel_stack 3\nslab 7\npgfault 8\n"),
                ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=5 wbytes=5 rios=1 wios=1 dbytes=3 dios=1\n"),
                ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=77\n"),
                ("pids.max", "100\n"),
            ],
        );
        assert_eq!((at("cpu_usage_us"), at("cpu_periods"), at("cpu_throttled_us")), (100, 3, 9));
        assert_eq!((at("cpu_quota_us"), at("cpu_period_us")), (50_000, 100_000));
        assert_eq!((at("memory_limit_bytes"), at("memory_high_bytes")), (0, 1 << 20));
        assert_eq!((at("anon_bytes"), at("slab_bytes"), at("faults")), (1, 7, 8));
        assert_eq!((at("io_read_bytes"), at("io_writes"), at("io_discards")), (15, 3, 1));
        assert_eq!((at("cpu_some_us"), at("cpu_full_us"), at("pids_limit")), (77, 0, 100));
    }

    #[test]
    fn version_1_is_brought_to_the_same_units() {
        let at = read(
            version_1,
            &[
                ("cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 9000\n"),
                ("cpu.cfs_quota_us", "-1\n"),
                ("cpuacct.usage", "5000000\n"),
                ("memory.usage_in_bytes", "1000\n"),
                ("memory.memsw.usage_in_bytes", "1500\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"),
                (
                    "blkio.throttle.io_service_bytes_recursive",
                    "8:0 Read 7\n8:0 Write 8\n8:0 Total 15\nTotal 15\n",
                ),
            ],
        );
        assert_eq!((at("cpu_periods"), at("cpu_throttled_periods"), at("cpu_throttled_us")), (5, 2, 9));
        assert_eq!((at("cpu_quota_us"), at("cpu_usage_us")), (0, 5000));
        assert_eq!((at("swap_bytes"), at("memory_limit_bytes"), at("oom_kills")), (500, 0, 4));
        assert_eq!((at("io_read_bytes"), at("io_write_bytes")), (7, 8));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let family = catalogue().family("cgroup").unwrap();
            let mut row = vec![0; family.metrics.len()];
            for spec in version_1(family).iter().chain(&version_2(family)) {
                spec.content.parse(&bytes, &mut row);
            }
        }
    }
}
