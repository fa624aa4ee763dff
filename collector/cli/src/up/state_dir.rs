//! The state directory: what is where, made before anything starts, and locked for one `fettle up`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{flock, FlockOperation};

use super::errors::UpError;

/// A state directory that this process has locked. The lock goes with the process, however it ends; given back, it is
/// free at once, although a child that is just being made has the same opened file until its exec.
#[derive(Debug)]
pub(crate) struct StateDir {
    root: PathBuf,
    lock: File,
}

impl StateDir {
    /// Makes what is missing and takes the lock.
    pub(crate) fn open(root: &Path) -> Result<Self, UpError> {
        let absolute = std::path::absolute(root)
            .map_err(|source| UpError::Unwritable { path: root.to_owned(), source })?;
        let parts = ["nats", "clickhouse", "engine", "agent/spool", "collector", "logs", "run"];
        let below = parts.iter().map(|part| absolute.join(part));
        for path in std::iter::once(absolute.clone()).chain(below) {
            make(&path).map_err(|source| UpError::Unwritable { path, source })?;
        }
        let lock = lock(&absolute)?;
        Ok(Self { root: absolute, lock })
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file or directory below it.
    pub(crate) fn join(&self, part: &str) -> PathBuf {
        self.root.join(part)
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // Where this fails, the closing of the file does it.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn lock(root: &Path) -> Result<File, UpError> {
    let path = root.join("run/lock");
    let unwritable = |source| UpError::Unwritable { path: path.clone(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unwritable)?;
    if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(unwritable(error.into()));
        }
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        let holder = if pid.trim().is_empty() { String::new() } else { format!(" (pid {})", pid.trim()) };
        return Err(UpError::Locked { path: root.to_owned(), holder });
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(unwritable)?;
    writeln!(file, "{}", std::process::id()).map_err(unwritable)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_and_locked_once() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("a/b");
        let first = StateDir::open(&root).unwrap();
        assert!(first.join("agent/spool").is_dir());
        let refused = StateDir::open(&root).unwrap_err().to_string();
        assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
        let child = first.lock.try_clone().unwrap();
        drop(first);
        StateDir::open(&root).unwrap();
        drop(child);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("state");
        fs::write(&root, "").unwrap();
        let refused = StateDir::open(&root).unwrap_err().to_string();
        assert!(refused.contains("state") && refused.contains("--state-dir"), "{refused}");
    }
}
