//! Protocol counters of the network stack: the paired lines of snmp and netstat, the words of
//! sockstat, the hexadecimal columns of softnet_stat, the keyed lines of snmp6 and the two numbers of
//! connection tracking, in one row.

use std::path::Path;

use fettle_shared::catalogue::{Catalogue, Family};

use super::file::{KernelFile, Style};
use super::keyed::{KeyedTable, Parsed};
use super::number::Cursor;
use super::source::{column, HostRow, Progress, Scan, Source};
use super::GapCause;

pub(crate) struct NetStackSource {
    paired: [(KernelFile, PairedTable); 2],
    words: [(KernelFile, WordTable); 2],
    snmp6: (KernelFile, KeyedTable),
    softnet: KernelFile,
    /// Column of the family for a column of softnet_stat.
    softnet_columns: Vec<(usize, usize)>,
    /// Entries of the connection tracking table, and how many it may have; absent without the module.
    conntrack: [(KernelFile, usize); 2],
    host: HostRow,
}

impl NetStackSource {
    pub(crate) fn new(proc_root: &Path, catalogue: &Catalogue) -> Option<Self> {
        let family = catalogue.family("net_stack")?;
        let file = |name: &str| KernelFile::new(&proc_root.join("net").join(name), Style::Records);
        let softnet_columns = family
            .metrics
            .iter()
            .enumerate()
            .filter_map(|(at, m)| Some((m.source.strip_prefix("softnet_stat ")?.parse().ok()?, at)))
            .collect();
        Some(Self {
            paired: ["snmp", "netstat"].map(|n| (file(n), PairedTable::new(family, n))),
            words: ["sockstat", "sockstat6"].map(|n| (file(n), WordTable::new(family, n))),
            snmp6: (file("snmp6"), KeyedTable::new(family, "snmp6 ")),
            softnet: file("softnet_stat"),
            softnet_columns,
            conntrack: [("count", "conntrack_entries"), ("max", "conntrack_max")].map(|(file, metric)| {
                let path = proc_root.join("sys/net/netfilter").join(format!("nf_conntrack_{file}"));
                (KernelFile::new(&path, Style::Whole), column(family, metric))
            }),
            host: HostRow::new(family),
        })
    }

    fn read_softnet(&mut self, scan: &mut Scan<'_>) {
        let Some(reading) = scan.read(&mut self.softnet).filter(|r| !r.is_same()) else { return };
        for (_, column) in &self.softnet_columns {
            self.host.row[*column] = 0;
            self.host.presence.mark(*column);
        }
        let mut lines = Cursor::new(reading.new);
        while let Some(line) = lines.line() {
            let mut c = Cursor::new(line);
            let mut at = 0;
            while let Some(value) = c.hex() {
                if let Some((_, column)) = self.softnet_columns.iter().find(|(field, _)| *field == at) {
                    self.host.row[*column] = self.host.row[*column].wrapping_add(value);
                }
                at += 1;
            }
        }
    }
}

impl NetStackSource {
    fn read_conntrack(&mut self, scan: &mut Scan<'_>) {
        for (file, column) in &mut self.conntrack {
            let Some(reading) = scan.read(file).filter(|r| !r.is_same()) else { continue };
            match Cursor::new(reading.new).number() {
                Some(number) => {
                    self.host.row[*column] = number;
                    self.host.presence.mark(*column);
                }
                None => scan.gaps.count(GapCause::Malformed),
            }
        }
    }
}

impl Source for NetStackSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        let mut read = 0;
        for (file, table) in &mut self.paired {
            let Some(reading) = scan.read(file) else { continue };
            read += 1;
            if !reading.is_same() && !table.parse(reading.new, &mut self.host.row) {
                scan.gaps.count(GapCause::Malformed);
            }
            table.each_column(|column| self.host.presence.mark(column));
        }
        for (file, table) in &mut self.words {
            let Some(reading) = scan.read(file) else { continue };
            if !reading.is_same() {
                table.parse(reading.new, &mut self.host.row, |column| self.host.presence.mark(column));
            }
        }
        let (file, table) = &mut self.snmp6;
        if let Some(reading) = scan.read(file).filter(|r| !r.is_same()) {
            if table.parse(reading.old, reading.new, &mut self.host.row) == Parsed::Relearned {
                let mut found = vec![false; self.host.row.len()];
                table.mark_present(&mut found);
                found.iter().enumerate().filter(|(_, f)| **f).for_each(|(i, _)| self.host.presence.mark(i));
            }
        }
        self.read_softnet(scan);
        self.read_conntrack(scan);
        self.host.fresh = true;
        if read > 0 {
            self.host.push(scan);
        }
        Progress::Done
    }
}

/// Column of a key the catalogue does not have.
const NONE: u16 = u16::MAX;

/// snmp and netstat: a line of names, then a line of numbers, both led by `Ip:` or the like. The names
/// are looked up once and afterwards only compared.
#[derive(Debug)]
struct PairedTable {
    sources: Vec<(Box<str>, u16)>,
    sections: Vec<Section>,
}

#[derive(Debug, Default)]
struct Section {
    header: Vec<u8>,
    columns: Vec<u16>,
}

impl PairedTable {
    fn new(family: &Family, file: &str) -> Self {
        let prefix = format!("{file} ");
        let sources = family
            .metrics
            .iter()
            .enumerate()
            .filter_map(|(at, m)| Some((m.source.strip_prefix(&prefix)?.into(), at as u16)))
            .collect();
        Self { sources, sections: Vec::new() }
    }

    /// Says whether every pair of lines was sound.
    fn parse(&mut self, bytes: &[u8], row: &mut [i64]) -> bool {
        let mut lines = Cursor::new(bytes);
        let mut at = 0;
        while let Some(header) = lines.line() {
            let Some(values) = lines.line() else { return false };
            if self.sections.get(at).is_none_or(|s| s.header != header) {
                self.learn(at, header);
            }
            let mut c = Cursor::new(values);
            let name = c.word();
            if !header.starts_with(name) {
                return false;
            }
            for column in &self.sections[at].columns {
                let Some(value) = c.number() else { return false };
                if let Some(cell) = row.get_mut(usize::from(*column)) {
                    *cell = value;
                }
            }
            at += 1;
        }
        self.sections.truncate(at);
        at > 0
    }

    fn learn(&mut self, at: usize, header: &[u8]) {
        if self.sections.len() <= at {
            self.sections.resize_with(at + 1, Section::default);
        }
        let mut words = Cursor::new(header);
        let protocol = String::from_utf8_lossy(words.word()).trim_end_matches(':').to_owned();
        let mut columns = Vec::new();
        loop {
            let word = words.word();
            if word.is_empty() {
                break;
            }
            let source = format!("{protocol} {}", String::from_utf8_lossy(word));
            let found = self.sources.iter().find(|(s, _)| **s == *source);
            columns.push(found.map_or(NONE, |(_, column)| *column));
        }
        self.sections[at] = Section { header: header.to_vec(), columns };
    }

    fn each_column(&self, mut visit: impl FnMut(usize)) {
        let columns = self.sections.iter().flat_map(|s| &s.columns);
        columns.filter(|c| **c != NONE).for_each(|c| visit(usize::from(*c)));
    }
}

/// sockstat: `TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 25`.
#[derive(Debug)]
struct WordTable {
    words: Vec<Word>,
}

/// One word of one protocol, and where its number goes.
#[derive(Debug)]
struct Word {
    protocol: Box<[u8]>,
    word: Box<[u8]>,
    column: usize,
}

impl WordTable {
    fn new(family: &Family, file: &str) -> Self {
        let prefix = format!("{file} ");
        let words = family
            .metrics
            .iter()
            .enumerate()
            .filter_map(|(at, m)| {
                let (protocol, word) = m.source.strip_prefix(&prefix)?.split_once(' ')?;
                Some(Word { protocol: protocol.as_bytes().into(), word: word.as_bytes().into(), column: at })
            })
            .collect();
        Self { words }
    }

    fn parse(&self, bytes: &[u8], row: &mut [i64], mut seen: impl FnMut(usize)) {
        let mut lines = Cursor::new(bytes);
        while let Some(line) = lines.line() {
            let mut c = Cursor::new(line);
            let protocol = c.word();
            let protocol = protocol.strip_suffix(b":").unwrap_or(protocol);
            loop {
                let word = c.word();
                let Some(value) = c.number() else { break };
                let found = self.words.iter().find(|w| *w.protocol == *protocol && *w.word == *word);
                if let Some(found) = found {
                    row[found.column] = value;
                    seen(found.column);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::catalogue::catalogue;
    use proptest::prelude::*;

    fn family() -> &'static Family {
        catalogue().family("net_stack").unwrap()
    }

    #[test]
    fn the_running_kernels_snmp_agrees_with_procfs() {
        use procfs::FromBufRead as _;
        let bytes = std::fs::read("/proc/net/snmp").unwrap();
        let mut row = vec![0; family().metrics.len()];
        let mut table = PairedTable::new(family(), "snmp");
        assert!(table.parse(&bytes, &mut row));
        let oracle = procfs::net::Snmp::from_buf_read(&bytes[..]).unwrap();
        let at = |name: &str| row[family().metric_index(name).unwrap()] as u64;
        assert_eq!(at("ip_in_receives"), oracle.ip_in_receives);
        assert_eq!(at("ip_frag_creates"), oracle.ip_frag_creates);
        assert_eq!(at("tcp_in_segs"), oracle.tcp_in_segs);
        assert_eq!(at("tcp_curr_estab"), oracle.tcp_curr_estab);
        assert_eq!(at("udp_in_datagrams"), oracle.udp_in_datagrams);
        assert_eq!(at("udp_ignored_multi"), oracle.udp_ignored_multi);
        assert_eq!(row[family().metric_index("tcp_max_conn").unwrap()], -1);
        let mut again = row.clone();
        assert!(table.parse(&bytes, &mut again));
        assert_eq!(row, again);
    }

    #[test]
    fn other_names_in_a_header_are_learned() {
        let mut row = vec![0; family().metrics.len()];
        let mut table = PairedTable::new(family(), "netstat");
        let listen = family().metric_index("tcpext_listen_drops").unwrap();
        assert!(table.parse(b"TcpExt: A ListenDrops\nTcpExt: 1 2\n", &mut row));
        assert_eq!(row[listen], 2);
        assert!(table.parse(b"X: Q\nX: 9\nTcpExt: ListenDrops A\nTcpExt: 3 4\n", &mut row));
        assert_eq!(row[listen], 3);
        assert!(!table.parse(b"TcpExt: A ListenDrops\nTcpExt: 1\n", &mut row));
        assert!(!table.parse(b"TcpExt: A ListenDrops\n", &mut row));
        assert!(!table.parse(b"TcpExt: A\nIpExt: 1\n", &mut row));
    }

    #[test]
    fn sockstat_words_find_their_columns() {
        let mut row = vec![0; family().metrics.len()];
        let mut seen = 0;
        let text = b"sockets: used 14\nTCP: inuse 1 orphan 2 tw 3 alloc 4 mem 25\nFRAG: inuse 0 memory 9\n";
        WordTable::new(family(), "sockstat").parse(text, &mut row, |_| seen += 1);
        assert_eq!(seen, 8);
        assert_eq!(row[family().metric_index("tcp_sockets_time_wait").unwrap()], 3);
        assert_eq!(row[family().metric_index("sockets_used").unwrap()], 14);
        assert_eq!(row[family().metric_index("frag_memory_bytes").unwrap()], 9);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(a in "((Ip|TcpExt|TCP): ([A-Za-z]{1,4}|[0-9]{1,3}| ){0,6}\n?){0,8}") {
            let mut row = vec![0; family().metrics.len()];
            let mut table = PairedTable::new(family(), "snmp");
            table.parse(a.as_bytes(), &mut row);
            table.parse(&a.as_bytes()[a.len() / 2..], &mut row);
            WordTable::new(family(), "sockstat").parse(a.as_bytes(), &mut row, |_| {});
        }
    }
}
