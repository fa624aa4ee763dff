//! What is kept of a component while it is well, to roll back to: copies of its files, and the release its link
//! led to. A version is kept only when the component has been up for a minute, so that one which breaks it is
//! not taken for good; a file that changed since the component went well once waits for the next look.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{fchown, ioctl_ficlone, Gid, OFlags, Uid};
use xxhash_rust::xxh3::Xxh3;

use super::link::Link;
use super::tree::open_plain;
use crate::host_file::RollBack;

/// Largest file of which copies are kept.
pub(super) const FILE_MAX: u64 = 64 << 20;
/// Releases remembered as good.
const GOOD_RELEASES: usize = 4;

/// What a look at an entry came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::act) enum Kept {
    /// The newest version is what is there now.
    Same,
    /// A new version was kept.
    New,
}

/// The directory of an entry's versions. Names come from the host's file and may hold anything.
pub(super) fn directory(versions: &Path, component: &str, entry: &str) -> PathBuf {
    let plain = |name: &str| -> String {
        name.bytes()
            .flat_map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => vec![byte as char],
                other => format!("%{other:02x}").chars().collect(),
            })
            .collect()
    };
    versions.join(format!("{}.{}", plain(component), plain(entry)))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("{} cannot be kept: {error}; see to its disk and owner", path.display())
}

/// Keeps what is there now as a good version, if it is not kept already.
pub(in crate::act) fn keep(
    versions: &Path,
    component: &str,
    entry: &str,
    what: &RollBack,
    now_us: i64,
) -> Result<Kept, String> {
    let directory = directory(versions, component, entry);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed(&directory))?;
    match what {
        RollBack::Link { link, .. } => keep_release(&directory, link),
        RollBack::File { path, versions } => keep_file(&directory, path, *versions, now_us),
    }
}

fn keep_release(directory: &Path, link: &Path) -> Result<Kept, String> {
    let Some(target) = Link::open(link)?.target else { return Ok(Kept::Same) };
    let Some(name) = target.file_name() else { return Ok(Kept::Same) };
    let mut good = good_releases(directory);
    if good.first().is_some_and(|first| first.as_bytes() == name.as_bytes()) {
        return Ok(Kept::Same);
    }
    good.retain(|one| one != name);
    good.insert(0, name.to_owned());
    good.truncate(GOOD_RELEASES);
    let text: Vec<&[u8]> = good.iter().map(|name| name.as_bytes()).collect();
    let (path, new) = (directory.join("good"), directory.join("good.new"));
    std::fs::write(&new, text.join(&0)).and_then(|()| std::fs::rename(&new, &path)).map_err(failed(&path))?;
    Ok(Kept::New)
}

/// Names of releases that were good, newest first.
pub(super) fn good_releases(directory: &Path) -> Vec<std::ffi::OsString> {
    let bytes = std::fs::read(directory.join("good")).unwrap_or_default();
    let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| std::ffi::OsStr::from_bytes(name).to_owned()).collect()
}

fn keep_file(directory: &Path, path: &Path, most: usize, now_us: i64) -> Result<Kept, String> {
    let mut file = open_file(path)?;
    let metadata = file.metadata().map_err(failed(path))?;
    if metadata.nlink() > 1 {
        // A link may have been put there to a file whose owner did not mean it to be copied.
        return Err(format!("{} has a second name; copies are kept of files with one", path.display()));
    }
    let size = metadata.len();
    if size > FILE_MAX {
        return Err(format!("{} has {size} bytes; copies are kept of at most {FILE_MAX}", path.display()));
    }
    let mut copies = copies(directory);
    let present = digest(&mut file).map_err(failed(path))?;
    if let Some(newest) = copies.last() {
        let kept = File::open(newest).and_then(|mut copy| digest(&mut copy)).map_err(failed(newest))?;
        if kept == present {
            return Ok(Kept::Same);
        }
    }
    let to = directory.join(format!("{now_us:020}.copy"));
    copy(&mut file, &to, FILE_MAX)?;
    copies.push(to);
    for old in &copies[..copies.len().saturating_sub(most.max(1) + 1)] {
        let _ = std::fs::remove_file(old);
    }
    Ok(Kept::New)
}

/// Opens a plain file that no link leads to.
pub(super) fn open_file(path: &Path) -> Result<File, String> {
    // Without NONBLOCK a pipe of that name would hang the agent.
    let fd: OwnedFd = open_plain(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let file = File::from(fd);
    if !file.metadata().map_err(failed(path))?.is_file() {
        return Err(format!("{} is no plain file; correct the host's file", path.display()));
    }
    Ok(file)
}

/// The copies there are, oldest first.
pub(super) fn copies(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut copies: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "copy"))
        .collect();
    copies.sort();
    copies
}

/// What a file's content is known by; reads from its beginning.
pub(super) fn digest(file: &mut File) -> std::io::Result<u128> {
    file.seek(SeekFrom::Start(0))?;
    // It may grow while it is read.
    let mut file = file.take(FILE_MAX + 1);
    let (mut hash, mut buffer) = (Xxh3::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest128()),
            len => hash.update(&buffer[..len]),
        }
    }
}

/// Copies a file with owner and mode, by sharing its blocks where the file system can. One that has grown beyond
/// `most` bytes by now is not kept.
pub(super) fn copy(from: &mut File, to: &Path, most: u64) -> Result<(), String> {
    let new = to.with_extension("new");
    let fill = |from: &mut File| {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        fill(from, &mut file, most)?;
        std::fs::rename(&new, to)
    };
    fill(from).map_err(|error| {
        let _ = std::fs::remove_file(&new);
        failed(to)(error)
    })
}

/// Gives one file the content, owner and mode of another (never its set-id bits), and syncs it. The other may be
/// written to meanwhile: of more than `most` bytes nothing is made.
pub(super) fn fill(from: &mut File, to: &mut File, most: u64) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if ioctl_ficlone(&*to, &*from).is_err() {
        from.seek(SeekFrom::Start(0))?;
        std::io::copy(&mut from.take(most.saturating_add(1)), to)?;
    }
    if to.metadata()?.len() > most {
        return Err(std::io::Error::other(format!("it has grown beyond {most} bytes")));
    }
    let metadata = from.metadata()?;
    // Who is not root keeps what is its own anyway.
    let _ = fchown(&*to, Some(Uid::from_raw(metadata.uid())), Some(Gid::from_raw(metadata.gid())));
    to.set_permissions(std::fs::Permissions::from_mode(metadata.mode() & 0o777))?;
    to.sync_all()
}
