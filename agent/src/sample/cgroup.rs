//! Control groups of both versions. A host may mount them side by side (hybrid): what the
//! hierarchies say about one path goes into one row, and the `controllers` column says which groups
//! of columns are real for it. Groups are looked for every ten seconds and sampled a few at a time.

use std::collections::{BTreeMap, HashSet};
use std::ffi::CString;
use std::path::{Path, PathBuf};

use fettle_shared::catalogue::Catalogue;
use fettle_shared::frame::{Key, Slot, MAX_KEY_TEXT};

use super::cgroup_files::{version_1, version_2, FileSpec};
use super::entities::Slots;
use super::file::read_once;
use super::source::{column, Presence, Progress, Scan, Source};
use super::GapCause;

/// Groups sampled in one go, so that the next fast scan is not kept waiting.
const CHUNK: usize = 16;
/// More groups than this are left out and counted.
const MAX_GROUPS: usize = 4096;
/// A group that is known is looked into for new files, as when a controller was switched on, only
/// every so many times: that costs a call a file.
const FILES_EVERY: u64 = 6;
/// Deepest path that is followed.
const MAX_DEPTH: usize = 24;

/// One group.
struct Group {
    path: Box<str>,
    slot: Slot,
    /// Version (index into the specs), spec, file.
    files: Vec<(usize, usize, CString)>,
}

/// A mounted hierarchy.
struct Hierarchy {
    root: PathBuf,
    version: usize,
}

pub(crate) struct CgroupSource {
    id: u16,
    proc_root: PathBuf,
    sys_root: PathBuf,
    specs: [Vec<FileSpec>; 2],
    controllers: usize,
    slots: Slots,
    groups: Vec<Group>,
    at: usize,
    row: Vec<i64>,
    presence: Presence,
    looked: bool,
    /// Times the hierarchies were walked.
    looks: u64,
}

impl CgroupSource {
    pub(crate) fn new(proc_root: &Path, sys_root: &Path, catalogue: &Catalogue) -> Option<Self> {
        let family = catalogue.family("cgroup")?;
        Some(Self {
            id: family.id,
            proc_root: proc_root.to_owned(),
            sys_root: sys_root.to_owned(),
            specs: [version_1(family), version_2(family)],
            controllers: column(family, "controllers"),
            slots: Slots::new(family.id),
            groups: Vec::new(),
            at: 0,
            row: vec![0; family.metrics.len()],
            presence: Presence::new(family),
            looked: false,
            looks: 0,
        })
    }

    /// Walks the hierarchies: new groups get a slot, groups that went end.
    fn look(&mut self, scan: &mut Scan<'_>) {
        self.looked = true;
        let known: HashSet<Box<str>> = if self.looks.is_multiple_of(FILES_EVERY) {
            HashSet::new()
        } else {
            self.groups.iter().map(|g| g.path.clone()).collect()
        };
        self.looks += 1;
        let mut found: BTreeMap<String, Vec<(usize, usize, CString)>> = BTreeMap::new();
        for hierarchy in self.hierarchies() {
            let specs = &self.specs[hierarchy.version];
            walk(&hierarchy.root, &mut String::from("/"), 0, &mut |path, dir| {
                if found.len() >= MAX_GROUPS && !found.contains_key(path) {
                    return false;
                }
                let files = found.entry(path.to_owned()).or_default();
                if known.contains(path) {
                    return true;
                }
                for (at, spec) in specs.iter().enumerate() {
                    let file = dir.join(spec.name);
                    if file.exists() {
                        files.extend(c_path(&file).map(|file| (hierarchy.version, at, file)));
                    }
                }
                true
            });
        }
        if found.len() >= MAX_GROUPS {
            scan.gaps.count(GapCause::Overflow);
        }
        for group in std::mem::take(&mut self.groups) {
            match found.remove(&*group.path) {
                Some(_) if known.contains(&group.path) => self.groups.push(group),
                Some(files) if !files.is_empty() => self.groups.push(Group { files, ..group }),
                _ => self.slots.end(&[Key::Text(&group.path)], group.slot),
            }
        }
        for (path, files) in
            found.into_iter().filter(|(path, files)| !files.is_empty() && path.len() <= MAX_KEY_TEXT)
        {
            let slot = self.slots.add(scan.builder, &[Key::Text(&path)]);
            self.groups.push(Group { path: path.into(), slot, files });
        }
        for (version, at, _) in self.groups.iter().flat_map(|g| &g.files) {
            self.specs[*version][*at].content.columns(|column| self.presence.mark(column));
        }
        self.at = 0;
    }

    /// Mounts of type cgroup and cgroup2, looked up below the sys root.
    fn hierarchies(&self) -> Vec<Hierarchy> {
        let mounts = std::fs::read_to_string(self.proc_root.join("self/mounts")).unwrap_or_default();
        let mut list = Vec::new();
        for line in mounts.lines() {
            let mut words = line.split(' ').skip(1);
            let (Some(mount), Some(kind)) = (words.next(), words.next()) else { continue };
            let version = match kind {
                "cgroup" => 0,
                "cgroup2" => 1,
                _ => continue,
            };
            let root = match mount.strip_prefix("/sys/") {
                Some(below) => self.sys_root.join(below),
                None => PathBuf::from(mount),
            };
            list.push(Hierarchy { root, version });
        }
        list
    }

    fn sample_group(&mut self, at: usize, scan: &mut Scan<'_>) {
        let group = &self.groups[at];
        self.row.fill(0);
        let mut controllers = 0;
        for (version, spec, file) in &group.files {
            let spec = &self.specs[*version][*spec];
            match read_once(rustix::fs::CWD, file, scan.scratch) {
                Ok(n) if spec.content.parse(&scan.scratch[..n], &mut self.row) => controllers |= spec.bit,
                Ok(_) => scan.gaps.count(GapCause::Malformed),
                // The group was removed since it was found, or pressure is switched off.
                Err(GapCause::Absent | GapCause::Vanished) => scan.gaps.count(GapCause::Vanished),
                Err(cause) => scan.gaps.count(cause),
            }
        }
        if controllers != 0 {
            self.row[self.controllers] = controllers;
            scan.builder.push(self.id, group.slot, &self.row);
        }
    }
}

impl Source for CgroupSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        self.slots.settle(scan.builder);
        if !self.looked {
            self.look(scan);
        }
        if self.groups.is_empty() {
            return Progress::Done;
        }
        self.presence.apply(scan.builder);
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
        let end = (self.at + CHUNK).min(self.groups.len());
        for at in self.at..end {
            self.sample_group(at, scan);
        }
        self.at = if end < self.groups.len() { end } else { 0 };
        if self.at == 0 {
            Progress::Done
        } else {
            Progress::More
        }
    }

    fn rediscover(&mut self, _scan: &mut Scan<'_>) {
        self.looked = false;
    }

    fn entities(&self) -> usize {
        self.slots.live()
    }
}

/// Visits a directory and those below it; `visit` says whether to go on.
fn walk(dir: &Path, path: &mut String, depth: usize, visit: &mut impl FnMut(&str, &Path) -> bool) -> bool {
    if !visit(path, dir) {
        return false;
    }
    if depth >= MAX_DEPTH {
        return true;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        let before = path.len();
        if before > 1 {
            path.push('/');
        }
        path.push_str(&entry.file_name().to_string_lossy());
        let on = walk(&entry.path(), path, depth + 1, visit);
        path.truncate(before);
        if !on {
            return false;
        }
    }
    true
}

fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().to_owned().into_encoded_bytes()).ok()
}
