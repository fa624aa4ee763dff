//! Network interfaces: traffic from `/proc/net/dev` at every scan; link state, speed, MTU and flaps
//! from `/sys/class/net` when an interface is new and each time devices are looked for.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use fettle_shared::catalogue::Catalogue;

use super::entities::NamedSet;
use super::file::{read_once, KernelFile, Style};
use super::number::{single, trimmed, Cursor};
use super::source::{column, Progress, Scan, Source};
use super::GapCause;

/// Numbers in a line of /proc/net/dev.
const FIELDS: usize = 16;

pub(crate) struct NetworkSource {
    id: u16,
    file: KernelFile,
    class: PathBuf,
    set: NamedSet,
    operstate: usize,
    /// Attributes that are one number, and their columns.
    attributes: [(&'static str, usize); 3],
    /// Attributes changed, so rows must go out though the traffic did not change.
    fresh: bool,
}

impl NetworkSource {
    pub(crate) fn new(proc_root: &Path, sys_root: &Path, catalogue: &Catalogue) -> Option<Self> {
        let family = catalogue.family("network")?;
        Some(Self {
            id: family.id,
            file: KernelFile::new(&proc_root.join("net/dev"), Style::Records),
            class: sys_root.join("class/net"),
            set: NamedSet::new(family.id, family.metrics.len().max(FIELDS)),
            operstate: column(family, "operstate"),
            attributes: [
                ("speed", column(family, "speed_mbps")),
                ("mtu", column(family, "mtu_bytes")),
                ("carrier_changes", column(family, "carrier_changes")),
            ],
            fresh: true,
        })
    }

    /// Reads the slow attributes of interface `at`. Virtual interfaces lack some: those stay 0, and an
    /// interface that is down refuses to name its speed, so refusals are no gaps here.
    fn read_attributes(&mut self, at: usize, scratch: &mut Vec<u8>) {
        let interface = &mut self.set.list[at];
        let dir = self.class.join(&*interface.key[0]);
        let read = |name: &str, scratch: &mut Vec<u8>| {
            let path = CString::new(dir.join(name).into_os_string().into_encoded_bytes()).ok()?;
            read_once(rustix::fs::CWD, &path, scratch).ok()
        };
        if let Some(n) = read("operstate", scratch) {
            interface.row[self.operstate] = operstate(trimmed(&scratch[..n]));
        }
        for (name, column) in self.attributes {
            let value = read(name, scratch).and_then(|n| single(&scratch[..n])).unwrap_or(0);
            interface.row[column] = value.max(0);
        }
    }
}

impl Source for NetworkSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        let Some(reading) = scan.read(&mut self.file) else { return Progress::Done };
        self.set.start(scan.builder);
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
        if reading.is_same() {
            for interface in &self.set.list {
                if self.fresh {
                    scan.builder.push(self.id, interface.slot, &interface.row);
                } else {
                    scan.builder.repeat(self.id, interface.slot);
                }
            }
            self.fresh = false;
            return Progress::Done;
        }
        let known = self.set.list.len();
        let mut lines = Cursor::new(reading.new);
        lines.line();
        lines.line();
        let mut at = 0;
        while let Some(line) = lines.line() {
            let Some((name, values)) = parse(line) else {
                scan.gaps.count(GapCause::Malformed);
                continue;
            };
            if let Some(interface) = self.set.see(scan.builder, at, &[name]) {
                interface.row[..FIELDS].copy_from_slice(&values);
                at += 1;
            }
        }
        if self.set.list.len() > known {
            (known..self.set.list.len()).for_each(|at| self.read_attributes(at, scan.scratch));
        }
        self.set.finish();
        for interface in &self.set.list {
            scan.builder.push(self.id, interface.slot, &interface.row);
        }
        self.fresh = false;
        Progress::Done
    }

    fn rediscover(&mut self, scan: &mut Scan<'_>) {
        (0..self.set.list.len()).for_each(|at| self.read_attributes(at, scan.scratch));
        self.fresh = true;
    }

    fn entities(&self) -> usize {
        self.set.len()
    }
}

/// `  eth0: 254962399 9469 …`: name and the sixteen numbers.
fn parse(line: &[u8]) -> Option<(&[u8], [i64; FIELDS])> {
    let mut c = Cursor::new(line);
    c.skip_blanks();
    let name = c.until(b':')?;
    let mut values = [0; FIELDS];
    for value in &mut values {
        *value = c.number()?;
    }
    (!name.is_empty()).then_some((name, values))
}

/// The kernel's words for RFC 2863 states, as numbered in `linux/if.h`.
fn operstate(word: &[u8]) -> i64 {
    match word {
        b"notpresent" => 1,
        b"down" => 2,
        b"lowerlayerdown" => 3,
        b"testing" => 4,
        b"dormant" => 5,
        b"up" => 6,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_running_kernels_file_agrees_with_procfs() {
        use procfs::FromBufRead as _;
        let bytes = std::fs::read("/proc/net/dev").unwrap();
        let oracle = procfs::net::InterfaceDeviceStatus::from_buf_read(&bytes[..]).unwrap();
        let mut lines = Cursor::new(&bytes);
        lines.line();
        lines.line();
        let mut seen = 0;
        while let Some(line) = lines.line() {
            let (name, values) = parse(line).unwrap();
            let theirs = &oracle.0[std::str::from_utf8(name).unwrap()];
            assert_eq!(values[7] as u64, theirs.recv_multicast);
            assert_eq!(values[15] as u64, theirs.sent_compressed);
            seen += 1;
        }
        assert_eq!(seen, oracle.0.len());
    }

    #[test]
    fn states_are_numbered_as_the_kernel_does() {
        assert_eq!(operstate(b"up"), 6);
        assert_eq!(operstate(b"unknown"), 0);
        assert_eq!(parse(b" eth0:1 2 3"), None);
        let tight = parse(b"eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16").unwrap();
        assert_eq!((tight.0, tight.1[0], tight.1[15]), (&b"eth0"[..], 1, 16));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            parse(&bytes);
        }
    }
}
