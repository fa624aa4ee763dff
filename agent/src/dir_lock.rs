//! A directory that one owner at a time writes to: the spool's, the ledger's. The lock is flock(2)'s on a file in it, so it
//! goes with the process however that ends.
//!
//! It belongs to the opened file, and a child has that too from its fork to its exec. Closing the file would leave the lock
//! with whatever child is just being made, and the next owner would be refused: so it is given back by word, which holds
//! for all who have the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct DirLock(File);

impl DirLock {
    /// Takes the lock of `dir`, which is there; none when another owner has it.
    ///
    /// # Errors
    /// What the system says of the file or the lock.
    pub fn take(dir: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(dir.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Where this fails, the closing of the file does it.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_next_whoever_was_forked_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path()).unwrap().unwrap();
        assert!(DirLock::take(dir.path()).unwrap().is_none());
        // What a child has between its fork and its exec: the same opened file.
        let child = first.0.try_clone().unwrap();
        drop(first);
        let second =
            DirLock::take(dir.path()).unwrap().expect("free, though a child has the first one's file");
        drop(child);
        assert!(
            DirLock::take(dir.path()).unwrap().is_none(),
            "the child's end takes nothing from the second"
        );
        drop(second);
    }
}
