//! Opening what a path names without following any link, and staying below a directory: openat2(2), since
//! Linux 5.6.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{openat2, Mode, OFlags, ResolveFlags, CWD};
use rustix::io::Errno;

/// Never a link, neither of the file system nor of /proc.
const NO_LINKS: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);

/// Opens an absolute path, no part of which may be a link.
pub(super) fn open_plain(path: &Path, flags: OFlags) -> Result<OwnedFd, String> {
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{} is no absolute path without `..`; correct the host's file", path.display()));
    }
    openat2(CWD, path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty(), NO_LINKS)
        .map_err(|error| why(path, error))
}

/// Opens what a relative path below `root` names: no link, nothing outside, no other file system.
pub(super) fn open_below(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = NO_LINKS.union(ResolveFlags::BENEATH).union(ResolveFlags::NO_XDEV);
    openat2(root, path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty(), resolve)
}

/// Opens the directory that an entry is in, without links, and gives the entry's name.
pub(super) fn open_parent(path: &Path) -> Result<(OwnedFd, &OsStr), String> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(format!("{} names no entry of a directory; correct the host's file", path.display()));
    };
    Ok((open_plain(parent, OFlags::RDONLY | OFlags::DIRECTORY)?, name))
}

/// One sentence on a path that cannot be opened.
pub(super) fn why(path: &Path, error: Errno) -> String {
    let path = path.display();
    match error {
        // A link as the last part, where a directory is wanted, is answered as NOTDIR.
        Errno::LOOP | Errno::NOTDIR => {
            format!("{path} has a link in it or is no directory; declare the real path in the host's file")
        }
        Errno::NOENT => format!("{path} does not exist; correct the host's file or put it back"),
        Errno::NOSYS => "openat2 is not known to this kernel; use Linux 5.6 or later".to_owned(),
        error => format!("{path} cannot be opened: {error}; see to its owner and mode"),
    }
}
