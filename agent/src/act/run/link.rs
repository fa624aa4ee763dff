//! A symbolic link that is put in the place of another at once: made under a name of its own beside it, then
//! renamed over it, so that whoever looks sees the old one or the new one.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    chownat, fsync, readlinkat, renameat, statat, symlinkat, unlinkat, AtFlags, FileType, Gid, Uid,
};
use rustix::io::Errno;

use super::tree::{open_parent, why};

/// A link, by the directory it is in.
#[derive(Debug)]
pub(super) struct Link<'a> {
    path: &'a Path,
    pub directory: OwnedFd,
    name: &'a OsStr,
    owner: Option<(u32, u32)>,
    /// Where it leads; `None`: there is nothing of that name.
    pub target: Option<PathBuf>,
}

impl<'a> Link<'a> {
    /// Looks at a link; anything else of that name is an error.
    pub(super) fn open(path: &'a Path) -> Result<Self, String> {
        let (directory, name) = open_parent(path)?;
        let (target, owner) = match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => (None, None),
            Err(error) => return Err(why(path, error)),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                let target = readlinkat(&directory, name, Vec::new()).map_err(|error| why(path, error))?;
                let target = PathBuf::from(OsStr::from_bytes(target.to_bytes()));
                (Some(target), Some((stat.st_uid, stat.st_gid)))
            }
            Ok(_) => return Err(format!("{} is no link; correct the host's file", path.display())),
        };
        Ok(Self { path, directory, name, owner, target })
    }

    /// Makes it lead elsewhere.
    pub(super) fn point_to(&self, target: &Path) -> Result<(), String> {
        let mut beside = self.name.to_owned();
        beside.push(format!(".fettle-{}", std::process::id()));
        let failed = |error: Errno| {
            format!(
                "the link {} cannot be switched: {error}; see to its directory's owner",
                self.path.display()
            )
        };
        match unlinkat(&self.directory, &beside, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(error)),
        }
        symlinkat(target, &self.directory, &beside).map_err(failed)?;
        if let Some((uid, gid)) = self.owner {
            // Whom a link belongs to matters only in sticky directories.
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            let _ = chownat(&self.directory, &beside, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        }
        renameat(&self.directory, &beside, &self.directory, self.name).map_err(|error| {
            let _ = unlinkat(&self.directory, &beside, AtFlags::empty());
            failed(error)
        })?;
        let _ = fsync(&self.directory);
        Ok(())
    }
}
