//! Mounted file systems, by `statvfs` on each mount point.
//!
//! File systems of other machines and of user-space servers are left out: statvfs on a server that
//! does not answer blocks for minutes, and this is the thread that must never be blocked.

use std::path::Path;

use fettle_shared::catalogue::{Catalogue, Family};
use rustix::fs::StatVfsMountFlags;

use super::entities::NamedSet;
use super::file::{KernelFile, Style};
use super::number::Cursor;
use super::source::{column, Progress, Scan, Source};
use super::GapCause;

/// Types without blocks of their own, not worth a call.
const PSEUDO: &[&[u8]] = &[
    b"autofs",
    b"binfmt_misc",
    b"bpf",
    b"cgroup",
    b"cgroup2",
    b"configfs",
    b"debugfs",
    b"devpts",
    b"efivarfs",
    b"fusectl",
    b"hugetlbfs",
    b"mqueue",
    b"nsfs",
    b"proc",
    b"pstore",
    b"rpc_pipefs",
    b"securityfs",
    b"selinuxfs",
    b"sysfs",
    b"tracefs",
];
/// Types that another machine or a user-space process answers for.
const REMOTE: &[&[u8]] = &[
    b"9p",
    b"afs",
    b"ceph",
    b"cifs",
    b"coda",
    b"fuse",
    b"gfs2",
    b"glusterfs",
    b"lustre",
    b"ncpfs",
    b"nfs",
    b"nfs4",
    b"ocfs2",
    b"smb3",
    b"smbfs",
    b"virtiofs",
];

pub(crate) struct FilesystemSource {
    id: u16,
    mounts: KernelFile,
    set: NamedSet,
    /// Mount points in the order of the set's list.
    columns: Columns,
    /// Unescaped fields of one line; reused.
    fields: [Vec<u8>; 3],
}

struct Columns {
    total: usize,
    free: usize,
    available: usize,
    used: usize,
    inodes: usize,
    inodes_free: usize,
    inodes_available: usize,
    block_size: usize,
    read_only: usize,
}

impl Columns {
    fn of(family: &Family) -> Self {
        Self {
            total: column(family, "total_bytes"),
            free: column(family, "free_bytes"),
            available: column(family, "available_bytes"),
            used: column(family, "used_bytes"),
            inodes: column(family, "inodes"),
            inodes_free: column(family, "inodes_free"),
            inodes_available: column(family, "inodes_available"),
            block_size: column(family, "block_size_bytes"),
            read_only: column(family, "read_only"),
        }
    }
}

impl FilesystemSource {
    pub(crate) fn new(proc_root: &Path, catalogue: &Catalogue) -> Option<Self> {
        let family = catalogue.family("filesystem")?;
        Some(Self {
            id: family.id,
            mounts: KernelFile::new(&proc_root.join("self/mounts"), Style::LongRecords),
            set: NamedSet::new(family.id, family.metrics.len()),
            columns: Columns::of(family),
            fields: Default::default(),
        })
    }

    /// Calls statvfs and fills the row; `false` for a file system without blocks.
    fn fill(columns: &Columns, mount: &[u8], row: &mut [i64]) -> Result<bool, GapCause> {
        let vfs = rustix::fs::statvfs(mount)?;
        if vfs.f_blocks == 0 {
            return Ok(false);
        }
        let bytes = |blocks: u64| blocks.wrapping_mul(vfs.f_frsize) as i64;
        row[columns.total] = bytes(vfs.f_blocks);
        row[columns.free] = bytes(vfs.f_bfree);
        row[columns.available] = bytes(vfs.f_bavail);
        row[columns.used] = bytes(vfs.f_blocks.saturating_sub(vfs.f_bfree));
        row[columns.inodes] = vfs.f_files as i64;
        row[columns.inodes_free] = vfs.f_ffree as i64;
        row[columns.inodes_available] = vfs.f_favail as i64;
        row[columns.block_size] = vfs.f_frsize as i64;
        row[columns.read_only] = i64::from(vfs.f_flag.contains(StatVfsMountFlags::RDONLY));
        Ok(true)
    }
}

impl Source for FilesystemSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        let Some(reading) = scan.read(&mut self.mounts) else { return Progress::Done };
        self.set.start(scan.builder);
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
        let mut row = [0i64; 16];
        let width = row.len().min(self.set.width());
        let mut at = 0;
        let mut lines = Cursor::new(reading.new);
        while let Some(line) = lines.line() {
            if !split(line, &mut self.fields) {
                scan.gaps.count(GapCause::Malformed);
                continue;
            }
            let [device, mount, kind] = &self.fields;
            if !is_local(kind) {
                continue;
            }
            match Self::fill(&self.columns, mount, &mut row) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(cause) => {
                    // Unmounted since the list was read, or hidden from us.
                    scan.gaps.count(if cause == GapCause::Absent { GapCause::Vanished } else { cause });
                    continue;
                }
            }
            if let Some(entity) = self.set.see(scan.builder, at, &[mount, device, kind]) {
                entity.row[..width].copy_from_slice(&row[..width]);
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

fn is_local(kind: &[u8]) -> bool {
    let remote = REMOTE.contains(&kind) || kind.starts_with(b"fuse.");
    !PSEUDO.contains(&kind) && !remote
}

/// Device, mount point and type of a line in /proc/mounts, unescaped.
fn split(line: &[u8], fields: &mut [Vec<u8>; 3]) -> bool {
    let mut c = Cursor::new(line);
    fields.iter_mut().all(|field| {
        unescape(c.word(), field);
        !field.is_empty()
    })
}

/// Blanks, tabs, line ends and backslashes stand as `\040` and so on in /proc/mounts.
fn unescape(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|d| first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        if let Some(digits) = digits {
            let value = digits.iter().fold(0u32, |n, b| n * 8 + u32::from(b - b'0'));
            out.push(value as u8);
            rest = &tail[3..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_split_and_unescaped() {
        let mut fields: [Vec<u8>; 3] = Default::default();
        assert!(split(br"/dev/sda1 /mnt/two\040words\134x ext4 rw 0 0", &mut fields));
        assert_eq!(fields[1], br"/mnt/two words\x");
        assert_eq!(fields[2], b"ext4");
        assert!(!split(b"/dev/sda1 /mnt", &mut fields));
    }

    #[test]
    fn remote_and_pseudo_types_are_left_alone() {
        for kind in ["nfs4", "cifs", "fuse.sshfs", "proc", "cgroup2"] {
            assert!(!is_local(kind.as_bytes()), "{kind}");
        }
        for kind in ["ext4", "xfs", "tmpfs", "overlay", "fuseblk", "zfs"] {
            assert!(is_local(kind.as_bytes()), "{kind}");
        }
    }

    #[test]
    fn the_root_file_system_has_blocks() {
        let family = fettle_shared::catalogue::catalogue().family("filesystem").unwrap();
        let columns = Columns::of(family);
        let mut row = vec![0; family.metrics.len()];
        assert_eq!(FilesystemSource::fill(&columns, b"/", &mut row), Ok(true));
        assert!(row[columns.total] > 0 && row[columns.used] <= row[columns.total]);
        assert_eq!(FilesystemSource::fill(&columns, b"/no/such/place", &mut row), Err(GapCause::Absent));
    }

    proptest! {
        #[test]
        fn any_line_is_split_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut fields: [Vec<u8>; 3] = Default::default();
            split(&bytes, &mut fields);
        }
    }
}
